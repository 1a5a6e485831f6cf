//! What an operator works with: configuration that explains itself, hints and lines in Envoy's real log, metrics and
//! the rules on them in a real Prometheus, updates of a running Envoy.
//!
//! `scripts/test operators` runs them; alone: `scripts/setup --tests && cargo test --test operators`.

/// What several of these tests look at: log lines, metrics, Envoy's files.
mod view;

/// The JSON Schema says the same as the filter.
mod schema;

/// So it does for documents that nobody wrote.
mod agreement;

/// Every configuration that documentation and files show.
mod examples;

/// `envoy --mode validate`.
mod validate;

/// Updates of a running Envoy.
mod updates;

/// Modes, overrides, rotation: what they do, and what is seen of it.
mod modes;

/// Why a signature does not fit, in Envoy's log.
mod hints;

/// The log under attack: injection, floods, secrets.
mod lines;

/// Metrics, their documentation, and every name in alerts and dashboard.
mod metrics;

/// Alerts and dashboard in a real Prometheus.
mod prometheus;
