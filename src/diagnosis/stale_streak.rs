//! Is it the clock? A late request is told from a clock that is wrong.

use std::cell::Cell;

use crate::time::Millis;

/// What stale timestamps have in common. One stale request is a late one; if all
/// are late by the same, a clock is.
#[derive(Default)]
pub struct StaleStreak {
    run: Cell<Option<Run>>,
}

/// Timestamps one after another that were all stale.
#[derive(Clone, Copy)]
struct Run {
    count: u32,
    least: Millis,
    most: Millis,
}

/// So many in a row are no coincidence.
const A_RUN: u32 = 3;

impl StaleStreak {
    /// A fresh timestamp: the clocks are right.
    pub fn fresh(&self) {
        self.run.set(None);
    }

    /// A stale one, of this age: what can be said of it.
    pub fn stale(&self, age: Millis) -> String {
        let run = match self.run.get() {
            Some(run) => Run {
                count: run.count.saturating_add(1),
                least: run.least.min(age),
                most: run.most.max(age),
            },
            None => Run {
                count: 1,
                least: age,
                most: age,
            },
        };
        self.run.set(Some(run));
        let seconds = |span: Millis| span.0 / 1000;
        if run.count < A_RUN {
            return format!("it is {} s old", seconds(age));
        }
        format!(
            "the last {} requests with a timestamp were all {} to {} s old: this host's clock is \
             ahead, or they wait in a queue",
            run.count,
            seconds(run.least),
            seconds(run.most)
        )
    }
}
