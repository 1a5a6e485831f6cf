//! The filter in a real Envoy, between clients that control every byte and an upstream that records every
//! byte. Each test asserts on the answer and on what the upstream has received.
//!
//! `scripts/test` runs them; alone: `scripts/setup && cargo test --test e2e`.

/// The harness itself: a signature, a tap or a parser that is wrong would make every test worthless.
mod harness;

/// What the replaced system promised: its acceptance tests and its table of features.
mod source_system;

/// Each row of the contract's table of checks, in its order.
mod rejections;

/// Every way to send a body, and every kind of body.
mod bodies;

/// WebSocket handshakes.
mod upgrades;

/// The signatures that Twilio has published.
mod official_vectors;

/// What somebody with a recorded request, or without a token, might try.
mod attacks;

/// What an attacker and an auditor found, each with what holds since.
mod findings;

/// How long a nonce is kept, and what the upstream's answer does to it.
mod replay;

/// Many requests at once, over four workers.
mod races;

/// Rules, their keys, and `Retry-After`.
mod rate_limits;

/// Mistakes in the configuration, modes, environment.
mod configuration;

/// What the upstream gets to see.
mod to_upstream;

/// Log, metrics, access log.
mod operators;

/// After all kinds of abuse at once, the filter is still the one that was started.
mod canary;

/// What differs between the WebAssembly and the native module, and which store a run is for.
mod hosts;
