//! When each key last verified a request, in any worker: a key that did so lately is right.

use std::cell::Cell;
use std::rc::Rc;

use crate::cas_map::{CasMap, NAMESPACE, Update, update};
use crate::signature::keyring::{Key, Keyring};
use crate::time::{Millis, Timestamp};

/// For how long a key that verified a request counts as right.
const LATELY: Millis = Millis::seconds(3600);

/// The interval at which a worker tells the others that a key verifies requests.
const BETWEEN_NOTES: Millis = Millis::seconds(600);

/// When each key last verified a request, in any worker.
pub struct LastVerified {
    keys: Vec<Entry>,
    memory: Rc<dyn CasMap>,
}

/// One key's.
struct Entry {
    /// Its name in shared data.
    name: String,
    times: Cell<Times>,
}

#[derive(Clone, Copy, Default)]
struct Times {
    last: Option<Timestamp>,
    /// When this worker last told the others.
    noted: Option<Timestamp>,
}

impl LastVerified {
    /// Returns the state in which no key has verified anything. Workers tell each other in
    /// `memory`.
    pub fn new(keyring: &Keyring, memory: Rc<dyn CasMap>) -> LastVerified {
        let keys = (0..keyring.len()).filter_map(|index| keyring.get(index));
        let keys = keys.map(|key| Entry {
            name: name(key),
            times: Cell::default(),
        });
        LastVerified {
            keys: keys.collect(),
            memory,
        }
    }

    /// Records that the key at this index of the keyring verified a request.
    pub fn note(&self, index: usize, now: Timestamp) {
        let Some(Entry { name, times: own }) = self.keys.get(index) else {
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
            let _ = update(&*self.memory, name, |_| {
                Update::Replace(now.0.to_le_bytes().into(), ())
            });
        }
    }

    /// Reads what other workers have told.
    pub(super) fn learn(&self) {
        for Entry { name, times: own } in &self.keys {
            let entry = self.memory.get(name).ok().flatten();
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
        self.keys.get(index).and_then(|key| key.times.get().last)
    }

    /// Returns how long ago a key verified a request, if that was lately.
    pub(super) fn lately(&self, index: usize, now: Timestamp) -> Option<Millis> {
        let ago = now.since(self.of(index)?);
        (ago <= LATELY).then_some(ago)
    }
}

/// Returns the name of a key in shared data. It changes with the key: its label stays where a
/// token is replaced, and the new one has verified nothing yet. Eight bytes of a hash of a MAC
/// tell nothing about the key.
fn name(key: &Key) -> String {
    let of_key = key.signing.mac(b"twilio-webhook-filter: last verified\0");
    let hex = of_key.nonce().to_hex();
    format!("{NAMESPACE}:verified:{}", hex.get(..16).unwrap_or(&hex))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cas_map::memory::MemoryMap;
    use crate::secret::Secret;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn worker(store: &Rc<MemoryMap>, tokens: [&str; 2]) -> LastVerified {
        let keys = tokens.into_iter().zip(["A", "B"]).map(|(token, label)| {
            let token = Secret::new(token.into());
            Key::auth_token(&token, None, label.into()).expect("a token")
        });
        let keyring = Keyring::new(keys.collect());
        LastVerified::new(&keyring, Rc::clone(store) as Rc<dyn CasMap>)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000).after(Millis::seconds(seconds))
    }

    #[test]
    fn a_token_that_replaces_another_under_its_label_has_verified_nothing() {
        let store = Rc::new(MemoryMap::new());
        worker(&store, ["a", "b"]).note(1, at(0));
        let updated = worker(&store, ["a", "mistyped"]);
        updated.learn();
        assert_eq!(updated.lately(1, at(40)), None);
        // The same token at another place has.
        let moved = worker(&store, ["b", "a"]);
        moved.learn();
        assert_eq!(moved.lately(0, at(40)), Some(Millis::seconds(40)));
    }

    #[test]
    fn a_verified_key_is_known_to_every_worker_and_told_at_intervals() {
        let store = Rc::new(MemoryMap::new());
        let (here, there) = (worker(&store, ["a", "b"]), worker(&store, ["a", "b"]));
        let note = |seconds| here.note(1, at(seconds));
        (0..600).for_each(note);
        assert_eq!(store.writes(), 1);
        there.learn();
        assert_eq!(there.lately(1, at(599)), Some(Millis::seconds(599)));
        assert_eq!(there.lately(0, at(599)), None);
        here.learn();
        // It knows better itself.
        assert_eq!(here.lately(1, at(599)), Some(Millis(0)));
        note(600);
        assert_eq!(store.writes(), 2);
        // A clock that was set back does not count as an interval.
        note(10);
        assert_eq!(store.writes(), 3);
    }
}
