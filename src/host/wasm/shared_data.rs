//! Envoy's shared data as the store of the tables.
//!
//! One map for each `vm_id` in the process, behind one lock, shared by all workers.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use crate::cas_map::{CasError, CasMap, Entry, VERSION_OF_ABSENT, Version};
use crate::host::wasm::abi as host;
use crate::pipeline::limits::HashKey;

/// Shared data, and how often another worker was faster.
#[derive(Default)]
pub(super) struct SharedData {
    conflicts: Cell<i64>,
}

impl SharedData {
    /// How many compare-and-swaps failed since this was last asked.
    pub(super) fn take_conflicts(&self) -> i64 {
        self.conflicts.take()
    }

    /// The key for hashing: random, and the same for all workers of this process.
    pub(super) fn hash_key(&self) -> Result<HashKey, CasError> {
        const KEY: &str = "twf1:hash-key";
        let random = [random_word(), random_word()].concat();
        // Whoever comes first decides for all.
        self.compare_and_swap(KEY, None, &random)?;
        let entry = self.get(KEY)?.ok_or(CasError::Unavailable)?;
        let key = entry.value.try_into().map_err(|_| CasError::Unavailable)?;
        Ok(HashKey(key))
    }

    /// Whether this is the first time that any worker asks for this name.
    pub(super) fn first(&self, name: &str) -> bool {
        let key = format!("twf1:first:{name}");
        self.compare_and_swap(&key, None, b"1").unwrap_or(true)
    }
}

/// 64 random bits from the host.
pub(super) fn random_word() -> [u8; 8] {
    RandomState::new().hash_one(0_u8).to_le_bytes()
}

impl CasMap for SharedData {
    fn get(&self, key: &str) -> Result<Option<Entry>, CasError> {
        match host::shared_data(key) {
            Ok(None) => Ok(None),
            // Version 0 is none: a write with it would be unconditional.
            Ok(Some((_, 0))) | Err(_) => Err(CasError::Unavailable),
            Ok(Some((value, version))) => Ok(Some(Entry {
                value,
                version: Version(version),
            })),
        }
    }

    fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<Version>,
        value: &[u8],
    ) -> Result<bool, CasError> {
        let version = expected.map_or(VERSION_OF_ABSENT, |version| version.0);
        let written = host::set_shared_data(key, value, version);
        let written = written.map_err(|_| CasError::Unavailable)?;
        if !written {
            self.conflicts.set(self.conflicts.get().saturating_add(1));
        }
        Ok(written)
    }
}
