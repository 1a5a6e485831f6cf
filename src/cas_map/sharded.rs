//! A map in this process's memory behind many locks: what workers of a native host share.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::cas_map::{CasError, CasMap, Entry, Result, Version};

/// A map in this process's memory. Keys in different shards never wait for each other.
pub struct ShardedMap {
    shards: [Mutex<Shard>; SHARDS],
}

/// Several times the number of workers, so that two rarely meet in one.
const SHARDS: usize = 64;

#[derive(Default)]
struct Shard {
    entries: HashMap<String, (Vec<u8>, Version), BuildHasherDefault<KeyHasher>>,
    last_version: u32,
}

/// A hash of keys, of which there is a fixed set that no client chooses, so that it need not be a
/// keyed one, which takes ten times as long.
#[derive(Default)]
struct KeyHasher(u64);

impl KeyHasher {
    fn add(&mut self, word: u64) {
        // The golden ratio in 64 bits: odd, and without a pattern. The high half of the product
        // depends on all bits, and so does what is left when both halves are folded.
        let product = u128::from(self.0 ^ word) * 0x9E37_79B9_7F4A_7C15;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        match bytes.last_chunk::<8>() {
            // The last eight bytes; they overlap what was added.
            Some(last) if !rest.is_empty() => self.add(u64::from_le_bytes(*last)),
            Some(_) => {}
            None => rest.iter().for_each(|byte| self.write_u8(*byte)),
        }
    }

    /// What ends each string.
    fn write_u8(&mut self, byte: u8) {
        self.add(u64::from(byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl ShardedMap {
    /// Returns an empty map.
    pub fn new() -> ShardedMap {
        ShardedMap {
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Runs `work` with the shard of a key locked. A worker that panicked there has changed
    /// an entry or has not: there is nothing between.
    fn with_shard<T>(&self, key: &str, work: impl FnOnce(&mut Shard) -> T) -> Result<T> {
        let hash = BuildHasherDefault::<KeyHasher>::default().hash_one(key);
        // By other bits than the map in a shard takes.
        let index = usize::try_from((hash >> 32) % SHARDS as u64).unwrap_or(0);
        let shard = self.shards.get(index).ok_or(CasError::Unavailable)?;
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(work(&mut shard))
    }
}

impl Default for ShardedMap {
    fn default() -> ShardedMap {
        ShardedMap::new()
    }
}

impl CasMap for ShardedMap {
    fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.with_shard(key, |shard| {
            shard.entries.get(key).map(|(value, version)| Entry {
                value: value.clone(),
                version: *version,
            })
        })
    }

    fn compare_and_swap(&self, key: &str, expected: Option<Version>, value: &[u8]) -> Result<bool> {
        self.with_shard(key, |shard| {
            let next = Version(shard.last_version.wrapping_add(1));
            match shard.entries.get_mut(key) {
                Some((current, version)) if expected == Some(*version) => {
                    current.clear();
                    current.extend_from_slice(value);
                    *version = next;
                }
                None if expected.is_none() => {
                    shard.entries.insert(key.to_owned(), (value.to_vec(), next));
                }
                _ => return false,
            }
            shard.last_version = next.0;
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cas_map::NAMESPACE;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_write_with_another_version_than_the_entrys_is_refused() {
        let map = ShardedMap::new();
        assert!(map.get("key").unwrap().is_none());
        let stale = Some(Version(7));
        assert_eq!(map.compare_and_swap("key", stale, b"x"), Ok(false));
        assert_eq!(map.compare_and_swap("key", None, b"first"), Ok(true));
        assert_eq!(map.compare_and_swap("key", None, b"again"), Ok(false));
        let first = map.get("key").unwrap().unwrap();
        assert_eq!(first.value, b"first");
        let version = Some(first.version);
        assert_eq!(map.compare_and_swap("key", version, b"second"), Ok(true));
        assert_eq!(map.compare_and_swap("key", version, b"third"), Ok(false));
        assert_eq!(map.get("key").unwrap().unwrap().value, b"second");
    }

    #[test]
    fn keys_of_a_table_spread_over_all_shards_and_within_them() {
        let map = ShardedMap::new();
        for bucket in 0..64 * SHARDS {
            let key = format!("{NAMESPACE}:nonces:1000:{bucket:x}");
            assert_eq!(map.compare_and_swap(&key, None, b"x"), Ok(true));
        }
        let sizes = map
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().entries.len());
        for size in sizes {
            assert!((32..=128).contains(&size), "{size} instead of about 64");
        }
        let hashes = (0..64 * SHARDS).map(|bucket| {
            let key = format!("{NAMESPACE}:nonces:1000:{bucket:x}");
            BuildHasherDefault::<KeyHasher>::default().hash_one(key)
        });
        let low: std::collections::HashSet<_> = hashes.map(|hash| hash & 0xFFF).collect();
        assert!(low.len() > 2_000, "{} of 4096", low.len());
    }

    #[cfg(not(target_family = "wasm"))]
    #[test]
    fn no_update_is_lost_when_several_threads_write_the_same_keys() {
        use crate::cas_map::{Update, update};
        let map = ShardedMap::new();
        let add = |value: Option<Vec<u8>>| {
            let mut number = [0; 4];
            number.copy_from_slice(&value.unwrap_or(vec![0; 4]));
            Update::Replace((u32::from_le_bytes(number) + 1).to_le_bytes().into(), ())
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..40_000 {
                        let key = format!("key {}", round % 400);
                        while update(&map, &key, add).is_err() {}
                    }
                });
            }
        });
        for key in 0..400 {
            let entry = map.get(&format!("key {key}")).unwrap().unwrap();
            assert_eq!(entry.value, 400_u32.to_le_bytes());
        }
    }
}
