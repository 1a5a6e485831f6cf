//! Several workers on one store: interleaved by chance, and as threads.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use twilio_webhook_filter::{
    CasError, CasMap, CheckResult, Claimed, Limiter, MemoryMap, Millis, NonceRules, NonceTable,
    OnFull, Timestamp,
};

use crate::support::{self, Chance, Fault, Interleaved, START, nonce, rounds, span, spread};

const WINDOW: Millis = Millis(10_000);
/// For how long a worker stands still, at most, between reading its clock and counting.
const STANDS_STILL: Millis = Millis(50);

fn nonces(capacity: usize) -> NonceTable {
    NonceTable::new(NonceRules {
        window: WINDOW,
        keep: Millis(100_000),
        max_pinned: WINDOW,
        capacity,
        on_full: OnFull::Reject,
    })
}

fn limiter(requests: u32, capacity: usize) -> Limiter {
    support::limiter("workers", requests, WINDOW, capacity)
}

/// Rounds of several workers that all claim the same nonce, each in the middle of
/// another's step, and each with a table of one of these capacities: an update that changes
/// it reaches one worker after the other. Returns in how many rounds not exactly one
/// succeeded.
fn rounds_without_one_winner(fault: Fault, capacities: &[usize], rounds: u64) -> u64 {
    let chance = Chance::seeded(capacities[0] as u64);
    let store = MemoryMap::new();
    let tables: Vec<_> = capacities
        .iter()
        .map(|capacity| Rc::new(nonces(*capacity)))
        .collect();
    let mut wrong = 0;
    for round in 0..rounds {
        // Later rounds meet buckets that exist, with entries that have expired.
        let now = START.after(span(round * 200_000));
        let winners = Rc::new(RefCell::new(0));
        let claim = |id: u64| {
            let table = &tables[chance.below(tables.len() as u64) as usize];
            let (table, winners) = (Rc::clone(table), Rc::clone(&winners));
            move |store: &Interleaved<'_>| match table.claim(store, nonce(round), id, None, now) {
                Ok(Claimed::Yes(..)) => *winners.borrow_mut() += 1,
                Ok(Claimed::Duplicate(_)) | Err(CasError::Contended) => {}
                other => panic!("{other:?}"),
            }
        };
        let interleaved = Interleaved::new(&store, fault);
        for id in 1..2 + chance.below(6) {
            interleaved.let_in(claim(round * 10 + id));
        }
        claim(round * 10)(&interleaved);
        interleaved.let_all_in();
        wrong += u64::from(*winners.borrow() != 1);
    }
    wrong
}

#[test]
fn of_workers_that_claim_one_nonce_in_each_others_midst_exactly_one_succeeds() {
    for capacities in [
        &[1][..],
        &[64],
        &[1_000],
        &[65_536],
        &[1, 20, 64],
        &[65_536, 1_000],
        &[300, 40_000, 1_000_000],
    ] {
        let wrong = rounds_without_one_winner(Fault::None, capacities, 20_000 * rounds());
        assert_eq!(wrong, 0, "capacities {capacities:?}");
    }
}

/// The test above would notice a store that does what Envoy does with a write that has
/// no version, or that ignores versions altogether, or lies about what it wrote.
#[test]
fn a_store_that_breaks_the_rules_of_compare_and_swap_is_noticed() {
    let noticed = |fault| rounds_without_one_winner(fault, &[65_536], 2_000);
    // Only a bucket's first claim meets an absent key.
    assert!(noticed(Fault::AbsentIsUnconditional) > 500);
    assert!(noticed(Fault::AlwaysWrites) > 1_500);
    assert!(noticed(Fault::DeniesWrites) > 1_500);
}

