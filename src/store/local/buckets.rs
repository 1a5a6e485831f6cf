//! A fixed set of keys: how many buckets a table has, and what they are called.

/// The version of all layouts. Another version uses other keys, so that it never
/// meets values that it cannot read.
const LAYOUT: &str = "twf1";

/// The buckets of one table.
#[derive(Debug)]
pub struct Buckets {
    prefix: String,
    count: u64,
    slots: usize,
}

/// How a table is cut into buckets.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Up to this many entries a table is one bucket with just that many slots, and
    /// its capacity is exact.
    pub most_in_one: usize,
    /// How many slots each of several buckets has.
    pub slots: usize,
    /// How many times its capacity in slots a table of several buckets has. Entries
    /// fall into buckets by chance; with slots to spare hardly any bucket overflows
    /// before the table holds what was promised, and slots that are not used cost nothing.
    pub spare: usize,
}

impl Buckets {
    /// The buckets of a table for `capacity` entries.
    pub fn new(name: &str, capacity: usize, shape: Shape) -> Buckets {
        let (count, slots) = if capacity <= shape.most_in_one {
            (1, capacity)
        } else {
            let count = capacity
                .saturating_mul(shape.spare)
                .div_ceil(shape.slots.max(1));
            (count as u64, shape.slots)
        };
        Buckets::of_shape(name, count, slots)
    }

    /// So many buckets of so many slots.
    pub fn of_shape(name: &str, count: u64, slots: usize) -> Buckets {
        Buckets {
            prefix: format!("{LAYOUT}:{name}:{count:x}:"),
            count,
            slots: slots.max(1),
        }
    }

    /// The key of a value about all tables of a name. No bucket has it.
    pub fn directory_key(name: &str) -> String {
        format!("{LAYOUT}:{name}:directory")
    }

    /// How many buckets, and so how many keys, there can ever be.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many entries one bucket holds.
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

/// A moment in 48 bits of milliseconds (until the year 10889) and 16 bits beside it.
///
/// All times in the tables are stored so: no stored time overflows, whatever the
/// clock says.
pub(crate) fn pack(moment: u64, beside: u16) -> u64 {
    moment.min(LAST_MOMENT) << 16 | u64::from(beside)
}

/// The parts of a packed word.
pub(crate) fn unpack(word: u64) -> (u64, u16) {
    (word >> 16, (word & 0xFFFF) as u16)
}

const LAST_MOMENT: u64 = (1 << 48) - 1;

/// Reads a value of 64-bit little-endian words.
pub(crate) fn words(value: &[u8]) -> Option<impl Iterator<Item = u64> + '_> {
    let (chunks, rest) = value.as_chunks::<8>();
    rest.is_empty()
        .then(|| chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)))
}

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

    const SHAPE: Shape = Shape {
        most_in_one: 64,
        slots: 32,
        spare: 2,
    };

    #[test]
    fn the_directory_of_a_name_is_at_a_key_of_its_own() {
        assert_ne!(Buckets::directory_key("a"), Buckets::directory_key("b"));
        for name in ["a", "b"] {
            let buckets = Buckets::new(name, 1000, SHAPE);
            let keys = [0, u64::MAX / 2, u64::MAX].map(|hash| buckets.key(hash));
            assert!(!keys.contains(&Buckets::directory_key(name)));
        }
    }

    #[test]
    fn a_small_table_is_one_bucket_of_just_its_capacity() {
        let buckets = Buckets::new("n", 3, SHAPE);
        assert_eq!((buckets.count(), buckets.slots()), (1, 3));
        assert_eq!(buckets.key(0), buckets.key(u64::MAX));
    }

    #[test]
    fn hashes_spread_over_all_buckets_and_each_has_a_key_of_its_own() {
        let buckets = Buckets::new("n", 1000, SHAPE);
        assert_eq!(buckets.count(), 63);
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
