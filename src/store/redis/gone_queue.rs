//! Requests whose clients left before anything was asked, until their early limits have
//! counted them.
//!
//! A client that sends headers and leaves is counted like any other. Memory is bounded: of
//! more than so many at once the last are not counted. None of them has passed anything.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::store::port::LimitCheck;

/// A request whose client has left.
#[derive(Debug)]
pub struct Gone {
    /// The index of its webhook.
    pub webhook: usize,
    /// The limits that count it.
    pub limits: Vec<LimitCheck>,
}

/// The requests of one worker whose clients have left, in their order.
#[derive(Debug, Default)]
pub struct GoneQueue(RefCell<VecDeque<Gone>>);

/// How many wait at the most: 100 KiB.
pub const MAX_GONE: usize = 1024;

/// How many are counted in a row, before what is more urgent has its turn.
pub const GONE_IN_A_ROW: usize = 32;

impl GoneQueue {
    /// One more.
    pub fn push(&self, gone: Gone) {
        let mut waiting = self.0.borrow_mut();
        if waiting.len() < MAX_GONE {
            waiting.push_back(gone);
        }
    }

    /// Takes out all, in their order.
    pub fn take(&self) -> VecDeque<Gone> {
        self.0.take()
    }

    /// Returns the next to be counted.
    pub fn pop(&self) -> Option<Gone> {
        self.0.borrow_mut().pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_flood_of_those_who_leave_costs_no_more_than_so_much_memory() {
        let queue = GoneQueue::default();
        for webhook in 0..2 * MAX_GONE {
            let limits = Vec::new();
            queue.push(Gone { webhook, limits });
        }
        let waiting: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(waiting.len(), MAX_GONE);
        assert_eq!(waiting.first().map(|gone| gone.webhook), Some(0));
    }
}
