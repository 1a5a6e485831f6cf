//! What a request says of itself, unverified.
//!
//! - [`headers`]: headers as bytes
//! - [`client_address`]: the address that it came from
//! - [`account_sid`]: an account, as it may be logged
//! - [`path`]: whether its path belongs to a webhook
//! - [`timestamp`]: whether it is recent

pub mod account_sid;
pub mod client_address;
pub mod headers;
pub mod path;
pub mod timestamp;
