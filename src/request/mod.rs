//! What a request says of itself, before anybody has vouched for it.
//!
//! - [`headers`]: its headers, as bytes
//! - [`client_address`]: the address that it came from
//! - [`account_sid`]: the account that it is for
//! - [`path`]: which webhook its path belongs to
//! - [`timestamp`]: how old it is

pub mod account_sid;
pub mod client_address;
pub mod headers;
pub mod path;
pub mod timestamp;
