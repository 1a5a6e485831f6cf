//! Form bodies: whatever their spelling, what is signed is what the contract says.

use proptest::prelude::*;
use twilio_webhook_filter::Form;

use support::contract;

use crate::generators::{Pairs, cases, choices, pairs, spell, telling_bytes};

fn signed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Form::parse(body).write_signed(&mut out);
    out
}

/// Takes a body apart as the contract says, byte by byte and without any haste.
fn taken_apart(body: &[u8]) -> Pairs {
    let decoded = |encoded: &[u8]| {
        let mut out = Vec::new();
        let mut index = 0;
        while index < encoded.len() {
            let digits = encoded.get(index + 1..index + 3);
            let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            // `from_str_radix` alone would take a sign for a digit.
            let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
            match (encoded[index], digits) {
                (b'%', Some(digits)) => {
                    out.push(u8::from_str_radix(digits, 16).expect("two hex digits"));
                    index += 2;
                }
                (b'+', _) => out.push(b' '),
                (byte, _) => out.push(byte),
            }
            index += 1;
        }
        out
    };
    let mut pairs = Pairs::new();
    for piece in body.split(|byte| *byte == b'&') {
        if !piece.is_empty() {
            let equals = piece.iter().position(|byte| *byte == b'=');
            let name = &piece[..equals.unwrap_or(piece.len())];
            let value = equals.map_or(&b""[..], |equals| &piece[equals + 1..]);
            pairs.push((decoded(name), decoded(value)));
        }
    }
    pairs
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn any_bytes_are_a_form_and_mean_what_the_contract_says(body in telling_bytes(200)) {
        prop_assert_eq!(signed(&body), contract::signed(&taken_apart(&body)));
    }

    #[test]
    fn any_bytes_at_all_are_a_form(body in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert_eq!(signed(&body), contract::signed(&taken_apart(&body)));
    }

    #[test]
    fn no_order_and_no_spelling_changes_what_is_signed(
        pairs in pairs(12),
        mut choices in choices(),
        repeated in any::<prop::sample::Index>(),
    ) {
        let mut respelled = pairs.clone();
        if !pairs.is_empty() {
            respelled.push(repeated.get(&pairs).clone());
        }
        choices.shuffle(&mut respelled);
        let body = spell(&respelled, &mut choices);
        prop_assert_eq!(signed(&body), contract::signed(&pairs), "{:?}", body);
    }

    #[test]
    fn a_form_tells_each_parameter_once_in_order_and_finds_it_by_name(
        pairs in pairs(12),
        mut choices in choices(),
    ) {
        let body = spell(&pairs, &mut choices);
        let form = Form::parse(&body);
        let distinct: std::collections::BTreeSet<_> = pairs.iter().cloned().collect();
        let told: Vec<_> = form.pairs().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
        prop_assert_eq!(&told, &distinct.iter().cloned().collect::<Vec<_>>());
        for (name, _) in &pairs {
            let values: Vec<_> = form.values(name).map(<[u8]>::to_vec).collect();
            let expected = distinct.iter().filter(|(own, _)| own == name);
            prop_assert_eq!(values, expected.map(|(_, v)| v.clone()).collect::<Vec<_>>());
        }
        prop_assert_eq!(form.values(b"in no form").count(), 0);
    }
}
