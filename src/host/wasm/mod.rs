//! The filter as a proxy-wasm module: a thin translation between Envoy's callbacks and
//! [`crate::stream`].
//!
//! - [`abi`]: the host functions, each of which may fail and none of which panics
//! - [`host`]: the driver's `Host` by these functions
//! - [`shared_data`]: Envoy's shared data as a map with compare-and-swap
//! - [`root`]: one for each worker: configuration, timer, and a context for each request
//! - [`http`]: one for each request: the SDK's callbacks

// Entry points and host functions need it; each use says why it is sound.
#![allow(unsafe_code)]

mod abi;
mod host;
mod http;
mod root;
mod shared_data;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|context_id| Box::new(root::Root::new(context_id)));
}}
