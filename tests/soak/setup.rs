use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::kinds::{LIMIT, LIMITED};
use crate::upstream::Upstream;
use support::envoy::{Setup, connection_manager, listener};
use support::rule;

/// Adds the webhook with a rate limit, whose window is one in which no test ends.
pub(crate) fn add_limited_webhook(plugin: &mut Value) {
    let limits = json!([rule("client_ip", "all", LIMIT as u32, "36000s")]);
    let webhooks = plugin["webhooks"].as_array_mut().expect("webhooks");
    webhooks.push(json!({"path": LIMITED, "rate_limits": limits}));
}

/// An Envoy with four workers in front of this upstream.
pub(crate) fn in_front_of(upstream: SocketAddr, setup: Setup) -> Setup {
    setup.workers(4).edit(move |config| {
        Upstream::put_into(config, upstream);
        let manager = connection_manager(listener(config));
        manager["xff_num_trusted_hops"] = json!(1);
        // A line for each request would fill the disk.
        manager["access_log"] = json!([]);
    })
}
