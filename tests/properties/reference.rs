//! What the fuzz targets measure the filter by is right itself: it signs as Twilio has published.

use serde_json::Value;
use support::contract::{Key, decode, mac, pairs, signed};
use support::signing::base64;

#[test]
fn the_reference_of_the_fuzz_targets_judges_published_signatures_as_published() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../vectors/official.json")).expect("JSON");
    let mut judged = 0;
    for vector in &vectors {
        let text = |name: &str| vector.get(name).and_then(Value::as_str);
        // Those with another body are signed by their URL alone, and judged by their hash as well.
        let Some(params) = vector.get("params").and_then(Value::as_array) else {
            continue;
        };
        let part = |pair: &Value, index: usize| {
            let text = pair.get(index).and_then(Value::as_str);
            text.expect("text").as_bytes().to_vec()
        };
        let pairs: Vec<_> = params
            .iter()
            .map(|pair| (part(pair, 0), part(pair, 1)))
            .collect();
        let url = text("url").expect("url");
        let token = text("token").expect("token");
        let message = [url.as_bytes(), &signed(&pairs)].concat();
        let signature = base64(&mac(Key::Token(token), &message));
        let is_valid = vector.get("valid").and_then(Value::as_bool).expect("valid");
        let is_same = text("signature").map(str::as_bytes) == Some(signature.as_bytes());
        // The URL may have been signed with a port or without it. A signature that fits as it is must be valid.
        assert!(is_valid || !is_same, "{vector:#}");
        judged += usize::from(is_same);
    }
    assert!(judged >= 20, "{judged} of {}", vectors.len());
}

#[test]
fn the_reference_reads_a_form_as_the_contract_says() {
    assert_eq!(signed(&pairs(b"ab=1&a=c&a=b&a=c&&x&=y")), b"yabacab1x");
    assert_eq!(signed(&pairs(b"a=b=c;d=e")), b"ab=c;d=e");
    assert_eq!(decode(b"%4a%4A+%+%zz%%41%"), b"JJ % %zz%A%");
}
