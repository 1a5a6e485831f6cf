//! Nonces and limits in the memory that the workers of one Envoy share.

use std::cell::{Cell, RefCell};
use std::mem;
use std::rc::Rc;

use crate::cas_map::{CasMap, Entry, Result, Version};
use crate::store::local::limiter::{CheckResult, Limiter};
use crate::store::local::nonces::{Change, Claim, Claimed, NonceTable};
use crate::store::port::{
    ClaimRequest, Decision, HashKey, LimitCheck, Progress, Query, Report, Store, StoreCall, Tables,
    UpstreamOutcome,
};
use crate::time::{Millis, Timestamp};

/// The tables of all webhooks, in memory that the workers share.
pub struct LocalStore {
    memory: CountingMap,
    webhooks: Vec<WebhookTables>,
    hash_key: HashKey,
    report: RefCell<Report>,
}

struct WebhookTables {
    nonces: Option<NonceTable>,
    limiters: Vec<Limiter>,
}

impl LocalStore {
    /// Returns the store with the tables of these webhooks, all in `memory`.
    pub fn new(webhooks: &[Tables], memory: Rc<dyn CasMap>, hash_key: HashKey) -> LocalStore {
        let open = |tables: &Tables| WebhookTables {
            nonces: tables.nonces.as_ref().map(|settings| {
                NonceTable::new(settings.rules.clone()).awaiting_outcome(settings.awaits_outcome)
            }),
            limiters: tables
                .limits
                .iter()
                .map(|own| Limiter::new(&own.table, own.limit, tables.limit_capacity))
                .collect(),
        };
        LocalStore {
            memory: CountingMap {
                memory,
                conflicts: Cell::new(0),
            },
            webhooks: webhooks.iter().map(open).collect(),
            hash_key,
            report: RefCell::default(),
        }
    }

    /// Returns the counters of a limit.
    pub(in crate::store) fn limiter(&self, webhook: usize, check: LimitCheck) -> Option<&Limiter> {
        self.webhooks.get(webhook)?.limiters.get(check.rule)
    }

    /// Returns the nonces of a webhook.
    pub(in crate::store) fn nonces(&self, webhook: usize) -> Option<&NonceTable> {
        self.webhooks.get(webhook)?.nonces.as_ref()
    }

    /// Changes what the next report says.
    pub(in crate::store) fn note(&self, note: impl FnOnce(&mut Report)) {
        note(&mut self.report.borrow_mut());
    }

    fn note_change(&self, change: Change) {
        self.note(|report| {
            report.nonces = report.nonces.saturating_add(change.entries);
            if change.evicted > 0 {
                report.evicted = report.evicted.saturating_add(change.evicted);
                report.evicted_age = change.evicted_age;
            }
        });
    }

    /// Decides a query: see [`Store::admit`].
    fn decide(&self, query: &Query, now: Timestamp) -> Result<Decision> {
        let nonces = self.nonces(query.webhook);
        if let (Some(request), Some(nonces)) = (&query.claim, nonces)
            && !query.limits.is_empty()
            && let Some(prior) = nonces.find_prior(&self.memory, request.nonce, now)?
        {
            return Ok(Decision::Duplicate(prior));
        }
        if let Some(limited) = self.count(query.webhook, &query.limits, now)? {
            return Ok(limited);
        }
        let request = query.claim;
        let Some(claim) = request.and_then(|request| self.prepare(query.webhook, request, now))
        else {
            return Ok(Decision::Admitted(None));
        };
        let claimed = self.insert(query.webhook, claim, now);
        if !matches!(claimed, Ok(Decision::Admitted(_))) {
            self.undo(query.webhook, &query.limits, now);
        }
        claimed
    }

    /// Counts a request by every limit, or by none: what one limit rejects, the others
    /// have not counted. Returns the first limit that is used up.
    pub(in crate::store) fn count(
        &self,
        webhook: usize,
        checks: &[LimitCheck],
        now: Timestamp,
    ) -> Result<Option<Decision>> {
        for (index, check) in checks.iter().enumerate() {
            let Some(limiter) = self.limiter(webhook, *check) else {
                continue;
            };
            let wait = if check.counts {
                let taken = limiter.check_and_count(&self.memory, check.key_hash, now);
                taken.map(|taken| match taken {
                    CheckResult::Limited(wait) => Some(wait),
                    CheckResult::Permitted(_) => None,
                })
            } else {
                limiter.check(&self.memory, check.key_hash, now)
            };
            if !matches!(wait, Ok(None)) {
                self.undo(webhook, checks.get(..index).unwrap_or_default(), now);
            }
            if let Some(wait) = wait? {
                return Ok(Some(Decision::Limited {
                    check: *check,
                    wait,
                }));
            }
        }
        Ok(None)
    }

