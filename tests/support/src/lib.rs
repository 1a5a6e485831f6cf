//! What several test binaries, benchmarks and fuzz targets share, compiled once.
//!
//! Nothing here uses the filter's code but [`decide`] (and [`native`] by way of it), which hands requests to the
//! filter, and [`stores`], which names its types: a test that signs or decodes with what it tests finds no mistake in it.

use std::path::Path;

/// The filter in this process: the one place that drives it.
pub mod decide;
pub mod message;
pub mod request;

/// What goes wrong on random requests as Twilio makes them.
pub mod mistakes;
pub mod random_requests;

/// What Twilio signs and what the filter accepts, written down a second time.
pub mod contract;
pub mod lenient;
pub mod reference;
pub mod signing;
pub mod strictness;

/// Seeded randomness.
pub mod random;
pub mod stores;
/// The tables of the documentation.
pub mod tables;

/// Instructions, counted.
#[cfg(feature = "callgrind")]
pub mod callgrind;

/// Whatever starts processes or opens sockets.
#[cfg(feature = "processes")]
mod processes;

#[cfg(feature = "processes")]
pub mod field;

#[cfg(feature = "processes")]
pub use processes::*;

/// The repository's root: Envoy runs there, because `envoy/envoy.yaml` names the module relative to it.
pub fn repository() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).expect("tests/support is inside")
}