/// Workers that count requests of a few keys in each other's midst, each by the clock as
/// it read it, which may be a few moments ago. Answers how often one more passed than may.
///
/// By their own readings, that is: a worker that has read the clock and then stands still
/// for a moment acts by what it read, and no table can know for how long it did.
fn passes_too_many(fault: Fault, requests: u32, capacity: usize, steps: u64) -> u64 {
    let chance = Rc::new(Chance::seeded(u64::from(requests)));
    let store = MemoryMap::new();
    let limiter = Rc::new(limiter(requests, capacity));
    let passed: Rc<RefCell<HashMap<u64, Vec<Timestamp>>>> = Rc::default();
    let mut now = START;
    for _ in 0..steps {
        now = now.after(span(chance.below(1 + WINDOW.0 / u64::from(requests) / 2)));
        let interleaved = Interleaved::new(&store, fault);
        let worker = |key_hash: u64, now: Timestamp| {
            let (limiter, passed) = (Rc::clone(&limiter), Rc::clone(&passed));
            move |store: &Interleaved<'_>| {
                if let Ok(CheckResult::Permitted(_)) =
                    limiter.check_and_count(store, spread(key_hash), now)
                {
                    passed.borrow_mut().entry(key_hash).or_default().push(now);
                }
            }
        };
        for _ in 0..chance.below(4) {
            let behind = span(chance.below(STANDS_STILL.0));
            interleaved.let_in(worker(chance.below(3), now.before(behind)));
        }
        worker(chance.below(3), now)(&interleaved);
        interleaved.let_all_in();
    }
    let too_many = |moments: &Vec<Timestamp>| {
        let mut moments = moments.clone();
        moments.sort();
        let full = moments.windows(requests as usize + 1);
        let within = Millis(WINDOW.0 - STANDS_STILL.0);
        let too_many = full.filter(|full| full[requests as usize].since(full[0]) < within);
        too_many.count() as u64
    };
    let passed = passed.borrow();
    assert!(
        passed
            .values()
            .all(|moments| moments.len() > requests as usize)
    );
    passed.values().map(too_many).sum()
}

#[test]
fn workers_that_count_in_each_others_midst_let_no_more_than_the_limit_through() {
    for requests in [1, 5, 60, 64, 65] {
        for capacity in [1, 2, 16, 17] {
            let wrong = passes_too_many(Fault::None, requests, capacity, 20_000 * rounds());
            assert_eq!(wrong, 0, "{requests}/{capacity}");
        }
    }
}

#[test]
fn a_store_that_loses_counts_is_noticed() {
    assert!(passes_too_many(Fault::AlwaysWrites, 5, 16, 20_000) > 100);
}

const THREADS: u64 = 4;

/// Runs the same on every thread; each is told its number.
fn on_threads(work: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let work = &work;
            scope.spawn(move || work(thread));
        }
    });
}

/// Where threads wait for each other.
#[derive(Default)]
struct Meeting(AtomicU64);

impl Meeting {
    /// Goes on when all have come.
    fn wait(&self) {
        let all = (self.0.fetch_add(1, Ordering::SeqCst) / THREADS + 1) * THREADS;
        while self.0.load(Ordering::SeqCst) < all {
            std::thread::yield_now();
        }
    }
}

/// All threads claim all nonces in the same order. Where one is ahead it waits now and
/// then for the others, so that they meet at the same nonces. The threads have one capacity,
/// or half of them another.
#[test]
fn of_threads_that_claim_the_same_nonces_exactly_one_succeeds_with_each() {
    for (capacity, other) in [(16, 16), (1_000, 1_000), (65_536, 65_536), (1_000, 50_000)] {
        let (tables, store) = ([nonces(capacity), nonces(other)], MemoryMap::new());
        // As many as there is room for, again and again, each time long after the last.
        let batch = capacity as u64 / 2;
        let batches = 400_000 * rounds() / THREADS / batch + 1;
        let winners: Vec<AtomicU32> = (0..batch * batches).map(|_| AtomicU32::new(0)).collect();
        let meeting = Meeting::default();
        on_threads(|thread| {
            let table = &tables[thread as usize % 2];
            for number in 0..batch * batches {
                if (number % batch).is_multiple_of(64) {
                    meeting.wait();
                }
                let now = START.after(span(number / batch * 1_000_000));
                let id = number * THREADS + thread;
                let claimed = table.claim(&store, nonce(number), id, None, now);
                match claimed.expect("four threads do not exhaust the retries") {
                    Claimed::Yes(claim, _) => {
                        winners[number as usize].fetch_add(1, Ordering::Relaxed);
                        table.complete(&store, &claim, now).expect("completed");
                    }
                    Claimed::Duplicate(_) => {}
                    other => panic!("{number}: {other:?}"),
                }
            }
        });
        let wrong = winners
            .iter()
            .filter(|won| won.load(Ordering::Relaxed) != 1);
        assert_eq!(wrong.count(), 0, "{capacity} and {other}");
        assert!(store.keys() as u64 <= tables[0].keys());
    }
}

