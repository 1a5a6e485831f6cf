//! The filter as Envoy runs it: a thin adapter between the host and [`crate::core`].
//!
//! - [`host`]: the host functions, each of which may fail and none of which panics
//! - [`root`]: one for each worker: configuration, and a context for each request
//! - [`stream`]: one for each request: Envoy's callbacks, driving the core's states
//! - [`known`]: what a callback knows of its request already
//! - [`settlement`]: what the upstream's answer does to a claim
//! - [`reply`]: what a rejected sender gets
//! - [`callout`]: questions to Redis, and their answers
//! - [`shared_data`]: Envoy's shared data as the core's store
//! - [`metrics`], [`log`]: what an operator gets

// Entry points and host functions need it; each use says why it is sound.
#![allow(unsafe_code)]

mod abi;
mod callout;
mod known;
mod log;
mod metrics;
mod reply;
mod root;
mod settlement;
mod shared_data;
mod stream;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|context_id| Box::new(root::Root::new(context_id)));
}}
