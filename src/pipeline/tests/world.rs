//! A filter with its memory, and requests to it that are signed as Twilio signs.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use crate::cas_map::CasMap;
use crate::cas_map::memory::MemoryMap;
use crate::config::load::load;
use crate::config::settings::Settings;
use crate::pipeline::filter::Filter;
use crate::pipeline::step::{AwaitingStore, Step};
use crate::pipeline::verdict::{Accepted, Outcome, RequestRecord, Verdict};
use crate::request::client_address::ClientAddress;
use crate::request::headers::Headers;
use crate::store::port::{CallError, HttpCall, HttpResponse, UpstreamOutcome};
use crate::tests::{assert_says, sign};
use crate::time::{Millis, Timestamp};

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub(super) const SID: &str = "AC00000000000000000000000000000001";

pub(crate) const URL: &str = "https://orders.example.com/hook";

pub(super) const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

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
pub(super) fn taking(methods: &[&str]) -> World {
    World::new(&format!(
        r#"{{"rate_limits": [], "webhooks": [{{"url": "{URL}", "methods": {methods:?}}}]}}"#
    ))
}

impl World {
    pub(crate) fn new(json: &str) -> World {
        World::on(&Rc::new(MemoryMap::new()), json)
    }

    pub(super) fn on(memory: &Rc<MemoryMap>, json: &str) -> World {
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
    pub(super) fn expect_times(&self, times: usize, request: &Request, verdict: &str) {
        (0..times).for_each(|_| self.expect(request, verdict));
    }

    /// Sends a request that is accepted, and that the upstream processes.
    #[track_caller]
    pub(super) fn expect_processed(&self, request: &Request) {
        self.settle(&self.send(request), UpstreamOutcome::Processed);
    }

    /// Sends a request that is rejected like this, and explained with these words or not at all.
    #[track_caller]
    pub(super) fn expect_hint(&self, request: &Request, verdict: &str, words: &str) -> String {
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
pub(super) fn signed_target(path: &str) -> Request {
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

    pub(super) fn upgraded(self) -> Request {
        self.with("connection", "Upgrade")
            .with("upgrade", "websocket")
    }

    pub(super) fn json(self, body: &str) -> Request {
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
