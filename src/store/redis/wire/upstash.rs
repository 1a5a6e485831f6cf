//! The REST form of Upstash: the command as a JSON array; the answer under `result` or `error`.

use serde_json::{Map, Value};

use crate::store::redis::script_reply::Failure;
use crate::store::redis::wire::format::{Wire, failure_of_error};

pub(super) struct Upstash;

impl Wire for Upstash {
    fn write(&self, command: &[&str]) -> Vec<u8> {
        // Texts always serialise.
        serde_json::to_vec(command).unwrap_or_default()
    }

    fn line<'a>(&self, answer: &'a Map<String, Value>) -> Result<&'a str, Failure> {
        match (answer.get("result"), answer.get("error")) {
            (Some(Value::String(line)), None) => Ok(line),
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
    use crate::store::redis::wire::format::object;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_command_is_an_array_of_texts() {
        let body = Upstash.write(&["EVALSHA", "0a", "1", "k\"\n"]);
        assert_eq!(body, br#"["EVALSHA","0a","1","k\"\n"]"#);
    }

    #[test]
    fn answers_stand_under_result_or_error() {
        let read = |text: &str| Upstash.line(&object(text.as_bytes())?).map(str::to_owned);
        assert_eq!(read(r#"{"result":"full"}"#), Ok("full".into()));
        assert_eq!(
            read(r#"{"error":"NOSCRIPT No matching script"}"#),
            Err(Failure::UnknownScript)
        );
        assert_eq!(
            read(r#"{"error":"ERR max requests limit exceeded"}"#),
            Err(Failure::Malformed)
        );
        assert_eq!(
            read(r#"{"result":"full","error":"x"}"#),
            Err(Failure::Malformed)
        );
    }
}
