//! Who has sent how many requests, exactly, in bounded memory.
//!
//! A limiter keeps a sliding window log: the moment of every request that it let through.
//! So in no window, wherever it starts, more than the limit passes, and `Retry-After` is
//! the moment at which the next request does.
//!
//! Memory is bounded: a bucket has a fixed number of slots. When a new key needs
//! one, the key with the fewest events is evicted, and what it had counted is folded into
//! the bucket's *inherited floor*: the worst log that any key without a slot can have. A
//! key that comes (back) starts from the floor, as if it were that worst one. So a flood
//! from ever new addresses cannot reset anybody's counter; it takes a flood of more than
//! capacity × limit in one window until newcomers are rejected for what others did. (This
//! is the Space-Saving algorithm of Metwally, Agrawal and El Abbadi, 2005, over sliding
//! windows.) Where a limit is only checked, and not counted by, what was inherited rejects
//! nobody: see [`Limiter::check`].
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

use crate::cas_map::{CasMap, Result, Update, update};
use crate::store::local::buckets::{Buckets, pack, push_word, unpack};
use crate::store::local::sliding_log::SlidingLog;
use crate::time::{Millis, Timestamp};

/// At most so many requests in any window of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many pass.
    pub requests: u32,
    /// In a window of this length.
    pub window: Millis,
}

/// Counters of one rule, one for each key.
pub struct Limiter {
    buckets: Buckets,
    limit: Limit,
    /// Moments are rounded up to this.
    resolution: Millis,
}

/// Whether one more request is within the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// It is, and was counted.
    Permitted(Permit),
    /// It is not, and was not counted. After this long, one will be.
    Limited(Millis),
}

/// A request that was counted; to be handed back if it is to count no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    at: Timestamp,
}

/// How many moments are stored for one key. Limits up to this number are exact
/// to the millisecond; for a larger one moments are rounded up to a sixtieth of
/// the window, so that a key may be let through that much later, never earlier.
pub const MAX_MOMENTS: u32 = 64;

impl Limiter {
    /// Makes counters for `capacity` keys. Limiters of the same `name` and capacity share
    /// their counters.
    pub fn new(name: &str, limit: Limit, capacity: usize) -> Limiter {
        let resolution = match limit.requests {
            ..=MAX_MOMENTS => 1,
            _ => limit.window.0.div_ceil(60).max(1),
        };
        Limiter {
            buckets: buckets(name, capacity),
            limit,
            resolution: Millis(resolution),
        }
    }

    /// Returns the limit.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Returns what moments are rounded up to.
    pub fn resolution(&self) -> Millis {
        self.resolution
    }

    /// Returns how many keys one bucket has slots for.
    pub fn slots(&self) -> usize {
        self.buckets.slots()
    }

    /// Returns the store's key for the bucket of a limited key.
    pub fn bucket_key(&self, key_hash: u64) -> String {
        self.buckets.key(key_hash)
    }

    /// Returns how many keys the counters can ever have in the store.
    pub fn keys(&self) -> u64 {
        self.buckets.count()
    }

    /// Counts a request of a key (a keyed hash), if that is within the limit.
    ///
    /// # Errors
    /// The store's own.
    pub fn check_and_count(
        &self,
        store: &impl CasMap,
        key_hash: u64,
        now: Timestamp,
    ) -> Result<CheckResult> {
        update(store, &self.buckets.key(key_hash), |value| {
            let mut bucket = self.read(value.as_deref(), key_hash, now);
            if let Some(wait) = self.wait(&bucket, now) {
                return bucket.after_rejection(CheckResult::Limited(wait));
            }
            let permit = self.permit_at(now);
            // What is evicted for this key was never its own: it inherits what was there before.
            let inherited = bucket.inherited_floor.events();
            while bucket.needs_room(self.buckets.slots()) && self.evict_smallest(&mut bucket, now) {
            }
            bucket.record(key_hash, permit.at, inherited);
            Update::Replace(bucket.write(), CheckResult::Permitted(permit))
        })
    }

    /// Returns how long a key has to wait for what it has done itself; `None` if that is
    /// within the limit. Counts nothing, and does not look at what the key has inherited:
    /// this is for limits on rejections, where a sender that does nothing wrong never has
    /// a slot. A flood by others must not reject it; a sender that does something wrong is
    /// rejected when that is counted ([`Limiter::check_and_count`]).
    ///
    /// # Errors
    /// The store's own.
    pub fn check(
        &self,
        store: &impl CasMap,
        key_hash: u64,
        now: Timestamp,
    ) -> Result<Option<Millis>> {
        update(store, &self.buckets.key(key_hash), |value| {
            let bucket = self.read(value.as_deref(), key_hash, now);
            let own = bucket.counted.as_ref();
            let limiting = own.and_then(|counted| counted.own.nth_newest(self.max_requests()));
            match self.wait_after(limiting, now) {
                Some(wait) => bucket.after_rejection(Some(wait)),
                None => Update::Keep(None),
            }
        })
    }

