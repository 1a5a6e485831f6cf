//! `bodySHA256`, the parameter of a URL that binds a body which is not a form to the signature.
//! <https://www.twilio.com/docs/usage/security#validating-requests>

use crate::signature::urlencoded::{decode, hex_digit, split_at_first_equals};

/// The parameter that carries the hash of a body that is not a form.
pub const BODY_HASH_PARAMETER: &[u8] = b"bodySHA256";

/// Returns the hash in a query that holds exactly one.
pub(super) fn signed_hash(query: &[u8]) -> Option<[u8; 32]> {
    let mut hashes = body_hashes(query);
    match (hashes.next(), hashes.next()) {
        (Some(hash), None) => parse_hash(&decode(hash)),
        _ => None,
    }
}

/// Returns whether the last parameter of a query is `bodySHA256`, where Twilio puts it. Anywhere
/// else it may be text that somebody wrote into another parameter.
pub(crate) fn ends_in_hash(query: &[u8]) -> bool {
    let last = query.rsplit(|byte| *byte == b'&').next();
    last.is_some_and(is_body_hash)
}

/// Returns the value of every `bodySHA256` of a query as received, however the name is escaped.
pub(super) fn body_hashes(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pieces = query.split(|byte| *byte == b'&');
    let hashes = pieces.filter(|piece| is_body_hash(piece));
    hashes.map(|piece| split_at_first_equals(piece).1)
}

/// Returns whether a piece of a query is `bodySHA256=…`, however the name is escaped.
pub(crate) fn is_body_hash(piece: &[u8]) -> bool {
    // An escaped character takes three bytes; nothing longer is worth decoding.
    const MAX_LEN: usize = 3 * BODY_HASH_PARAMETER.len();
    let (name, _) = split_at_first_equals(piece);
    (BODY_HASH_PARAMETER.len()..=MAX_LEN).contains(&name.len())
        && (name == BODY_HASH_PARAMETER
            || name.contains(&b'%') && decode(name) == BODY_HASH_PARAMETER)
}

/// Parses 64 hex digits of either case: both spell the same hash, and the signed URL fixes the
/// spelling.
pub(crate) fn parse_hash(text: &[u8]) -> Option<[u8; 32]> {
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

    #[test]
    fn the_hash_is_known_by_its_name_however_that_is_escaped() {
        let escaped = |name: &str| -> String {
            let bytes = name.bytes();
            bytes.map(|byte| format!("%{byte:02x}")).collect()
        };
        let names = "bodySHA256 %62odySHA256 bodySHA25%36";
        for name in names.split(' ').chain([&*escaped("bodySHA256")]) {
            assert!(is_body_hash(name.as_bytes()), "{name}");
            assert!(is_body_hash(format!("{name}=1").as_bytes()), "{name}");
        }
        let (shorter, longer) = (escaped("bodySHA25"), escaped("bodySHA2567"));
        let names = "bodySHA25 bodySHA2567 bodySHA25%37 bodySHA25+6 body%2553HA256";
        for name in names.split(' ').chain([&*shorter, &*longer, ""]) {
            assert!(!is_body_hash(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn only_the_last_parameter_is_the_hash() {
        for query in ["bodySHA256=1", "a=1&bodySHA256=1", "a=1&body%53HA256=1"] {
            assert!(ends_in_hash(query.as_bytes()), "{query}");
        }
        let others = "bodySHA256=1&z= bodySHA256=1& a=bodySHA256=1 bodysha256=1";
        for query in others.split(' ').chain([""]) {
            assert!(!ends_in_hash(query.as_bytes()), "{query}");
        }
    }
}
