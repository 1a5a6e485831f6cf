//! One bucket: the records of requests in one value of the store.
//!
//! ```text
//! bucket = header *entry                  ; 64-bit little-endian words
//! header = magic                          ; "TWF" "n" and a version
//!          reject-until                   ; after damage; else 0
//! entry  = fingerprint                    ; 64 bits of the nonce
//!          pinned-until << 16 | state
//!          retained-until << 16 | share
//!          claim                          ; which request's claim it is
//! ```

use crate::store::local::buckets::{pack, push_word, unpack};
use crate::store::local::nonces::terms::{Change, IN_FLIGHT, MAX_ABANDONED};
use crate::time::{Millis, Timestamp};

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The upstream has taken the request; or it will, unless its outcome says otherwise.
    /// Senders have abandoned it `abandoned` times before. Where that is more than
    /// [`MAX_ABANDONED`], there was no answer, and there will be none.
    Completed { abandoned: u16 },
    /// The request is on its way to the upstream.
    InProgress { abandoned: u16 },
    /// Its senders left before an answer, so often; it may be claimed again.
    Abandoned(u16),
}

impl State {
    /// The state of a request without an answer that was abandoned `before` times already.
    pub(super) fn unanswered(before: u16) -> State {
        let times = before.saturating_add(1);
        if times <= MAX_ABANDONED {
            State::Abandoned(times)
        } else {
            State::Completed { abandoned: times }
        }
    }

    pub(super) fn to_bits(self) -> u16 {
        match self {
            State::Completed { abandoned } => abandoned << 2,
            State::InProgress { abandoned } => abandoned << 2 | 1,
            State::Abandoned(times) => times << 2 | 2,
        }
    }

    pub(super) fn from_bits(bits: u16) -> Option<State> {
        let abandoned = bits >> 2;
        match bits & 3 {
            0 => Some(State::Completed { abandoned }),
            1 => Some(State::InProgress { abandoned }),
            2 => Some(State::Abandoned(abandoned)),
            _ => None,
        }
    }
}

/// The record of one request.
#[derive(Clone, Copy)]
pub(super) struct NonceRecord {
    pub(super) fingerprint: u64,
    /// Until then it must not be evicted.
    pub(super) pinned_until: Timestamp,
    /// Until then it stays while there is space.
    pub(super) retained_until: Timestamp,
    pub(super) state: State,
    /// How many slots of a bucket the table had that claimed it. Records of one share make
    /// room for each other, and for no others.
    pub(super) share: u16,
    pub(super) claim: u64,
}

/// A record as it is stored.
type Stored = [u8; 32];

impl NonceRecord {
    /// `None` if it is nothing that [`NonceRecord::stored`] has made.
    fn read(stored: &Stored) -> Option<NonceRecord> {
        let (words, _) = stored.as_chunks::<8>();
        let [fingerprint, pinned, retained, claim] = words else {
            return None;
        };
        let (pinned_until, state) = unpack(u64::from_le_bytes(*pinned));
        let (retained_until, share) = unpack(u64::from_le_bytes(*retained));
        Some(NonceRecord {
            fingerprint: u64::from_le_bytes(*fingerprint),
            pinned_until: Timestamp(pinned_until),
            retained_until: Timestamp(retained_until),
            state: State::from_bits(state)?,
            share,
            claim: u64::from_le_bytes(*claim),
        })
    }

    fn stored(&self) -> Stored {
        let words = [
            self.fingerprint,
            pack(self.pinned_until.0, self.state.to_bits()),
            pack(self.retained_until.0, self.share),
            self.claim,
        ];
        let mut stored = [0; 32];
        for (to, word) in stored.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        stored
    }

    /// Returns the record's state at this moment. A claim that was not settled in time, because its worker
    /// died, lapses like one whose sender has left.
    pub(super) fn state_at(&self, now: Timestamp) -> State {
        match self.state {
            State::InProgress { abandoned } if now > self.pinned_until => {
                State::unanswered(abandoned)
            }
            state => state,
        }
    }

    /// Returns whether the record's time is over. While there is space, abandoned deliveries are
    /// counted for as long as an accepted request is retained.
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        now > self.retained_until.max(self.pinned_until)
    }

    /// Returns whether a repeat of the request is to be rejected.
    pub(super) fn is_replay(&self, now: Timestamp) -> bool {
        !matches!(self.state_at(now), State::Abandoned(_)) && !self.is_expired(now)
    }

    /// Returns whether the record may not be evicted.
    pub(super) fn is_pinned(&self, now: Timestamp) -> bool {
        now <= self.pinned_until
    }

    /// Returns how often a sender of the request has left.
    pub(super) fn abandoned(&self, now: Timestamp) -> u16 {
        match self.state_at(now) {
            State::Abandoned(times) if !self.is_expired(now) => times,
            _ => 0,
        }
    }
}

/// By how much correct clocks may differ, and by how much a clock may be set back without
/// a record being changed for it.
const CLOCKS_DIFFER: Millis = Millis::seconds(10);

/// One bucket, as it is stored: a record is decoded when it is looked at, and changed
/// where it stands. Most requests look at all and change one.
#[derive(Clone)]
pub(super) struct Bucket {
    value: Vec<u8>,
}

/// How many bytes the header has.
const HEADER: usize = 16;

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"TWFn\0\0\0\x01");

impl Bucket {
    /// A bucket without a record that rejects every claim until a moment.
    pub(super) fn empty(reject_until: Timestamp) -> Bucket {
        let mut value = Vec::with_capacity(HEADER + size_of::<Stored>());
        push_word(&mut value, MAGIC);
        push_word(&mut value, reject_until.0);
        Bucket { value }
    }

