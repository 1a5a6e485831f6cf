//! A form body: any bytes, in any order of their pieces, are signed alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twilio_webhook_filter::core::signature::form::Form;

fn signed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Form::parse(body).write_signed(&mut out);
    out
}

fuzz_target!(|body: &[u8]| {
    let form = Form::parse(body);
    let mut from_pairs = Vec::new();
    let mut before: Option<(&[u8], &[u8])> = None;
    for pair in form.pairs() {
        assert!(before < Some(pair), "sorted, and each pair once");
        assert!(form.values(pair.0).any(|value| value == pair.1));
        from_pairs.extend_from_slice(pair.0);
        from_pairs.extend_from_slice(pair.1);
        before = Some(pair);
    }
    assert_eq!(signed(body), from_pairs);

    let mut pieces: Vec<&[u8]> = body.split(|byte| *byte == b'&').collect();
    pieces.reverse();
    assert_eq!(signed(&pieces.join(&b'&')), from_pairs);

    // What was decoded, spelled anew, means the same.
    let escaped = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|b| format!("%{b:02x}"))
            .collect::<String>()
    };
    let respelled = form
        .pairs()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    let respelled = respelled.collect::<Vec<_>>().join("&");
    assert_eq!(signed(respelled.as_bytes()), from_pairs);
});
