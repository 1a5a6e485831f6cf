//! What the environment says.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::guard::{self, Password};
use crate::store::{Location, postgres};
use crate::twilio;

/// The shortest password for the kitchen.
const SHORTEST_PASSWORD: usize = 12;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen. On loopback by default, because the webhook believes the filter's headers.
    pub listen: SocketAddr,
    /// A file of SQLite's by default.
    pub database: Location,
    /// Another menu than the one that is built in.
    pub menu: Option<PathBuf>,
    /// Where replies are sent. Nowhere: they are only recorded.
    pub twilio: Option<twilio::Settings>,
    /// The first pause before a reply is sent again.
    pub backoff: Duration,
    /// What the kitchen's page asks for.
    pub password: Option<Password>,
}

/// A variable that is missing, or has a value that means nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// `LISTEN_ADDR` is not an IP address and a port.
    ListenAddr(OsString),
    /// `DATABASE_PATH` is empty.
    EmptyDatabasePath,
    /// Others than this machine could reach the page, and it has no password.
    NoPassword(SocketAddr),
    /// The password is one that can be guessed.
    ShortPassword,
    /// The variable must hold this and does not. The value is left out, since it may be a secret.
    Expected(&'static str, &'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ListenAddr(got) => write!(
                out,
                "LISTEN_ADDR: expected an IP address and a port, such as 127.0.0.1:5000 or [::1]:5000, got {got:?}"
            ),
            Self::EmptyDatabasePath => {
                out.write_str("DATABASE_PATH: expected the path of a file, got nothing")
            }
            Self::NoPassword(address) => write!(
                out,
                "KITCHEN_PASSWORD: expected a password, because LISTEN_ADDR={address} can be reached from \
                 other machines, and /orders shows what customers wrote"
            ),
            Self::ShortPassword => write!(
                out,
                "KITCHEN_PASSWORD: expected {SHORTEST_PASSWORD} characters or more"
            ),
            Self::Expected(name, expected) => write!(out, "{name}: expected {expected}"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the environment of the process.
    pub fn from_environment() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// Reads the variables that `lookup` knows; the rest keep their defaults.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let listen = match lookup("LISTEN_ADDR") {
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)),
            Some(value) => match value.to_str().and_then(|text| text.parse().ok()) {
                Some(address) => address,
                None => return Err(ConfigError::ListenAddr(value)),
            },
        };
        let database = database(&lookup)?;
        let menu = lookup("MENU_PATH").filter(|value| !value.is_empty());
        let password = text(&lookup, "KITCHEN_PASSWORD")?;
        match &password {
            None if !listen.ip().is_loopback() => return Err(ConfigError::NoPassword(listen)),
            Some(password) if password.chars().count() < SHORTEST_PASSWORD => {
                return Err(ConfigError::ShortPassword);
            }
            _ => {}
        }
        Ok(Self {
            listen,
            database,
            menu: menu.map(PathBuf::from),
            twilio: twilio(&lookup)?,
            backoff: milliseconds(&lookup, "REPLY_BACKOFF_MS", 1000)?,
            password: password.map(Password::new),
        })
    }
}

/// A PostgreSQL server where `DATABASE_URL` says so, else SQLite.
fn database(lookup: &impl Fn(&str) -> Option<OsString>) -> Result<Location, ConfigError> {
    let path = lookup("DATABASE_PATH");
    if let Some(url) = text(lookup, "DATABASE_URL")? {
        // One of the two would be left without orders, and nobody told which.
        if path.is_some() {
            return Err(ConfigError::Expected(
                "DATABASE_URL",
                "no DATABASE_PATH beside it: orders are kept by one of the two",
            ));
        }
        let authorities = text(lookup, "DATABASE_CA")?.map(PathBuf::from);
        return match postgres::Settings::from_url(&url, authorities) {
            Some(settings) => Ok(Location::Postgres(settings)),
            None => Err(ConfigError::Expected(
                "DATABASE_URL",
                "postgres://USER:PASSWORD@HOST:PORT/DATABASE, percent-encoded where a part has other characters \
                 than letters and digits; unset it for SQLite",
            )),
        };
    }
    match path {
        None => Ok(Location::File("orders.db".into())),
        // SQLite would take this for a temporary database, and lose it on exit.
        Some(value) if value.is_empty() => Err(ConfigError::EmptyDatabasePath),
        Some(value) => Ok(Location::File(value.into())),
    }
}

