//! Values that the tables did not write: they are handled, not trusted.
#![no_main]

use apart::draw::Draw;
use libfuzzer_sys::fuzz_target;
use twilio_webhook_filter::{
    Claimed, Limit, Limiter, MemoryMap, Millis, Nonce, NonceRules, NonceTable, OnFull, Taken,
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
    let table = NonceTable::new(NonceRules {
        window: WINDOW,
        keep: Millis(600_000),
        longest: Millis(90_000),
        capacity: usize::from(input.capacity) + 1,
        on_full: if input.evict {
            OnFull::EvictOldest
        } else {
            OnFull::Reject
        },
    });
    let store = MemoryMap::new();
    let claim =
        |key_hash: u8, id: u64, now| table.claim(&store, Nonce([key_hash; 32]), id, None, now);
    let _ = claim(0, 0, START);
    damage(&store, input);
    for (id, (key_hash, moment)) in (1..).zip(input.key_hash.iter().zip(input.moments)) {
        let now = Timestamp(u64::from(moment) * 1_000);
        let _ = table.knows(&store, Nonce([*key_hash; 32]), now);
        if let Ok(Claimed::Yes(own, _)) = claim(*key_hash, id, now) {
            assert!(
                !matches!(claim(*key_hash, id + 100, now), Ok(Claimed::Yes(..))),
                "claimed twice"
            );
            match key_hash % 3 {
                0 => table.keep(&store, &own, now),
                1 => table.release(&store, &own, now),
                _ => table.abandon(&store, &own, now),
            }
            .expect("the memory store does not fail");
        }
    }
    // However it was damaged, it comes to rights again by itself.
    let latest = store.key_names().len() as u64;
    assert!(latest <= table.keys());
}

fn limiter(input: &Input<'_>) {
    let limit = Limit {
        requests: u32::from(input.requests) + 1,
        window: WINDOW,
    };
    let limiter = Limiter::new("fuzz", limit, usize::from(input.capacity) + 1);
    let store = MemoryMap::new();
    let take = |key_hash: u8, now| limiter.take(&store, u64::from(key_hash) << 56, now);
    let _ = take(0, START);
    damage(&store, input);
    let mut now = START;
    for (key_hash, moment) in input.key_hash.iter().zip(input.moments) {
        now = Timestamp(u64::from(moment) * 1_000);
        let peeked = limiter
            .peek(&store, u64::from(*key_hash) << 56, now)
            .expect("peeked");
        match take(*key_hash, now).expect("taken") {
            Taken::Passed(pass) => {
                assert_eq!(peeked, None);
                if key_hash % 2 == 0 {
                    limiter
                        .withdraw(&store, u64::from(*key_hash) << 56, pass, now)
                        .expect("withdrawn");
                }
            }
            // Who only looks is not told what the key has inherited.
            Taken::Rejected(wait) => assert!(peeked.is_none() || peeked == Some(wait)),
        }
    }
    // Whatever stood there, nobody has to wait for longer than two windows.
    if let Taken::Rejected(wait) = take(input.key_hash[0], now).expect("taken") {
        assert!(wait.0 <= 2 * WINDOW.0 + WINDOW.0 / 60 + 1, "{wait:?}");
        let then = now.after(wait);
        assert!(
            matches!(take(input.key_hash[0], then), Ok(Taken::Passed(_))),
            "the wait is the truth"
        );
    }
}
