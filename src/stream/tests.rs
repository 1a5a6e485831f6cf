//! The driver against a scripted host and a scripted store: every order of events up to
//! six, against a plain model of what must happen.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use crate::cas_map::CasMap;
use crate::cas_map::memory::MemoryMap;
use crate::pipeline::filter::Filter;
use crate::pipeline::tests::{URL, settings, signature};
use crate::store::local::nonces::{Claim, NonceTable, PriorDelivery};
use crate::store::port::{
    CallError, Decision, HashKey, HttpCall, HttpResponse, PendingCall, Progress, Query, Report,
    Store, StoreCall, UpstreamOutcome,
};
use crate::stream::host::{
    Action, CallId, Direction, HeaderBlock, Host, HostError, Level, LocalResponse, Metric,
    MetricKind,
};
use crate::stream::http_stream::HttpStream;
use crate::stream::log::Log;
use crate::stream::metrics::Metrics;
use crate::stream::worker::Worker;
use crate::time::{Millis, Timestamp};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const BODY: &[u8] = b"Body=2+tacos&From=x";
/// How much of it a first piece has.
const PIECE: usize = 7;

/// What a host may do to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Event {
    Headers,
    /// Headers without a body.
    HeadersAlone,
    /// A piece of the body.
    Piece,
    /// All of it.
    Body,
    Trailers,
    /// The answers to the call that is open: yes, no, none in time, and "ask again".
    Yes,
    No,
    NoResponse,
    Again,
    /// The answer to a call that nobody has made.
    Stray,
    /// The upstream has processed the request.
    Processed,
    /// The upstream has failed.
    Failed,
    ResponseData,
    /// The request is over: answered, reset, or its client has left.
    End,
}

const EVENTS: [Event; 14] = [
    Event::Headers,
    Event::HeadersAlone,
    Event::Piece,
    Event::Body,
    Event::Trailers,
    Event::Yes,
    Event::No,
    Event::NoResponse,
    Event::Again,
    Event::Stray,
    Event::Processed,
    Event::Failed,
    Event::ResponseData,
    Event::End,
];

/// A call of the host that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    Headers,
    DamagedHeaders,
    Address,
    Remove,
    Add,
    Body,
    Trailers,
    DamagedTrailers,
    Call,
    Answer,
    Resume,
}

/// A host that writes down what it is asked for.
#[derive(Clone)]
struct ScriptedHost(Rc<Script>);

struct Script {
    broken: Broken,
    signature: String,
    status: Cell<Option<u16>>,
    calls: Cell<u32>,
    verified: Cell<bool>,
    responses: RefCell<Vec<u16>>,
    resumed: RefCell<Vec<Direction>>,
    verdicts: RefCell<Vec<String>>,
}

impl ScriptedHost {
    fn fails(&self, what: Broken) -> Result<(), HostError> {
        if self.0.broken == what {
            Err(HostError(1))
        } else {
            Ok(())
        }
    }
}

struct Block {
    pairs: Vec<(&'static str, String)>,
    is_damaged: bool,
}

impl HeaderBlock for Block {
    fn pairs(&self) -> Option<Vec<(&[u8], &[u8])>> {
        let pairs = self.pairs.iter();
        let pairs = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        (!self.is_damaged).then(|| pairs.collect())
    }
}

impl Host for ScriptedHost {
    type Headers = Block;

    const NAME: &'static str = "scripted";

    const ABI: &'static str = "none";

    fn now(&self) -> Duration {
        Duration::from_secs(1_800_000_000)
    }

    fn log(&self, _: Level, _: &str) {}

    fn define_metric(
        &self,
        _: MetricKind,
        _: &str,
        _: &[(&str, &str)],
    ) -> Result<Metric, HostError> {
        Ok(Metric(0))
    }

    fn increment(&self, _: Metric, by: i64) {
        assert_ne!(by, 0, "that is an error to a host");
    }