/// A claim that is released by one thread is free for exactly one other.
#[test]
fn threads_that_claim_and_release_one_nonce_never_hold_it_together() {
    let (table, store) = (nonces(16), MemoryMap::new());
    let (holders, held) = (AtomicU32::new(0), AtomicU64::new(0));
    on_threads(|thread| {
        for round in 0..50_000 * rounds() {
            let id = round * THREADS + thread;
            let claimed = table.claim(&store, nonce(1), id, None, START);
            if let Ok(Claimed::Yes(claim, _)) = claimed {
                assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "held twice");
                held.fetch_add(1, Ordering::Relaxed);
                assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1, "held twice");
                table.release(&store, &claim, START).expect("released");
            }
        }
    });
    assert!(held.load(Ordering::Relaxed) > 1_000);
}

/// Threads on one clock, which moves on when all have come to the same point: in between
/// they are as much in each other's way as can be.
#[test]
fn threads_let_no_more_than_the_limit_through() {
    for (requests, capacity) in [(1, 16), (60, 16), (64, 1_000), (65, 17)] {
        let (limiter, store) = (limiter(requests, capacity), MemoryMap::new());
        let meeting = Meeting::default();
        let passed: std::sync::Mutex<HashMap<u64, Vec<Timestamp>>> = std::sync::Mutex::default();
        on_threads(|thread| {
            let (chance, clock) = (Chance::seeded(thread), Chance::seeded(99));
            let (mut own, mut now) = (Vec::new(), START);
            for round in 0..50_000 * rounds() {
                if round.is_multiple_of(16) {
                    meeting.wait();
                    // The same for all: sixteen requests of four threads for four keys.
                    now = now.after(span(clock.below(8 * WINDOW.0 / u64::from(requests))));
                }
                let key_hash = chance.below(4);
                let counted = limiter.check_and_count(&store, spread(key_hash), now);
                if let CheckResult::Permitted(_) =
                    counted.expect("four threads do not exhaust the retries")
                {
                    own.push((key_hash, now));
                }
            }
            let mut passed = passed.lock().expect("no thread panicked");
            for (key_hash, now) in own {
                passed.entry(key_hash).or_default().push(now);
            }
        });
        let mut passed = passed.into_inner().expect("no thread panicked");
        for moments in passed.values_mut() {
            moments.sort();
            for full in moments.windows(requests as usize + 1) {
                let within = full[requests as usize].since(full[0]);
                assert!(within >= WINDOW, "{requests}/{capacity}: {within:?}");
            }
        }
        assert!(store.keys() as u64 <= limiter.keys());
    }
}

/// Whatever a store does, a step ends: when the retries run out it rejects.
#[test]
fn a_store_that_never_lets_anything_be_written_is_an_error() {
    struct ContendedStore;
    impl CasMap for ContendedStore {
        fn get(&self, _: &str) -> Result<Option<twilio_webhook_filter::Entry>, CasError> {
            Ok(None)
        }

        fn compare_and_swap(
            &self,
            _: &str,
            _: Option<twilio_webhook_filter::Version>,
            _: &[u8],
        ) -> Result<bool, CasError> {
            Ok(false)
        }
    }
    let claimed = nonces(16).claim(&ContendedStore, nonce(1), 1, None, START);
    assert!(matches!(claimed, Err(CasError::Contended)), "{claimed:?}");
    let counted = limiter(5, 16).check_and_count(&ContendedStore, 1, START);
    assert_eq!(counted, Err(CasError::Contended));
}
