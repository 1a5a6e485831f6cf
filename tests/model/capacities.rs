//! Tables of several capacities on one store: webhooks whose capacities differ, and workers
//! before and after an update that changes one. Against lists of what each has accepted.

use std::collections::HashMap;

use twilio_webhook_filter::{
    Claimed, MemoryMap, Millis, NonceRules, NonceTable, OnFull, PriorDelivery, Timestamp,
};

use crate::support::{Chance, START, crowded, rounds, span};

const WINDOW: Millis = Millis(300_000);
const KEEP: Millis = Millis(1_000_000);

fn table(capacity: usize, on_full: OnFull) -> NonceTable {
    NonceTable::new(NonceRules {
        window: WINDOW,
        keep: KEEP,
        max_pinned: WINDOW,
        capacity,
        on_full,
    })
}

/// A capacity, with the slots that it has in a bucket and what it does when they are full.
type Share = (usize, usize, OnFull);

/// What one table has accepted in one bucket, the oldest first.
#[derive(Default)]
struct Accepted(Vec<(u64, Timestamp)>);

impl Accepted {
    /// Makes room for one more, as the table has to. Returns when what it evicts was
    /// accepted, or `None` where it may evict nothing.
    fn make_room(&mut self, share: Share, now: Timestamp) -> Option<Option<Timestamp>> {
        let (_, slots, on_full) = share;
        if self.0.len() < slots {
            return Some(None);
        }
        let (_, oldest) = self.0[0];
        if oldest.after(WINDOW) >= now && on_full == OnFull::Reject {
            return None;
        }
        self.0.remove(0);
        Some(Some(oldest))
    }
}

/// Each has just its own slots, finds what the others have accepted, and evicts none of it.
fn check(shares: &[Share], buckets: u64, nonces: u64, pace: u64) {
    let store = MemoryMap::new();
    let chance = Chance::seeded(nonces);
    let tables: Vec<_> = shares
        .iter()
        .map(|(capacity, _, on_full)| table(*capacity, *on_full))
        .collect();
    let mut accepted: HashMap<(u64, usize), Accepted> = HashMap::new();
    let (mut now, mut evicted, mut full) = (START, vec![0; shares.len()], vec![0; shares.len()]);
    for id in 0..100_000 * rounds() {
        now = now.after(span(1 + chance.below(pace)));
        let number = chance.below(nonces);
        let nonce = crowded(number, buckets);
        let bucket = number % buckets;
        let index = chance.below(shares.len() as u64) as usize;
        let table = &tables[index];
        for share in 0..shares.len() {
            let expired = |(_, at): &(u64, Timestamp)| at.after(KEEP) < now;
            let list = &mut accepted.entry((bucket, share)).or_default().0;
            list.retain(|accepted| !expired(accepted));
        }
        let known = (0..shares.len()).find_map(|share| {
            let list = &accepted[&(bucket, share)].0;
            list.iter().find(|(known, _)| *known == number)
        });
        let prior = known.map(|(_, at)| PriorDelivery::Accepted(now.since(*at)));
        assert_eq!(table.find_prior(&store, nonce, now), Ok(prior), "{number}");
        let claimed = table.claim(&store, nonce, id, None, now).expect("claimed");
        if prior.is_some() {
            assert!(matches!(claimed, Claimed::Duplicate(told) if Some(told) == prior));
            continue;
        }
        let own = accepted.get_mut(&(bucket, index)).expect("made above");
        match (claimed, own.make_room(shares[index], now)) {
            (Claimed::Yes(claim, change), Some(gone)) => {
                let age = gone.map(|at| now.since(at));
                assert_eq!(change.evicted, u64::from(gone.is_some()));
                assert_eq!(change.evicted_age, age.unwrap_or_default());
                evicted[index] += change.evicted;
                if chance.once_in(8) {
                    // Any of the tables may settle it.
                    let other = &tables[chance.below(shares.len() as u64) as usize];
                    other.release(&store, &claim, now).expect("released");
                } else {
                    own.0.push((number, now));
                }
            }
            (Claimed::Full, None) => full[index] += 1,
            (claimed, room) => panic!("{number} by {index}: {claimed:?}, {room:?}"),
        }
    }
    assert!(evicted.iter().all(|count| *count > 100), "{evicted:?}");
    for ((_, _, on_full), count) in shares.iter().zip(full) {
        assert_eq!(
            count > 100,
            *on_full == OnFull::Reject,
            "{count} times full"
        );
    }
    let slots: usize = shares.iter().map(|(_, slots, _)| slots).sum();
    // Small tables leave copies in the buckets of the others, two in each at most.
    let copies = if buckets == 1 { 16_384 } else { 0 };
    assert!(store.keys() as u64 <= buckets + copies);
    assert!(store.bytes() <= store.keys() * (16 + 32 * slots));
}

#[test]
fn tables_of_different_capacities_find_each_others_nonces_and_evict_only_their_own() {
    const LARGE: [Share; 3] = [
        (65, 7, OnFull::Reject),
        (65_536, 16, OnFull::Reject),
        (30_000, 11, OnFull::EvictOldest),
    ];
    const SMALL: [Share; 3] = [
        (1, 1, OnFull::EvictOldest),
        (5, 5, OnFull::Reject),
        (64, 64, OnFull::Reject),
    ];
    check(&LARGE[..2], 4, 2_000, 2_000);
    check(&LARGE, 3, 2_000, 2_000);
    check(&SMALL, 1, 2_000, 2_000);
}

/// A capacity that changes while there is room to spare changes nothing else.
#[test]
fn whatever_the_capacity_changes_to_nothing_is_lost() {
    for capacities in [&[65, 1_000, 40_000, 65_536, 1_000_000][..], &[40, 64, 50]] {
        let store = MemoryMap::new();
        let chance = Chance::seeded(5);
        let mut ends: HashMap<u64, Timestamp> = HashMap::new();
        let mut now = START;
        for id in 0..100_000 * rounds() {
            now = now.after(span(chance.below(KEEP.0 / 10)));
            let capacity = capacities[chance.below(capacities.len() as u64) as usize];
            let table = table(capacity, OnFull::Reject);
            let number = chance.below(30);
            let known = ends.get(&number).is_some_and(|end| *end >= now);
            let claimed = table.claim(&store, crowded(number, 16_384), id, None, now);
            match claimed.expect("the memory store does not fail") {
                Claimed::Yes(_, change) => {
                    assert!(!known && change.evicted == 0, "{number}: {change:?}");
                    ends.insert(number, now.after(KEEP));
                }
                Claimed::Duplicate(_) => assert!(known, "{number}"),
                other => panic!("{number}: {other:?}"),
            }
        }
    }
}
