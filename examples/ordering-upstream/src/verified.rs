//! What the filter says about a request. It removes these headers from whatever comes in and sets them on
//! what it accepted, so a request without them came by another way.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::webhook::Refusal;

/// `true` on a request that passed every check. In the filter's monitor mode it may hold a refusal's reason.
pub const VERIFIED: &str = "x-twilio-webhook-verified";
/// 64 hex digits, the same for every repeat of one webhook.
pub const NONCE: &str = "x-twilio-webhook-nonce";
/// The Twilio account whose key signed the request, where the filter knows it.
pub const ACCOUNT: &str = "x-twilio-webhook-account";

/// A request that the filter verified. As an argument of a handler it refuses any other request before its
/// body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// In lower case.
    pub nonce: String,
    /// The Twilio account, where known.
    pub account: Option<String>,
}

impl Verified {
    /// What the headers say, or nothing where they are not the filter's.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        if only(headers, VERIFIED)? != "true" {
            return None;
        }
        let nonce = only(headers, NONCE)?;
        // The filter always sends one. Without it a retry could not be told from a new message.
        if nonce.len() != 64 || !nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        Some(Self {
            nonce: nonce.to_ascii_lowercase(),
            account: only(headers, ACCOUNT).map(str::to_owned),
        })
    }
}

/// The value of a header that is there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    match values.next() {
        None => value.to_str().ok(),
        Some(_) => None,
    }
}

impl<S: Sync> FromRequestParts<S> for Verified {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        Self::from_headers(&parts.headers).ok_or(Refusal::NotVerified)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const DIGITS: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn read(headers: &[(&'static str, &str)]) -> Option<Verified> {
        let pairs = headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        });
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            map.append(name, value);
        });
        Verified::from_headers(&map)
    }

    #[test]
    fn the_three_headers_of_the_filter_are_read() {
        let verified = read(&[(VERIFIED, "true"), (NONCE, DIGITS), (ACCOUNT, "AC1")]).unwrap();
        assert_eq!(verified.nonce, DIGITS);
        assert_eq!(verified.account.as_deref(), Some("AC1"));
    }

    #[test]
    fn the_account_may_be_missing() {
        let verified = read(&[(VERIFIED, "true"), (NONCE, DIGITS)]).unwrap();
        assert_eq!(verified.account, None);
    }

    #[test]
    fn one_nonce_in_two_spellings_is_one_nonce() {
        let upper = DIGITS.to_ascii_uppercase();
        let verified = read(&[(VERIFIED, "true"), (NONCE, &upper)]).unwrap();
        assert_eq!(verified.nonce, DIGITS);
    }

    #[test]
    fn only_true_counts_as_verified() {
        for value in ["", "false", "TRUE", "true, true", "invalid_signature", "1"] {
            assert_eq!(read(&[(VERIFIED, value), (NONCE, DIGITS)]), None, "{value}");
        }
        assert_eq!(read(&[(NONCE, DIGITS)]), None);
    }

    #[test]
    fn a_header_that_is_there_twice_is_not_the_filters() {
        let twice = [(VERIFIED, "true"), (VERIFIED, "true"), (NONCE, DIGITS)];
        assert_eq!(read(&twice), None);
        let twice = [(VERIFIED, "true"), (NONCE, DIGITS), (NONCE, DIGITS)];
        assert_eq!(read(&twice), None);
    }

    #[test]
    fn a_nonce_is_64_hex_digits() {
        let long = format!("{DIGITS}0");
        let wrong = DIGITS.replace('a', "g");
        for nonce in ["", "0", &long, &wrong] {
            assert_eq!(read(&[(VERIFIED, "true"), (NONCE, nonce)]), None, "{nonce}");
        }
        assert_eq!(read(&[(VERIFIED, "true")]), None);
    }
}
