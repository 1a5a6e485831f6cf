//! Settlements on their way, until Redis has them.
//!
//! A release that is lost is an order that cannot be sent again while the claim stands,
//! so settlements are kept and sent again until Redis has taken them. Memory is bounded:
//! when there are too many of a kind, its oldest is lost, and counted; its claim lapses by
//! itself. No kind is lost because of another: see [`Waiting`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::signature::key::Nonce;
use crate::store::local::nonces::{Claim, NonceRules};
use crate::store::port::UpstreamOutcome;
use crate::time::{Millis, Timestamp};

/// What becomes of one claim in Redis.
#[derive(Clone, Copy, Debug)]
pub struct Settlement {
    /// What was claimed.
    pub nonce: Nonce,
    /// By which request.
    pub id: u64,
    /// What became of that request.
    pub outcome: UpstreamOutcome,
    /// Until then its nonce is pinned, if it was accepted. By then a claim that is
    /// still on its way lapses by itself.
    pub pinned_until: Timestamp,
    /// Until then it is, while there is room.
    pub keep_until: Timestamp,
    /// Of the table that it is in.
    pub capacity: usize,
    /// Whether the claim was called for more than once: one of the attempts may arrive yet.
    pub may_arrive_again: bool,
    /// Whether the request was let through. If not, Redis may not even have the claim.
    pub was_admitted: bool,
}

/// The settlements of one worker that Redis does not have yet.
#[derive(Debug, Default)]
pub struct SettlementQueue {
    waiting: RefCell<Waiting>,
    sent: RefCell<Vec<Settlement>>,
    lost: Cell<u64>,
}

/// Those that are not on their way, each kind oldest first. The second kind is sent last.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Of requests that were let through. Without them a retry is rejected until the claim has
    /// lapsed, or a repeat passes then.
    admitted: VecDeque<Settlement>,
    /// Of requests that were not. Anybody who has one captured request can make any number of
    /// them, and most are of claims that Redis does not have.
    rejected: VecDeque<Settlement>,
}

/// How many of each kind wait at the most: 300 KiB.
pub const MAX_WAITING: usize = 4096;

/// How many are sent at once: a script that runs longer would hold up all others.
pub const MAX_SENT: usize = 32;

impl Waiting {
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.admitted.len() + self.rejected.len()
    }

    /// Takes out the next to be sent.
    pub fn pop(&mut self) -> Option<Settlement> {
        let next = self.admitted.pop_front();
        next.or_else(|| self.rejected.pop_front())
    }

    fn of_kind(&mut self, settlement: &Settlement) -> &mut VecDeque<Settlement> {
        if settlement.was_admitted {
            &mut self.admitted
        } else {
            &mut self.rejected
        }
    }
}

impl SettlementQueue {
    /// Adds a settlement. Where too many wait, the oldest is lost.
    pub fn push(&self, settlement: Settlement) {
        let mut waiting = self.waiting.borrow_mut();
        let waiting = waiting.of_kind(&settlement);
        if waiting.len() >= MAX_WAITING {
            waiting.pop_front();
            self.lost.set(self.lost.get().saturating_add(1));
        }
        waiting.push_back(settlement);
    }

    /// Takes out what waits.
    pub fn take_waiting(&self) -> Waiting {
        self.waiting.take()
    }

    /// Returns whether there is anything to send, and nothing on its way.
    pub fn is_due(&self) -> bool {
        self.sent.borrow().is_empty() && self.waiting.borrow().len() > 0
    }

    /// Returns whether so many wait that they fill a call.
    pub fn fills_a_call(&self) -> bool {
        self.waiting.borrow().len() >= MAX_SENT
    }

    /// Returns the next to be sent. They count as on their way until
    /// [`SettlementQueue::arrived`] or [`SettlementQueue::failed`] is called.
    pub fn send(&self, now: Timestamp) -> Vec<Settlement> {
        let mut waiting = self.waiting.borrow_mut();
        let mut batch = Vec::new();
        while batch.len() < MAX_SENT
            && let Some(next) = waiting.pop()
        {
            // What has lapsed by itself need not be said.
            if now < next.pinned_until.max(next.keep_until) {
                batch.push(next);
            } else {
                self.lost.set(self.lost.get().saturating_add(1));
            }
        }
        self.sent.borrow_mut().clone_from(&batch);
        batch
    }

    /// Forgets what was sent: Redis has taken it.
    pub fn arrived(&self) {
        self.sent.borrow_mut().clear();
    }

