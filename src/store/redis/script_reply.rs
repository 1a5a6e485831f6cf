//! What the scripts reply, and how a call fails.

use crate::store::redis::correlation::Correlation;
use crate::time::Millis;

/// A script's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptReply {
    /// Every limit has room, and no nonce was to be claimed.
    Passed,
    /// Every limit has room, and the nonce is this request's.
    Claimed {
        /// How many nonces had to go for it.
        evicted: u64,
        /// How long ago the last of them was accepted.
        evicted_age: Millis,
    },
    /// A limit is used up.
    Limited {
        /// Its place among those of the call.
        which: usize,
        /// After this long, one more passes.
        wait: Millis,
    },
    /// The request was accepted before.
    Kept {
        /// For how long Redis still retains that.
        left: Millis,
    },
    /// The same request is just on its way to an upstream.
    Pending,
    /// The senders of the same request have left once too often before there was an answer.
    NeverAnswered {
        /// For how long Redis still retains that.
        left: Millis,
    },
    /// There is no room for the nonce.
    Full,
    /// The claim had been released before it arrived.
    Void,
    /// The settlements are done.
    Settled,
}

/// Why there is no reply that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was not called, having failed before.
    CircuitOpen,
    /// Envoy does not know the cluster, or could not send to it.
    NotSent,
    /// A reply that began and did not end: within the timeout, or before the connection broke.
    NoAnswer,
    /// This HTTP status: of the service, or Envoy's own where no answer has begun. That is 504
    /// after the timeout, and 503 where there was no connection, or it broke.
    Status(u16),
    /// It replied what no script replies.
    Malformed,
    /// It gave the reply to another call.
    Misdelivered,
    /// Redis does not know the script by its hash.
    UnknownScript,
}

impl Failure {
    /// Returns whether Redis may have run the script all the same, or may yet.
    pub fn may_have_run(self) -> bool {
        match self {
            Failure::CircuitOpen | Failure::NotSent | Failure::UnknownScript => false,
            Failure::NoAnswer | Failure::Status(_) | Failure::Malformed | Failure::Misdelivered => {
                true
            }
        }
    }

    /// Whether the connection may have broken under it.
    pub fn is_broken_connection(self) -> bool {
        matches!(self, Failure::NoAnswer | Failure::Status(503))
    }

    /// In plain words, for the log.
    pub fn describe(self, timeout: Millis) -> String {
        match self {
            Failure::CircuitOpen => "it failed just before and was not asked".into(),
            Failure::NotSent => {
                "Envoy could not send to it: is the cluster in Envoy's configuration, and is it up?"
                    .into()
            }
            Failure::NoAnswer => format!(
                "its answers break off, or take longer than the {} ms of store.timeout",
                timeout.0
            ),
            Failure::Status(status @ (401 | 403)) => format!(
                "it answered {status}: are username, password or token right, and does it allow EVAL and EVALSHA?"
            ),
            Failure::Status(503) => {
                "there is no connection to it, or its connections break, or it has none to Redis (503): is it up, and Redis behind it?"
                    .into()
            }
            Failure::Status(504) => format!(
                "no answer in time (504): store.timeout is {} ms; does it or Redis hang, or is the network slow?",
                timeout.0
            ),
            Failure::Status(status) => format!("it answered {status}"),
            Failure::Malformed => "its answer is not one of Redis to this filter's scripts".into(),
            Failure::Misdelivered => {
                "it gave answers to other questions, as Webdis does where connections to it end while it answers: are there many timeouts, or clients that leave?".into()
            }
            Failure::UnknownScript => "it does not know the script that was just sent to it".into(),
        }
    }
}

impl ScriptReply {
    /// Reads the line that a script replied to the call with this number.
    ///
    /// # Errors
    /// [`Failure::Misdelivered`] for the reply to another call, [`Failure::Malformed`] for
    /// any other line.
    pub fn read(line: &str, correlation: Correlation) -> Result<ScriptReply, Failure> {
        let mut words = line.split(' ');
        match words.next().and_then(Correlation::read) {
            None => return Err(Failure::Malformed),
            Some(of_reply) if of_reply != correlation => return Err(Failure::Misdelivered),
            Some(_) => {}
        }
        let word = words.next().unwrap_or_default();
        let mut number = || -> Result<u64, Failure> {
            let word = words.next().ok_or(Failure::Malformed)?;
            word.parse().map_err(|_| Failure::Malformed)
        };
        let reply = match word {
            "passed" => ScriptReply::Passed,
            "claimed" => ScriptReply::Claimed {
                evicted: number()?,
                evicted_age: Millis(number()?),
            },
            "limited" => ScriptReply::Limited {
                which: usize::try_from(number()?).map_err(|_| Failure::Malformed)?,
                wait: Millis(number()?),
            },
            "kept" => ScriptReply::Kept {
                left: Millis(number()?),
            },
            "pending" => ScriptReply::Pending,
            "never_answered" => ScriptReply::NeverAnswered {
                left: Millis(number()?),
            },
            "full" => ScriptReply::Full,
            "void" => ScriptReply::Void,
            "settled" => ScriptReply::Settled,
            _ => return Err(Failure::Malformed),
        };
        match words.next() {
            None => Ok(reply),
            Some(_) => Err(Failure::Malformed),
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
    fn every_reply_of_the_scripts_is_understood_if_it_is_the_calls_own() {
        for (line, reply) in [
            ("passed", ScriptReply::Passed),
            (
                "claimed 2 1500",
                ScriptReply::Claimed {
                    evicted: 2,
                    evicted_age: Millis(1500),
                },
            ),
            (
                "limited 1 59000",
                ScriptReply::Limited {
                    which: 1,
                    wait: Millis(59_000),
                },
            ),
            (
                "kept 86399000",
                ScriptReply::Kept {
                    left: Millis(86_399_000),
                },
            ),
            ("pending", ScriptReply::Pending),
            (
                "never_answered 7000",
                ScriptReply::NeverAnswered { left: Millis(7000) },
            ),
            ("full", ScriptReply::Full),
            ("void", ScriptReply::Void),
            ("settled", ScriptReply::Settled),
        ] {
            let line = format!("{OWN} {line}");
            assert_eq!(ScriptReply::read(&line, OWN), Ok(reply), "{line}");
            assert_eq!(
                ScriptReply::read(&line, Correlation(OWN.0 + 1)),
                Err(Failure::Misdelivered),
                "{line}"
            );
        }
    }

    #[test]
    fn nothing_else_is_a_reply() {
        for line in [
            "",
            "ok",
            " passed",
            "passed ",
            "passed 1",
            "Passed",
            "claimed",
            "claimed 1",
            "claimed 1 2 3",
            "limited 0",
            "limited -1 5",
            "limited 0 1.5e3",
            "kept",
            "kept x",
            "never_answered",
            "kept 99999999999999999999",
        ] {
            let numbered = format!("{OWN} {line}");
            for line in [line, &numbered] {
                let reply = ScriptReply::read(line, OWN);
                assert_eq!(reply, Err(Failure::Malformed), "{line}");
            }
        }
    }
}
