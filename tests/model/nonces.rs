//! One worker's claims against a map that loses nothing.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use twilio_webhook_filter::{
    Change, Claim, Claimed, IN_FLIGHT, MAX_ABANDONED, MemoryMap, Millis, Nonce, NonceRules,
    NonceTable, OnFull, PriorDelivery, Timestamp,
};

use crate::support::{Chance, START, crowded, nonce, rounds, span};

const WINDOW: Millis = Millis(300_000);
/// Shorter than an answer may take: then the answer has to be written, and starts the window.
const SHORT: Millis = Millis(40_000);
const KEEP: Millis = Millis(1_000_000);
/// Timestamps lie ahead by at most this much.
const SKEW: Millis = Millis(30_000);
/// A claim is settled within this time, as route timeouts see to.
const ANSWERED: u64 = 50_000;

fn rules(capacity: usize, on_full: OnFull) -> NonceRules {
    rules_of(WINDOW, capacity, on_full)
}

fn rules_of(window: Millis, capacity: usize, on_full: OnFull) -> NonceRules {
    NonceRules {
        window,
        keep: KEEP,
        max_pinned: Millis(window.0 + SKEW.0),
        capacity,
        on_full,
    }
}

/// What the map knows of a nonce.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// On its way to the upstream, and nobody knows more: until then. It is pinned until
    /// `must`, and may be retained until `may`.
    InFlight { until: Timestamp, rest: Rest },
    /// Answered, or claimed as if it were.
    Completed { accepted: Timestamp, rest: Rest },
    /// Its sender left before the answer, or nobody ever settled it.
    Left(Rest),
    /// Released, so that it may come again.
    Free,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    must: Timestamp,
    may: Timestamp,
    abandoned: Abandoned,
}

/// How often a sender has left: once an entry may have been evicted, that is not certain.
#[derive(Clone, Copy, Debug, Default)]
struct Abandoned {
    min: u16,
    max: u16,
}

impl Abandoned {
    fn once_more(self) -> Abandoned {
        Abandoned {
            min: self.min + 1,
            max: self.max + 1,
        }
    }
}

impl Known {
    /// The same, as time has changed it.
    fn at(self, now: Timestamp) -> Known {
        let ages = |mut rest: Rest| {
            if rest.must < now {
                rest.abandoned.min = 0;
            }
            rest
        };
        match self {
            Known::Free => Known::Free,
            Known::InFlight { rest, .. } | Known::Completed { rest, .. } | Known::Left(rest)
                if rest.may < now =>
            {
                Known::Free
            }
            Known::InFlight { until, rest } if until < now => {
                let abandoned = rest.abandoned.once_more();
                Known::Left(ages(Rest { abandoned, ..rest }))
            }
            Known::InFlight { until, rest } => Known::InFlight { until, rest },
            Known::Completed { accepted, rest } => Known::Completed {
                accepted,
                rest: ages(rest),
            },
            Known::Left(rest) => Known::Left(ages(rest)),
        }
    }

    /// Whether a repeat must be rejected, of what is as it is at this moment.
    fn must_be_rejected(self, now: Timestamp) -> bool {
        match self {
            Known::InFlight { .. } => true,
            Known::Completed { rest, .. } => rest.must >= now,
            Known::Left(rest) => rest.abandoned.min > MAX_ABANDONED,
            Known::Free => false,
        }
    }

    /// What a repeat may be told.
    fn may_tell(self, first: PriorDelivery, now: Timestamp) -> bool {
        match (self, first) {
            (Known::InFlight { .. }, PriorDelivery::InFlight) => true,
            (Known::Completed { accepted, .. }, PriorDelivery::Accepted(age)) => {
                age == now.since(accepted)
            }
            (Known::Left(rest), PriorDelivery::NeverAnswered) => rest.abandoned.max > MAX_ABANDONED,
            _ => false,
        }
    }
}

