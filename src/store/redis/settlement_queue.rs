//! Settlements on their way, until Redis has them.
//!
//! A release that is lost is an order that cannot be sent again while the claim stands,
//! so settlements are kept and sent again until Redis has taken them. Memory is bounded:
//! when there are too many, one is lost, and counted; its claim lapses by itself. That is the
//! oldest of those with which the least is lost, see [`Waiting`].

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

/// Those that are not on their way, each kind oldest first. The first kind is the first to be
/// dropped and the last to be sent.
#[derive(Debug, Default)]
struct Waiting {
    /// Of requests that were not let through. Anybody who has one captured request can make any
    /// number of them, and most are of claims that Redis does not have.
    never_admitted: VecDeque<Settlement>,
    /// Of requests that failed, or whose senders left. Without them, retries are rejected until
    /// the claim lapses.
    given_up: VecDeque<Settlement>,
    /// Of requests that were processed. Without them, repeats pass when the claim has lapsed.
    processed: VecDeque<Settlement>,
}

/// How many wait at the most: 300 KiB for each kind of which there were so many.
pub const MAX_WAITING: usize = 4096;

/// How many are sent at once: a script that runs longer would hold up all others.
pub const MAX_SENT: usize = 32;

impl Waiting {
    fn len(&self) -> usize {
        self.never_admitted.len() + self.given_up.len() + self.processed.len()
    }

    fn of_kind(&mut self, settlement: &Settlement) -> &mut VecDeque<Settlement> {
        match settlement.outcome {
            UpstreamOutcome::Processed => &mut self.processed,
            _ if settlement.was_admitted => &mut self.given_up,
            _ => &mut self.never_admitted,
        }
    }

    /// Takes out the one with which the least is lost, if there are too many.
    fn pop_excess(&mut self) -> Option<Settlement> {
        if self.len() <= MAX_WAITING {
            return None;
        }
        let least = self.never_admitted.pop_front();
        let least = least.or_else(|| self.given_up.pop_front());
        least.or_else(|| self.processed.pop_front())
    }

    /// Takes out the next to be sent.
    fn pop(&mut self) -> Option<Settlement> {
        let next = self.processed.pop_front();
        let next = next.or_else(|| self.given_up.pop_front());
        next.or_else(|| self.never_admitted.pop_front())
    }
}

impl SettlementQueue {
    /// Adds a settlement. Where too many wait, the oldest is lost.
    pub fn push(&self, settlement: Settlement) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.of_kind(&settlement).push_back(settlement);
        self.drop_excess(&mut waiting);
    }

    fn drop_excess(&self, waiting: &mut Waiting) {
        if waiting.pop_excess().is_some() {
            self.lost.set(self.lost.get().saturating_add(1));
        }
    }

    /// Takes out what waits.
    pub fn take_waiting(&self) -> Vec<Settlement> {
        let mut waiting = self.waiting.take();
        std::iter::from_fn(|| waiting.pop()).collect()
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
            waiting.of_kind(&settlement).push_front(settlement);
            self.drop_excess(&mut waiting);
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
    pub(super) fn never_admitted(self) -> Settlement {
        Settlement {
            was_admitted: false,
            ..self
        }
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
    fn what_was_processed_is_lost_last_and_what_was_never_let_through_first() {
        let processed = |id| Settlement {
            outcome: UpstreamOutcome::Processed,
            ..settlement(id)
        };
        let queue = SettlementQueue::default();
        let half = MAX_WAITING as u64 / 2;
        (0..half).for_each(|id| queue.push(processed(id)));
        (0..half).for_each(|id| queue.push(settlement(10_000 + id)));
        // Somebody hangs up, again and again.
        (0..3 * half).for_each(|id| queue.push(settlement(20_000 + id).never_admitted()));
        assert_eq!(queue.take_lost(), 3 * half);
        let sent = ids(&queue.send(NOW));
        assert_eq!(sent, (0..MAX_SENT as u64).collect::<Vec<_>>());
        queue.failed();
        assert_eq!(queue.take_lost(), 0);
        // More that was processed takes the place of what failed.
        (half..half + 10).for_each(|id| queue.push(processed(id)));
        assert_eq!(queue.take_lost(), 10);
        let waiting = ids(&queue.take_waiting());
        let expected = (0..half + 10).chain(10_010..10_000 + half);
        assert_eq!(waiting, expected.collect::<Vec<_>>());
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
