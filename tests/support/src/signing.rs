//! Twilio's signature, written down a second time and as plainly as it can be: nothing here is the
//! filter's code, so that both cannot be wrong in the same way.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Every signature that a test has made. None of them may show in a log.
static MADE: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// The string to sign: the URL, then each name and its distinct values, sorted.
pub fn string_to_sign(url: &str, parameters: &[(String, String)]) -> String {
    let mut sorted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in parameters {
        sorted.entry(name).or_default().insert(value);
    }
    let mut text = url.to_owned();
    for (name, values) in sorted {
        for value in values {
            text.push_str(name);
            text.push_str(value);
        }
    }
    text
}

/// HMAC-SHA1, by which an auth token signs. Tests know no other implementation than these two.
pub fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("any length of key");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA256, by which a shared key signs.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length of key");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The value of `X-Twilio-Signature`.
pub fn sign(token: &str, url: &str, parameters: &[(String, String)]) -> String {
    let message = string_to_sign(url, parameters);
    let signature = base64(&hmac_sha1(token.as_bytes(), message.as_bytes()));
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.get_or_insert_default().insert(signature.clone());
    signature
}

/// The same by a shared key: HMAC-SHA256.
pub fn sign_sha256(secret: &str, url: &str, parameters: &[(String, String)]) -> String {
    let message = string_to_sign(url, parameters);
    base64(&hmac_sha256(secret.as_bytes(), message.as_bytes()))
}

/// Base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A signature that a test has made, if `text` holds one.
pub fn leaked(text: &str) -> Option<String> {
    let made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = made.as_ref()?;
    // 20 bytes are 27 characters of base64 and one `=`.
    let ends = text.match_indices('=').map(|(index, _)| index);
    ends.filter_map(|end| text.get(end.checked_sub(27)?..=end))
        .find(|candidate| made.contains(*candidate))
        .map(str::to_owned)
}
