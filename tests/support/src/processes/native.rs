//! One verdict a request, by a filter in this process.

use serde_json::Value;
use twilio_webhook_filter::{ACCEPTED, Outcome, SETTINGS_HEADER, SIGNATURE_HEADER, Timestamp};

use crate::decide::{Driver, Sent};
use crate::signing::sha256_hex;

/// A request as it reaches the filter.
pub struct Incoming<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub websocket: bool,
    pub content_type: Option<&'a str>,
    pub settings: Option<&'a str>,
    pub signature: &'a str,
    pub body: &'a [u8],
}

/// The filter with its configuration.
pub struct Native(Driver);

impl Native {
    pub fn new(configuration: &Value) -> Self {
        Self(Driver::without_environment(&configuration.to_string()))
    }

    /// `accepted`, or the reason of the rejection.
    pub fn judge(&self, request: &Incoming<'_>) -> &'static str {
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
        let sent = Sent {
            headers: &pairs,
            client: "192.0.2.1:4321",
            body: request.body,
        };
        let verdict = self.0.decide(sent, 1, Timestamp(1_790_000_000_000));
        if let Outcome::Accepted(accepted) = &verdict.outcome {
            // One MAC, one nonce: whatever respelling of a request is accepted is the same request.
            let expected = sha256_hex(request.signature.as_bytes());
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
pub fn accepts(verdict: &str) -> bool {
    verdict == ACCEPTED
}
