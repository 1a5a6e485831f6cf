//! The path of requests, against tables in memory.

/// What one changed operator would break.
mod edges;
/// What an attacker found, and what holds since.
mod findings;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use crate::cas_map::memory::MemoryMap;
use crate::cas_map::{self, CasError, CasMap, Entry, Version};
use crate::config::load::load;
use crate::config::settings::Settings;
use crate::pipeline::filter::Filter;
use crate::pipeline::rejection::Rejection;
use crate::pipeline::step::{AwaitingStore, Step};
use crate::pipeline::verdict::{Accepted, Outcome, RequestRecord, Verdict};
use crate::reason::Reason;
use crate::request::account_sid::AccountSid;
use crate::request::client_address::ClientAddress;
use crate::request::headers::Headers;
use crate::signature::key::{Nonce, sha256};
use crate::store::local::store::LocalStore;
use crate::store::port::{CallError, HashKey, HttpCall, HttpResponse, Store, UpstreamOutcome};
use crate::tests::{assert_says, sign};
use crate::time::{Millis, Timestamp};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);
const SID: &str = "AC00000000000000000000000000000001";
pub(crate) const URL: &str = "https://orders.example.com/hook";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// A filter, the memory that it shares, and how many requests were sent to it.
pub(crate) struct World {
    pub(crate) filter: Filter,
    pub(crate) memory: Rc<MemoryMap>,
    sent: Cell<u64>,
    /// Its configuration, to be shown where a verdict is not the expected one.
    json: String,
}

/// A request, signed as Twilio signs unless said otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    client: &'static str,
    now: Timestamp,
}

/// The settings that these fields make, with the usual environment.
pub(crate) fn settings(json: &str) -> Settings {
    let environment = |name: &str| match name {
        "TWILIO_AUTH_TOKEN" => Some("token".to_owned()),
        "TWILIO_ACCOUNT_SID" => Some(SID.to_owned()),
        "WEBHOOK_URL" => Some(URL.to_owned()),
        _ => None,
    };
    load(json.as_bytes(), &environment).unwrap_or_else(|problems| panic!("{json}: {problems}"))
}

/// A webhook at [`URL`] that takes these methods, without limits.
fn taking(methods: &[&str]) -> World {
    World::new(&format!(
        r#"{{"rate_limits": [], "webhooks": [{{"url": "{URL}", "methods": {methods:?}}}]}}"#
    ))
}

impl World {
    pub(crate) fn new(json: &str) -> World {
        World::on(&Rc::new(MemoryMap::new()), json)
    }

    fn on(memory: &Rc<MemoryMap>, json: &str) -> World {
        let shared: Rc<dyn CasMap> = Rc::clone(memory) as _;
        let filter = Filter::new(settings(json), shared, [7; 16]).expect("memory");
        World {
            json: json.to_owned(),
            ..World::with_filter(memory, filter)
        }
    }

    /// Another filter, with the same memory.
    pub(crate) fn with_filter(memory: &Rc<MemoryMap>, filter: Filter) -> World {
        World {
            filter,
            memory: Rc::clone(memory),
            sent: Cell::new(0),
            json: String::new(),
        }
    }

    pub(crate) fn send(&self, request: &Request) -> Verdict {
        self.send_answering(request, &mut |_| panic!("memory answers at once"))
    }

    /// Sends a request whose store's calls are answered like this.
    pub(crate) fn send_answering(
        &self,
        request: &Request,
        answer: &mut dyn FnMut(&HttpCall) -> Result<HttpResponse, CallError>,
    ) -> Verdict {
        self.drive(request, |awaiting, call| {
            self.filter.on_answer(awaiting, answer(&call), request.now)
        })
    }

    /// Sends a request until its store has a call, and leaves it there.
    pub(crate) fn send_until_called(&self, request: &Request) -> (AwaitingStore, HttpCall) {
        let mut stopped = None;
        self.drive(request, |awaiting, call| {
            stopped = Some((awaiting, call));
            Step::Decided(Verdict {
                outcome: Outcome::Unchecked,
                record: RequestRecord::new(ClientAddress::from_source_address(b"")),
            })
        });
        stopped.expect("a call")
    }

    /// Sends a request's headers, and no body yet.
    pub(crate) fn send_headers(&self, request: &Request) -> Step {
        let pairs = request.pairs();
        let client = ClientAddress::from_source_address(request.client.as_bytes());
        self.filter
            .on_headers(Headers::new(&pairs), client, request.now)
    }

    fn drive(
        &self,
        request: &Request,
        mut called: impl FnMut(AwaitingStore, HttpCall) -> Step,
    ) -> Verdict {
        self.sent.set(self.sent.get() + 1);
        let pairs = request.pairs();
        let headers = Headers::new(&pairs);
        let mut step = self.send_headers(request);
        let mut verdict = loop {
            step = match step {
                Step::AwaitBody(awaiting) => {
                    let id = self.sent.get();
                    self.filter
                        .on_body(awaiting, &request.body, id, request.now)
                }
                Step::AwaitStore(awaiting, call) => called(*awaiting, call),
                Step::Decided(verdict) => break verdict,
            };
        };
        if self.filter.may_explain(&verdict, request.now) {
            let body = &request.body;
            self.filter
                .explain(&mut verdict, headers, body, request.now);
        }
        verdict
    }

