//! Tells the linker what the module of each host needs.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=scripts/build.rs");
    let target = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let profile = env::var("PROFILE").unwrap_or_default();
    let is_native = env::var_os("CARGO_FEATURE_NATIVE").is_some();
    let arguments: &[&str] = match target.as_str() {
        // Each number that the linker fills in, such as a called function or the address of a text, has room for the
        // greatest: five bytes. This makes them as short as they can be, which is a twentieth of the module. It moves
        // what debug information points to, and is refused beside it.
        "wasi" if profile == "release" => &["--strip-debug", "--compress-relocations"],
        // Envoy closes a module that no listener uses any more, but this one has a thread, and nonces that must
        // outlive any listener.
        "linux" if is_native => &["-Wl,-z,nodelete"],
        _ => &[],
    };
    for argument in arguments {
        println!("cargo::rustc-link-arg-cdylib={argument}");
    }
}