/// A map of all nonces, and the claims that are on their way.
struct Model {
    known: HashMap<u64, Known>,
    in_flight: Vec<(u64, Timestamp, Claim)>,
    window: Millis,
    table: NonceTable,
    store: MemoryMap,
    /// How many slots a bucket has, and in how many of them the nonces are.
    slots: usize,
    buckets: u64,
    chance: Chance,
    now: Timestamp,
    next_id: u64,
    /// How often what happened.
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: u64,
    duplicates: u64,
    never_answered: u64,
    full: u64,
    evicted: u64,
}

impl Model {
    fn new(window: Millis, awaits_outcome: bool, capacity: usize, seed: u64) -> Model {
        let table = NonceTable::new(rules_of(window, capacity, OnFull::Reject));
        Model {
            window,
            known: HashMap::new(),
            in_flight: Vec::new(),
            table: table.awaiting_outcome(awaits_outcome),
            store: MemoryMap::new(),
            slots: 16,
            buckets: 16_384,
            chance: Chance::seeded(seed),
            now: START,
            next_id: 0,
            counts: Counts::default(),
        }
    }

    /// How many nonces of the same bucket are pinned at this moment: at least, and at most,
    /// since of one that was released it may not be certain that a sender had left before.
    fn pinned_in_bucket_of(&self, number: u64) -> [usize; 2] {
        let must = |is_certain: bool| {
            let must = move |known: &Known| match known {
                Known::InFlight { rest, .. } | Known::Completed { rest, .. } => {
                    rest.must >= self.now
                }
                Known::Left(rest) => {
                    rest.must >= self.now && (rest.abandoned.min > 0 || !is_certain)
                }
                Known::Free => false,
            };
            let bucket = |number: u64| number % self.buckets;
            let known = self.known.iter();
            known
                .filter(|(other, known)| bucket(**other) == bucket(number) && must(known))
                .count()
        };
        [must(true), must(false)]
    }

    fn nonce(&self, number: u64) -> Nonce {
        crowded(number, self.buckets)
    }

    fn known(&self, number: u64) -> Known {
        let known = self.known.get(&number).copied();
        known.unwrap_or(Known::Free).at(self.now)
    }

    fn claim(&mut self, number: u64) {
        let now = self.now;
        self.next_id += 1;
        // A third of the requests carry a timestamp, from stale to as far ahead as may be.
        let until = self.chance.once_in(3).then(|| {
            let ahead = self.chance.below(self.window.0 + SKEW.0 + 1);
            now.after(span(ahead))
        });
        let claimed = self
            .table
            .claim(&self.store, self.nonce(number), self.next_id, until, now);
        let known = self.known(number);
        match claimed.expect("the memory store does not fail") {
            Claimed::Yes(claim, change) => {
                assert!(!known.must_be_rejected(now), "{number} again: {known:?}");
                let window = now.after(self.window);
                let must = until.map_or(window, |until| until.max(window));
                let mut abandoned = Abandoned::default();
                if let Known::Left(rest) = known {
                    // Had it been more, it would not have been accepted.
                    abandoned = rest.abandoned;
                    abandoned.max = abandoned.max.min(MAX_ABANDONED);
                }
                let may = must.max(now.after(KEEP));
                let claimed = if claim.is_completed() {
                    let rest = Rest {
                        must,
                        may,
                        abandoned,
                    };
                    Known::Completed {
                        accepted: now,
                        rest,
                    }
                } else {
                    let until = must.max(now.after(IN_FLIGHT));
                    let rest = Rest {
                        must: until,
                        may,
                        abandoned,
                    };
                    Known::InFlight { until, rest }
                };
                self.known.insert(number, claimed);
                let answer = now.after(span(self.chance.below(ANSWERED)));
                self.in_flight.push((number, answer, claim));
                self.counts.accepted += 1;
                self.counts.evicted += change.evicted;
            }
            Claimed::Duplicate(first) => {
                assert!(known.may_tell(first, now), "{number}: {first:?}, {known:?}");
                self.counts.duplicates += 1;
                self.counts.never_answered += u64::from(first == PriorDelivery::NeverAnswered);
            }
            Claimed::Full => {
                let [min, max] = self.pinned_in_bucket_of(number);
                assert!((min..=max).contains(&self.slots), "{min} to {max}");
                self.counts.full += 1;
            }
            Claimed::Damaged => panic!("nothing damaged it"),
        }
        let known = self.known(number);
        let first = self.table.find_prior(&self.store, self.nonce(number), now);
        let first = first.expect("the memory store does not fail");
        assert!(!known.must_be_rejected(now) || first.is_some(), "{number}");
        let tells = first.is_none_or(|first| known.may_tell(first, now));
        assert!(tells, "{number}: {first:?}, {known:?}");
    }