    /// An absent bucket is empty; a damaged one is `None`.
    pub(super) fn read_or_new(value: Option<Vec<u8>>) -> Option<Bucket> {
        match value {
            Some(value) => Bucket::read(value),
            None => Some(Bucket::empty(Timestamp(0))),
        }
    }

    pub(super) fn read(value: Vec<u8>) -> Option<Bucket> {
        let (header, entries) = value.split_first_chunk::<HEADER>()?;
        let (magic, _) = header.split_first_chunk::<8>()?;
        let (stored, cut) = entries.as_chunks();
        let is_whole = u64::from_le_bytes(*magic) == MAGIC && cut.is_empty();
        let is_read = is_whole
            && stored
                .iter()
                .all(|stored| NonceRecord::read(stored).is_some());
        is_read.then_some(Bucket { value })
    }

    /// The value to be stored.
    pub(super) fn write(self) -> Vec<u8> {
        self.value
    }

    fn reject_until(&self) -> Timestamp {
        let words = self.value.as_chunks::<8>().0;
        Timestamp(words.get(1).map_or(0, |word| u64::from_le_bytes(*word)))
    }

    fn entries(&self) -> &[Stored] {
        let entries = self.value.get(HEADER..).unwrap_or_default();
        entries.as_chunks().0
    }

    fn entries_mut(&mut self) -> &mut [Stored] {
        let entries = self.value.get_mut(HEADER..).unwrap_or_default();
        entries.as_chunks_mut().0
    }

    /// Returns whether the bucket was damaged so recently that what it lost still matters.
    pub(super) fn rejects(&self, now: Timestamp, max_pinned: Millis) -> bool {
        let reject_until = self.reject_until();
        now < reject_until && reject_until <= now.after(max_pinned)
    }

    pub(super) fn len(&self) -> usize {
        self.entries().len()
    }

    pub(super) fn push(&mut self, record: NonceRecord) {
        let stored = record.stored();
        self.value.reserve_exact(stored.len());
        self.value.extend_from_slice(&stored);
    }

    /// Removes a record; the last one takes its index.
    pub(super) fn remove(&mut self, index: usize) -> Option<NonceRecord> {
        let entries = self.entries_mut();
        let last = *entries.last()?;
        let removed = std::mem::replace(entries.get_mut(index)?, last);
        self.value.truncate(self.value.len() - removed.len());
        NonceRecord::read(&removed)
    }

    pub(super) fn replace(&mut self, index: usize, record: NonceRecord) {
        if let Some(old) = self.entries_mut().get_mut(index) {
            *old = record.stored();
        }
    }

    /// All records with their indices.
    fn records(&self) -> impl Iterator<Item = (usize, NonceRecord)> + '_ {
        let entries = self.entries().iter().enumerate();
        entries.filter_map(|(index, stored)| Some((index, NonceRecord::read(stored)?)))
    }

    pub(super) fn find(&self, fingerprint: u64) -> Option<NonceRecord> {
        let mut records = self.records();
        let found = records.find(|(_, record)| record.fingerprint == fingerprint);
        found.map(|(_, record)| record)
    }

    pub(super) fn count(&self, is_counted: impl Fn(&NonceRecord) -> bool) -> usize {
        let records = self.records();
        records.filter(|(_, record)| is_counted(record)).count()
    }

    /// Corrects records from a clock that was ahead. Returns whether there were any.
    pub(super) fn correct_clocks(&mut self, now: Timestamp, max_pinned: Millis) -> bool {
        let latest = now.after(max_pinned.max(IN_FLIGHT));
        // Workers read their clocks one after the other; that is no clock gone wrong.
        let doubtful = latest.after(CLOCKS_DIFFER);
        let mut is_corrected = false;
        for stored in self.entries_mut() {
            if let Some(record) = NonceRecord::read(stored)
                && record.pinned_until > doubtful
            {
                let corrected = NonceRecord {
                    pinned_until: latest,
                    ..record
                };
                *stored = corrected.stored();
                is_corrected = true;
            }
        }
        is_corrected
    }

    /// The claim of one request, its index, and how often its nonce was abandoned before.
    pub(super) fn find_claim(
        &self,
        fingerprint: u64,
        claim: u64,
    ) -> Option<(usize, NonceRecord, u16)> {
        self.records()
            .find_map(|(index, record)| match record.state {
                State::InProgress { abandoned } | State::Completed { abandoned }
                    if record.fingerprint == fingerprint && record.claim == claim =>
                {
                    Some((index, record, abandoned))
                }
                _ => None,
            })
    }

    /// The index of the record that was accepted first, among those that qualify.
    pub(super) fn oldest(&self, qualifies: impl Fn(&NonceRecord) -> bool) -> Option<usize> {
        let records = self.records().filter(|(_, record)| qualifies(record));
        let oldest = records.min_by_key(|(_, record)| record.retained_until);
        oldest.map(|(index, _)| index)
    }

    /// Drops what has expired, and the record of one nonce.
    pub(super) fn drop_expired_and(&mut self, fingerprint: u64, now: Timestamp) {
        let mut index = 0;
        while let Some(stored) = self.entries().get(index) {
            let stays = NonceRecord::read(stored)
                .is_some_and(|record| record.fingerprint != fingerprint && !record.is_expired(now));
            if stays {
                index += 1;
            } else {
                self.remove(index);
            }
        }
    }

    /// Returns what a write has changed, given what it has evicted.
    pub(super) fn grown_from(&self, before: usize, evicted: Change) -> Change {
        Change {
            entries: self.len() as i64 - before as i64,
            ..evicted
        }
    }
}