    /// Takes back what [`Limiter::check_and_count`] counted.
    ///
    /// # Errors
    /// The store's own; the request then stays counted.
    pub fn undo(
        &self,
        store: &impl CasMap,
        key_hash: u64,
        permit: Permit,
        now: Timestamp,
    ) -> Result<()> {
        update(store, &self.buckets.key(key_hash), |value| {
            let mut bucket = self.read(value.as_deref(), key_hash, now);
            let Some(counted) = &mut bucket.counted else {
                return Update::Keep(());
            };
            counted.own.remove(permit.at);
            Update::Replace(bucket.write(), ())
        })
    }

    /// Returns what [`Limiter::check_and_count`] hands out at this moment.
    pub fn permit_at(&self, now: Timestamp) -> Permit {
        Permit {
            at: self.rounded_up(now),
        }
    }

    fn wait(&self, bucket: &Bucket<'_>, now: Timestamp) -> Option<Millis> {
        self.wait_after(bucket.nth_newest(self.max_requests()), now)
    }

    fn max_requests(&self) -> u64 {
        u64::from(self.limit.requests)
    }

    /// How long until the event has left the window that is one too many.
    fn wait_after(&self, limiting: Option<Timestamp>, now: Timestamp) -> Option<Millis> {
        let free = limiting?.after(self.limit.window);
        (free > now).then(|| free.since(now))
    }

    /// Rounds a moment up, never down: an event that counts a little too long lets nothing through.
    fn rounded_up(&self, now: Timestamp) -> Timestamp {
        let steps = now.0.div_ceil(self.resolution.0);
        Timestamp(steps.saturating_mul(self.resolution.0))
    }

    /// What of a bucket still counts, on behalf of one key.
    fn read<'a>(&self, value: Option<&'a [u8]>, key_hash: u64, now: Timestamp) -> Bucket<'a> {
        let Some(value) = value else {
            return Bucket::default();
        };
        let Some((inherited_floor, entries)) = stored(value) else {
            return self.spent(now);
        };
        let own = Entries(entries).find(|entry| entry.tag == key_hash);
        let own_is_ahead = own.is_some_and(|own| self.are_ahead(own.own, now));
        Bucket {
            inherited_floor: self.trimmed(inherited_floor, now),
            counted: own.map(|own| self.decoded(&own, now)),
            entries,
            gone: Gone {
                own: key_hash,
                before: now.before(self.limit.window),
                evicted: Vec::new(),
            },
            is_corrected: own_is_ahead || self.are_ahead(inherited_floor, now),
        }
    }

    /// The latest moment that can be right. Workers read their clocks one after the
    /// other, and moments are rounded up, so what lies a little ahead is no clock gone
    /// wrong, and must not be made any older. What lies more than a window ahead is.
    fn latest(&self, now: Timestamp) -> Timestamp {
        self.rounded_up(now).after(self.limit.window)
    }

    /// Whether any run is of a clock that was ahead. All are looked at: in a damaged
    /// value they need not be in order.
    fn are_ahead(&self, runs: &[Word], now: Timestamp) -> bool {
        let latest = self.latest(now).0;
        let at = |run: &Word| unpack(u64::from_le_bytes(*run)).0;
        runs.iter().any(|run| at(run) > latest)
    }

    fn decoded(&self, entry: &Stored<'_>, now: Timestamp) -> Counted {
        let since = entry.since.min(self.latest(now));
        let is_over = since.after(self.limit.window) <= now;
        Counted {
            tag: entry.tag,
            since,
            inherited: if is_over { 0 } else { entry.inherited },
            own: self.trimmed(entry.own, now),
        }
    }

    fn trimmed(&self, runs: &[Word], now: Timestamp) -> SlidingLog {
        let mut log = SlidingLog::read(runs.iter().map(|word| u64::from_le_bytes(*word)));
        if self.are_ahead(runs, now) {
            // A clock was ahead: what it counted counts from now on, for one window.
            log.clip(self.rounded_up(now), u64::MAX);
        }
        log.trim(now, self.limit.window);
        log
    }

    /// Evicts the key that has done least, and folds what it had done into the floor.
    fn evict_smallest(&self, bucket: &mut Bucket<'_>, now: Timestamp) -> bool {
        let size = |entry: &Stored<'_>| (entry.events(), entry.last_at());
        let Some(smallest) = bucket.others().min_by_key(size) else {
            return false;
        };
        let floor = &bucket.inherited_floor;
        bucket.inherited_floor = floor.pointwise_max(&self.decoded(&smallest, now).log(floor));
        bucket.gone.evicted.push(smallest.tag);
        true
    }

    /// The bucket that replaces a damaged one: every key has just used up its limit.
    /// Whatever was lost, nothing passes that should not.
    fn spent(&self, now: Timestamp) -> Bucket<'static> {
        Bucket {
            inherited_floor: SlidingLog::of(self.rounded_up(now), u64::from(self.limit.requests)),
            is_corrected: true,
            ..Bucket::default()
        }
    }
}

/// How many keys a table of a single bucket counts at most; it counts just its capacity.
const MAX_IN_ONE_BUCKET: usize = 16;

/// How many slots each bucket of a larger table has.
const SLOTS: usize = 12;

