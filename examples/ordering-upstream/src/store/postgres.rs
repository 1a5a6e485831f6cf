//! PostgreSQL: for a shop that outgrows one file.
//!
//! One connection is the only one that works, as with SQLite: it holds an advisory lock for as long as it lives. That is
//! what makes a lost connection harmless. The lock is free only when the old connection is gone from the server too, so
//! by the time a new one does anything, every commit that was cut off is either there or never will be.
//!
//! A statement that gets no answer in time ends the connection. The next job makes a new one.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::{Error, Severity, SqlState};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;
use super::database::{Backend, Row, Statements, Value};
use crate::guard;

/// Each entry takes the schema from the version that is its index to the next. Entries are only ever added, here and in
/// [`super::sqlite`].
const MIGRATIONS: [&str; 1] = [include_str!("postgres/schema.sql")];

const NOW: &str = "utc_now()";

const MINUTES: &str =
    "CAST(floor(extract(epoch FROM now() - created_at::timestamptz) / 60) AS BIGINT)";

/// Names this program among those that use advisory locks: "orders" in ASCII.
const LOCK: i64 = 0x6f72_6465_7273;

/// How long the server may take to answer. A message to be stored may stand behind a job of the worker's and one of the
/// sender's, and Envoy waits for ten seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long to wait for the lock at the start, which the connection of a killed predecessor may still hold.
const PREDECESSOR: Duration = Duration::from_secs(10);

/// After a connection that failed, jobs fail at once for so long, or each of those that wait would try for itself.
const PAUSE: Duration = Duration::from_millis(500);

/// The server gives up what takes longer, before this side does. A client that has vanished is noticed within half a
/// minute, not after two hours. A server that is set to lose commits is not taken at its word.
const SESSION: &str = "
    SET statement_timeout = '2500ms';
    SET lock_timeout = '2s';
    SET idle_in_transaction_session_timeout = '10s';
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SET client_min_messages = 'warning';
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') IN ('off', 'local');
";

/// What `DATABASE_URL` and `DATABASE_CA` say.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    config: Box<Config>,
    authorities: Option<PathBuf>,
}

impl Settings {
    /// Reads a URL. `None` if it is not one of PostgreSQL's; why not is left out, since any part of it may be a piece
    /// of the password.
    pub fn from_url(url: &str, authorities: Option<PathBuf>) -> Option<Self> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return None;
        }
        let mut config: Config = url.parse().ok()?;
        // An `@` or `/` of the password that is not percent-encoded ends up here, and would be shown with them.
        let fine = |name: &str| !name.is_empty() && !name.contains(['@', '/', ':', ' ']);
        let one = config.get_hosts().len() == 1;
        let host_fine = config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => guard::is_this_machine(name) || fine(name) || is_ipv6(name),
            Host::Unix(_) => true,
        });
        let fine = one && host_fine && config.get_dbname().is_some_and(fine);
        if !fine || config.get_user().is_none() {
            return None;
        }
        // Prefer is the default, and whoever sits in between could talk it out of TLS.
        if config.get_ssl_mode() == SslMode::Prefer {
            let here = config.get_hosts().iter().all(|host| match host {
                Host::Tcp(name) => guard::is_this_machine(name),
                Host::Unix(_) => true,
            });
            config.ssl_mode(if here {
                SslMode::Disable
            } else {
                SslMode::Require
            });
        }
        config.application_name("ordering-upstream");
        config.connect_timeout(PATIENCE);
        let config = Box::new(config);
        Some(Self {
            config,
            authorities,
        })
    }

    /// Whether the server must show a certificate.
    fn secured(&self) -> bool {
        self.config.get_ssl_mode() != SslMode::Disable
    }

    /// Adds to an error about the server's certificate which one was expected.
    fn name_expected(&self, error: StoreError) -> StoreError {
        let StoreError::Postgres(cause) = &error else {
            return error;
        };
        let Some(cause @ rustls::Error::InvalidCertificate(_)) = tls_error(cause) else {
            return error;
        };
        let from = match &self.authorities {
            Some(path) => format!("an authority in DATABASE_CA={}", path.display()),
            None => "an authority that browsers know, since DATABASE_CA names no other".to_owned(),
        };
        let host = self.host();
        StoreError::Certificate(format!(
            "expected a certificate for {host} from {from}: {cause}"
        ))
    }

    fn host(&self) -> String {
        match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "no host".to_owned(),
        }
    }
}

fn is_ipv6(name: &str) -> bool {
    name.parse::<std::net::Ipv6Addr>().is_ok()
}

/// Where the database is, without the password.
impl fmt::Display for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.config.get_dbname().unwrap_or_default();
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        write!(out, "database {name} at {}:{port}", self.host())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// What PostgreSQL's library says, with its cause. It names users and tables and no passwords.
pub(super) fn explain(error: &Error, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(said) = error.as_db_error() {
        return out.write_str(said.message());
    }
    write!(out, "{error}")?;
    match error.source() {
        Some(cause) => write!(out, ": {cause}"),
        None => Ok(()),
    }
}