    /// The upstream answers those whose time has come.
    fn settle(&mut self) {
        let now = self.now;
        let (due, waiting) = std::mem::take(&mut self.in_flight)
            .into_iter()
            .partition(|(_, answer, _)| *answer <= now);
        self.in_flight = waiting;
        let due: Vec<(u64, Timestamp, Claim)> = due;
        for (number, _, claim) in due {
            // Whichever worker says it, and however late: it is the claim's own nonce.
            let (accepted, rest) = match self.known.get(&number).copied() {
                Some(Known::InFlight { rest, .. }) => (None, rest),
                Some(Known::Completed { accepted, rest }) => (Some(accepted), rest),
                other => panic!("{number} was on its way: {other:?}"),
            };
            // From the answer on, and until a signed timestamp is stale.
            let must = claim.pinned_until().max(now.after(self.window));
            let may = rest.may.max(must);
            let settled = match self.chance.below(8) {
                0 => {
                    let released = if rest.abandoned.max == 0 {
                        Known::Free
                    } else {
                        Known::Left(Rest { must, may, ..rest })
                    };
                    self.known.insert(number, released);
                    self.table.release(&self.store, &claim, now)
                }
                // The worker dies: nothing is ever said of this claim again.
                1 => continue,
                2 | 3 => {
                    let abandoned = rest.abandoned.once_more();
                    let left = Known::Left(Rest {
                        must,
                        may,
                        abandoned,
                    });
                    self.known.insert(number, left);
                    self.table.abandon(&self.store, &claim, now)
                }
                _ if claim.is_completed() => {
                    self.table
                        .complete(&self.store, &claim, now)
                        .inspect(|change| {
                            assert_eq!(*change, Change::default(), "nothing is to be done");
                        })
                }
                _ => {
                    // Retained from the claim on, pinned from the answer on.
                    let accepted = accepted.unwrap_or(rest.may.before(KEEP));
                    let rest = Rest {
                        must,
                        may,
                        abandoned: Abandoned::default(),
                    };
                    self.known
                        .insert(number, Known::Completed { accepted, rest });
                    self.table.complete(&self.store, &claim, now)
                }
            };
            settled.expect("the memory store does not fail");
        }
    }

    fn step(&mut self, nonces: u64, fastest: u64) {
        self.now = self.now.after(span(self.chance.below(fastest)));
        self.settle();
        let number = self.chance.below(nonces);
        self.claim(number);
        assert!(self.store.keys() as u64 <= self.table.keys());
    }
}