    fn record(&self, _: Metric, _: u64) {}

    fn call(&self, _: &HttpCall) -> Result<CallId, HostError> {
        self.fails(Broken::Call)?;
        self.0.calls.set(self.0.calls.get() + 1);
        Ok(CallId(self.0.calls.get()))
    }

    fn request_headers(&self) -> Result<Block, HostError> {
        self.fails(Broken::Headers)?;
        Ok(Block {
            pairs: vec![
                (":method", "POST".into()),
                (":path", "/hook".into()),
                ("content-type", "application/x-www-form-urlencoded".into()),
                ("x-twilio-signature", self.0.signature.clone()),
                // A client that claims to be verified.
                ("X_Twilio-Webhook_Verified", "true".into()),
            ],
            is_damaged: self.0.broken == Broken::DamagedHeaders,
        })
    }

    fn request_trailers(&self) -> Result<Block, HostError> {
        self.fails(Broken::Trailers)?;
        Ok(Block {
            pairs: vec![("x-twilio-webhook-nonce", "0".into())],
            is_damaged: self.0.broken == Broken::DamagedTrailers,
        })
    }

    fn request_header(&self, _: &str) -> Result<Option<Vec<u8>>, HostError> {
        Ok(None)
    }

    fn add_request_header(&self, name: &str, value: &str) -> Result<(), HostError> {
        self.fails(Broken::Add)?;
        if name == "x-twilio-webhook-verified" {
            assert_eq!(value, "true");
            assert!(!self.0.verified.replace(true), "verified twice");
        }
        Ok(())
    }

    fn remove_request_header(&self, name: &[u8]) -> Result<(), HostError> {
        assert_eq!(name, b"X_Twilio-Webhook_Verified");
        self.fails(Broken::Remove)
    }

    fn remove_request_trailer(&self, _: &[u8]) -> Result<(), HostError> {
        self.fails(Broken::Remove)
    }

    fn client_address(&self) -> Result<Vec<u8>, HostError> {
        self.fails(Broken::Address)?;
        Ok(b"192.0.2.1:5".to_vec())
    }

    fn request_body(&self, size: usize) -> Result<Vec<u8>, HostError> {
        self.fails(Broken::Body)?;
        Ok(BODY[..size].to_vec())
    }

    fn received_body_bytes(&self) -> Option<u64> {
        None
    }

    fn response_status(&self) -> Option<u16> {
        self.0.status.get()
    }

    fn is_upstream_response(&self) -> bool {
        true
    }

    fn set_verdict(&self, name: &str) -> Result<(), HostError> {
        self.0.verdicts.borrow_mut().push(name.to_owned());
        Ok(())
    }

    fn send_local_response(&self, response: &LocalResponse<'_>) -> Result<(), HostError> {
        self.0.responses.borrow_mut().push(response.status);
        self.fails(Broken::Answer)
    }

    fn resume(&self, direction: Direction) -> Result<(), HostError> {
        self.0.resumed.borrow_mut().push(direction);
        self.fails(Broken::Resume)
    }
}

/// How the claim of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    /// By what became of the request.
    By(UpstreamOutcome),
    /// It was being asked for when the client left.
    Abandoned,
}

/// A third kind of store: it admits at once, or makes a call for everything.
struct ScriptedStore {
    is_remote: bool,
    table: NonceTable,
    settled: Rc<RefCell<Vec<Settled>>>,
}

struct Pending {
    /// What is admitted by a yes; `None` for the call of a settlement.
    claim: Option<Option<Claim>>,
    settled: Rc<RefCell<Vec<Settled>>>,
}

fn store_call(pending: Pending) -> StoreCall {
    StoreCall {
        http: HttpCall {
            cluster: "a cluster".into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Millis(100),
        },
        pending: Box::new(pending),
    }
}

