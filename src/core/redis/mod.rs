//! Nonces and rate limits in Redis, where several Envoys share them.
//!
//! Redis is reached over HTTP, so a question is sent at one step of a request and its
//! answer comes at another. This module makes the questions and understands the
//! answers; who sends them is `envoy`, and what follows from an answer is in
//! [`crate::core::request`].
//!
//! - [`script`]: what runs in Redis, atomically: a request's decision, and its settlement
//! - [`question`]: a script with its keys and arguments
//! - [`reply`]: what it answers
//! - [`wire`]: how that looks over HTTP: Webdis, Upstash
//! - [`shared`]: all of it, for one configuration: the place to start reading
//! - [`circuit`]: does not ask a store that is known to be dead
//! - [`exhausted`]: remembers who is over a limit, so that a flood does not become one of Redis
//! - [`unsettled`]: settlements on their way, until Redis has them

pub mod circuit;
pub mod exhausted;
pub mod question;
pub mod reply;
pub mod script;
pub mod shared;
pub mod unsettled;
pub mod wire;
