//! What tests of several modules share.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};

/// Returns the rows of a table that is written as text: a line each, its cells separated by `=>`.
#[track_caller]
pub(crate) fn rows<const N: usize>(table: &str) -> Vec<[&str; N]> {
    let row = |line| {
        let cells: Vec<_> = str::split(line, "=>").map(str::trim).collect();
        <[&str; N]>::try_from(cells).unwrap_or_else(|_| panic!("{N} cells in {line}"))
    };
    table.trim().lines().map(row).collect()
}

#[track_caller]
pub(crate) fn assert_says(found: &str, words: &str) {
    assert!(found.contains(words), "{found}\nlacks {words}");
}

/// Returns the signature of a message by an auth token, as Twilio sends it.
pub(crate) fn sign(token: &str, message: &[u8]) -> String {
    sign_by::<Hmac<sha1::Sha1>>(token, message)
}

/// Returns the signature of a message by another algorithm.
pub(crate) fn sign_by<M: Mac + KeyInit>(token: &str, message: &[u8]) -> String {
    let mut mac = <M as KeyInit>::new_from_slice(token.as_bytes()).expect("any key");
    mac.update(message);
    STANDARD.encode(mac.finalize().into_bytes())
}
