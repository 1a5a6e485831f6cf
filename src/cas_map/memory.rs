//! A map in this process's memory with exactly the rules of Envoy's shared data, including the
//! awkward ones. For tests, fuzzers and benchmarks.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cas_map::{CasMap, Entry, Result, VERSION_OF_ABSENT, Version};

/// Keys and values behind one lock, as in Envoy.
#[derive(Default)]
pub struct MemoryMap {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<String, (Vec<u8>, u32)>,
    last_version: u32,
}

impl MemoryMap {
    /// Returns an empty map.
    pub fn new() -> MemoryMap {
        MemoryMap::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what the host's `proxy_set_shared_data` does, and returns whether it wrote: on an
    /// absent key the version is ignored, version 0 writes unconditionally, versions count up
    /// over all keys and skip 0.
    pub fn host_set(&self, key: &str, value: &[u8], version: u32) -> bool {
        let mut state = self.state();
        if let Some((_, current)) = state.entries.get(key)
            && version != 0
            && version != *current
        {
            return false;
        }
        state.last_version = state.last_version.checked_add(1).unwrap_or(1);
        let next = state.last_version;
        state.entries.insert(key.to_owned(), (value.to_vec(), next));
        true
    }

    /// Returns how many writes there have been.
    pub fn writes(&self) -> u32 {
        self.state().last_version
    }

    /// Returns how many keys were ever written: there is no delete.
    pub fn keys(&self) -> usize {
        self.state().entries.len()
    }

    /// Returns the size of all values together, in bytes.
    pub fn bytes(&self) -> usize {
        let state = self.state();
        state.entries.values().map(|(value, _)| value.len()).sum()
    }

    /// Returns the names of all keys.
    pub fn key_names(&self) -> Vec<String> {
        self.state().entries.keys().cloned().collect()
    }
}

impl CasMap for MemoryMap {
    fn get(&self, key: &str) -> Result<Option<Entry>> {
        Ok(self.state().entries.get(key).map(|(value, version)| Entry {
            value: value.clone(),
            version: Version(*version),
        }))
    }

    fn compare_and_swap(&self, key: &str, expected: Option<Version>, value: &[u8]) -> Result<bool> {
        let version = expected.map_or(VERSION_OF_ABSENT, |version| version.0);
        Ok(self.host_set(key, value, version))
    }
}
