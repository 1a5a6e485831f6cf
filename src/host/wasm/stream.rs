//! One for each request: Envoy's callbacks, driving the core's states.
//!
//! Where the body ends is awkward: with the headers, with the last data, with an
//! extra empty piece of data, or with the trailers, in which case no data call says
//! so (coraza-proxy-wasm#289, #306). Every one of these leads to [`AwaitingBody::complete`].
//! Headers are held all the while, which needs `allow_on_headers_stop_iteration`.
//!
//! Where Redis is asked, its answer comes in a callback of its own, and the request is
//! held until then, whatever else arrives.

use std::borrow::Cow;
use std::hash::Hasher;
use std::mem;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use siphasher::sip::SipHasher24;

use crate::config::settings::Mode;
use crate::host::wasm::abi::{self as host, Buffer, Direction, HostError, Level, Map};
use crate::host::wasm::callout::{Call, Came};
use crate::host::wasm::known::{Known, now};
use crate::host::wasm::root::Worker;
use crate::host::wasm::settlement::{self, Releasing, Settlement};
use crate::pipeline::answer::Answer;
use crate::pipeline::state::{Asking, AwaitingBody, Next};
use crate::pipeline::verdict::{Accepted, Outcome, Rejection, RequestRecord, Verdict};
use crate::reason::Reason;
use crate::request::client_address::ClientAddress;
use crate::request::headers::Headers;
use crate::store::redis::script_reply::{Failure, ScriptReply};

/// A request and where it stands.
pub(super) struct Stream {
    /// `None` where there is no configuration: then everything is rejected.
    worker: Option<Rc<Worker>>,
    context_id: u32,
    stage: Stage,
    /// How much of the body has come.
    body_size: usize,
    /// Whether that is all of it.
    has_ended: bool,
    /// Whether Envoy has shown any of it.
    has_been_shown: bool,
    /// Kept from the headers of a request that is held: a rejection names it.
    request_id: Option<String>,
}

enum Stage {
    /// Nothing has come yet.
    New,
    /// Headers are held for the body.
    AwaitingBody(Box<AwaitingBody>),
    /// All of it is held for Redis.
    Asking(Box<Asking>, Call),
    /// On its way to the upstream, and what its answer will settle.
    Passed(Option<Settlement>),
    /// The upstream has failed, and its answer is held until Redis has released the claim.
    Releasing(Box<Releasing>, Call),
    /// Answered by this filter, or about to be.
    Rejected,
}

/// Set on what passed; removed from whatever comes in.
mod upstream_header {
    use crate::host::wasm::abi::{self as host, HostError, Map};

    pub(super) const VERIFIED: &str = "x-twilio-webhook-verified";
    pub(super) const NONCE: &str = "x-twilio-webhook-nonce";
    pub(super) const ACCOUNT: &str = "x-twilio-webhook-account";

    const ALL: [&str; 3] = [VERIFIED, NONCE, ACCOUNT];

    /// Removes them from what a client has sent, in every spelling that an upstream may
    /// take for them: CGI and what descends from it (WSGI, Rack, PHP) reads `_` for `-`.
    pub(super) fn remove_all(map: Map, sent: &[(&[u8], &[u8])]) -> Result<(), HostError> {
        for (name, _) in sent {
            if ALL.iter().any(|own| could_be(name, own)) {
                host::remove(map, name)?;
            }
        }
        Ok(())
    }

