//! Who has sent how many, exactly, in bounded memory.
//!
//! A limiter remembers the moment of every request that it let through, so that
//! in no window, wherever it starts, more than the limit passes, and so that
//! `Retry-After` is the moment at which the next one does.
//!
//! Memory is bounded: a bucket has a fixed number of slots. When a new key needs
//! one, the key with the fewest events gives up its slot, and what it had counted
//! is folded into the bucket's *residue*: the worst history that any key without a
//! slot can have. A key that comes (back) starts from the residue, as if it were
//! that worst one. So a flood from ever new addresses cannot reset anybody's
//! counter; it takes a flood of more than capacity × limit in one window until
//! newcomers are refused for what others did. (This is the Space-Saving algorithm
//! of Metwally, Agrawal and El Abbadi, 2005, over sliding windows.)
//!
//! ```text
//! bucket  = header *run *entry            ; 64-bit little-endian words
//! header  = magic                         ; "TWFl" and a version
//!           runs                          ; how many runs of residue follow
//! entry   = tag                           ; keyed hash of whom it counts
//!           since << 16 | runs            ; when the key got its slot
//!           inherited                     ; how much of the residue counts for it
//!           *run
//! run     = moment << 16 | events
//! ```

use crate::core::clock::{Moment, Span};
use crate::core::table::buckets::{Buckets, Shape, pack, push_word, unpack, words};
use crate::core::table::history::History;
use crate::core::table::store::{SharedStore, Step, StoreError, update};

/// At most so many requests in any window of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many pass.
    pub requests: u32,
    /// In a window of this length.
    pub window: Span,
}

/// Counters of one rule, one for each key.
pub struct Limiter {
    buckets: Buckets,
    limit: Limit,
    /// Moments are rounded up to this.
    resolution: Span,
}

/// Whether one more request is within the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is, and was counted.
    Passed(Pass),
    /// It is not, and was not counted. After this long, one will be.
    Refused(Span),
}

/// A request that was counted; to be handed back if it is to count no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    at: Moment,
}

/// How many moments are remembered for one key. Limits up to this number are exact
/// to the millisecond; for a larger one moments are rounded up to a sixtieth of
/// the window, so that a key may be let through that much later, never earlier.
pub const MOST_MOMENTS: u32 = 64;

impl Limiter {
    /// Counters for `capacity` keys. Limiters of the same `name` share their counters.
    pub fn new(name: &str, limit: Limit, capacity: usize) -> Limiter {
        let resolution = if limit.requests <= MOST_MOMENTS {
            1
        } else {
            limit.window.0.div_ceil(60)
        };
        Limiter {
            buckets: Buckets::new(name, capacity, SHAPE),
            limit,
            resolution: Span(resolution.max(1)),
        }
    }

    /// The limit that is kept.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// How many keys the counters can ever have in the store.
    pub fn keys(&self) -> u64 {
        self.buckets.count()
    }

    /// Counts a request of `whom` (a keyed hash), if that is within the limit.
    ///
    /// # Errors
    /// What the store says.
    pub fn take(
        &self,
        store: &impl SharedStore,
        whom: u64,
        now: Moment,
    ) -> Result<Taken, StoreError> {
        update(store, &self.buckets.key(whom), |value| {
            let Some(mut bucket) = self.read(value, now) else {
                let spent = self.spent(now).write();
                return Step::Write(spent, Taken::Refused(self.limit.window));
            };
            let history = bucket.history_of(whom);
            if let Some(wait) = self.wait(&history, now) {
                return Step::Leave(Taken::Refused(wait));
            }
            let at = self.rounded_up(now);
            bucket.record(whom, at, now, self.buckets.slots());
            Step::Write(bucket.write(), Taken::Passed(Pass { at }))
        })
    }

    /// How long `whom` has to wait; `None` if the next request would pass. Counts nothing.
    ///
    /// # Errors
    /// What the store says.
    pub fn peek(
        &self,
        store: &impl SharedStore,
        whom: u64,
        now: Moment,
    ) -> Result<Option<Span>, StoreError> {
        let entry = store.get(&self.buckets.key(whom))?;
        let bucket = self.read(entry.as_ref().map(|entry| entry.value.as_slice()), now);
        let bucket = bucket.unwrap_or_else(|| self.spent(now));
        Ok(self.wait(&bucket.history_of(whom), now))
    }

