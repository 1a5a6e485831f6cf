//! The search for a key and a URL that match a signature.

use crate::signature::boundaries::{Boundaries, boundaries};
use crate::signature::form::Form;
use crate::signature::key::{ClaimedMac, ComputedMac};
use crate::signature::keyring::{Key, Keyring};
use crate::signature::url::{CandidateUrl, PublicUrl, Target};

/// The maximum number of HMACs for one request. A genuine request takes one; a forged one takes
/// (keys × URL forms), which is two for one token and one `https` URL.
pub const MAX_HMACS: usize = 128;

/// The maximum number of bytes that are hashed for one request, except for the first two HMACs: a
/// long body gets fewer attempts than a short one.
pub const MAX_HASHED_BYTES: usize = 131_072;

/// The number of HMACs that are computed however long the body is: for two tokens, or two forms of
/// a URL.
const ALWAYS_TRIED: usize = 2;

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
/// HMAC even with many accounts. The others follow, so that a request that was signed by one
/// account and names another is rejected for that reason.
pub fn verify<'a>(
    keyring: &'a Keyring,
    public: &'a PublicUrl,
    signed: Signed<'a>,
) -> Result<Verified<'a>, Unverified> {
    let keys = keyring.candidates(signed.settings, signed.claimed.length());
    let mut named = signed
        .form
        .into_iter()
        .flat_map(|form| form.values(ACCOUNT_PARAMETER));
    let named = named.next();
    let belongs =
        move |key: &Key| key.account.as_ref().map(String::as_bytes) == named && named.is_some();
    let mut tried = 0;
    let mut hashed: usize = 0;
    let mut cut = None;
    let mut message = Vec::with_capacity(TYPICAL_MESSAGE);
    for named_account in [true, false] {
        for url in public.candidates(signed.target) {
            message.clear();
            for (key_index, key) in keys.clone() {
                if belongs(key) != named_account {
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
                if tried >= MAX_HMACS || tried >= ALWAYS_TRIED && hashed > MAX_HASHED_BYTES {
                    return Err(Unverified::NoMatch);
                }
                tried += 1;
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
    use crate::signature::key::SigningKey;
    use base64::Engine;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn keyring(tokens: &[(&str, Option<&str>)]) -> Keyring {
        let key = |(index, (token, account)): (usize, &(&str, Option<&str>))| Key {
            signing: SigningKey::auth_token(&Secret::new((*token).into())).expect("a token"),
            account: account.map(str::to_owned),
            label: format!("key {index}"),
            shared_id: None,
        };
        Keyring::new(tokens.iter().enumerate().map(key).collect())
    }

    fn public(url: &str) -> PublicUrl {
        PublicUrl::configured(&ConfiguredUrl::parse(url).expect(url))
    }

    fn sign(token: &str, message: &str) -> ClaimedMac {
        let key = SigningKey::auth_token(&Secret::new(token.into())).expect("a token");
        // The nonce hides the MAC, so the claimed one is made from a fresh HMAC.
        use hmac::{Hmac, KeyInit, Mac};
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(token.as_bytes()).expect("any key");
        mac.update(message.as_bytes());
        let header = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        let claimed = ClaimedMac::parse(header.as_bytes()).expect("canonical");
        assert!(bool::from(key.mac(message.as_bytes()).equals(&claimed)));
        claimed
    }

    #[test]
    fn any_of_several_tokens_may_have_signed_and_the_one_that_did_is_told() {
        let keyring = keyring(&[("old", None), ("new", None)]);
        let public = public("https://h.com/p");
        let form = Form::parse(b"b=2&a=1");
        for (token, label) in [("old", "key 0"), ("new", "key 1")] {
            let claimed = sign(token, "https://h.com/pa1b2");
            let signed = Signed {
                target: Target::new(b"/p", false),
                form: Some(&form),
                claimed: &claimed,
                settings: None,
            };
            let verified = verify(&keyring, &public, signed).expect(token);
            assert_eq!(verified.key.label, label);
        }
    }

    #[test]
    fn a_request_of_one_account_that_names_another_is_still_found() {
        let keyring = keyring(&[("a", Some("ACa")), ("b", Some("ACb"))]);
        let public = public("https://h.com/p");
        let form = Form::parse(b"AccountSid=ACb");
        for (token, account) in [("a", "ACa"), ("b", "ACb")] {
            let claimed = sign(token, "https://h.com/pAccountSidACb");
            let signed = Signed {
                target: Target::new(b"/p", false),
                form: Some(&form),
                claimed: &claimed,
                settings: None,
            };
            let verified = verify(&keyring, &public, signed).expect(token);
            assert_eq!(verified.key.account.as_deref(), Some(account));
        }
    }

    #[test]
    fn what_no_key_signed_is_found_by_none() {
        let keyring = keyring(&[("a", None), ("b", None)]);
        let public = public("https://h.com/p");
        let claimed = sign("c", "https://h.com/p");
        let signed = Signed {
            target: Target::new(b"/p", false),
            form: None,
            claimed: &claimed,
            settings: None,
        };
        assert!(verify(&keyring, &public, signed).is_err());
    }

    /// Whether a signature is found that the key at `place` made of one of the URL's forms, with `value` as
    /// the value of the only parameter.
    fn is_found(keyring: &Keyring, url: &str, index: usize, value: &str) -> bool {
        let public = public("https://h.com:8443/p");
        let body = format!("a={value}");
        let form = Form::parse(body.as_bytes());
        let claimed = sign(&index.to_string(), &format!("{url}a{value}"));
        let signed = Signed {
            target: Target::new(b"/p", false),
            form: Some(&form),
            claimed: &claimed,
            settings: None,
        };
        verify(keyring, &public, signed).is_ok()
    }

    /// In the order in which they are tried.
    const FORMS: [&str; 3] = [
        "https://h.com:8443/p",
        "https://h.com/p",
        "https://h.com:443/p",
    ];

    #[test]
    fn after_the_most_hmacs_a_right_signature_is_not_looked_for_any_more() {
        use crate::signature::keyring::MAX_KEYS;
        let tokens: Vec<String> = (0..MAX_KEYS).map(|index| index.to_string()).collect();
        let tokens: Vec<_> = tokens.iter().map(|token| (&token[..], None)).collect();
        let keyring = keyring(&tokens);
        // 64 keys: the last of them with the second form is number 128.
        assert_eq!(MAX_HMACS, 2 * MAX_KEYS);
        assert!(is_found(&keyring, FORMS[0], 0, "1"));
        assert!(is_found(&keyring, FORMS[1], MAX_KEYS - 1, "1"));
        assert!(!is_found(&keyring, FORMS[2], 0, "1"));
    }

    #[test]
    fn a_long_body_is_hashed_for_the_first_two_tries_and_then_as_far_as_the_bytes_go() {
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
    fn with_many_accounts_the_keys_of_the_one_that_is_named_are_tried_first() {
        use crate::signature::keyring::MAX_KEYS;
        let names: Vec<(String, String)> = (0..MAX_KEYS)
            .map(|index| (index.to_string(), format!("AC{index}")))
            .collect();
        let tokens: Vec<_> = names
            .iter()
            .map(|(token, account)| (&token[..], Some(&account[..])))
            .collect();
        let keyring = keyring(&tokens);
        let public = public("https://h.com:8443/p");
        let form = Form::parse(b"AccountSid=AC63");
        // With the last of the URL's forms: all 64 keys would have to be tried three times.
        let claimed = sign("63", &format!("{}AccountSidAC63", FORMS[2]));
        let signed = Signed {
            target: Target::new(b"/p", false),
            form: Some(&form),
            claimed: &claimed,
            settings: None,
        };
        let verified = verify(&keyring, &public, signed).expect("the third try");
        assert_eq!(verified.key.account.as_deref(), Some("AC63"));
    }

    #[test]
    fn just_as_many_bytes_are_hashed_as_promised() {
        let tokens: Vec<String> = (0..9).map(|index| index.to_string()).collect();
        let tokens: Vec<_> = tokens.iter().map(|token| (&token[..], None)).collect();
        let keyring = keyring(&tokens);
        let value = "x".repeat(MAX_HASHED_BYTES / 8 - FORMS[0].len() - 1);
        assert!(is_found(&keyring, FORMS[0], 7, &value));
        assert!(!is_found(&keyring, FORMS[0], 8, &value));
        assert!(!is_found(&keyring, FORMS[0], 7, &format!("{value}x")));
    }

    /// What comes of a handshake for this query whose signature is over that text behind `wss://h.com`.
    fn handshake(query: &str, signed: &str) -> Option<Unverified> {
        let keyring = keyring(&[("a", None)]);
        let public = public("https://h.com/ws");
        let claimed = sign("a", &format!("wss://h.com{signed}"));
        let target = format!("/ws?{query}");
        let signed = Signed {
            target: Target::new(target.as_bytes(), true),
            form: None,
            claimed: &claimed,
            settings: None,
        };
        verify(&keyring, &public, signed).err()
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
        let form = Form::parse(body.as_bytes());
        for url in FORMS {
            let claimed = sign("a", &format!("{url}CallSid{SID}a1"));
            let signed = Signed {
                target: Target::new(b"/p", false),
                form: Some(&form),
                claimed: &claimed,
                settings: None,
            };
            assert!(verify(&keyring, &public, signed).is_ok(), "{url}");
        }
    }

    /// The signatures that Twilio's own libraries publish; see `tests/vectors/README.md`.
    #[test]
    fn all_51_published_signatures_are_judged_as_published() {
        let vectors = include_str!("../../tests/vectors/official.json");
        let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).expect("JSON");
        assert_eq!(vectors.len(), 51);
        for vector in &vectors {
            let text = |name: &str| vector.get(name).and_then(|value| value.as_str());
            let url = text("url").expect("url");
            let valid = vector
                .get("valid")
                .and_then(|valid| valid.as_bool())
                .expect("valid");
            assert_eq!(
                judge(vector, text("token").expect("token"), url),
                valid,
                "{vector:#}"
            );
        }
    }

    /// Judges a vector as the filter would: by the bytes of its body, not by its pairs.
    fn judge(vector: &serde_json::Value, token: &str, url: &str) -> bool {
        let text = |name: &str| vector.get(name).and_then(|value| value.as_str());
        let signature = text("signature").expect("signature");
        let Some(claimed) = ClaimedMac::parse(signature.as_bytes()) else {
            return false;
        };
        let body = match text("body") {
            Some(body) => body.to_owned(),
            None => {
                let pairs = vector.get("params").and_then(|pairs| pairs.as_array());
                let pair = |pair: &serde_json::Value| {
                    let part = |index: usize| {
                        let text = pair.get(index).and_then(|part| part.as_str());
                        text.expect("text")
                            .bytes()
                            .map(|byte| format!("%{byte:02X}"))
                    };
                    format!(
                        "{}={}",
                        part(0).collect::<String>(),
                        part(1).collect::<String>()
                    )
                };
                pairs
                    .expect("params")
                    .iter()
                    .map(pair)
                    .collect::<Vec<_>>()
                    .join("&")
            }
        };
        let configured = ConfiguredUrl::parse(url).expect(url);
        let query = configured.query().map(str::to_owned);
        let target = match &query {
            Some(query) => format!("{}?{query}", configured.path()),
            None => configured.path().to_owned(),
        };
        let keyring = keyring(&[(token, None)]);
        let public = PublicUrl::configured(&configured);
        let form = text("body").is_none().then(|| Form::parse(body.as_bytes()));
        if form.is_none() {
            use crate::signature::coverage::{Coverage, DeclaredBody, Method, MethodKind};
            use sha2::{Digest, Sha256};
            let content_type = text("content_type").map(str::as_bytes);
            let declared = DeclaredBody::new(Ok(content_type), Ok(None));
            let query = query.as_deref().unwrap_or_default();
            let post = Method {
                kind: MethodKind::Body,
                webhook_takes_bodies: true,
            };
            match Coverage::of(post, declared, body.as_bytes(), query.as_bytes()) {
                Ok(Coverage::Hash(hash)) if hash == <[u8; 32]>::from(Sha256::digest(&body)) => {}
                Ok(Coverage::Empty) => {}
                _ => return false,
            }
        }
        let signed = Signed {
            target: Target::new(target.as_bytes(), false),
            form: form.as_ref(),
            claimed: &claimed,
            settings: None,
        };
        verify(&keyring, &public, signed).is_ok()
    }

    #[test]
    fn no_more_hmacs_are_computed_than_the_bound_whatever_is_configured() {
        // A handshake with a query of its own has eight URLs, and there are 64 keys.
        let tokens: Vec<String> = (0..64).map(|number| format!("token {number}")).collect();
        let tokens: Vec<_> = tokens.iter().map(|token| (token.as_str(), None)).collect();
        let keyring = keyring(&tokens);
        let public = public("wss://h.com:8443/p");
        let find = |token: &str, url: &str| {
            let claimed = sign(token, url);
            let signed = Signed {
                target: Target::new(b"/p", true),
                form: None,
                claimed: &claimed,
                settings: None,
            };
            verify(&keyring, &public, signed).is_ok()
        };
        // The first two URLs with all keys are the bound; the third is not tried.
        let urls: Vec<String> = public
            .candidates(Target::new(b"/p", true))
            .map(|url| {
                let mut text = Vec::new();
                url.write(&mut text);
                String::from_utf8(text).expect("ASCII")
            })
            .collect();
        assert!(urls.len() > MAX_HMACS / 64, "{urls:?}");
        assert!(find("token 0", &urls[0]) && find("token 63", &urls[1]));
        assert!(!find("token 0", &urls[2]) && !find("token 63", &urls[2]));
    }
}
