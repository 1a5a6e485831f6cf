//! The hosts that the filter runs in.

#[cfg(all(feature = "native", not(target_family = "wasm")))]
mod native;
#[cfg(all(feature = "page", target_family = "wasm", target_os = "unknown"))]
mod page;
#[cfg(any(
    target_os = "wasi",
    all(feature = "native", not(target_family = "wasm"))
))]
mod process;
#[cfg(target_os = "wasi")]
mod wasm;
