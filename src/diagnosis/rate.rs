//! How often a worker makes a diagnosis at all.

use std::cell::Cell;

use crate::time::Timestamp;

/// How many diagnoses a worker makes in a second. The rest of a flood is rejected without.
pub const MAX_A_SECOND: u32 = 2;

/// How many diagnoses this second still has room for.
#[derive(Default)]
pub struct Budget {
    second: Cell<u64>,
    spent: Cell<u32>,
}

impl Budget {
    /// Takes one, if there is one left.
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
