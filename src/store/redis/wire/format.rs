//! What every form has: commands out, answers in.

use serde_json::{Map, Value};

use crate::store::redis::script_reply::{Failure, ScriptReply};

/// A way to write commands and to read answers.
pub trait Wire {
    /// The body of the request for a command: its words, in order. It is sent by `POST /`.
    fn write(&self, command: &[&str]) -> Vec<u8>;

    /// What the body of the answer to the call with this tag says.
    ///
    /// # Errors
    /// [`Failure::UnknownScript`]; [`Failure::Malformed`] for anything that is not an answer.
    fn read(&self, body: &[u8], tag: &str) -> Result<ScriptReply, Failure>;

    /// The body's media type.
    fn content_type(&self) -> &'static str;
}

/// Every service answers with an object.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(answer)) => Ok(answer),
        _ => Err(Failure::Malformed),
    }
}

/// What Redis says where it answers with an error.
pub(super) fn failure_of_error(message: &str) -> Failure {
    if message.starts_with("NOSCRIPT") {
        Failure::UnknownScript
    } else {
        Failure::Malformed
    }
}
