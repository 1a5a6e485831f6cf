//! How a command and its answer look over HTTP.
//!
//! A third service is one more file with these two functions, a line in `Api::wire`
//! and a word in the configuration (`store.api`).

mod format;
mod upstash;
mod webdis;

use crate::store::redis::script_reply::{Failure, ScriptReply};
use crate::store::redis::wire::format::Wire;

/// Which form the service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Webdis (<https://webd.is>), version 0.1.9 or later.
    Webdis,
    /// The REST form of Upstash (<https://upstash.com/docs/redis/features/restapi>).
    Upstash,
}

impl Api {
    fn wire(self) -> &'static dyn Wire {
        match self {
            Api::Webdis => &webdis::Webdis,
            Api::Upstash => &upstash::Upstash,
        }
    }

    /// The body of the request for a command.
    pub fn write(self, command: &[&str]) -> Vec<u8> {
        self.wire().write(command)
    }

    /// The media type of that body.
    pub fn content_type(self) -> &'static str {
        self.wire().content_type()
    }

    /// What the answer to the call with this tag says.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn read(self, status: u16, body: &[u8], tag: &str) -> Result<ScriptReply, Failure> {
        let reply = self.wire().read(body, tag);
        match (status, reply) {
            // Upstash answers 400 where Redis answers with an error.
            (200, reply) => reply,
            (400, Err(Failure::UnknownScript)) => Err(Failure::UnknownScript),
            (status, _) => Err(Failure::Status(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn only_a_200_passes_anything() {
        for status in [0, 100, 201, 204, 301, 400, 401, 403, 404, 500, 503] {
            for (api, body) in [
                (Api::Webdis, &br#"{"EVALSHA":"7 passed"}"#[..]),
                (Api::Upstash, br#"{"result":"7 passed"}"#),
            ] {
                assert_eq!(api.read(200, body, "7"), Ok(ScriptReply::Passed));
                assert_eq!(api.read(200, body, "8"), Err(Failure::Malformed));
                assert_eq!(api.read(status, body, "7"), Err(Failure::Status(status)));
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_malformed() {
        for body in [
            "",
            "{",
            "null",
            "[]",
            "\"7 passed\"",
            "{}",
            "{\"EVALSHA\":null}",
            "{\"EVALSHA\":[true]}",
            "{\"EVALSHA\":[true,\"7 passed\"],\"EVAL\":\"7 passed\"}",
            "{\"GET\":\"7 passed\"}",
            "{\"result\":1}",
            "{\"result\":null}",
            "{\"EVALSHA\":\"7 pas",
            "{\"EVALSHA\":\"7 passed\"}x",
            "\u{0}",
        ] {
            for api in [Api::Webdis, Api::Upstash] {
                assert_eq!(
                    api.read(200, body.as_bytes(), "7"),
                    Err(Failure::Malformed),
                    "{body}"
                );
            }
        }
    }
}
