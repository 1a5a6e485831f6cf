//! The driver against a scripted host and a scripted store: every order of events up to
//! six, against a plain model of what must happen.

mod model;
mod scripted_host;
mod scripted_store;

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use self::model::model;
use self::scripted_host::ScriptedHost;
pub(super) use self::scripted_host::{Broken, host};
pub(super) use self::scripted_store::store_call;
use self::scripted_store::{ScriptedStore, Settled};
use crate::cas_map::CasMap;
use crate::cas_map::memory::MemoryMap;
use crate::pipeline::filter::Filter;
use crate::pipeline::tests::world::{URL, settings, signature};
use crate::store::local::nonces::NonceTable;
use crate::store::port::{CallError, HttpResponse, Store, UpstreamOutcome};
use crate::stream::host::{Action, CallId, Direction};
use crate::stream::http_stream::HttpStream;
use crate::stream::log::Log;
use crate::stream::metrics::Metrics;
use crate::stream::worker::Worker;
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

/// A worker with a scripted store, which several requests may have.
pub(super) struct World {
    pub(super) worker: Rc<Worker>,
    settled: Rc<RefCell<Vec<Settled>>>,
    is_remote: bool,
    /// The verdict that each metric counts; empty where it counts none.
    verdict_of: Vec<String>,
}

impl World {
    pub(super) fn new(is_remote: bool) -> World {
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
            verdict_of: host.0.defined.take(),
        }
    }

    /// Returns the verdicts that a host was told to count.
    fn counted(&self, script: &ScriptedHost) -> Vec<String> {
        let counted = script.0.counted.borrow();
        let verdicts = counted
            .iter()
            .map(|metric| &self.verdict_of[metric.0 as usize]);
        verdicts.filter(|name| !name.is_empty()).cloned().collect()
    }
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
    came.responses = script.0.responses.borrow().clone();
    // Whatever becomes of a request is counted once, and what the access log says is the same.
    let counted = world.counted(script);
    assert_eq!(counted, *script.0.verdicts.borrow(), "{events:?}");
    let has_verdict = came.passed.is_some() || !came.responses.is_empty();
    assert_eq!(counted.len(), usize::from(has_verdict), "{events:?}");
    if let [verdict] = &counted[..] {
        assert_eq!(verdict == "accepted", came.passed.is_some(), "{events:?}");
        let is_internal = came.passed.is_none() && came.responses == [500];
        assert_eq!(verdict == "internal", is_internal, "{events:?}");
    }
    came.responses_resumed = resumed(Direction::Response);
    came.settled = world.settled.borrow().clone();
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
