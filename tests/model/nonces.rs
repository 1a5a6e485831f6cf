//! One worker's claims against a map that remembers everything.

use std::collections::HashMap;

use twilio_webhook_filter::core::clock::{Moment, Span};
use twilio_webhook_filter::core::table::memory::MemoryStore;
use twilio_webhook_filter::core::table::nonces::{
    Change, Claim, Claimed, IN_FLIGHT, NonceRules, NonceTable, OnFull,
};

use crate::support::{Chance, START, nonce, rounds, span};

const WINDOW: Span = Span(300_000);
/// Shorter than an answer may take: then the answer has to be written, and starts the window.
const SHORT: Span = Span(40_000);
const KEEP: Span = Span(1_000_000);
/// Timestamps lie ahead by this much at the most.
const SKEW: Span = Span(30_000);
/// A claim is settled within this time, as route timeouts see to.
const ANSWERED: u64 = 50_000;

fn rules(capacity: usize, on_full: OnFull) -> NonceRules {
    rules_of(WINDOW, capacity, on_full)
}

fn rules_of(window: Span, capacity: usize, on_full: OnFull) -> NonceRules {
    NonceRules {
        window,
        keep: KEEP,
        longest: Span(window.0 + SKEW.0),
        capacity,
        on_full,
    }
}

/// What the map knows of a nonce.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// On its way to the upstream.
    Pending { until: Moment, must: Moment },
    /// Answered: it must be refused until then, and may be until later.
    Kept { must: Moment, may: Moment },
    /// Given up, so that it may come again.
    Free,
}

/// A map of all nonces, and the claims that are on their way.
struct Model {
    known: HashMap<u64, Known>,
    on_their_way: Vec<(u64, Moment, Claim)>,
    window: Span,
    table: NonceTable,
    store: MemoryStore,
    slots_in_one: Option<usize>,
    chance: Chance,
    now: Moment,
    next_id: u64,
    /// How often what happened.
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: u64,
    duplicates: u64,
    full: u64,
    evicted: u64,
}

impl Model {
    fn new(window: Span, capacity: usize, seed: u64) -> Model {
        Model {
            window,
            known: HashMap::new(),
            on_their_way: Vec::new(),
            table: NonceTable::new(rules_of(window, capacity, OnFull::Reject)),
            store: MemoryStore::new(),
            slots_in_one: (capacity <= 64).then_some(capacity),
            chance: Chance::seeded(seed),
            now: START,
            next_id: 0,
            counts: Counts::default(),
        }
    }

    /// How many nonces must be refused at this moment.
    fn must_be_remembered(&self) -> usize {
        let must = |known: &&Known| match known {
            Known::Pending { until, .. } => *until >= self.now,
            Known::Kept { must, .. } => *must >= self.now,
            Known::Free => false,
        };
        self.known.values().filter(must).count()
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
            .claim(&self.store, nonce(number), self.next_id, until, now);
        let known = self.known.get(&number).copied().unwrap_or(Known::Free);
        match claimed.expect("the memory store does not fail") {
            Claimed::Yes(claim, change) => {
                match known {
                    Known::Pending { until, .. } => assert!(until < now, "claimed twice"),
                    Known::Kept { must, .. } => assert!(must < now, "accepted again: {number}"),
                    Known::Free => {}
                }
                let window = now.after(self.window);
                let must = until.map_or(window, |until| until.max(window));
                let claimed = if claim.is_kept() {
                    let may = must.max(now.after(KEEP));
                    Known::Kept { must, may }
                } else {
                    let until = must.max(now.after(IN_FLIGHT));
                    Known::Pending { until, must }
                };
                self.known.insert(number, claimed);
                let answer = now.after(span(self.chance.below(ANSWERED)));
                self.on_their_way.push((number, answer, claim));
                self.counts.accepted += 1;
                self.counts.evicted += change.evicted;
            }
            Claimed::Duplicate(_) => {
                match known {
                    Known::Pending { until, .. } => assert!(until >= now, "its time is up"),
                    Known::Kept { may, .. } => assert!(may >= now, "its time is up"),
                    Known::Free => panic!("{number} was never accepted"),
                }
                self.counts.duplicates += 1;
            }
            Claimed::Full => {
                let must = self.must_be_remembered();
                match self.slots_in_one {
                    Some(slots) => assert_eq!(must, slots, "there is room"),
                    // A bucket of 32 is full, whatever the others hold.
                    None => assert!(must >= 32, "{must} do not fill a bucket"),
                }
                self.counts.full += 1;
            }
            Claimed::Damaged => panic!("nothing damaged it"),
        }
        let known = self.table.knows(&self.store, nonce(number), now);
        let blocked = matches!(
            self.known.get(&number),
            Some(Known::Pending { until, .. } | Known::Kept { must: until, .. }) if *until >= now
        );
        assert!(!blocked || known == Ok(true), "{number} must be known");
    }

