//! The store: what the requests of one worker share when nonces and limits live in Redis.

use std::rc::Rc;

use crate::signature::key::sha256;
use crate::store::local::nonces::Claim;
use crate::store::local::store::LocalStore;
use crate::store::port::{
    HashKey, Place, Progress, Query, Report, Store, StoreCall, Untold, UpstreamOutcome,
};
use crate::store::redis::gone_queue::GONE_IN_A_ROW;
use crate::store::redis::pending::{
    Moment, Purpose, admit, call, call_for_gone, call_for_settlements,
};
use crate::store::redis::settings::RedisSettings;
use crate::store::redis::settlement_queue::Waiting;
use crate::store::redis::shared::Shared;
use crate::time::Timestamp;

/// Redis, with the local tables in front, as one worker knows it.
pub struct RedisStore {
    shared: Rc<Shared>,
    hash_key: HashKey,
}

impl RedisStore {
    /// Returns the store, Redis not asked yet. `random` are bytes that no other worker has, and
    /// `derive` makes a secret of the signing keys.
    pub fn new(
        settings: RedisSettings,
        local: LocalStore,
        random: [u8; 16],
        derive: impl FnOnce(&[u8]) -> [u8; 32],
    ) -> RedisStore {
        let shared = Shared::new(settings, local, random);
        RedisStore {
            hash_key: hash_key(&shared, derive),
            shared: Rc::new(shared),
        }
    }

    /// Returns what a worker knows of Redis.
    #[cfg(test)]
    pub(super) fn shared(&self) -> Rc<Shared> {
        Rc::clone(&self.shared)
    }
}

/// What one store hands over to another.
struct HandedOver {
    settlements: Waiting,
    gone: Vec<Query>,
}

/// Returns the key for hashing: the same at all Envoys that share this Redis, and made from
/// what is needed to get into Redis; where that is nothing, from the keys that sign. (Who
/// exchanges one begins the counters anew, once.)
fn hash_key(shared: &Shared, derive: impl FnOnce(&[u8]) -> [u8; 32]) -> HashKey {
    let label = b"twilio-webhook-filter: whom limits count\0";
    let prefix = shared.keyspace.prefix().as_bytes();
    let hash = match &shared.settings.authorization {
        Some(secret) => sha256(&[label, prefix, secret.expose().as_bytes()]),
        None => sha256(&[label, prefix, &derive(label)]),
    };
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(hash) {
        *to = from;
    }
    HashKey(key)
}

impl Store for RedisStore {
    fn hash_key(&self) -> HashKey {
        self.hash_key
    }

    /// What Redis is asked at the end of a request, it need not be asked at its headers: the
    /// checks in between cost less than a question. So only what is decided without one is
    /// decided here.
    fn admit_early(&self, query: Query, now: Timestamp) -> Progress {
        admit(&self.shared, query, Moment::Headers, now)
    }

    fn admit(&self, query: Query, now: Timestamp) -> Progress {
        admit(&self.shared, query, Moment::End, now)
    }

    fn is_settled(&self, _: &Claim, _: UpstreamOutcome) -> bool {
        false
    }

    /// A call of this request would end with it: the next flush counts it.
    fn count_gone(&self, query: Query) {
        self.shared.gone.push(query);
    }

    /// Where the upstream failed, a retry is to pass at every Envoy, so that the response
    /// waits until Redis has heard of it.
    fn settle(
        &self,
        webhook: usize,
        claim: &Claim,
        outcome: UpstreamOutcome,
        now: Timestamp,
    ) -> Option<StoreCall> {
        let shared = &self.shared;
        let released = shared.local.settle_request(webhook, claim, outcome, now);
        if released.is_none() && outcome != UpstreamOutcome::Processed {
            // Redis alone has the claim: the table here had no room for it.
            shared.local.note(|report| report.released += 1);
        }
        let settlement = shared.settlement(webhook, claim, outcome, now)?;
        if outcome == UpstreamOutcome::Failed && shared.circuit.try_acquire(now) {
            let script = shared.keyspace.settle(&[settlement], now);
            let purpose = Purpose::Release(settlement);
            return Some(call(Rc::clone(shared), script, purpose, now));
        }
        shared.queue.push(settlement);
        None
    }

    fn flush(&self, now: Timestamp) -> Option<StoreCall> {
        let shared = &self.shared;
        call_for_settlements(shared, now).or_else(|| call_for_gone(shared, GONE_IN_A_ROW, now))
    }

    fn needs_flush(&self) -> bool {
        true
    }

    fn hand_over(&self) -> Option<Untold> {
        let waiting = HandedOver {
            settlements: self.shared.queue.take_waiting(),
            gone: self.shared.gone.take(),
        };
        let count = waiting.settlements.len();
        (count > 0 || !waiting.gone.is_empty()).then(|| Untold {
            settlements: count as u64,
            is_inherited: false,
            content: Box::new(waiting),
        })
    }

    fn take_over(&self, untold: Untold) {
        if let Ok(mut waiting) = untold.content.downcast::<HandedOver>() {
            while let Some(settlement) = waiting.settlements.pop() {
                self.shared.queue.push(settlement);
            }
            // Another configuration has other webhooks and limits.
            if !untold.is_inherited {
                for gone in waiting.gone {
                    self.shared.gone.push(gone);
                }
            }
        }
    }

    fn place(&self) -> Option<Place<'_>> {
        let settings = &self.shared.settings;
        Some((&settings.cluster, &settings.key_prefix))
    }

    fn close(&self) {
        if self.shared.circuit.is_open() {
            self.shared.circuit.record_success();
            self.shared.local.note(|report| report.open_circuits -= 1);
        }
    }

    fn take_report(&self) -> Report {
        let mut report = self.shared.local.take_report();
        report.settlements_lost += self.shared.queue.take_lost();
        report
    }
}
