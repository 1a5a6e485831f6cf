//! How a command and its answer look over HTTP.
//!
//! A third service is one more file with these two functions, a line in `Api::wire`
//! and a word in the configuration (`store.api`).

mod format;
mod upstash;
mod webdis;

use crate::store::redis::correlation::Correlation;
use crate::store::redis::script_reply::{Failure, ScriptReply};
use crate::store::redis::wire::format::{Wire, object};

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

    /// Returns what an answer says to the question with this number.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn read(
        self,
        status: u16,
        body: &[u8],
        correlation: Correlation,
    ) -> Result<ScriptReply, Failure> {
        let answer = object(body);
        let line = match &answer {
            Ok(answer) => self.wire().line(answer),
            Err(failure) => Err(*failure),
        };
        match (status, line) {
            // Upstash answers 400 where Redis answers with an error.
            (200, line) => ScriptReply::read(line?, correlation),
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

    const OWN: Correlation = Correlation(0x2a);

    #[test]
    fn only_a_200_passes_anything() {
        for status in [0, 100, 201, 204, 301, 400, 401, 403, 404, 500, 503] {
            for (api, body) in [
                (
                    Api::Webdis,
                    &br#"{"EVALSHA":"000000000000002a passed"}"#[..],
                ),
                (Api::Upstash, br#"{"result":"000000000000002a passed"}"#),
            ] {
                assert_eq!(api.read(200, body, OWN), Ok(ScriptReply::Passed));
                assert_eq!(api.read(status, body, OWN), Err(Failure::Status(status)));
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
            "\"passed\"",
            "{}",
            "{\"EVALSHA\":null}",
            "{\"EVALSHA\":[true]}",
            "{\"EVALSHA\":\"passed\"}",
            "{\"result\":\"passed\"}",
            "{\"EVALSHA\":[true,\"passed\"],\"EVAL\":\"passed\"}",
            "{\"GET\":\"passed\"}",
            "{\"result\":1}",
            "{\"result\":null}",
            "{\"EVALSHA\":\"pas",
            "{\"EVALSHA\":\"passed\"}x",
            "\u{0}",
        ] {
            for api in [Api::Webdis, Api::Upstash] {
                assert_eq!(
                    api.read(200, body.as_bytes(), OWN),
                    Err(Failure::Malformed),
                    "{body}"
                );
            }
        }
    }
}
