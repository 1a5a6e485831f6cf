//! One signature, one meaning: thousands of spellings of signed requests go to the form parsers of real frameworks.
//! Whatever the filter accepts (strict, as it is by default), all of them read alike, or one table says why not.
//!
//! `scripts/test differential` runs it; alone: `scripts/setup --tests && cargo test --test parsers`.
//!
//! - `PARSERS_SEED`: which spellings. It is printed, and the same seed makes the same spellings everywhere.
//! - `PARSERS_REQUESTS`: how many.

#[path = "../differential/random.rs"]
#[allow(dead_code)]
mod random;

/// What is signed, as plainly as it can be.
#[path = "../differential/reference.rs"]
#[allow(dead_code)]
mod reference;

/// The filter, driven as Envoy drives it.
#[path = "../differential/filter.rs"]
mod filter;

/// Who reads.
mod go;
mod readers;

/// What is read: spellings of signed requests with the same signature.
mod requests;
mod respellings;

/// Which spellings are strict, said once more.
mod strictness;

/// Where readers differ, and why.
mod exceptions;

/// The comparison.
mod comparison;

/// `docs/signatures.md` says the same.
mod documentation;

#[path = "../differential/page.rs"]
mod page;

#[path = "../e2e/support/process.rs"]
mod process;
