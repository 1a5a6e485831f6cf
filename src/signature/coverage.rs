//! What binds a body to the signature.
//!
//! Twilio signs a form by its parameters, and any other body by its hash in the URL. The headers
//! that say how to read a body (content type, charset, content coding) are unsigned, so a body is
//! accepted only if it can be read in one way.

use crate::reason::Reason;
use crate::signature::body_hash::{body_hashes, parse_hash, signed_hash};
use crate::signature::key::sha256;
use crate::signature::urlencoded::decode;

/// The kinds of methods, by what a body means to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// GET and HEAD, whose URL says everything.
    Query,
    /// DELETE, whose body has no defined meaning (RFC 9110, section 9.3.5).
    Bodiless,
    /// Any other method.
    Body,
}

impl MethodKind {
    /// Returns the kind of a method.
    pub fn of(method: &[u8]) -> MethodKind {
        match method {
            b"GET" | b"HEAD" => MethodKind::Query,
            b"DELETE" => MethodKind::Bodiless,
            _ => MethodKind::Body,
        }
    }
}

/// What the headers say of a body. It is determined before the body arrives, so that no header
/// has to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclaredBody {
    /// A form that is read in one way only.
    Form,
    /// Nothing that even a lenient upstream takes for a form.
    Other,
    /// What may be read as another form than was signed, or a repeated header.
    Ambiguous,
    /// A body with a content coding, such as compression.
    Coded,
}

/// The error that a header which must not be repeated is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

/// The value of an optional header that must not be repeated.
pub type Once<'a> = Result<Option<&'a [u8]>, Repeated>;

impl DeclaredBody {
    /// Determines it from `content-type` and `content-encoding`.
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
    /// No body, but the URL holds the hash of one: it was removed.
    Missing,
    /// A form: its parameters are signed.
    Form,
    /// Any other body: the URL's last parameter is the SHA-256 of its bytes.
    Hash([u8; 32]),
}

/// What the method of a request, and those of its webhook, mean for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The kind of the request's method.
    pub kind: MethodKind,
    /// Whether the webhook accepts any method that sends a body (POST, PUT, PATCH).
    pub webhook_takes_bodies: bool,
}

impl Coverage {
    /// Determines it from the method, the declared and the actual body, and the query as received.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`] for a content coding: Twilio sends none, and the upstream would
    /// decode something else than was signed.
    /// [`Reason::UnsignedBody`] for a body that neither parameters nor a hash cover, and for any
    /// body with GET, HEAD or DELETE, which upstreams may read or ignore.
    pub fn of(
        method: Method,
        declared: DeclaredBody,
        body: &[u8],
        query: &[u8],
    ) -> Result<Coverage, Reason> {
        if body.is_empty() {
            return Ok(Coverage::of_no_body(method, query));
        }
        match declared {
            DeclaredBody::Coded => return Err(Reason::MalformedBody),
            _ if method.kind != MethodKind::Body => return Err(Reason::UnsignedBody),
            DeclaredBody::Form => return Ok(Coverage::Form),
            DeclaredBody::Ambiguous => return Err(Reason::UnsignedBody),
            DeclaredBody::Other => {}
        }
        let hash = signed_hash(query).ok_or(Reason::UnsignedBody)?;
        Ok(Coverage::Hash(hash))
    }

    /// Determines it for an empty body. If the URL holds a hash, it must be that of an empty body;
    /// otherwise an attacker could replay a signed JSON request without its body.
    ///
    /// Twilio's GET callbacks have one or two arbitrary hashes all the same. They are harmless
    /// where the webhook accepts no method with a body.
    fn of_no_body(method: Method, query: &[u8]) -> Coverage {
        if method.kind == MethodKind::Query && !method.webhook_takes_bodies {
            return Coverage::Empty;
        }
        let is_of_no_body = |hash| {
            let hash = parse_hash(&decode(hash));
            // Twilio hashes a missing JSON body as nothing, or as `{}`.
            hash.is_some_and(|hash| hash == sha256(&[]) || hash == sha256(&[b"{}"]))
        };
        if body_hashes(query).all(is_of_no_body) {
            Coverage::Empty
        } else {
            Coverage::Missing
        }
    }
}

const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// Returns whether two words are equal except for case. Not inlined: unrolled for each word it
/// would take 4 KB.
#[inline(never)]
fn is_word(text: &[u8], word: &[u8]) -> bool {
    // Usually they are equal, which is far cheaper to find.
    text == word || text.eq_ignore_ascii_case(word)
}

/// Returns whether a content type is `application/x-www-form-urlencoded`, alone or with
/// `charset=utf-8`.
///
/// In another charset an upstream would read other text than was signed; Twilio sends no other
/// parameter.
fn is_form(content_type: &[u8]) -> bool {
    let mut parts = content_type.split(|byte| *byte == b';');
    let essence = parts.next().unwrap_or_default().trim_ascii();
    is_word(essence, FORM) && parts.all(|part| is_utf8_charset(part.trim_ascii()))
}

fn is_utf8_charset(parameter: &[u8]) -> bool {
    const ACCEPTED: [&str; 4] = ["", "charset=utf-8", "charset=\"utf-8\"", "charset=utf8"];
    let is_it = |accepted: &&str| is_word(parameter, accepted.as_bytes());
    ACCEPTED.iter().any(is_it)
}

