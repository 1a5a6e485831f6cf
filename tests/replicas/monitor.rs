use serde_json::json;

use crate::replicas::{Replicas, plugin, store_with};
use support::messages::{forged, message, whatsapp};
use support::process::until;
use support::rule;
use support::wire::Request;

/// Sends it; the verdict that the upstream is told.
async fn verdict(replicas: &Replicas, envoy: usize, request: &Request) -> String {
    let tap = &replicas.envoys[envoy].tap;
    let first = tap.count();
    replicas.passes(envoy, request).await;
    let received = tap.requests_since(first);
    assert_eq!(received.len(), 1);
    let header = received[0].header("x-twilio-webhook-verified");
    header.unwrap_or("no verdict").to_owned()
}

#[test]
fn in_monitor_mode_everything_passes_with_what_redis_makes_of_it() {
    let rules = json!([
        rule("client_ip", "all", 1000, "60s"),
        rule("webhook", "authenticated", 4, "600s")
    ]);
    let plugin = plugin(json!({"mode": "monitor", "rate_limits": rules}));
    Replicas::start(&plugin).run(async |replicas| {
        let mut requests = Vec::new();
        for first in [0, 1] {
            let request = message();
            assert_eq!(verdict(replicas, first, &request).await, "true");
            for envoy in [0, 1] {
                assert_eq!(verdict(replicas, envoy, &request).await, "duplicate");
            }
            requests.push(request);
        }
        assert_eq!(
            verdict(replicas, 0, &forged(&whatsapp())).await,
            "invalid_signature"
        );
        for envoy in [0, 1] {
            assert_eq!(verdict(replicas, envoy, &message()).await, "true");
        }
        assert_eq!(verdict(replicas, 0, &message()).await, "rate_limited");
        replicas.redis.kill();
        let new = message();
        assert_eq!(verdict(replicas, 0, &new).await, "store_unavailable");
        // Its claim was taken back, so it is still not a repeat.
        assert_eq!(verdict(replicas, 0, &new).await, "store_unavailable");
        replicas.redis.start_again();
        // The limit comes after the look at the nonce: what was accepted is known for what it is.
        until("Redis is found again", async || {
            (verdict(replicas, 1, &requests[0]).await == "duplicate").then_some(())
        })
        .await;
    });
}

#[test]
fn in_monitor_mode_an_envoy_decides_by_itself_where_that_is_asked_for() {
    let store = store_with(json!({"timeout": "0.5s", "on_error": "local"}));
    Replicas::start(&plugin(json!({"mode": "monitor", "store": store}))).run(async |replicas| {
        replicas.webdis.kill();
        let request = message();
        for envoy in [0, 1] {
            assert_eq!(verdict(replicas, envoy, &request).await, "true");
            assert_eq!(verdict(replicas, envoy, &request).await, "duplicate");
        }
    });
}

#[test]
fn switched_off_nothing_is_asked() {
    Replicas::start(&plugin(json!({"mode": "off"}))).run(async |replicas| {
        let request = forged(&whatsapp());
        for envoy in [0, 1] {
            assert_eq!(verdict(replicas, envoy, &request).await, "no verdict");
        }
        assert_eq!(replicas.proxy.settled().await, 0);
    });
}
