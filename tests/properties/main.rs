//! What holds for every input, not only for the examples that somebody thought of.
//!
//! The seed is committed ([`generators::cases`]), so a run on one machine is a run on all.
//! `PROPTEST_RNG_SEED=random` explores further; what it finds becomes a test by name.

mod configuration;
mod forms;
mod generators;
mod paths;
mod redis;
mod reference;
mod signatures;
mod urls;