impl PendingCall for Pending {
    fn resume(self: Box<Self>, answer: Result<HttpResponse, CallError>, _: Timestamp) -> Progress {
        let Some(claim) = self.claim else {
            return match answer.map(|response| response.status) {
                Ok(100) => Progress::Call(store_call(*self)),
                _ => Progress::Done(Decision::Admitted(None)),
            };
        };
        match answer.map(|response| response.status) {
            Ok(100) => Progress::Call(store_call(*self)),
            Ok(200) => Progress::Done(Decision::Admitted(claim)),
            Ok(_) => Progress::Done(Decision::Duplicate(PriorDelivery::InFlight)),
            Err(_) => Progress::Done(Decision::Unavailable),
        }
    }

    fn abandon(self: Box<Self>, _: Timestamp) {
        if let Some(Some(_)) = self.claim {
            self.settled.borrow_mut().push(Settled::Abandoned);
        }
    }
}

impl Store for ScriptedStore {
    fn hash_key(&self) -> HashKey {
        HashKey([7; 16])
    }

    fn admit(&self, query: Query, now: Timestamp) -> Progress {
        let claim = query.claim.map(|request| {
            self.table
                .prepare(request.nonce, request.id, request.signed_until, now)
        });
        if self.is_remote {
            return Progress::Call(store_call(Pending {
                claim: Some(claim),
                settled: Rc::clone(&self.settled),
            }));
        }
        Progress::Done(Decision::Admitted(claim))
    }

    fn is_settled(&self, _: &Claim, _: UpstreamOutcome) -> bool {
        false
    }

    fn settle(
        &self,
        _: usize,
        _: &Claim,
        outcome: UpstreamOutcome,
        _: Timestamp,
    ) -> Option<StoreCall> {
        self.settled.borrow_mut().push(Settled::By(outcome));
        let is_awaited = self.is_remote && outcome == UpstreamOutcome::Failed;
        is_awaited.then(|| {
            store_call(Pending {
                claim: None,
                settled: Rc::clone(&self.settled),
            })
        })
    }

    fn flush(&self, _: Timestamp) -> Option<StoreCall> {
        None
    }

    fn needs_flush(&self) -> bool {
        false
    }

    fn take_report(&self) -> Report {
        Report::default()
    }
}

/// A worker with a scripted store, which several requests may have.
struct World {
    worker: Rc<Worker>,
    settled: Rc<RefCell<Vec<Settled>>>,
    is_remote: bool,
}

impl World {
    fn new(is_remote: bool) -> World {
        let settings = settings(
            r#"{"rate_limits": [{"key": "client_ip", "requests": 1, "window": "1s"}],
                "log": {"max_per_second": 100000}}"#,
        );
        let log = Log::new(settings.log);
        let rules = settings.webhooks[0]
            .replay
            .clone()
            .expect("the default")
            .rules;
        let settled = Rc::default();
        let store = ScriptedStore {
            is_remote,
            table: NonceTable::new(rules),
            settled: Rc::clone(&settled),
        };
        let memory: Rc<dyn CasMap> = Rc::new(MemoryMap::new());
        let filter = Filter::with_store(settings, memory, |_, _| {
            Ok::<Box<dyn Store>, ()>(Box::new(store))
        })
        .expect("a store");
        let host = host(Broken::Nothing, "");
        let metrics = Metrics::define(&host, &filter).expect("metrics");
        World {
            worker: Rc::new(Worker {
                filter,
                metrics,
                log,
                claims: [1; 8],
            }),
            settled,
            is_remote,
        }
    }
}

fn host(broken: Broken, signature: &str) -> ScriptedHost {
    ScriptedHost(Rc::new(Script {
        broken,
        signature: signature.to_owned(),
        status: Cell::new(None),
        calls: Cell::new(0),
        verified: Cell::new(false),
        responses: RefCell::default(),
        resumed: RefCell::default(),
        verdicts: RefCell::default(),
    }))
}