/// Returns whether a lenient upstream might read a content type as a form, so that a body hash
/// does not determine what the body says.
fn is_form_like(content_type: &[u8]) -> bool {
    content_type
        .windows(FORM.len())
        .any(|window| is_word(window, FORM))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const HASH: &str = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";

    fn method(name: &[u8], webhook_takes_bodies: bool) -> Method {
        let kind = MethodKind::of(name);
        Method {
            kind,
            webhook_takes_bodies,
        }
    }

    /// A body of a POST with this content type.
    fn coverage(content_type: Option<&str>, query: &str) -> Result<Coverage, Reason> {
        let declared = DeclaredBody::new(Ok(content_type.map(str::as_bytes)), Ok(None));
        Coverage::of(method(b"POST", true), declared, b"body", query.as_bytes())
    }

    fn without_body(name: &[u8], webhook_takes_bodies: bool, query: &str) -> Coverage {
        let declared = DeclaredBody::new(Ok(None), Ok(None));
        let method = method(name, webhook_takes_bodies);
        Coverage::of(method, declared, b"", query.as_bytes()).expect("no body is no error")
    }

    #[test]
    fn a_form_is_covered_by_its_parameters() {
        for content_type in [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=utf-8",
            "Application/X-WWW-Form-URLEncoded;charset=UTF-8",
            "application/x-www-form-urlencoded;",
        ] {
            let covered = coverage(Some(content_type), "");
            assert_eq!(covered, Ok(Coverage::Form), "{content_type}");
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
        for content_type in [Some("application/json"), None] {
            let covered = coverage(content_type, &one);
            assert!(matches!(covered, Ok(Coverage::Hash(_))), "{covered:?}");
        }
        let upper = format!("bodySHA256={}", HASH.to_uppercase());
        assert_eq!(coverage(None, &upper), coverage(None, &one));
        let twice = format!("bodySHA256={HASH}&bodySHA256={HASH}");
        let hidden = format!("bodySHA256={HASH}&body%53HA256={}", "0".repeat(64));
        let malformed = ["", "bodySHA256=", "bodysha256=00", "bodySHA256=00"];
        for query in malformed.into_iter().chain([&*twice, &*hidden]) {
            let covered = coverage(Some("application/json"), query);
            assert_eq!(covered, Err(Reason::UnsignedBody), "{query}");
        }
    }

    #[test]
    fn a_repeated_content_type_covers_nothing() {
        let declared = DeclaredBody::new(Err(Repeated), Ok(None));
        let of = |body| Coverage::of(method(b"POST", true), declared, body, b"");
        assert_eq!(of(b"a=1"), Err(Reason::UnsignedBody));
        assert_eq!(of(b""), Ok(Coverage::Empty));
    }

    #[test]
    fn a_content_coding_is_rejected() {
        for (coding, expected) in [
            (Ok(Some(&b"gzip"[..])), Err(Reason::MalformedBody)),
            (Err(Repeated), Err(Reason::MalformedBody)),
            (Ok(Some(b"Identity")), Ok(Coverage::Form)),
        ] {
            let declared = DeclaredBody::new(Ok(Some(FORM)), coding);
            let covered = Coverage::of(method(b"POST", true), declared, b"a=1", b"");
            assert_eq!(covered, expected);
        }
    }

    #[test]
    fn a_body_with_get_head_or_delete_is_covered_by_nothing() {
        let query = format!("bodySHA256={HASH}");
        for method in [&b"GET"[..], b"HEAD", b"DELETE"] {
            for content_type in [None, Some(FORM)] {
                let declared = DeclaredBody::new(Ok(content_type), Ok(None));
                let method = self::method(method, true);
                let covered = Coverage::of(method, declared, b"000=", query.as_bytes());
                assert_eq!(covered, Err(Reason::UnsignedBody));
            }
        }
    }

    #[test]
    fn a_body_that_was_hashed_cannot_be_taken_away() {
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let braces = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        for hash in [nothing, braces] {
            let query = format!("a=1&bodySHA256={hash}");
            assert_eq!(without_body(b"POST", true, &query), Coverage::Empty);
        }
        let one = format!("a=1&bodySHA256={HASH}");
        let not_last = format!("body%53HA256={HASH}&a=1");
        let twice = format!("bodySHA256={nothing}&bodySHA256={HASH}");
        for query in [&one, &not_last, &twice, "bodySHA256=", "bodySHA256=00"] {
            assert_eq!(without_body(b"POST", true, query), Coverage::Missing);
            assert_eq!(without_body(b"GET", true, query), Coverage::Missing);
            assert_eq!(without_body(b"DELETE", false, query), Coverage::Missing);
        }
    }

    #[test]
    fn a_callback_by_get_may_hold_any_hash_where_no_body_is_taken() {
        let twice = format!("bodySHA256={HASH}&bodySHA256={HASH}&Status=x");
        for method in [&b"GET"[..], b"HEAD"] {
            assert_eq!(without_body(method, false, &twice), Coverage::Empty);
        }
    }
}
