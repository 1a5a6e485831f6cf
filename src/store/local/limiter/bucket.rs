//! One bucket: the counters of a few keys in one value of the store.
//!
//! ```text
//! bucket  = header *run *entry            ; 64-bit little-endian words
//! header  = magic                         ; "TWFl" and a version
//!           runs                          ; how many runs of the inherited floor follow
//! entry   = tag                           ; keyed hash of the key that it counts
//!           since << 16 | runs            ; when the key got its slot
//!           inherited                     ; how much of the floor counts for it
//!           *run
//! run     = moment << 16 | events
//! ```

use crate::cas_map::Update;
use crate::store::local::buckets::{pack, push_word, unpack};
use crate::store::local::sliding_log::SlidingLog;
use crate::time::Timestamp;

/// A bucket, on behalf of one key. The entries of the others stay as they are
/// stored: most requests only copy them.
#[derive(Default)]
pub(super) struct Bucket<'a> {
    /// The worst that a key without a slot can have done.
    pub(super) inherited_floor: SlidingLog,
    /// What the key has done, if it has a slot.
    pub(super) counted: Option<Counted>,
    /// All entries, the key's own and those that are gone among them.
    pub(super) entries: &'a [Word],
    pub(super) gone: Gone,
    /// Whether what was stored could not be taken as it was: then it is written also
    /// where nothing is counted, or it would have to be corrected again and again, and
    /// the wait would start anew each time.
    pub(super) is_corrected: bool,
}

/// Which stored entries are not to be written again.
#[derive(Default)]
pub(super) struct Gone {
    /// The key's own: what it has done now is written instead.
    pub(super) own: u64,
    /// Of nothing since then: a window ago.
    pub(super) before: Timestamp,
    /// Their slots were needed.
    pub(super) evicted: Vec<u64>,
}

/// What one key has done.
pub(super) struct Counted {
    pub(super) tag: u64,
    /// When it got its slot.
    pub(super) since: Timestamp,
    /// How many events of the inherited floor count for it, as it stood then. The floor only
    /// gets worse, so what stands there now, put back to `since`, is no less.
    pub(super) inherited: u64,
    /// Since then.
    pub(super) own: SlidingLog,
}

/// An entry as it is stored.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) tag: u64,
    pub(super) since: Timestamp,
    pub(super) inherited: u64,
    /// The runs.
    pub(super) own: &'a [Word],
    /// The whole entry.
    words: &'a [Word],
}

/// A number as it is stored.
pub(super) type Word = [u8; 8];

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"TWFl\0\0\0\x01");

/// Takes a value apart into the runs of the inherited floor and the entries; `None` if it
/// is damaged.
pub(super) fn stored(value: &[u8]) -> Option<(&[Word], &[Word])> {
    let (words, cut) = value.as_chunks::<8>();
    let ([magic, inherited_floor], rest) = words.split_first_chunk()?;
    if u64::from_le_bytes(*magic) != MAGIC || !cut.is_empty() {
        return None;
    }
    let inherited_floor = usize::try_from(u64::from_le_bytes(*inherited_floor)).ok()?;
    let (inherited_floor, entries) = rest.split_at_checked(inherited_floor)?;
    let whole: usize = Entries(entries).map(|entry| entry.words.len()).sum();
    (whole == entries.len()).then_some((inherited_floor, entries))
}

/// The entries in a row of words, up to one that is cut short.
pub(super) struct Entries<'a>(pub(super) &'a [Word]);

impl<'a> Iterator for Entries<'a> {
    type Item = Stored<'a>;

    fn next(&mut self) -> Option<Stored<'a>> {
        let ([tag, since, inherited], after) = self.0.split_first_chunk()?;
        let (since, runs) = unpack(u64::from_le_bytes(*since));
        let own = after.get(..usize::from(runs))?;
        let (words, rest) = self.0.split_at_checked(own.len().checked_add(3)?)?;
        self.0 = rest;
        Some(Stored {
            tag: u64::from_le_bytes(*tag),
            since: Timestamp(since),
            inherited: u64::from_le_bytes(*inherited),
            own,
            words,
        })
    }
}

