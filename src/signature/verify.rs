//! The search for a key and a URL that match a signature.

use crate::signature::boundaries::{Boundaries, boundaries};
use crate::signature::form::Form;
use crate::signature::key::{ClaimedMac, ComputedMac};
use crate::signature::keyring::{Key, Keyring};
use crate::signature::url::{CandidateUrl, PublicUrl, Target};

/// The maximum number of HMACs for one request. A genuine request takes one; a forged one takes
/// (keys × URL forms), which is two for one token and one `https` URL.
pub const MAX_HMACS: usize = 128;

/// The maximum number of bytes that are hashed for one request, except for those HMACs that are
/// computed however long the body is: a long body gets fewer attempts than a short one.
pub const MAX_HASHED_BYTES: usize = 131_072;

/// The number of HMACs that are computed however long the body is: for two forms of a URL.
const ALWAYS_TRIED: usize = 2;

/// The number of keys that are tried however long the body is, with the likeliest form of the URL:
/// several tokens of an account, or several accounts, are equally likely to have signed.
const KEYS_ALWAYS_TRIED: usize = 8;

/// What a request claims to be signed.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// The request's own path and query.
    pub target: Target<'a>,
    /// The parameters of a form body.
    pub form: Option<&'a Form>,
    /// The signature header, decoded.
    pub claimed: &'a ClaimedMac,
    /// The header that selects a shared key.
    pub settings: Option<&'a [u8]>,
}

impl<'a> Signed<'a> {
    /// Returns the account that the parameters name: those of the form or, as by GET, of the query.
    /// It is only a guess at who may have signed, so it is looked for as Twilio spells it.
    fn named_account(&self) -> Option<&'a [u8]> {
        let in_form = self
            .form
            .and_then(|form| form.values(ACCOUNT_PARAMETER).next());
        in_form.or_else(|| {
            let mut pieces = self.target.query?.split(|byte| *byte == b'&');
            pieces.find_map(|piece| piece.strip_prefix(ACCOUNT_PARAMETER)?.strip_prefix(b"="))
        })
    }
}

/// What a key has to do with the account that a request names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kinship {
    /// It is the account's own.
    Own,
    /// The key has no account, or the request names none.
    Unknown,
    /// It is another account's.
    Other,
}

impl Kinship {
    fn of(key: &Key, named: Option<&[u8]>) -> Kinship {
        match (&key.account, named) {
            (Some(own), Some(named)) if own.as_bytes() == named => Kinship::Own,
            (Some(_), Some(_)) => Kinship::Other,
            _ => Kinship::Unknown,
        }
    }
}

/// Why verification failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// No key and URL form match.
    NoMatch,
    /// A boundary between two parameters was moved (see [`super::boundaries`]).
    MovedBoundary,
}

/// A signature that was verified.
pub struct Verified<'a> {
    /// The key that made it.
    pub key: &'a Key,
    /// Its index in the keyring.
    pub key_index: usize,
    /// The URL that was signed.
    pub url: CandidateUrl<'a>,
    /// The MAC, which determines the nonce.
    pub mac: ComputedMac,
}