    fn could_be(name: &[u8], own: &str) -> bool {
        let same = |(sent, own): (&u8, &u8)| {
            sent == own || sent.eq_ignore_ascii_case(own) || (*sent == b'_' && *own == b'-')
        };
        name.len() == own.len() && name.iter().zip(own.as_bytes()).all(same)
    }
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
            has_ended: false,
            has_been_shown: false,
            request_id: None,
        }
    }

    fn arrive(&mut self, end_of_stream: bool) -> Action {
        let Some(worker) = self.worker.clone() else {
            return self.fail("there is no configuration");
        };
        let Ok(serialised) = host::headers(Map::Request) else {
            return self.fail("the headers cannot be read");
        };
        let Some(pairs) = host::pairs(&serialised) else {
            return self.fail("the headers are cut short");
        };
        if upstream_header::remove_all(Map::Request, &pairs).is_err() {
            return self.fail("a header cannot be removed");
        }
        let Ok(source) = host::property("source\0address") else {
            return self.fail("the client's address cannot be read");
        };
        let client = ClientAddress::from_source_address(&source.unwrap_or_default());
        let headers = Headers::new(&pairs);
        self.has_ended = end_of_stream;
        let mut known = Known::of(headers);
        let next = worker.filter.arrive(headers, client, known.around(&worker));
        self.go_on(&worker, next, known)
    }

    /// What the core says is done.
    fn go_on(&mut self, worker: &Worker, mut next: Next, mut known: Known<'_>) -> Action {
        loop {
            next = match next {
                Next::Decided(mut verdict) => {
                    if verdict.failed_signature.is_some() {
                        let body = known.body.take().or_else(|| self.body().ok());
                        let body = body.unwrap_or_default();
                        verdict.facts.hint = diagnose(worker, &verdict, &body, &mut known);
                    }
                    return self.conclude(worker, verdict, known);
                }
                Next::AwaitingBody(held) if !held.fits(self.body_size) => {
                    held.overflow(known.around(worker))
                }
                Next::AwaitingBody(held) if self.has_ended || !held.needs_body() => {
                    match self.body_of(&held) {
                        Ok(body) => {
                            let claim_id = self.claim_id(worker);
                            let next = held.complete(&body, claim_id, known.around(worker));
                            known.body = Some(body);
                            next
                        }
                        // A part of a body is not the body that was signed.
                        Err(_) => held.fail(known.around(worker)),
                    }
                }
                Next::AwaitingBody(held) => {
                    self.hold(&known);
                    self.stage = Stage::AwaitingBody(Box::new(held));
                    return Action::Pause;
                }
                Next::Asking(asking) => match self.ask(worker, &asking) {
                    Ok(call) => {
                        self.hold(&known);
                        self.stage = Stage::Asking(asking, call);
                        return Action::Pause;
                    }
                    Err(failure) => asking.answered(Err(failure), known.around(worker)),
                },
            }
        }
    }

    /// What of the headers may be needed when they are no longer at hand.
    fn hold(&mut self, known: &Known<'_>) {
        if known.headers.is_some() {
            self.request_id = Some(known.request_id());
        }
    }

    fn request_id(&mut self, known: &Known<'_>) -> String {
        let held = self.request_id.take();
        held.unwrap_or_else(|| known.request_id())
    }

    fn ask(&self, worker: &Worker, asking: &Asking) -> Result<Call, Failure> {
        let redis = worker.filter.redis().ok_or(Failure::NotSent)?;
        Call::send(worker, redis, asking.question(), self.context_id)
    }

    fn receive(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        self.has_been_shown = true;
        match &self.stage {
            Stage::AwaitingBody(_) => {
                let Stage::AwaitingBody(held) = mem::replace(&mut self.stage, Stage::Rejected)
                else {
                    return Action::Pause;
                };
                let Some(worker) = self.worker.clone() else {
                    return self.fail("there is no configuration");
                };
                self.body_size = body_size;
                self.has_ended = end_of_stream;
                self.go_on(&worker, Next::AwaitingBody(*held), Known::default())
            }
            Stage::Asking(..) => {
                self.body_size = body_size;
                self.has_ended |= end_of_stream;
                Action::Pause
            }
            Stage::Passed(_) | Stage::Releasing(..) => Action::Continue,
            // A body without headers, or after a rejection.
            Stage::New | Stage::Rejected => Action::Pause,
        }
    }

    /// The body of a request that is complete. What a client sends behind a handshake is for
    /// the upstream, once that has answered, and no body of the handshake.
    fn body_of(&self, held: &AwaitingBody) -> Result<Vec<u8>, HostError> {
        if held.needs_body() {
            self.body()
        } else {
            Ok(Vec::new())
        }
    }

    /// All that has come of the body.
    fn body(&self) -> Result<Vec<u8>, HostError> {
        host::whole_buffer(Buffer::RequestBody, self.body_size)
    }

    /// Redis has answered, or the time for it is over.
    fn answered(&mut self, token: u32, answer: (usize, usize)) {
        let Some(worker) = self.worker.clone() else {
            return;
        };
        let Some(redis) = worker.filter.redis() else {
            return;
        };
        let context = self.context_id;
        match mem::replace(&mut self.stage, Stage::Rejected) {
            Stage::Asking(asking, call) if call.is(token) => {
                match call.answered(&worker, redis, asking.question(), context, answer) {
                    Came::SentAgain(call) => self.stage = Stage::Asking(asking, call),
                    Came::Answer(answer) => {
                        let mut known = Known::default();
                        let next = asking.answered(answer, known.around(&worker));
                        if self.go_on(&worker, next, known) == Action::Continue {
                            self.resume(Direction::Request);
                        }
                    }
                }
            }
            Stage::Releasing(releasing, call) if call.is(token) => {
                match call.answered(&worker, redis, &releasing.question, context, answer) {
                    Came::SentAgain(call) => self.stage = Stage::Releasing(releasing, call),
                    Came::Answer(answer) => {
                        if answer != Ok(ScriptReply::Settled) {
                            redis.unsettled.push(releasing.settlement);
                        }
                        self.stage = Stage::Passed(None);
                        self.resume(Direction::Response);
                    }
                }
            }
            stage => self.stage = stage,
        }
    }

    fn resume(&self, direction: Direction) {
        if host::resume(direction).is_err() {
            // Envoy ends it by its own timeouts.
            host::log(Level::Error, "twilio_webhook: a request cannot be resumed");
        }
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
    fn conclude(&mut self, worker: &Worker, verdict: Verdict, mut known: Known<'_>) -> Action {
        let Verdict { outcome, facts, .. } = verdict;
        worker.metrics.count(&outcome, &facts);
        worker
            .metrics
            .count_conflicts(worker.store.take_conflicts());
        // The access log is then without it; nothing else depends on it.
        let _ = host::set_property(VERDICT_PROPERTY, outcome.name());
        let is_rejected = matches!(outcome, Outcome::Rejected(_));
        let request_id = if is_rejected || worker.log.wants(&outcome) {
            self.request_id(&known)
        } else {
            String::new()
        };
        if worker.log.wants(&outcome) {
            let status = match &outcome {
                Outcome::Rejected(rejection) => rejection.answered_status(),
                _ => 200,
            };
            let settings = worker.filter.settings();
            let now = known.now();
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
            Outcome::Rejected(rejection) => self.reject(worker, &rejection, &facts, &request_id),
        }
    }

    fn pass(&mut self, worker: &Worker, accepted: Accepted, facts: &RequestRecord) -> Action {
        let settlement = facts.webhook.zip(accepted.claim);
        let settlement = settlement.map(|(webhook, claim)| Settlement { webhook, claim });
        let marked = mark_as_verified(&accepted, facts);
        if marked.is_err() {
            // The upstream would take it for one that did not come through this filter.
            settlement::settle_later(worker, settlement, Answer::Failed);
            return self.fail("the upstream's headers cannot be set");
        }
        self.stage = Stage::Passed(settlement);
        Action::Continue
    }

    fn reject(
        &mut self,
        worker: &Worker,
        rejection: &Rejection,
        facts: &RequestRecord,
        request_id: &str,
    ) -> Action {
        let settings = worker.filter.settings();
        if settings.mode == Mode::Monitor {
            let reason = rejection.reason.name();
            // An upstream that does not get the header takes the request for unverified.
            let _ = host::set_request_header(upstream_header::VERIFIED, reason);
            self.stage = Stage::Passed(None);
            return Action::Continue;
        }
        let webhook = facts.webhook.and_then(|index| settings.webhooks.get(index));
        let allow = webhook.map_or(&[][..], |webhook| &webhook.methods);
        self.answer(rejection, request_id, allow)
    }

    /// Something failed that never should: the request is rejected.
    fn fail(&mut self, what: &str) -> Action {
        host::log(Level::Error, &format!("twilio_webhook internal: {what}"));
        let request_id = self.request_id(&Known::default());
        self.answer(&Rejection::from(Reason::Internal), &request_id, &[])
    }

    /// The rejection goes out, and nothing of the request goes on, whether it could be
    /// sent or not.
    fn answer(&mut self, rejection: &Rejection, request_id: &str, allow: &[String]) -> Action {
        self.stage = Stage::Rejected;
        if rejection.send(request_id, allow).is_err() {
            host::log(Level::Error, "twilio_webhook: a rejection cannot be sent");
        }
        Action::Pause
    }

    /// What the upstream's answer will settle, once.
    fn take_settlement(&mut self) -> Option<Settlement> {
        match &mut self.stage {
            Stage::Passed(settlement) => settlement.take(),
            _ => None,
        }
    }

    /// The upstream has answered. Where it failed, a retry is to pass at every Envoy, so
    /// that its answer is held until Redis has heard of it.
    fn settle(&mut self, worker: &Worker, settlement: Settlement, answer: Answer) -> Action {
        let Some((redis, settlement)) = settlement.settle(worker, answer) else {
            return Action::Continue;
        };
        let now = now();
        if answer == Answer::Failed && redis.circuit.allows(now) {
            let question = redis.settle(&[settlement], now);
            if let Ok(call) = Call::send(worker, redis, &question, self.context_id) {
                let releasing = Releasing {
                    settlement,
                    question,
                };
                self.stage = Stage::Releasing(Box::new(releasing), call);
                return Action::Pause;
            }
        }
        redis.unsettled.push(settlement);
        Action::Continue
    }

    /// The request has ended, and nothing of its body was ever shown. Where some of it has
    /// arrived, that is a mistake in Envoy's configuration, which nothing else tells.
    fn note_unseen_body(&mut self, worker: &Worker) {
        if received_body_bytes().is_none_or(|bytes| bytes == 0) {
            return;
        }
        let request_id = self.request_id(&Known::default());
        worker.log.note(UNSEEN_BODY, &request_id, now());
    }

    /// What of an answer arrives while its headers are held is held, too.
    fn pass_answer(&self) -> Action {
        match self.stage {
            Stage::Releasing(..) => Action::Pause,
            _ => Action::Continue,
        }
    }
}

