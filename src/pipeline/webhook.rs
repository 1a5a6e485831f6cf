//! One webhook of the configuration.

use std::mem;

use crate::config::settings::{OnDuplicate, WebhookSettings};
use crate::pipeline::limits::Rules;
use crate::store::port::{NonceTableSettings, Tables};

/// One webhook of the configuration.
#[derive(Debug)]
pub struct Webhook {
    /// Its index in the configuration, for metrics and the store.
    pub index: usize,
    /// How it is configured, its rate limits aside.
    pub settings: WebhookSettings,
    /// Its rate limits.
    pub limits: Rules,
}

impl Webhook {
    /// Returns the webhook at this index of the configuration.
    pub fn new(index: usize, mut settings: WebhookSettings) -> Webhook {
        let rules = mem::take(&mut settings.rate_limits);
        Webhook {
            index,
            settings,
            limits: Rules::new(rules),
        }
    }

    /// Returns what a store has to keep for it.
    pub fn tables(&self, limit_capacity: usize) -> Tables {
        let replay = self.settings.replay.as_ref();
        Tables {
            nonces: replay.map(|replay| NonceTableSettings {
                rules: replay.rules.clone(),
                awaits_outcome: replay.on_duplicate == OnDuplicate::Acknowledge,
            }),
            limits: self.limits.tables(),
            limit_capacity,
        }
    }
}
