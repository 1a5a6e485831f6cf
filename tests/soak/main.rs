//! Everything at once, at the highest rate that the machine sustains.
//!
//! `scripts/soak` starts it. What it is told by the environment:
//!
//! - `SOAK_SECONDS`: how long each soak lasts (15 by default)
//! - `SOAK_CLIENTS`: how many connections send at the same time (24 by default)
//! - `FILTER_HOST`: the host, as in all tests

/// What Envoys under load are started with.
mod setup;

/// A client that knows what became of what it sent.
mod client;

/// What is sent, and what each must become.
mod kinds;

/// What is no HTTP.
mod bytes;

/// One client, which sends all of it.
mod sender;

/// What the clients have sent, and what they were answered.
mod ledger;

/// The memory of processes, and whether it rises.
mod memory;

/// An upstream that counts by nonce, and fails as it is asked.
mod upstream;

/// What is lost, accepted twice, and how long, at each fault under load.
mod faults;

/// The soak.
mod soak;
