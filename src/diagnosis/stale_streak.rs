//! The clock: a wrong one is distinguished from a late request.

use std::cell::Cell;

use crate::time::Millis;

/// Consecutive stale timestamps, of those that are signed: one stale request is late, but if all are late by the same
/// amount, a clock is wrong.
#[derive(Default)]
pub struct StaleStreak {
    streak: Cell<Option<Streak>>,
}

/// The number of consecutive stale timestamps, and the range of their ages.
#[derive(Clone, Copy)]
struct Streak {
    count: u32,
    min: Millis,
    max: Millis,
}

/// The length of a streak that is no coincidence.
const MIN_STREAK: u32 = 3;

impl StaleStreak {
    /// Ends the streak: a timestamp was fresh, so the clocks are right.
    pub fn fresh(&self) {
        self.streak.set(None);
    }

    /// Records a stale timestamp of this age, and returns a hint.
    pub fn stale(&self, age: Millis) -> String {
        let before = self.streak.get().unwrap_or(Streak {
            count: 0,
            min: age,
            max: age,
        });
        let streak = Streak {
            count: before.count.saturating_add(1),
            min: before.min.min(age),
            max: before.max.max(age),
        };
        self.streak.set(Some(streak));
        if streak.count < MIN_STREAK {
            return hint_of_age(age);
        }
        format!(
            "the last {} requests with a timestamp were all {} to {} s old: this host's clock is \
             ahead, or they wait in a queue",
            streak.count,
            seconds(streak.min),
            seconds(streak.max)
        )
    }
}

/// Returns the hint for one stale timestamp that says nothing of the clock: an unsigned one,
/// which is whatever a client wants it to be.
pub fn hint_of_age(age: Millis) -> String {
    format!("it is {} s old", seconds(age))
}

fn seconds(span: Millis) -> u64 {
    span.0 / 1000
}
