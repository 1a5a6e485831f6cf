//! One for each request: Envoy's callbacks, driving the core's states.
//!
//! Where the body ends is awkward: with the headers, with the last data, with an
//! extra empty piece of data, or with the trailers, in which case no data call says
//! so (coraza-proxy-wasm#289, #306). Every one of these leads to [`Stream::complete`].
//! Headers are held all the while, which needs `allow_on_headers_stop_iteration`.

use std::hash::Hasher;
use std::mem;
use std::rc::Rc;
use std::time::SystemTime;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use siphasher::sip::SipHasher24;

use crate::core::clock::Moment;
use crate::core::config::settings::Mode;
use crate::core::refusal::Reason;
use crate::core::request::answer::Answer;
use crate::core::request::client::Client;
use crate::core::request::headers::Headers;
use crate::core::request::state::{Arrival, Held, Surroundings};
use crate::core::request::verdict::{Accepted, Facts, Outcome, Refusal, Verdict};
use crate::core::table::nonces::Claim;
use crate::envoy::host::{self, Buffer, HostError, Level, Map};
use crate::envoy::root::Worker;
use crate::envoy::shared_data::SharedData;

/// A request and where it stands.
pub(super) struct Stream {
    /// `None` where there is no configuration: then everything is refused.
    worker: Option<Rc<Worker>>,
    context_id: u32,
    stage: Stage,
    /// How much of the body has come.
    body_size: usize,
}

enum Stage {
    /// Nothing has come yet.
    New,
    /// Headers are held for the body.
    Held(Box<Held>),
    /// On its way to the upstream, and what its answer will settle.
    Passed(Option<Settlement>),
    /// Answered by this filter, or about to be.
    Refused,
}

/// A claim that the upstream's answer keeps or releases.
struct Settlement {
    webhook: usize,
    claim: Claim,
}

/// Set on what passed; removed from whatever comes in.
mod upstream_header {
    pub(super) const VERIFIED: &str = "x-twilio-webhook-verified";
    pub(super) const NONCE: &str = "x-twilio-webhook-nonce";
    pub(super) const ACCOUNT: &str = "x-twilio-webhook-account";
    pub(super) const ALL: [&str; 3] = [VERIFIED, NONCE, ACCOUNT];
}

/// The verdict as filter state, for the access log.
const VERDICT_PROPERTY: &str = "twilio_webhook_verdict";

impl Stream {
    pub(super) fn new(worker: Option<Rc<Worker>>, context_id: u32) -> Stream {
        Stream {
            worker,
            context_id,
            stage: Stage::New,
            body_size: 0,
        }
    }

    fn arrive(&mut self, end_of_stream: bool) -> Action {
        let Some(worker) = self.worker.clone() else {
            return self.fail("there is no configuration");
        };
        let Ok(serialised) = host::headers(Map::RequestHeaders) else {
            return self.fail("the headers cannot be read");
        };
        let Some(pairs) = host::pairs(&serialised) else {
            return self.fail("the headers are cut short");
        };
        for name in upstream_header::ALL {
            let is_there = pairs.iter().any(|(own, _)| *own == name.as_bytes());
            if is_there && host::remove_request_header(name).is_err() {
                return self.fail("a header cannot be removed");
            }
        }
        let Ok(source) = host::property("source\0address") else {
            return self.fail("the client's address cannot be read");
        };
        let client = Client::from_source_address(&source.unwrap_or_default());
        let headers = Headers::new(&pairs);
        match worker.filter.arrive(headers, client, around(&worker.store)) {
            Arrival::Decided(verdict) => self.conclude(&worker, verdict),
            Arrival::Held(held) if end_of_stream || !held.needs_body() => {
                self.complete(&worker, held)
            }
            Arrival::Held(held) => {
                self.stage = Stage::Held(Box::new(held));
                Action::Pause
            }
        }
    }

    fn receive(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        match mem::replace(&mut self.stage, Stage::Refused) {
            Stage::Held(held) => {
                let Some(worker) = self.worker.clone() else {
                    return self.fail("there is no configuration");
                };
                self.body_size = body_size;
                if !held.fits(body_size) {
                    let verdict = held.overflow(around(&worker.store));
                    return self.conclude(&worker, verdict);
                }
                if end_of_stream {
                    return self.complete(&worker, *held);
                }
                self.stage = Stage::Held(held);
                Action::Pause
            }
            Stage::Passed(settlement) => {
                self.stage = Stage::Passed(settlement);
                Action::Continue
            }
            // A body without headers, or after a refusal.
            Stage::New | Stage::Refused => Action::Pause,
        }
    }

