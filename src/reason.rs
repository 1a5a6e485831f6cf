//! Every way in which a request can end, in one table.
//!
//! Status, metric label, log text and the answer's body all come from here, so
//! that a reason cannot exist in one of them and be missing in another.

/// Why a request was rejected. The order is the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The path belongs to no configured webhook and is not exempt.
    UnknownWebhook,
    /// The webhook exists, and does not take this method.
    MethodNotAllowed,
    /// Path and query together are longer than `max_target_bytes`.
    TargetTooLong,
    /// A rate limit is used up.
    RateLimited,
    /// The configuration holds no key at all, so nothing can be verified.
    NotConfigured,
    /// There is no `X-Twilio-Signature`.
    MissingSignature,
    /// `X-Twilio-Signature` is repeated, or is not canonical base64 of 20 or 32 bytes.
    MalformedSignature,
    /// A timestamp is required and the request carries none.
    MissingTimestamp,
    /// A timestamp is in none of the known formats.
    MalformedTimestamp,
    /// A timestamp is older than `max_age`.
    StaleTimestamp,
    /// A timestamp is further ahead than `clock_skew`.
    FutureTimestamp,
    /// The body is larger than `max_body_bytes`.
    BodyTooLarge,
    /// The body is of a kind that Twilio's signature does not cover.
    UnsignedBody,
    /// The body is not what its headers say, so what it means is in doubt.
    MalformedBody,
    /// No configured key makes this signature.
    InvalidSignature,
    /// The signature is right, and the body is not the one whose hash was signed.
    BodyHashMismatch,
    /// The key that matched belongs to another account than the parameters name.
    AccountMismatch,
    /// This request was accepted before.
    Duplicate,
    /// The store of nonces and limits did not answer, or not in time.
    StoreUnavailable,
    /// There is no room to remember another request.
    StoreFull,
    /// The filter itself failed; nothing passes on a doubt.
    Internal,
}

impl Reason {
    /// Every reason, in the order of the checks.
    pub const ALL: [Reason; 21] = [
        Reason::UnknownWebhook,
        Reason::MethodNotAllowed,
        Reason::TargetTooLong,
        Reason::RateLimited,
        Reason::NotConfigured,
        Reason::MissingSignature,
        Reason::MalformedSignature,
        Reason::MissingTimestamp,
        Reason::MalformedTimestamp,
        Reason::StaleTimestamp,
        Reason::FutureTimestamp,
        Reason::BodyTooLarge,
        Reason::UnsignedBody,
        Reason::MalformedBody,
        Reason::InvalidSignature,
        Reason::BodyHashMismatch,
        Reason::AccountMismatch,
        Reason::Duplicate,
        Reason::StoreUnavailable,
        Reason::StoreFull,
        Reason::Internal,
    ];

    /// Name (the `error` field, the metric's label), HTTP status, and one plain sentence.
    ///
    /// The sentences of the invalid signature, the duplicate and the rate limit
    /// keep the words that operators of the Express middleware search their logs for.
    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Reason::UnknownWebhook => ("unknown_webhook", 404, "There is no webhook at this path."),
            Reason::MethodNotAllowed => (
                "method_not_allowed",
                405,
                "This webhook does not take this method.",
            ),
            Reason::TargetTooLong => ("target_too_long", 414, "The path and query are too long."),
            Reason::RateLimited => (
                "rate_limited",
                429,
                "Rate limit exceeded; try again after the time in Retry-After.",
            ),
            Reason::NotConfigured => (
                "not_configured",
                500,
                "Webhook verification is not configured: there is no auth token.",
            ),
            Reason::MissingSignature => (
                "missing_signature",
                403,
                "The X-Twilio-Signature header is missing.",
            ),
            Reason::MalformedSignature => (
                "malformed_signature",
                403,
                "The X-Twilio-Signature header is not one base64 signature.",
            ),
            Reason::MissingTimestamp => (
                "missing_timestamp",
                400,
                "A signed timestamp is required and there is none.",
            ),
            Reason::MalformedTimestamp => (
                "malformed_timestamp",
                400,
                "The timestamp is in no known format.",
            ),
            Reason::StaleTimestamp => ("stale_timestamp", 400, "The request is too old."),
            Reason::FutureTimestamp => (
                "future_timestamp",
                400,
                "The request's timestamp is in the future.",
            ),
            Reason::BodyTooLarge => ("body_too_large", 413, "The body is too large."),
            Reason::UnsignedBody => (
                "unsigned_body",
                403,
                "The signature does not cover a body of this kind.",
            ),
            Reason::MalformedBody => (
                "malformed_body",
                400,
                "The body is not what its headers say it is.",
            ),
            Reason::InvalidSignature => ("invalid_signature", 403, "Invalid Twilio signature."),
            Reason::BodyHashMismatch => (
                "body_hash_mismatch",
                403,
                "The body does not match the hash that was signed.",
            ),
            Reason::AccountMismatch => (
                "account_mismatch",
                403,
                "The signature belongs to another account than the parameters name.",
            ),
            Reason::Duplicate => (
                "duplicate",
                409,
                "Replay attack or repeated delivery: this request was accepted before.",
            ),
            Reason::StoreUnavailable => (
                "store_unavailable",
                503,
                "The store that remembers requests is not available.",
            ),
            Reason::StoreFull => (
                "store_full",
                503,
                "There is no room to remember another request.",
            ),
            Reason::Internal => (
                "internal",
                500,
                "The filter failed and rejected the request.",
            ),
        }
    }

    /// The reason's name: the answer's `error`, the metric's label, the log's verdict.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status of the rejection.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// One plain sentence for people.
    pub const fn sentence(self) -> &'static str {
        self.row().2
    }

    /// Whether this rejection is one that a `count: "rejected"` rule counts: the
    /// sender's doing, at a known webhook, and not itself the answer of a limit.
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
