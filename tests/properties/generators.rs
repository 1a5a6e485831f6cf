//! The seed, and requests spelled in all the ways that mean the same.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// So many cases, and the same ones in every run unless `PROPTEST_RNG_SEED` says otherwise.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(0x7417_1106_0000_0001);
    }
    config
}

/// Decoded names and values.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Bytes that are likely to mean something, and some that are not.
pub(crate) fn telling_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => prop::sample::select(b"abAB01".to_vec()),
        3 => prop::sample::select(b"&=+% ;#?/\\.\0\xC3\xA9\xFF\r\n".to_vec()),
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..=most)
}

/// Parameters, with repeated names and whole repeats among them.
pub(crate) fn pairs(most: usize) -> impl Strategy<Value = Pairs> {
    prop::collection::vec((telling_bytes(6), telling_bytes(12)), 0..=most)
}

/// Decisions for a spelling, used up one by one and then again from the first.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    list: Vec<u8>,
    next: usize,
}

/// Enough decisions for a form.
pub(crate) fn choices() -> impl Strategy<Value = Choices> {
    prop::collection::vec(any::<u8>(), 1..64).prop_map(|list| Choices { list, next: 0 })
}

impl Choices {
    /// The next decision, one of `0..of`.
    pub(crate) fn next(&mut self, of: usize) -> usize {
        let choice = self.list[self.next % self.list.len()];
        self.next += 1;
        // Not the choice alone, or a short list would decide alike for ever.
        (usize::from(choice) + self.next / self.list.len()) % of
    }

    /// Shuffles by decisions.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.next(index + 1));
        }
    }
}

/// One spelling of a form: each byte raw or escaped with digits of either case, a
/// space as a plus or escaped, and between the parameters empty pieces.
pub(crate) fn spell(pairs: &Pairs, choices: &mut Choices) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in pairs {
        if !body.is_empty() || choices.next(8) == 0 {
            body.push(b'&');
        }
        spell_part(name, b"&=+%", choices, &mut body);
        // A name alone has an empty value; but an empty name alone would be no parameter.
        if !value.is_empty() || name.is_empty() || choices.next(2) == 0 {
            body.push(b'=');
        }
        spell_part(value, b"&+%", choices, &mut body);
        body.extend(std::iter::repeat_n(b'&', choices.next(8) / 6));
    }
    body
}

fn spell_part(bytes: &[u8], only_escaped: &[u8], choices: &mut Choices, out: &mut Vec<u8>) {
    for byte in bytes {
        let escaped = match choices.next(5) {
            0 => format!("%{byte:02X}"),
            1 => format!("%{byte:02x}"),
            // One digit of each case.
            2 => format!("%{:x}{:X}", byte >> 4, byte & 0xF),
            _ if *byte == b' ' => "+".to_owned(),
            _ if only_escaped.contains(byte) => format!("%{byte:02X}"),
            _ => {
                out.push(*byte);
                continue;
            }
        };
        out.extend_from_slice(escaped.as_bytes());
    }
}
