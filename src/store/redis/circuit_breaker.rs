//! Does not ask a store that is known to be dead.
//!
//! Each failed question costs its request the whole timeout. After a few failures in a
//! row only one question in a while is sent, to see whether the store is back; all
//! others fail at once.

use std::cell::Cell;

use crate::time::{Millis, Timestamp};

/// The circuit of one worker.
#[derive(Debug, Default)]
pub struct CircuitBreaker {
    failures: Cell<u32>,
    next_try: Cell<Timestamp>,
}

/// After so many failures in a row it opens. A lost packet or two is no dead store.
const MAX_FAILURES: u32 = 3;

/// How often an open circuit lets a question through.
pub const BETWEEN_TRIES: Millis = Millis::seconds(1);

impl CircuitBreaker {
    /// Returns whether a question may be sent now. An open circuit says yes once in
    /// [`BETWEEN_TRIES`].
    pub fn try_acquire(&self, now: Timestamp) -> bool {
        let is_due = self.is_due(now);
        if is_due && self.is_open() {
            self.next_try.set(now.after(BETWEEN_TRIES));
        }
        is_due
    }

    /// Gives a try back of which nothing was heard, since whoever asked has left: the next
    /// question is another.
    pub fn give_back(&self, now: Timestamp) {
        self.next_try.set(now);
    }

    /// Returns whether [`CircuitBreaker::try_acquire`] would say yes.
    pub fn is_due(&self, now: Timestamp) -> bool {
        // A clock that was put back must not keep it open for that long.
        let is_put_back = now.after(BETWEEN_TRIES) < self.next_try.get();
        !self.is_open() || now >= self.next_try.get() || is_put_back
    }

    /// Returns whether the circuit is open.
    pub fn is_open(&self) -> bool {
        self.failures.get() >= MAX_FAILURES
    }

    /// A question was answered.
    pub fn record_success(&self) {
        self.failures.set(0);
    }

    /// A question was not answered, or not with what can be used.
    pub fn record_failure(&self, now: Timestamp) {
        if !self.is_open() {
            self.failures.set(self.failures.get() + 1);
            if self.is_open() {
                self.next_try.set(now.after(BETWEEN_TRIES));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn opened_at(now: Timestamp) -> CircuitBreaker {
        let circuit = CircuitBreaker::default();
        for _ in 0..MAX_FAILURES {
            assert!(circuit.try_acquire(now));
            circuit.record_failure(now);
        }
        circuit
    }

    #[test]
    fn a_dead_store_is_asked_once_in_a_while() {
        let now = Timestamp(1_000_000);
        let circuit = opened_at(now);
        let tries = (0..3000).filter(|millis| {
            let allowed = circuit.try_acquire(now.after(Millis(*millis)));
            if allowed {
                circuit.record_failure(now.after(Millis(*millis)));
            }
            allowed
        });
        assert_eq!(tries.count(), 2);
    }

    #[test]
    fn one_answer_closes_it() {
        let now = Timestamp(1_000_000);
        let circuit = opened_at(now);
        assert!(!circuit.is_due(now) && !circuit.try_acquire(now));
        let later = now.after(BETWEEN_TRIES);
        assert!(
            circuit.is_due(later) && circuit.is_due(later),
            "to look is no try"
        );
        circuit.record_success();
        assert!(circuit.try_acquire(now) && circuit.try_acquire(now));
    }

    #[test]
    fn failures_that_are_not_in_a_row_do_not_open_it() {
        let circuit = CircuitBreaker::default();
        for _ in 0..10 {
            circuit.record_failure(Timestamp(5));
            circuit.record_failure(Timestamp(5));
            circuit.record_success();
        }
        assert!(!circuit.is_open());
    }

    #[test]
    fn a_clock_put_back_does_not_keep_it_open() {
        let circuit = opened_at(Timestamp(1_000_000));
        assert!(circuit.try_acquire(Timestamp(5)));
    }
}
