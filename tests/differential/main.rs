//! The filter beside Twilio's own libraries for Node and Python: they sign, and all three judge, thousands of
//! generated requests. Wherever they disagree, one table says why.
//!
//! `scripts/test differential` runs it; alone: `scripts/setup --tests && cargo test --test differential`.
//!
//! - `DIFFERENTIAL_SEED`: which requests. It is printed, and the same seed makes the same requests everywhere.
//! - `DIFFERENTIAL_REQUESTS`: how many.

mod random;

/// The webhooks, and the filter's configuration.
mod places;

/// What is sent, and what was signed.
mod requests;

/// Who judges.
mod filter;
mod libraries;

/// What would be right, and what a disagreement may come from.
mod contract;
mod exceptions;
mod reference;

#[path = "../parsers/strictness.rs"]
#[allow(dead_code)]
mod strictness;

/// The comparison.
mod comparison;

/// `docs/signatures.md` says what the filter does.
mod documentation;
mod page;

/// A real Envoy, as the end-to-end tests start it; they use more of it.
#[path = "../e2e/support/mod.rs"]
#[allow(dead_code)]
mod support;
