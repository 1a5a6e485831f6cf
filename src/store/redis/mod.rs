//! Nonces and rate limits in Redis, where several Envoys share them.
//!
//! Redis is reached over HTTP, so a question is sent at one step of a request and its
//! answer comes at another. This module makes the questions and understands the
//! answers; who sends them is `envoy`, and what follows from an answer is in
//! [`crate::request`].
//!
//! - [`scripts`]: what runs in Redis, atomically: a request's decision, and its settlement
//! - [`script_call`]: a script with its keys and arguments
//! - [`script_reply`]: what it answers
//! - [`wire`]: how that looks over HTTP: Webdis, Upstash
//! - [`shared`]: all of it, for one configuration: the place to start reading
//! - [`circuit_breaker`]: does not ask a store that is known to be dead
//! - [`over_limit_cache`]: remembers who is over a limit, so that a flood does not become one of Redis
//! - [`settlement_queue`]: settlements on their way, until Redis has them

pub mod circuit_breaker;
pub mod over_limit_cache;
pub mod script_call;
pub mod script_reply;
pub mod scripts;
pub mod settlement_queue;
pub mod shared;
pub mod wire;
