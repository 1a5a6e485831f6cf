//! Values that the tables did not write: they are handled, not trusted.
#![no_main]

use apart::draw::Draw;
use libfuzzer_sys::fuzz_target;
use twilio_webhook_filter::{
    CheckResult, Claimed, Limit, Limiter, MemoryMap, Millis, Nonce, NonceRules, NonceTable, OnFull,
    Timestamp,
};

struct Input<'a> {
    /// Whether the value begins as a genuine one does.
    genuine_start: bool,
    value: &'a [u8],
    capacity: u8,
    requests: u8,
    moments: [u32; 6],
    key_hash: [u8; 6],
    evict: bool,
}

const START: Timestamp = Timestamp(START_IN_SECONDS as u64 * 1_000);
const START_IN_SECONDS: u32 = 1_800_000_000;
const WINDOW: Millis = Millis(60_000);

fuzz_target!(|bytes: &[u8]| {
    let mut draw = Draw::new(bytes);
    let mut moment = 0;
    let mut next = || {
        // Back and forth, by seconds and by hours.
        let by = u32::from(draw.byte());
        moment = match draw.below(4) {
            0 => START_IN_SECONDS + by,
            1 => START_IN_SECONDS - by,
            2 => START_IN_SECONDS + by * 60,
            _ => by << 24,
        };
        moment
    };
    let moments = [(); 6].map(|()| next());
    let input = Input {
        genuine_start: draw.one_in(2),
        capacity: draw.byte(),
        requests: draw.byte(),
        moments,
        key_hash: [(); 6].map(|()| draw.byte() % 8),
        evict: draw.one_in(2),
        value: draw.rest(),
    };
    nonces(&input);
    limiter(&input);
});

/// What a table wrote first, followed by what was drawn.
fn damage(store: &MemoryMap, input: &Input<'_>) {
    for name in store.key_names() {
        let start = twilio_webhook_filter::CasMap::get(store, &name);
        let start = start
            .ok()
            .flatten()
            .map(|entry| entry.value)
            .unwrap_or_default();
        let start = if input.genuine_start { &start[..] } else { b"" };
        assert!(store.host_set(&name, &[start, input.value].concat(), 0));
    }
}

fn nonces(input: &Input<'_>) {
    let table = |capacity: usize| {
        NonceTable::new(NonceRules {
            window: WINDOW,
            keep: Millis(600_000),
            max_pinned: Millis(90_000),
            capacity,
            on_full: if input.evict {
                OnFull::EvictOldest
            } else {
                OnFull::Reject
            },
        })
    };
    // Two capacities at once, as webhooks may have, and workers during an update: both small
    // enough for one bucket, or neither.
    let capacity = usize::from(input.capacity) + 1;
    let other = if capacity <= 64 {
        65 - capacity
    } else {
        capacity * 1_000
    };
    let tables = [table(capacity), table(other)];
    let store = MemoryMap::new();
    let claim = |table: &NonceTable, number: u8, id: u64, now| {
        table.claim(&store, Nonce([number; 32]), id, None, now)
    };
    let _ = claim(&tables[0], 0, 0, START);
    damage(&store, input);
    for (id, (number, moment)) in (1..).zip(input.key_hash.iter().zip(input.moments)) {
        let now = Timestamp(u64::from(moment) * 1_000);
        let [table, other] = if id % 2 == 0 {
            [&tables[0], &tables[1]]
        } else {
            [&tables[1], &tables[0]]
        };
        let _ = table.find_prior(&store, Nonce([*number; 32]), now);
        if let Ok(Claimed::Yes(own, _)) = claim(table, *number, id, now) {
            assert!(
                !matches!(claim(other, *number, id + 100, now), Ok(Claimed::Yes(..))),
                "claimed twice"
            );
            match number % 3 {
                0 => other.complete(&store, &own, now),
                1 => other.release(&store, &own, now),
                _ => other.abandon(&store, &own, now),
            }
            .expect("the memory store does not fail");
        }
    }
    assert!(store.key_names().len() as u64 <= tables[0].keys());
}

fn limiter(input: &Input<'_>) {
    let limit = Limit {
        requests: u32::from(input.requests) + 1,
        window: WINDOW,
    };
    let limiter = Limiter::new("fuzz", limit, usize::from(input.capacity) + 1);
    let store = MemoryMap::new();
    let count = |key_hash: u8, now| limiter.check_and_count(&store, u64::from(key_hash) << 56, now);
    let _ = count(0, START);
    damage(&store, input);
    let mut now = START;
    for (key_hash, moment) in input.key_hash.iter().zip(input.moments) {
        now = Timestamp(u64::from(moment) * 1_000);
        let checked = limiter
            .check(&store, u64::from(*key_hash) << 56, now)
            .expect("checked");
        match count(*key_hash, now).expect("counted") {
            CheckResult::Permitted(permit) => {
                assert_eq!(checked, None);
                if key_hash % 2 == 0 {
                    limiter
                        .undo(&store, u64::from(*key_hash) << 56, permit, now)
                        .expect("undone");
                }
            }
            // A check does not look at what the key has inherited.
            CheckResult::Limited(wait) => assert!(checked.is_none() || checked == Some(wait)),
        }
    }
    // Whatever stood there, nobody has to wait for longer than two windows.
    if let CheckResult::Limited(wait) = count(input.key_hash[0], now).expect("counted") {
        assert!(wait.0 <= 2 * WINDOW.0 + WINDOW.0 / 60 + 1, "{wait:?}");
        let then = now.after(wait);
        assert!(
            matches!(
                count(input.key_hash[0], then),
                Ok(CheckResult::Permitted(_))
            ),
            "the wait is the truth"
        );
    }
}
