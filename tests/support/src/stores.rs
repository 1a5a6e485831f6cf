//! Tables of nonces and rate limits as tests and benchmarks set them up.

use twilio_webhook_filter::{
    CheckResult, Limit, Limiter, Millis, Nonce, NonceRules, OnFull, Timestamp,
};

use crate::random::spread;

/// When all of them begin.
pub const START: Timestamp = Timestamp(1_800_000_000_000);

/// A nonce as evenly spread as SHA-256 spreads them.
pub fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 32];
    for (index, chunk) in (1..).zip(bytes.chunks_exact_mut(8)) {
        chunk.copy_from_slice(&spread(number * 4 + index).to_be_bytes());
    }
    Nonce(bytes)
}

/// The rules of a table of nonces by default, but for how many it holds.
pub fn nonce_rules(capacity: usize) -> NonceRules {
    NonceRules {
        window: Millis::seconds(300),
        keep: Millis::seconds(86_400),
        max_pinned: Millis::seconds(330),
        capacity,
        on_full: OnFull::Reject,
    }
}

/// A rate limit over so many keys.
pub fn limiter(name: &str, requests: u32, window: Millis, capacity: usize) -> Limiter {
    Limiter::new(name, Limit { requests, window }, capacity)
}

/// How long a request has to wait, if it is limited.
pub fn wait(checked: CheckResult) -> Option<Millis> {
    match checked {
        CheckResult::Permitted(_) => None,
        CheckResult::Limited(wait) => Some(wait),
    }
}
