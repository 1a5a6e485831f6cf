//! An Envoy, its clients and its upstream, and others that are started and ended with a test.

/// What an answer must be.
mod answers;
pub use answers::*;

pub mod blocking;
pub mod bodies;
pub mod burst;
pub mod envoy;
pub mod filter_host;
pub mod filter_store;
pub mod http1;
pub mod http2;
pub mod live;
pub mod messages;
pub mod native;
pub mod process;
pub mod redis;
pub mod resident;
pub mod resp;
pub mod side_by_side;
pub mod tap;
pub mod upstream;
pub mod wire;
