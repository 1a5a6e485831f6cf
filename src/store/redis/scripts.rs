//! The scripts that run in Redis. A script runs as a whole: nothing happens in between.

use std::fmt::Write;

use sha1::{Digest, Sha1};

/// A script without its comments and indentation. They would be a third of what the module
/// holds of it, and of what is sent to a Redis that does not know it.
macro_rules! script {
    ($file:literal) => {{
        const TEXT: &str = include_str!($file);
        const LENGTH: usize = stripped::<{ TEXT.len() }>(TEXT).1;
        const STRIPPED: &[u8] = &stripped::<LENGTH>(TEXT).0;
        match str::from_utf8(STRIPPED) {
            Ok(text) => text,
            Err(_) => TEXT,
        }
    }};
}

const DECIDE: &str = script!("scripts/decide.lua");
const SETTLE: &str = script!("scripts/settle.lua");

/// Returns the lines of a script that are no comments, without the blanks before them, and how
/// long that is. What is longer than `LENGTH` is cut.
const fn stripped<const LENGTH: usize>(text: &str) -> ([u8; LENGTH], usize) {
    let (mut lines, mut length) = ([0; LENGTH], 0);
    let (mut text, mut room) = (text.as_bytes(), lines.as_mut_slice());
    loop {
        text = text.trim_ascii_start();
        let is_comment = matches!(text, [b'-', b'-', ..]);
        let mut is_in_line = true;
        while is_in_line {
            let [byte, after @ ..] = text else {
                return (lines, length);
            };
            text = after;
            is_in_line = *byte != b'\n';
            if !is_comment {
                length += 1;
                room = match room {
                    [place, left @ ..] => {
                        *place = *byte;
                        left
                    }
                    [] => &mut [],
                };
            }
        }
    }
}

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
            decide: Script::new(DECIDE),
            settle: Script::new(SETTLE),
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

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_script_is_sent_as_it_is_written_without_comments_and_indentation() {
        for (sent, written) in [
            (DECIDE, include_str!("scripts/decide.lua")),
            (SETTLE, include_str!("scripts/settle.lua")),
        ] {
            let lines = written.lines().map(str::trim_start);
            let code = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
            let code: Vec<_> = code.collect();
            assert_eq!(sent, code.join("\n") + "\n");
            // What would be more than one line, or a comment that is not one.
            assert!(!written.contains("[[") && !written.contains("--["));
        }
    }
}
