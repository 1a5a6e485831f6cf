//! Counters in Envoy's stats.
//!
//! Every combination of webhook and verdict is a metric of its own, defined with the
//! configuration: a fixed set, whatever is requested.

use std::time::Duration;

use crate::pipeline::filter::Filter;
use crate::pipeline::verdict::{ACCEPTED, EXEMPT, Outcome, RequestRecord, UNCHECKED};
use crate::reason::Reason;
use crate::store::port::Report;
use crate::stream::host::{Host, HostError, Metric, MetricKind};

/// The version of the filter.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How many workers' circuits are open.
pub const CIRCUITS_OPEN: &str = "twilio_webhook.store_circuits_open";

/// How many settlements were lost.
pub const SETTLEMENTS_LOST: &str = "twilio_webhook.store_settlements_lost";

/// All metrics of one configuration.
pub(super) struct Metrics {
    /// Always 1: its labels say what runs.
    build_info: Metric,
    /// By webhook (the last is "none"), then by verdict as in [`verdicts`].
    requests: Vec<Vec<Metric>>,
    /// By place in the keyring.
    keys: Vec<Metric>,
    nonces_released: Metric,
    nonces_evicted: Metric,
    nonces_refused_for_space: Metric,
    nonces_in_use: Metric,
    nonces_last_evicted_age: Metric,
    store_conflicts: Metric,
    store_errors: Metric,
    store_callouts: Metric,
    store_callout_failures: Metric,
    store_callouts_misdelivered: Metric,
    store_callouts_retried: Metric,
    store_callout_microseconds: Metric,
    store_circuits_open: Metric,
    store_fallbacks: Metric,
    store_settlements_lost: Metric,
}

/// Where a request belongs to no webhook.
const NO_WEBHOOK: &str = "none";

/// Every verdict: the reasons in their order, then the others.
fn verdicts() -> impl Iterator<Item = &'static str> {
    let reasons = Reason::ALL.iter().map(|reason| reason.name());
    reasons.chain([ACCEPTED, EXEMPT, UNCHECKED])
}

/// Returns the place of an outcome among [`verdicts`].
fn place_of(outcome: &Outcome) -> usize {
    match outcome {
        // In the order of `Reason::ALL`.
        Outcome::Rejected(rejection) => rejection.reason as usize,
        Outcome::Accepted(_) => Reason::ALL.len(),
        Outcome::Exempt => Reason::ALL.len() + 1,
        Outcome::Unchecked => Reason::ALL.len() + 2,
    }
}

impl Metrics {
    /// Defines all metrics.
    pub(super) fn define<H: Host>(host: &H, filter: &Filter) -> Result<Metrics, HostError> {
        let define = |kind, name: &str, labels: &[(&str, &str)]| {
            host.define_metric(kind, &format!("twilio_webhook.{name}"), labels)
        };
        let counter = |name: &str| define(MetricKind::Counter, name, &[]);
        let gauge = |name: &str| define(MetricKind::Gauge, name, &[]);
        let webhooks = filter.webhooks().iter();
        let labels = webhooks.map(|webhook| webhook.settings.label.as_str());
        let of_webhook = |webhook: &str| {
            let labels = |verdict| [("verdict", verdict), ("webhook", webhook)];
            verdicts()
                .map(|verdict| define(MetricKind::Counter, "requests", &labels(verdict)))
                .collect()
        };
        let requests: Result<_, _> = labels.chain([NO_WEBHOOK]).map(of_webhook).collect();
        let keyring = &filter.settings().keyring;
        let keys = (0..keyring.len()).filter_map(|index| keyring.get(index));
        let keys: Result<_, _> = keys
            .map(|key| {
                let label = plain(&key.label);
                define(MetricKind::Counter, "signatures", &[("key", &label)])
            })
            .collect();
        Ok(Metrics {
            build_info: define(
                MetricKind::Gauge,
                "build_info",
                &[("version", VERSION), ("host", H::NAME)],
            )?,
            requests: requests?,
            keys: keys?,
            nonces_released: counter("nonces_released")?,
            nonces_evicted: counter("nonces_evicted")?,
            nonces_refused_for_space: counter("nonces_refused_for_space")?,
            nonces_in_use: gauge("nonces_in_use")?,
            nonces_last_evicted_age: gauge("nonces_last_evicted_age_seconds")?,
            store_conflicts: counter("store_cas_retries")?,
            store_errors: counter("store_errors")?,
            store_callouts: counter("store_callouts")?,
            store_callout_failures: counter("store_callout_failures")?,
            store_callouts_misdelivered: counter("store_callouts_misdelivered")?,
            store_callouts_retried: counter("store_callouts_retried")?,
            store_callout_microseconds: define(
                MetricKind::Histogram,
                "store_callout_microseconds",
                &[],
            )?,
            store_circuits_open: host.define_metric(MetricKind::Gauge, CIRCUITS_OPEN, &[])?,
            store_fallbacks: counter("store_fallbacks")?,
            store_settlements_lost: host.define_metric(
                MetricKind::Counter,
                SETTLEMENTS_LOST,
                &[],
            )?,
        })
    }

