//! The filter beside Twilio's own libraries for Node and Python: they sign, and all three judge, thousands of
//! generated requests. Wherever they disagree, one table says why.
//!
//! `scripts/test differential` runs it; alone: `scripts/setup --tests && cargo test --test differential`.
//!
//! - `DIFFERENTIAL_SEED`: which requests. It is printed, and the same seed makes the same requests everywhere.
//! - `DIFFERENTIAL_REQUESTS`: how many.

/// The webhooks, and the filter's configuration.
mod places;

/// What is sent, and what was signed.
mod requests;

mod libraries;

/// The comparison.
mod comparison;
/// What would be right, and what a disagreement may come from.
mod contract;
mod exceptions;

/// `docs/signatures.md` says what the filter does.
mod documentation;
