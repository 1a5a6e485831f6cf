//! The metrics of a configuration: defined with it on the main thread, and looked up by the
//! workers, since Envoy allows no definition later.
//!
//! What is counted is added up here, and Envoy is told a moment later: it looks for a metric by the
//! values of its labels each time, which takes hundreds of times as long as to add.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::host::native::abi;
use crate::host::native::abi::config::FilterConfig;
use crate::stream::host::{HostError, Metric, MetricKind};
use crate::stream::metrics::{CIRCUITS_OPEN, SETTLEMENTS_LOST};

/// The metrics of a configuration.
#[derive(Default)]
pub(super) struct Metrics {
    /// By name: what several metrics with other values of their labels share.
    definitions: HashMap<String, usize>,
    /// By name and labels, the place in `all`.
    places: HashMap<String, u32>,
    all: Vec<Counted>,
    /// Whether there is anything that Envoy has not been told yet.
    has_untold: AtomicBool,
    /// How many circuits of this configuration's workers are open.
    open_circuits: AtomicI64,
}

struct Counted {
    metric: abi::metric::Metric,
    /// What was added since Envoy was told.
    untold: AtomicI64,
    /// Whether this is how many circuits are open.
    is_of_circuits: bool,
}

fn key(name: &str, labels: &[(&str, &str)]) -> String {
    let mut key = name.to_owned();
    for (label, value) in labels {
        // No name, label or value has a line break in it.
        key.extend(["\n", label, "\n", value]);
    }
    key
}

impl Metrics {
    /// Returns a metric that is defined.
    pub(super) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<Metric> {
        self.places.get(&key(name, labels)).copied().map(Metric)
    }

    /// Defines a metric.
    pub(super) fn define(
        &mut self,
        config: FilterConfig,
        kind: MetricKind,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<Metric, HostError> {
        if let Some(metric) = self.find(name, labels) {
            return Ok(metric);
        }
        let id = match self.definitions.entry(name.to_owned()) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(free) => *free.insert(config.define(kind, name, labels)?),
        };
        let place = u32::try_from(self.all.len()).map_err(|_| HostError(0))?;
        self.all.push(Counted {
            metric: config.metric(kind, id, labels),
            untold: AtomicI64::new(0),
            is_of_circuits: name == CIRCUITS_OPEN,
        });
        self.places.insert(key(name, labels), place);
        Ok(Metric(place))
    }

    /// Returns what Envoy knows a metric by.
    pub(super) fn get(&self, metric: Metric) -> Option<&abi::metric::Metric> {
        self.counted(metric).map(|counted| &counted.metric)
    }

    fn counted(&self, metric: Metric) -> Option<&Counted> {
        self.all.get(usize::try_from(metric.0).ok()?)
    }

    /// Adds to a metric, of which Envoy is told later. On any thread.
    pub(super) fn add(&self, metric: Metric, by: i64) {
        let Some(counted) = self.counted(metric) else {
            return;
        };
        // The count is written and the mark read here, the mark written and the count read in
        // `tell`. Only one order of all four, the same on every thread, has one of them see the other.
        counted.untold.fetch_add(by, Ordering::SeqCst);
        if counted.is_of_circuits {
            self.open_circuits.fetch_add(by, Ordering::SeqCst);
        }
        if !self.has_untold() {
            self.has_untold.store(true, Ordering::SeqCst);
        }
    }

    /// Adds to the settlements that were lost.
    pub(super) fn add_lost(&self, settlements: u64) {
        if let Some(metric) = self.find(SETTLEMENTS_LOST, &[]) {
            self.add(metric, i64::try_from(settlements).unwrap_or(i64::MAX));
        }
    }

    /// Takes back what the gauge shows of this configuration's circuits: its workers have ended,
    /// and nothing closes them any more.
    pub(super) fn take_back_open_circuits(&self) {
        let open = self.open_circuits.load(Ordering::SeqCst);
        if let Some(metric) = self.find(CIRCUITS_OPEN, &[]).filter(|_| open != 0) {
            self.add(metric, -open);
        }
    }

    /// Returns whether there is anything that Envoy has not been told yet.
    pub(super) fn has_untold(&self) -> bool {
        self.has_untold.load(Ordering::SeqCst)
    }

    /// Tells Envoy what was added.
    pub(super) fn tell(&self, config: FilterConfig) {
        if !self.has_untold.swap(false, Ordering::SeqCst) {
            return;
        }
        for counted in &self.all {
            let by = counted.untold.swap(0, Ordering::SeqCst);
            if by != 0 {
                config.add(&counted.metric, by);
            }
        }
    }
}