    /// Has what was sent sent again: Redis has not taken it, as far as is known. Settling twice
    /// is settling once.
    pub fn failed(&self) {
        let sent = std::mem::take(&mut *self.sent.borrow_mut());
        let mut waiting = self.waiting.borrow_mut();
        for settlement in sent.into_iter().rev() {
            let waiting = waiting.of_kind(&settlement);
            if waiting.len() < MAX_WAITING {
                waiting.push_front(settlement);
            } else {
                self.lost.set(self.lost.get().saturating_add(1));
            }
        }
    }

    /// Returns how many were lost since the last time.
    pub fn take_lost(&self) -> u64 {
        self.lost.take()
    }
}

impl Settlement {
    /// Returns the settlement of a claim.
    pub fn new(
        claim: &Claim,
        rules: &NonceRules,
        outcome: UpstreamOutcome,
        now: Timestamp,
    ) -> Settlement {
        // The upstream's response is the acceptance, so the window starts here.
        let pinned_until = claim.pinned_until().max(now.after(rules.window));
        Settlement {
            nonce: claim.nonce(),
            id: claim.id(),
            outcome,
            pinned_until,
            keep_until: now.after(rules.keep).max(pinned_until),
            capacity: rules.capacity,
            may_arrive_again: claim.may_arrive_again(),
            was_admitted: true,
        }
    }

    /// Returns the settlement as one of a request that was not let through.
    pub(super) fn never_admitted(mut self) -> Settlement {
        self.was_admitted = false;
        self
    }

    /// Returns for how long from now on its nonce is pinned, and for how long it is
    /// retained while there is space; at least a millisecond, since Redis has no shorter time.
    pub(super) fn spans(&self, now: Timestamp) -> (Millis, Millis) {
        let left = |until: Timestamp| Millis(until.since(now).0.max(1));
        (left(self.pinned_until), left(self.keep_until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn settlement(id: u64) -> Settlement {
        Settlement {
            nonce: Nonce([0; 32]),
            id,
            outcome: UpstreamOutcome::Failed,
            pinned_until: NOW.after(Millis::seconds(300)),
            keep_until: NOW.after(Millis::seconds(300)),
            capacity: 10,
            may_arrive_again: false,
            was_admitted: true,
        }
    }

    fn ids(settlements: &[Settlement]) -> Vec<u64> {
        settlements.iter().map(|settlement| settlement.id).collect()
    }

    #[test]
    fn what_did_not_arrive_is_sent_again_in_its_order() {
        let queue = SettlementQueue::default();
        (0..MAX_SENT as u64 + 3).for_each(|id| queue.push(settlement(id)));
        let first = ids(&queue.send(NOW));
        assert_eq!(first.len(), MAX_SENT);
        assert!(!queue.is_due(), "nothing overtakes what is on its way");
        queue.failed();
        assert_eq!(ids(&queue.send(NOW)), first);
        queue.arrived();
        assert_eq!(queue.send(NOW).len(), 3);
        queue.arrived();
        assert!(!queue.is_due());
        assert_eq!(queue.take_lost(), 0);
    }

    #[test]
    fn a_store_that_is_away_for_long_costs_no_more_than_so_much_memory() {
        let queue = SettlementQueue::default();
        (0..MAX_WAITING as u64).for_each(|id| queue.push(settlement(id)));
        let sent = queue.send(NOW).len() as u64;
        (0..100).for_each(|id| queue.push(settlement(id)));
        queue.failed();
        assert_eq!(queue.waiting.borrow().len(), MAX_WAITING);
        assert_eq!(queue.take_lost(), 100, "{sent} were sent");
    }

    #[test]
    fn what_was_let_through_is_not_lost_to_any_number_of_requests_that_were_not() {
        let queue = SettlementQueue::default();
        let most = MAX_WAITING as u64;
        (0..most).for_each(|id| queue.push(settlement(id)));
        // Somebody hangs up, again and again.
        (0..most + 9).for_each(|id| queue.push(settlement(10_000 + id).never_admitted()));
        assert_eq!(queue.take_lost(), 9);
        assert_eq!(ids(&queue.send(NOW)), Vec::from_iter(0..MAX_SENT as u64));
        queue.failed();
        assert_eq!(queue.take_lost(), 0);
        // The oldest of the same kind makes room.
        queue.push(settlement(most));
        assert_eq!(queue.take_lost(), 1);
        let expected = (1..=most).chain(10_009..10_009 + most);
        let mut waiting = queue.take_waiting();
        let waiting = std::iter::from_fn(|| waiting.pop().map(|next| next.id));
        assert!(waiting.eq(expected));
    }

    #[test]
    fn what_has_lapsed_is_not_sent_any_more() {
        let queue = SettlementQueue::default();
        queue.push(settlement(1));
        assert!(queue.send(NOW.after(Millis::seconds(301))).is_empty());
        assert!(!queue.is_due());
        assert_eq!(queue.take_lost(), 1);
    }
}
