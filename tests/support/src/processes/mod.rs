//! An Envoy, its clients and its upstream, and others that are started and ended with a test.

/// What an answer must be.
mod answers;
pub use answers::*;
use answers::{check_passed, check_rejected};

pub mod bodies;
pub mod burst;
pub mod envoy;
pub mod filter_host;
pub mod http1;
pub mod http2;
pub mod live;
pub mod messages;
pub mod native;
pub mod process;
pub mod resident;
/// Redis' own protocol, for looking into it.
pub mod resp;
pub mod servers;
pub mod side_by_side;
pub mod tap;
pub mod upstream;
pub mod wire;
