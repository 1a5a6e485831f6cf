//! What a claim of a nonce and a step of a rate limit cost, by how full their tables are.
//!
//! The tables promise that cost does not grow: at full capacity at most 1.2 times
//! what it is in an empty table. The ratios are printed at the end, from short runs
//! that alternate between the fills, so that all of them meet the same machine.

use std::cell::Cell;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use twilio_webhook_filter::{CheckResult, Claimed, Limiter, MemoryMap, Millis, Nonce, NonceTable};

use support::random::spread;
use support::side_by_side::{Run, alternate, criterion, print_row};
use support::stores::{START, limiter, nonce, nonce_rules};

/// The defaults of the configuration.
const NONCES: usize = 65_536;
const COUNTERS: usize = 16_384;
const PERCENT: [usize; 5] = [0, 25, 50, 75, 100];

/// A table of nonces with so many accepted requests in it, all of them pinned.
struct Nonces {
    table: NonceTable,
    store: MemoryMap,
    next: Cell<u64>,
}

impl Nonces {
    fn filled(percent: usize) -> Nonces {
        let nonces = Nonces {
            table: NonceTable::new(nonce_rules(NONCES)),
            store: MemoryMap::new(),
            next: Cell::new(1 << 40),
        };
        for number in 0..(NONCES * percent / 100) as u64 {
            // What is claimed is completed in advance, the window being long enough.
            nonces.claim(nonce(number));
        }
        nonces
    }

    fn claim(&self, nonce: Nonce) -> Claimed {
        let claimed = self.table.claim(&self.store, nonce, 7, None, START);
        claimed.expect("the memory store does not fail")
    }
}

/// Counters with so many clients in them.
struct Counters {
    limiter: Limiter,
    store: MemoryMap,
    next: Cell<u64>,
}

impl Counters {
    fn filled(percent: usize) -> Counters {
        let counters = Counters {
            limiter: limiter("bench", 60, Millis::seconds(60), COUNTERS),
            store: MemoryMap::new(),
            next: Cell::new(1 << 40),
        };
        for number in 0..(COUNTERS * percent / 100) as u64 {
            counters.count(number);
        }
        counters
    }

    fn count(&self, key_hash: u64) -> CheckResult {
        let counted = self
            .limiter
            .check_and_count(&self.store, spread(key_hash), START);
        counted.expect("the memory store does not fail")
    }
}

/// So many are claimed, or counted, before all of it is taken back: too few to make a
/// table fuller.
const BATCH: u64 = 64;

impl Nonces {
    /// How long so many claims take, without the time for releasing them.
    fn time(&self, claims: u64) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = claims;
        while left > 0 {
            let batch = left.min(BATCH);
            let first = self.next.replace(self.next.get() + batch);
            let start = Instant::now();
            let claimed: Vec<_> = (0..batch)
                .map(|number| self.claim(nonce(first + number)))
                .collect();
            spent += start.elapsed();
            for claimed in claimed {
                if let Claimed::Yes(claim, _) = claimed {
                    let released = self.table.release(&self.store, &claim, START);
                    released.expect("the memory store does not fail");
                }
            }
            left -= batch;
        }
        spent
    }
}

impl Counters {
    /// How long it takes to count so many requests, without the time for taking them back.
    fn time(&self, requests: u64) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = requests;
        while left > 0 {
            let batch = left.min(BATCH);
            let first = self.next.replace(self.next.get() + batch);
            let start = Instant::now();
            let counted: Vec<_> = (first..first + batch)
                .map(|key_hash| (key_hash, self.count(key_hash)))
                .collect();
            spent += start.elapsed();
            for (key_hash, counted) in counted {
                if let CheckResult::Permitted(permit) = counted {
                    let undone = self
                        .limiter
                        .undo(&self.store, spread(key_hash), permit, START);
                    undone.expect("the memory store does not fail");
                }
            }
            left -= batch;
        }
        spent
    }
}

/// The rows of docs/performance.md.
fn print_ratios() {
    let nonces = PERCENT.map(Nonces::filled);
    let mut claims: Vec<Run<'_>> = Vec::new();
    for nonces in &nonces {
        claims.push(Box::new(|| nonces.time(16 * BATCH)));
    }
    let ratios = alternate(&mut claims).times_the_first();
    print_row("claim of a nonce, by fill", &ratios);

    let counters = PERCENT.map(Counters::filled);
    let mut steps: Vec<Run<'_>> = Vec::new();
    for counters in &counters {
        steps.push(Box::new(|| counters.time(16 * BATCH)));
    }
    let ratios = alternate(&mut steps).times_the_first();
    print_row("step of a rate limit, by fill", &ratios);
}

fn by_fill(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("claim of a nonce");
    for percent in PERCENT {
        let nonces = Nonces::filled(percent);
        group.bench_function(BenchmarkId::new("fill", percent), |bencher| {
            bencher.iter_custom(|times| nonces.time(times));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("step of a rate limit");
    for percent in PERCENT {
        let counters = Counters::filled(percent);
        group.bench_function(BenchmarkId::new("fill", percent), |bencher| {
            bencher.iter_custom(|times| counters.time(times));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = criterion();
    by_fill(&mut criterion);
    criterion.final_summary();
    print_ratios();
}
