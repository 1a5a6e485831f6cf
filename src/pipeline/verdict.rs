//! How a request ended, and what is known of it.

use std::rc::Rc;

use crate::pipeline::rejection::Rejection;
use crate::pipeline::webhook::Webhook;
use crate::request::account_sid::AccountSid;
use crate::request::client_address::ClientAddress;
use crate::signature::key::Nonce;
use crate::store::local::nonces::Claim;

/// The end of the checks.
#[derive(Debug)]
pub struct Verdict {
    /// What happens to the request.
    pub outcome: Outcome,
    /// What is known of it.
    pub record: RequestRecord,
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
    /// The claim that the upstream's response settles; `None` where repeats are allowed.
    pub claim: Option<Claim>,
}

/// What is known of a request so far.
#[derive(Debug)]
pub struct RequestRecord {
    /// The client that sent it.
    pub client: ClientAddress,
    /// For a request that reached no webhook: what it asked for.
    pub target: Option<ShownTarget>,
    /// The webhook that it is for.
    pub webhook: Option<Rc<Webhook>>,
    /// The index in the keyring of the key that signed it.
    pub key: Option<usize>,
    /// The account, once the signature is right: the key's, or else the one that the signed
    /// parameters name.
    pub account: Option<AccountSid>,
    /// Its nonce, once the signature is right.
    pub nonce: Option<Nonce>,
}

impl RequestRecord {
    /// Returns the record of a request that has just arrived.
    pub fn new(client: ClientAddress) -> RequestRecord {
        RequestRecord {
            client,
            target: None,
            webhook: None,
            key: None,
            account: None,
            nonce: None,
        }
    }
}

impl Verdict {
    /// Returns the hint for the operator, if it is a rejection that has one.
    pub fn hint(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Rejected(rejection) => rejection.hint.as_deref(),
            _ => None,
        }
    }
}

impl Outcome {
    /// Returns the verdict's name: metric label, filter state, log.
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
