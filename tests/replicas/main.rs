//! Several real Envoys that remember together: a real Redis, the real Webdis in front of it, and between Webdis and the
//! Envoys something that counts, delays and breaks what passes. What they are started with are the files of
//! `envoy/redis`.
//!
//! `scripts/test replicas` runs them; alone: `scripts/setup --redis && cargo test --test replicas`.
//!
//! Variables make the runs longer or shorter:
//!
//! - `REPLICAS_ROUNDS`: rounds of identical requests at all Envoys
//! - `REPLICAS_FAULT_MS`: how long each fault lasts (1200 in a long run)
//! - `REPLICAS_HANGS`: how often Redis hangs (20 in a long run)
//! - `REPLICAS_HANGUPS`: senders that hang up while Redis is asked (20,000 in a long run)
//! - `REPLICAS_ATTACKS`: rounds of all spellings of a captured request (30 in a long run)

/// What stands between Envoy and Webdis.
mod fault_proxy;

/// A service that speaks the REST form of Upstash.
mod upstash;

/// Several Envoys with one store.
mod replicas;

/// Requests that are sent while something breaks, and what became of each.
mod traffic;

/// The scripts in a real Redis, step by step, against models.
mod scripts;

/// The harness itself.
mod harness;

/// The files of `envoy/redis`.
mod files;

/// Identical requests at once, at all Envoys.
mod races;

/// One rate limit over all Envoys.
mod rate_limits;

/// When a request is remembered for all, and when it is given up.
mod nonces;

/// What is in Redis, and what is not.
mod keys;

/// How much is remembered.
mod capacity;

/// Everything that can go wrong with the store, under both answers to it.
mod failures;

/// Answers that belong to other questions.
mod misdelivered;

/// Connections to the store that break.
mod broken;

/// What the log says of a store that fails.
mod lines;

/// Who may ask the store.
mod credentials;

/// A Redis that has used up its memory.
mod full;

/// Claims that arrive after their requests were given up.
mod late;

/// Senders that do not wait for the answer.
mod hangups;

/// What arrives while Redis is asked.
mod bodies;

/// Long answers while Redis is told.
mod answers;

/// A request that somebody has captured.
mod attackers;

/// What passes though it would be rejected.
mod monitor;

/// Updates of the configuration of a running Envoy.
mod updates;

/// What a configuration leaves behind when it ends.
mod ended;

/// What an operator sees of the store.
mod metrics;
