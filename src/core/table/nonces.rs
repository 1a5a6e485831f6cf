//! Which requests were accepted, so that none is accepted again.
//!
//! A request claims its nonce when every other check has passed, before a byte of
//! it reaches the upstream; the upstream's answer then keeps the claim or gives it
//! up. All of it happens in one bucket by compare-and-swap, so of any number of
//! identical requests over all workers exactly one claim succeeds.
//!
//! ```text
//! bucket = header *entry                  ; 64-bit little-endian words
//! header = magic                          ; "TWF" "n" and a version
//!          refuse-until                   ; see "damaged" below
//! entry  = fingerprint                    ; 64 bits of the nonce
//!          remember-until << 16 | state
//!          keep-until << 16 | 0
//!          claim                          ; whose claim it is
//! ```
//!
//! **Damaged buckets.** A value that this code did not write says nothing about
//! what was accepted. It is replaced by an empty bucket that refuses every claim
//! for as long as an accepted request must be remembered; after that, nothing that
//! was lost matters any more.
//!
//! **Clocks.** Times are compared with the clock of the moment. If it goes back,
//! entries live longer. If it jumps ahead and back, entries from ahead still refuse
//! repeats, but may be evicted for room: otherwise they would fill the table for as
//! long as the jump was.

use crate::core::clock::{Moment, Span};
use crate::core::signature::key::Nonce;
use crate::core::table::buckets::{Buckets, Shape, pack, push_word, unpack, words};
use crate::core::table::store::{SharedStore, Step, StoreError, update};

/// What happens to a new request when all that is remembered must be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// It is refused.
    Reject,
    /// The oldest is forgotten, though it must not be.
    EvictOldest,
}

/// How long nonces are remembered, and how many.
#[derive(Clone, Debug)]
pub struct NonceRules {
    /// How long after its acceptance a request must be remembered.
    pub window: Span,
    /// How long it is remembered while there is room.
    pub keep: Span,
    /// The longest that any request must be remembered: the window, or until a
    /// timestamp from the future has gone stale.
    pub longest: Span,
    /// How many requests are remembered.
    pub capacity: usize,
    /// What happens when there is no room.
    pub on_full: OnFull,
}

/// For how long a claim stands whose request got no answer and was not ended either,
/// which happens only if the worker's VM died. It is at least as long as any
/// sensible route timeout, so that a claim never lapses under a request that is
/// still on its way.
pub const IN_FLIGHT: Span = Span::seconds(60);

/// How often a request may be tried again after its sender left before the answer.
///
/// The upstream may or may not have taken such a request. Twilio gives up after
/// 15 s and may retry, so the retry passes; but who holds a captured request could
/// send it and hang up as often as he likes, so it passes only this often.
pub const MOST_ABANDONED: u16 = 3;

/// The table of accepted requests.
pub struct NonceTable {
    buckets: Buckets,
    rules: NonceRules,
}

/// A nonce that this request, and no other, has claimed.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    nonce: Nonce,
    id: u64,
    remember_until: Moment,
}

impl Claim {
    /// What was claimed.
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }
}

/// How a claim ended.
#[derive(Debug)]
pub enum Claimed {
    /// This request is the one.
    Yes(Claim, Change),
    /// It was accepted before, or is just on its way to the upstream.
    Duplicate,
    /// There is no room.
    Full,
    /// The bucket was damaged, and refuses until what was lost no longer matters.
    Damaged,
}

/// What a write changed, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// By how much the number of entries grew.
    pub entries: i64,
    /// How many entries were forgotten before their time to make room.
    pub evicted: u64,
}

impl NonceTable {
    /// A table by these rules. Tables of the same capacity share their entries.
    pub fn new(rules: NonceRules) -> NonceTable {
        NonceTable {
            buckets: Buckets::new("nonces", rules.capacity, SHAPE),
            rules,
        }
    }

    /// How many keys the table can ever have in the store.
    pub fn keys(&self) -> u64 {
        self.buckets.count()
    }

