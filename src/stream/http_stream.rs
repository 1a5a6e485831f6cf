//! The driver: one request, event by event.
//!
//! Where the body ends is awkward: with the headers, with the last data, with an
//! extra empty piece of data, or with the trailers, in which case no data event says
//! so (coraza-proxy-wasm#289, #306). Every one of these leads to the checks of the body.
//! Headers are held all the while, which needs `allow_on_headers_stop_iteration`.
//!
//! Where the store makes a call, its answer is an event of its own, and the request is
//! held until then, whatever else arrives.

use std::mem;
use std::rc::Rc;
use std::time::Duration;

use crate::config::settings::Mode;
use crate::pipeline::rejection::Rejection;
use crate::pipeline::step::{AwaitingBody, AwaitingStore, Step};
use crate::pipeline::verdict::{Accepted, Outcome, RequestRecord, Verdict};
use crate::reason::Reason;
use crate::request::client_address::ClientAddress;
use crate::request::headers::Headers;
use crate::store::local::nonces::Claim;
use crate::store::port::{
    CallError, HttpCall, HttpResponse, PendingCall, Progress, StoreCall, UpstreamOutcome,
};
use crate::stream::host::{Action, CallId, Direction, HeaderBlock, Host, HostError, Level};
use crate::stream::log::Log;
use crate::stream::worker::Worker;
use crate::stream::{reply, upstream_headers};
use crate::time::Timestamp;

/// One request, and what it waits for.
pub struct HttpStream<H> {
    host: H,
    /// `None` where there is no configuration: then every request is rejected.
    worker: Option<Rc<Worker>>,
    /// What tells it from the other requests of its worker.
    number: u64,
    state: State,
    /// How many bytes of the body have come.
    body_size: usize,
    /// Whether that is all of it.
    has_ended: bool,
    /// Whether Envoy has shown any of it.
    has_been_shown: bool,
    /// Whether it was counted what became of it, which happens once.
    has_verdict: bool,
}

enum State {
    /// Nothing has come yet.
    New,
    /// The request is held until its body is complete.
    AwaitingBody(Box<AwaitingBody>),
    /// The request is held until the store has answered.
    AwaitingStore(Box<AwaitingStore>, Call),
    /// The request is on its way to the upstream, and this is what the response settles.
    Forwarded(Option<Unsettled>),
    /// The response is held until the store has heard of it.
    Releasing(Box<dyn PendingCall>, Call),
    /// The filter has answered, or is about to.
    Rejected,
}

/// A call that was sent.
#[derive(Clone, Copy)]
struct Call {
    id: CallId,
    sent: Duration,
}

/// A claim that the upstream's response settles.
struct Unsettled {
    webhook: usize,
    claim: Claim,
}

/// What an event has at hand, so that the host is asked for nothing twice.
struct Event<'a> {
    now: Timestamp,
    headers: Option<Headers<'a>>,
    body: Option<Vec<u8>>,
}

impl Event<'_> {
    fn at(now: Duration) -> Event<'static> {
        Event {
            now: now.into(),
            headers: None,
            body: None,
        }
    }
}

impl<H: Host> HttpStream<H> {
    /// Returns a request of which nothing has come yet. No other request of the worker has
    /// its `number`.
    pub fn new(host: H, worker: Option<Rc<Worker>>, number: u64) -> HttpStream<H> {
        HttpStream {
            host,
            worker,
            number,
            state: State::New,
            body_size: 0,
            has_ended: false,
            has_been_shown: false,
            has_verdict: false,
        }
    }