/// How many keys a bucket of such a table has on average when the table is full: with a
/// request each, they take 144 bytes. A bucket that overflows loses nothing, it only
/// counts more than there was.
const KEYS_ON_AVERAGE: usize = 4;

/// The buckets for so many keys.
///
/// Their number follows the capacity, other than that of nonces. Anyone can fill these
/// tables, so the memory that they can take has to be what was configured; a changed
/// capacity begins the counters anew, which costs one window; and the keys name the
/// counters in Redis, too, for which all Envoys have to agree.
fn buckets(name: &str, capacity: usize) -> Buckets {
    if capacity <= MAX_IN_ONE_BUCKET {
        return Buckets::new(name, 1, capacity);
    }
    let count = capacity.div_ceil(KEYS_ON_AVERAGE);
    Buckets::new(name, count as u64, SLOTS)
}

/// A bucket, on behalf of one key. The entries of the others stay as they are
/// stored: most requests only copy them.
#[derive(Default)]
struct Bucket<'a> {
    /// The worst that a key without a slot can have done.
    inherited_floor: SlidingLog,
    /// What the key has done, if it has a slot.
    counted: Option<Counted>,
    /// All entries, the key's own and those that are gone among them.
    entries: &'a [Word],
    gone: Gone,
    /// Whether what was stored could not be taken as it was: then it is written also
    /// where nothing is counted, or it would have to be corrected again and again, and
    /// the wait would start anew each time.
    is_corrected: bool,
}

/// Which stored entries are not to be written again.
#[derive(Default)]
struct Gone {
    /// The key's own: what it has done now is written instead.
    own: u64,
    /// Of nothing since then: a window ago.
    before: Timestamp,
    /// Their slots were needed.
    evicted: Vec<u64>,
}

/// What one key has done.
struct Counted {
    tag: u64,
    /// When it got its slot.
    since: Timestamp,
    /// How many events of the inherited_floor count for it, as it stood then. The inherited_floor
    /// only gets worse, so what stands there now, put back to `since`, is no less.
    inherited: u64,
    /// Since then.
    own: SlidingLog,
}

/// An entry as it is stored.
#[derive(Clone, Copy)]
struct Stored<'a> {
    tag: u64,
    since: Timestamp,
    inherited: u64,
    /// The runs.
    own: &'a [Word],
    /// All of it.
    words: &'a [Word],
}

/// A number as it is stored.
type Word = [u8; 8];

const MAGIC: u64 = u64::from_le_bytes(*b"TWFl\0\0\0\x01");

/// Takes a value apart into the runs of the inherited_floor and the entries; `None` if it
/// is damaged.
fn stored(value: &[u8]) -> Option<(&[Word], &[Word])> {
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
struct Entries<'a>(&'a [Word]);

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
    /// When the last of what counts for the key was; what it inherited was before it
    /// got its slot.
    fn last_at(&self) -> Timestamp {
        let newest = self.own.first();
        let newest = newest.map(|word| unpack(u64::from_le_bytes(*word)).0);
        let inherited = if self.inherited > 0 { self.since.0 } else { 0 };
        Timestamp(newest.unwrap_or(0).max(inherited))
    }

    /// How much counts for the key. Some of it may be a window back already: this is
    /// only to choose which one to evict.
    fn events(&self) -> u64 {
        let events = |word: &Word| u64::from(unpack(u64::from_le_bytes(*word)).1);
        let own: u64 = self.own.iter().map(events).sum();
        own.saturating_add(self.inherited)
    }
}

impl Counted {
    /// All that counts for the key: its own events, and before them what it inherited.
    fn log(&self, inherited_floor: &SlidingLog) -> SlidingLog {
        let mut inherited = inherited_floor.clone();
        inherited.clip(self.since, self.inherited);
        self.own.followed_by(&inherited)
    }
}

impl<'a> Bucket<'a> {
    /// The entries of other keys that still count.
    fn others(&self) -> impl Iterator<Item = Stored<'a>> + '_ {
        Entries(self.entries).filter(|entry| !self.is_gone(entry))
    }

    fn is_gone(&self, entry: &Stored<'_>) -> bool {
        entry.tag == self.gone.own
            || entry.last_at() <= self.gone.before
            || self.gone.evicted.contains(&entry.tag)
    }

    /// When the event was from which on `count` have happened that count for the key of
    /// this bucket: its own, and before them what it inherited (see [`Counted::log`]).
    fn nth_newest(&self, count: u64) -> Option<Timestamp> {
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

    fn after_rejection<T>(&self, result: T) -> Update<T> {
        if self.is_corrected {
            Update::Replace(self.write(), result)
        } else {
            Update::Keep(result)
        }
    }

    /// Whether the key has no slot and there is none free.
    fn needs_room(&self, slots: usize) -> bool {
        self.counted.is_none() && self.others().count() >= slots
    }

    fn record(&mut self, tag: u64, at: Timestamp, inherited: u64) {
        let new = || Counted {
            tag,
            since: at,
            inherited,
            own: SlidingLog::default(),
        };
        self.counted.get_or_insert_with(new).own.record(at);
    }

    fn write(&self) -> Vec<u8> {
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

#[cfg(test)]
mod tests;
