//! The path of a request, from its headers to the verdict.
//!
//! - [`filter`]: **the path**, in the order of the checks: start reading there
//! - [`step`]: what a request is between two events; [`in_flight`]: what becomes of it by itself
//! - [`checks`]: the checks that need nothing but the request and the configuration
//! - [`routes`]: which webhook a path belongs to
//! - [`limits`]: which rate limits look at a request
//! - [`hints`], [`explain`]: what explains a rejection to the operator
//! - [`rejection`], [`verdict`]: how a request ended
//! - [`webhook`]: one webhook of the configuration

pub mod checks;
mod explain;
pub mod filter;
mod hints;
mod in_flight;
pub mod limits;
pub mod rejection;
mod routes;
pub mod step;
pub mod verdict;
pub mod webhook;

#[cfg(test)]
pub(crate) mod tests;
