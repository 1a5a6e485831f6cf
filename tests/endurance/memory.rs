use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use serde_json::json;
use twilio_webhook_filter::{
    CheckResult, Claimed, MemoryMap, Millis, Nonce, NonceRules, NonceTable, Timestamp,
};

use crate::documentation::{number, table};
use crate::load::{Service, pour};
use support::burst::WORKERS;
use support::envoy::{Envoy, Setup, connection_manager, listener};
use support::messages::{WEBHOOK, form, unsigned, whatsapp};
use support::resident::resident;
use support::rule;
use support::stores::{limiter, nonce_rules};
use support::{size, stat};

/// What Envoy adds to each bucket: its name, and its place in a map.
const KEY: u64 = 200;
/// What Envoy may grow by besides: allocator, buffers, compiled code.
const MARGIN: u64 = 8 << 20;

/// One line of the table of sizes.
struct Sizes {
    capacity: u64,
    buckets: u64,
    slots: u64,
    entry: u64,
    header: u64,
    bytes: u64,
}

fn sizes(of: &str) -> Sizes {
    let rows = table("Sizes");
    let row = rows.iter().find(|row| row[0] == of);
    let row = row.unwrap_or_else(|| panic!("docs/memory.md: no line {of:?} in the table of sizes"));
    let [capacity, buckets, slots, entry, header, bytes] =
        [1, 2, 3, 4, 5, 6].map(|cell| number(&row[cell]));
    Sizes {
        capacity,
        buckets,
        slots,
        entry,
        header,
        bytes,
    }
}

const NONCES: &str = "nonces";
const FEW_NONCES: &str = "nonces, a small table";
const MANY_NONCES: &str = "nonces, a large table";
const FLOODED_COUNTERS: &str = "one limit, each key once";
const FULL_COUNTERS: &str = "one limit, each key used up";

#[test]
fn the_documented_sizes_are_buckets_times_slots_times_entries() {
    for of in [
        NONCES,
        FEW_NONCES,
        MANY_NONCES,
        FLOODED_COUNTERS,
        FULL_COUNTERS,
    ] {
        let sizes = sizes(of);
        let bucket = sizes.header + sizes.slots * sizes.entry;
        assert_eq!(sizes.bytes, sizes.buckets * bucket, "{of}");
    }
}

/// Keys in an order that fills all buckets alike, so that a table is as full as it can be.
fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn nonces(capacity: u64) -> NonceTable {
    NonceTable::new(NonceRules {
        window: Millis::seconds(1),
        ..nonce_rules(usize::try_from(capacity).expect("small"))
    })
}

fn nonce(number: u64, place: u64) -> Nonce {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..16].copy_from_slice(&place.to_be_bytes());
    Nonce(bytes)
}

const START: u64 = 1_800_000_000_000;

#[test]
fn tables_of_nonces_have_their_documented_size_and_no_more_keys_after_400_000_requests() {
    for of in [NONCES, FEW_NONCES] {
        let sizes = sizes(of);
        let store = MemoryMap::new();
        let nonces = nonces(sizes.capacity);
        assert_eq!(nonces.keys(), sizes.buckets);
        for number in 0..400_000 {
            let now = Timestamp(START + number);
            let nonce = nonce(number, spread(number));
            let claimed = nonces.claim(&store, nonce, number, None, now);
            assert!(matches!(claimed, Ok(Claimed::Yes(..))) || of == FEW_NONCES);
        }
        assert_eq!(store.keys() as u64, sizes.buckets);
        let (bytes, max) = (store.bytes() as u64, sizes.bytes);
        assert!((max * 99 / 100..=max).contains(&bytes), "{bytes} of {max}");
    }
}

#[test]
fn a_bucket_of_nonces_has_as_many_slots_as_documented_for_its_capacity() {
    for of in [NONCES, FEW_NONCES, MANY_NONCES] {
        let sizes = sizes(of);
        let (store, nonces) = (MemoryMap::new(), nonces(sizes.capacity));
        for number in 0..=sizes.slots {
            let claimed = nonces.claim(&store, nonce(number, 0), number, None, Timestamp(START));
            match claimed.expect("the memory store does not fail") {
                Claimed::Yes(..) => assert!(number < sizes.slots, "{of}"),
                Claimed::Full => assert_eq!(number, sizes.slots, "{of}"),
                other => panic!("{of}: {other:?}"),
            }
        }
        assert_eq!(store.bytes() as u64 * sizes.buckets, sizes.bytes, "{of}");
    }
}

#[test]
fn counters_have_their_documented_size_and_no_more_keys_whatever_comes() {
    let (flooded, full) = (sizes(FLOODED_COUNTERS), sizes(FULL_COUNTERS));
    let sixty_an_hour = |name, capacity| limiter(name, 60, Millis::seconds(3600), capacity);
    let limiter = sixty_an_hour("test", usize::try_from(flooded.capacity).expect("small"));
    assert_eq!(limiter.keys(), flooded.buckets);
    let store = MemoryMap::new();
    for number in 0..500_000 {
        let now = Timestamp(START + number);
        let counted = limiter.check_and_count(&store, spread(number), now);
        assert!(
            matches!(counted, Ok(CheckResult::Permitted(_))),
            "{number}: {counted:?}"
        );
    }
    assert_eq!(store.keys() as u64, flooded.buckets);
    let bytes = store.bytes() as u64;
    assert!(
        (flooded.bytes / 2..=flooded.bytes).contains(&bytes),
        "{bytes} of {}",
        flooded.bytes
    );

    // Nearly as many keys as there are slots, each as often as it may, and then others; in a small table, or it
    // would take minutes.
    let limiter = sixty_an_hour("small", 64);
    let store = MemoryMap::new();
    let max = limiter.keys() * (full.bytes / full.buckets);
    let keys = limiter.keys() * full.slots * 9 / 10;
    for number in 0..60 * keys + 10_000 {
        let key = if number < 60 * keys {
            number % keys
        } else {
            number
        };
        let now = Timestamp(START + number);
        let counted = limiter.check_and_count(&store, spread(key), now);
        assert!(counted.is_ok(), "{number}: {counted:?}");
        let bytes = store.bytes() as u64;
        assert!(bytes <= max, "{number}: {bytes} of {max}");
    }
    let bytes = store.bytes() as u64;
    assert!(bytes >= max * 8 / 10, "{bytes} of {max}");
}

