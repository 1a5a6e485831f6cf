//! Malleability: what keeps a signature keeps the nonce, and everything else breaks it.

use proptest::prelude::*;
use proptest::sample::Index;
use support::contract::signed;
use support::signing::{base64, hmac_sha1};
use twilio_webhook_filter::{
    ClaimedMac, ConfiguredUrl, Form, Key, Keyring, Nonce, PublicUrl, Secret, Signed, SigningKey,
    Target, verify,
};

use crate::generators::{Pairs, cases, choices, pairs, spell, telling_bytes};

const TOKEN: &str = "12345";
const URL: &str = "https://h.example/hook";

/// What Twilio would send along with these parameters.
fn signature(pairs: &Pairs) -> ClaimedMac {
    claimed(mac(pairs))
}

fn mac(pairs: &Pairs) -> [u8; 20] {
    hmac_sha1(TOKEN.as_bytes(), &[URL.as_bytes(), &signed(pairs)].concat())
}

fn claimed(mac: [u8; 20]) -> ClaimedMac {
    ClaimedMac::parse(base64(&mac).as_bytes()).expect("a signature")
}

/// The nonce under which a body passes with a signature, if it passes.
fn passes(body: &[u8], claimed: &ClaimedMac) -> Option<Nonce> {
    let keyring = Keyring::new(vec![Key {
        signing: SigningKey::auth_token(&Secret::new(TOKEN.into())).expect("a token"),
        account: None,
        label: "the token".into(),
        shared_id: None,
    }]);
    let public = PublicUrl::configured(&ConfiguredUrl::parse(URL).expect("a URL"));
    let form = Form::parse(body);
    let signed = Signed {
        target: Target::new(b"/hook", false),
        form: Some(&form),
        claimed,
        settings: None,
    };
    verify(&keyring, &public, signed)
        .ok()
        .map(|verified| verified.mac.nonce())
}

fn plainly(pairs: &Pairs) -> Vec<u8> {
    let escaped = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|b| format!("%{b:02X}"))
            .collect::<String>()
    };
    let pair = |(name, value): &(Vec<u8>, Vec<u8>)| format!("{}={}", escaped(name), escaped(value));
    pairs
        .iter()
        .map(pair)
        .collect::<Vec<_>>()
        .join("&")
        .into_bytes()
}

/// Parameters whose order no change behind the first byte of a name can change.
fn in_a_fixed_order() -> impl Strategy<Value = Pairs> {
    prop::collection::vec((telling_bytes(6), telling_bytes(8)), 2..8).prop_map(|mut pairs| {
        for (letter, (name, _)) in (b'a'..).zip(&mut pairs) {
            name.insert(0, letter);
        }
        pairs
    })
}