/// What TLS says where it is the cause. It lies in an error of input and output, which does not name it as its source.
fn tls_error(error: &Error) -> Option<&rustls::Error> {
    let cause = error.source()?.downcast_ref::<std::io::Error>()?;
    cause.get_ref()?.downcast_ref()
}

/// A connection, and what is prepared on it.
struct Live {
    client: Client,
    prepared: HashMap<String, Statement>,
}

/// The database, whether there is a connection to it at this moment or not.
pub(super) struct Postgres {
    settings: Settings,
    tls: Option<MakeRustlsConnect>,
    runtime: Handle,
    live: Option<Live>,
    in_transaction: bool,
    /// When the last attempt to connect failed.
    failed: Option<Instant>,
}

impl Postgres {
    /// Connects, and brings the schema up to date. `runtime` reads from the connection.
    pub(super) fn open(settings: Settings, runtime: Handle) -> Result<Self, StoreError> {
        let tls = match settings.secured() {
            true => Some(tls(settings.authorities.as_deref())?),
            false => None,
        };
        let mut postgres = Self {
            settings,
            tls,
            runtime,
            live: None,
            in_transaction: false,
            failed: None,
        };
        let deadline = Instant::now() + PREDECESSOR;
        let mut live = loop {
            match postgres.connect() {
                Err(StoreError::InUse) if Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                connected => break connected?,
            }
        };
        postgres.migrate(&mut live)?;
        postgres.live = Some(live);
        Ok(postgres)
    }

    /// Waits for the server, and not for ever.
    fn wait<T>(&self, future: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        let timed = async { tokio::time::timeout(PATIENCE, future).await };
        match self.runtime.block_on(timed) {
            Ok(result) => result.map_err(StoreError::Postgres),
            Err(_) => Err(StoreError::NoAnswer),
        }
    }

    fn connect(&self) -> Result<Live, StoreError> {
        let config = &self.settings.config;
        let client = match &self.tls {
            Some(tls) => {
                let connected = self.wait(config.connect(tls.clone()));
                let (client, connection) =
                    connected.map_err(|error| self.settings.name_expected(error))?;
                self.runtime.spawn(connection);
                client
            }
            None => {
                let (client, connection) = self.wait(config.connect(NoTls))?;
                self.runtime.spawn(connection);
                client
            }
        };
        self.wait(client.batch_execute(SESSION))?;
        let lock = self.wait(client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]))?;
        if !lock.try_get(0).map_err(StoreError::Postgres)? {
            return Err(StoreError::InUse);
        }
        Ok(Live {
            client,
            prepared: HashMap::new(),
        })
    }

    fn migrate(&self, live: &mut Live) -> Result<(), StoreError> {
        let run = |sql: &str| self.wait(live.client.batch_execute(sql));
        run("BEGIN; CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")?;
        let found = self.wait(
            live.client
                .query_opt("SELECT version FROM schema_version", &[]),
        )?;
        let version: i64 = match &found {
            Some(row) => row.try_get(0).map_err(StoreError::Postgres)?,
            None => 0,
        };
        let known = usize::try_from(version).ok();
        let Some(missing) = known.and_then(|version| MIGRATIONS.get(version..)) else {
            return Err(StoreError::NewerSchema(version, MIGRATIONS.len()));
        };
        for migration in missing {
            run(migration)?;
        }
        run(&format!(
            "DELETE FROM schema_version; INSERT INTO schema_version VALUES ({}); COMMIT",
            MIGRATIONS.len()
        ))
    }

    /// Makes sure of a connection. Never in a transaction, which is lost with its connection.
    fn ensure(&mut self) -> Result<(), StoreError> {
        if self
            .live
            .as_ref()
            .is_some_and(|live| !live.client.is_closed())
        {
            return Ok(());
        }
        self.live = None;
        if self.in_transaction || self.failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
            return Err(StoreError::NotConnected);
        }
        match self.connect() {
            Ok(live) => {
                self.live = Some(live);
                self.failed = None;
                Ok(())
            }
            Err(error) => {
                self.failed = Some(Instant::now());
                Err(error)
            }
        }
    }

    fn run(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut live = self.live.take().ok_or(StoreError::NotConnected)?;
        let result = self.run_on(&mut live, sql, parameters);
        if result.as_ref().err().is_none_or(leaves_connection) {
            self.live = Some(live);
        }
        result
    }

    fn run_on(
        &self,
        live: &mut Live,
        sql: &str,
        parameters: &[Value],
    ) -> Result<Vec<Row>, StoreError> {
        let statement = match live.prepared.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                let statement = self.wait(live.client.prepare(&dialect(sql)))?;
                live.prepared.insert(sql.to_owned(), statement.clone());
                statement
            }
        };
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters
            .iter()
            .map(|value| -> &(dyn ToSql + Sync) { value })
            .collect();
        let rows = self.wait(live.client.query(&statement, &parameters))?;
        rows.iter().map(read).collect()
    }
}

/// Whether the connection can be used after this error.
fn leaves_connection(error: &StoreError) -> bool {
    match error {
        // Nor where somebody changed the tables under a statement that is prepared.
        StoreError::Postgres(error) => error.as_db_error().is_some_and(|said| {
            said.parsed_severity() == Some(Severity::Error)
                && *said.code() != SqlState::FEATURE_NOT_SUPPORTED
        }),
        StoreError::Unexpected(_) => true,
        _ => false,
    }
}

