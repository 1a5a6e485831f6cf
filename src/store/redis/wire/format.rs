//! What every form has: commands out, answers in.

use serde_json::{Map, Value};

use crate::store::redis::script_reply::Failure;

/// A way to write commands and to read answers.
pub trait Wire {
    /// The body of the request for a command: its words, in order. It is sent by `POST /`.
    fn write(&self, command: &[&str]) -> Vec<u8>;

    /// The line in an answer, whose body is this object.
    ///
    /// # Errors
    /// [`Failure::UnknownScript`]; [`Failure::Malformed`] for anything that is not an answer.
    fn line<'a>(&self, answer: &'a Map<String, Value>) -> Result<&'a str, Failure>;

    /// The body's media type.
    fn content_type(&self) -> &'static str;
}

/// Every service answers with an object.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(answer)) => Ok(answer),
        _ => Err(Failure::Malformed),
    }
}

/// Returns the failure that an error of Redis tells of.
pub(super) fn failure_of_error(message: &str) -> Failure {
    if message.starts_with("NOSCRIPT") {
        Failure::UnknownScript
    } else {
        Failure::Malformed
    }
}
