//! Requests whose clients left before anything was asked, until their early limits have
//! counted them.
//!
//! A client that sends headers and leaves is counted like any other. Memory is bounded: of
//! more than so many at once the last are not counted. None of them has passed anything.

use std::cell::RefCell;

use crate::store::port::Query;

/// The requests of one worker whose clients have left.
#[derive(Debug, Default)]
pub struct GoneQueue(RefCell<Vec<Query>>);

/// How many wait at the most: 150 KiB.
pub const MAX_GONE: usize = 1024;

/// How many are counted in a row, before what is more urgent has its turn.
pub const GONE_IN_A_ROW: usize = 32;

impl GoneQueue {
    /// Adds a request. Where too many wait, it is not counted.
    pub fn push(&self, query: Query) {
        let mut waiting = self.0.borrow_mut();
        if waiting.len() < MAX_GONE {
            waiting.push(query);
        }
    }

    /// Takes out all.
    pub fn take(&self) -> Vec<Query> {
        self.0.take()
    }

    /// Returns the next to be counted, in no order.
    pub fn pop(&self) -> Option<Query> {
        self.0.borrow_mut().pop()
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
            queue.push(Query {
                webhook,
                deferred: Vec::new(),
                limits: Vec::new(),
                claim: None,
            });
        }
        let waiting: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(waiting.len(), MAX_GONE);
        assert!(waiting.iter().all(|query| query.webhook < MAX_GONE));
    }
}
