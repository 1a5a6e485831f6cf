//! Is this body one that a signature can cover?
//!
//! Twilio signs a form by its parameters, anything else by its hash in the URL,
//! and nothing else at all. Whatever says how a body is to be read (content type,
//! charset, content coding) is itself unsigned, so only one reading is let through.

use crate::core::refusal::Reason;
use crate::core::signature::form::{decode, hex_digit, split_at_first_equals};
use crate::core::signature::url::BODY_HASH_PARAMETER;

/// What the headers say of a body. It is decided before the body comes, so that
/// no header has to be kept until it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclaredBody {
    /// A form that can be read in one way only.
    Form,
    /// Neither a form nor anything that a lenient upstream could take for one.
    Other,
    /// Something that may be read as a form in another way than it was signed, or
    /// said twice.
    Ambiguous,
    /// Compressed or otherwise coded.
    Coded,
}

/// A header that may stand only once stands more often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

/// The value of a header that may stand once, if it stands at all.
pub type Once<'a> = Result<Option<&'a [u8]>, Repeated>;

impl DeclaredBody {
    /// By `content-type` and `content-encoding`.
    pub fn new(content_type: Once<'_>, content_encoding: Once<'_>) -> DeclaredBody {
        match content_encoding {
            Ok(None) => {}
            Ok(Some(coding)) if is_word(coding, b"identity") => {}
            Ok(Some(_)) | Err(Repeated) => return DeclaredBody::Coded,
        }
        match content_type {
            Err(Repeated) => DeclaredBody::Ambiguous,
            Ok(Some(content_type)) if is_form(content_type) => DeclaredBody::Form,
            Ok(Some(content_type)) if is_form_like(content_type) => DeclaredBody::Ambiguous,
            Ok(_) => DeclaredBody::Other,
        }
    }
}

/// What binds a body to the signature.
#[derive(Debug, PartialEq, Eq)]
pub enum Coverage {
    /// No body: the URL alone is signed.
    Empty,
    /// A form: its parameters are signed.
    Form,
    /// Anything else: the URL holds the SHA-256 of its bytes.
    Hash([u8; 32]),
}

impl Coverage {
    /// Decides by what was declared, what came, and the query as received.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`] for a content coding: Twilio sends none, and what
    /// the upstream would decode is not what was signed.
    /// [`Reason::UnsignedBody`] for a body that neither parameters nor hash cover.
    pub fn of(declared: DeclaredBody, body: &[u8], query: &[u8]) -> Result<Coverage, Reason> {
        // Where the URL holds a hash, no body is a body too: else whoever has a signed
        // JSON request could send it without its body.
        if body.is_empty() && body_hashes(query).next().is_none() {
            return Ok(Coverage::Empty);
        }
        match declared {
            _ if body.is_empty() => {}
            DeclaredBody::Form => return Ok(Coverage::Form),
            DeclaredBody::Coded => return Err(Reason::MalformedBody),
            DeclaredBody::Ambiguous => return Err(Reason::UnsignedBody),
            DeclaredBody::Other => {}
        }
        let hash = signed_hash(query).ok_or(Reason::UnsignedBody)?;
        Ok(Coverage::Hash(hash))
    }
}

/// The hash in a query that holds exactly one.
pub(crate) fn signed_hash(query: &[u8]) -> Option<[u8; 32]> {
    let mut hashes = body_hashes(query);
    match (hashes.next(), hashes.next()) {
        (Some(hash), None) => parse_hash(&decode(hash)),
        _ => None,
    }
}

/// The value of every `bodySHA256` of a query, however its name is spelled, as received.
fn body_hashes(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query
        .split(|byte| *byte == b'&')
        .map(split_at_first_equals)
        .filter(|(name, _)| decode(name) == BODY_HASH_PARAMETER)
        .map(|(_, value)| value)
}

const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// Equal but for case. Not inlined: unrolled for each word this would be 4 KB.
#[inline(never)]
fn is_word(text: &[u8], word: &[u8]) -> bool {
    // As a rule it is spelled as it is here, and to see that takes far fewer steps.
    text == word || text.eq_ignore_ascii_case(word)
}

