//! Tells the linker to leave out what only a later link would need.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let profile = env::var("PROFILE").unwrap_or_default();
    if target == "wasi" && profile == "release" {
        // Each number that the linker fills in, such as a called function or the address of a text, has room for the
        // greatest: five bytes. This makes them as short as they can be, which is a twentieth of the module. It moves
        // what debug information points to, and is refused beside it.
        for argument in ["--strip-debug", "--compress-relocations"] {
            println!("cargo::rustc-link-arg-cdylib={argument}");
        }
    }
}
