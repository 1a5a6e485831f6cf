//! The filter as a dynamic module of Envoy: native code in Envoy's own process.
//!
//! - [`abi`]: Envoy's functions, each with its contract, and what is safe to call of them
//! - [`hooks`]: what Envoy calls
//! - [`config`]: what Envoy holds of a configuration, for all threads
//! - [`local`]: what one thread knows of it
//! - [`request`]: one request: panics, and hooks that are called from within hooks
//! - [`host`]: the driver's `Host` by Envoy's functions
//! - [`answer`]: the answer to a call
//! - [`metrics`], [`timer`], [`lock`]

// The functions and hooks of Envoy need it; each use says why it is sound.
#![allow(unsafe_code)]

mod abi;
mod answer;
mod config;
mod hooks;
mod host;
mod local;
mod lock;
mod metrics;
mod request;
mod timer;