/// What came of a row of events.
#[derive(Debug, Default, PartialEq, Eq)]
struct Came {
    /// After which event the request went on to its upstream, if it did.
    passed: Option<usize>,
    /// What the filter has answered itself.
    responses: Vec<u16>,
    /// How its claim has ended.
    settled: Vec<Settled>,
    /// How often a response that was held went on.
    responses_resumed: usize,
}

/// Drives a request through events, and the end that every request has.
fn drive(world: &World, script: &ScriptedHost, events: &[Event]) -> Came {
    world.settled.borrow_mut().clear();
    let mut stream = HttpStream::new(script.clone(), Some(Rc::clone(&world.worker)), 5);
    let mut came = Came::default();
    let resumed = |direction| {
        let resumed = script.0.resumed.borrow();
        resumed.iter().filter(|own| **own == direction).count()
    };
    let ended = events.iter().chain([&Event::End]);
    for (index, event) in ended.enumerate() {
        let answer = |status: u16| {
            Ok(HttpResponse {
                status,
                body: Some(Vec::new()),
            })
        };
        let open = CallId(script.0.calls.get());
        let before = resumed(Direction::Request);
        let action = match event {
            Event::Headers => Some(stream.on_request_headers(false)),
            Event::HeadersAlone => Some(stream.on_request_headers(true)),
            Event::Piece => Some(stream.on_request_body(PIECE, false)),
            Event::Body => Some(stream.on_request_body(BODY.len(), true)),
            Event::Trailers => Some(stream.on_request_trailers()),
            _ => None,
        };
        match event {
            Event::Yes => stream.on_call_answer(open, answer(200)),
            Event::No => stream.on_call_answer(open, answer(409)),
            Event::NoResponse => stream.on_call_answer(open, Err(CallError::NoResponse)),
            Event::Again => stream.on_call_answer(open, answer(100)),
            Event::Stray => stream.on_call_answer(CallId(1_000), answer(200)),
            Event::Processed | Event::Failed => {
                let is_processed = *event == Event::Processed;
                script
                    .0
                    .status
                    .set(Some(if is_processed { 200 } else { 503 }));
                stream.on_response_headers();
            }
            Event::ResponseData => {
                stream.on_response_data();
            }
            Event::End => stream.on_end(),
            _ => {}
        }
        let goes_on = action == Some(Action::Continue) || resumed(Direction::Request) > before;
        if goes_on && came.passed.is_none() {
            came.passed = Some(index);
        }
        // The properties that hold whatever a model says.
        if goes_on {
            assert!(
                script.0.verified.get(),
                "passed without a verdict: {events:?}"
            );
            assert!(
                script.0.responses.borrow().is_empty(),
                "passed and answered: {events:?}"
            );
        }
        if *event == Event::End {
            break;
        }
    }
    assert!(script.0.verdicts.borrow().len() <= 1, "{events:?}");
    came.responses = script.0.responses.borrow().clone();
    came.responses_resumed = resumed(Direction::Response);
    came.settled = world.settled.borrow().clone();
    came
}

/// Where a request is, in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    New,
    /// The store is asked for the limits at the headers.
    AskedForLimits,
    AwaitsBody,
    /// The store is asked for the claim.
    AskedForClaim,
    Passed {
        is_settled: bool,
    },
    /// The store is told of a failed upstream.
    Tells,
    Answered,
}

