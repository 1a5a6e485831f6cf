//! One signature, one meaning: thousands of spellings of signed requests go to the form parsers of real frameworks.
//! Whatever the filter accepts (strict, as it is by default), all of them read alike, or one table says why not.
//!
//! `scripts/test differential` runs it; alone: `scripts/setup --tests && cargo test --test parsers`.
//!
//! - `PARSERS_SEED`: which spellings. It is printed, and the same seed makes the same spellings everywhere.
//! - `PARSERS_REQUESTS`: how many.

/// Who reads.
mod go;
mod readers;

/// What is read: spellings of signed requests with the same signature.
mod requests;
mod respellings;

/// Where readers differ, and why.
mod exceptions;

/// The comparison.
mod comparison;

/// `docs/signatures.md` says the same.
mod documentation;