    /// Whether a nonce is known to be a repeat, without claiming it.
    ///
    /// # Errors
    /// What the store says.
    pub fn knows(
        &self,
        store: &impl SharedStore,
        nonce: Nonce,
        now: Moment,
    ) -> Result<bool, StoreError> {
        let Some(entry) = store.get(&self.key(nonce))? else {
            return Ok(false);
        };
        let Some(bucket) = Bucket::read(&entry.value) else {
            return Ok(false);
        };
        let fingerprint = fingerprint(nonce);
        let mut entries = bucket.entries.iter();
        Ok(entries.any(|entry| entry.fingerprint == fingerprint && entry.blocks(now)))
    }

    /// Claims a nonce for the request with this `id`, which no other request has.
    ///
    /// `signed_until` is when the request's own timestamp goes stale: until then it
    /// must be remembered, too.
    ///
    /// # Errors
    /// What the store says.
    pub fn claim(
        &self,
        store: &impl SharedStore,
        nonce: Nonce,
        id: u64,
        signed_until: Option<Moment>,
        now: Moment,
    ) -> Result<Claimed, StoreError> {
        let after_window = now.after(self.rules.window);
        let remember_until = signed_until.map_or(after_window, |until| until.max(after_window));
        let claim = Claim {
            nonce,
            id,
            remember_until,
        };
        update(store, &self.key(nonce), |value| {
            let Some(mut bucket) = Bucket::read_or_new(value) else {
                let refusing = Bucket {
                    refuse_until: now.after(self.rules.longest),
                    entries: Vec::new(),
                };
                return Step::Write(refusing.write(), Claimed::Damaged);
            };
            if bucket.refuses(now, self.rules.longest) {
                return Step::Leave(Claimed::Damaged);
            }
            let fingerprint = fingerprint(nonce);
            let mut abandoned = 0;
            if let Some(known) = bucket.find(fingerprint) {
                if known.blocks(now) {
                    return Step::Leave(Claimed::Duplicate);
                }
                abandoned = known.abandoned(now);
            }
            let before = bucket.entries.len();
            bucket.forget(fingerprint);
            bucket.drop_expired(now);
            let evicted = match self.make_room(&mut bucket, now) {
                Some(evicted) => evicted,
                None => return Step::Leave(Claimed::Full),
            };
            bucket.entries.push(Remembered {
                fingerprint,
                remember_until: remember_until.max(now.after(IN_FLIGHT)),
                keep_until: now.after(self.rules.keep).max(remember_until),
                state: State::Pending { abandoned },
                claim: id,
            });
            let change = bucket.change_from(before, evicted);
            Step::Write(bucket.write(), Claimed::Yes(claim, change))
        })
    }

    /// The upstream has answered: the nonce stays claimed.
    ///
    /// # Errors
    /// What the store says. The claim then lapses after [`IN_FLIGHT`] or the
    /// window, whichever is longer.
    pub fn keep(
        &self,
        store: &impl SharedStore,
        claim: &Claim,
        now: Moment,
    ) -> Result<Change, StoreError> {
        self.settle(store, claim, now, |_| Settled::Kept)
    }

    /// The upstream has failed: the sender's retry is to pass.
    ///
    /// # Errors
    /// What the store says; the claim then lapses as above.
    pub fn release(
        &self,
        store: &impl SharedStore,
        claim: &Claim,
        now: Moment,
    ) -> Result<Change, StoreError> {
        self.settle(store, claim, now, |abandoned| match abandoned {
            0 => Settled::Forgotten,
            _ => Settled::Abandoned(abandoned),
        })
    }

    /// The sender left before there was an answer: a retry may pass, a few times.
    ///
    /// # Errors
    /// What the store says; the claim then lapses as above.
    pub fn abandon(
        &self,
        store: &impl SharedStore,
        claim: &Claim,
        now: Moment,
    ) -> Result<Change, StoreError> {
        self.settle(store, claim, now, |abandoned| {
            if abandoned < MOST_ABANDONED {
                Settled::Abandoned(abandoned + 1)
            } else {
                Settled::Kept
            }
        })
    }

