//! Which requests were accepted, so that none is accepted again.
//!
//! A request claims its nonce when every other check has passed, before a byte of
//! it reaches the upstream; the upstream's outcome then completes the claim or releases
//! it. All of it happens in one bucket by compare-and-swap, so of any number of
//! identical requests over all workers exactly one claim succeeds.
//!
//! **Capacity.** The number of buckets is fixed ([`BUCKETS`]), so a nonce has the same
//! bucket whatever the capacity is, and a changed capacity neither moves nor loses a
//! record. Tables of up to [`MAX_IN_ONE_BUCKET`] records are exact: they have a bucket of
//! their own. A copy of each of their records goes into the buckets of all others, so that
//! nothing is lost either when a capacity becomes that small, or larger again: small
//! tables, meant for tests and demonstrations, pay for that with two claims.
//!
//! **Shares.** The capacity sets how many slots a table has in each bucket: its share of
//! it. Tables with the same share (webhooks of one capacity; a worker before and after an
//! update that leaves the capacity alone) share their slots. Every table finds the records
//! of all others, but counts and evicts only those of its own share. So a small table is
//! not full because a large one is, and does not evict what the large one has to retain; a
//! table that was full has room as soon as its capacity is changed. The price: while
//! records of several capacities are stored, a bucket holds the sum of their shares.
//!
//! **Damaged buckets.** A value that this code did not write says nothing about
//! what was accepted. It is replaced by an empty bucket that rejects every claim
//! for as long as any record is pinned; after that, nothing that was lost matters.
//!
//! **Clocks.** Times are compared with the clock of the moment. If it goes back, records
//! live longer. If it jumps ahead and back, what was accepted meanwhile is pinned for as
//! long as any record can be, counted from when that is first seen: otherwise it would
//! fill the table for as long as the jump was.

mod bucket;
mod terms;

use crate::cas_map::{CasMap, Result, Update, update};
use crate::signature::key::Nonce;
use crate::store::local::buckets::Buckets;
use crate::time::{Millis, Timestamp};
use bucket::{Bucket, NonceRecord, State};
pub use terms::{
    Change, Claim, Claimed, IN_FLIGHT, MAX_ABANDONED, NonceRules, OnFull, PriorDelivery,
};

/// The table of accepted requests.
pub struct NonceTable {
    buckets: Buckets,
    /// The mark of the records whose slots this table shares.
    share: u16,
    rules: NonceRules,
    awaits_outcome: bool,
    /// Where a table of a single bucket puts what all others have to find.
    copies: Option<Box<NonceTable>>,
}

impl NonceTable {
    /// Makes a table by these rules. All tables in one store find each other's records.
    pub fn new(rules: NonceRules) -> NonceTable {
        let buckets = buckets(rules.capacity);
        let copies = (buckets.count() == 1).then(|| NonceTable {
            buckets: Buckets::new(NAME, BUCKETS, SLOTS_OF_COPIES),
            share: COPIES,
            rules: rules.clone(),
            awaits_outcome: false,
            copies: None,
        });
        NonceTable {
            share: u16::try_from(buckets.slots()).unwrap_or(u16::MAX),
            buckets,
            rules,
            awaits_outcome: false,
            copies: copies.map(Box::new),
        }
    }

    /// Sets whether a repeat has to be told if the upstream has taken the first delivery
    /// or is about to. Then no claim is completed in advance: its outcome has to write that.
    pub fn awaiting_outcome(self, awaits_outcome: bool) -> NonceTable {
        NonceTable {
            awaits_outcome,
            copies: self
                .copies
                .map(|copies| Box::new(copies.awaiting_outcome(awaits_outcome))),
            ..self
        }
    }

    /// The rules that the table was made by.
    pub fn rules(&self) -> &NonceRules {
        &self.rules
    }

    /// Returns how many keys the table can ever have in the store.
    pub fn keys(&self) -> u64 {
        let copies = self.copies.as_ref().map_or(0, |copies| copies.keys());
        self.buckets.count() + copies
    }

    /// Returns what is known of an earlier delivery that makes this one a repeat. Claims
    /// nothing.
    ///
    /// # Errors
    /// The store's own.
    pub fn find_prior(
        &self,
        store: &impl CasMap,
        nonce: Nonce,
        now: Timestamp,
    ) -> Result<Option<PriorDelivery>> {
        let entry = store.get(&self.key(nonce))?;
        // Of a damaged bucket nothing is known; the claim deals with it.
        let bucket = entry.and_then(|entry| Bucket::read(entry.value));
        let record = bucket.and_then(|bucket| bucket.find(fingerprint(nonce)));
        match (
            record.and_then(|record| self.prior_delivery(&record, now)),
            &self.copies,
        ) {
            (None, Some(copies)) => copies.find_prior(store, nonce, now),
            (prior, _) => Ok(prior),
        }
    }

