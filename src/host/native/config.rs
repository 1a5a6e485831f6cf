//! What Envoy holds of one configuration: shared by the main thread and all workers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::cas_map::sharded::ShardedMap;
use crate::host::native::abi::{self, FilterConfig, Scheduler};
use crate::host::native::calls::Calls;
use crate::host::native::lock::lock;
use crate::host::native::metrics::Metrics;
use crate::stream::host::Level;

/// One configuration.
pub(super) struct Config {
    /// What tells it from all others of the process.
    pub(super) number: u64,
    pub(super) envoy: FilterConfig,
    /// What log lines begin with, and configurations share their memory by.
    name: String,
    pub(super) json: Vec<u8>,
    /// Nonces and counters.
    pub(super) memory: Arc<ShardedMap>,
    /// Being defined, on the main thread.
    new_metrics: Mutex<Metrics>,
    /// Defined, once the configuration is loaded.
    metrics: OnceLock<Metrics>,
    /// What wakes the main thread, which makes the calls that belong to no stream.
    scheduler: Mutex<Option<Scheduler>>,
    pub(super) calls: Calls,
}

/// Returns the memory of a name. It is the process', so that it outlives each configuration:
/// what was accepted before an update is still known after it.
fn memory(name: &[u8]) -> Arc<ShardedMap> {
    static ALL: OnceLock<Mutex<HashMap<Vec<u8>, Arc<ShardedMap>>>> = OnceLock::new();
    let mut all = lock(ALL.get_or_init(Mutex::default));
    Arc::clone(all.entry(name.to_vec()).or_default())
}

impl Config {
    /// Returns a configuration that is still to be loaded.
    pub(super) fn new(envoy: FilterConfig, name: &[u8], json: &[u8]) -> Config {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Config {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            envoy,
            name: String::from_utf8_lossy(name).into_owned(),
            json: json.to_vec(),
            memory: memory(name),
            new_metrics: Mutex::default(),
            metrics: OnceLock::new(),
            scheduler: Mutex::new(None),
            calls: Calls::default(),
        }
    }

    /// Writes a line to Envoy's log, in the form that lines of a wasm filter have.
    pub(super) fn log(&self, level: Level, line: &str) {
        abi::log(level, &format!("{}: {line}", self.name));
    }

    /// Ends the definition of metrics, and, where the store `needs_flush`, prepares the main
    /// thread for calls.
    pub(super) fn loaded(&self, needs_flush: bool) {
        let metrics = std::mem::take(&mut *lock(&self.new_metrics));
        let _ = self.metrics.set(metrics);
        if needs_flush {
            *lock(&self.scheduler) = Some(self.envoy.scheduler());
        }
    }

    /// Envoy is about to drop its part.
    pub(super) fn closed(&self) {
        lock(&self.scheduler).take();
    }

    /// Returns the metrics, once the configuration is loaded.
    pub(super) fn metrics(&self) -> Option<&Metrics> {
        self.metrics.get()
    }

    /// Returns the metrics while they are being defined.
    pub(super) fn new_metrics(&self) -> MutexGuard<'_, Metrics> {
        lock(&self.new_metrics)
    }

    /// Has the main thread make the calls that wait. Returns whether it can be woken.
    pub(super) fn wake_main_thread(&self) -> bool {
        let scheduler = lock(&self.scheduler);
        scheduler.as_ref().inspect(|main| main.wake()).is_some()
    }
}