/// Returns the statement in PostgreSQL's words.
fn dialect(sql: &str) -> String {
    // No statement has a question mark that means anything else.
    sql.replace('?', "$")
        .replace("{now}", NOW)
        .replace("{minutes}", MINUTES)
}

/// Only certificates that an authority vouches for: those that browsers believe, or those in the file.
fn tls(authorities: Option<&Path>) -> Result<MakeRustlsConnect, StoreError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let bad = |_| StoreError::Authorities(path.to_owned());
            let found = CertificateDer::pem_file_iter(path).map_err(bad)?;
            for certificate in found {
                let added = roots.add(certificate.map_err(bad)?);
                added.map_err(|_| StoreError::Authorities(path.to_owned()))?;
            }
            if roots.is_empty() {
                return Err(StoreError::Authorities(path.to_owned()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| StoreError::Unexpected("TLS has no protocol versions"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

impl Statements for Postgres {
    fn rows(&mut self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.ensure()?;
        self.run(statement, parameters)
    }
}

impl Backend for Postgres {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.ensure()?;
        self.run("BEGIN", &[])?;
        self.in_transaction = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.ensure()?;
        self.run("COMMIT", &[])?;
        self.in_transaction = false;
        Ok(())
    }

    fn rollback(&mut self) {
        self.in_transaction = false;
        // A transaction that cannot be rolled back goes with its connection.
        if self.live.is_some() && self.run("ROLLBACK", &[]).is_err() {
            self.live = None;
        }
    }

    fn close(self: Box<Self>) {
        // The server is told when the client is dropped, by the task that reads from the connection.
        drop(self.live);
    }
}

fn read(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let columns = row.columns().iter().enumerate();
    let values = columns.map(|(at, column)| {
        let value = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(at)?.into(),
            Type::INT4 => row.try_get::<_, Option<i32>>(at)?.map(i64::from).into(),
            Type::BOOL => row.try_get::<_, Option<bool>>(at)?.map(i64::from).into(),
            Type::FLOAT8 => row.try_get::<_, Option<f64>>(at)?.into(),
            Type::BYTEA => row
                .try_get::<_, Option<Vec<u8>>>(at)?
                .map_or(Value::Null, Value::Blob),
            _ => row
                .try_get::<_, Option<String>>(at)?
                .map_or(Value::Null, Value::Text),
        };
        Ok(value)
    });
    let values: Result<_, Error> = values.collect();
    values.map(Row).map_err(StoreError::Postgres)
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => number.to_sql_checked(kind, out),
            Self::Real(number) => number.to_sql_checked(kind, out),
            // PostgreSQL's text holds no NUL, and a message is not to be lost for one; `raw_body` has it as it came.
            Self::Text(text) if text.contains('\0') => {
                text.replace('\0', "\u{fffd}").to_sql_checked(kind, out)
            }
            Self::Text(text) => text.to_sql_checked(kind, out),
            Self::Blob(bytes) => bytes.to_sql_checked(kind, out),
        }
    }

    /// Each kind of value says for itself.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Option<Settings> {
        Settings::from_url(url, None)
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        let settings = read("postgres://shop:s3cret%40@db.example.com:5433/orders").unwrap();
        let shown = "database orders at db.example.com:5433";
        assert_eq!(settings.to_string(), shown);
        assert_eq!(format!("{settings:?}"), shown);
        let socket = read("postgresql://shop@%2Frun%2Fpostgresql/orders").unwrap();
        let shown = "database orders at /run/postgresql:5432";
        assert_eq!(socket.to_string(), shown);
    }

    #[test]
    fn a_url_that_is_none_or_might_show_a_piece_of_the_password_is_rejected() {
        for url in [
            "",
            "orders.db",
            "mysql://shop:s3cret@db/orders",
            "postgres://",
            "postgres://shop:s3cret@db",
            "postgres://shop:s3cret@db:port/orders",
            "postgres://shop:s3@cret@db/orders",
            "postgres://shop:s3@cret/word@db/orders",
            "postgres://shop:s3cret@one,two/orders",
            "postgres://db/orders",
            "postgres://shop:s3cret@db/orders?pass=1",
        ] {
            assert_eq!(read(url), None, "{url}");
        }
    }

    #[test]
    fn a_server_elsewhere_must_show_a_certificate_unless_the_url_says_otherwise() {
        for (url, secured) in [
            ("postgres://shop@127.0.0.1/orders", false),
            ("postgres://shop@localhost/orders", false),
            ("postgres://shop@%2Frun%2Fpostgresql/orders", false),
            ("postgres://shop@127.0.0.1/orders?sslmode=require", true),
            ("postgres://shop@db.example.com/orders", true),
            ("postgres://shop@db.example.com/orders?sslmode=prefer", true),
            (
                "postgres://shop@db.example.com/orders?sslmode=disable",
                false,
            ),
        ] {
            assert_eq!(read(url).unwrap().secured(), secured, "{url}");
        }
    }
}
