//! The whole decision on a request in this process, as a host drives it: headers first, then the body.

use std::rc::Rc;

use twilio_webhook_filter::{
    CasMap, ClientAddress, Filter, Headers, MemoryMap, Settings, Step, Timestamp, Verdict, Webhook,
    load,
};

use crate::message::{ACCOUNT, TOKEN, URL};

/// When everything happens that does not say when.
pub const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// The environment of a small installation.
pub const ENVIRONMENT: [(&str, &str); 3] = [
    ("TWILIO_AUTH_TOKEN", TOKEN),
    ("TWILIO_ACCOUNT_SID", ACCOUNT),
    ("WEBHOOK_URL", URL),
];

/// A request as a host hands it over: its headers, Envoy's `source.address`, and a body that is there at once.
#[derive(Clone, Copy)]
pub struct Sent<'a> {
    pub headers: &'a [(&'a [u8], &'a [u8])],
    pub client: &'a str,
    pub body: &'a [u8],
}

/// The key of a bucket, the same one for all nonces: so how full it is does not depend on hashes.
pub fn one_bucket(key: &str) -> &str {
    if key.contains(":nonces:4000:") {
        "nonces"
    } else {
        key
    }
}

/// A filter and the memory that its store is in. Everything that decides on requests in this process does so by this
/// type: tests, benchmarks and fuzz targets know no other way to drive the filter.
pub struct Driver<S = MemoryMap> {
    filter: Filter,
    memory: Rc<S>,
    json: String,
    has_environment: bool,
}

impl<S: CasMap + Default + 'static> Driver<S> {
    /// A filter by a configuration, with the environment of a small installation and an empty store.
    pub fn new(json: &str) -> Self {
        Self::open(json, true)
    }

    /// A filter by its configuration alone.
    pub fn without_environment(json: &str) -> Self {
        Self::open(json, false)
    }

    fn open(json: &str, has_environment: bool) -> Self {
        let variable = |name: &str| {
            let own = ENVIRONMENT.iter().find(|(own, _)| *own == name);
            own.map(|(_, value)| (*value).to_owned())
        };
        let environment = |name: &str| variable(name).filter(|_| has_environment);
        let settings = load(json.as_bytes(), &environment)
            .unwrap_or_else(|problems| panic!("{json}: {problems}"));
        let memory = Rc::new(S::default());
        let shared: Rc<dyn CasMap> = Rc::clone(&memory) as _;
        Self {
            filter: Filter::new(settings, shared, [7; 16]).expect("memory"),
            memory,
            json: json.to_owned(),
            has_environment,
        }
    }

    /// The same filter with an empty store.
    pub fn emptied(&self) -> Self {
        Self::open(&self.json, self.has_environment)
    }
}

impl<S> Driver<S> {
    pub fn settings(&self) -> &Settings {
        self.filter.settings()
    }

    pub fn webhooks(&self) -> &[Rc<Webhook>] {
        self.filter.webhooks()
    }

    pub fn store(&self) -> &S {
        &self.memory
    }

    /// The verdict on a request. A body that is too large is told by its size alone, as it is in Envoy.
    pub fn decide(&self, sent: Sent<'_>, claim_id: u64, now: Timestamp) -> Verdict {
        decided(match self.on_headers(sent, now) {
            Step::AwaitBody(awaiting) if !self.filter.fits(sent.body.len()) => {
                self.filter.on_body_too_large(awaiting, now)
            }
            Step::AwaitBody(awaiting) => self.filter.on_body(awaiting, sent.body, claim_id, now),
            step => step,
        })
    }

    /// The verdict on a request whose host fails while the filter waits for the body.
    pub fn fail(&self, sent: Sent<'_>, now: Timestamp) -> Verdict {
        decided(match self.on_headers(sent, now) {
            Step::AwaitBody(awaiting) => self.filter.on_internal_error(awaiting, now),
            step => step,
        })
    }

    /// Adds to the verdict on a rejected request what explains its signature.
    pub fn explain(&self, verdict: &mut Verdict, sent: Sent<'_>, now: Timestamp) {
        if self.filter.may_explain(verdict, now) {
            let headers = Headers::new(sent.headers);
            self.filter.explain(verdict, headers, sent.body, now);
        }
    }

    fn on_headers(&self, sent: Sent<'_>, now: Timestamp) -> Step {
        let client = ClientAddress::from_source_address(sent.client.as_bytes());
        self.filter
            .on_headers(Headers::new(sent.headers), client, now)
    }
}

/// Local memory answers at once.
fn decided(step: Step) -> Verdict {
    match step {
        Step::Decided(verdict) => verdict,
        Step::AwaitBody(_) | Step::AwaitStore(..) => panic!("not decided"),
    }
}
