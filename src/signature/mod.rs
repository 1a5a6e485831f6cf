//! Did Twilio sign this? URL, parameters and keys go in; the key that matched comes out.
//!
//! - `urlencoded`: percent-decoding
//! - [`form`]: the parameters of a body or a query, as they are signed
//! - `configured_url`: a URL as it was entered
//! - [`url`]: the URLs that may have been signed
//! - `body_hash`: `bodySHA256`
//! - [`key`]: keys, MACs, nonces
//! - [`keyring`]: whose key is it, and which does a request select
//! - [`spelling`]: is a form spelled so that every framework reads it alike
//! - [`coverage`]: is this body one that a signature can cover
//! - [`boundaries`]: has a boundary between two parameters been moved
//! - [`verify`]: the search for a key and a URL that fit

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