    /// The hint on a rejected request. Each in a second of its own, to be within the budget.
    pub(crate) fn hint(&self, request: &Request) -> String {
        let number = self.sent.get();
        let request = request
            .clone()
            .at(request.now.after(Millis::seconds(number)));
        let verdict = self.send(&request);
        let is_rejected = matches!(verdict.outcome, Outcome::Rejected(_));
        assert!(is_rejected, "{verdict:?}");
        verdict.hint().unwrap_or_default().to_owned()
    }

    /// The hint on a request, if there is any, in the request's own second.
    pub(crate) fn hint_now(&self, request: &Request) -> String {
        self.send(request).hint().unwrap_or_default().to_owned()
    }

    pub(crate) fn verdict(&self, request: &Request) -> &'static str {
        self.send(request).outcome.name()
    }

    /// Sends a request whose verdict has to be this one.
    #[track_caller]
    pub(crate) fn expect(&self, request: &Request, verdict: &str) {
        let found = self.verdict(request);
        assert_eq!(found, verdict, "{request:?} with {}", self.json);
    }

    #[track_caller]
    fn expect_times(&self, times: usize, request: &Request, verdict: &str) {
        (0..times).for_each(|_| self.expect(request, verdict));
    }

    /// Sends a request that is accepted, and that the upstream processes.
    #[track_caller]
    fn expect_processed(&self, request: &Request) {
        self.settle(&self.send(request), UpstreamOutcome::Processed);
    }

    /// Sends a request that is rejected like this, and explained with these words or not at all.
    #[track_caller]
    fn expect_hint(&self, request: &Request, verdict: &str, words: &str) -> String {
        self.expect(request, verdict);
        let hint = self.hint_now(request);
        assert_says(&hint, words);
        assert_eq!(hint.is_empty(), words.is_empty(), "{request:?}: {hint}");
        hint
    }

    pub(crate) fn settle(&self, verdict: &Verdict, outcome: UpstreamOutcome) {
        let Outcome::Accepted(Accepted {
            claim: Some(claim), ..
        }) = &verdict.outcome
        else {
            panic!("not accepted: {verdict:?}");
        };
        let webhook = verdict.record.webhook.as_ref().expect("a webhook");
        let call = self
            .filter
            .store()
            .settle(webhook.index, claim, outcome, NOW);
        assert!(call.is_none(), "nothing waits for that");
        assert_eq!(self.filter.store().take_report().errors, 0);
    }
}

/// The signature, computed the plain way.
pub(crate) fn signature(token: &str, url: &str, body: &str) -> String {
    let decoded: BTreeSet<(String, String)> = body
        .split('&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| piece.split_once('=').unwrap_or((piece, "")))
        .map(|(name, value)| (plain(name), plain(value)))
        .collect();
    let signed = decoded
        .iter()
        .fold(url.to_owned(), |text, (name, value)| text + name + value);
    sign(token, signed.as_bytes())
}

/// A name or value of the tests' own bodies, whose escapes are all valid.
fn plain(text: &str) -> String {
    let spaced = text.replace('+', " ");
    let mut pieces = spaced.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).expect("an escape"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).expect("UTF-8")
}

pub(crate) fn form(body: &str) -> Request {
    Request {
        method: "POST",
        path: "/hook".into(),
        headers: vec![
            ("x-twilio-signature", signature("token", URL, body)),
            ("content-type", FORM.into()),
        ],
        body: body.into(),
        client: "192.0.2.1:1234",
        now: NOW,
    }
}

/// A request for this path and query of which the URL alone is signed.
fn signed_target(path: &str) -> Request {
    let url = format!("https://orders.example.com{path}");
    form("").to(path).signed("token", &url, "")
}

/// A WebSocket handshake, signed for this URL with these parameters.
pub(crate) fn handshake(url: &str, parameters: &str) -> Request {
    let request = form("").method("GET").without("content-type");
    request.signed("token", url, parameters).upgraded()
}

impl Request {
    fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        let pseudo = [(":method", self.method), (":path", &self.path)];
        let own = self.headers.iter();
        let own = own.map(|(name, value)| (*name, value.as_str()));
        let pairs = pseudo.into_iter().chain(own);
        let pairs = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        pairs.collect()
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Request {
        self.headers.retain(|(own, _)| *own != name);
        self.and(name, value)
    }

    pub(crate) fn and(mut self, name: &'static str, value: &str) -> Request {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Request {
        self.headers.retain(|(own, _)| *own != name);
        self
    }

