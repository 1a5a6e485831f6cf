//! The command line, through the binary that people run.
//!
//! `scripts/test companion` runs them; alone: `scripts/setup && cargo test --features cli --test companion`.

/// Running the binary.
mod command;

/// What the filter's hint says and what `explain` says, on thousands of requests.
mod agreement;

/// The same in a real Envoy, by its log.
mod envoy;

/// The same in a browser.
mod page;

/// `sign`.
mod signing;

/// `check-config`.
mod configurations;

/// `explain`.
mod explaining;

/// `report`.
mod reporting;

/// `send`.
mod sending;

/// The examples of the documentation.
mod documentation;
