//! What the environment says: `LISTEN_ADDR` and `DATABASE_PATH`.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen. On loopback by default, because `GET /messages` shows what customers wrote.
    pub listen: SocketAddr,
    /// The SQLite file, created where there is none.
    pub database: PathBuf,
}

/// A variable with a value that means nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// `LISTEN_ADDR` is not an IP address and a port.
    ListenAddr(OsString),
    /// `DATABASE_PATH` is empty.
    EmptyDatabasePath,
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
        let database = match lookup("DATABASE_PATH") {
            None => PathBuf::from("orders.db"),
            // SQLite would take this for a temporary database, and lose it on exit.
            Some(value) if value.is_empty() => return Err(ConfigError::EmptyDatabasePath),
            Some(value) => PathBuf::from(value),
        };
        Ok(Self { listen, database })
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
        assert_eq!(config.database, PathBuf::from("orders.db"));
    }

    #[test]
    fn both_variables_are_taken_as_they_are() {
        let config = read(&[
            ("LISTEN_ADDR", "[::1]:81"),
            ("DATABASE_PATH", "/var/lib/a b.db"),
        ]);
        let config = config.unwrap();
        assert_eq!(config.listen.to_string(), "[::1]:81");
        assert_eq!(config.database, PathBuf::from("/var/lib/a b.db"));
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
}
