//! The REST form of Upstash: the command as a JSON array; the answer under `result` or `error`.

use serde_json::Value;

use crate::store::redis::script_reply::{Failure, ScriptReply};
use crate::store::redis::wire::format::{Wire, failure_of_error, object};

pub(super) struct Upstash;

impl Wire for Upstash {
    fn write(&self, command: &[&str]) -> Vec<u8> {
        // Texts always serialise.
        serde_json::to_vec(command).unwrap_or_default()
    }

    fn read(&self, body: &[u8], tag: &str) -> Result<ScriptReply, Failure> {
        let answer = object(body)?;
        match (answer.get("result"), answer.get("error")) {
            (Some(Value::String(line)), None) => ScriptReply::read_tagged(line, tag),
            (None, Some(Value::String(message))) => Err(failure_of_error(message)),
            _ => Err(Failure::Malformed),
        }
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_command_is_an_array_of_texts() {
        let body = Upstash.write(&["EVALSHA", "0a", "1", "k\"\n"]);
        assert_eq!(body, br#"["EVALSHA","0a","1","k\"\n"]"#);
    }

    #[test]
    fn answers_stand_under_result_or_error() {
        let read = |text: &str| Upstash.read(text.as_bytes(), "7");
        assert_eq!(read(r#"{"result":"7 full"}"#), Ok(ScriptReply::Full));
        assert_eq!(
            read(r#"{"error":"NOSCRIPT No matching script"}"#),
            Err(Failure::UnknownScript)
        );
        assert_eq!(
            read(r#"{"error":"ERR max requests limit exceeded"}"#),
            Err(Failure::Malformed)
        );
        assert_eq!(
            read(r#"{"result":"7 full","error":"x"}"#),
            Err(Failure::Malformed)
        );
    }
}