    /// The upstream answers those whose time has come.
    fn settle(&mut self) {
        let now = self.now;
        let (due, waiting) = std::mem::take(&mut self.on_their_way)
            .into_iter()
            .partition(|(_, answer, _)| *answer <= now);
        self.on_their_way = waiting;
        for (number, _, claim) in due {
            let due: (u64, Moment, Claim) = (number, now, claim);
            let settled = match self.chance.below(8) {
                0 => {
                    self.known.insert(number, Known::Free);
                    self.table.release(&self.store, &due.2, now)
                }
                // The worker dies: nothing is ever said of this claim again.
                1 => continue,
                _ if claim.is_kept() => {
                    self.table.keep(&self.store, &due.2, now).inspect(|change| {
                        assert_eq!(*change, Change::default(), "nothing is to be done");
                    })
                }
                _ => {
                    let Some(Known::Pending { until, must }) = self.known.get(&number).copied()
                    else {
                        panic!("{number} was on its way");
                    };
                    // From the answer on, and until a signed timestamp is stale.
                    let must = must.max(now.after(self.window));
                    let may = until.max(now.after(KEEP));
                    self.known.insert(number, Known::Kept { must, may });
                    self.table.keep(&self.store, &due.2, now)
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
fn a_nonce_is_never_accepted_again_while_it_must_be_remembered_whatever_the_load() {
    for (window, capacity, nonces, fastest) in [
        (WINDOW, 1, 8, 60_000),
        (WINDOW, 2, 8, 40_000),
        (WINDOW, 16, 200, 20_000),
        (WINDOW, 17, 100, 40_000),
        (WINDOW, 64, 1_000, 5_000),
        (WINDOW, 65, 300, 3_000),
        (WINDOW, 1_000, 20_000, 100),
        (SHORT, 1, 8, 60_000),
        (SHORT, 16, 200, 2_000),
        (SHORT, 65, 300, 300),
        (SHORT, 1_000, 20_000, 20),
    ] {
        let mut model = Model::new(window, capacity, capacity as u64);
        for _ in 0..60_000 * rounds() {
            model.step(nonces, fastest);
        }
        let Counts {
            accepted,
            duplicates,
            full,
            evicted,
        } = model.counts;
        let told = format!("capacity {capacity}: {:?}", model.counts);
        assert!(accepted > 1_000 && duplicates > 100, "{told}");
        assert!(full + evicted > 0, "the table was never full: {told}");
        let entry = 32;
        let most = if capacity <= 64 {
            capacity
        } else {
            model.table.keys() as usize * 32
        };
        assert!(
            model.store.bytes() <= most * entry + model.store.keys() * 16,
            "{told}"
        );
    }
}

/// While there is room nothing is forgotten before `keep` has passed.
#[test]
fn with_room_to_spare_the_table_is_the_map() {
    for capacity in [64, 1_000, 65_536] {
        let (table, store) = (
            NonceTable::new(rules(capacity, OnFull::Reject)),
            MemoryStore::new(),
        );
        let chance = Chance::seeded(7);
        let mut ends: HashMap<u64, Moment> = HashMap::new();
        let mut now = START;
        for id in 0..200_000 * rounds() {
            now = now.after(span(chance.below(4 * KEEP.0 / capacity as u64)));
            let number = chance.below(capacity as u64 / 2);
            let known = ends.get(&number).is_some_and(|end| *end >= now);
            assert_eq!(
                table.knows(&store, nonce(number), now),
                Ok(known),
                "{number}"
            );
            let claimed = table.claim(&store, nonce(number), id, None, now);
            match claimed.expect("the memory store does not fail") {
                Claimed::Yes(claim, change) => {
                    assert!(!known && change.evicted == 0, "{number}: {change:?}");
                    table.keep(&store, &claim, now).expect("kept");
                    ends.insert(number, now.after(KEEP));
                }
                Claimed::Duplicate(_) => assert!(known, "{number}"),
                other => panic!("{number}: {other:?}"),
            }
        }
    }
}

/// `evict_oldest` forgets the oldest and nothing else.
#[test]
fn evict_oldest_forgets_in_the_order_of_acceptance() {
    for capacity in [1, 2, 17, 64] {
        let rules = rules(capacity, OnFull::EvictOldest);
        let (table, store) = (NonceTable::new(rules), MemoryStore::new());
        let mut order = std::collections::VecDeque::new();
        for number in 0..20_000 {
            let now = START.after(span(number));
            let claimed = table.claim(&store, nonce(number), number, None, now);
            let Ok(Claimed::Yes(claim, _)) = claimed else {
                panic!("{number}: {claimed:?}");
            };
            table.keep(&store, &claim, now).expect("kept");
            order.push_back(number);
            if order.len() > capacity {
                let gone = order.pop_front().expect("at least one");
                assert_eq!(table.knows(&store, nonce(gone), now), Ok(false), "{gone}");
            }
            let oldest = *order.front().expect("at least one");
            assert_eq!(
                table.knows(&store, nonce(oldest), now),
                Ok(true),
                "{oldest}"
            );
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
            MemoryStore::new(),
        );
        let chance = Chance::seeded(seed);
        let mut must: HashMap<u64, Moment> = HashMap::new();
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
                    table.keep(&store, &claim, now).expect("kept");
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
        longest: WINDOW,
        ..rules(2, OnFull::Reject)
    };
    let (table, store) = (NonceTable::new(rules), MemoryStore::new());
    let accept = |number, now| {
        let claimed = table.claim(&store, nonce(number), number, None, now);
        match claimed.expect("the memory store does not fail") {
            Claimed::Yes(claim, _) => {
                table.keep(&store, &claim, now).expect("kept");
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
    // And a clock that was far ahead blocks the table for no longer than the longest
    // that anything must be remembered, counted from when that is first seen.
    let far_back = START.before(span(1_000_000_000));
    assert!(
        !accept(4, far_back),
        "it is not known how long ago that was"
    );
    assert!(accept(4, far_back.after(WINDOW).after(span(1))));
}

/// The answer of a very slow upstream is an acceptance like any other.
#[test]
fn an_answer_that_comes_after_its_claim_has_lapsed_is_remembered() {
    let (table, store) = (
        NonceTable::new(rules_of(SHORT, 1_000, OnFull::Reject)),
        MemoryStore::new(),
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
        .keep(&store, &slow, lapsed.after(span(1)))
        .expect("kept");
    let again = claim(1, 9_999, lapsed.after(span(2)));
    assert!(matches!(again, Claimed::Duplicate(_)), "{again:?}");
}
