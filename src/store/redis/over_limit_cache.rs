//! Who is over a limit, so that a flood does not become a flood of Redis.
//!
//! A limit that is used up stays so until the moment that Redis named: what it rejects
//! is not counted, so nothing can change that but time. Until then this worker rejects
//! by itself. It stores a fixed number, each newcomer in the place of another: to
//! forget costs a question, nothing else.

use std::cell::RefCell;

use crate::time::{Millis, Timestamp};

/// Those that this worker knows to be over a limit.
#[derive(Debug, Default)]
pub struct OverLimitCache {
    slots: RefCell<Vec<Slot>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key_hash: u64,
    since: Timestamp,
    until: Timestamp,
}

/// 12 KiB.
const SLOTS: usize = 512;

impl OverLimitCache {
    /// Stores that a counter (a keyed hash of limit and subject) is used up for so long.
    pub fn insert(&self, key_hash: u64, wait: Millis, now: Timestamp) {
        let mut slots = self.slots.borrow_mut();
        if slots.is_empty() {
            slots.resize(SLOTS, Slot::default());
        }
        if let Some(slot) = slots.get_mut(index(key_hash)) {
            *slot = Slot {
                key_hash,
                since: now,
                until: now.after(wait),
            };
        }
    }

    /// Returns for how long a counter is still used up, if that is known.
    pub fn wait(&self, key_hash: u64, now: Timestamp) -> Option<Millis> {
        let slots = self.slots.borrow();
        let slot = slots.get(index(key_hash))?;
        // Before `since`, the clock was put back, and nothing is known.
        let holds = slot.key_hash == key_hash && slot.since <= now && now < slot.until;
        holds.then(|| slot.until.since(now))
    }
}

fn index(key_hash: u64) -> usize {
    (key_hash % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn one_over_the_limit_is_known_until_its_time_has_come() {
        let cache = OverLimitCache::default();
        assert_eq!(cache.wait(7, Timestamp(1000)), None);
        cache.insert(7, Millis(500), Timestamp(1000));
        assert_eq!(cache.wait(7, Timestamp(1000)), Some(Millis(500)));
        assert_eq!(cache.wait(7, Timestamp(1499)), Some(Millis(1)));
        assert_eq!(cache.wait(7, Timestamp(1500)), None);
        assert_eq!(cache.wait(8, Timestamp(1000)), None);
    }

    #[test]
    fn nothing_is_known_after_the_clock_was_put_back() {
        let cache = OverLimitCache::default();
        cache.insert(7, Millis(500), Timestamp(1000));
        assert_eq!(cache.wait(7, Timestamp(999)), None);
    }

    #[test]
    fn a_newcomer_in_the_same_place_makes_it_forget_and_no_more() {
        let cache = OverLimitCache::default();
        cache.insert(7, Millis(500), Timestamp(1000));
        cache.insert(7 + SLOTS as u64, Millis(500), Timestamp(1000));
        assert_eq!(cache.wait(7, Timestamp(1000)), None);
        assert!(cache.wait(7 + SLOTS as u64, Timestamp(1000)).is_some());
    }
}