/// Finds the key and the URL form that match.
///
/// # Errors
/// [`Unverified::MovedBoundary`] before any key is tried or, if the boundaries are doubtful, only
/// if the signature matches; otherwise [`Unverified::NoMatch`].
///
/// Keys of the account that the parameters name come first, so that the usual request takes one
/// HMAC even with many accounts; then those of no account. Those of other accounts follow, so that
/// a request that was signed by one account and names another is rejected for that reason.
pub fn verify<'a>(
    keyring: &'a Keyring,
    public: &'a PublicUrl,
    signed: Signed<'a>,
) -> Result<Verified<'a>, Unverified> {
    let keys = keyring.candidates(signed.settings, signed.claimed.length());
    let named = signed.named_account();
    let mut tried = 0;
    let mut keys_tried = 0;
    let mut hashed: usize = 0;
    let mut cut = None;
    let mut message = Vec::with_capacity(TYPICAL_MESSAGE);
    for kinship in [Kinship::Own, Kinship::Unknown, Kinship::Other] {
        let is_kin = move |key: &Key| Kinship::of(key, named) == kinship;
        if !keys.clone().any(|(_, key)| is_kin(key)) {
            continue;
        }
        'urls: for (index, url) in public.candidates(signed.target).enumerate() {
            message.clear();
            for (key_index, key) in keys.clone() {
                if !is_kin(key) {
                    continue;
                }
                if message.is_empty() {
                    url.write(&mut message);
                    if let Some(form) = signed.form {
                        form.write_signed(&mut message);
                    }
                    let cut = cut.get_or_insert_with(|| boundaries(&message, signed.form));
                    if *cut == Boundaries::Moved {
                        return Err(Unverified::MovedBoundary);
                    }
                }
                hashed = hashed.saturating_add(message.len());
                if tried >= MAX_HMACS {
                    return Err(Unverified::NoMatch);
                }
                let is_always_tried = tried < ALWAYS_TRIED
                    || index == 0 && kinship != Kinship::Other && keys_tried < KEYS_ALWAYS_TRIED;
                if hashed > MAX_HASHED_BYTES && !is_always_tried {
                    break 'urls;
                }
                tried += 1;
                keys_tried += usize::from(index == 0);
                let mac = key.signing.mac(&message);
                if bool::from(mac.equals(signed.claimed)) {
                    let own = url.ends_in_form().then(|| url.query_parameters());
                    // Another form of the URL may have other boundaries.
                    let cut = match cut {
                        Some(cut) if tried == 1 => cut,
                        _ => boundaries(&message, own.as_ref().or(signed.form)),
                    };
                    if cut != Boundaries::InPlace {
                        return Err(Unverified::MovedBoundary);
                    }
                    return Ok(Verified {
                        key,
                        key_index,
                        url,
                        mac,
                    });
                }
            }
        }
    }
    Err(Unverified::NoMatch)
}

/// The parameter that names the account of a request.
pub const ACCOUNT_PARAMETER: &[u8] = b"AccountSid";