#[test]
fn a_nonce_is_never_accepted_again_while_it_is_pinned_whatever_the_load() {
    for (window, awaits_outcome, (capacity, slots, buckets), nonces, fastest) in [
        (WINDOW, false, (1, 1, 1), 8, 60_000),
        (WINDOW, false, (2, 2, 1), 8, 40_000),
        (WINDOW, false, (16, 16, 1), 200, 20_000),
        (WINDOW, false, (64, 64, 1), 1_000, 5_000),
        (WINDOW, false, (65, 7, 4), 100, 10_000),
        (WINDOW, false, (65_536, 16, 64), 20_000, 100),
        (SHORT, false, (1, 1, 1), 8, 60_000),
        (SHORT, false, (16, 16, 1), 200, 2_000),
        (SHORT, false, (65, 7, 4), 100, 2_000),
        (SHORT, false, (65_536, 16, 64), 20_000, 20),
        (WINDOW, true, (1, 1, 1), 8, 60_000),
        (WINDOW, true, (16, 16, 1), 200, 20_000),
        (WINDOW, true, (65, 7, 4), 100, 10_000),
        (WINDOW, true, (65_536, 16, 64), 20_000, 100),
        (SHORT, true, (16, 16, 1), 200, 2_000),
    ] {
        let mut model = Model::new(window, awaits_outcome, capacity, capacity as u64);
        (model.slots, model.buckets) = (slots, buckets);
        for _ in 0..60_000 * rounds() {
            model.step(nonces, fastest);
        }
        let Counts {
            accepted,
            duplicates,
            full,
            evicted,
            ..
        } = model.counts;
        let told = format!("capacity {capacity}: {:?}", model.counts);
        assert!(accepted > 1_000 && duplicates > 100, "{told}");
        assert!(full + evicted > 0, "the table was never full: {told}");
        // A small table leaves copies in the buckets of the others, two in each at most.
        let copies = if buckets == 1 { nonces as usize } else { 0 };
        let max_bytes = buckets as usize * (16 + 32 * slots) + copies * (16 + 2 * 32);
        assert!(model.store.bytes() <= max_bytes, "{told}");
    }
}

/// Where nothing is evicted, hang-ups are counted exactly: a request passes just as often as
/// it may.
#[test]
fn with_room_to_spare_hang_ups_are_counted_to_the_last() {
    for (window, awaits_outcome) in [
        (WINDOW, false),
        (WINDOW, true),
        (SHORT, false),
        (SHORT, true),
    ] {
        let mut model = Model::new(window, awaits_outcome, 65_536, 11);
        // Twenty requests again and again, a window and more apart.
        for _ in 0..40_000 * rounds() {
            model.step(20, 30_000);
        }
        let counts = &model.counts;
        assert!(counts.never_answered > 100, "{counts:?}");
        assert_eq!(counts.evicted + counts.full, 0, "{counts:?}");
    }
}

/// What becomes of one delivery.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Taken,
    Failed,
    SenderLeft,
    /// Its worker dies.
    Never,
}

