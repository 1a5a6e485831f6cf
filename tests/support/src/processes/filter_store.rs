//! Which store the Envoys of a test have, where the test does not say: what one Envoy promises of limits, repeats and
//! races, it promises with Redis, too.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::redis::{self, Redis, Webdis};

/// Where the filter keeps nonces and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterStore {
    /// The memory of one Envoy.
    Memory,
    /// A real Redis, behind a real Webdis.
    Redis,
}

/// The store that the environment asks for: `FILTER_STORE=redis`, or `memory`, which is the default.
pub fn filter_store() -> FilterStore {
    match std::env::var("FILTER_STORE").as_deref() {
        Err(_) | Ok("" | "memory") => FilterStore::Memory,
        Ok("redis") => FilterStore::Redis,
        Ok(other) => panic!("FILTER_STORE is memory or redis, not {other}"),
    }
}

/// One for all Envoys: each has keys of its own.
static REDIS: LazyLock<(Redis, Webdis)> = LazyLock::new(|| {
    let redis = Redis::with_prefix("e2e*");
    let webdis = Webdis::start(redis.address());
    (redis, webdis)
});

/// The same configuration with a store in Redis, if it is one that leaves the store open, and where Redis is.
pub(super) fn in_redis(plugin: &str) -> Option<(String, std::net::SocketAddr)> {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let mut plugin: Value = serde_json::from_str(plugin).ok()?;
    if !plugin.is_object() || plugin.get("store").is_some() {
        return None;
    }
    plugin["store"] = redis::store();
    plugin["store"]["key_prefix"] = format!("e2e{}", STARTED.fetch_add(1, Ordering::SeqCst)).into();
    Some((plugin.to_string(), REDIS.1.address()))
}
