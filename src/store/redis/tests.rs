//! The path of requests whose nonces and limits live in Redis, reply by reply.

mod broken_connections;
mod circuit_try;
mod counts;
mod duplicates;
mod early_limits;
mod ended;
mod failures;
mod leaving;
mod limits;
mod replies;

use std::rc::Rc;

use crate::cas_map::CasMap;
use crate::cas_map::memory::MemoryMap;
use crate::pipeline::filter::Filter;
use crate::pipeline::step::Step;
use crate::pipeline::tests::world::{NOW, Request, World, after, form, settings};
use crate::pipeline::verdict::{Outcome, Verdict};
use crate::signature::key::Nonce;
use crate::store::StoreSettings;
use crate::store::local::store::LocalStore;
use crate::store::port::{
    CallError, ClaimRequest, HashKey, HttpCall, HttpResponse, Progress, Query, Report, Store,
    StoreCall, UpstreamOutcome,
};
use crate::store::redis::correlation::Correlation;
use crate::store::redis::script_reply::{Failure, ScriptReply};
use crate::store::redis::shared::Shared;
use crate::store::redis::store::RedisStore;
use crate::time::Millis;

/// A filter whose store is in Redis, and what its worker knows of that.
struct Redis {
    world: World,
    shared: Rc<Shared>,
}

impl Redis {
    fn new(json: &str) -> Redis {
        let mut settings = settings(json);
        let StoreSettings::Redis(redis) = std::mem::take(&mut settings.store) else {
            panic!("no store in Redis: {json}");
        };
        let memory = Rc::new(MemoryMap::new());
        let map: Rc<dyn CasMap> = Rc::clone(&memory) as _;
        let mut shared = None;
        let filter = Filter::with_store(settings, Rc::clone(&map), |tables, keyring| {
            let local = LocalStore::new(tables, map, HashKey([7; 16]));
            let store = RedisStore::new(redis, local, [9; 16], |label| keyring.derive(label));
            shared = Some(store.shared());
            Ok::<Box<dyn Store>, ()>(Box::new(store))
        });
        Redis {
            world: World::with_filter(&memory, filter.expect("a store")),
            shared: shared.expect("a store"),
        }
    }

    /// Sends a request to which Redis replies like this, call by call.
    fn send_with(
        &self,
        request: &Request,
        reply: &mut dyn FnMut(&[String]) -> Result<ScriptReply, Failure>,
    ) -> Verdict {
        let mut last = None;
        self.world.send_answering(request, &mut |call| {
            let words = words(call);
            // What is asked again, whole or because the answer was another's, is one question.
            let number = words.last().cloned();
            let reply = match &last {
                Some((asked, reply)) if *asked == number => *reply,
                _ => reply(&words),
            };
            last = Some((number, reply));
            answer(&words, reply)
        })
    }

    fn report(&self) -> Report {
        self.world.filter.store().take_report()
    }

    fn settle(&self, verdict: &Verdict, outcome: UpstreamOutcome) {
        self.world.settle(verdict, outcome);
    }
}

/// The words of the command that a call sends to Webdis.
fn words(call: &HttpCall) -> Vec<String> {
    let body = String::from_utf8(call.body.clone()).expect("ASCII");
    let word = |word: &str| {
        let decoded = crate::signature::urlencoded::decode(word.as_bytes());
        String::from_utf8(decoded).expect("UTF-8")
    };
    body.split('/').map(word).collect()
}