/// Whether a header is the one spelling of 20 or 32 bytes, decided letter by letter.
fn is_canonical(header: &[u8]) -> bool {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // 20 bytes are 160 bits in 27 letters (two bits to spare), 32 are 256 in 43 (two again).
    let letters = match header.len() {
        28 => 27,
        44 => 43,
        _ => return false,
    };
    let value = |letter: &u8| LETTERS.iter().position(|own| own == letter);
    let values: Option<Vec<usize>> = header[..letters].iter().map(value).collect();
    let spare_bits = |values: &Vec<usize>| values.last().is_some_and(|last| last & 3 == 0);
    header[letters] == b'=' && values.as_ref().is_some_and(spare_bits)
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn every_spelling_of_what_was_signed_passes_under_one_nonce(
        pairs in pairs(8),
        mut choices in choices(),
    ) {
        let claimed = signature(&pairs);
        let nonce = passes(&plainly(&pairs), &claimed);
        prop_assert!(nonce.is_some());
        let mut respelled = pairs.clone();
        respelled.extend(pairs.first().cloned());
        choices.shuffle(&mut respelled);
        prop_assert_eq!(passes(&spell(&respelled, &mut choices), &claimed), nonce);
    }

    /// One byte replaced: the bytes that are signed are then not the same bytes in any order.
    #[test]
    fn a_changed_byte_of_a_name_or_a_value_breaks_the_signature(
        pairs in pairs(8),
        which in any::<Index>(),
        by in 1..=255_u8,
    ) {
        let claimed = signature(&pairs);
        let mut changed: Pairs = pairs.iter().cloned()
            .collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let mut bytes: Vec<&mut u8> = changed.iter_mut()
            .flat_map(|(name, value)| name.iter_mut().chain(value)).collect();
        prop_assume!(!bytes.is_empty());
        let index = which.index(bytes.len());
        *bytes[index] ^= by;
        prop_assert_eq!(passes(&plainly(&changed), &claimed), None);
    }

    #[test]
    fn a_parameter_more_or_less_breaks_the_signature(
        pairs in pairs(8),
        added in (telling_bytes(4), telling_bytes(4)),
        which in any::<Index>(),
    ) {
        let distinct: std::collections::BTreeSet<_> = pairs.iter().cloned().collect();
        let mut distinct: Pairs = distinct.into_iter().collect();
        let claimed = signature(&distinct);
        let is_empty = added.0.is_empty() && added.1.is_empty();
        if !is_empty && !distinct.contains(&added) {
            let more = [distinct.clone(), vec![added]].concat();
            prop_assert_eq!(passes(&plainly(&more), &claimed), None);
        }
        if !distinct.is_empty() {
            let removed = distinct.remove(which.index(distinct.len()));
            if !(removed.0.is_empty() && removed.1.is_empty()) {
                prop_assert_eq!(passes(&plainly(&distinct), &claimed), None);
            }
        }
    }

    /// The signed string has no separators, so Twilio's own signature fits both; that is
    /// why the nonce is of the MAC, and the same for both.
    #[test]
    fn a_moved_boundary_keeps_the_signature_and_the_nonce(
        pairs in in_a_fixed_order(),
        which in any::<Index>(),
        cut in any::<Index>(),
    ) {
        let claimed = signature(&pairs);
        let nonce = passes(&plainly(&pairs), &claimed);
        prop_assert!(nonce.is_some());

        let mut moved = pairs.clone();
        let index = which.index(moved.len());
        let (name, value) = &mut moved[index];
        let both = [name.as_slice(), value].concat();
        let cut = 1 + cut.index(both.len());
        (*name, *value) = (both[..cut].to_vec(), both[cut..].to_vec());
        prop_assert_eq!(passes(&plainly(&moved), &claimed), nonce);

        // The next parameter swallowed whole: `Body=2 tacosFromx`.
        let mut joined = pairs;
        let index = which.index(joined.len() - 1);
        let (name, value) = joined.remove(index + 1);
        joined[index].1.extend([name, value].concat());
        prop_assert_eq!(passes(&plainly(&joined), &claimed), nonce);
    }

    #[test]
    fn a_changed_signature_never_passes(
        pairs in pairs(4),
        index in 0..20_usize,
        by in 1..=255_u8,
    ) {
        let mut mac = mac(&pairs);
        mac[index] ^= by;
        prop_assert_eq!(passes(&plainly(&pairs), &claimed(mac)), None);
    }

    #[test]
    fn a_signature_header_is_taken_in_its_one_spelling_only(
        bytes in prop::collection::vec(any::<u8>(), 15..36),
        index in any::<Index>(),
        with in prop_oneof![any::<u8>(), prop::sample::select(b"=+/-_ AZaz09\r\n,".to_vec())],
        insert in any::<bool>(),
    ) {
        let mut header = base64(&bytes).into_bytes();
        let right_length = matches!(bytes.len(), 20 | 32);
        prop_assert_eq!(ClaimedMac::parse(&header).is_some(), right_length);
        let index = index.index(header.len());
        if insert {
            header.insert(index, with);
        } else {
            header[index] = with;
        }
        prop_assert_eq!(ClaimedMac::parse(&header).is_some(), is_canonical(&header));
    }

    #[test]
    fn no_bytes_are_a_signature_by_accident(
        header in prop::collection::vec(any::<u8>(), 0..60),
        canonical_length in prop::sample::select(vec![28_usize, 44]),
        letters in "[A-Za-z0-9+/]{43}=",
    ) {
        prop_assert_eq!(ClaimedMac::parse(&header).is_some(), is_canonical(&header));
        let header = &letters.as_bytes()[44 - canonical_length..];
        prop_assert_eq!(ClaimedMac::parse(header).is_some(), is_canonical(header));
    }
}
