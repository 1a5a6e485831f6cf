//! Everything that decides, and nothing that talks to a host: bytes,
//! configuration, time and a store go in, a decision comes out.
#![forbid(unsafe_code)]

pub mod clock;
pub mod config;
pub(crate) mod copied;
pub mod diagnosis;
pub mod freshness;
pub mod redis;
pub mod refusal;
pub mod request;
pub mod routes;
pub mod secret;
pub mod signature;
pub mod table;