const UNSEEN_BODY: &str = "A request was held until it ended, because Envoy never showed its body to this filter: \
     set allow_on_headers_stop_iteration: true beside the filter's vm_config.";

/// How many bytes of the request's body Envoy has received. (`request.size` is what the
/// sender has announced.)
fn received_body_bytes() -> Option<u64> {
    let total = host::property("request\0total_size").ok().flatten()?;
    let total = u64::from_le_bytes(total.try_into().ok()?);
    let serialised = host::headers(Map::Request).ok()?;
    let headers = host::pairs(&serialised)?;
    let size = |(name, value): &(&[u8], &[u8])| (name.len() + value.len()) as u64;
    Some(total.saturating_sub(headers.iter().map(size).sum()))
}

/// An HTTP/2 upstream may read trailers as it reads headers.
fn remove_trailers() -> Result<(), HostError> {
    let serialised = host::headers(Map::RequestTrailers)?;
    let sent = host::pairs(&serialised).unwrap_or_default();
    upstream_header::remove_all(Map::RequestTrailers, &sent)
}

/// Why a signature does not fit. At the end of a body the headers are read once more: they
/// are still held, and an accepted request does not need them.
fn diagnose(
    worker: &Worker,
    verdict: &Verdict,
    body: &[u8],
    known: &mut Known<'_>,
) -> Option<Cow<'static, str>> {
    let around = known.around(worker);
    if let Some(headers) = known.headers {
        return worker.filter.diagnose(verdict, headers, body, around);
    }
    let serialised = host::headers(Map::Request).ok()?;
    let pairs = host::pairs(&serialised)?;
    worker
        .filter
        .diagnose(verdict, Headers::new(&pairs), body, around)
}

