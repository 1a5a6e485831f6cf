//! A map with compare-and-swap, which all workers share.

pub mod memory;

/// The version of a value, which changes with every write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

/// The version that a host is given for a key that does not exist: not "no version", which
/// would overwrite what another worker has just created, but one that no value has.
pub const VERSION_OF_NOTHING: u32 = u32::MAX;

/// A value and its version.
#[derive(Debug)]
pub struct Entry {
    /// The bytes.
    pub value: Vec<u8>,
    /// The version to hand back when the value is replaced.
    pub version: Version,
}

/// Why a read or write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CasError {
    /// The host failed, or returned what it never should.
    Unavailable,
    /// Other workers kept changing the same bucket.
    Contended,
}

/// A map that all workers share, with compare-and-swap.
pub trait CasMap {
    /// Returns the value of a key; `None` if it was never written.
    ///
    /// # Errors
    /// [`CasError::Unavailable`].
    fn get(&self, key: &str) -> Result<Option<Entry>, CasError>;

    /// Writes a key if it still has the `expected` version (`None`: if it still does not
    /// exist), and returns whether it did.
    ///
    /// # Errors
    /// [`CasError::Unavailable`].
    fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<Version>,
        value: &[u8],
    ) -> Result<bool, CasError>;
}

/// What becomes of a bucket.
pub enum Step<T> {
    /// Leave it as it is.
    Leave(T),
    /// Replace it.
    Write(Vec<u8>, T),
}

/// The maximum number of compare-and-swaps for one update. Each failure means that another
/// worker's change to the same bucket succeeded, so that a few tries are enough with a handful
/// of workers; when they run out, the request is rejected, never let through.
pub const MAX_TRIES: u32 = 128;

/// Reads a bucket, decides, and writes the decision; starts again if the bucket has changed in
/// between. `decide` is pure, since it may run several times; it owns the value, so that it can
/// change it in place.
///
/// # Errors
/// [`CasError::Contended`] after [`MAX_TRIES`]; the map's own errors.
pub fn update<T>(
    store: &impl CasMap,
    key: &str,
    mut decide: impl FnMut(Option<Vec<u8>>) -> Step<T>,
) -> Result<T, CasError> {
    for _ in 0..MAX_TRIES {
        let entry = store.get(key)?;
        let version = entry.as_ref().map(|entry| entry.version);
        match decide(entry.map(|entry| entry.value)) {
            Step::Leave(result) => return Ok(result),
            Step::Write(value, result) => {
                if store.compare_and_swap(key, version, &value)? {
                    return Ok(result);
                }
            }
        }
    }
    Err(CasError::Contended)
}
