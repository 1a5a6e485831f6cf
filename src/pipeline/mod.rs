//! A request on its way through the checks.
//!
//! - [`state`]: **the path of a request**, in the order of the checks: start reading there
//! - `authentic`: what follows once the signature is right
//! - `underway`: how a request goes on from step to step, or ends
//! - [`asking`]: what follows from an answer of Redis
//! - [`filter`]: settings and tables, which every request works with
//! - `headers`: the request's headers
//! - `client`: who sent it
//! - [`limits`]: the rate limits it is under
//! - `sid`: the account that it is for
//! - [`verdict`]: how it ended
//! - [`answer`]: what the upstream's answer does to its nonce

pub mod answer;
pub mod asking;
mod authentic;
pub mod filter;
pub mod limits;
pub mod state;
mod underway;
pub mod verdict;