    /// Returns what a record says of the first delivery, if it makes this one a repeat.
    fn prior_delivery(&self, record: &NonceRecord, now: Timestamp) -> Option<PriorDelivery> {
        // What the copy of a record says, the record itself has said before.
        let is_copy = self.share == COPIES && record.share == COPIES;
        if is_copy || !record.is_replay(now) {
            return None;
        }
        let age = now.since(self.accepted_at(record));
        Some(match record.state_at(now) {
            State::InProgress { .. } => PriorDelivery::InFlight,
            State::Completed { abandoned } if abandoned > MAX_ABANDONED => {
                PriorDelivery::NeverAnswered
            }
            // Completed in advance, by a configuration that does not await outcomes.
            _ if self.awaits_outcome && record.claim != SETTLED && age < IN_FLIGHT => {
                PriorDelivery::InFlight
            }
            _ => PriorDelivery::Accepted(age),
        })
    }

    /// Returns when a record's request was accepted, as far as can be told: it is retained from
    /// then on.
    fn accepted_at(&self, record: &NonceRecord) -> Timestamp {
        record.retained_until.before(self.retention())
    }

    fn retention(&self) -> Millis {
        self.rules.keep.max(self.rules.window)
    }

    /// Claims a nonce for the request with this `id`, which no other request has.
    ///
    /// `signed_until` is when the request's own timestamp goes stale: until then its
    /// record is pinned, too.
    ///
    /// # Errors
    /// The store's own.
    pub fn claim(
        &self,
        store: &impl CasMap,
        nonce: Nonce,
        id: u64,
        signed_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Claimed> {
        self.insert(store, self.prepare(nonce, id, signed_until, now), now)
    }

    /// Returns the claim that [`NonceTable::claim`] would make, without making it.
    pub fn prepare(
        &self,
        nonce: Nonce,
        id: u64,
        signed_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Claim {
        let after_window = now.after(self.rules.window);
        let pinned_until = signed_until.map_or(after_window, |until| until.max(after_window));
        Claim {
            nonce,
            id,
            pinned_until,
            is_completed: self.rules.window >= IN_FLIGHT && !self.awaits_outcome,
            may_arrive_again: false,
        }
    }

    /// Makes a claim that was prepared.
    ///
    /// # Errors
    /// The store's own.
    pub fn insert(&self, store: &impl CasMap, claim: Claim, now: Timestamp) -> Result<Claimed> {
        let claimed = self.insert_record(store, claim, now)?;
        let (Claimed::Yes(..), Some(copies)) = (&claimed, &self.copies) else {
            return Ok(claimed);
        };
        match copies.insert_record(store, claim, now) {
            // A copy that has no room is not missed before the capacity is changed.
            Ok(Claimed::Yes(..) | Claimed::Full) => Ok(claimed),
            // Where that fails, the claim lapses by itself.
            rejected => {
                let _ = self.settle_record(store, &claim, now, released);
                rejected
            }
        }
    }

    fn insert_record(&self, store: &impl CasMap, claim: Claim, now: Timestamp) -> Result<Claimed> {
        let fingerprint = fingerprint(claim.nonce);
        update(store, &self.key(claim.nonce), |value| {
            let Some(mut bucket) = Bucket::read_or_new(value) else {
                let rejecting = Bucket::empty(now.after(self.rules.max_pinned));
                return Update::Replace(rejecting.write(), Claimed::Damaged);
            };
            if bucket.rejects(now, self.rules.max_pinned) {
                return Update::Keep(Claimed::Damaged);
            }
            let is_corrected = bucket.correct_clocks(now, self.rules.max_pinned);
            let mut abandoned = 0;
            if let Some(record) = bucket.find(fingerprint) {
                if let Some(prior) = self.prior_delivery(&record, now) {
                    return Update::Keep(Claimed::Duplicate(prior));
                }
                abandoned = record.abandoned(now);
            }
            let before = bucket.len();
            let corrected = is_corrected.then(|| bucket.clone());
            bucket.drop_expired_and(fingerprint, now);
            let Some(evicted) = self.make_room(&mut bucket, now) else {
                // Not written, a correction would be made anew each time, from a later now. Only
                // the correction: nothing else has happened.
                return match corrected {
                    Some(corrected) => Update::Replace(corrected.write(), Claimed::Full),
                    None => Update::Keep(Claimed::Full),
                };
            };
            bucket.push(NonceRecord {
                fingerprint,
                pinned_until: claim.pinned_until.max(now.after(IN_FLIGHT)),
                retained_until: now.after(self.rules.keep).max(claim.pinned_until),
                state: if claim.is_completed {
                    State::Completed { abandoned }
                } else {
                    State::InProgress { abandoned }
                },
                share: self.share,
                claim: claim.id,
            });
            let change = bucket.grown_from(before, evicted);
            Update::Replace(bucket.write(), Claimed::Yes(claim, change))
        })
    }

    /// Records that the upstream has taken the request: its nonce stays claimed. There is
    /// nothing to do for a claim that was completed in advance ([`Claim::is_completed`]).
    ///
    /// # Errors
    /// The store's own. The claim then lapses after [`IN_FLIGHT`] or the window, whichever
    /// is longer.
    pub fn complete(&self, store: &impl CasMap, claim: &Claim, now: Timestamp) -> Result<Change> {
        if claim.is_completed {
            return Ok(Change::default());
        }
        self.settle(store, claim, now, |_| Settled::As(COMPLETED))
    }

    /// Records that the upstream has failed: the sender's retry is to pass.
    ///
    /// # Errors
    /// The store's own; the claim then lapses as above.
    pub fn release(&self, store: &impl CasMap, claim: &Claim, now: Timestamp) -> Result<Change> {
        self.settle(store, claim, now, released)
    }

    /// Records that the sender left before there was an answer: a retry may pass, a few
    /// times ([`MAX_ABANDONED`]).
    ///
    /// # Errors
    /// The store's own; the claim then lapses as above.
    pub fn abandon(&self, store: &impl CasMap, claim: &Claim, now: Timestamp) -> Result<Change> {
        self.settle(store, claim, now, |abandoned| {
            Settled::As(State::unanswered(abandoned))
        })
    }

    /// Records that another Envoy has had the request, and that its record there is
    /// retained for `left`: so it is here, and the next repeat need not be asked for.
    /// `is_taken` says whether the upstream has taken the request; if not, its senders have
    /// left once too often.
    ///
    /// # Errors
    /// The store's own; then the next repeat is asked for again.
    pub fn record_remote(
        &self,
        store: &impl CasMap,
        claim: &Claim,
        is_taken: bool,
        left: Millis,
        now: Timestamp,
    ) -> Result<Change> {
        let state = if is_taken {
            COMPLETED
        } else {
            State::unanswered(MAX_ABANDONED)
        };
        self.settle(store, claim, now, |_| {
            Settled::Remote(state, now.after(left))
        })
    }

    /// Returns how long ago a request was accepted whose record is retained for `left`.
    pub fn age(&self, left: Millis) -> Millis {
        Millis(self.retention().0.saturating_sub(left.0))
    }

    /// Settles a claim and its copy, whatever either says; the first error is returned.
    fn settle(
        &self,
        store: &impl CasMap,
        claim: &Claim,
        now: Timestamp,
        outcome: impl Fn(u16) -> Settled,
    ) -> Result<Change> {
        let settled = self.settle_record(store, claim, now, &outcome);
        if let Some(copies) = &self.copies {
            copies.settle_record(store, claim, now, &outcome)?;
        }
        settled
    }

    /// Settles a claim, if it is still there and still this request's own.
    fn settle_record(
        &self,
        store: &impl CasMap,
        claim: &Claim,
        now: Timestamp,
        outcome: impl Fn(u16) -> Settled,
    ) -> Result<Change> {
        let fingerprint = fingerprint(claim.nonce);
        update(store, &self.key(claim.nonce), |value| {
            let Some(mut bucket) = value.and_then(Bucket::read) else {
                return Update::Keep(Change::default());
            };
            let before = bucket.len();
            // Acceptance is the upstream's answer, so the window starts here.
            let pinned_until = claim.pinned_until.max(now.after(self.rules.window));
            let Some((index, own, abandoned)) = bucket.find_claim(fingerprint, claim.id) else {
                let is_lost = matches!(outcome(0), Settled::As(COMPLETED))
                    && bucket
                        .find(fingerprint)
                        .is_none_or(|record| !record.is_replay(now));
                if !is_lost {
                    return Update::Keep(Change::default());
                }
                // The upstream has answered after the claim had lapsed; it has accepted
                // the request all the same.
                bucket.drop_expired_and(fingerprint, now);
                let Some(evicted) = self.make_room(&mut bucket, now) else {
                    return Update::Keep(Change::default());
                };
                bucket.push(NonceRecord {
                    fingerprint,
                    pinned_until,
                    retained_until: now.after(self.rules.keep).max(pinned_until),
                    state: COMPLETED,
                    share: self.share,
                    claim: SETTLED,
                });
                let change = bucket.grown_from(before, evicted);
                return Update::Replace(bucket.write(), change);
            };
            let settled = match outcome(abandoned) {
                Settled::As(state) => Some(NonceRecord {
                    state,
                    pinned_until,
                    retained_until: own.retained_until.max(pinned_until),
                    claim: SETTLED,
                    ..own
                }),
                Settled::Remote(state, until) => Some(NonceRecord {
                    state,
                    claim: SETTLED,
                    pinned_until: own.pinned_until.min(until),
                    retained_until: until,
                    ..own
                }),
                Settled::Removed => None,
            };
            match settled {
                Some(settled) => bucket.replace(index, settled),
                None => {
                    bucket.remove(index);
                }
            }
            let settled = Change {
                released: Some(settled.is_none_or(|settled| !settled.is_replay(now))),
                ..Change::default()
            };
            let change = bucket.grown_from(before, settled);
            Update::Replace(bucket.write(), change)
        })
    }

    /// Makes room for one more record of this table's share. Returns what was evicted for
    /// it; `None` if nothing may be.
    fn make_room(&self, bucket: &mut Bucket, now: Timestamp) -> Option<Change> {
        let is_own = |record: &NonceRecord| record.share == self.share;
        let mut change = Change::default();
        // Few buckets have that many records in all, so they are seldom counted by share.
        while bucket.len() >= self.buckets.slots() && bucket.count(is_own) >= self.buckets.slots() {
            let victim = bucket.oldest(|record| is_own(record) && !record.is_pinned(now));
            let victim = match self.rules.on_full {
                OnFull::EvictOldest => victim.or_else(|| bucket.oldest(is_own))?,
                OnFull::Reject => victim?,
            };
            if let Some(victim) = bucket.remove(victim) {
                change.evicted_age = now.since(self.accepted_at(&victim));
            }
            change.evicted += 1;
        }
        Some(change)
    }

    fn key(&self, nonce: Nonce) -> String {
        self.buckets.key(half(nonce, 8))
    }
}

/// How many records a table of a single bucket holds at most; it holds just its capacity.
pub const MAX_IN_ONE_BUCKET: usize = 64;

/// How many buckets every larger table has.
const BUCKETS: u64 = 16_384;

/// The share of copies: no table has so many slots.
const COPIES: u16 = u16::MAX;

/// How many copies a bucket holds: of 64 records spread over all buckets, three hardly
/// ever meet in one.
const SLOTS_OF_COPIES: usize = 2;

/// The buckets of a table, and how many slots each has.
///
/// Nonces fall into buckets by chance, so a bucket needs more slots than it has records on
/// average. With six, and two and a half for each record on average, the chance that any
/// bucket overflows before the table holds its capacity is below 3 % for every capacity
/// (by Poisson's distribution; 2 % for the default of 65,536, which has 16 slots for 4
/// records). Slots that are not used take no memory, and a table is overfilled only by
/// requests with a right signature.
fn buckets(capacity: usize) -> Buckets {
    if capacity <= MAX_IN_ONE_BUCKET {
        return Buckets::new(NAME, 1, capacity);
    }
    let spread = (capacity as u64).saturating_mul(5).div_ceil(2 * BUCKETS);
    let slots = usize::try_from(spread).unwrap_or(usize::MAX);
    Buckets::new(NAME, BUCKETS, slots.saturating_add(6))
}

/// The state of a request that the upstream has taken.
const COMPLETED: State = State::Completed { abandoned: 0 };

/// The claim of a record that nobody settles any more. (Ids are hashes; a claim with this
/// one would be settled by nobody, and stay.)
const SETTLED: u64 = 0;

/// What the keys of this table are called.
const NAME: &str = "nonces";

/// The nonce's own bits are as good as any hash: nobody without the key chooses them.
fn fingerprint(nonce: Nonce) -> u64 {
    half(nonce, 0)
}

fn half(nonce: Nonce, from: usize) -> u64 {
    let bytes = nonce.0.iter().skip(from).take(8);
    bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// What settling makes of a claim.
enum Settled {
    /// A record in this state.
    As(State),
    /// A record in this state, retained until then, as another Envoy has it.
    Remote(State, Timestamp),
    /// Nothing.
    Removed,
}

/// Returns what is left of a claim whose upstream has failed. That does not reset the count of
/// abandoned deliveries.
fn released(abandoned: u16) -> Settled {
    match abandoned {
        0 => Settled::Removed,
        _ => Settled::As(State::Abandoned(abandoned)),
    }
}

#[cfg(test)]
mod tests;
