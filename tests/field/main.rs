//! Requests and mistakes from the field, before a real Envoy: what must pass passes, what is rejected says why.
//!
//! The cases are in `tests/vectors/field_cases.json` and `field_cases_more.json`; `tests/vectors/README.md` says how to
//! read them. All of them share one Envoy, in which each has a listener, and so a filter, of its own.
//!
//! `scripts/test field` runs them; alone: `scripts/setup && cargo test --test field`.

/// The Envoy that all cases share.
mod gateway;

/// One case: loading, each step, the log.
mod run;

/// A test for each kind of case.
mod kinds;

/// Senders that leave, which must not be taken for a mistake in Envoy's configuration.
mod leaving;

/// Calls and mass messages, with the configurations that the documentation shows for them.
mod voice;
