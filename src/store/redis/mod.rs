//! Nonces and rate limits in Redis, where several Envoys share them.
//!
//! A request asks once: when its signature is known to be right, for the limits that count
//! every request, those that count what is signed, and the claim of its nonce; when it is
//! rejected before, for the limits that count every request and those that count rejections.
//! Only a repeat that Redis alone knew asks again, where a limit counts that. What became of
//! the request then settles the claim. All of it is decided by scripts that Redis runs as a
//! whole, so that of any number of identical requests at any number of Envoys one is accepted.
//!
//! The local tables stand in front. What they know to be a repeat is not asked for, and
//! where the configuration says so they decide while Redis does not answer.
//!
//! - [`store`]: the store; the place to start reading
//! - [`admission`]: a request's limits and claim
//! - [`pending`]: a script that was sent, and what goes on with its reply
//! - [`shared`]: what a worker knows of Redis
//! - [`settlement_queue`]: settlements on their way, until Redis has them
//! - [`gone_queue`]: requests whose clients left before anything was asked
//! - [`circuit_breaker`]: does not ask a Redis that is known to be dead
//! - [`over_limit_cache`]: who is over a limit, so that a flood does not become one of Redis
//! - [`keyspace`]: what keys are called
//! - [`scripts`], [`script_call`], [`script_reply`]: what runs in Redis, with which
//!   arguments, and what it replies
//! - [`correlation`]: what ties a reply to its call
//! - [`wire`]: how that looks over HTTP: Webdis, Upstash
//! - [`settings`]: how Redis is reached

mod admission;
pub mod circuit_breaker;
pub mod correlation;
pub mod gone_queue;
pub mod keyspace;
pub mod over_limit_cache;
mod pending;
pub mod script_call;
pub mod script_reply;
pub mod scripts;
pub mod settings;
pub mod settlement_queue;
mod shared;
pub mod store;
pub mod wire;

#[cfg(test)]
mod tests;