/// `application/x-www-form-urlencoded`, alone or with `charset=utf-8`.
///
/// In another charset an upstream would read other text than was signed, and
/// another parameter is one that Twilio never sends.
fn is_form(content_type: &[u8]) -> bool {
    let mut parts = content_type.split(|byte| *byte == b';');
    let essence = parts.next().unwrap_or_default().trim_ascii();
    is_word(essence, FORM) && parts.all(|part| is_utf8_charset(part.trim_ascii()))
}

fn is_utf8_charset(parameter: &[u8]) -> bool {
    [
        &b""[..],
        b"charset=utf-8",
        b"charset=\"utf-8\"",
        b"charset=utf8",
    ]
    .iter()
    .any(|accepted| is_word(parameter, accepted))
}

/// Any content type that a lenient upstream might read as a form: then a body hash
/// does not settle what the body says.
fn is_form_like(content_type: &[u8]) -> bool {
    content_type
        .windows(FORM.len())
        .any(|window| is_word(window, FORM))
}

/// 64 hex digits. Either case: the digits stand in the signed URL, so they are
/// the signer's own spelling, and both cases spell the same hash.
fn parse_hash(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = digits else { return None };
        *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const HASH: &str = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";

    fn coverage(content_type: Option<&str>, query: &str) -> Result<Coverage, Reason> {
        let declared = DeclaredBody::new(Ok(content_type.map(str::as_bytes)), Ok(None));
        Coverage::of(declared, b"body", query.as_bytes())
    }

    #[test]
    fn a_form_is_covered_by_its_parameters() {
        for content_type in [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=utf-8",
            "Application/X-WWW-Form-URLEncoded;charset=UTF-8",
            "application/x-www-form-urlencoded;",
        ] {
            assert_eq!(
                coverage(Some(content_type), ""),
                Ok(Coverage::Form),
                "{content_type}"
            );
        }
    }

    #[test]
    fn a_form_in_a_charset_that_changes_its_meaning_is_not_covered_even_by_a_hash() {
        let query = format!("bodySHA256={HASH}");
        for content_type in [
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/x-www-form-urlencoded; charset=utf-8; charset=utf-7",
            "application/x-www-form-urlencoded; boundary=x",
            "text/plain, application/x-www-form-urlencoded",
        ] {
            let covered = coverage(Some(content_type), &query);
            assert_eq!(covered, Err(Reason::UnsignedBody), "{content_type}");
        }
    }

    #[test]
    fn anything_else_needs_exactly_one_hash() {
        let one = format!("a=1&bodySHA256={HASH}");
        assert!(matches!(
            coverage(Some("application/json"), &one),
            Ok(Coverage::Hash(_))
        ));
        assert!(matches!(coverage(None, &one), Ok(Coverage::Hash(_))));
        let upper = format!("bodySHA256={}", HASH.to_uppercase());
        assert_eq!(coverage(None, &upper), coverage(None, &one));
        let twice = format!("bodySHA256={HASH}&bodySHA256={HASH}");
        let hidden = format!("bodySHA256={HASH}&body%53HA256={}", "0".repeat(64));
        for query in [
            "",
            "bodySHA256=",
            "bodysha256=00",
            "bodySHA256=00",
            &twice,
            &hidden,
        ] {
            let covered = coverage(Some("application/json"), query);
            assert_eq!(covered, Err(Reason::UnsignedBody), "{query}");
        }
    }

    #[test]
    fn a_repeated_content_type_covers_nothing() {
        let declared = DeclaredBody::new(Err(Repeated), Ok(None));
        let query = b"";
        assert_eq!(
            Coverage::of(declared, b"a=1", query),
            Err(Reason::UnsignedBody)
        );
        assert_eq!(Coverage::of(declared, b"", query), Ok(Coverage::Empty));
    }

    #[test]
    fn a_content_coding_is_refused() {
        for (coding, expected) in [
            (Ok(Some(&b"gzip"[..])), Err(Reason::MalformedBody)),
            (Err(Repeated), Err(Reason::MalformedBody)),
            (Ok(Some(b"Identity")), Ok(Coverage::Form)),
        ] {
            let declared = DeclaredBody::new(Ok(Some(FORM)), coding);
            assert_eq!(Coverage::of(declared, b"a=1", b""), expected);
        }
    }
}
