//! A bound on the number of diagnoses.

use std::cell::Cell;

use crate::time::Timestamp;

/// The maximum number of diagnoses of a worker in a second. The rest of a flood gets no hint.
pub const MAX_A_SECOND: u32 = 2;

/// The number of diagnoses made in the current second.
#[derive(Default)]
pub struct Budget {
    second: Cell<u64>,
    spent: Cell<u32>,
}

impl Budget {
    /// Takes one diagnosis, and returns whether there was one left.
    pub fn take(&self, now: Timestamp) -> bool {
        let second = now.0 / 1000;
        if self.second.replace(second) != second {
            self.spent.set(0);
        }
        let spent = self.spent.get();
        self.spent.set(spent.saturating_add(1));
        spent < MAX_A_SECOND
    }
}