    /// Ends a claim, if it is still there and still this request's own.
    fn settle(
        &self,
        store: &impl SharedStore,
        claim: &Claim,
        now: Moment,
        outcome: impl Fn(u16) -> Settled,
    ) -> Result<Change, StoreError> {
        update(store, &self.key(claim.nonce), |value| {
            let Some(mut bucket) = value.and_then(Bucket::read) else {
                return Step::Leave(Change::default());
            };
            let before = bucket.entries.len();
            let fingerprint = fingerprint(claim.nonce);
            let own = bucket.entries.iter_mut().find(|entry| {
                entry.fingerprint == fingerprint
                    && entry.claim == claim.id
                    && matches!(entry.state, State::Pending { .. })
            });
            let Some(own) = own else {
                return Step::Leave(Change::default());
            };
            let State::Pending { abandoned } = own.state else {
                return Step::Leave(Change::default());
            };
            // Acceptance is the upstream's answer, so the window starts here.
            let remember_until = claim.remember_until.max(now.after(self.rules.window));
            match outcome(abandoned) {
                Settled::Kept => {
                    own.state = State::Kept;
                    own.remember_until = remember_until;
                    own.keep_until = own.keep_until.max(remember_until);
                }
                Settled::Abandoned(times) => {
                    own.state = State::Abandoned(times);
                    own.remember_until = remember_until;
                }
                Settled::Forgotten => bucket.forget(fingerprint),
            }
            bucket.drop_expired(now);
            let change = bucket.change_from(before, 0);
            Step::Write(bucket.write(), change)
        })
    }

    /// Makes room for one more entry, and says how many had to go; `None` if none can.
    fn make_room(&self, bucket: &mut Bucket, now: Moment) -> Option<u64> {
        let mut evicted = 0;
        while bucket.entries.len() >= self.buckets.slots() {
            let spare = |entry: &&Remembered| !entry.must_stay(now, self.rules.longest);
            let oldest = |entry: &Remembered| entry.keep_until;
            let victim = bucket.entries.iter().filter(spare).map(oldest).min();
            let victim = match (victim, self.rules.on_full) {
                (Some(victim), _) => victim,
                (None, OnFull::EvictOldest) => bucket.entries.iter().map(oldest).min()?,
                (None, OnFull::Reject) => return None,
            };
            // A must-stay entry can be as old as the victim: look for the victim itself.
            let place = bucket
                .entries
                .iter()
                .position(|entry| entry.keep_until == victim && spare(&entry))
                .or_else(|| {
                    let mut entries = bucket.entries.iter();
                    entries.position(|entry| entry.keep_until == victim)
                })?;
            bucket.entries.swap_remove(place);
            evicted += 1;
        }
        Some(evicted)
    }

    fn key(&self, nonce: Nonce) -> String {
        self.buckets.key(half(nonce, 8))
    }
}

/// 32 slots of 32 bytes: a kilobyte is copied in and out under the host's lock.
const SHAPE: Shape = Shape {
    most_in_one: 64,
    slots: 32,
};

/// The nonce's own bits are as good as any hash: nobody without the key chooses them.
fn fingerprint(nonce: Nonce) -> u64 {
    half(nonce, 0)
}

