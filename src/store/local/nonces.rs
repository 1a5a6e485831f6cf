//! Which requests were accepted, so that none is accepted again.
//!
//! A request claims its nonce when every other check has passed, before a byte of
//! it reaches the upstream; the upstream's answer then keeps the claim or gives it
//! up. All of it happens in one bucket by compare-and-swap, so of any number of
//! identical requests over all workers exactly one claim succeeds.
//!
//! **Damaged buckets.** A value that this code did not write says nothing about
//! what was accepted. It is replaced by an empty bucket that rejects every claim
//! for as long as an accepted request must be remembered; after that, nothing that
//! was lost matters any more.
//!
//! **Clocks.** Times are compared with the clock of the moment. If it goes back,
//! entries live longer. If it jumps ahead and back, what was accepted meanwhile must
//! be remembered for as long as anything, counted from when that is first seen:
//! otherwise it would fill the table for as long as the jump was.
//!
//! **Another capacity.** It puts nonces into other buckets. What was accepted under
//! the capacity before must be rejected all the same, also while some workers still
//! work with that one: `layouts` says how.

mod bucket;
mod layouts;
mod terms;

use crate::cas_map::{CasError, CasMap, Update, update};
use crate::signature::key::Nonce;
use crate::store::local::buckets::{Buckets, Shape};
use crate::time::{Millis, Timestamp};
use bucket::{Bucket, NonceRecord, State};
use layouts::{Generation, Layout, Use};
pub use terms::{
    Change, Claim, Claimed, IN_FLIGHT, MAX_ABANDONED, NonceRules, OnFull, PriorDelivery,
};

/// The table of accepted requests.
pub struct NonceTable {
    /// This table's own layout, among those that this process has used before, in
    /// the order in which all workers claim in them.
    layouts: Vec<Layout>,
    rules: NonceRules,
    awaits_outcome: bool,
}

impl NonceTable {
    /// A table by these rules. Tables of the same capacity share their entries.
    pub fn new(rules: NonceRules) -> NonceTable {
        let buckets = Buckets::new(NAME, rules.capacity, SHAPE);
        NonceTable {
            layouts: vec![Layout::own(buckets)],
            rules,
            awaits_outcome: false,
        }
    }

    /// The same, where it matters whether the upstream has taken a request or is about
    /// to: then no claim stands as kept before its answer, which has to write that.
    pub fn awaiting_outcome(self, awaits_outcome: bool) -> NonceTable {
        NonceTable {
            awaits_outcome,
            ..self
        }
    }

    /// Looks up which other capacities this process has worked with, so that what
    /// was accepted under them is rejected here, too. To be called once, before the
    /// first claim. `generation` tells this configuration from others, and `counts`
    /// are the [`NonceTable::own_keys`] of all its tables.
    ///
    /// # Errors
    /// What the store says.
    pub fn join(
        &mut self,
        store: &impl CasMap,
        generation: u64,
        counts: &[u64],
        now: Timestamp,
    ) -> Result<(), CasError> {
        let own = self.layouts.drain(..).find(Layout::is_own);
        let max_pinned = self.rules.keep.max(self.rules.max_pinned).max(IN_FLIGHT);
        let generation = Generation {
            id: generation,
            counts,
        };
        self.layouts = match own {
            Some(own) => layouts::join(store, own.buckets, NAME, &generation, max_pinned, now)?,
            None => Vec::new(),
        };
        Ok(())
    }

    /// How long it remembers, and how many.
    pub fn rules(&self) -> &NonceRules {
        &self.rules
    }

    /// How many keys the table has for itself.
    pub fn own_keys(&self) -> u64 {
        self.own().map_or(0, |own| own.buckets.count())
    }

    fn own(&self) -> Option<&Layout> {
        self.layouts.iter().find(|layout| layout.is_own())
    }

    /// How many keys the table can ever have in the store, those of earlier
    /// capacities included.
    pub fn keys(&self) -> u64 {
        self.layouts
            .iter()
            .map(|layout| layout.buckets.count())
            .sum()
    }

    /// Whether a nonce is known to be a repeat, and of what, without claiming it.
    ///
    /// # Errors
    /// What the store says.
    pub fn find_prior(
        &self,
        store: &impl CasMap,
        nonce: Nonce,
        now: Timestamp,
    ) -> Result<Option<PriorDelivery>, CasError> {
        self.find_prior_where(store, nonce, now, |used| used != Use::None)
    }