    /// Takes back what [`Limiter::take`] counted.
    ///
    /// # Errors
    /// What the store says; the request then stays counted.
    pub fn withdraw(
        &self,
        store: &impl SharedStore,
        whom: u64,
        pass: Pass,
        now: Moment,
    ) -> Result<(), StoreError> {
        update(store, &self.buckets.key(whom), |value| {
            let Some(mut bucket) = self.read(value, now) else {
                return Step::Leave(());
            };
            let Some(entry) = bucket.entries.iter_mut().find(|entry| entry.tag == whom) else {
                return Step::Leave(());
            };
            entry.own.withdraw(pass.at);
            Step::Write(bucket.write(), ())
        })
    }

    fn wait(&self, history: &History, now: Moment) -> Option<Span> {
        let limiting = history.nth_newest(u64::from(self.limit.requests))?;
        let free = limiting.after(self.limit.window);
        (free > now).then(|| free.since(now))
    }

    /// Later, never earlier: an event that counts a little too long lets nothing through.
    fn rounded_up(&self, now: Moment) -> Moment {
        Moment(
            now.0
                .div_ceil(self.resolution.0)
                .saturating_mul(self.resolution.0),
        )
    }

    /// What of a bucket still counts; `None` if it is damaged.
    fn read(&self, value: Option<&[u8]>, now: Moment) -> Option<Bucket> {
        let Some(value) = value else {
            return Some(Bucket::default());
        };
        let mut bucket = Bucket::read(value)?;
        // Rounded moments lie ahead of the clock; that is not a clock gone wrong.
        let latest = self.rounded_up(now);
        let window = self.limit.window;
        bucket.residue.trim(now, latest, window);
        for entry in &mut bucket.entries {
            entry.own.trim(now, latest, window);
            if entry.since.after(window) <= now {
                entry.inherited = 0;
            }
        }
        bucket
            .entries
            .retain(|entry| !entry.own.is_empty() || entry.inherited > 0);
        Some(bucket)
    }

    /// What takes a damaged bucket's place: every key has just used up its limit.
    /// Whatever was lost, nothing passes that should not.
    fn spent(&self, now: Moment) -> Bucket {
        Bucket {
            residue: History::of(self.rounded_up(now), u64::from(self.limit.requests)),
            entries: Vec::new(),
        }
    }
}

/// 16 slots: a bucket of addresses with a request each is half a kilobyte.
const SHAPE: Shape = Shape {
    most_in_one: 16,
    slots: 16,
};

#[derive(Default)]
struct Bucket {
    /// The worst that a key without a slot can have done.
    residue: History,
    entries: Vec<Counted>,
}

/// What one key has done.
struct Counted {
    tag: u64,
    /// When it got its slot.
    since: Moment,
    /// How many events of the residue count for it, as it stood then. The residue
    /// only gets worse, so what stands there now, put back to `since`, is no less.
    inherited: u64,
    /// Since then.
    own: History,
}

const MAGIC: u64 = u64::from_le_bytes(*b"TWFl\0\0\0\x01");