/// Replies are sent only where `TWILIO_API_URL` says so. Account and token alone may be there for the filter.
fn twilio(
    lookup: &impl Fn(&str) -> Option<OsString>,
) -> Result<Option<twilio::Settings>, ConfigError> {
    let Some(url) = text(lookup, "TWILIO_API_URL")? else {
        return Ok(None);
    };
    if !keeps_secrets(&url) {
        return Err(ConfigError::Expected(
            "TWILIO_API_URL",
            "https://api.twilio.com, or an http:// URL on this machine",
        ));
    }
    let account = text(lookup, "TWILIO_ACCOUNT_SID")?.unwrap_or_default();
    // It becomes a part of a path.
    if !account.starts_with("AC") || !account.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(ConfigError::Expected(
            "TWILIO_ACCOUNT_SID",
            "an account SID (AC…), because TWILIO_API_URL is set",
        ));
    }
    let key = text(lookup, "TWILIO_API_KEY")?;
    let (username, secret) = match key {
        Some(key) => (key, "TWILIO_API_SECRET"),
        None => (account.clone(), "TWILIO_AUTH_TOKEN"),
    };
    let Some(password) = text(lookup, secret)? else {
        return Err(ConfigError::Expected(
            secret,
            "what Twilio's API asks for, because TWILIO_API_URL is set",
        ));
    };
    let status_callback = text(lookup, "STATUS_CALLBACK_URL")?;
    if status_callback
        .as_ref()
        .is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://"))
    {
        return Err(ConfigError::Expected("STATUS_CALLBACK_URL", "a URL"));
    }
    Ok(Some(twilio::Settings {
        base_url: url.trim_end_matches('/').to_owned(),
        account_sid: account,
        username,
        password,
        status_callback,
        timeout: milliseconds(lookup, "TWILIO_TIMEOUT_MS", 8000)?,
    }))
}

/// Whether the token may go there.
fn keeps_secrets(url: &str) -> bool {
    if url.starts_with("https://") {
        return true;
    }
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    guard::is_this_machine(rest.split('/').next().unwrap_or(rest))
}

/// A variable's text. An empty one is as good as none: that is how a shell or a compose file leaves it out.
fn text(
    lookup: &impl Fn(&str) -> Option<OsString>,
    name: &'static str,
) -> Result<Option<String>, ConfigError> {
    let value = lookup(name).filter(|value| !value.is_empty());
    let text = value.map(OsString::into_string).transpose();
    text.map_err(|_| ConfigError::Expected(name, "text in UTF-8"))
}

