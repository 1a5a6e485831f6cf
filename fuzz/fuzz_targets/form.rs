//! A form body: signed as the reference signs it, whatever its bytes, and alike in every spelling.
#![no_main]

use std::collections::BTreeSet;

use apart::draw::Draw;
use apart::spelling;
use libfuzzer_sys::fuzz_target;
use support::contract::{is_strict, pairs, signed};
use twilio_webhook_filter::{Form, FormReading};

fn signed_by_the_filter(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Form::parse(body).write_signed(&mut out);
    out
}

fuzz_target!(|bytes: &[u8]| {
    any_bytes(bytes);
    let mut draw = Draw::new(bytes);
    any_bytes(&draw.text(60));

    let drawn = draw.pairs(8);
    let expected = signed(&drawn);
    for spell in [spelling::strict, spelling::lenient] {
        let body = spell(&drawn, &mut draw);
        let shown = body.escape_ascii().to_string();
        assert_eq!(signed_by_the_filter(&body), expected, "{shown}");
        any_bytes(&body);
    }
});

fn any_bytes(body: &[u8]) {
    let form = Form::parse(body);
    let shown = body.escape_ascii().to_string();
    let all = pairs(body);
    assert_eq!(signed_by_the_filter(body), signed(&all), "{shown}");
    assert_eq!(form.signs_nothing(), signed(&all).is_empty());

    let distinct: BTreeSet<(&[u8], &[u8])> = all.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    let read: Vec<(&[u8], &[u8])> = form.pairs().collect();
    assert_eq!(read, Vec::from_iter(distinct.clone()), "{shown}");
    let as_sent: Vec<(&[u8], &[u8])> = form.pairs_as_sent().collect();
    assert_eq!(as_sent.len(), distinct.len(), "{shown}");
    assert_eq!(BTreeSet::from_iter(as_sent), distinct, "{shown}");
    for (name, _) in &distinct {
        let own = distinct
            .iter()
            .filter(|(own, _)| own == name)
            .map(|(_, value)| *value);
        assert!(form.values(name).eq(own), "{shown}");
    }

    let count = body.split(|byte| *byte == b'&').count();
    for most in [1, count - 1, count, 500] {
        let takes = |reading| Form::read(body, reading, most).is_ok();
        // Nothing has no pieces. Whoever reads a form has a body.
        if !body.is_empty() && most > 0 {
            assert_eq!(
                takes(FormReading::Strict),
                is_strict(body, most),
                "{most} {shown}"
            );
            assert_eq!(takes(FormReading::Lenient), count <= most, "{most} {shown}");
        }
    }
}
