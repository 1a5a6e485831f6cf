//! How a command ends.

use std::fmt;
use std::io;
use std::path::Path;

/// How a command ended that did what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It verifies, passes, or is right.
    Well,
    /// It does not.
    Badly,
}

/// Why a command cannot do what it is for.
#[derive(Debug)]
pub enum Failure {
    /// Something was expected that is not there, in words.
    Said(String),
    /// The reader of the output has gone.
    ReaderGone,
}

impl Failure {
    /// Says what was expected.
    pub fn expected<T>(what: impl fmt::Display) -> Result<T, Failure> {
        Err(Failure::Said(format!("expected {what}")))
    }

    /// Says what went wrong.
    pub fn said<T>(what: impl fmt::Display) -> Result<T, Failure> {
        Err(Failure::Said(what.to_string()))
    }

    /// Says which file cannot be read or written.
    pub fn of_file(path: &Path, error: &io::Error) -> Failure {
        Failure::Said(format!("{}: {error}", path.display()))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Said(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Said(what) => formatter.write_str(what),
            Failure::ReaderGone => formatter.write_str("the reader of the output has gone"),
        }
    }
}