fn milliseconds(
    lookup: &impl Fn(&str) -> Option<OsString>,
    name: &'static str,
    default: u64,
) -> Result<Duration, ConfigError> {
    let given = match text(lookup, name)? {
        None => Some(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|given| (1..=60_000).contains(given)),
    };
    match given {
        Some(given) => Ok(Duration::from_millis(given)),
        None => Err(ConfigError::Expected(name, "milliseconds from 1 to 60000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_variables(|name| {
            let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
            Some(OsString::from(value))
        })
    }

    #[test]
    fn an_empty_environment_listens_on_loopback_port_5000() {
        let config = read(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:5000");
        assert_eq!(config.database, Location::File("orders.db".into()));
        assert_eq!(config.twilio, None);
        assert_eq!(config.password, None);
    }

    #[test]
    fn both_variables_are_taken_as_they_are() {
        let config = read(&[
            ("LISTEN_ADDR", "[::1]:81"),
            ("DATABASE_PATH", "/var/lib/a b.db"),
        ]);
        let config = config.unwrap();
        assert_eq!(config.listen.to_string(), "[::1]:81");
        assert_eq!(config.database, Location::File("/var/lib/a b.db".into()));
    }

    #[test]
    fn an_address_without_a_port_is_an_error_that_names_the_variable_and_the_value() {
        for value in [
            "",
            "127.0.0.1",
            "5000",
            ":5000",
            "localhost:5000",
            "127.0.0.1:65536",
        ] {
            let text = read(&[("LISTEN_ADDR", value)]).unwrap_err().to_string();
            assert!(text.starts_with("LISTEN_ADDR: expected"), "{text}");
            assert!(text.ends_with(&format!("got {value:?}")), "{text}");
        }
    }

    #[test]
    fn an_empty_database_path_is_an_error() {
        let error = read(&[("DATABASE_PATH", "")]).unwrap_err();
        assert_eq!(error, ConfigError::EmptyDatabasePath);
    }

    #[test]
    fn a_database_url_is_another_backend_and_its_password_is_in_no_error() {
        let url = (
            "DATABASE_URL",
            "postgres://shop:s3cret@db.example.com/orders",
        );
        let config = read(&[url]).unwrap();
        assert_eq!(config.database.backend(), "PostgreSQL");
        assert!(!format!("{config:?}").contains("s3cret"));
        assert_eq!(
            read(&[("DATABASE_URL", "")]).unwrap().database.backend(),
            "SQLite"
        );
        for variables in [
            vec![("DATABASE_URL", "mysql://shop:s3cret@db/orders")],
            vec![("DATABASE_URL", "postgres://shop:s3cret@db:port/orders")],
            vec![url, ("DATABASE_PATH", "orders.db")],
        ] {
            let error = read(&variables).unwrap_err().to_string();
            assert!(error.starts_with("DATABASE_URL: expected"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    const ACCOUNT: &str = "AC00000000000000000000000000000001";

    #[test]
    fn an_address_that_others_reach_needs_a_password_that_nobody_guesses() {
        for open in ["0.0.0.0:5000", "[::]:5000", "10.0.0.1:5000"] {
            let error = read(&[("LISTEN_ADDR", open)]).unwrap_err().to_string();
            assert!(
                error.starts_with("KITCHEN_PASSWORD: expected a password"),
                "{error}"
            );
            assert!(read(&[("LISTEN_ADDR", open), ("KITCHEN_PASSWORD", "")]).is_err());
            let good = [("LISTEN_ADDR", open), ("KITCHEN_PASSWORD", "twelve chars")];
            assert!(read(&good).unwrap().password.is_some());
        }
        let error = read(&[("KITCHEN_PASSWORD", "short")]).unwrap_err();
        assert_eq!(error, ConfigError::ShortPassword);
        assert_eq!(
            read(&[("LISTEN_ADDR", "[::1]:5000")]).unwrap().password,
            None
        );
    }

    #[test]
    fn account_and_token_alone_send_nothing_because_they_may_be_there_for_the_filter() {
        let config = read(&[
            ("TWILIO_ACCOUNT_SID", ACCOUNT),
            ("TWILIO_AUTH_TOKEN", "secret"),
        ]);
        assert_eq!(config.unwrap().twilio, None);
    }

    #[test]
    fn sending_takes_an_account_and_a_token_or_an_api_key() {
        let url = ("TWILIO_API_URL", "https://api.twilio.com/");
        let account = ("TWILIO_ACCOUNT_SID", ACCOUNT);
        let token = read(&[url, account, ("TWILIO_AUTH_TOKEN", "t")])
            .unwrap()
            .twilio
            .unwrap();
        assert_eq!(token.base_url, "https://api.twilio.com");
        assert_eq!(
            (token.username.as_str(), token.password.as_str()),
            (ACCOUNT, "t")
        );
        let key = [
            url,
            account,
            ("TWILIO_AUTH_TOKEN", "t"),
            ("TWILIO_API_KEY", "SK1"),
            ("TWILIO_API_SECRET", "s"),
        ];
        let key = read(&key).unwrap().twilio.unwrap();
        assert_eq!((key.username.as_str(), key.password.as_str()), ("SK1", "s"));
        assert!(!format!("{key:?}").contains("\"s\""));

        for (variables, name) in [
            (vec![url], "TWILIO_ACCOUNT_SID: "),
            (
                vec![url, ("TWILIO_ACCOUNT_SID", "AC/../x")],
                "TWILIO_ACCOUNT_SID: ",
            ),
            (vec![url, account], "TWILIO_AUTH_TOKEN: "),
            (
                vec![url, account, ("TWILIO_API_KEY", "SK1")],
                "TWILIO_API_SECRET: ",
            ),
            (
                vec![("TWILIO_API_URL", "api.twilio.com")],
                "TWILIO_API_URL: ",
            ),
        ] {
            let error = read(&variables).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }

    #[test]
    fn the_token_goes_over_https_or_stays_on_this_machine() {
        for (url, fine) in [
            ("https://api.twilio.com", true),
            ("http://127.0.0.1:9000", true),
            ("http://localhost:9000/twilio", true),
            ("http://[::1]:9000", true),
            ("http://api.twilio.com", false),
            ("http://127.0.0.1.evil.example", false),
            ("http://127.0.0.1@evil.example", false),
            ("ftp://127.0.0.1", false),
        ] {
            assert_eq!(keeps_secrets(url), fine, "{url}");
        }
    }
}
