//! Lines for the operator, on standard error. They name a message by its id and the first eight digits of
//! its nonce, as the filter's log does, and hold nothing personal.

use std::fmt::Display;
use std::io::Write;

/// Writes one line. A standard error that nobody reads any more is no reason to lose a message, so a failed
/// write is ignored, where `eprintln!` would panic.
pub fn line(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// As much of a nonce as the log shows.
pub fn short(nonce: &str) -> &str {
    nonce.get(..8).unwrap_or(nonce)
}