impl Bucket {
    fn read(value: &[u8]) -> Option<Bucket> {
        let mut words = words(value)?;
        if words.next()? != MAGIC {
            return None;
        }
        let take_runs = |words: &mut dyn Iterator<Item = u64>, count: u64| {
            let runs = usize::try_from(count).ok()?;
            let history = History::read(words.take(runs));
            (history.len() == runs).then_some(history)
        };
        let residue_runs = words.next()?;
        let residue = take_runs(&mut words, residue_runs)?;
        let mut entries = Vec::new();
        while let Some(tag) = words.next() {
            let (since, runs) = unpack(words.next()?);
            let inherited = words.next()?;
            let own = take_runs(&mut words, u64::from(runs))?;
            entries.push(Counted {
                tag,
                since: Moment(since),
                inherited,
                own,
            });
        }
        Some(Bucket { residue, entries })
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.entries.len() * 48);
        push_word(&mut out, MAGIC);
        push_word(&mut out, self.residue.len() as u64);
        self.residue
            .words()
            .for_each(|word| push_word(&mut out, word));
        for entry in &self.entries {
            let runs = u16::try_from(entry.own.len()).unwrap_or(u16::MAX);
            push_word(&mut out, entry.tag);
            push_word(&mut out, pack(entry.since.0, runs));
            push_word(&mut out, entry.inherited);
            let words = entry.own.words().take(usize::from(runs));
            words.for_each(|word| push_word(&mut out, word));
        }
        out
    }

    /// All that counts for a key: its own events, and before them what it inherited.
    fn history_of(&self, tag: u64) -> History {
        match self.entries.iter().find(|entry| entry.tag == tag) {
            Some(entry) => self.whole_history(entry),
            None => self.residue.clone(),
        }
    }

    fn whole_history(&self, entry: &Counted) -> History {
        let mut inherited = self.residue.clone();
        inherited.clip(entry.since, entry.inherited);
        entry.own.followed_by(&inherited)
    }

    fn record(&mut self, tag: u64, at: Moment, now: Moment, slots: usize) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.tag == tag) {
            entry.own.record(at);
            return;
        }
        let inherited = self.residue.events();
        while self.entries.len() >= slots {
            self.evict_the_least();
        }
        let mut own = History::default();
        own.record(at);
        self.entries.push(Counted {
            tag,
            since: at.max(now),
            inherited,
            own,
        });
    }

    /// Frees the slot of the key that has done least, and lets the residue remember it.
    fn evict_the_least(&mut self) {
        let least = self
            .entries
            .iter()
            .enumerate()
            .min_by_key(|(_, entry)| (entry.own.events() + entry.inherited, entry.own.newest()))
            .map(|(place, _)| place);
        let Some(place) = least else { return };
        let evicted = self.entries.swap_remove(place);
        self.residue = self.residue.worse_of(&self.whole_history(&evicted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::table::memory::MemoryStore;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const START: Moment = Moment(1_800_000_000_000);

    fn limiter(requests: u32, seconds: u64, capacity: usize) -> Limiter {
        let window = Span::seconds(seconds);
        Limiter::new("test", Limit { requests, window }, capacity)
    }

    fn at(millis: u64) -> Moment {
        START.after(Span(millis))
    }

    fn take(limiter: &Limiter, store: &MemoryStore, whom: u64, now: Moment) -> Taken {
        limiter
            .take(store, spread(whom), now)
            .expect("the memory store does not fail")
    }

    /// As evenly as the keyed hash spreads addresses.
    fn spread(whom: u64) -> u64 {
        whom.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn passes(limiter: &Limiter, store: &MemoryStore, whom: u64, now: Moment) -> bool {
        matches!(take(limiter, store, whom, now), Taken::Passed(_))
    }

    #[test]
    fn sixty_pass_and_the_sixty_first_does_not() {
        let (limiter, store) = (limiter(60, 60, 100), MemoryStore::new());
        for request in 0..60 {
            assert!(passes(&limiter, &store, 1, at(request)), "{request}");
        }
        assert_eq!(
            take(&limiter, &store, 1, at(60)),
            Taken::Refused(Span(59_940))
        );
        assert!(passes(&limiter, &store, 2, at(60)), "another key");
        assert!(!passes(&limiter, &store, 1, at(59_999)));
        assert!(passes(&limiter, &store, 1, at(60_000)));
        assert!(!passes(&limiter, &store, 1, at(60_000)));
        assert!(passes(&limiter, &store, 1, at(60_001)));
    }

    #[test]
    fn who_waits_as_long_as_told_passes_and_a_millisecond_less_does_not() {
        for requests in [1, 5, 64, 65, 1000, 100_000] {
            let (limiter, store) = (limiter(requests, 7, 10), MemoryStore::new());
            let mut now = START;
            for _ in 0..requests {
                assert!(passes(&limiter, &store, 1, now));
                now = now.after(Span(u64::from(requests < 2000)));
            }
            let Taken::Refused(wait) = take(&limiter, &store, 1, now) else {
                panic!("one too many");
            };
            assert!(
                !passes(&limiter, &store, 1, now.after(Span(wait.0 - 1))),
                "{requests}"
            );
            assert!(passes(&limiter, &store, 1, now.after(wait)), "{requests}");
        }
    }

    #[test]
    fn in_no_window_more_than_the_limit_passes() {
        // Bursts that a fixed window would let through twice, at every phase.
        for (requests, capacity) in [(3, 1), (60, 1), (70, 1), (200, 4)] {
            let (limiter, store) = (limiter(requests, 1, capacity), MemoryStore::new());
            let mut passed = Vec::new();
            let mut random = 12345_u64;
            let mut now = START;
            for _ in 0..20_000 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                now = now.after(Span((random >> 33) % 9));
                if passes(&limiter, &store, 1, now) {
                    passed.push(now);
                }
            }
            let limit = requests as usize;
            for pair in passed.windows(limit + 1) {
                let span = pair[limit].since(pair[0]);
                assert!(span >= Span(1000), "{requests}: {span:?}");
            }
            assert!(
                passed.len() > limit * 10,
                "the limiter lets hardly anything through"
            );
        }
    }

    #[test]
    fn a_flood_of_other_keys_does_not_reset_a_counter() {
        let (limiter, store) = (limiter(5, 60, 64), MemoryStore::new());
        for whom in [1, 2] {
            for request in 0..5 - (whom - 1) {
                assert!(passes(&limiter, &store, whom, at(request)));
            }
        }
        for other in 0..100_000 {
            take(&limiter, &store, 1000 + other, at(100 + other / 10));
        }
        assert!(
            !passes(&limiter, &store, 1, at(20_000)),
            "it was limited and must be still"
        );
        let more = (0..5)
            .filter(|_| passes(&limiter, &store, 2, at(20_000)))
            .count();
        assert!(more <= 1, "it had one left, and {more} passed");
        assert!(store.keys() as u64 <= limiter.keys());
        assert!(
            passes(&limiter, &store, 1, at(80_001)),
            "a window later it is free"
        );
    }

    #[test]
    fn newcomers_pass_while_the_flood_is_within_capacity_times_limit() {
        let (limiter, store) = (limiter(60, 60, 1024), MemoryStore::new());
        for other in 0..20_000 {
            take(&limiter, &store, 1000 + other, at(other));
        }
        let refused = (0..1000).filter(|whom| !passes(&limiter, &store, *whom, at(20_000)));
        assert_eq!(refused.count(), 0);
    }

    #[test]
    fn a_flood_costs_no_memory() {
        let (limiter, store) = (limiter(60, 60, 256), MemoryStore::new());
        for other in 0..50_000 {
            take(&limiter, &store, other, at(other));
        }
        let most = limiter.keys() as usize * (16 + 64 * 8 + 16 * (24 + 8 * 60));
        assert!(store.bytes() <= most, "{} of {most}", store.bytes());
    }

    #[test]
    fn what_is_withdrawn_does_not_count() {
        let (limiter, store) = (limiter(2, 60, 10), MemoryStore::new());
        assert!(passes(&limiter, &store, 1, at(0)));
        let Taken::Passed(pass) = take(&limiter, &store, 1, at(1)) else {
            panic!("the second passes");
        };
        limiter
            .withdraw(&store, spread(1), pass, at(2))
            .expect("withdrawn");
        assert!(passes(&limiter, &store, 1, at(3)));
        assert!(!passes(&limiter, &store, 1, at(4)));
    }

    #[test]
    fn peeking_counts_nothing() {
        let (limiter, store) = (limiter(1, 60, 10), MemoryStore::new());
        for _ in 0..3 {
            assert_eq!(limiter.peek(&store, spread(1), START), Ok(None));
        }
        assert!(passes(&limiter, &store, 1, START));
        assert_eq!(
            limiter.peek(&store, spread(1), START),
            Ok(Some(Span(60_000)))
        );
    }

    #[test]
    fn a_clock_that_goes_back_frees_nobody_and_locks_nobody_out_for_long() {
        let (limiter, store) = (limiter(2, 60, 10), MemoryStore::new());
        let ahead = at(1_000_000_000);
        assert!(passes(&limiter, &store, 1, ahead));
        assert!(passes(&limiter, &store, 1, ahead));
        assert!(!passes(&limiter, &store, 1, START));
        let Taken::Refused(wait) = take(&limiter, &store, 1, START) else {
            panic!("it is limited");
        };
        assert!(wait <= Span(60_000), "{wait:?}");
    }

    #[test]
    fn a_damaged_bucket_lets_nothing_through_for_one_window() {
        for damage in [
            &b""[..],
            b"x",
            b"12345678",
            &[0xFF; 64],
            &[MAGIC.to_le_bytes(), [9; 8]].concat(),
        ] {
            let (limiter, store) = (limiter(2, 60, 10), MemoryStore::new());
            assert!(passes(&limiter, &store, 1, START));
            assert!(store.host_set(&store.key_names()[0], damage, 0));
            assert!(!passes(&limiter, &store, 1, at(1)), "{damage:?}");
            assert!(!passes(&limiter, &store, 1, at(60_000)), "{damage:?}");
            assert!(passes(&limiter, &store, 1, at(60_001)), "{damage:?}");
        }
    }
}