    pub(crate) fn signed(self, token: &str, url: &str, body: &str) -> Request {
        self.with("x-twilio-signature", &signature(token, url, body))
    }

    pub(crate) fn at(mut self, now: Timestamp) -> Request {
        self.now = now;
        self
    }

    fn upgraded(self) -> Request {
        self.with("connection", "Upgrade")
            .with("upgrade", "websocket")
    }

    fn json(self, body: &str) -> Request {
        self.with("content-type", "application/json").body(body)
    }

    pub(crate) fn from(mut self, client: &'static str) -> Request {
        self.client = client;
        self
    }

    pub(crate) fn to(mut self, path: &str) -> Request {
        self.path = path.to_owned();
        self
    }

    pub(crate) fn body(mut self, body: &str) -> Request {
        self.body = body.into();
        self
    }

    pub(crate) fn method(mut self, method: &'static str) -> Request {
        self.method = method;
        self
    }
}

pub(crate) fn after(seconds: u64) -> Timestamp {
    NOW.after(Millis::seconds(seconds))
}

fn account(verdict: &Verdict) -> Option<&str> {
    verdict.record.account.as_ref().map(AccountSid::as_str)
}

#[test]
fn a_signed_message_is_accepted_once() {
    let world = World::new("{}");
    let request = form("Body=2+tacos&AccountSid=AC00000000000000000000000000000001");
    let verdict = world.send(&request);
    assert_eq!(account(&verdict), Some(SID));
    world.settle(&verdict, UpstreamOutcome::Processed);
    for seconds in [0, 1, 300, 86_399] {
        world.expect(&request.clone().at(after(seconds)), "duplicate");
    }
}

#[test]
fn the_checks_come_in_the_order_of_the_contract() {
    // Each request has every later fault, too; the earliest is the one that is told.
    let world = World::new(r#"{"max_body_bytes": 50, "rate_limits": []}"#);
    let mut request = form("Timestamp=1&AccountSid=ACother")
        .body(&"x".repeat(51))
        .with("content-type", "text/plain")
        .with("x-twilio-signature", "forged")
        .with("x-twilio-request-timestamp", "never")
        .to("/other")
        .method("PUT");
    world.expect(&request, "unknown_webhook");
    request = request.to("/hook");
    world.expect(&request, "method_not_allowed");
    request = request.method("POST");
    let unsigned = request.clone().without("x-twilio-signature");
    world.expect(&unsigned, "missing_signature");
    world.expect(&request, "malformed_signature");
    request = request.signed("wrong token", URL, "");
    world.expect(&request, "malformed_timestamp");
    request = request.with("x-twilio-request-timestamp", "1");
    world.expect(&request, "stale_timestamp");
    request = request.without("x-twilio-request-timestamp");
    world.expect(&request, "body_too_large");
    request = request.body("Timestamp=1&AccountSid=ACother");
    world.expect(&request, "unsigned_body");
    request = request.with("content-type", FORM);
    world.expect(&request, "invalid_signature");
    request = request.signed("token", URL, "Timestamp=1&AccountSid=ACother");
    world.expect(&request, "account_mismatch");
    request = form("Timestamp=1");
    world.expect(&request, "stale_timestamp");
    request = form("Timestamp=1800000000");
    world.expect(&request, "accepted");
    world.expect(&request, "duplicate");
}

#[test]
fn without_a_key_nothing_passes_and_the_limit_comes_first() {
    let json = r#"{"accounts": [], "rate_limits": [
        {"key": "client_ip", "requests": 1, "window": "60s"}]}"#;
    let world = World::new(json);
    world.expect(&form("a=1"), "not_configured");
    world.expect(&form("a=1"), "rate_limited");
}

