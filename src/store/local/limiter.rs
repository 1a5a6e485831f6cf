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

mod bucket;

use crate::cas_map::{CasMap, Result, Update, update};
use crate::store::local::buckets::{Buckets, unpack};
use crate::store::local::sliding_log::SlidingLog;
use crate::time::{Millis, Timestamp};
use bucket::{Bucket, Counted, Entries, Gone, Stored, Word, stored};

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

    /// Returns how long until the event has left the window that is one too many.
    fn wait_after(&self, limiting: Option<Timestamp>, now: Timestamp) -> Option<Millis> {
        let free = limiting?.after(self.limit.window);
        (free > now).then(|| free.since(now))
    }

    /// Rounds a moment up, never down: an event that counts a little too long lets nothing through.
    fn rounded_up(&self, now: Timestamp) -> Timestamp {
        let steps = now.0.div_ceil(self.resolution.0);
        Timestamp(steps.saturating_mul(self.resolution.0))
    }

    /// Returns what of a bucket still counts, on behalf of one key.
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

    /// Returns whether any run is of a clock that was ahead. All are looked at: in a damaged
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

#[cfg(test)]
mod tests;
