//! The built program, over real HTTP on loopback and a real database in a temporary directory.

// Helpers are not test functions, so clippy.toml does not reach them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod answers;
mod conversation;
mod crash;
#[path = "../support/harness.rs"]
mod harness;
mod kills;
mod kitchen;
mod lifecycle;
mod outage;
#[path = "../support/postgres.rs"]
mod postgres;
mod replies;
mod tls;
#[path = "../support/twilio.rs"]
mod twilio;