impl Stored<'_> {
    /// Returns when the last event was that counts for the key; what it inherited was before
    /// it got its slot.
    pub(super) fn last_at(&self) -> Timestamp {
        let newest = self.own.first();
        let newest = newest.map(|word| unpack(u64::from_le_bytes(*word)).0);
        let inherited = if self.inherited > 0 { self.since.0 } else { 0 };
        Timestamp(newest.unwrap_or(0).max(inherited))
    }

    /// Returns how much counts for the key. Some of it may be a window back already: this is
    /// only to choose which one to evict.
    pub(super) fn events(&self) -> u64 {
        let events = |word: &Word| u64::from(unpack(u64::from_le_bytes(*word)).1);
        let own: u64 = self.own.iter().map(events).sum();
        own.saturating_add(self.inherited)
    }
}

impl Counted {
    /// Returns all that counts for the key: its own events, and before them what it inherited.
    pub(super) fn log(&self, inherited_floor: &SlidingLog) -> SlidingLog {
        let mut inherited = inherited_floor.clone();
        inherited.clip(self.since, self.inherited);
        self.own.followed_by(&inherited)
    }
}

impl<'a> Bucket<'a> {
    /// Returns the entries of other keys that still count.
    pub(super) fn others(&self) -> impl Iterator<Item = Stored<'a>> + '_ {
        Entries(self.entries).filter(|entry| !self.is_gone(entry))
    }

    fn is_gone(&self, entry: &Stored<'_>) -> bool {
        entry.tag == self.gone.own
            || entry.last_at() <= self.gone.before
            || self.gone.evicted.contains(&entry.tag)
    }

    /// Returns when the event was from which on `count` have happened that count for the key of
    /// this bucket: its own, and before them what it inherited (see [`Counted::log`]).
    pub(super) fn nth_newest(&self, count: u64) -> Option<Timestamp> {
        let Some(counted) = &self.counted else {
            return self.inherited_floor.nth_newest(count);
        };
        match count.checked_sub(counted.own.events()) {
            None | Some(0) => counted.own.nth_newest(count),
            Some(rest) if rest <= counted.inherited => {
                let at = self.inherited_floor.nth_newest(rest)?;
                Some(at.min(counted.since))
            }
            Some(_) => None,
        }
    }

    pub(super) fn after_rejection<T>(&self, result: T) -> Update<T> {
        if self.is_corrected {
            Update::Replace(self.write(), result)
        } else {
            Update::Keep(result)
        }
    }

    /// Returns whether the key has no slot and there is none free.
    pub(super) fn needs_room(&self, slots: usize) -> bool {
        self.counted.is_none() && self.others().count() >= slots
    }

    pub(super) fn record(&mut self, tag: u64, at: Timestamp, inherited: u64) {
        let new = || Counted {
            tag,
            since: at,
            inherited,
            own: SlidingLog::default(),
        };
        self.counted.get_or_insert_with(new).own.record(at);
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let counted = self.counted.as_ref();
        let own = counted.map_or(0, |counted| counted.own.len() + 3);
        let max_words = 2 + self.inherited_floor.len() + self.entries.len() + own;
        let mut out = Vec::with_capacity(8 * max_words);
        push_word(&mut out, MAGIC);
        push_word(&mut out, self.inherited_floor.len() as u64);
        let floor = self.inherited_floor.words();
        floor.for_each(|word| push_word(&mut out, word));
        // Neighbours that stay are copied at once: in most buckets that is all of them.
        let mut rest = self.entries;
        while !rest.is_empty() {
            let length = |is_gone: bool, words: &[Word]| -> usize {
                let alike = Entries(words).take_while(|entry| self.is_gone(entry) == is_gone);
                alike.map(|entry| entry.words.len()).sum()
            };
            let stay = length(false, rest);
            let (stay, after) = rest.split_at_checked(stay).unwrap_or_default();
            out.extend_from_slice(stay.as_flattened());
            let gone = length(true, after);
            if stay.is_empty() && gone == 0 {
                break;
            }
            rest = after.get(gone..).unwrap_or_default();
        }
        if let Some(counted) = &self.counted {
            let runs = u16::try_from(counted.own.len()).unwrap_or(u16::MAX);
            push_word(&mut out, counted.tag);
            push_word(&mut out, pack(counted.since.0, runs));
            push_word(&mut out, counted.inherited);
            let words = counted.own.words().take(usize::from(runs));
            words.for_each(|word| push_word(&mut out, word));
        }
        out
    }
}
