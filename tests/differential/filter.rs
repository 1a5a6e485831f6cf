//! The core in this process, driven as Envoy drives it: headers first, then the body.

use std::rc::Rc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use twilio_webhook_filter::{
    ACCEPTED, ClientAddress, Filter, HashKey, Headers, MemoryMap, Next, Outcome, SETTINGS_HEADER,
    SIGNATURE_HEADER, Surroundings, Timestamp, load,
};

use crate::reference::hex;

/// A request as it reaches the filter.
pub(crate) struct Incoming<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) websocket: bool,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) settings: Option<&'a str>,
    pub(crate) signature: &'a str,
    pub(crate) body: &'a [u8],
}

/// The filter with its configuration.
pub(crate) struct Native {
    filter: Rc<Filter>,
    store: MemoryMap,
}

impl Native {
    pub(crate) fn new(configuration: &Value) -> Self {
        let nothing = |_: &str| None;
        let settings = load(configuration.to_string().as_bytes(), &nothing)
            .unwrap_or_else(|problems| panic!("{configuration:#}: {problems}"));
        Self {
            filter: Rc::new(Filter::new(settings, HashKey([7; 16]))),
            store: MemoryMap::new(),
        }
    }

    /// `accepted`, or the reason of the rejection.
    pub(crate) fn judge(&self, request: &Incoming<'_>) -> &'static str {
        let mut pairs: Vec<(&[u8], &[u8])> = vec![
            (b":method", request.method.as_bytes()),
            (b":path", request.target.as_bytes()),
            (b":authority", b"orders.example.com"),
            (SIGNATURE_HEADER.as_bytes(), request.signature.as_bytes()),
        ];
        let content_type = request.content_type.map(|value| ("content-type", value));
        let settings = request.settings.map(|value| (SETTINGS_HEADER, value));
        for (name, value) in content_type.into_iter().chain(settings) {
            pairs.push((name.as_bytes(), value.as_bytes()));
        }
        if request.websocket {
            pairs.push((b"connection", b"Upgrade"));
            pairs.push((b"upgrade", b"websocket"));
        }
        let around = Surroundings {
            store: &self.store,
            now: Timestamp(1_790_000_000_000),
        };
        let client = ClientAddress::from_source_address(b"192.0.2.1:4321");
        let next = match self.filter.arrive(Headers::new(&pairs), client, around) {
            Next::AwaitingBody(held) => held.complete(request.body, 1, around),
            next => next,
        };
        let Next::Decided(verdict) = next else {
            panic!("shared data answers at once")
        };
        if let Outcome::Accepted(accepted) = &verdict.outcome {
            // One MAC, one nonce: whatever respelling of a request is accepted is the same request.
            let expected = hex(&Sha256::digest(request.signature));
            assert_eq!(
                accepted.nonce.to_hex(),
                expected,
                "the nonce follows from the signature alone"
            );
        }
        verdict.outcome.name()
    }
}

/// Whether a verdict lets a request through.
pub(crate) fn accepts(verdict: &str) -> bool {
    verdict == ACCEPTED
}