#[test]
fn respellings_of_an_accepted_request_are_repeats() {
    let world = World::new(r#"{"rate_limits": [], "form": "lenient"}"#);
    let original = form("A=1+2&B=x&From=%2B1&ToCity=");
    world.expect_processed(&original);
    let bodies = "B=x&A=1+2&From=%2B1&ToCity= A=1%202&B=x&From=%2B1&ToCity= \
        %41=1+2&B=x&From=%2B1&ToCity A=1+2&A=1+2&B=x&From=%2B1&ToCity= A=1+2&Bx=&From=%2B1&ToCity=";
    for respelled in bodies.split(' ') {
        world.expect(&original.clone().body(respelled), "duplicate");
    }
    for header in ["i-twilio-idempotency-token", "x-twilio-request-timestamp"] {
        let changed = original.clone().with(header, "1800000000");
        world.expect(&changed, "duplicate");
    }
    let url = "https://orders.example.com:443/hook";
    let with_port = original.signed("token", url, "A=1+2&B=x&From=%2B1&ToCity=");
    // Another MAC is another request.
    world.expect(&with_port, "accepted");
}

#[test]
fn a_timestamp_hidden_in_its_neighbour_opens_nothing() {
    let world = World::new(r#"{"rate_limits": []}"#);
    let original = form("Body=hi&Timestamp=1800000000&Zone=x");
    world.expect_processed(&original);
    let hidden = original.body("Body=hiTimestamp1800000000&Zone=x");
    for seconds in [1, 400, 80_000] {
        world.expect(&hidden.clone().at(after(seconds)), "duplicate");
    }
}

#[test]
fn a_released_request_passes_again() {
    let world = World::new("{}");
    let request = form("a=1");
    for answer in [
        UpstreamOutcome::Failed,
        UpstreamOutcome::Failed,
        UpstreamOutcome::ClientGone,
        UpstreamOutcome::Processed,
    ] {
        let verdict = world.send(&request);
        assert_eq!(verdict.outcome.name(), "accepted");
        // While it is on its way.
        world.expect(&request, "duplicate");
        world.settle(&verdict, answer);
    }
    world.expect(&request, "duplicate");
}

#[test]
fn signed_timestamps_are_found_in_form_and_query() {
    let world = taking(&["GET", "POST"]);
    let query = |timestamp: &str| {
        let request = signed_target(&format!("/hook?Timestamp={timestamp}"));
        request.method("GET").without("content-type")
    };
    world.expect(&query("1800000000"), "accepted");
    world.expect(&query("1799999699"), "stale_timestamp");
    world.expect(&query("1800000031"), "future_timestamp");
    world.expect(&query("soon"), "malformed_timestamp");
    let twice = "Timestamp=1800000000&Timestamp=1";
    // Every one has to be fresh.
    world.expect(&form(twice), "stale_timestamp");
}

#[test]
fn a_required_timestamp_has_to_be_signed() {
    let world = World::new(r#"{"rate_limits": [], "timestamp": {"required": true}}"#);
    let unsigned = form("a=1").with("x-twilio-request-timestamp", "1800000000");
    world.expect(&unsigned, "missing_timestamp");
    world.expect(&form("Timestamp=1800000000"), "accepted");
}

#[test]
fn a_hash_in_the_url_covers_a_json_body() {
    let world = World::new(r#"{"rate_limits": []}"#);
    let hash = Nonce(sha256(&[b"[1]"])).to_hex();
    let request = signed_target(&format!("/hook?bodySHA256={hash}"));
    world.expect(&request.clone().json("[]"), "body_hash_mismatch");
    world.expect(&request.clone().json("[1]"), "accepted");
    world.expect(&signed_target("/hook").json("[1]"), "unsigned_body");
    for (nothing, as_form) in [
        ("", "body_hash_mismatch"),
        ("&", "malformed_body"),
        ("=&=", "unsigned_body"),
    ] {
        world.expect(&request.clone().json(nothing), "body_hash_mismatch");
        world.expect(&request.clone().body(nothing), as_form);
    }
    let forged = request.signed("wrong", URL, "").json("[]");
    // Forgers learn nothing of hashes.
    world.expect(&forged, "invalid_signature");
}

#[test]
fn a_websocket_is_decided_by_its_headers_and_signed_as_wss() {
    let world = taking(&["GET"]);
    let handshake = |url: &str| handshake(url, "");
    world.expect(&handshake("wss://orders.example.com/hook"), "accepted");
    world.expect(&handshake("wss://orders.example.com/hook/"), "accepted");
    world.expect(&handshake(URL), "invalid_signature");
    let with_body = handshake("wss://orders.example.com/hook").with("content-length", "5");
    world.expect(&with_body, "malformed_body");
}

#[test]
fn an_exact_path_comes_before_a_prefix_and_a_longer_prefix_before_a_shorter() {
    let world = World::new(
        r#"{"public_base_url": "https://h", "webhooks": [
        {"path": "/a/*"}, {"path": "/a/b/*"}, {"path": "/a/b/c"}]}"#,
    );
    for (path, webhook) in [("/a/x", 0), ("/a/b/x", 1), ("/a/b/c", 2)] {
        let found = world.send(&form("").to(path)).record.webhook;
        assert_eq!(found.map(|found| found.index), Some(webhook), "{path}");
    }
}

#[test]
fn the_original_path_is_signed_only_where_it_is_trusted() {
    let request = form("a=1")
        .to("/hook")
        .signed("token", "https://orders.example.com/public/hook", "a=1")
        .with("x-envoy-original-path", "/public/hook");
    for (trusted, verdict) in [("true", "accepted"), ("false", "invalid_signature")] {
        let world = World::new(&format!(
            r#"{{"trust_original_path": {trusted}, "public_base_url": "https://orders.example.com",
                 "webhooks": [{{"path": "/hook"}}]}}"#
        ));
        world.expect(&request, verdict);
    }
}

#[test]
fn a_key_of_one_account_does_not_speak_for_another() {
    let world = limited("account", "rejected");
    world.expect(&of("a", "AccountSid=ACa"), "accepted");
    world.expect(&of("b", "AccountSid=ACb"), "accepted");
    world.expect(&of("a", "AccountSid=ACb"), "account_mismatch");
    let both = of("a", "AccountSid=ACa&AccountSid=ACb");
    world.expect(&both, "account_mismatch");
    assert_eq!(account(&world.send(&of("b", "x=1"))), Some("ACb"));
}