    /// The request's headers have come, and all of it if `end_of_stream`.
    pub fn on_request_headers(&mut self, end_of_stream: bool) -> Action {
        if !matches!(self.state, State::New) {
            // No host shows them twice.
            return Action::Pause;
        }
        let Some(worker) = self.worker.clone() else {
            return self.fail("there is no configuration");
        };
        let Ok(block) = self.host.request_headers() else {
            return self.fail("the headers cannot be read");
        };
        let Some(pairs) = block.pairs() else {
            return self.fail("the headers are cut short");
        };
        if upstream_headers::remove_from_request(&self.host, &pairs).is_err() {
            return self.fail("a header cannot be removed");
        }
        let Ok(address) = self.host.client_address() else {
            return self.fail("the client's address cannot be read");
        };
        self.has_ended = end_of_stream;
        let headers = Headers::new(&pairs);
        let event = Event {
            headers: Some(headers),
            ..Event::at(self.host.now())
        };
        let client = ClientAddress::from_source_address(&address);
        let step = worker.filter.on_headers(headers, client, event.now);
        self.advance(&worker, step, event)
    }

    /// More of the body has come: `body_size` bytes in all, and that is all of it if
    /// `end_of_stream`.
    pub fn on_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        self.has_been_shown = true;
        match &self.state {
            State::AwaitingBody(_) => {
                self.body_size = body_size;
                self.has_ended = end_of_stream;
                let Some(worker) = self.worker.clone() else {
                    return Action::Pause;
                };
                if !end_of_stream && worker.filter.fits(body_size) {
                    return Action::Pause;
                }
                let state = mem::replace(&mut self.state, State::Rejected);
                let State::AwaitingBody(awaiting) = state else {
                    return Action::Pause;
                };
                let event = Event::at(self.host.now());
                self.advance(&worker, Step::AwaitBody(*awaiting), event)
            }
            State::AwaitingStore(..) => {
                self.body_size = body_size;
                self.has_ended |= end_of_stream;
                Action::Pause
            }
            State::Forwarded(_) | State::Releasing(..) => Action::Continue,
            // A body without headers, or after a rejection.
            State::New | State::Rejected => Action::Pause,
        }
    }

    /// The request's trailers have come. They end the body, also one of which no data came.
    pub fn on_request_trailers(&mut self) -> Action {
        let is_removed = upstream_headers::remove_from_trailers(&self.host);
        if is_removed.is_err() && !matches!(self.state, State::Rejected) {
            self.leave(UpstreamOutcome::Failed);
            return self.fail("a trailer cannot be removed");
        }
        self.on_request_body(self.body_size, true)
    }

    /// The response's headers have come: the upstream's, or what Envoy says for it. This
    /// is before the response goes out, so that a retry finds the claim released.
    pub fn on_response_headers(&mut self) -> Action {
        if let State::Forwarded(unsettled) = &mut self.state
            && let Some(unsettled) = unsettled.take()
            && let Some(worker) = self.worker.clone()
        {
            let status = self.host.response_status();
            let is_upstreams = || self.host.is_upstream_response();
            let outcome = UpstreamOutcome::of_response(status, is_upstreams);
            return self.settle(&worker, &unsettled, outcome);
        }
        self.on_response_data()
    }

    /// More of the response has come. It is held while its headers are.
    pub fn on_response_data(&mut self) -> Action {
        match self.state {
            State::Releasing(..) => Action::Pause,
            _ => Action::Continue,
        }
    }

    /// A call was answered, or the time for that is over.
    pub fn on_call_answer(&mut self, id: CallId, answer: Result<HttpResponse, CallError>) {
        let Some(worker) = self.worker.clone() else {
            return;
        };
        let call = match &self.state {
            State::AwaitingStore(_, call) | State::Releasing(_, call) if call.id == id => *call,
            _ => return,
        };
        let now = self.host.now();
        let took = now.saturating_sub(call.sent);
        worker.metrics.record_call(&self.host, took);
        match mem::replace(&mut self.state, State::Rejected) {
            State::AwaitingStore(awaiting, _) => {
                let event = Event::at(now);
                let step = worker.filter.on_answer(*awaiting, answer, event.now);
                if self.advance(&worker, step, event) == Action::Continue {
                    self.resume(Direction::Request);
                }
            }
            State::Releasing(pending, _) => {
                if self.release(&worker, pending.resume(answer, now.into())) == Action::Continue {
                    self.resume(Direction::Response);
                }
                worker.report(&self.host);
            }
            _ => {}
        }
    }

    /// The request has ended, and nothing more comes of it.
    pub fn on_end(&mut self) {
        if let (State::AwaitingBody(_), Some(worker)) = (&self.state, &self.worker)
            && !self.has_been_shown
        {
            self.note_unseen_body(worker);
        }
        // Where there never was a response, the client has left.
        self.leave(UpstreamOutcome::ClientGone);
    }

    /// Ends whatever the request waits for: nobody waits for it any more.
    fn leave(&mut self, outcome: UpstreamOutcome) {
        let Some(worker) = self.worker.clone() else {
            return;
        };
        match mem::replace(&mut self.state, State::Rejected) {
            State::Forwarded(Some(Unsettled { webhook, claim })) => {
                let now = self.host.now().into();
                let store = worker.filter.store();
                if let Some(call) = store.settle(webhook, &claim, outcome, now) {
                    call.pending.abandon(now);
                }
            }
            State::AwaitingStore(awaiting, _) => awaiting.on_client_gone(self.host.now().into()),
            State::Releasing(pending, _) => pending.abandon(self.host.now().into()),
            State::AwaitingBody(awaiting) => worker.filter.on_client_gone(*awaiting),
            State::New | State::Forwarded(None) | State::Rejected => return,
        }
        worker.report(&self.host);
    }

    /// A fault was caught while an event was handled. A request that has not passed yet is
    /// rejected; a response is its upstream's, and goes on. What that was is not known then, so
    /// its claim stays.
    pub fn on_panic(&mut self) -> Action {
        if let State::Forwarded(unsettled) = &mut self.state {
            *unsettled = None;
            return Action::Continue;
        }
        self.fail("a fault was caught")
    }

    /// Does what a step says, up to where the request has to wait or is decided.
    fn advance(&mut self, worker: &Worker, mut step: Step, mut event: Event<'_>) -> Action {
        let filter = &worker.filter;
        loop {
            step = match step {
                Step::Decided(verdict) => return self.finish(worker, verdict, event),
                Step::AwaitBody(awaiting) if !filter.fits(self.body_size) => {
                    filter.on_body_too_large(awaiting, event.now)
                }
                Step::AwaitBody(awaiting) if self.has_ended || !awaiting.needs_body() => {
                    // What a client sends behind a handshake is for the upstream, once that
                    // has answered, and no body of the handshake.
                    let is_read = awaiting.needs_body();
                    let size = if is_read { self.body_size } else { 0 };
                    match self.body(size) {
                        Ok(body) => {
                            let id = worker.claim_id(self.number);
                            let step = filter.on_body(awaiting, &body, id, event.now);
                            event.body = Some(body);
                            step
                        }
                        // A part of a body is not the body that was signed.
                        Err(_) => filter.on_internal_error(awaiting, event.now),
                    }
                }
                Step::AwaitBody(awaiting) => {
                    self.state = State::AwaitingBody(Box::new(awaiting));
                    return Action::Pause;
                }
                Step::AwaitStore(awaiting, http) => match self.call(worker, &http) {
                    Ok(call) => {
                        self.state = State::AwaitingStore(awaiting, call);
                        return Action::Pause;
                    }
                    Err(_) => filter.on_answer(*awaiting, Err(CallError::NotSent), event.now),
                },
            }
        }
    }

    fn call(&self, worker: &Worker, http: &HttpCall) -> Result<Call, HostError> {
        worker.metrics.count_call(&self.host);
        let sent = self.host.now();
        let id = self.host.call(http)?;
        Ok(Call { id, sent })
    }

    fn body(&self, size: usize) -> Result<Vec<u8>, HostError> {
        if size == 0 {
            return Ok(Vec::new());
        }
        self.host.request_body(size)
    }

    /// Does what a verdict says, and tells the operator.
    fn finish(&mut self, worker: &Worker, mut verdict: Verdict, mut event: Event<'_>) -> Action {
        if let Outcome::Accepted(accepted) = &verdict.outcome
            && upstream_headers::add_verified(&self.host, accepted, &verdict.record).is_err()
        {
            return self.fail_accepted(verdict);
        }
        self.count(worker, &verdict.outcome, Some(&verdict.record));
        let host = &self.host;
        worker.report(host);
        let is_logged = worker.log.take_room(host, &verdict.outcome, event.now);
        let is_rejected = matches!(verdict.outcome, Outcome::Rejected(_));
        let request_id = if is_logged || is_rejected {
            self.request_id(event.headers)
        } else {
            String::new()
        };
        if is_logged {
            if worker.filter.may_explain(&verdict, event.now) {
                let body = event.body.take().or_else(|| self.body(self.body_size).ok());
                self.explain(worker, &mut verdict, &body.unwrap_or_default(), &event);
            }
            Log::request(&self.host, &worker.filter, &verdict, &request_id);
        }
        let Verdict { outcome, record } = verdict;
        match outcome {
            Outcome::Unchecked | Outcome::Exempt => {
                self.state = State::Forwarded(None);
                Action::Continue
            }
            Outcome::Accepted(accepted) => {
                self.state = State::Forwarded(unsettled(accepted, &record));
                Action::Continue
            }
            Outcome::Rejected(rejection) => self.reject(worker, &rejection, &record, &request_id),
        }
    }

    /// Finds out why a signature does not fit. At the end of a body the headers are read once
    /// more: they are still held, and an accepted request does not need them.
    fn explain(&self, worker: &Worker, verdict: &mut Verdict, body: &[u8], event: &Event<'_>) {
        if let Some(headers) = event.headers {
            return worker.filter.explain(verdict, headers, body, event.now);
        }
        if let Ok(block) = self.host.request_headers()
            && let Some(pairs) = block.pairs()
        {
            let headers = Headers::new(&pairs);
            worker.filter.explain(verdict, headers, body, event.now);
        }
    }

    /// Counts what became of the request, and hands it to the access log.
    fn count(&mut self, worker: &Worker, outcome: &Outcome, record: Option<&RequestRecord>) {
        self.has_verdict = true;
        worker.metrics.count(&self.host, outcome, record);
        // The access log is then without it; nothing else depends on it.
        let _ = self.host.set_verdict(outcome.name());
    }

    /// Rejects a request that has passed every check, but whose upstream would take it for one
    /// that did not come through this filter.
    fn fail_accepted(&mut self, verdict: Verdict) -> Action {
        if let Outcome::Accepted(accepted) = verdict.outcome {
            self.state = State::Forwarded(unsettled(accepted, &verdict.record));
            self.leave(UpstreamOutcome::Failed);
        }
        self.fail_with(
            "the upstream's headers cannot be set",
            Some(&verdict.record),
        )
    }

    fn reject(
        &mut self,
        worker: &Worker,
        rejection: &Rejection,
        record: &RequestRecord,
        request_id: &str,
    ) -> Action {
        if worker.filter.settings().mode == Mode::Monitor {
            // An upstream that does not get the header takes the request for unverified.
            let reason = rejection.reason.name();
            let _ = self
                .host
                .add_request_header(upstream_headers::VERIFIED, reason);
            self.state = State::Forwarded(None);
            return Action::Continue;
        }
        let webhook = record.webhook.as_ref();
        let allow = webhook.map_or(&[][..], |webhook| &webhook.settings.methods);
        self.answer(rejection, request_id, allow)
    }

    /// Rejects the request, since something failed that never should.
    fn fail(&mut self, what: &str) -> Action {
        self.fail_with(what, None)
    }

    fn fail_with(&mut self, what: &str, record: Option<&RequestRecord>) -> Action {
        if !self.has_verdict
            && let Some(worker) = self.worker.clone()
        {
            self.count(&worker, &Outcome::Rejected(Reason::Internal.into()), record);
        }
        let line = format!("twilio_webhook internal: {what}");
        self.host.log(Level::Error, &line);
        let request_id = self.request_id(None);
        self.answer(&Reason::Internal.into(), &request_id, &[])
    }

    /// Answers the request. Nothing of it goes on, whether that could be sent or not.
    fn answer(&mut self, rejection: &Rejection, request_id: &str, allow: &[String]) -> Action {
        self.state = State::Rejected;
        if reply::send(&self.host, rejection, request_id, allow).is_err() {
            let line = "twilio_webhook: a rejection cannot be sent";
            self.host.log(Level::Error, line);
        }
        Action::Pause
    }

    /// Settles a claim. The response waits where the store has to hear of it first.
    fn settle(
        &mut self,
        worker: &Worker,
        unsettled: &Unsettled,
        outcome: UpstreamOutcome,
    ) -> Action {
        let Unsettled { webhook, claim } = unsettled;
        let store = worker.filter.store();
        if store.is_settled(claim, outcome) {
            return Action::Continue;
        }
        let now = self.host.now().into();
        let call = store.settle(*webhook, claim, outcome, now);
        let action = call.map_or(Action::Continue, |call| {
            self.release(worker, Progress::Call(call))
        });
        worker.report(&self.host);
        action
    }

    /// Makes the call that a response waits for.
    fn release(&mut self, worker: &Worker, mut progress: Progress) -> Action {
        while let Progress::Call(StoreCall { http, pending }) = progress {
            progress = match self.call(worker, &http) {
                Ok(call) => {
                    self.state = State::Releasing(pending, call);
                    return Action::Pause;
                }
                Err(_) => {
                    let now = self.host.now().into();
                    pending.resume(Err(CallError::NotSent), now)
                }
            };
        }
        self.state = State::Forwarded(None);
        Action::Continue
    }

    fn resume(&self, direction: Direction) {
        if self.host.resume(direction).is_err() {
            // Envoy ends it by its own timeouts.
            let line = "twilio_webhook: a request cannot be resumed";
            self.host.log(Level::Error, line);
        }
    }

    /// Notes that a request has ended whose body was never shown, though some of it came: a
    /// mistake in Envoy's configuration, which nothing else tells.
    fn note_unseen_body(&self, worker: &Worker) {
        if self
            .host
            .received_body_bytes()
            .is_none_or(|bytes| bytes == 0)
        {
            return;
        }
        let request_id = self.request_id(None);
        let now = self.host.now().into();
        worker.log.note(&self.host, UNSEEN_BODY, &request_id, now);
    }

    /// Returns Envoy's `x-request-id`, in visible ASCII. Envoy makes one itself; where it is
    /// told to preserve a client's (`preserve_external_request_id`), that may hold what a
    /// terminal acts on, such as U+009B or U+202E, which JSON does not escape.
    fn request_id(&self, headers: Option<Headers<'_>>) -> String {
        const NAME: &str = "x-request-id";
        let visible = |byte: &u8| match byte {
            0x21..=0x7E => char::from(*byte),
            _ => '?',
        };
        let visible = |id: &[u8]| id.iter().take(128).map(visible).collect();
        match headers {
            Some(headers) => visible(headers.all(NAME).next().unwrap_or_default()),
            None => {
                let id = self.host.request_header(NAME).ok().flatten();
                visible(&id.unwrap_or_default())
            }
        }
    }
}

/// Returns what the response to an accepted request settles.
fn unsettled(accepted: Accepted, record: &RequestRecord) -> Option<Unsettled> {
    let webhook = record.webhook.as_ref()?.index;
    accepted.claim.map(|claim| Unsettled { webhook, claim })
}

const UNSEEN_BODY: &str = "A request was held until it ended, because Envoy never showed its body to this filter: \
     set allow_on_headers_stop_iteration: true beside the filter's vm_config.";
