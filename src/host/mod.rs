//! The hosts that the filter runs in.

#[cfg(target_os = "wasi")]
mod wasm;
