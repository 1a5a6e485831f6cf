//! Questions to Redis, and their answers, over HTTP.
//!
//! Questions are sent on behalf of the worker's root context, whoever asks. Envoy ends
//! the calls of a stream with the stream, and then never calls back: a sender who hangs
//! up again and again would close a connection to Redis each time, and leave an entry in
//! the SDK's list of calls each time, for ever. A call of the root context always ends
//! with an answer, which the SDK hands to whoever asked, if that is still there.

use std::time::{Duration, SystemTime};

use proxy_wasm::hostcalls::dispatch_http_call;

use crate::host::wasm::abi::{self as host, Buffer, Level, Map};
use crate::host::wasm::known::now;
use crate::host::wasm::root::Worker;
use crate::host::wasm::settlement::to_status;
use crate::store::redis::script_call::{ScriptCall, ScriptRef};
use crate::store::redis::script_reply::{Failure, ScriptReply};
use crate::store::redis::shared::RedisStore;
use crate::store::redis::wire::MAX_ANSWER_BYTES;

/// A question that was sent.
pub(super) struct Call {
    /// Envoy's number of it.
    token: u32,
    by: ScriptRef,
    sent: SystemTime,
}

/// What came of a call.
pub(super) enum Came {
    /// Its answer, or none.
    Answer(Result<ScriptReply, Failure>),
    /// Redis did not know the script by its hash, and was sent it.
    SentAgain(Call),
}

impl Call {
    /// Asks Redis. `context` is whose callback this is.
    pub(super) fn send(
        worker: &Worker,
        redis: &RedisStore,
        question: &ScriptCall,
        context: u32,
    ) -> Result<Call, Failure> {
        let timeout = Duration::from_millis(redis.settings().timeout.0);
        Call::send_by(worker, redis, question, ScriptRef::Sha, timeout, context)
    }

    fn send_by(
        worker: &Worker,
        redis: &RedisStore,
        question: &ScriptCall,
        by: ScriptRef,
        timeout: Duration,
        context: u32,
    ) -> Result<Call, Failure> {
        let settings = redis.settings();
        let body = redis.write(question, by);
        let mut headers = vec![
            (":method", "POST"),
            (":path", "/"),
            (":authority", settings.authority.as_str()),
            ("content-type", settings.api.content_type()),
        ];
        if let Some(authorization) = &settings.authorization {
            headers.push(("authorization", authorization.expose()));
        }
        worker.metrics.count_callout();
        if host::set_effective_context(worker.context).is_err() {
            return Err(worker.failed(redis, Failure::NotSent));
        }
        let token = dispatch_http_call(&settings.cluster, headers, Some(&body), vec![], timeout);
        let is_back = host::set_effective_context(context);
        match (token, is_back) {
            (Ok(token), Ok(())) => Ok(Call {
                token,
                by,
                sent: SystemTime::now(),
            }),
            _ => Err(worker.failed(redis, Failure::NotSent)),
        }
    }

    /// Whether a callback is for this call.
    pub(super) fn is(&self, token: u32) -> bool {
        self.token == token
    }

    /// Envoy has called back. `headers` and `body_size` are what it says of the answer;
    /// without headers there is none.
    pub(super) fn answered(
        self,
        worker: &Worker,
        redis: &RedisStore,
        question: &ScriptCall,
        context: u32,
        (headers, body_size): (usize, usize),
    ) -> Came {
        let took = self.sent.elapsed().unwrap_or_default();
        worker.metrics.record_callout(took);
        let answer = if headers == 0 {
            Err(Failure::NoAnswer)
        } else {
            // The answer belongs to the context on whose behalf it was asked for.
            let answer = host::set_effective_context(worker.context)
                .map_err(|_| Failure::NoAnswer)
                .and_then(|()| read(redis, body_size));
            if host::set_effective_context(context).is_err() {
                // What follows would be done to another stream.
                return Came::Answer(Err(worker.failed(redis, Failure::NoAnswer)));
            }
            answer
        };
        match (answer, self.by) {
            (Ok(reply), _) => {
                worker.succeeded(redis);
                Came::Answer(Ok(reply))
            }
            (Err(Failure::UnknownScript), ScriptRef::Sha) => {
                // What is left of the time: whoever asks waits no longer for that.
                let timeout = Duration::from_millis(redis.settings().timeout.0);
                let left = timeout.saturating_sub(took).max(Duration::from_millis(1));
                match Call::send_by(worker, redis, question, ScriptRef::Source, left, context) {
                    Ok(call) => Came::SentAgain(call),
                    Err(failure) => Came::Answer(Err(failure)),
                }
            }
            (Err(failure), _) => Came::Answer(Err(worker.failed(redis, failure))),
        }
    }
}

fn read(redis: &RedisStore, body_size: usize) -> Result<ScriptReply, Failure> {
    let status = host::header(Map::CallResponse, ":status").ok().flatten();
    let status = status.as_deref().and_then(to_status);
    let status = status.ok_or(Failure::Malformed)?;
    if body_size > MAX_ANSWER_BYTES {
        return Err(if status == 200 {
            Failure::Malformed
        } else {
            Failure::Status(status)
        });
    }
    let body = host::whole_buffer(Buffer::CallResponseBody, body_size);
    let body = body.map_err(|_| Failure::Malformed)?;
    redis.read(status, &body)
}

impl Worker {
    /// Redis has answered.
    fn succeeded(&self, redis: &RedisStore) {
        let was_open = redis.circuit.is_open();
        redis.circuit.succeeded();
        if was_open {
            self.metrics.count_open_circuits(-1);
            host::log(Level::Info, "twilio_webhook store: Redis answers again");
        }
    }

    /// It has not; the failure goes on to whoever asked.
    fn failed(&self, redis: &RedisStore, failure: Failure) -> Failure {
        self.metrics.count_callout_failure();
        let was_open = redis.circuit.is_open();
        redis.circuit.failed(now());
        if redis.circuit.is_open() && !was_open {
            self.metrics.count_open_circuits(1);
            let line = format!(
                "twilio_webhook store: Redis (cluster {}) failed again and again: {}",
                redis.settings().cluster,
                failure.describe()
            );
            host::log(Level::Error, &line);
        }
        failure
    }
}
