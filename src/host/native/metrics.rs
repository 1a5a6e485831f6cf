//! The metrics of a configuration: defined with it on the main thread, and looked up by the
//! workers, since Envoy allows no definition later.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::host::native::abi;
use crate::stream::host::{HostError, Metric, MetricKind};

/// The metrics of a configuration.
#[derive(Default)]
pub(super) struct Metrics {
    /// By name: what several metrics with other values of their labels share.
    definitions: HashMap<String, usize>,
    /// By name and labels, the place in `all`.
    places: HashMap<String, u32>,
    all: Vec<abi::Metric>,
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
        config: abi::FilterConfig,
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
        self.all.push(config.metric(kind, id, labels));
        self.places.insert(key(name, labels), place);
        Ok(Metric(place))
    }

    /// Returns what Envoy knows a metric by.
    pub(super) fn get(&self, metric: Metric) -> Option<&abi::Metric> {
        self.all.get(usize::try_from(metric.0).ok()?)
    }
}
