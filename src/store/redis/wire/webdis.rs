//! Webdis: the command's words with `/` between them; the answer in an object under the
//! command's name.

use serde_json::Value;

use crate::store::redis::script_reply::{Failure, ScriptReply};
use crate::store::redis::wire::format::{Wire, failure_of_error, object};

pub(super) struct Webdis;

impl Wire for Webdis {
    fn write(&self, command: &[&str]) -> Vec<u8> {
        let length: usize = command.iter().map(|word| word.len() + 1).sum();
        let mut body = Vec::with_capacity(length + length / 2);
        for (index, word) in command.iter().enumerate() {
            if index > 0 {
                body.push(b'/');
            }
            for byte in word.bytes() {
                // `/` would split the word, `.` would end the command and name a format.
                if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
                    body.push(byte);
                } else {
                    body.push(b'%');
                    body.extend([byte >> 4, byte & 0xF].map(hex_digit));
                }
            }
        }
        body
    }

    fn read(&self, body: &[u8], tag: &str) -> Result<ScriptReply, Failure> {
        let answer = object(body)?;
        let mut answers = answer.iter();
        let (Some((name, value)), None) = (answers.next(), answers.next()) else {
            return Err(Failure::Malformed);
        };
        if name != "EVALSHA" && name != "EVAL" {
            return Err(Failure::Malformed);
        }
        match value {
            Value::String(line) => ScriptReply::read_tagged(line, tag),
            // An error of Redis: false and its message.
            Value::Array(items) => match items.as_slice() {
                [Value::Bool(false), Value::String(message)] => Err(failure_of_error(message)),
                _ => Err(Failure::Malformed),
            },
            _ => Err(Failure::Malformed),
        }
    }

    fn content_type(&self) -> &'static str {
        "application/x-www-form-urlencoded"
    }
}

fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'A' + (nibble - 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn words_are_escaped_so_that_they_stay_whole() {
        let body = Webdis.write(&["EVAL", "return 'a/b.c'\n", "1", "{twf:1}:n:0a", ""]);
        let expected = "EVAL/return%20%27a%2Fb%2Ec%27%0A/1/%7Btwf%3A1%7D%3An%3A0a/";
        assert_eq!(String::from_utf8(body).as_deref(), Ok(expected));
    }

    #[test]
    fn answers_stand_under_the_commands_name() {
        let read = |text: &str| Webdis.read(text.as_bytes(), "7");
        assert_eq!(read(r#"{"EVALSHA":"7 pending"}"#), Ok(ScriptReply::Pending));
        assert_eq!(read(r#"{"EVAL":"7 pending"}"#), Ok(ScriptReply::Pending));
        let unknown = r#"{"EVALSHA":[false,"NOSCRIPT No matching script. Please use EVAL."]}"#;
        assert_eq!(read(unknown), Err(Failure::UnknownScript));
        let full =
            r#"{"EVALSHA":[false,"OOM command not allowed when used memory > 'maxmemory'."]}"#;
        assert_eq!(read(full), Err(Failure::Malformed));
    }
}
