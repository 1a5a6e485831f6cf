//! One request as Envoy shows it: events in, actions out, over [`host::Host`].
//!
//! - [`host`]: what the driver needs of Envoy
//! - [`http_stream`]: **the driver**: one request, event by event; start reading there
//! - [`worker`]: what all requests of one worker and configuration share
//! - [`startup`]: a configuration becomes a worker, or a message
//! - [`flush`]: tells the store, on a timer, what it has not been told yet
//! - [`upstream_headers`]: what the upstream gets, and what no client may send
//! - [`reply`]: what a rejected client gets
//! - [`metrics`], [`log`]: what an operator gets

pub mod flush;
pub mod host;
pub mod http_stream;
mod log;
pub mod metrics;
mod reply;
pub mod startup;
mod upstream_headers;
pub mod worker;

#[cfg(test)]
mod tests;
