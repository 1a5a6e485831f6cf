//! Envoy's shared data: one map for each `vm_id` in the process, behind one lock, shared by
//! all workers.

use crate::cas_map::{CasError, CasMap, Entry, VERSION_OF_ABSENT, Version};
use crate::host::wasm::abi;

/// Envoy's shared data.
pub(super) struct SharedData;

impl CasMap for SharedData {
    fn get(&self, key: &str) -> Result<Option<Entry>, CasError> {
        match abi::shared_data(key) {
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
        let written = abi::set_shared_data(key, value, version);
        written.map_err(|_| CasError::Unavailable)
    }
}