fn mark_as_verified(accepted: &Accepted, facts: &RequestRecord) -> Result<(), HostError> {
    host::set_request_header(upstream_header::VERIFIED, "true")?;
    host::set_request_header(upstream_header::NONCE, &accepted.nonce.to_hex())?;
    match &facts.account {
        Some(account) => host::set_request_header(upstream_header::ACCOUNT, account.as_str()),
        None => Ok(()),
    }
}

/// Ends this worker's VM where a test asks for it. Not in any build that is used.
#[cfg(feature = "trap")]
fn trap(map: Map) {
    if host::header(map, "x-trap").ok().flatten().is_some() {
        std::process::abort();
    }
}

impl Context for Stream {
    fn on_http_call_response(
        &mut self,
        token: u32,
        headers: usize,
        body_size: usize,
        _trailers: usize,
    ) {
        self.answered(token, (headers, body_size));
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        #[cfg(feature = "trap")]
        trap(Map::Request);
        self.arrive(end_of_stream)
    }

    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        self.receive(body_size, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if remove_trailers().is_err() && !matches!(self.stage, Stage::Rejected) {
            let worker = self.worker.clone();
            if let Some(worker) = worker {
                let settlement = self.take_settlement();
                settlement::settle_later(&worker, settlement, Answer::Failed);
            }
            return self.fail("a trailer cannot be removed");
        }
        // Trailers end the body, also one of which no data has come.
        self.receive(self.body_size, true)
    }

    /// The answer: the upstream's, or what Envoy says for it. This runs before the
    /// answer goes out, so that a retry finds the nonce released.
    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        #[cfg(feature = "trap")]
        trap(Map::Response);
        if let Some(settlement) = self.take_settlement()
            && let Some(worker) = self.worker.clone()
        {
            return self.settle(&worker, settlement, settlement::upstreams_answer());
        }
        self.pass_answer()
    }

    fn on_http_response_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        self.pass_answer()
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.pass_answer()
    }

    /// The end of a request that never got an answer: its sender has left.
    fn on_log(&mut self) {
        let Some(worker) = self.worker.clone() else {
            return;
        };
        match mem::replace(&mut self.stage, Stage::Rejected) {
            Stage::Passed(settlement) => {
                settlement::settle_later(&worker, settlement, Answer::SenderLeft)
            }
            Stage::Asking(asking, _) => {
                let change = asking.abandon(Known::default().around(&worker));
                worker.metrics.count_change(change);
            }
            // The release is on its way. If that fails, nobody hears of it here any more; so it
            // is told once more, which changes nothing if it has arrived.
            Stage::Releasing(releasing, _) => {
                if let Some(redis) = worker.filter.redis() {
                    redis.unsettled.push(releasing.settlement);
                }
            }
            Stage::AwaitingBody(_) if !self.has_been_shown => self.note_unseen_body(&worker),
            Stage::New | Stage::AwaitingBody(_) | Stage::Rejected => {}
        }
    }
}
