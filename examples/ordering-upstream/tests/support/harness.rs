//! Starts the program, talks to it, and looks into its database from outside.

// Each of the test programs uses a part of it.
#![allow(dead_code, clippy::print_stdout)]

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ordering_upstream::store::Location;
use ordering_upstream::store::postgres::Settings;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::postgres;

pub(crate) const WEBHOOK: &str = "/api/v1/whatsapp/webhook";
pub(crate) const TWIML: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response></Response>"#;
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where a shop keeps its orders.
enum Backend {
    Sqlite,
    /// A database of the server that all tests share, or of one that a test may stop.
    Postgres(String),
}

/// A directory with a database in it or beside it, which outlives the services that use it.
pub(crate) struct Shop {
    directory: TempDir,
    backend: Backend,
}

impl Shop {
    /// On SQLite.
    pub(crate) fn new() -> Self {
        Self::on(Backend::Sqlite)
    }

    /// In a database of PostgreSQL's.
    pub(crate) fn at(url: String) -> Self {
        Self::on(Backend::Postgres(url))
    }

    fn on(backend: Backend) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, backend }
    }

    /// One on each backend. PostgreSQL's is left out where there is no PostgreSQL.
    pub(crate) fn on_each() -> impl Iterator<Item = Self> {
        let table: [fn() -> Option<Backend>; 2] = [
            || Some(Backend::Sqlite),
            || postgres::database().map(Backend::Postgres),
        ];
        table.into_iter().filter_map(|backend| {
            let backend = backend()?;
            // Shown if the test fails.
            println!(
                "on {}",
                if matches!(backend, Backend::Sqlite) {
                    "SQLite"
                } else {
                    "PostgreSQL"
                }
            );
            Some(Self::on(backend))
        })
    }

    /// SQLite's file.
    pub(crate) fn database(&self) -> PathBuf {
        self.directory.path().join("orders.db")
    }

    /// The same as the service reads it.
    pub(crate) fn location(&self) -> Location {
        match &self.backend {
            Backend::Sqlite => Location::File(self.database()),
            Backend::Postgres(url) => Location::Postgres(Settings::from_url(url, None).unwrap()),
        }
    }

    pub(crate) fn start(&self) -> Service {
        self.start_with(&[])
    }

    /// With further variables.
    pub(crate) fn start_with(&self, variables: &[(&str, &str)]) -> Service {
        let mut command = self.program();
        command.envs(variables.iter().copied());
        Service::start(command)
    }

    /// The program on a free port, with this database.
    pub(crate) fn program(&self) -> Command {
        let mut command = program("127.0.0.1:0", &self.database());
        if let Backend::Postgres(url) = &self.backend {
            command.env_remove("DATABASE_PATH").env("DATABASE_URL", url);
        }
        command
    }

    /// A single value, such as a count or a state.
    pub(crate) fn value<T: std::str::FromStr>(&self, select: &str) -> T {
        let rows = self.rows(select);
        let value = &rows[0][0];
        let parsed = value.parse().ok();
        parsed.unwrap_or_else(|| panic!("{select}: {value}"))
    }

    /// What a statement returns, every value as text, NULL as an empty one and bytes as `\x` and hex digits.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        match &self.backend {
            Backend::Sqlite => {
                let connection = self.look_inside();
                let mut select = connection.prepare(sql).unwrap();
                let columns = select.column_count();
                let read = |row: &rusqlite::Row<'_>| {
                    (0..columns)
                        .map(|column| {
                            Ok(match row.get::<_, rusqlite::types::Value>(column)? {
                                rusqlite::types::Value::Null => String::new(),
                                rusqlite::types::Value::Integer(number) => number.to_string(),
                                rusqlite::types::Value::Real(number) => number.to_string(),
                                rusqlite::types::Value::Text(text) => text,
                                rusqlite::types::Value::Blob(bytes) => as_postgres(&bytes),
                            })
                        })
                        .collect()
                };
                let rows = select.query_map([], read).unwrap();
                rows.map(Result::unwrap).collect()
            }
            Backend::Postgres(url) => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
                        .await
                        .unwrap();
                    let connection = tokio::spawn(connection);
                    let said = client.simple_query(sql).await;
                    let said = said.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                    drop(client);
                    let _ = connection.await;
                    let rows = said.iter().filter_map(|message| match message {
                        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
                        _ => None,
                    });
                    rows.map(|row| {
                        (0..row.len())
                            .map(|at| row.get(at).unwrap_or_default().to_owned())
                            .collect()
                    })
                    .collect()
                })
            }
        }
    }

    /// Makes every insert into a table fail.
    pub(crate) fn block(&self, table: &str) {
        self.run(
            &format!(
                "CREATE TRIGGER stuck BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no room'); END"
            ),
            &format!("ALTER TABLE {table} ADD CONSTRAINT no_room CHECK (false) NOT VALID"),
        );
    }

    pub(crate) fn unblock(&self, table: &str) {
        self.run(
            "DROP TRIGGER stuck",
            &format!("ALTER TABLE {table} DROP CONSTRAINT no_room"),
        );
    }

    fn run(&self, sqlite: &str, postgres: &str) {
        match &self.backend {
            Backend::Sqlite => self.look_inside().execute_batch(sqlite).unwrap(),
            Backend::Postgres(_) => drop(self.rows(postgres)),
        }
    }

    /// A second connection to SQLite's file, as a shell on it would be.
    pub(crate) fn look_inside(&self) -> Connection {
        let connection = Connection::open(self.database()).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection
    }

    pub(crate) fn count(&self, what: &str) -> i64 {
        // PostgreSQL wants a name for what stands in brackets.
        let name = if what.ends_with(')') && what.starts_with('(') {
            " AS counted"
        } else {
            ""
        };
        self.value(&format!("SELECT count(*) FROM {what}{name}"))
    }

    pub(crate) fn wait_until_all_is_processed(&self) {
        self.wait_until_none("messages WHERE processed_at IS NULL");
    }

    pub(crate) fn wait_until_all_is_sent(&self) {
        self.wait_until_all_is_processed();
        self.wait_until_none("replies WHERE state IN ('waiting', 'sending')");
    }

    fn wait_until_none(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(what) > 0 {
            assert!(Instant::now() < deadline, "there are always {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Bytes as PostgreSQL writes them.
fn as_postgres(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\\x{digits}")
}

/// The program with an environment of its own.
pub(crate) fn program(listen: impl AsRef<OsStr>, database: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ordering-upstream"));
    command
        .env_clear()
        .env("LISTEN_ADDR", listen)
        .env("DATABASE_PATH", database)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// A running service. Dropping it kills it.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Service {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("no ready line but {line:?}"));
        let address = address.trim_end().parse().unwrap();
        Self { child, address }
    }

    /// Starts it with its standard error in a pipe.
    pub(crate) fn start_and_hear(mut command: Command) -> (Self, ChildStderr) {
        let mut service = Self::start({
            command.stderr(Stdio::piped());
            command
        });
        let stderr = service.child.stderr.take().unwrap();
        (service, stderr)
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn wait_for_exit(mut self) -> ExitStatus {
        wait_for_exit(&mut self.child)
    }

    pub(crate) fn post(&self, nonce: &str, body: &str) -> Answer {
        post(self.address, nonce, body).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "")
    }

    /// Any request. `headers` come after `Host`, unless they name another one.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let length = body.len();
        let request = format!("{head}content-length: {length}\r\n\r\n{body}");
        send(self.address, request.as_bytes()).unwrap()
    }

    /// A tap on a button of the kitchen's page.
    pub(crate) fn tap(&self, order: i64, from: &str, to: &str) -> Answer {
        let headers = [("content-type", "application/json"), ("x-kitchen", "1")];
        let body = format!(r#"{{"from":"{from}","to":"{to}"}}"#);
        self.request("POST", &format!("/orders/{order}/state"), &headers, &body)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn wait_for_exit(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the program did not exit");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A port below those that the kernel gives to connections, so that nobody takes it between now and its use.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(17);
    for _ in 0..2_500 {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 2_500;
        let port = 30_200 + offset as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1");
}

/// 64 hex digits for a number.
pub(crate) fn nonce(number: u64) -> String {
    format!("{number:064x}")
}

/// A customer's message as Twilio writes it, with the parameters that matter here.
pub(crate) fn form(sid: &str, text: &str) -> String {
    form_of(sid, "15550001111", "Ana", &[("Body", text)])
}

/// The same from any customer, with any content.
pub(crate) fn form_of(sid: &str, wa_id: &str, name: &str, content: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("MessageSid", sid)
        .append_pair("AccountSid", "AC00000000000000000000000000000001")
        .append_pair("From", &format!("whatsapp:+{wa_id}"))
        .append_pair("To", "whatsapp:+14155238886")
        .append_pair("WaId", wa_id)
        .append_pair("ProfileName", name)
        .extend_pairs(content)
        .finish()
}

/// A status callback.
pub(crate) fn callback(sid: &str, status: &str) -> String {
    form_of(sid, "14155238886", "", &[("MessageStatus", status)])
}

/// A webhook as the filter passes it on.
pub(crate) fn request(nonce: &str, body: &str) -> String {
    let headers = format!(
        "x-twilio-webhook-verified: true\r\nx-twilio-webhook-nonce: {nonce}\r\n\
         content-type: application/x-www-form-urlencoded; charset=utf-8\r\n"
    );
    request_with(&headers, body)
}

/// A POST with these header lines.
pub(crate) fn request_with(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {WEBHOOK} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    )
}

pub(crate) fn post(address: SocketAddr, nonce: &str, body: &str) -> io::Result<Answer> {
    send(address, request(nonce, body).as_bytes())
}

/// Sends bytes and reads the answer.
pub(crate) fn send(address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    read_answer(stream)
}

/// Reads one answer. A connection that broke in the middle of it is none.
pub(crate) fn read_answer(stream: TcpStream) -> io::Result<Answer> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut answer = Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        head,
        body: String::new(),
    };
    // Without a length they are Envoy's own pages, of which nobody wants to know more than their status.
    if let Some(length) = answer.header("content-length") {
        let length: usize = length.parse().map_err(io::Error::other)?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        answer.body = String::from_utf8_lossy(&body).into_owned();
    }
    Ok(answer)
}
