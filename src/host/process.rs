//! What every host takes from its process in the same way, and reads alike.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

/// Returns the time since 1970-01-01T00:00:00Z.
pub(super) fn now() -> Duration {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.unwrap_or_default()
}

/// Returns random bytes.
pub(super) fn random() -> [u8; 24] {
    let mut bytes = [0; 24];
    for word in bytes.as_chunks_mut::<8>().0 {
        *word = RandomState::new().hash_one(0_u8).to_le_bytes();
    }
    bytes
}

/// Returns a variable of the environment. One that is not UTF-8 is not the same as none: the
/// loader says what it is.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Returns a status as headers have it.
pub(super) fn to_status(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