    /// The body has ended.
    fn complete(&mut self, worker: &Worker, held: Held) -> Action {
        let body = match self.body_size {
            0 => Ok(Vec::new()),
            size => host::buffer(Buffer::RequestBody, size),
        };
        let verdict = match body {
            Ok(body) if body.len() == self.body_size => {
                let claim_id = self.claim_id(worker);
                let mut verdict = held.complete(&body, claim_id, around(&worker.store));
                if verdict.suspect.is_some() {
                    verdict.facts.hint = diagnose(worker, &verdict, &body);
                }
                verdict
            }
            // A part of a body is not the body that was signed.
            Ok(_) | Err(_) => held.fail(around(&worker.store)),
        };
        self.conclude(worker, verdict)
    }

    /// Unlike that of any other request: random for the worker, and the context's
    /// number within it.
    fn claim_id(&self, worker: &Worker) -> u64 {
        let mut hasher = SipHasher24::new();
        hasher.write(&worker.claims);
        hasher.write_u32(self.context_id);
        hasher.finish()
    }

    /// The verdict becomes what Envoy does, and what an operator sees.
    fn conclude(&mut self, worker: &Worker, verdict: Verdict) -> Action {
        let Verdict { outcome, facts, .. } = verdict;
        worker.metrics.count(&outcome, &facts);
        worker
            .metrics
            .count_conflicts(worker.store.take_conflicts());
        // The access log is then without it; nothing else depends on it.
        let _ = host::set_property(VERDICT_PROPERTY, outcome.name());
        let is_refused = matches!(outcome, Outcome::Refused(_));
        let request_id = if is_refused || worker.log.wants(&outcome) {
            request_id()
        } else {
            String::new()
        };
        if worker.log.wants(&outcome) {
            let status = match &outcome {
                Outcome::Refused(refusal) => refusal.answered_status(),
                _ => 200,
            };
            let settings = worker.filter.settings();
            let now = now();
            worker
                .log
                .request(&outcome, status, &facts, &request_id, settings, now);
        }
        match outcome {
            Outcome::Unchecked | Outcome::Exempt => {
                self.stage = Stage::Passed(None);
                Action::Continue
            }
            Outcome::Accepted(accepted) => self.pass(worker, accepted, &facts),
            Outcome::Refused(refusal) => self.refuse(worker, &refusal, &facts, &request_id),
        }
    }

    fn pass(&mut self, worker: &Worker, accepted: Accepted, facts: &Facts) -> Action {
        let settlement = facts.webhook.zip(accepted.claim);
        let settlement = settlement.map(|(webhook, claim)| Settlement { webhook, claim });
        let marked = mark_as_verified(&accepted, facts);
        if marked.is_err() {
            // The upstream would take it for one that did not come through this filter.
            settle(worker, settlement, Answer::Failed);
            return self.fail("the upstream's headers cannot be set");
        }
        self.stage = Stage::Passed(settlement);
        Action::Continue
    }

    fn refuse(
        &mut self,
        worker: &Worker,
        refusal: &Refusal,
        facts: &Facts,
        request_id: &str,
    ) -> Action {
        let settings = worker.filter.settings();
        if settings.mode == Mode::Monitor {
            let reason = refusal.reason.name();
            // An upstream that does not get the header takes the request for unverified.
            let _ = host::set_request_header(upstream_header::VERIFIED, reason);
            self.stage = Stage::Passed(None);
            return Action::Continue;
        }
        let webhook = facts.webhook.and_then(|place| settings.webhooks.get(place));
        let allow = webhook.map_or(&[][..], |webhook| &webhook.methods);
        self.answer(refusal, request_id, allow)
    }

    /// Something failed that never should: the request is refused.
    fn fail(&mut self, what: &str) -> Action {
        host::log(Level::Error, &format!("twilio_webhook internal: {what}"));
        self.answer(&Refusal::from(Reason::Internal), &request_id(), &[])
    }

