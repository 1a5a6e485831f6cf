//! Counters in Envoy's stats.
//!
//! Envoy gives a metric of a wasm filter labels only by a pattern in its name
//! (`stats_tags` in the bootstrap; see `envoy/envoy.yaml`), so every combination of
//! webhook and verdict has a metric of its own, defined with the configuration:
//! a fixed set, whatever is requested.

use std::time::Duration;

use crate::config::settings::Settings;
use crate::host::wasm::abi::{self as host, HostError, Metric, MetricKind};
use crate::pipeline::verdict::{ACCEPTED, EXEMPT, Outcome, RequestRecord, UNCHECKED};
use crate::reason::Reason;
use crate::store::local::nonces::Change;

/// All metrics of one configuration.
pub(super) struct Metrics {
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

impl Metrics {
    /// Defines all metrics.
    pub(super) fn define(settings: &Settings) -> Result<Metrics, HostError> {
        let webhooks = settings
            .webhooks
            .iter()
            .map(|webhook| webhook.label.as_str());
        let of_webhook = |webhook: &str| {
            let name = |verdict| format!("requests.verdict.{verdict}.webhook.{webhook}");
            verdicts().map(|verdict| counter(&name(verdict))).collect()
        };
        let requests: Result<_, _> = webhooks.chain([NO_WEBHOOK]).map(of_webhook).collect();
        let keys = (0..settings.keyring.len()).filter_map(|index| settings.keyring.get(index));
        let keys: Result<_, _> = keys
            .map(|key| counter(&format!("signatures.key.{}", plain(&key.label))))
            .collect();
        Ok(Metrics {
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
            store_callout_microseconds: histogram("store_callout_microseconds")?,
            store_circuits_open: gauge("store_circuits_open")?,
            store_fallbacks: counter("store_fallbacks")?,
            store_settlements_lost: counter("store_settlements_lost")?,
        })
    }

    /// Counts a verdict.
    pub(super) fn count(&self, outcome: &Outcome, facts: &RequestRecord) {
        let none = self.requests.len().saturating_sub(1);
        let verdict = verdicts().position(|name| name == outcome.name());
        let of_webhook = self.requests.get(facts.webhook.unwrap_or(none));
        if let Some(metric) = of_webhook.and_then(|metrics| metrics.get(verdict?)) {
            host::increment(*metric, 1);
        }
        if let Some(metric) = facts.key.and_then(|index| self.keys.get(index)) {
            host::increment(*metric, 1);
        }
        if let Outcome::Rejected(rejection) = outcome {
            match rejection.reason {
                Reason::StoreFull => host::increment(self.nonces_refused_for_space, 1),
                Reason::StoreUnavailable => host::increment(self.store_errors, 1),
                _ => {}
            }
        }
        if facts.used_local_fallback {
            host::increment(self.store_fallbacks, 1);
        }
        self.count_change(facts.change);
    }

    /// Counts what happened to the table of nonces.
    pub(super) fn count_change(&self, change: Change) {
        host::increment(self.nonces_in_use, change.entries);
        let evicted = i64::try_from(change.evicted).unwrap_or(i64::MAX);
        host::increment(self.nonces_evicted, evicted);
        if evicted > 0 {
            host::record(self.nonces_last_evicted_age, change.evicted_age.0 / 1000);
        }
    }

    /// A nonce was given up for the sender's retry.
    pub(super) fn count_release(&self) {
        host::increment(self.nonces_released, 1);
    }

    /// The store failed where no verdict tells of it.
    pub(super) fn count_store_error(&self) {
        host::increment(self.store_errors, 1);
    }

    /// Redis is asked.
    pub(super) fn count_callout(&self) {
        host::increment(self.store_callouts, 1);
    }

    /// It did not answer, or not with what can be used.
    pub(super) fn count_callout_failure(&self) {
        host::increment(self.store_callout_failures, 1);
    }

    /// How long a question to Redis took, answered or not.
    pub(super) fn record_callout(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        host::record(self.store_callout_microseconds, micros);
    }

    /// By how much the number of workers grew that do not ask Redis for now.
    pub(super) fn count_open_circuits(&self, more: i64) {
        host::increment(self.store_circuits_open, more);
    }

    /// What Redis was to be told of upstreams' answers, and never was.
    pub(super) fn count_lost_settlements(&self, lost: u64) {
        host::increment(
            self.store_settlements_lost,
            i64::try_from(lost).unwrap_or(i64::MAX),
        );
    }

    /// Compare-and-swaps that another worker made fail.
    pub(super) fn count_conflicts(&self, conflicts: i64) {
        host::increment(self.store_conflicts, conflicts);
    }
}

fn full_name(name: &str) -> String {
    format!("twilio_webhook.{name}")
}

fn counter(name: &str) -> Result<Metric, HostError> {
    host::define_metric(MetricKind::Counter, &full_name(name))
}

fn histogram(name: &str) -> Result<Metric, HostError> {
    host::define_metric(MetricKind::Histogram, &full_name(name))
}

fn gauge(name: &str) -> Result<Metric, HostError> {
    host::define_metric(MetricKind::Gauge, &full_name(name))
}

/// A label in `[a-z0-9_-]`.
fn plain(label: &str) -> String {
    let plain = |char: char| match char.to_ascii_lowercase() {
        char @ ('a'..='z' | '0'..='9' | '_' | '-') => char,
        _ => '_',
    };
    label.chars().map(plain).collect()
}
