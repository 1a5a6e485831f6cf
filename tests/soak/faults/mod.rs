//! Faults under load: requests of all kinds, of which the orders are sent again until they pass, as Twilio does, while
//! something breaks.
//!
//! Each test prints its row of the table in docs/soak.md. `scripts/soak --faults` runs them one after the other.

/// The orders, and what becomes of them at a fault.
mod load;

/// What a fault has done, and what it may do.
mod outcome;

/// Everything but orders, beside them.
mod others;

/// A connection between two processes that can be cut.
mod cut;

/// What the upstream does.
mod upstream;

/// What happens to Envoy's process.
mod process;

/// Two Envoys behind a balancer, of which one after the other is replaced.
mod balancer;

/// What happens to the filter in an Envoy that stays.
mod filter;

/// What happens to Redis and Webdis.
mod store;

/// What happens to the clock.
mod clock;

/// A group of processes with so much memory.
mod cgroup;

/// What the machine runs short of.
mod machine;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::setup::{add_limited_webhook, in_front_of};
use crate::upstream::Upstream;
use support::envoy::{Envoy, Setup, connection_manager, listener, plugin_with};
use support::process::free_port;

/// How long all send before the fault, and after it.
const CALM: Duration = Duration::from_millis(1000);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn plugin() -> Value {
    let mut plugin = plugin_with(json!({"rate_limits": [], "log": {"max_per_second": 10}}));
    add_limited_webhook(&mut plugin);
    plugin
}

/// An Envoy at a port that the next one can have, too.
fn setup(plugin: &Value, upstream: &Upstream, to: SocketAddr) -> Setup {
    in_front_of(upstream.address, Setup::with(plugin)).edit(move |config| {
        let listener = listener(config);
        listener["address"]["socket_address"]["port_value"] = json!(to.port());
        let manager = connection_manager(listener);
        // Shorter than an operator's, as are these tests.
        let routes = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
        for route in routes.as_array_mut().expect("routes") {
            route["route"]["timeout"] = json!("1s");
        }
    })
}

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

fn post(envoy: &Envoy, path: &str) {
    let request = format!("POST {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n");
    let answer = Client::new(envoy.admin).send(request.as_bytes());
    assert_eq!(answer.expect("an answer").status, 200, "{path}");
}
