//! The bounded tables against plain models: a map that loses nothing, a list of moments.
//!
//! - [`nonces`] and [`limits`]: one worker, random operations, a clock that also jumps
//! - [`capacities`]: tables of several capacities on one store
//! - [`workers`]: several workers, interleaved by chance from a committed seed, and as
//!   threads; and stores that break the rules, to see that the tests would notice
//!
//! Millions of operations a run; `MODEL_ROUNDS=10` does ten times as many.

mod capacities;
mod limits;
mod nonces;
mod support;
mod workers;
