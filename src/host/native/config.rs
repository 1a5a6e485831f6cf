//! What Envoy holds of one configuration: shared by the main thread and all workers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use crate::cas_map::sharded::ShardedMap;
use crate::host::native::abi;
use crate::host::native::abi::config::{FilterConfig, Scheduler};
use crate::host::native::lock::lock;
use crate::host::native::metrics::Metrics;
use crate::host::native::timer;
use crate::store::port::{Place, Untold};
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
    /// What the workers' stores have not told yet. The main thread does, as it alone has calls
    /// that no stream's end ends, and a worker without requests has no events.
    untold: Mutex<Vec<Untold>>,
    /// Whom it is told, once the configuration is loaded.
    place: OnceLock<OwnPlace>,
    /// What wakes the main thread; `None` when the configuration is closed.
    scheduler: Mutex<Option<Waking>>,
}

struct Waking {
    scheduler: Scheduler,
    /// Whether it is woken after each period, and not only where something was counted.
    always: bool,
}

/// The configurations whose stores tell a place what became of requests, oldest first.
static OPEN: Mutex<Vec<Weak<Config>>> = Mutex::new(Vec::new());

/// A [`Place`] that is kept.
pub(super) type OwnPlace = (String, String);

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
            untold: Mutex::default(),
            place: OnceLock::new(),
            scheduler: Mutex::new(None),
        }
    }

    /// Writes a line to Envoy's log, in the form that lines of a wasm filter have.
    pub(super) fn log(&self, level: Level, line: &str) {
        abi::log(level, &format!("{}: {line}", self.name));
    }

    /// Ends the definition of metrics.
    pub(super) fn loaded(&self) {
        let metrics = std::mem::take(&mut *lock(&self.new_metrics));
        let _ = self.metrics.set(metrics);
    }

    /// Has the main thread woken after each period that leaves it something to tell, until the
    /// configuration is closed; with `always` after all others, too. `place` is its store's.
    pub(super) fn start_timer(
        self: &Arc<Self>,
        always: bool,
        place: Option<Place<'_>>,
    ) -> Result<(), String> {
        if let Some((cluster, prefix)) = place {
            let _ = self.place.set((cluster.to_owned(), prefix.to_owned()));
            let mut open = lock(&OPEN);
            open.retain(|config| config.strong_count() > 0);
            open.push(Arc::downgrade(self));
        }
        let scheduler = self.envoy.scheduler();
        *lock(&self.scheduler) = Some(Waking { scheduler, always });
        let config = Arc::downgrade(self);
        timer::add(Box::new(move || {
            config.upgrade().is_some_and(|config| config.wake())
        }))
    }

    /// Wakes the main thread, where there is something to tell. Returns whether the configuration
    /// is still open.
    fn wake(&self) -> bool {
        let waking = lock(&self.scheduler);
        let Some(waking) = &*waking else {
            return false;
        };
        if waking.always || self.metrics().is_some_and(Metrics::has_untold) {
            waking.scheduler.wake();
        }
        true
    }

    /// Tells Envoy what was counted.
    pub(super) fn tell_metrics(&self) {
        if let Some(metrics) = self.metrics() {
            metrics.tell(self.envoy);
        }
    }

    /// Leaves for the main thread what a worker's store has not told yet.
    pub(super) fn leave_untold(&self, untold: Untold) {
        lock(&self.untold).push(untold);
    }

    /// Takes what the workers' stores have not told yet.
    pub(super) fn take_untold(&self) -> Vec<Untold> {
        std::mem::take(&mut *lock(&self.untold))
    }

    /// Leaves what is still to be told when a configuration has ended to one that is open and
    /// has a store of the same place, or counts it as lost, here.
    pub(super) fn leave_to_another(&self, place: Option<&OwnPlace>, mut untold: Untold) {
        let heir = lock(&OPEN).iter().rev().find_map(|config| {
            let config = config.upgrade()?;
            let fits = config.is_open() && config.place.get() == place;
            fits.then_some(config)
        });
        match heir {
            Some(heir) => {
                untold.is_inherited = true;
                heir.leave_untold(untold);
            }
            None => {
                if let Some(metrics) = self.metrics() {
                    metrics.add_lost(untold.settlements);
                }
            }
        }
    }

    fn is_open(&self) -> bool {
        lock(&self.scheduler).is_some()
    }

    /// Envoy is about to drop its part.
    pub(super) fn closed(&self) {
        lock(&self.scheduler).take();
        for untold in self.take_untold() {
            self.leave_to_another(self.place.get(), untold);
        }
        if let Some(metrics) = self.metrics() {
            metrics.take_back_open_circuits();
        }
        self.tell_metrics();
    }

    /// Returns the metrics, once the configuration is loaded.
    pub(super) fn metrics(&self) -> Option<&Metrics> {
        self.metrics.get()
    }

    /// Returns the metrics while they are being defined.
    pub(super) fn new_metrics(&self) -> MutexGuard<'_, Metrics> {
        lock(&self.new_metrics)
    }
}