    /// Says what runs.
    pub(super) fn publish_build(&self, host: &impl Host) {
        host.record(self.build_info, 1);
    }

    /// Counts a verdict. Without a record nothing is known of the request.
    pub(super) fn count(
        &self,
        host: &impl Host,
        outcome: &Outcome,
        record: Option<&RequestRecord>,
    ) {
        let none = self.requests.len().saturating_sub(1);
        let verdict = place_of(outcome);
        let webhook = record.and_then(|record| record.webhook.as_ref());
        let webhook = webhook.map_or(none, |webhook| webhook.index);
        let of_webhook = self.requests.get(webhook);
        if let Some(metric) = of_webhook.and_then(|metrics| metrics.get(verdict)) {
            host.increment(*metric, 1);
        }
        let key = record.and_then(|record| record.key);
        if let Some(metric) = key.and_then(|key| self.keys.get(key)) {
            host.increment(*metric, 1);
        }
        if let Outcome::Rejected(rejection) = outcome {
            match rejection.reason {
                Reason::StoreFull => host.increment(self.nonces_refused_for_space, 1),
                Reason::StoreUnavailable => host.increment(self.store_errors, 1),
                _ => {}
            }
        }
    }

    /// Counts what has happened in the store.
    pub(super) fn count_report(&self, host: &impl Host, report: &Report) {
        let count = |metric: Metric, by: i64| {
            if by != 0 {
                host.increment(metric, by);
            }
        };
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        count(self.nonces_in_use, report.nonces);
        count(self.nonces_released, signed(report.released));
        count(self.nonces_evicted, signed(report.evicted));
        if report.evicted > 0 {
            host.record(self.nonces_last_evicted_age, report.evicted_age.0 / 1000);
        }
        count(self.store_conflicts, signed(report.conflicts));
        count(self.store_errors, signed(report.errors));
        count(self.store_callout_failures, signed(report.call_failures));
        let misdelivered = signed(report.calls_misdelivered);
        count(self.store_callouts_misdelivered, misdelivered);
        count(self.store_callouts_retried, signed(report.calls_retried));
        count(self.store_circuits_open, report.open_circuits);
        count(self.store_fallbacks, signed(report.fallbacks));
        self.count_lost(host, report.settlements_lost);
    }

    /// Counts settlements that were lost.
    pub(super) fn count_lost(&self, host: &impl Host, settlements: u64) {
        if settlements > 0 {
            let lost = i64::try_from(settlements).unwrap_or(i64::MAX);
            host.increment(self.store_settlements_lost, lost);
        }
    }

    /// Counts a call.
    pub(super) fn count_call(&self, host: &impl Host) {
        host.increment(self.store_callouts, 1);
    }

    /// Records how long a call took, answered or not.
    pub(super) fn record_call(&self, host: &impl Host, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        host.record(self.store_callout_microseconds, micros);
    }
}

/// A label in `[a-z0-9_-]`.
fn plain(label: &str) -> String {
    let plain = |char: char| match char.to_ascii_lowercase() {
        char @ ('a'..='z' | '0'..='9' | '_' | '-') => char,
        _ => '_',
    };
    label.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::verdict::Accepted;
    use crate::signature::key::Nonce;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn each_verdict_is_counted_at_its_own_place() {
        let rejected = Reason::ALL.map(|reason| Outcome::Rejected(reason.into()));
        let accepted = Outcome::Accepted(Accepted {
            nonce: Nonce([0; 32]),
            claim: None,
        });
        let others = [accepted, Outcome::Exempt, Outcome::Unchecked];
        let all: Vec<_> = rejected.into_iter().chain(others).collect();
        assert_eq!(verdicts().count(), all.len());
        for (name, outcome) in verdicts().zip(&all) {
            assert_eq!(verdicts().nth(place_of(outcome)), Some(name));
            assert_eq!(outcome.name(), name);
        }
    }
}