    /// The same, of the layouts that are used so.
    fn find_prior_where(
        &self,
        store: &impl CasMap,
        nonce: Nonce,
        now: Timestamp,
        is_asked: impl Fn(Use) -> bool,
    ) -> Result<Option<PriorDelivery>, CasError> {
        for layout in &self.layouts {
            if is_asked(layout.used_at(now))
                && let Some(first) = self.find_prior_in(layout, store, nonce, now)?
            {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    fn find_prior_in(
        &self,
        layout: &Layout,
        store: &impl CasMap,
        nonce: Nonce,
        now: Timestamp,
    ) -> Result<Option<PriorDelivery>, CasError> {
        let Some(entry) = store.get(&key(&layout.buckets, nonce))? else {
            return Ok(None);
        };
        // Of a damaged bucket nothing is known; the claim deals with it.
        let bucket = Bucket::read(entry.value);
        let known = bucket.and_then(|bucket| bucket.find(fingerprint(nonce)));
        Ok(known.and_then(|known| self.prior_delivery(&known, now)))
    }

    /// What an entry says of the first delivery, where it rejects a repeat.
    fn prior_delivery(&self, known: &NonceRecord, now: Timestamp) -> Option<PriorDelivery> {
        if !known.is_replay(now) {
            return None;
        }
        let age = now.since(self.accepted_at(known));
        Some(match known.state_at(now) {
            State::InProgress { .. } => PriorDelivery::InFlight,
            State::Completed { abandoned } if abandoned > MAX_ABANDONED => {
                PriorDelivery::NeverAnswered
            }
            // Claimed as kept, by a configuration that does not await answers.
            _ if self.awaits_outcome && known.claim != SETTLED && age < IN_FLIGHT => {
                PriorDelivery::InFlight
            }
            _ => PriorDelivery::Accepted(age),
        })
    }

    /// When it was accepted, as far as can be told: it is kept from then on.
    fn accepted_at(&self, entry: &NonceRecord) -> Timestamp {
        let kept = self.rules.keep.max(self.rules.window);
        entry.retained_until.before(kept)
    }

    /// Claims a nonce for the request with this `id`, which no other request has.
    ///
    /// `signed_until` is when the request's own timestamp goes stale: until then it
    /// must be remembered, too.
    ///
    /// # Errors
    /// What the store says.
    pub fn claim(
        &self,
        store: &impl CasMap,
        nonce: Nonce,
        id: u64,
        signed_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Claimed, CasError> {
        self.insert(store, self.prepare(nonce, id, signed_until, now), now)
    }

    /// The claim that [`NonceTable::claim`] would make, not made yet.
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
        }
    }

    /// Makes a claim that was prepared.
    ///
    /// # Errors
    /// What the store says.
    pub fn insert(
        &self,
        store: &impl CasMap,
        claim: Claim,
        now: Timestamp,
    ) -> Result<Claimed, CasError> {
        let nonce = claim.nonce;
        let mut own_change = Change::default();
        for (index, layout) in self.layouts.iter().enumerate() {
            let claimed = match layout.used_at(now) {
                Use::None | Use::CheckAfterwards => continue,
                Use::Check => match self.find_prior_in(layout, store, nonce, now) {
                    Ok(None) => continue,
                    Ok(Some(first)) => Ok(Claimed::Duplicate(first)),
                    Err(error) => Err(error),
                },
                Use::Claim => self.claim_in(layout, store, claim, now),
            };
            match claimed {
                Ok(Claimed::Yes(_, change)) => {
                    if layout.is_own() {
                        own_change = change;
                    }
                }
                rejected => {
                    // What was claimed before this layout rejected is given back; where
                    // that fails, the claim lapses by itself.
                    let before = self.layouts.get(..index).unwrap_or_default();
                    let _ = self.settle_in(before, store, &claim, now, released);
                    return rejected;
                }
            }
        }
        let siblings = |used| used == Use::CheckAfterwards;
        let rejected = match self.find_prior_where(store, nonce, now, siblings) {
            Ok(None) => return Ok(Claimed::Yes(claim, own_change)),
            Ok(Some(first)) => Ok(Claimed::Duplicate(first)),
            Err(error) => Err(error),
        };
        let _ = self.settle_in(&self.layouts, store, &claim, now, released);
        rejected
    }

    fn claim_in(
        &self,
        layout: &Layout,
        store: &impl CasMap,
        claim: Claim,
        now: Timestamp,
    ) -> Result<Claimed, CasError> {
        let Claim {
            nonce,
            id,
            pinned_until,
            ..
        } = claim;
        let fingerprint = fingerprint(nonce);
        update(store, &key(&layout.buckets, nonce), |value| {
            let Some(mut bucket) = Bucket::read_or_new(value) else {
                let rejecting = Bucket::empty(now.after(self.rules.max_pinned));
                return Update::Replace(rejecting.write(), Claimed::Damaged);
            };
            if bucket.rejects(now, self.rules.max_pinned) {
                return Update::Keep(Claimed::Damaged);
            }
            let is_corrected = bucket.believe_no_later_than(now, self.rules.max_pinned);
            let mut abandoned = 0;
            if let Some(known) = bucket.find(fingerprint) {
                if let Some(first) = self.prior_delivery(&known, now) {
                    return Update::Keep(Claimed::Duplicate(first));
                }
                abandoned = known.abandoned(now);
            }
            let before = bucket.len();
            bucket.drop_expired_and(fingerprint, now);
            let Some(evicted) = self.make_room(&mut bucket, layout, now) else {
                // Not written, a correction would be made anew each time, from a later now.
                return if is_corrected {
                    Update::Replace(bucket.write(), Claimed::Full)
                } else {
                    Update::Keep(Claimed::Full)
                };
            };
            bucket.push(NonceRecord {
                fingerprint,
                pinned_until: pinned_until.max(now.after(IN_FLIGHT)),
                retained_until: now.after(self.rules.keep).max(pinned_until),
                state: if claim.is_completed {
                    State::Completed { abandoned }
                } else {
                    State::InProgress { abandoned }
                },
                claim: id,
            });
            let change = bucket.grown_from(before, evicted);
            Update::Replace(bucket.write(), Claimed::Yes(claim, change))
        })
    }

    /// The upstream has answered: the nonce stays claimed. Nothing is to be done for a
    /// claim that is kept already ([`Claim::is_completed`]).
    ///
    /// # Errors
    /// What the store says. The claim then lapses after [`IN_FLIGHT`] or the
    /// window, whichever is longer.
    pub fn complete(
        &self,
        store: &impl CasMap,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Change, CasError> {
        if claim.is_completed {
            return Ok(Change::default());
        }
        self.settle_in(&self.layouts, store, claim, now, |_| Settled::As(COMPLETED))
    }

    /// The upstream has failed: the sender's retry is to pass.
    ///
    /// # Errors
    /// What the store says; the claim then lapses as above.
    pub fn release(
        &self,
        store: &impl CasMap,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Change, CasError> {
        self.settle_in(&self.layouts, store, claim, now, released)
    }

    /// The sender left before there was an answer: a retry may pass, a few times.
    ///
    /// # Errors
    /// What the store says; the claim then lapses as above.
    pub fn abandon(
        &self,
        store: &impl CasMap,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Change, CasError> {
        self.settle_in(&self.layouts, store, claim, now, |abandoned| {
            Settled::As(State::unanswered(abandoned))
        })
    }

    /// Another Envoy has had the request, and it is remembered there for as long as
    /// `left`: so it is here, and the next repeat need not be asked for. Whether the
    /// upstream has taken it (`is_taken`), or its senders have left once too often, is
    /// remembered, too.
    ///
    /// # Errors
    /// What the store says; then the next repeat is asked for again.
    pub fn record_remote(
        &self,
        store: &impl CasMap,
        claim: &Claim,
        is_taken: bool,
        left: Millis,
        now: Timestamp,
    ) -> Result<Change, CasError> {
        let state = if is_taken {
            COMPLETED
        } else {
            State::unanswered(MAX_ABANDONED)
        };
        self.settle_in(&self.layouts, store, claim, now, |_| {
            Settled::Remote(state, now.after(left))
        })
    }

    /// How long ago a request was accepted that is remembered for as long as `left`.
    pub fn age(&self, left: Millis) -> Millis {
        let kept = self.rules.keep.max(self.rules.window);
        Millis(kept.0.saturating_sub(left.0))
    }

    /// Ends a claim wherever it was made. Every layout is tried, whatever another
    /// one says; the first error is told.
    fn settle_in(
        &self,
        layouts: &[Layout],
        store: &impl CasMap,
        claim: &Claim,
        now: Timestamp,
        outcome: impl Fn(u16) -> Settled,
    ) -> Result<Change, CasError> {
        let mut own_change = Ok(Change::default());
        for layout in layouts {
            if !layout.may_hold_a_claim_at(now) {
                continue;
            }
            let settled = self.settle(layout, store, claim, now, &outcome);
            if layout.is_own() || settled.is_err() {
                own_change = own_change.and(settled);
            }
        }
        own_change
    }

    /// Ends a claim, if it is still there and still this request's own.
    fn settle(
        &self,
        layout: &Layout,
        store: &impl CasMap,
        claim: &Claim,
        now: Timestamp,
        outcome: impl Fn(u16) -> Settled,
    ) -> Result<Change, CasError> {
        let fingerprint = fingerprint(claim.nonce);
        update(store, &key(&layout.buckets, claim.nonce), |value| {
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
                        .is_none_or(|known| !known.is_replay(now));
                if !is_lost {
                    return Update::Keep(Change::default());
                }
                // The upstream has answered after the claim had lapsed; it has accepted
                // the request all the same.
                bucket.drop_expired_and(fingerprint, now);
                let Some(evicted) = self.make_room(&mut bucket, layout, now) else {
                    return Update::Keep(Change::default());
                };
                bucket.push(NonceRecord {
                    fingerprint,
                    pinned_until,
                    retained_until: now.after(self.rules.keep).max(pinned_until),
                    state: COMPLETED,
                    claim: SETTLED,
                });
                let change = bucket.grown_from(before, evicted);
                return Update::Replace(bucket.write(), change);
            };
            let kept_as = |state| NonceRecord {
                state,
                pinned_until,
                retained_until: own.retained_until.max(pinned_until),
                claim: SETTLED,
                ..own
            };
            let settled = match outcome(abandoned) {
                Settled::As(state) => Some(kept_as(state)),
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
            let change = bucket.grown_from(before, Change::default());
            Update::Replace(bucket.write(), change)
        })
    }

    /// Makes room for one more entry, and says what had to go; `None` if nothing can.
    fn make_room(&self, bucket: &mut Bucket, layout: &Layout, now: Timestamp) -> Option<Change> {
        let mut change = Change::default();
        while bucket.len() >= layout.buckets.slots() {
            let victim = match bucket.oldest(|entry| !entry.is_pinned(now)) {
                Some(victim) => victim,
                None if bucket.len() < self.most_in(layout) => break,
                None => match self.rules.on_full {
                    OnFull::EvictOldest => bucket.oldest(|_| true)?,
                    OnFull::Reject => return None,
                },
            };
            if let Some(victim) = bucket.remove(victim) {
                change.evicted_age = now.since(self.accepted_at(&victim));
            }
            change.evicted += 1;
        }
        Some(change)
    }

    /// How many entries a bucket may grow to. The capacity of another configuration
    /// binds those who work with it, not this one: who has made a full table larger
    /// is not to wait until the smaller one is out of use.
    fn most_in(&self, layout: &Layout) -> usize {
        let slots = layout.buckets.slots();
        if layout.is_own() {
            return slots;
        }
        let total = self.own().map_or(0, |own| {
            let slots = own.buckets.slots() as u64;
            own.buckets.count().saturating_mul(slots)
        });
        let share = total.div_ceil(layout.buckets.count().max(1));
        slots.max(usize::try_from(share).unwrap_or(usize::MAX))
    }
}

/// Of a request that the upstream has taken.
const COMPLETED: State = State::Completed { abandoned: 0 };

/// In the place of a claim: nobody settles it any more. (Ids are hashes; one that is
/// this would be settled by nobody, and kept.)
const SETTLED: u64 = 0;

/// What the keys of this table are called.
const NAME: &str = "nonces";

fn key(buckets: &Buckets, nonce: Nonce) -> String {
    buckets.key(half(nonce, 8))
}

/// What a failed upstream makes of a claim: nothing, unless the sender has hung up before.
fn released(abandoned: u16) -> Settled {
    match abandoned {
        0 => Settled::Removed,
        _ => Settled::As(State::Abandoned(abandoned)),
    }
}

/// A bucket of a full table has 4 entries on average, 144 bytes that are copied in and
/// out under the host's lock, and room for 16: of the 16,384 buckets of 65,536 nonces,
/// one overflows before that many are in with a chance of less than 1 %.
const SHAPE: Shape = Shape {
    most_in_one: 64,
    slots: 16,
    spare: 4,
};

/// The nonce's own bits are as good as any hash: nobody without the key chooses them.
fn fingerprint(nonce: Nonce) -> u64 {
    half(nonce, 0)
}

fn half(nonce: Nonce, from: usize) -> u64 {
    let bytes = nonce.0.iter().skip(from).take(8);
    bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// How a claim ends.
enum Settled {
    As(State),
    /// So elsewhere, until then.
    Remote(State, Timestamp),
    Removed,
}

#[cfg(test)]
mod tests;
