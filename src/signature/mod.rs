//! Whether Twilio signed a request: URL, parameters and keys in, the matching key out.
//!
//! - `word`: eight bytes at once
//! - `urlencoded`: percent-decoding
//! - [`form`]: the parameters of a body or a query, as they are signed
//! - `configured_url`: a URL as it was entered
//! - [`url`]: the URLs that may have been signed
//! - `body_hash`: `bodySHA256`
//! - [`key`]: keys, MACs, nonces
//! - [`keyring`]: all keys, and those that a request selects
//! - [`spelling`]: whether every framework reads a form alike
//! - [`coverage`]: what binds a body to the signature
//! - [`boundaries`]: whether a boundary between two parameters was moved
//! - [`verify`]: the search for the key and the URL that match

pub mod body_hash;
pub mod boundaries;
pub mod configured_url;
pub mod coverage;
pub mod form;
pub mod key;
pub mod keyring;
pub mod spelling;
pub mod url;
pub mod urlencoded;
pub mod verify;
mod word;