/// What must come of a row of events.
fn model(is_remote: bool, is_signed: bool, events: &[Event]) -> Came {
    let mut came = Came::default();
    let (mut at, mut size, mut has_ended) = (At::New, 0, false);
    for (index, event) in events.iter().chain([&Event::End]).enumerate() {
        let is_asking = matches!(at, At::AskedForLimits | At::AskedForClaim);
        match event {
            Event::Headers | Event::HeadersAlone => {
                has_ended = *event == Event::HeadersAlone;
                at = if is_remote {
                    At::AskedForLimits
                } else {
                    At::AwaitsBody
                };
            }
            Event::Piece | Event::Body | Event::Trailers if at != At::New => {
                let of_event = match event {
                    Event::Piece => PIECE,
                    Event::Body => BODY.len(),
                    _ => size,
                };
                if matches!(at, At::AwaitsBody | At::AskedForLimits | At::AskedForClaim) {
                    size = of_event;
                    has_ended |= *event != Event::Piece;
                }
            }
            Event::No if is_asking => {
                came.responses.push(409);
                at = At::Answered;
            }
            Event::NoResponse if is_asking => {
                came.responses.push(503);
                at = At::Answered;
            }
            Event::Yes if at == At::AskedForLimits => at = At::AwaitsBody,
            Event::Yes if at == At::AskedForClaim => {
                came.passed = Some(index);
                at = At::Passed { is_settled: false };
            }
            Event::Yes | Event::No | Event::NoResponse if at == At::Tells => {
                came.responses_resumed += 1;
                at = At::Passed { is_settled: true };
            }
            Event::Processed | Event::Failed if at == (At::Passed { is_settled: false }) => {
                let is_failed = *event == Event::Failed;
                let outcome = if is_failed {
                    UpstreamOutcome::Failed
                } else {
                    UpstreamOutcome::Processed
                };
                came.settled.push(Settled::By(outcome));
                at = if is_failed && is_remote {
                    At::Tells
                } else {
                    At::Passed { is_settled: true }
                };
            }
            Event::End => {
                match at {
                    At::AskedForClaim => came.settled.push(Settled::Abandoned),
                    At::Passed { is_settled: false } => {
                        let gone = Settled::By(UpstreamOutcome::ClientGone);
                        came.settled.push(gone);
                    }
                    _ => {}
                }
                return came;
            }
            _ => {}
        }
        if at == At::AwaitsBody && has_ended {
            at = if !is_signed || size != BODY.len() {
                came.responses.push(403);
                At::Answered
            } else if is_remote {
                At::AskedForClaim
            } else {
                came.passed = Some(index);
                At::Passed { is_settled: false }
            };
        }
    }
    came
}

/// Calls `check` for every row of up to `length` events with headers at the most once, and
/// nothing after the end. Up to four events headers come anywhere, in a longer row first.
fn each_row(length: usize, events: &mut Vec<Event>, check: &mut impl FnMut(&[Event])) {
    check(events);
    if events.len() == length || events.last() == Some(&Event::End) {
        return;
    }
    let headers = [Event::Headers, Event::HeadersAlone];
    let has_headers = events.iter().any(|event| headers.contains(event));
    let begins_with_them = events.first().is_none_or(|event| headers.contains(event));
    let length = if begins_with_them {
        length
    } else {
        length.min(4)
    };
    for event in EVENTS {
        if has_headers && headers.contains(&event) || events.len() >= length {
            continue;
        }
        events.push(event);
        each_row(length, events, check);
        events.pop();
    }
}

fn signed(is_signed: bool) -> String {
    let body = String::from_utf8(BODY.to_vec()).expect("ASCII");
    signature(if is_signed { "token" } else { "wrong" }, URL, &body)
}

#[test]
fn every_row_of_six_events_does_what_the_model_does() {
    // In wasm this is a hundred times slower, and shows nothing more.
    let length = if cfg!(target_family = "wasm") { 3 } else { 6 };
    let mut outcomes = HashSet::new();
    for is_remote in [false, true] {
        let world = World::new(is_remote);
        for is_signed in [false, true] {
            let signature = signed(is_signed);
            each_row(length, &mut Vec::new(), &mut |events| {
                let script = host(Broken::Nothing, &signature);
                let came = drive(&world, &script, events);
                let must = model(is_remote, is_signed, events);
                assert_eq!(
                    came, must,
                    "remote {is_remote}, signed {is_signed}: {events:?}"
                );
                outcomes.insert((came.passed.is_some(), came.responses, world.is_remote));
            });
        }
    }
    if length == 6 {
        assert_eq!(outcomes.len(), 8, "{outcomes:?}");
    }
}

