//! Bounded tables with expiry, over a map that can only read and compare-and-swap.
//!
//! Envoy's shared data has no delete, no expiry and no listing: a key for each
//! nonce or address would leak for ever (envoy#17217, envoy#28339,
//! proxy-wasm/spec#32). So each table is a fixed set of keys, its buckets; what
//! is stored lives in the buckets' values, and every change is one
//! compare-and-swap of one bucket.
//!
//! - [`store`]: the tables of all webhooks, as a store
//! - [`nonces`]: which requests were accepted
//! - [`limiter`]: who has sent how many, exactly
//! - [`sliding_log`]: the moments that a limiter counts
//! - [`buckets`]: how many buckets there are and what they are called

pub mod buckets;
pub mod limiter;
pub mod nonces;
pub mod sliding_log;
pub mod store;
