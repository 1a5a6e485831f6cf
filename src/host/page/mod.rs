//! The page in the browser, as a host of what the command line does: `scripts/page` builds it.

use wasm_bindgen::prelude::wasm_bindgen;

use crate::companion::page;
use crate::time::Timestamp;

/// Answers a question of the page at a time in milliseconds since 1970: JSON in, JSON out.
#[wasm_bindgen]
pub fn answer(question: &str, now: f64) -> String {
    // A browser's clock is far below 2^53; what is none becomes 1970.
    page::answer(question, Timestamp(now as u64))
}