fn deliveries() -> impl Strategy<Value = Vec<(Fate, u64)>> {
    let fate = prop_oneof![
        1 => Just(Fate::Taken),
        6 => Just(Fate::Failed),
        6 => Just(Fate::SenderLeft),
        3 => Just(Fate::Never),
    ];
    // From one delivery to the next: at once, a window, almost as long as it is retained.
    let gap = prop_oneof![
        0..100_u64,
        Just(WINDOW.0 + 1),
        Just(WINDOW.0 + SKEW.0 + 1),
        Just(IN_FLIGHT.0 + 1),
        0..KEEP.0,
    ];
    prop::collection::vec((fate, gap), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x7417_1204_0000_0001),
        ..ProptestConfig::default()
    })]

    /// Findings 4 and 6, for whatever becomes of each delivery and whatever time goes by
    /// between them: without an answer a request reaches the upstream four times, and not a
    /// fifth; one that was taken does not reach it again; and where outcomes are awaited a repeat is
    /// told "taken" of that one alone.
    #[test]
    fn a_request_reaches_the_upstream_four_times_without_an_answer_and_never_after_one(
        deliveries in deliveries(),
        awaits_outcome: bool,
        is_short: bool,
    ) {
        let window = if is_short { SHORT } else { WINDOW };
        let table = NonceTable::new(rules_of(window, 1_000, OnFull::Reject));
        let table = table.awaiting_outcome(awaits_outcome);
        let store = MemoryMap::new();
        let (mut now, mut last) = (START, START);
        let (mut unanswered, mut is_taken) = (0, false);
        for (id, (fate, gap)) in (1..).zip(deliveries) {
            let claimed = table.claim(&store, nonce(1), id, None, now);
            match claimed.expect("the memory store does not fail") {
                Claimed::Yes(claim, _) => {
                    last = now;
                    prop_assert!(!is_taken);
                    prop_assert!(unanswered <= MAX_ABANDONED, "{unanswered} before");
                    let settled = match fate {
                        Fate::Taken => table.complete(&store, &claim, now),
                        Fate::Failed => table.release(&store, &claim, now),
                        Fate::SenderLeft => table.abandon(&store, &claim, now),
                        Fate::Never => Ok(Change::default()),
                    };
                    settled.expect("the memory store does not fail");
                    is_taken |= matches!(fate, Fate::Taken);
                    let is_unanswered = matches!(fate, Fate::SenderLeft | Fate::Never);
                    unanswered += u16::from(is_unanswered);
                    // It cannot be told from one that is about to be taken, and stands for it.
                    is_taken |= matches!(fate, Fate::Never) && claim.is_completed();
                }
                Claimed::Duplicate(PriorDelivery::Accepted(_)) => prop_assert!(is_taken),
                Claimed::Duplicate(PriorDelivery::InFlight) => prop_assert!(!is_taken),
                Claimed::Duplicate(PriorDelivery::NeverAnswered) => {
                    prop_assert!(unanswered > MAX_ABANDONED && !is_taken);
                    // The count begins anew when the record expires, and not before.
                    break;
                }
                other => panic!("{other:?}"),
            }
            // All within the time for which the last of them is retained.
            now = now.after(span(gap));
            if now > last.after(KEEP) {
                break;
            }
        }
    }
}

fn knows(table: &NonceTable, store: &MemoryMap, number: u64, now: Timestamp) -> bool {
    let known = table.find_prior(store, nonce(number), now);
    known.expect("the memory store does not fail").is_some()
}

/// While there is space nothing is lost before `keep` has passed.
#[test]
fn with_room_to_spare_the_table_is_the_map() {
    for capacity in [64, 1_000, 65_536] {
        let (table, store) = (
            NonceTable::new(rules(capacity, OnFull::Reject)),
            MemoryMap::new(),
        );
        let chance = Chance::seeded(7);
        let mut ends: HashMap<u64, Timestamp> = HashMap::new();
        let mut now = START;
        for id in 0..200_000 * rounds() {
            now = now.after(span(chance.below(4 * KEEP.0 / capacity as u64)));
            let number = chance.below(capacity as u64 / 2);
            let known = ends.get(&number).is_some_and(|end| *end >= now);
            assert_eq!(knows(&table, &store, number, now), known, "{number}");
            let claimed = table.claim(&store, nonce(number), id, None, now);
            match claimed.expect("the memory store does not fail") {
                Claimed::Yes(claim, change) => {
                    assert!(!known && change.evicted == 0, "{number}: {change:?}");
                    table.complete(&store, &claim, now).expect("completed");
                    ends.insert(number, now.after(KEEP));
                }
                Claimed::Duplicate(_) => assert!(known, "{number}"),
                other => panic!("{number}: {other:?}"),
            }
        }
    }
}

/// `evict_oldest` evicts the oldest and nothing else.
#[test]
fn evict_oldest_evicts_in_the_order_of_acceptance() {
    for capacity in [1, 2, 17, 64] {
        let rules = rules(capacity, OnFull::EvictOldest);
        let (table, store) = (NonceTable::new(rules), MemoryMap::new());
        let mut order = std::collections::VecDeque::new();
        for number in 0..20_000 {
            let now = START.after(span(number));
            let claimed = table.claim(&store, nonce(number), number, None, now);
            let Ok(Claimed::Yes(claim, _)) = claimed else {
                panic!("{number}: {claimed:?}");
            };
            table.complete(&store, &claim, now).expect("completed");
            order.push_back(number);
            if order.len() > capacity {
                let gone = order.pop_front().expect("at min one");
                assert!(!knows(&table, &store, gone, now), "{gone}");
            }
            let oldest = *order.front().expect("at min one");
            assert!(knows(&table, &store, oldest, now), "{oldest}");
        }
    }
}

