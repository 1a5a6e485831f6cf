//! A fixed set of keys: how many buckets a table has, and what they are called.

use crate::cas_map::NAMESPACE;

/// The buckets of one table.
#[derive(Debug)]
pub struct Buckets {
    prefix: String,
    count: u64,
    slots: usize,
}

impl Buckets {
    /// Makes `count` buckets of so many slots each. The count is part of the keys: tables
    /// of one name share their buckets if they have the same number of them.
    pub fn new(name: &str, count: u64, slots: usize) -> Buckets {
        Buckets {
            prefix: format!("{NAMESPACE}:{name}:{count:x}:"),
            count,
            slots: slots.max(1),
        }
    }

    /// Returns how many buckets, and so how many keys, there can ever be.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns how many entries one bucket holds.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The key of the bucket for an evenly spread `hash`.
    pub fn key(&self, hash: u64) -> String {
        // The high half of the product: even for any count, without a division.
        let bucket = (u128::from(hash) * u128::from(self.count)) >> 64;
        let mut key = String::with_capacity(self.prefix.len() + 16);
        key.push_str(&self.prefix);
        let mut rest = bucket as u64;
        loop {
            key.push(char::from_digit((rest & 0xF) as u32, 16).unwrap_or('0'));
            rest >>= 4;
            if rest == 0 {
                return key;
            }
        }
    }
}

/// Packs a moment in 48 bits of milliseconds (until the year 10889) with 16 other bits.
///
/// All times in the tables are stored so: no stored time overflows, whatever the
/// clock says.
pub(crate) fn pack(moment: u64, other: u16) -> u64 {
    moment.min(LAST_MOMENT) << 16 | u64::from(other)
}

/// Returns the moment and the other bits of a packed word.
pub(crate) fn unpack(word: u64) -> (u64, u16) {
    (word >> 16, (word & 0xFFFF) as u16)
}

const LAST_MOMENT: u64 = (1 << 48) - 1;

/// Appends a word.
pub(crate) fn push_word(out: &mut Vec<u8>, word: u64) {
    out.extend_from_slice(&word.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_table_of_one_bucket_has_one_key() {
        let buckets = Buckets::new("n", 1, 3);
        assert_eq!((buckets.count(), buckets.slots()), (1, 3));
        assert_eq!(buckets.key(0), buckets.key(u64::MAX));
    }

    #[test]
    fn hashes_spread_over_all_buckets_and_each_has_a_key_of_its_own() {
        let buckets = Buckets::new("n", 63, 32);
        let step = u64::MAX / 6300;
        let keys: HashSet<_> = (0..6300).map(|index| buckets.key(index * step)).collect();
        assert_eq!(keys.len(), 63);
    }

    #[test]
    fn packed_moments_never_overflow() {
        assert_eq!(unpack(pack(1_700_000_000_123, 7)), (1_700_000_000_123, 7));
        assert_eq!(unpack(pack(u64::MAX, 7)), (LAST_MOMENT, 7));
    }
}
