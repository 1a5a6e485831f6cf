//! What a table of nonces is told, and what it answers.

use crate::signature::key::Nonce;
use crate::time::{Millis, Timestamp};

/// What happens to a new request when all that is remembered must be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// It is rejected.
    Reject,
    /// The oldest is forgotten, though it must not be.
    EvictOldest,
}

/// How long nonces are remembered, and how many.
#[derive(Clone, Debug)]
pub struct NonceRules {
    /// How long after its acceptance a request must be remembered.
    pub window: Millis,
    /// How long it is remembered while there is room.
    pub keep: Millis,
    /// The longest that any request must be remembered, of whichever webhook: the
    /// window, or until a timestamp from the future has gone stale.
    pub max_pinned: Millis,
    /// How many requests are remembered.
    pub capacity: usize,
    /// What happens when there is no room.
    pub on_full: OnFull,
}

/// As long as any sensible route timeout: an answer comes within it.
///
/// Where the window is at least as long, a claim is written as what the usual answer
/// makes of it: kept, the window counted from the claim. Only another answer has to
/// write. A claim whose worker's VM died is then kept, like any other.
///
/// Where the window is shorter, it starts with the answer, which has to write that, and
/// until then the claim stands for as long as this, so that it never lapses under a
/// request that is still on its way. The answer has to write also where repeats are
/// acknowledged ([`NonceTable::awaiting_outcome`]): until then nobody may say that the
/// request was taken. A claim that waits for an answer and is never settled, because its
/// worker's VM died, lapses when it need not be remembered any more, and then counts as
/// one whose sender left: the upstream may or may not have the request.
///
/// [`NonceTable::awaiting_outcome`]: super::NonceTable::awaiting_outcome
pub const IN_FLIGHT: Millis = Millis::seconds(60);

/// How often a request may be tried again after its sender left before the answer.
///
/// The upstream may or may not have taken such a request. Twilio gives up after
/// 15 s and may retry, so the retry passes; but who holds a captured request could
/// send it and hang up as often as he likes, so it passes only this often, for as long
/// as the request is kept: the count is remembered like the request itself.
pub const MAX_ABANDONED: u16 = 3;

/// A nonce that this request, and no other, has claimed.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub(super) nonce: Nonce,
    pub(super) id: u64,
    pub(super) pinned_until: Timestamp,
    pub(super) is_completed: bool,
}

impl Claim {
    /// What was claimed.
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// By which request.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether it stands as if the upstream had taken the request already, so that the
    /// usual answer costs nothing. It does where the window is long enough ([`IN_FLIGHT`])
    /// and no repeat is acknowledged.
    pub fn is_completed(&self) -> bool {
        self.is_completed
    }

    /// Until when it must be remembered at least.
    pub fn pinned_until(&self) -> Timestamp {
        self.pinned_until
    }
}

/// What is known of the first delivery of a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriorDelivery {
    /// It is on its way to the upstream, and nobody knows what becomes of it.
    InFlight,
    /// It was accepted this long ago, as far as can be told: where `keep` or `window`
    /// were changed since, that is wrong by as much.
    Accepted(Millis),
    /// Its senders left before there was an answer, once too often
    /// ([`MAX_ABANDONED`]). Nobody knows whether the upstream has it.
    NeverAnswered,
}

/// How a claim ended.
#[derive(Debug)]
pub enum Claimed {
    /// This request is the one.
    Yes(Claim, Change),
    /// It was accepted before, or is just on its way to the upstream.
    Duplicate(PriorDelivery),
    /// There is no room.
    Full,
    /// The bucket was damaged, and rejects until what was lost no longer matters.
    Damaged,
}

/// What a write changed, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// By how much the number of entries grew.
    pub entries: i64,
    /// How many entries were forgotten before their time to make room.
    pub evicted: u64,
    /// How long ago the last of them was accepted.
    pub evicted_age: Millis,
}
