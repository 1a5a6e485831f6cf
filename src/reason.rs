//! The reasons for a rejection: the only table of them.
//!
//! Status, metric label, log text and the response's body all come from here, so that a
//! reason cannot exist in one of them and be missing in another.

macro_rules! reasons {
    ($($(#[$doc:meta])+ $reason:ident: $status:literal $name:literal, $sentence:literal;)+) => {
        /// Why a request was rejected. The order is the order of the checks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])+ $reason,)+
        }

        impl Reason {
            /// Every reason, in the order of the checks.
            pub const ALL: [Reason; [$($status),+].len()] = [$(Reason::$reason),+];

            const fn row(self) -> (u16, &'static str, &'static str) {
                match self {
                    $(Reason::$reason => ($status, $name, $sentence),)+
                }
            }
        }
    };
}

// One row for each reason: HTTP status, name, and a sentence for people. The sentences of the
// invalid signature, the duplicate and the rate limit keep the words that operators of the
// Express middleware search their logs for.
reasons! {
    /// The path belongs to no configured webhook and is not exempt.
    UnknownWebhook: 404 "unknown_webhook", "There is no webhook at this path.";
    /// The webhook exists, and does not take this method.
    MethodNotAllowed: 405 "method_not_allowed", "This webhook does not take this method.";
    /// Path and query together are longer than `max_target_bytes`.
    TargetTooLong: 414 "target_too_long", "The path and query are too long.";
    /// A rate limit is exhausted.
    RateLimited: 429 "rate_limited", "Rate limit exceeded; try again after the time in Retry-After.";
    /// The configuration holds no key at all, so nothing can be verified.
    NotConfigured: 500 "not_configured", "Webhook verification is not configured: there is no auth token.";
    /// There is no `X-Twilio-Signature`.
    MissingSignature: 403 "missing_signature", "The X-Twilio-Signature header is missing.";
    /// `X-Twilio-Signature` is repeated, or is not canonical base64 of 20 or 32 bytes.
    MalformedSignature: 403 "malformed_signature", "The X-Twilio-Signature header is not one base64 signature.";
    /// A timestamp is required and the request carries none.
    MissingTimestamp: 400 "missing_timestamp", "A signed timestamp is required and there is none.";
    /// A timestamp is in none of the known formats.
    MalformedTimestamp: 400 "malformed_timestamp", "The timestamp is in no known format.";
    /// A timestamp is older than `max_age`.
    StaleTimestamp: 400 "stale_timestamp", "The request is too old.";
    /// A timestamp is further ahead than `clock_skew`.
    FutureTimestamp: 400 "future_timestamp", "The request's timestamp is in the future.";
    /// The body is larger than `max_body_bytes`.
    BodyTooLarge: 413 "body_too_large", "The body is too large.";
    /// The body is of a kind that Twilio's signature does not cover.
    UnsignedBody: 403 "unsigned_body", "The signature does not cover a body of this kind.";
    /// The body is not what its headers say, so its meaning is ambiguous.
    MalformedBody: 400 "malformed_body", "The body is not what its headers say it is.";
    /// No configured key makes this signature.
    InvalidSignature: 403 "invalid_signature", "Invalid Twilio signature.";
    /// The signature is right, and the body is not the one whose hash was signed.
    BodyHashMismatch: 403 "body_hash_mismatch", "The body does not match the hash that was signed.";
    /// The key that matched belongs to another account than the parameters name.
    AccountMismatch: 403 "account_mismatch", "The signature belongs to another account than the parameters name.";
    /// This request was accepted before.
    Duplicate: 409 "duplicate", "Replay attack or repeated delivery: this request was accepted before.";
    /// The store of nonces and limits did not answer, or not in time.
    StoreUnavailable: 503 "store_unavailable", "The store that remembers requests is not available.";
    /// There is no room for another nonce.
    StoreFull: 503 "store_full", "There is no room to remember another request.";
    /// The filter itself failed; it fails closed.
    Internal: 500 "internal", "The filter failed and rejected the request.";
}

impl Reason {
    /// The HTTP status of the rejection.
    pub const fn status(self) -> u16 {
        self.row().0
    }

    /// The reason's name: the response's `error`, the metric's label, the log's verdict.
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// One plain sentence for people.
    pub const fn sentence(self) -> &'static str {
        self.row().2
    }

    /// Returns whether a `count: "rejected"` rule counts this rejection: it is the sender's
    /// doing, at a known webhook, and not itself the answer of a limit.
    pub const fn is_the_senders_doing(self) -> bool {
        !matches!(
            self,
            Reason::UnknownWebhook
                | Reason::MethodNotAllowed
                | Reason::TargetTooLong
                | Reason::RateLimited
                | Reason::NotConfigured
                | Reason::StoreUnavailable
                | Reason::StoreFull
                | Reason::Internal
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn every_reason_is_listed_once_and_has_a_name_of_its_own() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{reason:?} is out of order");
        }
    }

    #[test]
    fn a_reason_always_rejects() {
        for reason in Reason::ALL {
            assert!((400..=599).contains(&reason.status()), "{reason:?}");
            assert!(reason.sentence().ends_with('.'), "{reason:?}");
        }
    }
}
