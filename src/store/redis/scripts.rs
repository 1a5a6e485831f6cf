//! The scripts that run in Redis. A script runs as a whole: nothing happens in between.

use std::fmt::Write;

use sha1::{Digest, Sha1};

/// A script and the name by which Redis knows it once it has run.
#[derive(Debug)]
pub struct Script {
    /// Its text.
    pub source: &'static str,
    /// The SHA-1 of the text, in hex, as `EVALSHA` takes it.
    pub hash: String,
}

/// Both scripts.
#[derive(Debug)]
pub struct Scripts {
    /// Limits and claim of one request.
    pub decide: Script,
    /// What upstreams' answers do to claims.
    pub settle: Script,
}

impl Scripts {
    /// The scripts with their hashes.
    pub fn new() -> Scripts {
        Scripts {
            decide: Script::new(include_str!("scripts/decide.lua")),
            settle: Script::new(include_str!("scripts/settle.lua")),
        }
    }
}

impl Default for Scripts {
    fn default() -> Scripts {
        Scripts::new()
    }
}

impl Script {
    fn new(source: &'static str) -> Script {
        let mut hash = String::with_capacity(40);
        for byte in Sha1::digest(source) {
            // Writing to a text does not fail.
            let _ = write!(hash, "{byte:02x}");
        }
        Script { source, hash }
    }
}
