//! Where nonces and rate limits live.
//!
//! - [`local`]: in this Envoy's shared memory
//! - [`redis`]: in Redis, for several Envoys

pub mod local;
pub mod redis;