#[test]
fn whatever_call_of_the_host_fails_nothing_passes_and_every_claim_is_settled_once() {
    use Broken::{
        Add, Address, Answer, Body, Call, DamagedHeaders, DamagedTrailers, Headers, Remove, Resume,
        Trailers,
    };
    let length = if cfg!(target_family = "wasm") { 2 } else { 5 };
    let all = [
        Headers,
        DamagedHeaders,
        Address,
        Remove,
        Add,
        Body,
        Trailers,
        DamagedTrailers,
        Call,
        Answer,
        Resume,
    ];
    for is_remote in [false, true] {
        let world = World::new(is_remote);
        for broken in all {
            let signature = signed(true);
            let mut most_settled = 0;
            each_row(length, &mut Vec::new(), &mut |events| {
                let script = host(broken, &signature);
                let came = drive(&world, &script, events);
                let must = model(is_remote, true, events);
                assert!(came.responses.len() <= 1, "{broken:?}: {events:?}");
                assert!(came.settled.len() <= 1, "{broken:?}: {events:?}");
                most_settled = most_settled.max(came.settled.len());
                let never = matches!(broken, Headers | DamagedHeaders | Address | Remove | Add);
                assert!(came.passed.is_none() || !never, "{broken:?}: {events:?}");
                // Nor does what has trailers that the upstream may read and this filter cannot.
                let before = came.passed.and_then(|index| events.get(..=index));
                let has_trailers = before.is_some_and(|before| before.contains(&Event::Trailers));
                let unread = matches!(broken, Trailers | DamagedTrailers) && has_trailers;
                assert!(!unread, "{broken:?}: {events:?}");
                assert!(
                    came.passed.is_none() || must.passed.is_some(),
                    "{broken:?}: {events:?}"
                );
                // What is claimed and does not pass is released.
                if came.passed.is_none() && broken == Add && !came.settled.is_empty() {
                    let released = Settled::By(UpstreamOutcome::Failed);
                    let is_over = came.settled == [released] || is_remote;
                    assert!(is_over, "{broken:?}: {events:?} {came:?}");
                }
            });
            let early = [Headers, DamagedHeaders, Address, Remove, Body];
            let never_claims = early.contains(&broken) || is_remote && broken == Call;
            if length == 5 {
                let expected = usize::from(!never_claims);
                assert_eq!(most_settled, expected, "{broken:?}, {is_remote}");
            }
        }
    }
}

#[test]
fn without_a_configuration_every_request_is_rejected() {
    let script = host(Broken::Nothing, "");
    let mut stream = HttpStream::new(script.clone(), None, 5);
    assert_eq!(stream.on_request_headers(true), Action::Pause);
    stream.on_end();
    assert_eq!(*script.0.responses.borrow(), [500]);
    assert!(!script.0.verified.get());
}

/// What became of it is not known, so that it must not be accepted again.
#[test]
fn a_claim_stays_if_a_fault_is_caught_while_the_response_is_looked_at() {
    for is_remote in [false, true] {
        let world = World::new(is_remote);
        let script = host(Broken::Nothing, &signed(true));
        let mut stream = HttpStream::new(script.clone(), Some(Rc::clone(&world.worker)), 5);
        let yes = |stream: &mut HttpStream<ScriptedHost>| {
            if is_remote {
                let yes = HttpResponse {
                    status: 200,
                    body: Some(Vec::new()),
                };
                stream.on_call_answer(CallId(script.0.calls.get()), Ok(yes));
            }
        };
        // The limits, then the claim.
        stream.on_request_headers(false);
        yes(&mut stream);
        stream.on_request_body(BODY.len(), true);
        yes(&mut stream);
        assert!(script.0.verified.get());
        assert_eq!(stream.on_panic(), Action::Continue);
        stream.on_end();
        assert_eq!(*world.settled.borrow(), []);
    }
}
