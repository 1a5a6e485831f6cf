//! The rules of a table of nonces, and its answers.

use crate::signature::key::Nonce;
use crate::time::{Millis, Timestamp};

/// What happens to a new request when every record of the table is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// The request is rejected.
    Reject,
    /// The oldest record is evicted, though a repeat of its request then passes.
    EvictOldest,
}

/// How long nonces are retained, and how many.
#[derive(Clone, Debug)]
pub struct NonceRules {
    /// The minimum retention of a nonce, counted from its acceptance.
    pub window: Millis,
    /// Its retention while there is space.
    pub keep: Millis,
    /// The longest time for which a record of any webhook is pinned: the window, or until
    /// a timestamp from the future has gone stale.
    pub max_pinned: Millis,
    /// How many nonces the table holds at least.
    pub capacity: usize,
    /// What happens when there is no room.
    pub on_full: OnFull,
}

/// As long as any sensible route timeout: an answer comes within it.
///
/// Where the window is at least as long, a claim is written as what the usual outcome
/// makes of it: completed, the window counted from the claim. Only another outcome has to
/// write. A claim whose worker's VM died then stays completed, like any other.
///
/// Where the window is shorter, it starts with the outcome, which has to write that, and
/// until then the claim stands for as long as this, so that it never lapses under a
/// request that is still on its way. The outcome has to write also where repeats are
/// acknowledged ([`NonceTable::awaiting_outcome`]): until then nobody may say that the
/// request was taken. A claim that awaits its outcome and is never settled, because its
/// worker's VM died, lapses when it is no longer pinned, and then counts as one whose
/// sender left: the upstream may or may not have the request.
///
/// [`NonceTable::awaiting_outcome`]: super::NonceTable::awaiting_outcome
pub const IN_FLIGHT: Millis = Millis::seconds(60);

/// How often a request may be tried again after its sender left before the answer.
///
/// The upstream may or may not have taken such a request. Twilio closes the connection
/// after 15 s and may retry, so the retry passes. But an attacker with a captured request
/// could send it and hang up any number of times, so it passes only this often, for as
/// long as the request is retained: the count is part of its record.
pub const MAX_ABANDONED: u16 = 3;

/// A nonce that this request, and no other, has claimed.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub(super) nonce: Nonce,
    pub(super) id: u64,
    pub(super) pinned_until: Timestamp,
    pub(super) is_completed: bool,
    pub(super) may_arrive_again: bool,
}

impl Claim {
    /// Returns the nonce that was claimed.
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Returns the id of the request that claimed it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns whether the claim was completed in advance, as if the upstream had taken the
    /// request already, so that the usual outcome costs nothing. It was if the window is
    /// long enough ([`IN_FLIGHT`]) and no repeat is acknowledged.
    pub fn is_completed(&self) -> bool {
        self.is_completed
    }

    /// Returns the claim as one that a store was asked for more than once.
    pub fn asked_again(self) -> Claim {
        Claim {
            may_arrive_again: true,
            ..self
        }
    }

    /// Returns whether it may arrive at its store when it is settled already: it was asked for
    /// more than once.
    pub fn may_arrive_again(&self) -> bool {
        self.may_arrive_again
    }

    /// Returns until when its record is pinned at least.
    pub fn pinned_until(&self) -> Timestamp {
        self.pinned_until
    }
}

/// What is known of the first delivery of a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriorDelivery {
    /// It is on its way to the upstream, and its outcome is not known.
    InFlight,
    /// It was accepted this long ago, as far as can be told: where `keep` or `window`
    /// were changed since, that is wrong by as much.
    Accepted(Millis),
    /// Its senders left before there was an answer, once too often
    /// ([`MAX_ABANDONED`]). Nobody knows whether the upstream has it.
    NeverAnswered,
}

/// The result of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// This request is the first.
    Yes(Claim, Change),
    /// It was accepted before, or is on its way to the upstream.
    Duplicate(PriorDelivery),
    /// There is no room.
    Full,
    /// The bucket was damaged, and rejects until what was lost no longer matters.
    Damaged,
}

/// What a write changed, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// By how much the number of records grew.
    pub entries: i64,
    /// How many records were evicted before their time to make room.
    pub evicted: u64,
    /// How long ago the last of them was accepted.
    pub evicted_age: Millis,
    /// Whether a claim was released, so that a retry passes; `None` if there was none to be
    /// settled.
    pub released: Option<bool>,
}
