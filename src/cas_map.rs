//! What a table needs of the place where it is kept.

pub mod memory;

/// Distinguishes one value of a key from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

/// What the host is handed for a key that does not exist: not "no version", which
/// would overwrite what another worker has just created, but one that no value has.
pub const VERSION_OF_NOTHING: u32 = u32::MAX;

/// A value and its version.
#[derive(Debug)]
pub struct Entry {
    /// The bytes.
    pub value: Vec<u8>,
    /// To be handed back when they are replaced.
    pub version: Version,
}

/// The store did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CasError {
    /// It failed, or answered what it never should.
    Unavailable,
    /// Others changed the same bucket again and again while this one tried.
    Contended,
}

/// A map that all workers share, with compare-and-swap.
pub trait CasMap {
    /// The value of a key; `None` if it was never written.
    ///
    /// # Errors
    /// [`CasError::Unavailable`].
    fn get(&self, key: &str) -> Result<Option<Entry>, CasError>;

    /// Writes a key if it still has the `expected` version (`None`: if it still does
    /// not exist). Answers whether it was written.
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

/// What to do with a bucket, having looked at it.
pub enum Step<T> {
    /// Leave it as it is.
    Leave(T),
    /// Replace it.
    Write(Vec<u8>, T),
}

/// How often a compare-and-swap is tried. Each failure means that another worker's
/// change to the same bucket succeeded meanwhile, so with a handful of workers a
/// few tries do; when they run out, the request is rejected, never let through.
pub const MAX_TRIES: u32 = 128;

/// Reads a bucket, decides, and writes what was decided unless the bucket changed
/// meanwhile; then again. `decide` is pure: it may run several times. The value is its
/// own, to be changed in index.
///
/// # Errors
/// [`CasError::Contended`] after [`MAX_TRIES`]; what the store says.
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