/// The clock goes back and jumps. With room to spare nothing that was accepted is accepted
/// again before its window has ended, by the clock that was furthest ahead since.
#[test]
fn no_jump_of_the_clock_makes_a_nonce_acceptable_before_its_time() {
    for seed in 0..20 {
        let (table, store) = (
            NonceTable::new(rules(2_000, OnFull::Reject)),
            MemoryMap::new(),
        );
        let chance = Chance::seeded(seed);
        let mut must: HashMap<u64, Timestamp> = HashMap::new();
        let mut now = START;
        for id in 0..20_000 * rounds() {
            now = match chance.below(100) {
                0 => now.before(span(chance.below(1_000_000))),
                1 => now.after(span(chance.below(1_000_000))),
                _ => now.after(span(chance.below(1_000))),
            };
            must.retain(|_, until| *until >= now);
            let number = chance.below(900);
            let claimed = table.claim(&store, nonce(number), id, None, now);
            match claimed.expect("the memory store does not fail") {
                Claimed::Yes(claim, _) => {
                    let before = must.insert(number, now.after(WINDOW));
                    assert_eq!(before, None, "{number} accepted again");
                    table.complete(&store, &claim, now).expect("completed");
                }
                Claimed::Duplicate(_) => {}
                other => panic!("{number}: {other:?}"),
            }
        }
    }
}

/// A clock that was a little ahead and is put right must not cost a nonce its place, not
/// even in a table that is full: it was accepted moments ago.
#[test]
fn a_clock_that_is_put_back_a_little_frees_no_place_in_a_full_table() {
    let rules = NonceRules {
        max_pinned: WINDOW,
        ..rules(2, OnFull::Reject)
    };
    let (table, store) = (NonceTable::new(rules), MemoryMap::new());
    let accept = |number, now| {
        let claimed = table.claim(&store, nonce(number), number, None, now);
        match claimed.expect("the memory store does not fail") {
            Claimed::Yes(claim, _) => {
                table.complete(&store, &claim, now).expect("completed");
                true
            }
            _ => false,
        }
    };
    assert!(accept(1, START) && accept(2, START));
    let put_back = START.before(span(50));
    assert!(!accept(3, put_back), "both places are taken");
    assert!(
        !accept(1, START) && !accept(2, START),
        "both were accepted just now"
    );
    // And a clock that was far ahead blocks the table for no longer than anything
    // is pinned, counted from when that is first seen.
    let far_back = START.before(span(1_000_000_000));
    assert!(
        !accept(4, far_back),
        "it is not known how long ago that was"
    );
    assert!(accept(4, far_back.after(WINDOW).after(span(1))));
}

/// The answer of a very slow upstream is an acceptance like any other.
#[test]
fn an_answer_that_comes_after_its_claim_has_lapsed_is_stored() {
    let (table, store) = (
        NonceTable::new(rules_of(SHORT, 1_000, OnFull::Reject)),
        MemoryMap::new(),
    );
    let claim = |number, id, now| {
        let claimed = table.claim(&store, nonce(number), id, None, now);
        claimed.expect("the memory store does not fail")
    };
    let Claimed::Yes(slow, _) = claim(1, 1, START) else {
        panic!("nothing is in the table");
    };
    // Every bucket is written once more, which drops what has expired.
    let lapsed = START.after(IN_FLIGHT).after(span(1));
    for other in 2..2_000 {
        let _ = claim(other, other, lapsed);
    }
    table
        .complete(&store, &slow, lapsed.after(span(1)))
        .expect("completed");
    let again = claim(1, 9_999, lapsed.after(span(2)));
    assert!(matches!(again, Claimed::Duplicate(_)), "{again:?}");
}