fn half(nonce: Nonce, from: usize) -> u64 {
    let bytes = nonce.0.iter().skip(from).take(8);
    bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// How a claim ends.
enum Settled {
    Kept,
    Abandoned(u16),
    Forgotten,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The upstream has answered.
    Kept,
    /// The request is on its way to the upstream.
    Pending { abandoned: u16 },
    /// The sender left this often before an answer; it may be claimed again.
    Abandoned(u16),
}

impl State {
    fn to_bits(self) -> u16 {
        match self {
            State::Kept => 0,
            State::Pending { abandoned } => abandoned << 2 | 1,
            State::Abandoned(times) => times << 2 | 2,
        }
    }

    fn from_bits(bits: u16) -> Option<State> {
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
struct Remembered {
    fingerprint: u64,
    remember_until: Moment,
    keep_until: Moment,
    state: State,
    claim: u64,
}

impl Remembered {
    /// Until when the entry means anything. A claim whose worker died stands only
    /// as long as it must; one that was kept stays while there is room.
    fn ends(&self) -> Moment {
        match self.state {
            State::Kept => self.keep_until.max(self.remember_until),
            State::Pending { .. } | State::Abandoned(_) => self.remember_until,
        }
    }

    fn is_expired(&self, now: Moment) -> bool {
        now > self.ends()
    }

    /// Whether a repeat is to be refused.
    fn blocks(&self, now: Moment) -> bool {
        !matches!(self.state, State::Abandoned(_)) && !self.is_expired(now)
    }

    fn must_stay(&self, now: Moment, longest: Span) -> bool {
        let is_due = now <= self.remember_until;
        let is_from_a_clock_ahead = self.remember_until > now.after(longest.max(IN_FLIGHT));
        self.blocks(now) && is_due && !is_from_a_clock_ahead
    }

    fn abandoned(&self, now: Moment) -> u16 {
        match self.state {
            State::Abandoned(times) if !self.is_expired(now) => times,
            _ => 0,
        }
    }
}

struct Bucket {
    refuse_until: Moment,
    entries: Vec<Remembered>,
}

const MAGIC: u64 = u64::from_le_bytes(*b"TWFn\0\0\0\x01");

impl Bucket {
    /// An absent bucket is empty; a damaged one is `None`.
    fn read_or_new(value: Option<&[u8]>) -> Option<Bucket> {
        match value {
            Some(value) => Bucket::read(value),
            None => Some(Bucket {
                refuse_until: Moment(0),
                entries: Vec::new(),
            }),
        }
    }

    fn read(value: &[u8]) -> Option<Bucket> {
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

    fn write(&self) -> Vec<u8> {
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
    fn refuses(&self, now: Moment, longest: Span) -> bool {
        now < self.refuse_until && self.refuse_until <= now.after(longest)
    }

    fn find(&self, fingerprint: u64) -> Option<&Remembered> {
        self.entries
            .iter()
            .find(|entry| entry.fingerprint == fingerprint)
    }

    fn forget(&mut self, fingerprint: u64) {
        self.entries
            .retain(|entry| entry.fingerprint != fingerprint);
    }

    fn drop_expired(&mut self, now: Moment) {
        self.entries.retain(|entry| !entry.is_expired(now));
    }

    fn change_from(&self, before: usize, evicted: u64) -> Change {
        Change {
            entries: self.entries.len() as i64 - before as i64,
            evicted,
        }
    }
}

const ENTRY_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::table::memory::MemoryStore;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const START: Moment = Moment(1_800_000_000_000);

    fn table(capacity: usize, on_full: OnFull) -> NonceTable {
        NonceTable::new(NonceRules {
            window: Span::seconds(300),
            keep: Span::seconds(86_400),
            longest: Span::seconds(330),
            capacity,
            on_full,
        })
    }

    fn nonce(number: u64) -> Nonce {
        let mut bytes = [0; 32];
        let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..16].copy_from_slice(&spread.to_be_bytes());
        Nonce(bytes)
    }

    fn after(seconds: u64) -> Moment {
        START.after(Span::seconds(seconds))
    }

    struct Fixture {
        store: MemoryStore,
        table: NonceTable,
    }

    impl Fixture {
        fn new(capacity: usize, on_full: OnFull) -> Fixture {
            Fixture {
                store: MemoryStore::new(),
                table: table(capacity, on_full),
            }
        }

        fn try_claim(&self, number: u64, now: Moment) -> Claimed {
            let claimed = self
                .table
                .claim(&self.store, nonce(number), now.0 ^ number, None, now);
            claimed.expect("the memory store does not fail")
        }

        fn claim(&self, number: u64, now: Moment) -> Claim {
            match self.try_claim(number, now) {
                Claimed::Yes(claim, _) => claim,
                other => panic!("{other:?}"),
            }
        }

        fn accept(&self, number: u64, now: Moment) {
            let claim = self.claim(number, now);
            self.table.keep(&self.store, &claim, now).expect("kept");
        }
    }

    #[test]
    fn a_nonce_is_claimed_once_while_it_is_on_its_way_and_after() {
        let fixture = Fixture::new(1000, OnFull::Reject);
        let claim = fixture.claim(1, START);
        assert!(matches!(fixture.try_claim(1, after(1)), Claimed::Duplicate));
        fixture
            .table
            .keep(&fixture.store, &claim, after(2))
            .expect("kept");
        for seconds in [3, 299, 302, 86_000] {
            assert!(matches!(
                fixture.try_claim(1, after(seconds)),
                Claimed::Duplicate
            ));
            let knows = fixture
                .table
                .knows(&fixture.store, nonce(1), after(seconds));
            assert_eq!(knows, Ok(true));
        }
        fixture.accept(1, after(86_401));
    }

    #[test]
    fn a_released_nonce_can_be_claimed_again_at_once() {
        let fixture = Fixture::new(1000, OnFull::Reject);
        let claim = fixture.claim(1, START);
        fixture
            .table
            .release(&fixture.store, &claim, START)
            .expect("released");
        assert_eq!(
            fixture.table.knows(&fixture.store, nonce(1), START),
            Ok(false)
        );
        fixture.accept(1, START);
    }

    #[test]
    fn only_its_own_claim_is_released() {
        let fixture = Fixture::new(1000, OnFull::Reject);
        let first = fixture.claim(1, START);
        fixture
            .table
            .release(&fixture.store, &first, START)
            .expect("released");
        let _second = fixture.claim(1, after(1));
        fixture
            .table
            .release(&fixture.store, &first, after(2))
            .expect("nothing to release");
        assert!(matches!(fixture.try_claim(1, after(3)), Claimed::Duplicate));
    }

    #[test]
    fn a_kept_nonce_is_not_released_any_more() {
        let fixture = Fixture::new(1000, OnFull::Reject);
        let claim = fixture.claim(1, START);
        fixture
            .table
            .keep(&fixture.store, &claim, START)
            .expect("kept");
        fixture
            .table
            .release(&fixture.store, &claim, START)
            .expect("nothing to release");
        assert!(matches!(fixture.try_claim(1, after(1)), Claimed::Duplicate));
    }

    #[test]
    fn a_claim_of_a_dead_worker_blocks_no_longer_than_the_window() {
        let fixture = Fixture::new(1000, OnFull::Reject);
        let _never_settled = fixture.claim(1, START);
        assert!(matches!(
            fixture.try_claim(1, after(300)),
            Claimed::Duplicate
        ));
        fixture.accept(1, after(301));
    }

    #[test]
    fn a_sender_who_hangs_up_can_repeat_only_a_few_times() {
        let fixture = Fixture::new(1000, OnFull::Reject);
        for _ in 0..=MOST_ABANDONED {
            let claim = fixture.claim(1, START);
            fixture
                .table
                .abandon(&fixture.store, &claim, START)
                .expect("abandoned");
        }
        assert!(matches!(fixture.try_claim(1, START), Claimed::Duplicate));
    }

    #[test]
    fn a_failing_upstream_does_not_reset_the_count_of_hang_ups() {
        let fixture = Fixture::new(1000, OnFull::Reject);
        for _ in 0..=MOST_ABANDONED {
            let claim = fixture.claim(1, START);
            fixture
                .table
                .release(&fixture.store, &claim, START)
                .expect("released");
            let claim = fixture.claim(1, START);
            fixture
                .table
                .abandon(&fixture.store, &claim, START)
                .expect("abandoned");
        }
        assert!(matches!(fixture.try_claim(1, START), Claimed::Duplicate));
    }

    #[test]
    fn a_full_table_refuses_until_something_need_not_be_remembered() {
        let fixture = Fixture::new(3, OnFull::Reject);
        for number in 0..3 {
            fixture.accept(number, after(number));
        }
        assert!(matches!(fixture.try_claim(9, after(300)), Claimed::Full));
        // 301 s: the first must no longer be remembered, the others must.
        let Claimed::Yes(claim, change) = fixture.try_claim(9, after(301)) else {
            panic!("there is room");
        };
        assert_eq!(
            change,
            Change {
                entries: 0,
                evicted: 1
            }
        );
        fixture
            .table
            .keep(&fixture.store, &claim, after(301))
            .expect("kept");
        for number in 1..3 {
            assert!(matches!(
                fixture.try_claim(number, after(301)),
                Claimed::Duplicate
            ));
        }
    }

    #[test]
    fn a_capacity_of_one_holds_one() {
        let fixture = Fixture::new(1, OnFull::Reject);
        fixture.accept(1, START);
        assert!(matches!(fixture.try_claim(2, START), Claimed::Full));
        assert!(matches!(fixture.try_claim(1, START), Claimed::Duplicate));
        fixture.accept(2, after(301));
    }

    #[test]
    fn evict_oldest_makes_room_by_the_oldest() {
        let fixture = Fixture::new(2, OnFull::EvictOldest);
        for number in 0..3 {
            fixture.accept(number, after(number));
        }
        assert_eq!(
            fixture.table.knows(&fixture.store, nonce(0), after(3)),
            Ok(false)
        );
        assert_eq!(
            fixture.table.knows(&fixture.store, nonce(1), after(3)),
            Ok(true)
        );
        assert_eq!(
            fixture.table.knows(&fixture.store, nonce(2), after(3)),
            Ok(true)
        );
    }

    #[test]
    fn a_signed_timestamp_is_remembered_until_it_is_stale() {
        let fixture = Fixture::new(1, OnFull::Reject);
        let until = after(330);
        let claimed = fixture
            .table
            .claim(&fixture.store, nonce(1), 1, Some(until), START);
        let Ok(Claimed::Yes(claim, _)) = claimed else {
            panic!("{claimed:?}");
        };
        fixture
            .table
            .keep(&fixture.store, &claim, START)
            .expect("kept");
        assert!(matches!(fixture.try_claim(2, after(330)), Claimed::Full));
        fixture.accept(2, after(331));
    }

    #[test]
    fn a_damaged_bucket_refuses_until_what_it_lost_no_longer_matters() {
        for damage in [
            &b""[..],
            b"x",
            b"12345678",
            &MAGIC.to_le_bytes(),
            &[0xFF; 64],
        ] {
            let fixture = Fixture::new(3, OnFull::Reject);
            fixture.accept(1, START);
            let keys = fixture.store.key_names();
            assert!(fixture.store.host_set(&keys[0], damage, 0));
            assert!(
                matches!(fixture.try_claim(1, after(1)), Claimed::Damaged),
                "{damage:?}"
            );
            assert!(matches!(fixture.try_claim(1, after(330)), Claimed::Damaged));
            fixture.accept(1, after(332));
        }
    }

    #[test]
    fn a_clock_that_goes_back_makes_nothing_acceptable_again() {
        let fixture = Fixture::new(10, OnFull::Reject);
        fixture.accept(1, after(1000));
        for seconds in [0, 500, 999, 1001] {
            assert!(matches!(
                fixture.try_claim(1, after(seconds)),
                Claimed::Duplicate
            ));
        }
    }

    #[test]
    fn entries_from_a_clock_that_was_ahead_do_not_fill_the_table() {
        let fixture = Fixture::new(2, OnFull::Reject);
        fixture.accept(1, after(1_000_000));
        fixture.accept(2, after(1_000_000));
        assert!(matches!(fixture.try_claim(1, START), Claimed::Duplicate));
        fixture.accept(3, START);
    }

    #[test]
    fn a_table_takes_what_it_promises_and_never_has_more_keys_than_buckets() {
        let fixture = Fixture::new(4096, OnFull::Reject);
        let taken = (0..4096)
            .filter(|number| matches!(fixture.try_claim(*number, START), Claimed::Yes(..)));
        assert_eq!(taken.count(), 4096);
        assert!(fixture.store.keys() as u64 <= fixture.table.keys());
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let fixture = Fixture::new(2, OnFull::Reject);
        let late = Moment(u64::MAX - 1);
        let _claim = fixture.claim(1, Moment((1 << 48) - 1000));
        assert!(matches!(
            fixture.try_claim(1, Moment((1 << 48) - 999)),
            Claimed::Duplicate
        ));
        let _ = fixture.try_claim(2, late);
    }
}
