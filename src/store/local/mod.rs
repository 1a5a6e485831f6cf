//! Bounded tables with expiry, over a map that can only be read and compare-and-swapped.
//!
//! Envoy's shared data has no delete, no expiry and no listing: a key for each
//! nonce or address would leak for ever (envoy#17217, envoy#28339,
//! proxy-wasm/spec#32). So each table is a fixed set of keys, its buckets; its records
//! live in the buckets' values, and every change is one compare-and-swap of one bucket.
//!
//! - [`buckets`]: how many buckets there are and what they are called
//! - [`nonces`]: which requests were accepted
//! - [`limiter`]: who has sent how many requests, exactly
//! - [`sliding_log`]: the moments that a limiter counts

pub mod buckets;
pub mod limiter;
pub mod nonces;
pub mod sliding_log;