/// The initial capacity for URL and parameters, in bytes: enough for a WhatsApp message.
const TYPICAL_MESSAGE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::signature::configured_url::ConfiguredUrl;
    use crate::signature::coverage::{Coverage, DeclaredBody, Method, MethodKind};
    use crate::signature::key::sha256;
    use crate::signature::keyring::MAX_KEYS;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn keyring(tokens: &[(&str, Option<&str>)]) -> Keyring {
        let key = |(index, (token, account)): (usize, &(&str, Option<&str>))| {
            let (token, account) = (Secret::new((*token).into()), account.map(str::to_owned));
            Key::auth_token(&token, account, format!("key {index}")).expect("a token")
        };
        Keyring::new(tokens.iter().enumerate().map(key).collect())
    }

    fn public(url: &str) -> PublicUrl {
        PublicUrl::configured(&ConfiguredUrl::parse(url).expect(url))
    }

    fn sign(token: &str, message: &str) -> ClaimedMac {
        let header = crate::tests::sign(token, message.as_bytes());
        ClaimedMac::parse(header.as_bytes()).expect("canonical")
    }

    /// The label of the key that signed a request for this target and form.
    fn verified(
        keyring: &Keyring,
        public: &PublicUrl,
        (target, form): (Target<'_>, Option<&str>),
        claimed: &ClaimedMac,
    ) -> Result<String, Unverified> {
        let form = form.map(|body| Form::parse(body.as_bytes()));
        let signed = Signed {
            target,
            form: form.as_ref(),
            claimed,
            settings: None,
        };
        verify(keyring, public, signed).map(|verified| verified.key.label.clone())
    }

    /// The path that the requests of most tests have.
    fn path() -> Target<'static> {
        Target::new(b"/p", false)
    }

    /// `count` keys, whose tokens are 0, 1, 2 …
    fn numbers(count: usize) -> Keyring {
        let tokens: Vec<String> = (0..count).map(|index| index.to_string()).collect();
        let tokens: Vec<_> = tokens.iter().map(|token| (&token[..], None)).collect();
        keyring(&tokens)
    }

    #[test]
    fn any_of_several_tokens_may_have_signed_and_the_one_that_did_is_told() {
        let keyring = keyring(&[("old", None), ("new", None)]);
        let public = public("https://h.com/p");
        let request = (path(), Some("b=2&a=1"));
        for (token, label) in [("old", Ok("key 0")), ("new", Ok("key 1")), ("no", Err(()))] {
            let claimed = sign(token, "https://h.com/pa1b2");
            let found = verified(&keyring, &public, request, &claimed);
            assert_eq!(found.as_deref().map_err(|_| ()), label);
        }
    }

    #[test]
    fn a_request_of_one_account_that_names_another_is_still_found() {
        let keyring = keyring(&[("a", Some("ACa")), ("b", Some("ACb"))]);
        let public = public("https://h.com/p");
        let request = (path(), Some("AccountSid=ACb"));
        for (token, label) in [("a", "key 0"), ("b", "key 1")] {
            let claimed = sign(token, "https://h.com/pAccountSidACb");
            let found = verified(&keyring, &public, request, &claimed);
            assert_eq!(found.as_deref(), Ok(label));
        }
    }

    /// Whether a signature is found that the key at `place` made of one of the URL's forms, with `value` as
    /// the value of the only parameter.
    fn is_found(keyring: &Keyring, url: &str, index: usize, value: &str) -> bool {
        let public = public("https://h.com:8443/p");
        let body = format!("a={value}");
        let claimed = sign(&index.to_string(), &format!("{url}a{value}"));
        verified(keyring, &public, (path(), Some(&body)), &claimed).is_ok()
    }

    /// In the order in which they are tried.
    const FORMS: [&str; 3] = [
        "https://h.com:8443/p",
        "https://h.com/p",
        "https://h.com:443/p",
    ];

    #[test]
    fn after_the_most_hmacs_a_right_signature_is_not_looked_for_any_more() {
        let keyring = numbers(MAX_KEYS);
        // 64 keys: the last of them with the second form is number 128.
        assert_eq!(MAX_HMACS, 2 * MAX_KEYS);
        assert!(is_found(&keyring, FORMS[0], 0, "1"));
        assert!(is_found(&keyring, FORMS[1], MAX_KEYS - 1, "1"));
        assert!(!is_found(&keyring, FORMS[2], 0, "1"));
    }

    #[test]
    fn a_long_body_is_hashed_for_the_first_tries_and_then_as_far_as_the_bytes_go() {
        let keyring = keyring(&[("0", None), ("1", None)]);
        // The longest form with the name: the others are at most five bytes shorter.
        let length = FORMS[0].len() + 1;
        let value = |message: usize| "x".repeat(message - length);
        let nth =
            |index: usize, value: &str| is_found(&keyring, FORMS[index / 2], index % 2, value);
        // Six times a message of that length is just what may be hashed.
        let six = value(MAX_HASHED_BYTES / 6);
        assert!((0..6).all(|index| nth(index, &six)));
        let more = value(MAX_HASHED_BYTES / 5 + 10);
        assert!((0..4).all(|index| nth(index, &more)));
        assert!(!nth(4, &more));
        // However long: two.
        let longest = value(MAX_HASHED_BYTES * 2);
        assert!((0..ALWAYS_TRIED).all(|index| nth(index, &longest)));
        assert!((ALWAYS_TRIED..6).all(|index| !nth(index, &longest)));
    }

    #[test]
    fn eight_keys_are_tried_with_the_likeliest_url_however_long_the_body_is() {
        let keyring = numbers(KEYS_ALWAYS_TRIED + 1);
        let longest = "x".repeat(MAX_HASHED_BYTES * 2);
        for index in 0..KEYS_ALWAYS_TRIED {
            assert!(is_found(&keyring, FORMS[0], index, &longest), "{index}");
            assert!(!is_found(&keyring, FORMS[1], index, &longest), "{index}");
        }
        assert!(!is_found(&keyring, FORMS[0], KEYS_ALWAYS_TRIED, &longest));
    }

    #[test]
    fn a_long_body_leaves_room_for_the_account_that_is_named_and_for_keys_of_no_account() {
        let other: Vec<_> = (0..9).map(|index| format!("other {index}")).collect();
        let mut tokens: Vec<_> = other
            .iter()
            .map(|token| (&token[..], Some("ACo")))
            .collect();
        tokens.extend([("free 0", None), ("free 1", None)]);
        tokens.extend(["own 0", "own 1", "own 2"].map(|token| (token, Some("ACown"))));
        let keyring = keyring(&tokens);
        let public = public("https://h.com:8443/p");
        let value = "x".repeat(60_000);
        let find = |token: &str, target: &[u8], body: &str, signed: &str| {
            let claimed = sign(token, &format!("{}{signed}", FORMS[0]));
            let target = Target::new(target, false);
            verified(&keyring, &public, (target, Some(body)), &claimed).is_ok()
        };
        let (body, signed) = (
            format!("AccountSid=ACown&a={value}"),
            format!("AccountSidACowna{value}"),
        );
        for token in ["own 0", "own 1", "own 2", "free 0", "free 1"] {
            assert!(find(token, b"/p", &body, &signed), "{token}");
        }
        assert!(!find("other 8", b"/p", &body, &signed));
        // By GET the account is in the query. (The form only makes it long.)
        let (body, query) = (format!("a={value}"), "AccountSid=ACown");
        let (target, signed) = (format!("/p?{query}"), format!("?{query}a{value}"));
        for token in ["own 2", "free 1"] {
            assert!(find(token, target.as_bytes(), &body, &signed), "{token}");
        }
        assert!(!find("other 8", target.as_bytes(), &body, &signed));
    }

    #[test]
    fn with_many_accounts_the_keys_of_the_one_that_is_named_are_tried_first() {
        let accounts: Vec<_> = (0..MAX_KEYS).map(|index| format!("AC{index}")).collect();
        let tokens: Vec<_> = accounts
            .iter()
            .map(|own| (&own[2..], Some(&own[..])))
            .collect();
        let keyring = keyring(&tokens);
        let public = public("https://h.com:8443/p");
        // With the last of the URL's forms: all 64 keys would have to be tried three times.
        let claimed = sign("63", &format!("{}AccountSidAC63", FORMS[2]));
        let request = (path(), Some("AccountSid=AC63"));
        let found = verified(&keyring, &public, request, &claimed);
        assert_eq!(found.as_deref(), Ok("key 63"), "at the third try");
    }

    #[test]
    fn just_as_many_bytes_are_hashed_as_promised() {
        let keyring = numbers(17);
        let value = "x".repeat(MAX_HASHED_BYTES / 16 - FORMS[0].len() - 1);
        assert!(is_found(&keyring, FORMS[0], 15, &value));
        assert!(!is_found(&keyring, FORMS[0], 16, &value));
        assert!(!is_found(&keyring, FORMS[0], 15, &format!("{value}x")));
    }

    /// What comes of a handshake for this query whose signature is over that text behind `wss://h.com`.
    fn handshake(query: &str, signed: &str) -> Option<Unverified> {
        let keyring = keyring(&[("a", None)]);
        let public = public("https://h.com/ws");
        let claimed = sign("a", &format!("wss://h.com{signed}"));
        let target = format!("/ws?{query}");
        let target = Target::new(target.as_bytes(), true);
        verified(&keyring, &public, (target, None), &claimed).err()
    }

    #[test]
    fn boundaries_are_looked_at_in_the_form_that_verified() {
        const SID: &str = "CA0123456789abcdef0123456789abcdef";
        // As a form the query has the identifier where it belongs, or has it only as a form.
        let own = format!("CallSid={SID}");
        assert_eq!(handshake(&own, &format!("/ws?{own}")), None);
        assert_eq!(handshake(&own, &format!("/wsCallSid{SID}")), None);
        let cut = format!("Call=Sid{SID}");
        assert_eq!(handshake(&cut, &format!("/ws?{cut}")), None);
        let moved = Some(Unverified::MovedBoundary);
        assert_eq!(handshake(&cut, &format!("/wsCallSid{SID}")), moved);

        // And what is posted has it, whatever URL was signed.
        let keyring = keyring(&[("a", None)]);
        let public = public("https://h.com:8443/p");
        let body = format!("a=1&{own}");
        for url in FORMS {
            let claimed = sign("a", &format!("{url}CallSid{SID}a1"));
            let key = verified(&keyring, &public, (path(), Some(&body)), &claimed);
            assert!(key.is_ok(), "{url}");
        }
    }

    /// The signatures that Twilio's own libraries publish; see `tests/vectors/README.md`.
    #[test]
    fn all_51_published_signatures_are_judged_as_published() {
        let vectors = include_str!("../../tests/vectors/official.json");
        let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).expect("JSON");
        assert_eq!(vectors.len(), 51);
        for vector in &vectors {
            let valid = vector["valid"].as_bool().expect("valid");
            assert_eq!(judge(vector), valid, "{vector:#}");
        }
    }

    /// Judges a vector as the filter would: by the bytes of its body, not by its pairs.
    fn judge(vector: &serde_json::Value) -> bool {
        let text = |name: &str| vector[name].as_str();
        let signature = text("signature").expect("signature");
        let Some(claimed) = ClaimedMac::parse(signature.as_bytes()) else {
            return false;
        };
        let url = text("url").expect("url");
        let configured = ConfiguredUrl::parse(url).expect(url);
        let query = configured.query().map(|query| format!("?{query}"));
        let target = configured.path().to_owned() + &query.unwrap_or_default();
        let target = Target::new(target.as_bytes(), false);
        let form = match text("body") {
            Some(body) => {
                let content_type = text("content_type").map(str::as_bytes);
                let declared = DeclaredBody::new(Ok(content_type), Ok(None));
                let post = Method {
                    kind: MethodKind::Body,
                    webhook_takes_bodies: true,
                };
                let query = target.query.unwrap_or_default();
                match Coverage::of(post, declared, body.as_bytes(), query) {
                    Ok(Coverage::Hash(hash)) if hash == sha256(&[body.as_bytes()]) => None,
                    Ok(Coverage::Empty) => None,
                    _ => return false,
                }
            }
            None => {
                let escaped = |part: &serde_json::Value| {
                    let bytes = part.as_str().expect("text").bytes();
                    bytes.map(|byte| format!("%{byte:02X}")).collect::<String>()
                };
                let pair = |pair: &serde_json::Value| {
                    format!("{}={}", escaped(&pair[0]), escaped(&pair[1]))
                };
                let pairs = vector["params"].as_array().expect("params").iter();
                Some(pairs.map(pair).collect::<Vec<_>>().join("&"))
            }
        };
        let keyring = keyring(&[(text("token").expect("token"), None)]);
        let public = PublicUrl::configured(&configured);
        verified(&keyring, &public, (target, form.as_deref()), &claimed).is_ok()
    }

    #[test]
    fn no_more_hmacs_are_computed_than_the_bound_whatever_is_configured() {
        // A handshake with a query of its own has eight URLs, and there are 64 keys.
        let keyring = numbers(64);
        let public = public("wss://h.com:8443/p");
        let target = Target::new(b"/p", true);
        let find = |token: &str, url: &str| {
            verified(&keyring, &public, (target, None), &sign(token, url)).is_ok()
        };
        // The first two URLs with all keys are the bound; the third is not tried.
        let written = |url: CandidateUrl<'_>| {
            let mut text = Vec::new();
            url.write(&mut text);
            String::from_utf8(text).expect("ASCII")
        };
        let urls: Vec<String> = public.candidates(target).map(written).collect();
        assert!(urls.len() > MAX_HMACS / 64, "{urls:?}");
        assert!(find("0", &urls[0]) && find("63", &urls[1]));
        assert!(!find("0", &urls[2]) && !find("63", &urls[2]));
    }
}
