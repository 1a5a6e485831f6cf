//! What one Envoy promises of limits, repeats and races, it promises with Redis, too: the end-to-end tests of these, word
//! for word.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::replicas;
use crate::servers::{Redis, Webdis};
use support::envoy::{Setup, plugin_with};
use support::messages::message;

#[path = "../e2e/races.rs"]
mod races;
#[path = "../e2e/rate_limits.rs"]
mod rate_limits;
#[path = "../e2e/replay.rs"]
mod replay;

/// One for all of them: each Envoy has keys of its own.
static STORE: LazyLock<(Redis, Webdis)> = LazyLock::new(|| {
    let redis = Redis::with_prefix("e2e*");
    let webdis = Webdis::start(redis.address());
    (redis, webdis)
});

/// An Envoy with this plugin's configuration, and Redis for its store.
pub(crate) fn setup(plugin: &Value) -> Setup {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let mut plugin = plugin.clone();
    plugin["store"] = replicas::store();
    plugin["store"]["key_prefix"] = format!("e2e{}", STARTED.fetch_add(1, Ordering::SeqCst)).into();
    replicas::setup(&plugin, STORE.1.address())
}

#[test]
fn these_envoys_ask_redis() {
    setup(&plugin_with(json!({}))).run(async |t| {
        for _ in 0..5 {
            t.passes(&message()).await;
        }
        assert!(replicas::metric(t.envoy, "store_callouts") >= 5);
    });
}