#[test]
fn an_acknowledged_repeat_is_not_passed_on() {
    let world = World::new(ACKNOWLEDGING);
    world.expect_processed(&form("a=1"));
    for seconds in [0, 1, 80_000] {
        let rejection = rejection(&world, &form("a=1").at(after(seconds)));
        assert!(rejection.acknowledge && rejection.reason == Reason::Duplicate);
        assert_eq!(rejection.retry_after, None);
    }
}

const ACKNOWLEDGING: &str = r#"{"rate_limits": [], "replay": {"on_duplicate": "acknowledge"}}"#;

/// How a request is rejected.
fn rejection(world: &World, request: &Request) -> Rejection {
    match world.send(request).outcome {
        Outcome::Rejected(rejection) => rejection,
        outcome => panic!("it must not pass: {outcome:?}"),
    }
}

/// Once it was acknowledged, then the first failed, and nobody sent it again.
#[test]
fn a_repeat_is_not_acknowledged_while_the_first_is_undecided() {
    let world = World::new(ACKNOWLEDGING);
    let request = form("a=1");
    for (answer, then) in [
        (UpstreamOutcome::Failed, "accepted"),
        (UpstreamOutcome::ClientGone, "accepted"),
        (UpstreamOutcome::Processed, "duplicate"),
    ] {
        let first = world.send(&request);
        assert_eq!(first.outcome.name(), "accepted");
        for _ in 0..3 {
            let rejection = rejection(&world, &request);
            assert_eq!(rejection.reason, Reason::Duplicate);
            assert!(!rejection.acknowledge, "nobody knows that yet");
            assert_eq!(rejection.retry_after, Some(Millis::seconds(1)));
            assert!(!rejection.is_counted(), "the sender does nothing wrong");
        }
        world.settle(&first, answer);
        if then == "duplicate" {
            assert!(rejection(&world, &request).acknowledge);
        }
    }
}

#[test]
fn what_its_senders_left_too_often_is_not_acknowledged_either() {
    let world = World::new(ACKNOWLEDGING);
    for _ in 0..4 {
        let verdict = world.send(&form("a=1"));
        world.settle(&verdict, UpstreamOutcome::ClientGone);
    }
    let rejection = rejection(&world, &form("a=1"));
    assert_eq!(rejection.reason, Reason::Duplicate);
    assert!(!rejection.acknowledge && rejection.retry_after.is_none());
}

#[test]
fn where_repeats_are_rejected_nothing_is_written_for_the_answer_and_no_retry_is_asked_for() {
    let world = World::new(r#"{"rate_limits": []}"#);
    let first = world.send(&form("a=1"));
    let before = world.memory.writes();
    let rejection = rejection(&world, &form("a=1"));
    assert!(!rejection.acknowledge && rejection.retry_after.is_none());
    world.settle(&first, UpstreamOutcome::Processed);
    assert_eq!(world.memory.writes(), before);
}

/// Once five repeats of one captured request locked its account out.
#[test]
fn replays_of_one_request_never_use_up_a_limit_of_its_account_or_of_its_parameters() {
    for key in ["account", "param:From"] {
        let world = limited(key, "rejected");
        let from_now = |seconds: u64| format!("From=1&Timestamp={}", 1_800_000_000 + seconds);
        let captured = of("a", &from_now(0));
        let ahead = of("a", &from_now(1000));
        world.expect(&captured, "accepted");
        for _ in 0..10 {
            world.expect(&captured, "duplicate");
            world.expect(&ahead, "future_timestamp");
        }
        world.expect(&of("a", "From=1&x=1"), "accepted");
        for _ in 0..10 {
            let late = captured.clone().at(after(400));
            world.expect(&late, "stale_timestamp");
        }
        let another = of("a", "From=1&x=2").at(after(400));
        world.expect(&another, "accepted");
    }
}

#[test]
fn what_else_is_rejected_is_counted_by_the_account_that_signed_it() {
    let world = limited("account", "rejected");
    for number in 0..2 {
        let foreign = of("a", &format!("AccountSid=ACb&x={number}"));
        world.expect(&foreign, "account_mismatch");
    }
    world.expect(&of("a", "x=1"), "rate_limited");
    world.expect(&of("b", "x=1"), "accepted");
}

/// Limits by account and parameters count no repeat; these two do.
#[test]
fn replays_are_counted_by_the_address_that_they_come_from_and_by_their_webhook() {
    for key in ["client_ip", "webhook"] {
        let with_header = of("a", "x=1").with("x-twilio-request-timestamp", "1");
        for (replay, verdict) in [
            (of("a", "x=1"), "duplicate"),
            (of("a", "Timestamp=1"), "stale_timestamp"),
            (with_header, "stale_timestamp"),
            (of("a", "Timestamp=1900000000"), "future_timestamp"),
        ] {
            let world = limited(key, "rejected");
            if verdict == "duplicate" {
                world.expect(&replay, "accepted");
            }
            world.expect_times(2, &replay, verdict);
            world.expect(&replay, "rate_limited");
            world.expect(&of("a", "x=2"), "rate_limited");
        }
    }
}

#[test]
fn acknowledged_repeats_and_early_retries_are_counted_by_no_rule() {
    for key in ["client_ip", "webhook", "account"] {
        let world = World::new(&format!(
            r#"{{"replay": {{"on_duplicate": "acknowledge"}}, "rate_limits": [
                {{"key": "{key}", "count": "rejected", "requests": 2, "window": "60s"}}]}}"#
        ));
        let first = world.send(&form("x=1"));
        world.expect_times(5, &form("x=1"), "duplicate");
        world.settle(&first, UpstreamOutcome::Processed);
        world.expect_times(5, &form("x=1"), "duplicate");
        world.expect(&form("x=2"), "accepted");
    }
}