    /// The refusal goes out, and nothing of the request goes on, whether it could be
    /// sent or not.
    fn answer(&mut self, refusal: &Refusal, request_id: &str, allow: &[String]) -> Action {
        self.stage = Stage::Refused;
        if refusal.send(request_id, allow).is_err() {
            host::log(Level::Error, "twilio_webhook: a refusal cannot be sent");
        }
        Action::Pause
    }

    /// What the upstream's answer will settle, once.
    fn take_settlement(&mut self) -> Option<Settlement> {
        match &mut self.stage {
            Stage::Passed(settlement) => settlement.take(),
            Stage::New | Stage::Held(_) | Stage::Refused => None,
        }
    }
}

/// Why a signature does not fit. The headers are read once more: they are still
/// held, and an accepted request does not need them.
fn diagnose(worker: &Worker, verdict: &Verdict, body: &[u8]) -> Option<String> {
    let serialised = host::headers(Map::RequestHeaders).ok()?;
    let pairs = host::pairs(&serialised)?;
    worker
        .filter
        .diagnose(verdict, Headers::new(&pairs), body, now())
}

/// What the core works with at this moment.
pub(super) fn around(store: &SharedData) -> Surroundings<'_, SharedData> {
    Surroundings { store, now: now() }
}

fn now() -> Moment {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(Moment(0), Moment::from)
}

/// Envoy's `x-request-id`, in visible ASCII. Envoy makes one itself; where it is told to
/// preserve a client's (`preserve_external_request_id`), that may hold what a terminal
/// acts on, such as U+009B or U+202E, which JSON does not escape.
fn request_id() -> String {
    let id = host::header(Map::RequestHeaders, "x-request-id")
        .ok()
        .flatten();
    let visible = |byte: &u8| match byte {
        0x21..=0x7E => char::from(*byte),
        _ => '?',
    };
    let id = id.unwrap_or_default();
    id.iter().take(128).map(visible).collect()
}

fn mark_as_verified(accepted: &Accepted, facts: &Facts) -> Result<(), HostError> {
    host::set_request_header(upstream_header::VERIFIED, "true")?;
    host::set_request_header(upstream_header::NONCE, &accepted.nonce.to_hex())?;
    match &facts.account {
        Some(account) => host::set_request_header(upstream_header::ACCOUNT, account),
        None => Ok(()),
    }
}

fn settle(worker: &Worker, settlement: Option<Settlement>, answer: Answer) {
    let Some(Settlement { webhook, claim }) = settlement else {
        return;
    };
    let settled = worker
        .filter
        .settle(webhook, &claim, answer, around(&worker.store));
    match settled {
        Ok(change) => worker.metrics.count_change(change),
        Err(_) => worker.metrics.count_store_error(),
    }
    worker
        .metrics
        .count_conflicts(worker.store.take_conflicts());
    if answer != Answer::Taken {
        worker.metrics.count_release();
    }
}

/// Whether the answer is the upstream's own and not one that Envoy made.
fn is_from_upstream() -> bool {
    let details = host::property("response\0code_details").ok().flatten();
    details.is_none_or(|details| details == b"via_upstream")
}

fn to_status(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Ends this worker's VM where a test asks for it. Not in any build that is used.
#[cfg(feature = "trap")]
fn trap(map: Map) {
    if host::header(map, "x-trap").ok().flatten().is_some() {
        std::process::abort();
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        #[cfg(feature = "trap")]
        trap(Map::RequestHeaders);
        self.arrive(end_of_stream)
    }

    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        self.receive(body_size, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        // Trailers end the body, also one of which no data has come.
        self.receive(self.body_size, true)
    }

    /// The answer: the upstream's, or what Envoy says for it. This runs before the
    /// answer goes out, so that a retry finds the nonce released.
    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        #[cfg(feature = "trap")]
        trap(Map::ResponseHeaders);
        if let Some(settlement) = self.take_settlement()
            && let Some(worker) = &self.worker
        {
            let status = host::header(Map::ResponseHeaders, ":status").ok().flatten();
            let status = status.as_deref().and_then(to_status);
            settle(
                worker,
                Some(settlement),
                Answer::of_status(status, is_from_upstream),
            );
        }
        Action::Continue
    }

    /// The end of a request that never got an answer: its sender has left.
    fn on_log(&mut self) {
        if let Some(settlement) = self.take_settlement()
            && let Some(worker) = &self.worker
        {
            settle(worker, Some(settlement), Answer::SenderLeft);
        }
    }
}
