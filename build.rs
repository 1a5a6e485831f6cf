//! Keeps a native module in memory once it is loaded: Envoy closes a module that no listener uses
//! any more, but this one has a thread, and nonces that must outlive any listener.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is_native = std::env::var_os("CARGO_FEATURE_NATIVE").is_some();
    if is_native && std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
