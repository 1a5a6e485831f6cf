//! When each key last verified a request, in any worker: a key that did so lately is right.

use std::cell::Cell;
use std::rc::Rc;

use crate::cas_map::{CasMap, Update, update};
use crate::signature::keyring::{Key, Keyring};
use crate::time::{Millis, Timestamp};

/// For how long a key that verified a request counts as right.
const LATELY: Millis = Millis::seconds(3600);

/// The interval at which a worker tells the others that a key verifies requests.
const BETWEEN_NOTES: Millis = Millis::seconds(600);

/// When each key last verified a request, in any worker.
pub struct LastVerified {
    keys: Vec<Cell<Times>>,
    memory: Rc<dyn CasMap>,
}

#[derive(Clone, Copy, Default)]
struct Times {
    last: Option<Timestamp>,
    /// When this worker last told the others.
    noted: Option<Timestamp>,
}

impl LastVerified {
    /// Returns the state in which none of `keys` keys has verified anything. Workers tell each
    /// other in `memory`.
    pub fn new(keys: usize, memory: Rc<dyn CasMap>) -> LastVerified {
        LastVerified {
            keys: vec![Cell::default(); keys],
            memory,
        }
    }

    /// Records that the key at this index of the keyring verified a request.
    pub fn note(&self, index: usize, key: &Key, now: Timestamp) {
        let Some(own) = self.keys.get(index) else {
            return;
        };
        let Times { noted, .. } = own.get();
        let is_noted = noted.is_some_and(|at| at <= now && now.since(at) < BETWEEN_NOTES);
        let noted = if is_noted { noted } else { Some(now) };
        own.set(Times {
            last: Some(now),
            noted,
        });
        if !is_noted {
            // If this fails, hints of other workers are less precise.
            let _ = update(&*self.memory, &name(key), |_| {
                Update::Replace(now.0.to_le_bytes().into(), ())
            });
        }
    }

    /// Reads what other workers have told.
    pub(super) fn learn(&self, keyring: &Keyring) {
        for (index, own) in self.keys.iter().enumerate() {
            let key = keyring.get(index);
            let entry = key.and_then(|key| self.memory.get(&name(key)).ok().flatten());
            let noted = entry.and_then(|entry| entry.value.try_into().ok());
            let noted = noted.map(|bytes| Timestamp(u64::from_le_bytes(bytes)));
            let times = own.get();
            own.set(Times {
                last: times.last.max(noted),
                ..times
            });
        }
    }

    /// Returns when a key last verified a request.
    pub(super) fn of(&self, index: usize) -> Option<Timestamp> {
        self.keys.get(index).and_then(|times| times.get().last)
    }

    /// Returns how long ago a key verified a request, if that was lately.
    pub(super) fn lately(&self, index: usize, now: Timestamp) -> Option<Millis> {
        let ago = now.since(self.of(index)?);
        (ago <= LATELY).then_some(ago)
    }
}

/// Returns the name of a key in shared data.
fn name(key: &Key) -> String {
    format!("twf1:verified:{}", key.label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cas_map::memory::MemoryMap;
    use crate::secret::Secret;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_verified_key_is_known_to_every_worker_and_told_at_intervals() {
        let key = |label: &str| {
            let token = Secret::new(label.into());
            Key::auth_token(&token, None, label.into()).expect("a token")
        };
        let keyring = Keyring::new(vec![key("A"), key("B")]);
        let store = Rc::new(MemoryMap::new());
        let worker = || LastVerified::new(2, Rc::clone(&store) as Rc<dyn CasMap>);
        let (here, there) = (worker(), worker());
        let at = |seconds| Timestamp(1_000_000).after(Millis::seconds(seconds));
        let note = |seconds| {
            let key = keyring.get(1).expect("the second");
            here.note(1, key, at(seconds));
        };
        (0..600).for_each(note);
        assert_eq!(store.writes(), 1);
        there.learn(&keyring);
        assert_eq!(there.lately(1, at(599)), Some(Millis::seconds(599)));
        assert_eq!(there.lately(0, at(599)), None);
        here.learn(&keyring);
        // It knows better itself.
        assert_eq!(here.lately(1, at(599)), Some(Millis(0)));
        note(600);
        assert_eq!(store.writes(), 2);
        // A clock that was set back does not count as an interval.
        note(10);
        assert_eq!(store.writes(), 3);
    }
}
