//! One bucket: the requests that are remembered in one value of the store.
//!
//! ```text
//! bucket = header *entry                  ; 64-bit little-endian words
//! header = magic                          ; "TWF" "n" and a version
//!          refuse-until                   ; after damage; else 0
//! entry  = fingerprint                    ; 64 bits of the nonce
//!          remember-until << 16 | state
//!          keep-until << 16 | 0
//!          claim                          ; whose claim it is
//! ```

use crate::core::clock::{Moment, Span};
use crate::core::table::buckets::{pack, push_word, unpack, words};
use crate::core::table::nonces::{Change, IN_FLIGHT};

/// What is known of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The upstream has answered.
    Kept,
    /// The request is on its way to the upstream.
    Pending { abandoned: u16 },
    /// The sender left this often before an answer; it may be claimed again.
    Abandoned(u16),
}

impl State {
    pub(super) fn to_bits(self) -> u16 {
        match self {
            State::Kept => 0,
            State::Pending { abandoned } => abandoned << 2 | 1,
            State::Abandoned(times) => times << 2 | 2,
        }
    }

    pub(super) fn from_bits(bits: u16) -> Option<State> {
        match bits & 3 {
            0 => Some(State::Kept),
            1 => Some(State::Pending {
                abandoned: bits >> 2,
            }),
            2 => Some(State::Abandoned(bits >> 2)),
            _ => None,
        }
    }
}

/// One remembered request.
pub(super) struct Remembered {
    pub(super) fingerprint: u64,
    pub(super) remember_until: Moment,
    pub(super) keep_until: Moment,
    pub(super) state: State,
    pub(super) claim: u64,
}

impl Remembered {
    /// Until when the entry means anything. A claim whose worker died stands only
    /// as long as it must; one that was kept stays while there is room.
    pub(super) fn ends(&self) -> Moment {
        match self.state {
            State::Kept => self.keep_until.max(self.remember_until),
            State::Pending { .. } | State::Abandoned(_) => self.remember_until,
        }
    }

    pub(super) fn is_expired(&self, now: Moment) -> bool {
        now > self.ends()
    }

    /// Whether a repeat is to be refused.
    pub(super) fn blocks(&self, now: Moment) -> bool {
        !matches!(self.state, State::Abandoned(_)) && !self.is_expired(now)
    }

    pub(super) fn must_stay(&self, now: Moment) -> bool {
        self.blocks(now) && now <= self.remember_until
    }

    pub(super) fn abandoned(&self, now: Moment) -> u16 {
        match self.state {
            State::Abandoned(times) if !self.is_expired(now) => times,
            _ => 0,
        }
    }
}

/// By how much clocks that are right may differ, and a clock may be put right
/// without anything being forgotten for it.
const CLOCKS_DIFFER: Span = Span::seconds(10);

/// All entries of one bucket.
pub(super) struct Bucket {
    pub(super) refuse_until: Moment,
    pub(super) entries: Vec<Remembered>,
}

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"TWFn\0\0\0\x01");

impl Bucket {
    /// An absent bucket is empty; a damaged one is `None`.
    pub(super) fn read_or_new(value: Option<&[u8]>) -> Option<Bucket> {
        match value {
            Some(value) => Bucket::read(value),
            None => Some(Bucket {
                refuse_until: Moment(0),
                entries: Vec::new(),
            }),
        }
    }

    pub(super) fn read(value: &[u8]) -> Option<Bucket> {
        let mut words = words(value)?;
        if words.next()? != MAGIC {
            return None;
        }
        let refuse_until = Moment(words.next()?);
        let mut entries = Vec::with_capacity(value.len() / ENTRY_BYTES + 1);
        while let Some(fingerprint) = words.next() {
            let (remember_until, state) = unpack(words.next()?);
            let (keep_until, _) = unpack(words.next()?);
            entries.push(Remembered {
                fingerprint,
                remember_until: Moment(remember_until),
                keep_until: Moment(keep_until),
                state: State::from_bits(state)?,
                claim: words.next()?,
            });
        }
        Some(Bucket {
            refuse_until,
            entries,
        })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.entries.len() * ENTRY_BYTES);
        push_word(&mut out, MAGIC);
        push_word(&mut out, self.refuse_until.0);
        for entry in &self.entries {
            push_word(&mut out, entry.fingerprint);
            push_word(
                &mut out,
                pack(entry.remember_until.0, entry.state.to_bits()),
            );
            push_word(&mut out, pack(entry.keep_until.0, 0));
            push_word(&mut out, entry.claim);
        }
        out
    }

    /// Whether the bucket was damaged so recently that what it lost still matters.
    pub(super) fn refuses(&self, now: Moment, longest: Span) -> bool {
        now < self.refuse_until && self.refuse_until <= now.after(longest)
    }

    pub(super) fn find(&self, fingerprint: u64) -> Option<&Remembered> {
        self.entries
            .iter()
            .find(|entry| entry.fingerprint == fingerprint)
    }

    /// Corrects what a clock that was ahead has entered, and says whether there was any.
    pub(super) fn believe_no_later_than(&mut self, now: Moment, longest: Span) -> bool {
        let longest = longest.max(IN_FLIGHT);
        let latest = now.after(longest);
        // Workers read their clocks one after the other; that is no clock gone wrong.
        let doubtful = latest.after(CLOCKS_DIFFER);
        let mut is_corrected = false;
        for entry in &mut self.entries {
            if entry.remember_until > doubtful {
                entry.remember_until = latest;
                is_corrected = true;
            }
        }
        is_corrected
    }

    /// The pending claim of one request, and how often its nonce was abandoned before.
    pub(super) fn find_pending(
        &mut self,
        fingerprint: u64,
        claim: u64,
    ) -> Option<(&mut Remembered, u16)> {
        let mut entries = self.entries.iter_mut();
        entries.find_map(|entry| match entry.state {
            State::Pending { abandoned }
                if entry.fingerprint == fingerprint && entry.claim == claim =>
            {
                Some((entry, abandoned))
            }
            _ => None,
        })
    }

    /// The place of the entry that was accepted first, among those that qualify.
    pub(super) fn oldest(&self, qualifies: impl Fn(&Remembered) -> bool) -> Option<usize> {
        let entries = self.entries.iter().enumerate();
        entries
            .filter(|(_, entry)| qualifies(entry))
            .min_by_key(|(_, entry)| entry.keep_until)
            .map(|(place, _)| place)
    }

    pub(super) fn forget(&mut self, fingerprint: u64) {
        self.entries
            .retain(|entry| entry.fingerprint != fingerprint);
    }

    pub(super) fn drop_expired(&mut self, now: Moment) {
        self.entries.retain(|entry| !entry.is_expired(now));
    }

    pub(super) fn change_from(&self, before: usize, evicted: u64) -> Change {
        Change {
            entries: self.entries.len() as i64 - before as i64,
            evicted,
        }
    }
}

const ENTRY_BYTES: usize = 32;