/// Once a flood from one /48 rejected all who have no slot, and a genuine sender
/// never has one.
#[test]
fn a_flood_of_rejected_requests_from_everywhere_rejects_no_genuine_sender() {
    let json = r#"{"rate_limit_capacity": 4, "rate_limits": [
        {"key": "client_ip", "count": "rejected", "requests": 2, "window": "60s"}]}"#;
    let world = World::new(json);
    let forged = || form("a=1").signed("wrong", URL, "a=1");
    let mut limited = 0;
    for number in 0..200_u32 {
        let client = format!("[2001:db8:0:{number:x}::1]:1");
        let client: &'static str = Box::leak(client.into_boxed_str());
        for _ in 0..3 {
            let verdict = world.verdict(&forged().from(client));
            limited += u32::from(verdict == "rate_limited");
        }
    }
    assert!(limited > 300, "the flood is limited: {limited}");
    for client in ["198.51.100.1:1", "[2001:db8:ffff::1]:1"] {
        let genuine = |name| form(&format!("{name}={client}")).from(client);
        world.expect(&genuine("a"), "accepted");
        // Only the signature tells it from the flood.
        world.expect(&forged().from(client), "rate_limited");
        world.expect(&genuine("b"), "accepted");
    }
    // Who has done it himself is limited at his headers as ever.
    let world = World::new(json);
    world.expect_times(2, &forged(), "invalid_signature");
    world.expect(&form("a=1"), "rate_limited");
}

/// All calls have one handshake.
#[test]
fn a_handshake_claims_no_nonce_unless_that_is_asked_for() {
    let configured = |replay: &str, limits: &str| {
        World::new(&format!(
            r#"{{"replay": {{{replay}}}, "rate_limits": [{limits}],
                "webhooks": [{{"url": "https://orders.example.com/hook", "methods": ["GET", "POST"]}}]}}"#
        ))
    };
    let handshake = handshake("wss://orders.example.com/hook", "");
    let world = configured("", "");
    for _ in 0..5 {
        let verdict = world.send(&handshake);
        let Outcome::Accepted(accepted) = &verdict.outcome else {
            panic!("{verdict:?}");
        };
        assert!(accepted.claim.is_none(), "there is nothing to settle");
        assert_eq!(verdict.record.nonce, Some(accepted.nonce));
    }
    let claims = |name: &String| name.contains("nonces");
    assert!(!world.memory.key_names().iter().any(claims));
    // What is no handshake is claimed as ever.
    world.expect(&form("a=1"), "accepted");
    world.expect(&form("a=1"), "duplicate");

    let world = configured(r#""handshakes": true"#, "");
    world.expect(&handshake, "accepted");
    world.expect(&handshake, "duplicate");

    // It is counted all the same.
    for key in ["account", "client_ip"] {
        let limit = format!(
            r#"{{"key": "{key}", "count": "authenticated", "requests": 2, "window": "60s"}}"#
        );
        let world = configured("", &limit);
        world.expect_times(2, &handshake, "accepted");
        world.expect(&handshake, "rate_limited");
        world.expect(&handshake.clone().at(after(61)), "accepted");
    }
}

/// A captured message is no handshake, whatever headers it gets.
#[test]
fn a_repeat_in_the_guise_of_a_handshake_is_not_accepted() {
    let world = taking(&["GET", "POST"]);
    // A handshake is a GET, signed as `wss`.
    for (method, rejected) in [("GET", "invalid_signature"), ("POST", "duplicate")] {
        let captured = form("").method(method).without("content-type");
        let first = world.verdict(&captured);
        assert!(["accepted", "duplicate"].contains(&first));
        world.expect(&captured.upgraded(), rejected);
    }
}