/// Returns what Webdis answers.
fn answer(
    words: &[String],
    reply: Result<ScriptReply, Failure>,
) -> Result<HttpResponse, CallError> {
    let correlation = words.last().expect("the question's number");
    let line = match reply {
        Err(Failure::CircuitOpen) => panic!("nobody answers what was not sent"),
        Err(Failure::NotSent) => return Err(CallError::NotSent),
        Err(Failure::NoAnswer) => return Err(CallError::NoResponse),
        Err(Failure::Status(status)) => {
            return Ok(HttpResponse {
                status,
                body: Some(Vec::new()),
            });
        }
        Err(Failure::Malformed) => "1".to_owned(),
        Err(Failure::Misdelivered) => format!("\"{} passed\"", Correlation(7)),
        Err(Failure::UnknownScript) => r#"[false, "NOSCRIPT No matching script"]"#.to_owned(),
        Ok(reply) => {
            let line = match reply {
                ScriptReply::Passed => "passed".to_owned(),
                ScriptReply::Claimed {
                    evicted,
                    evicted_age,
                } => format!("claimed {evicted} {}", evicted_age.0),
                ScriptReply::Limited { which, wait } => format!("limited {which} {}", wait.0),
                ScriptReply::Kept { left } => format!("kept {}", left.0),
                ScriptReply::Pending => "pending".to_owned(),
                ScriptReply::NeverAnswered { left } => format!("never_answered {}", left.0),
                ScriptReply::Full => "full".to_owned(),
                ScriptReply::Void => "void".to_owned(),
                ScriptReply::Settled => "settled".to_owned(),
            };
            format!("\"{correlation} {line}\"")
        }
    };
    Ok(HttpResponse {
        status: 200,
        body: Some(format!(r#"{{"EVALSHA": {line}}}"#).into_bytes()),
    })
}

const CLAIMED: ScriptReply = ScriptReply::Claimed {
    evicted: 0,
    evicted_age: Millis(0),
};
const LIMITED: ScriptReply = ScriptReply::Limited {
    which: 0,
    wait: Millis(5000),
};
/// By the second limit that was asked for.
const SECOND_LIMITED: ScriptReply = ScriptReply::Limited {
    which: 1,
    wait: Millis(5000),
};
const KEPT: ScriptReply = ScriptReply::Kept {
    left: Millis(600_000),
};

const NEVER_ANSWERED: ScriptReply = ScriptReply::NeverAnswered {
    left: Millis(600_000),
};

/// A filter with Redis, and these fields besides.
fn world(on_error: &str, more: &str) -> Redis {
    Redis::new(&format!(
        r#"{{"store": {{"type": "redis", "cluster": "c", "api": "webdis", "on_error": "{on_error}"}} {more}}}"#
    ))
}

const NO_LIMITS: &str = r#", "rate_limits": []"#;

/// Sends a request to which Redis answers like this, question by question, and says how
/// it ended and how many questions there were.
fn send(
    world: &Redis,
    request: &Request,
    answers: &[Result<ScriptReply, Failure>],
) -> (Verdict, usize) {
    let mut asked = 0;
    let verdict = world.send_with(request, &mut |_| {
        asked += 1;
        *answers.get(asked - 1).expect("no more questions than that")
    });
    (verdict, asked)
}

fn ended(
    world: &Redis,
    request: &Request,
    answers: &[Result<ScriptReply, Failure>],
) -> &'static str {
    let (verdict, asked) = send(world, request, answers);
    assert_eq!(asked, answers.len(), "questions");
    verdict.outcome.name()
}

/// Returns what Redis is to be told, and is now taken to know.
fn told(world: &Redis) -> Vec<UpstreamOutcome> {
    let settlements = world.shared.queue.send(NOW);
    world.shared.queue.arrived();
    settlements
        .iter()
        .map(|settlement| settlement.outcome)
        .collect()
}

/// Returns how a question is put: how many early limits, how many others, how many of both count,
/// and whether there is a claim.
fn put(words: &[String]) -> (usize, usize, usize, bool) {
    let keys: usize = words[2].parse().expect("a number");
    let arguments = &words[3 + keys..];
    let [early, limits] = [0, 1].map(|index| arguments[index].parse::<usize>().expect("a number"));
    let takes = arguments.iter().filter(|word| *word == "take").count();
    (early, limits - early, takes, keys > limits)
}

/// Sends a request to which Redis replies so, and says how it ended and how it was put.
fn put_by(
    world: &Redis,
    request: &Request,
    reply: ScriptReply,
) -> (&'static str, Vec<(usize, usize, usize, bool)>) {
    let mut questions = Vec::new();
    let verdict = world.send_with(request, &mut |words| {
        questions.push(put(words));
        Ok(reply)
    });
    (verdict.outcome.name(), questions)
}

/// Limits on all requests of an address, and on its rejections.
const BOTH: &str = r#", "rate_limits": [
    {"key": "client_ip", "requests": 9, "window": "5s"},
    {"key": "client_ip", "count": "rejected", "requests": 9, "window": "5s"}]"#;

/// Returns the call for a claim of this id, of one nonce and without limits.
fn claim_of(world: &Redis, id: u64) -> StoreCall {
    let claim = ClaimRequest {
        nonce: Nonce([1; 32]),
        id,
        signed_until: None,
    };
    let query = Query {
        webhook: 0,
        deferred: Vec::new(),
        limits: Vec::new(),
        claim: Some(claim),
    };
    match world.world.filter.store().admit(query, NOW) {
        Progress::Call(call) => call,
        _ => panic!("not asked"),
    }
}
