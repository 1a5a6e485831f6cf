//! What holds after long and under everything that goes wrong, in a real Envoy: that exactly one of many
//! identical requests passes, that memory stays bounded, and what survives a failing upstream, an update of the
//! configuration and a VM that dies. What docs/memory.md states in tables, and docs/performance.md of the module's
//! size, is read from there and checked.
//!
//! `scripts/test endurance` builds what is needed and runs it. Variables make the runs longer or shorter:
//!
//! - `ENDURANCE_ROUNDS`: rounds of 16 identical requests
//! - `ENDURANCE_ACCEPTED`: distinct requests that are accepted
//! - `ENDURANCE_ADDRESSES`: addresses that send a request each

/// The tables of docs/memory.md.
mod documentation;

/// Many requests in little time, and an upstream that keeps up.
mod load;

/// Identical requests at once.
mod races;

/// Resident memory, and what is remembered, through floods.
mod memory;

/// What a retry gets after each answer of the upstream.
mod answers;

/// Updates of the configuration of a running Envoy.
mod updates;

/// VMs that die.
mod traps;

/// How often the filter calls the host.
mod host_calls;

/// How large the module is.
mod module_size;
