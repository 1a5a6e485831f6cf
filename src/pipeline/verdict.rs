//! How a request ended, and what is known of it.

use std::borrow::Cow;

use crate::diagnosis::FailedSignature;
use crate::reason::Reason;
use crate::request::account_sid::AccountSid;
use crate::request::client_address::ClientAddress;
use crate::signature::key::Nonce;
use crate::store::local::limiter::Limit;
use crate::store::local::nonces::{Change, Claim};
use crate::time::Millis;

/// The end of the checks.
#[derive(Debug)]
pub struct Verdict {
    /// What happens to the request.
    pub outcome: Outcome,
    /// What log and metrics say of it.
    pub facts: RequestRecord,
    /// For a signature that does not fit: what a diagnosis needs.
    pub failed_signature: Option<Box<FailedSignature>>,
}

/// What happens to a request.
#[derive(Debug)]
pub enum Outcome {
    /// The mode is `off`: it passes unchecked.
    Unchecked,
    /// Its path is exempt: it passes unchecked.
    Exempt,
    /// It passes.
    Accepted(Accepted),
    /// It does not.
    Rejected(Rejection),
}

/// A request that passed every check.
#[derive(Debug)]
pub struct Accepted {
    /// The idempotency key for the upstream.
    pub nonce: Nonce,
    /// To be settled by the upstream's answer; `None` where repeats are allowed.
    pub claim: Option<Claim>,
}

/// A rejection and what its answer has to say.
#[derive(Debug)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// For a rate limit: which, and for how long.
    pub limited: Option<Limited>,
    /// A repeat that is to be answered 200, as if it had been taken again.
    pub acknowledge: bool,
    /// What the answer says in the place of the reason's sentence. Nothing of the request.
    pub detail: Option<Cow<'static, str>>,
    /// A repeat that may be taken, or acknowledged, if it comes again after this long.
    pub retry_after: Option<Millis>,
}

/// A limit that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Which limit.
    pub limit: Limit,
    /// After this long the next request passes.
    pub wait: Millis,
}

impl Rejection {
    /// Whether rules that count rejections count it. What a sender does rightly, who repeats
    /// what may have been lost, is not counted.
    pub fn is_counted(&self) -> bool {
        let is_a_retry = self.acknowledge || self.retry_after.is_some();
        self.reason.is_the_senders_doing() && !is_a_retry
    }

    /// Whether whoever has one captured request can have as many rejections of this kind as
    /// he likes: they are no sign that its account, or whoever its parameters name, does
    /// anything wrong, and must not use up a limit of theirs.
    pub fn comes_with_a_replay(&self) -> bool {
        matches!(
            self.reason,
            Reason::Duplicate | Reason::StaleTimestamp | Reason::FutureTimestamp
        )
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Rejection {
        Rejection {
            reason,
            limited: None,
            acknowledge: false,
            detail: None,
            retry_after: None,
        }
    }
}

impl From<Limited> for Rejection {
    fn from(limited: Limited) -> Rejection {
        Rejection {
            limited: Some(limited),
            ..Rejection::from(Reason::RateLimited)
        }
    }
}

/// What is known of a request so far. Places, not texts: the texts stand in the settings.
#[derive(Debug)]
pub struct RequestRecord {
    /// Who sent it.
    pub client: ClientAddress,
    /// For a request that reached no webhook: what it asked for.
    pub target: Option<ShownTarget>,
    /// The webhook's place in the settings.
    pub webhook: Option<usize>,
    /// The place in the keyring of the key that signed it.
    pub key: Option<usize>,
    /// The account, once the signature is right: of the key, or else as the signed
    /// parameters have it.
    pub account: Option<AccountSid>,
    /// Its nonce, once the signature is right.
    pub nonce: Option<Nonce>,
    /// For the operator: what may be the cause of the rejection.
    pub hint: Option<Cow<'static, str>>,
    /// What its claim changed in the table.
    pub change: Change,
    /// Whether shared data decided where Redis did not answer.
    pub used_local_fallback: bool,
}

impl RequestRecord {
    /// Of a request that has just arrived.
    pub fn new(client: ClientAddress) -> RequestRecord {
        RequestRecord {
            client,
            target: None,
            webhook: None,
            key: None,
            account: None,
            nonce: None,
            hint: None,
            change: Change::default(),
            used_local_fallback: false,
        }
    }
}

/// Method and path of a request, as far as a log line may show them.
#[derive(Debug)]
pub struct ShownTarget {
    /// The method.
    pub method: String,
    /// The path without its query, which may hold personal data.
    pub path: String,
}

impl ShownTarget {
    /// The longest that either is shown, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Of a request. What is not visible ASCII is escaped, so that it stays one line and
    /// nothing that a terminal acts on.
    pub fn new(method: &[u8], path: &[u8]) -> ShownTarget {
        ShownTarget {
            method: escaped(method),
            path: escaped(path),
        }
    }
}

fn escaped(text: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    let mut shown = String::with_capacity(text.len().min(ShownTarget::MAX_BYTES));
    for byte in text {
        let is_visible = byte.is_ascii_graphic();
        let length = if is_visible { 1 } else { 3 };
        if shown.len() + length > ShownTarget::MAX_BYTES {
            break;
        }
        if is_visible {
            shown.push(char::from(*byte));
        } else {
            let digits = [byte >> 4, byte & 0xF].map(|nibble| digit(nibble).to_ascii_uppercase());
            shown.push('%');
            shown.extend(digits);
        }
    }
    shown
}

impl Verdict {
    /// A verdict that needs no diagnosis.
    pub fn new(outcome: Outcome, facts: RequestRecord) -> Verdict {
        Verdict {
            outcome,
            facts,
            failed_signature: None,
        }
    }
}

impl Outcome {
    /// The verdict's name: metric label, filter state, log.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Unchecked => UNCHECKED,
            Outcome::Exempt => EXEMPT,
            Outcome::Accepted(_) => ACCEPTED,
            Outcome::Rejected(rejection) => rejection.reason.name(),
        }
    }
}

/// The verdict on a request that passed every check.
pub const ACCEPTED: &str = "accepted";
/// The verdict on an exempt path.
pub const EXEMPT: &str = "exempt";
/// The verdict where the mode is `off`.
pub const UNCHECKED: &str = "unchecked";

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn what_is_shown_of_a_path_is_short_and_visible() {
        let shown = ShownTarget::new(b"POST", b"/a b\x1b[2J\xC2\x9B\"%20");
        assert_eq!(shown.path, "/a%20b%1B[2J%C2%9B\"%20");
        for length in [0, 1, 127, 128, 129, 60_000] {
            let path = "\u{e9}".repeat(length);
            let shown = ShownTarget::new(b"", path.as_bytes()).path;
            assert!(shown.len() <= ShownTarget::MAX_BYTES);
            assert!(shown.len().is_multiple_of(3), "no escape is cut: {shown}");
        }
    }
}
