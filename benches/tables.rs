//! What a claim of a nonce and a step of a rate limit cost, by how full their tables are.
//!
//! The tables promise that cost does not grow: at full capacity at most 1.2 times
//! what it is in an empty table. The ratios are printed at the end, from short runs
//! that alternate between the fills, so that all of them meet the same machine.

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion};
use twilio_webhook_filter::core::clock::{Moment, Span};
use twilio_webhook_filter::core::signature::key::Nonce;
use twilio_webhook_filter::core::table::limiter::{Limit, Limiter, Taken};
use twilio_webhook_filter::core::table::memory::MemoryStore;
use twilio_webhook_filter::core::table::nonces::{Claimed, NonceRules, NonceTable, OnFull};

/// The defaults of the configuration.
const NONCES: usize = 65_536;
const COUNTERS: usize = 16_384;
const PERCENT: [usize; 3] = [0, 50, 100];

const START: Moment = Moment(1_800_000_000_000);

/// As evenly spread as SHA-256 and the keyed hash spread them.
fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 32];
    for (place, chunk) in (0..).zip(bytes.chunks_exact_mut(8)) {
        chunk.copy_from_slice(&spread(number * 4 + place).to_be_bytes());
    }
    Nonce(bytes)
}

/// A table of nonces with so many accepted requests in it, none of which may be
/// forgotten yet.
struct Nonces {
    table: NonceTable,
    store: MemoryStore,
    next: Cell<u64>,
}

impl Nonces {
    fn filled(percent: usize) -> Nonces {
        let nonces = Nonces {
            table: NonceTable::new(NonceRules {
                window: Span::seconds(300),
                keep: Span::seconds(86_400),
                longest: Span::seconds(330),
                capacity: NONCES,
                on_full: OnFull::Reject,
            }),
            store: MemoryStore::new(),
            next: Cell::new(1 << 40),
        };
        for number in 0..(NONCES * percent / 100) as u64 {
            // A few of the last find their bucket full: see `Buckets::new`.
            let Claimed::Yes(claim, _) = nonces.claim(nonce(number)) else {
                continue;
            };
            let kept = nonces.table.keep(&nonces.store, &claim, START);
            kept.expect("the memory store does not fail");
        }
        nonces
    }

    fn claim(&self, nonce: Nonce) -> Claimed {
        let claimed = self.table.claim(&self.store, nonce, 7, None, START);
        claimed.expect("the memory store does not fail")
    }

    /// What an accepted request does: it is looked up, claimed, and here given up
    /// again, so that the table stays as full as it is.
    fn accept(&self) {
        let nonce = nonce(self.next.replace(self.next.get() + 1));
        let known = self.table.knows(&self.store, nonce, START);
        assert_eq!(known, Ok(false));
        if let Claimed::Yes(claim, _) = self.claim(nonce) {
            let released = self.table.release(&self.store, &claim, START);
            released.expect("the memory store does not fail");
        }
    }
}

/// Counters with so many clients in them.
struct Counters {
    limiter: Limiter,
    store: MemoryStore,
    next: Cell<u64>,
}

impl Counters {
    fn filled(percent: usize) -> Counters {
        let limit = Limit {
            requests: 60,
            window: Span::seconds(60),
        };
        let counters = Counters {
            limiter: Limiter::new("bench", limit, COUNTERS),
            store: MemoryStore::new(),
            next: Cell::new(1 << 40),
        };
        for number in 0..(COUNTERS * percent / 100) as u64 {
            counters.take(number);
        }
        counters
    }

    fn take(&self, whom: u64) -> Taken {
        let taken = self.limiter.take(&self.store, spread(whom), START);
        taken.expect("the memory store does not fail")
    }

    /// A request of a client that was not seen before, taken back so that the table
    /// stays as full as it is.
    fn count(&self) {
        let whom = self.next.replace(self.next.get() + 1);
        if let Taken::Passed(pass) = self.take(whom) {
            let withdrawn = self
                .limiter
                .withdraw(&self.store, spread(whom), pass, START);
            withdrawn.expect("the memory store does not fail");
        }
    }
}

fn by_fill(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("nonces: look up, claim, give up");
    for percent in PERCENT {
        let nonces = Nonces::filled(percent);
        group.bench_function(BenchmarkId::from_parameter(percent), |bencher| {
            bencher.iter_batched(|| (), |()| nonces.accept(), BatchSize::SmallInput);
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("limiter: take, withdraw");
    for percent in PERCENT {
        let counters = Counters::filled(percent);
        group.bench_function(BenchmarkId::from_parameter(percent), |bencher| {
            bencher.iter_batched(|| (), |()| counters.count(), BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// The medians of the ratios of neighbouring short runs.
fn print_ratios(name: &str, runs: &[Box<dyn Fn()>; 3]) {
    let time = |run: &dyn Fn()| {
        let start = Instant::now();
        (0..1_000).for_each(|_| run());
        start.elapsed().as_secs_f64()
    };
    let [empty, half, full] = runs;
    runs.iter().for_each(|run| {
        time(black_box(run));
    });
    let mut ratios = [Vec::new(), Vec::new()];
    let mut nanos = Vec::new();
    for _ in 0..101 {
        let base = time(empty);
        nanos.push(base * 1e6);
        for (ratios, run) in ratios.iter_mut().zip([half, full]) {
            ratios.push(time(run) / base);
        }
    }
    let median = |mut ratios: Vec<f64>| {
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    let [half, full] = ratios;
    println!(
        "{name}: {:.0} ns in an empty table, {:.3} times that at half, {:.3} times at full capacity",
        median(nanos),
        median(half),
        median(full)
    );
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700))
        .configure_from_args();
    by_fill(&mut criterion);
    criterion.final_summary();
    let nonces = PERCENT.map(|percent| {
        let nonces = Nonces::filled(percent);
        Box::new(move || nonces.accept()) as Box<dyn Fn()>
    });
    print_ratios("nonces", &nonces);
    let counters = PERCENT.map(|percent| {
        let counters = Counters::filled(percent);
        Box::new(move || counters.count()) as Box<dyn Fn()>
    });
    print_ratios("limiter", &counters);
}