    /// Takes back what was counted. What cannot be taken back counts: nothing passes for it.
    fn undo(&self, webhook: usize, checks: &[LimitCheck], now: Timestamp) {
        for check in checks.iter().filter(|check| check.counts) {
            if let Some(limiter) = self.limiter(webhook, *check) {
                let permit = limiter.permit_at(now);
                let _ = limiter.undo(&self.memory, check.key_hash, permit, now);
            }
        }
    }

    /// Returns the claim that a request would make, not made yet.
    pub(in crate::store) fn prepare(
        &self,
        webhook: usize,
        request: ClaimRequest,
        now: Timestamp,
    ) -> Option<Claim> {
        let nonces = self.nonces(webhook)?;
        Some(nonces.prepare(request.nonce, request.id, request.signed_until, now))
    }

    /// Makes a claim that was prepared.
    pub(in crate::store) fn insert(
        &self,
        webhook: usize,
        claim: Claim,
        now: Timestamp,
    ) -> Result<Decision> {
        let Some(nonces) = self.nonces(webhook) else {
            return Ok(Decision::Admitted(None));
        };
        Ok(match nonces.insert(&self.memory, claim, now)? {
            Claimed::Yes(claim, change) => {
                self.note_change(change);
                Decision::Admitted(Some(claim))
            }
            Claimed::Duplicate(prior) => Decision::Duplicate(prior),
            Claimed::Full => Decision::Full,
            Claimed::Damaged => Decision::Unavailable,
        })
    }

    /// Settles a claim. Where that fails, the claim expires by itself.
    pub(in crate::store) fn settle_claim(
        &self,
        webhook: usize,
        claim: &Claim,
        outcome: UpstreamOutcome,
        now: Timestamp,
    ) -> Result<Change> {
        let Some(nonces) = self.nonces(webhook) else {
            return Ok(Change::default());
        };
        let change = match outcome {
            UpstreamOutcome::Processed => nonces.complete(&self.memory, claim, now),
            UpstreamOutcome::Failed => nonces.release(&self.memory, claim, now),
            UpstreamOutcome::ClientGone => nonces.abandon(&self.memory, claim, now),
        }?;
        self.note_change(change);
        Ok(change)
    }

    /// Settles a claim by what became of its request, and notes that. Returns whether it was
    /// released; `None` if it was not here, or that failed.
    pub(in crate::store) fn settle_request(
        &self,
        webhook: usize,
        claim: &Claim,
        outcome: UpstreamOutcome,
        now: Timestamp,
    ) -> Option<bool> {
        let settled = self.settle_claim(webhook, claim, outcome, now);
        let released = settled.ok().and_then(|change| change.released);
        self.note(|report| {
            report.errors += u64::from(settled.is_err());
            report.released += u64::from(released == Some(true));
        });
        released
    }

    /// Stores what another Envoy knows of a nonce that is claimed here. Where that fails,
    /// the next repeat is asked for again.
    pub(in crate::store) fn record_remote(
        &self,
        webhook: usize,
        claim: &Claim,
        is_processed: bool,
        left: Millis,
        now: Timestamp,
    ) {
        if let Some(nonces) = self.nonces(webhook) {
            let _ = nonces.record_remote(&self.memory, claim, is_processed, left, now);
        }
    }
}

impl Store for LocalStore {
    fn hash_key(&self) -> HashKey {
        self.hash_key
    }

    fn admit(&self, query: Query, now: Timestamp) -> Progress {
        Progress::Done(self.decide(&query, now).unwrap_or(Decision::Unavailable))
    }

    fn is_settled(&self, claim: &Claim, outcome: UpstreamOutcome) -> bool {
        outcome == UpstreamOutcome::Processed && claim.is_completed()
    }

    fn settle(
        &self,
        webhook: usize,
        claim: &Claim,
        outcome: UpstreamOutcome,
        now: Timestamp,
    ) -> Option<StoreCall> {
        self.settle_request(webhook, claim, outcome, now);
        None
    }

    fn flush(&self, _now: Timestamp) -> Option<StoreCall> {
        None
    }

    fn needs_flush(&self) -> bool {
        false
    }

    fn take_report(&self) -> Report {
        Report {
            conflicts: self.memory.conflicts.take(),
            ..mem::take(&mut *self.report.borrow_mut())
        }
    }
}

/// Counts how often another worker was faster.
struct CountingMap {
    memory: Rc<dyn CasMap>,
    conflicts: Cell<u64>,
}

impl CasMap for CountingMap {
    fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.memory.get(key)
    }

    fn compare_and_swap(&self, key: &str, expected: Option<Version>, value: &[u8]) -> Result<bool> {
        let is_written = self.memory.compare_and_swap(key, expected, value)?;
        if !is_written {
            self.conflicts.set(self.conflicts.get().saturating_add(1));
        }
        Ok(is_written)
    }
}
