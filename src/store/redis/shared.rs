//! What a worker knows of Redis: shared by the store and the calls that it has handed out.

use crate::store::local::nonces::{Claim, NonceRules, NonceTable};
use crate::store::local::store::LocalStore;
use crate::store::port::{LimitCheck, Notice, NoticeLevel, UpstreamOutcome};
use crate::store::redis::circuit_breaker::CircuitBreaker;
use crate::store::redis::correlation::Correlations;
use crate::store::redis::gone_queue::GoneQueue;
use crate::store::redis::keyspace::{Keyspace, counter};
use crate::store::redis::over_limit_cache::OverLimitCache;
use crate::store::redis::script_reply::Failure;
use crate::store::redis::scripts::Scripts;
use crate::store::redis::settings::{OnStoreError, RedisSettings};
use crate::store::redis::settlement_queue::{Settlement, SettlementQueue};
use crate::time::{Millis, Timestamp};

/// What a worker knows of Redis.
pub struct Shared {
    /// How it is reached.
    pub settings: RedisSettings,
    /// What runs there.
    pub scripts: Scripts,
    /// What its questions are called.
    pub correlations: Correlations,
    /// What keys are called there.
    pub keyspace: Keyspace,
    /// Whether it is asked at all.
    pub circuit: CircuitBreaker,
    /// What it need not be asked.
    pub over_limit: OverLimitCache,
    /// What it is still to be told.
    pub queue: SettlementQueue,
    /// Whom it is still to count.
    pub gone: GoneQueue,
    /// The tables in front.
    pub local: LocalStore,
}

impl Shared {
    /// Returns what is known of a Redis that was not asked yet.
    /// `random` is this worker's own.
    pub fn new(settings: RedisSettings, local: LocalStore, random: [u8; 16]) -> Shared {
        Shared {
            keyspace: Keyspace::new(&settings.key_prefix),
            settings,
            scripts: Scripts::new(),
            correlations: Correlations::new(random),
            circuit: CircuitBreaker::default(),
            over_limit: OverLimitCache::default(),
            queue: SettlementQueue::default(),
            gone: GoneQueue::default(),
            local,
        }
    }

    /// Returns whether this Envoy decides by itself while Redis does not answer.
    pub fn falls_back(&self) -> bool {
        self.settings.on_error == OnStoreError::Local
    }

    /// Returns the rules of a webhook's nonces.
    pub fn rules(&self, webhook: usize) -> Option<&NonceRules> {
        self.local.nonces(webhook).map(NonceTable::rules)
    }

    /// Returns the first of these limits that is known to be used up, and for how long yet.
    pub fn known_limit(
        &self,
        webhook: usize,
        checks: &[LimitCheck],
        now: Timestamp,
    ) -> Option<(LimitCheck, Millis)> {
        checks.iter().find_map(|check| {
            let limiter = self.local.limiter(webhook, *check)?;
            let wait = self.over_limit.wait(counter(limiter, *check), now)?;
            Some((*check, wait))
        })
    }

    /// Returns what Redis is to be told of a claim.
    pub fn settlement(
        &self,
        webhook: usize,
        claim: &Claim,
        outcome: UpstreamOutcome,
        now: Timestamp,
    ) -> Option<Settlement> {
        let rules = self.rules(webhook)?;
        Some(Settlement::new(claim, rules, outcome, now))
    }

    /// Notes that Redis has answered.
    pub fn record_success(&self) {
        let was_open = self.circuit.is_open();
        self.circuit.record_success();
        if was_open {
            self.local.note(|report| {
                report.open_circuits -= 1;
                report.notices.push(Notice {
                    level: NoticeLevel::Info,
                    text: "Redis answers again".into(),
                });
            });
        }
    }

    /// Notes that Redis has not answered, or not with what can be used.
    pub fn record_failure(&self, failure: Failure, now: Timestamp) {
        let was_open = self.circuit.is_open();
        self.circuit.record_failure(now);
        let has_opened = self.circuit.is_open() && !was_open;
        self.local.note(|report| {
            report.call_failures += 1;
            if has_opened {
                report.open_circuits += 1;
                report.notices.push(Notice {
                    level: NoticeLevel::Error,
                    text: format!(
                        "Redis (cluster {}) failed again and again: {}",
                        self.settings.cluster,
                        failure.describe(self.settings.timeout)
                    ),
                });
            }
        });
    }
}
