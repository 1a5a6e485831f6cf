//! A map shared by all workers, changed by compare-and-swap.

pub mod memory;
pub mod sharded;

/// What the names of all keys begin with: the version of what they hold. Another version uses
/// other keys, so that it never meets values that it cannot read.
pub const NAMESPACE: &str = "twf1";

/// A version distinguishes one value of a key from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

/// The version that no value has. The host is handed it for a key that does not exist:
/// "no version" would overwrite what another worker has just created.
pub const VERSION_OF_ABSENT: u32 = u32::MAX;

/// An entry is a value with its version.
#[derive(Debug)]
pub struct Entry {
    /// The bytes.
    pub value: Vec<u8>,
    /// The version to hand back when the value is replaced.
    pub version: Version,
}

/// Why the map could not be read or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CasError {
    /// The host failed, or answered what it never should.
    Unavailable,
    /// Other workers changed the same key during every one of [`MAX_ATTEMPTS`].
    Contended,
}

/// What reading or changing the map results in.
pub type Result<T> = std::result::Result<T, CasError>;

/// A map that all workers share, with compare-and-swap.
pub trait CasMap {
    /// Returns the value of a key; `None` if it was never written.
    ///
    /// # Errors
    /// [`CasError::Unavailable`].
    fn get(&self, key: &str) -> Result<Option<Entry>>;

    /// Writes a key if it still has the `expected` version (`None`: if it still does
    /// not exist). Returns whether it was written.
    ///
    /// # Errors
    /// [`CasError::Unavailable`].
    fn compare_and_swap(&self, key: &str, expected: Option<Version>, value: &[u8]) -> Result<bool>;
}

/// What [`update`] is to do with a value, and what it is to return.
pub enum Update<T> {
    /// The value stays as it is.
    Keep(T),
    /// The value is replaced.
    Replace(Vec<u8>, T),
}

/// How often a compare-and-swap is tried. Each failure means that another worker's
/// change to the same key succeeded meanwhile, so a handful of workers need only a few
/// attempts. When they run out, the request is rejected, never let through.
pub const MAX_ATTEMPTS: u32 = 128;

/// Reads a value, lets `decide` say what becomes of it, and writes that; starts again if
/// another worker has changed the value meanwhile. `decide` may run several times, so it
/// must have no effects. It owns the value, so that it can change it in place.
///
/// # Errors
/// [`CasError::Contended`] after [`MAX_ATTEMPTS`]; the map's own errors.
pub fn update<T>(
    map: &(impl CasMap + ?Sized),
    key: &str,
    mut decide: impl FnMut(Option<Vec<u8>>) -> Update<T>,
) -> Result<T> {
    for _ in 0..MAX_ATTEMPTS {
        let entry = map.get(key)?;
        let version = entry.as_ref().map(|entry| entry.version);
        match decide(entry.map(|entry| entry.value)) {
            Update::Keep(result) => return Ok(result),
            Update::Replace(value, result) => {
                if map.compare_and_swap(key, version, &value)? {
                    return Ok(result);
                }
            }
        }
    }
    Err(CasError::Contended)
}