/// A request without a signature from an address of its own. Nothing is cheaper, and it counts.
fn from_address(address: Ipv4Addr) -> Vec<u8> {
    let request = unsigned("POST", WEBHOOK).header("x-forwarded-for", address.to_string());
    request.bytes()
}

fn address(number: u64) -> Ipv4Addr {
    let number = u32::try_from(number).expect("fewer than there are addresses");
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number)
}

/// How many requests from one address pass the limit, of so many.
fn let_through(envoy: &Envoy, from: Ipv4Addr, count: u64) -> u64 {
    let statuses = pour(envoy.address(), count, |_| from_address(from));
    let passed = statuses.get(&403).copied().unwrap_or(0);
    let limited = statuses.get(&429).copied().unwrap_or(0);
    assert_eq!(passed + limited, count, "{statuses:?}");
    passed
}

#[test]
fn floods_grow_memory_by_the_tables_alone_and_let_nobody_off_a_limit() {
    let accepted = size("ENDURANCE_ACCEPTED", 200_000);
    let addresses = size("ENDURANCE_ADDRESSES", 1_000_000);
    let (nonces, counters) = (sizes(NONCES), sizes(FLOODED_COUNTERS));
    let service = Service::start(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec());
    let upstream = service.address;
    let envoy = Setup::changed(json!({
        // Short, so that what is kept beyond it makes room: more pass than the table holds.
        "replay": {"window": "1s", "capacity": nonces.capacity},
        // Long: what is counted before the flood still counts after it.
        "rate_limits": [rule("client_ip", "all", 60, "36000s")],
        "rate_limit_capacity": counters.capacity,
    }))
    .workers(WORKERS)
    .edit(move |config| {
        Service::put_into(config, upstream);
        let manager = connection_manager(listener(config));
        manager["xff_num_trusted_hops"] = json!(1);
        // A line for each of a million requests would fill the disk, and is not what is measured.
        manager["access_log"] = json!([]);
    })
    .start();
    let to = envoy.address();
    let signed = |number| {
        let request = form(WEBHOOK, &whatsapp());
        // The counters of these are a flood, too.
        let from = address(12_000_000 + number).to_string();
        request.header("x-forwarded-for", from).bytes()
    };

    // Both kinds, so that buffers and compiled code are there.
    const WARM_UP: u64 = 5000;
    assert_eq!(pour(to, WARM_UP, signed), BTreeMap::from([(200, WARM_UP)]));
    let warm = |number| from_address(address(11_000_000 + number));
    assert_eq!(pour(to, WARM_UP, warm), BTreeMap::from([(403, WARM_UP)]));

    let limited = Ipv4Addr::new(198, 51, 100, 1);
    let almost = Ipv4Addr::new(198, 51, 100, 2);
    assert_eq!(let_through(&envoy, limited, 80), 60);
    assert_eq!(let_through(&envoy, almost, 59), 59);

    let before = resident(envoy.pid());
    let start = Instant::now();
    let statuses = pour(to, accepted, |number| signed(WARM_UP + number));
    assert_eq!(statuses, BTreeMap::from([(200, accepted)]));
    assert_eq!(service.received(), WARM_UP + accepted);
    let (between, first) = (resident(envoy.pid()), start.elapsed());
    let start = Instant::now();
    let statuses = pour(to, addresses, |number| from_address(address(number)));
    assert_eq!(statuses, BTreeMap::from([(403, addresses)]));
    let (after, second) = (resident(envoy.pid()), start.elapsed());

    assert_eq!(let_through(&envoy, limited, 10), 0, "it was limited before");
    assert!(let_through(&envoy, almost, 10) <= 1, "it had one left");

    let growth = after.saturating_sub(before);
    let keys = nonces.buckets + counters.buckets;
    let most = nonces.bytes + counters.bytes + keys * KEY + MARGIN;
    println!(
        "{accepted} accepted in {first:?}, {addresses} addresses in {second:?}; resident {} KiB, then {} KiB, \
         then {} KiB: grown by {} KiB of {} KiB",
        before >> 10,
        between >> 10,
        after >> 10,
        growth >> 10,
        most >> 10
    );
    assert!(growth <= most, "grown by {growth} bytes, more than {most}");
    let admin = envoy.admin;
    assert_eq!(stat(admin, "vm_reload"), 0, "no VM has died");
    // A gauge that all workers change together, exact to the last entry.
    let in_use = stat(admin, "nonces_in_use");
    assert!(in_use <= nonces.buckets * nonces.slots, "{in_use}");
}