/// A nonce outlasts its timestamp.
#[test]
fn there_is_no_moment_at_which_a_fresh_timestamp_is_accepted_again() {
    for replay in [
        r#"{"window": "1s", "keep": "0s"}"#,
        r#"{"window": "100s", "keep": "0s"}"#,
        r#"{"window": "100s", "keep": "0s", "on_duplicate": "acknowledge"}"#,
    ] {
        // From as far ahead as may be, and with an older one beside it, in either order.
        for body in [
            "Timestamp=1800000030",
            "Timestamp=1800000030&Timestamp=1799999990",
            "Timestamp=1800000000&Timestamp=1800000030",
        ] {
            let world = World::new(&format!(r#"{{"rate_limits": [], "replay": {replay}}}"#));
            world.expect_processed(&form(body));
            for seconds in [1, 2, 101, 200, 329, 330, 331] {
                let verdict = world.verdict(&form(body).at(after(seconds)));
                let rejected = ["duplicate", "stale_timestamp"].contains(&verdict);
                assert!(rejected, "{replay} {body} {seconds}: {verdict}");
            }
        }
        let world = World::new(&format!(r#"{{"rate_limits": [], "replay": {replay}}}"#));
        world.expect_processed(&form("Timestamp=1800000030"));
        let last = form("Timestamp=1800000030").at(after(330));
        world.expect(&last, "duplicate");
    }
}

/// What stays a duplicate says since when, and what can be done about it.
#[test]
fn the_hint_on_a_duplicate_says_how_old_the_first_is_and_what_to_set() {
    let limit = r#", "rate_limits": [
        {"key": "account", "count": "authenticated", "requests": 99, "window": "60s"}]"#;
    for limits in [r#", "rate_limits": []"#, limit] {
        let hint = |world: &World, seconds: u64, words: &str| {
            world.expect_hint(&form("a=1").at(after(seconds)), "duplicate", words)
        };
        let world = World::new(&format!(r#"{{"mode": "enforce" {limits}}}"#));
        world.expect(&form("a=1"), "accepted");
        for (seconds, said) in [
            (0, "accepted 0 s ago"),
            (12, "accepted 12 s ago"),
            (119, "accepted 119 s ago"),
            (120, "accepted 2 minutes ago"),
            (7199, "accepted 119 minutes ago"),
            (7200, "accepted 2 hours ago"),
            (86_399, "accepted 23 hours ago"),
        ] {
            assert_says(&hint(&world, seconds, said), "set replay: \"off\"");
        }
        let world = World::new(&format!(
            r#"{{"replay": {{"on_duplicate": "acknowledge"}} {limits}}}"#
        ));
        let first = world.send(&form("a=1"));
        hint(&world, 3, "still on its way");
        world.settle(&first, UpstreamOutcome::Processed);
        hint(&world, 12, "accepted 12 s ago");
    }
}

#[test]
fn with_replay_off_repeats_pass_and_still_have_a_nonce() {
    let world = World::new(r#"{"replay": "off"}"#);
    let mut nonces = (0..2).map(|_| world.send(&form("a=1")).record.nonce);
    let first = nonces.next().flatten();
    assert!(first.is_some() && first == nonces.next().flatten());
}

#[test]
fn forged_requests_take_no_room_and_burn_no_nonce() {
    let world = World::new(r#"{"rate_limits": [], "replay": {"capacity": 2}}"#);
    let before = world.memory.keys();
    for number in 0..100 {
        let body = format!("a={number}");
        let forged = form(&body).signed("wrong", URL, &body);
        world.expect(&forged, "invalid_signature");
    }
    assert_eq!(world.memory.keys(), before);
    world.expect(&form("a=1"), "accepted");
    world.expect(&form("a=2"), "accepted");
    world.expect(&form("a=3"), "store_full");
}

fn limited(key: &str, count: &str) -> World {
    World::new(&format!(
        r#"{{"accounts": [{{"account_sid": "ACa", "auth_tokens": ["a"]}},
                          {{"account_sid": "ACb", "auth_tokens": ["b"]}}],
            "webhooks": [{{"url": "https://orders.example.com/hook"}},
                         {{"url": "https://orders.example.com/other"}}],
            "rate_limits": [{{"key": "{key}", "count": "{count}", "requests": 2, "window": "60s"}}]}}"#
    ))
}

fn of(token: &str, body: &str) -> Request {
    form(body).signed(token, URL, body)
}

#[test]
fn a_limit_by_client_counts_every_request_of_that_client() {
    let world = limited("client_ip", "all");
    world.expect(&of("a", "x=1"), "accepted");
    world.expect(&of("wrong", "x=2"), "invalid_signature");
    let limited = rejection(&world, &of("a", "x=3")).limited;
    assert_eq!(limited.expect("limited").wait, Millis::seconds(60));
    world.expect(&of("a", "x=3").from("192.0.2.2:1"), "accepted");
    world.expect(&of("a", "x=3").at(after(59)), "rate_limited");
    world.expect(&of("a", "x=4").at(after(60)), "accepted");
}

#[test]
fn a_limit_by_account_cannot_be_used_up_by_unauthenticated_clients_or_repeats() {
    for count in ["all", "authenticated"] {
        let world = limited("account", count);
        world.expect_times(5, &of("wrong", "AccountSid=ACa"), "invalid_signature");
        world.expect(&of("a", "x=1"), "accepted");
        world.expect_times(5, &of("a", "x=1"), "duplicate");
        world.expect(&of("a", "x=2"), "accepted");
        world.expect(&of("a", "x=3"), "rate_limited");
        // Another account.
        world.expect(&of("b", "x=3"), "accepted");
    }
}

#[test]
fn a_limit_by_parameter_counts_its_values_apart() {
    let world = limited("param:From", "authenticated");
    for body in ["From=1&x=1", "From=1&x=2", "From=2&x=1"] {
        world.expect(&of("a", body), "accepted");
    }
    world.expect(&of("a", "From=1&x=3"), "rate_limited");
    for body in ["x=1", "x=2"] {
        world.expect(&of("a", body), "accepted");
    }
    // Those without it count together.
    world.expect(&of("a", "x=3"), "rate_limited");
}

#[test]
fn a_limit_by_webhook_counts_each_webhook() {
    let world = limited("webhook", "all");
    for _ in 0..2 {
        world.verdict(&of("wrong", "x=1"));
    }
    world.expect(&of("a", "x=1"), "rate_limited");
    let other = of("a", "x=1").to("/other");
    let other = other.signed("a", "https://orders.example.com/other", "x=1");
    world.expect(&other, "accepted");
}

#[test]
fn a_limit_on_rejected_requests_does_not_count_accepted_ones() {
    let world = limited("client_ip", "rejected");
    for number in 0..10 {
        world.expect(&of("a", &format!("x={number}")), "accepted");
    }
    world.expect(&of("wrong", "x=1"), "invalid_signature");
    let unsigned = of("wrong", "x=1").without("x-twilio-signature");
    world.expect(&unsigned, "missing_signature");
    world.expect(&of("wrong", "x=1"), "rate_limited");
    world.expect(&of("a", "x=11"), "rate_limited");
    world.expect(&of("a", "x=11").at(after(60)), "accepted");
}

#[test]
fn what_one_limit_rejects_another_does_not_count() {
    let world = World::new(
        r#"{"rate_limits": [
        {"key": "webhook", "requests": 3, "window": "60s"},
        {"key": "client_ip", "requests": 1, "window": "60s"}]}"#,
    );
    world.expect(&form("x=1"), "accepted");
    world.expect_times(5, &form("x=2"), "rate_limited");
    for client in ["192.0.2.2:1", "192.0.2.3:1"] {
        world.expect(&form(&format!("x={client}")).from(client), "accepted");
    }
    world.expect(&form("x=9").from("192.0.2.4:1"), "rate_limited");
}

#[test]
fn webhooks_with_windows_of_their_own_do_not_forget_each_others_requests() {
    let world = World::new(
        r#"{"rate_limits": [], "replay": {"capacity": 4, "window": "600s"},
            "webhooks": [{"url": "https://orders.example.com/hook"},
                         {"url": "https://orders.example.com/short", "replay": {"window": "1s"}}]}"#,
    );
    for number in 0..4 {
        world.expect_processed(&form(&format!("x={number}")));
    }
    world.expect(&form("x=4"), "store_full");
    for number in 0..4 {
        let body = format!("x={number}");
        let short = form(&body).to("/short").at(after(2 * number + 2));
        let short = short.signed("token", "https://orders.example.com/short", &body);
        world.expect(&short, "store_full");
        world.expect(&form(&body).at(after(2 * number + 2)), "duplicate");
    }
}

#[test]
fn with_the_mode_off_everything_passes_unchecked() {
    let world = World::new(r#"{"mode": "off"}"#);
    world.expect(&form("").to("/anything"), "unchecked");
}

#[test]
fn a_store_that_fails_lets_nothing_through() {
    struct Broken;
    impl CasMap for Broken {
        fn get(&self, _: &str) -> cas_map::Result<Option<Entry>> {
            Err(CasError::Unavailable)
        }
        fn compare_and_swap(&self, _: &str, _: Option<Version>, _: &[u8]) -> cas_map::Result<bool> {
            Err(CasError::Unavailable)
        }
    }
    for json in ["{}", r#"{"rate_limits": []}"#] {
        let memory = Rc::new(MemoryMap::new());
        let shared: Rc<dyn CasMap> = Rc::clone(&memory) as _;
        let filter = Filter::with_store(settings(json), shared, |tables, _| {
            let store = LocalStore::new(tables, Rc::new(Broken), HashKey([7; 16]));
            Ok::<Box<dyn Store>, CasError>(Box::new(store))
        });
        let world = World::with_filter(&memory, filter.expect("a store"));
        world.expect(&form("a=1"), "store_unavailable");
    }
}
