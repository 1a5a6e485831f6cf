//! Does not ask a store that is known to be dead.
//!
//! Each failed question costs its request the whole timeout. After a few failures in a
//! row only one question in a while is sent, to see whether the store is back; all
//! others fail at once.

use std::cell::Cell;

use crate::core::clock::{Moment, Span};

/// The circuit of one worker.
#[derive(Debug, Default)]
pub struct Circuit {
    failures: Cell<u32>,
    next_try: Cell<Moment>,
}

/// After so many failures in a row it opens. A lost packet or two is no dead store.
const MOST_FAILURES: u32 = 3;

/// How often an open circuit lets a question through.
pub const BETWEEN_TRIES: Span = Span::seconds(1);

impl Circuit {
    /// Whether a question may be sent now. An open circuit says yes once in
    /// [`BETWEEN_TRIES`].
    pub fn allows(&self, now: Moment) -> bool {
        if !self.is_open() {
            return true;
        }
        // A clock that was put back must not keep it open for that long.
        let is_due = now >= self.next_try.get() || now.after(BETWEEN_TRIES) < self.next_try.get();
        if is_due {
            self.next_try.set(now.after(BETWEEN_TRIES));
        }
        is_due
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.failures.get() >= MOST_FAILURES
    }

    /// A question was answered.
    pub fn succeeded(&self) {
        self.failures.set(0);
    }

    /// A question was not answered, or not with what can be used.
    pub fn failed(&self, now: Moment) {
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

    fn opened_at(now: Moment) -> Circuit {
        let circuit = Circuit::default();
        for _ in 0..MOST_FAILURES {
            assert!(circuit.allows(now));
            circuit.failed(now);
        }
        circuit
    }

    #[test]
    fn a_dead_store_is_asked_once_in_a_while() {
        let now = Moment(1_000_000);
        let circuit = opened_at(now);
        let tries = (0..3000).filter(|millis| {
            let allowed = circuit.allows(now.after(Span(*millis)));
            if allowed {
                circuit.failed(now.after(Span(*millis)));
            }
            allowed
        });
        assert_eq!(tries.count(), 2);
    }

    #[test]
    fn one_answer_closes_it() {
        let now = Moment(1_000_000);
        let circuit = opened_at(now);
        assert!(!circuit.allows(now));
        circuit.succeeded();
        assert!(circuit.allows(now) && circuit.allows(now));
    }

    #[test]
    fn failures_that_are_not_in_a_row_do_not_open_it() {
        let circuit = Circuit::default();
        for _ in 0..10 {
            circuit.failed(Moment(5));
            circuit.failed(Moment(5));
            circuit.succeeded();
        }
        assert!(!circuit.is_open());
    }

    #[test]
    fn a_clock_put_back_does_not_keep_it_open() {
        let circuit = opened_at(Moment(1_000_000));
        assert!(circuit.allows(Moment(5)));
    }
}
