//! The whole decision on a request in this process, as a host drives it: headers first, then the body.

use std::borrow::Cow;
use std::rc::Rc;

use twilio_webhook_filter::{
    CasMap, ClientAddress, Filter, HashKey, Headers, MemoryMap, Next, Settings, Surroundings,
    Timestamp, Verdict, load,
};

use crate::message::{ACCOUNT, TOKEN, URL};

/// When everything happens that does not say when.
pub const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// A request as a host hands it over: its headers, Envoy's `source.address`, and a body that is there at once.
#[derive(Clone, Copy)]
pub struct Sent<'a> {
    pub headers: &'a [(&'a [u8], &'a [u8])],
    pub client: &'a str,
    pub body: &'a [u8],
}

/// A filter and its store. Everything that decides on requests in this process does so by this type: tests,
/// benchmarks and fuzz targets know no other way to drive the filter.
pub struct Driver<S = MemoryMap> {
    filter: Rc<Filter>,
    store: S,
}

impl<S: CasMap + Default> Driver<S> {
    /// A filter by a configuration, with the environment of a small installation and an empty store.
    pub fn new(json: &str) -> Self {
        Self::with_environment(json, |name| match name {
            "TWILIO_AUTH_TOKEN" => Some(TOKEN.to_owned()),
            "TWILIO_ACCOUNT_SID" => Some(ACCOUNT.to_owned()),
            "WEBHOOK_URL" => Some(URL.to_owned()),
            _ => None,
        })
    }

    /// A filter by its configuration alone.
    pub fn without_environment(json: &str) -> Self {
        Self::with_environment(json, |_| None)
    }

    fn with_environment(json: &str, environment: impl Fn(&str) -> Option<String>) -> Self {
        let settings = load(json.as_bytes(), &environment)
            .unwrap_or_else(|problems| panic!("{json}: {problems}"));
        Self {
            filter: Rc::new(Filter::new(settings, HashKey([7; 16]))),
            store: S::default(),
        }
    }

    /// The same filter with an empty store.
    pub fn emptied(&self) -> Self {
        Self {
            filter: Rc::clone(&self.filter),
            store: S::default(),
        }
    }
}

impl<S: CasMap> Driver<S> {
    pub fn settings(&self) -> &Settings {
        self.filter.settings()
    }

    pub fn store(&self) -> &S {
        &self.store
    }

    /// The verdict on a request. A body that is too large is told by its size alone, as it is in Envoy.
    pub fn decide(&self, sent: Sent<'_>, claim_id: u64, now: Timestamp) -> Verdict {
        let around = self.around(now);
        decided(match self.arrive(sent, now) {
            Next::AwaitingBody(held) if !held.fits(sent.body.len()) => held.overflow(around),
            Next::AwaitingBody(held) => held.complete(sent.body, claim_id, around),
            next => next,
        })
    }

    /// The verdict on a request whose host fails while the filter waits for the body.
    pub fn fail(&self, sent: Sent<'_>, now: Timestamp) -> Verdict {
        decided(match self.arrive(sent, now) {
            Next::AwaitingBody(held) => held.fail(self.around(now)),
            next => next,
        })
    }

    /// The hint on a rejected request.
    pub fn diagnose(
        &self,
        verdict: &Verdict,
        sent: Sent<'_>,
        now: Timestamp,
    ) -> Option<Cow<'static, str>> {
        let headers = Headers::new(sent.headers);
        self.filter
            .diagnose(verdict, headers, sent.body, self.around(now))
    }

    fn arrive(&self, sent: Sent<'_>, now: Timestamp) -> Next {
        let client = ClientAddress::from_source_address(sent.client.as_bytes());
        self.filter
            .arrive(Headers::new(sent.headers), client, self.around(now))
    }

    fn around(&self, now: Timestamp) -> Surroundings<'_, S> {
        let store = &self.store;
        Surroundings { store, now }
    }
}

/// Local memory answers at once.
fn decided(next: Next) -> Verdict {
    match next {
        Next::Decided(verdict) => verdict,
        Next::AwaitingBody(_) | Next::Asking(_) => panic!("not decided"),
    }
}
