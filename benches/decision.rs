//! What the whole decision on a request costs in the core: from the client's address to the
//! verdict, with a rate limit and a nonce.
//!
//! It promises to grow with the bytes of the body and not with how full the tables are. The
//! ratios are printed at the end, as rows of docs/performance.md.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use support::bodies::{COUNTS, SIZES, of_parameters, of_size};
use support::decide::{Driver, NOW};
use support::message::{TOKEN, message};
use support::request::Request;
use support::side_by_side::{Run, alternate, criterion, print_row};
use support::stores::nonce;
use twilio_webhook_filter::{CasError, CasMap, Entry, NonceTable, Version};

const PERCENT: [usize; 5] = [0, 25, 50, 75, 100];

/// So many requests are decided before the tables are put back to where they were.
const BATCH: usize = 32;

/// A store that can be put back to where it was, so that the same requests are new again
/// and the tables stay as full as they are.
#[derive(Default)]
struct Rewinding {
    entries: RefCell<HashMap<String, Versioned>>,
    /// What was overwritten.
    journal: RefCell<Vec<(String, Option<Versioned>)>>,
    version: Cell<u32>,
}

/// A value and its version.
type Versioned = (Vec<u8>, u32);

impl Rewinding {
    fn rewind(&self) {
        let mut entries = self.entries.borrow_mut();
        for (key, before) in self.journal.borrow_mut().drain(..).rev() {
            match before {
                Some(before) => entries.insert(key, before),
                None => entries.remove(&key),
            };
        }
    }
}

impl CasMap for Rewinding {
    fn get(&self, key: &str) -> Result<Option<Entry>, CasError> {
        let entries = self.entries.borrow();
        Ok(entries.get(key).map(|(value, version)| Entry {
            value: value.clone(),
            version: Version(*version),
        }))
    }

    fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<Version>,
        value: &[u8],
    ) -> Result<bool, CasError> {
        let mut entries = self.entries.borrow_mut();
        if entries.get(key).map(|(_, version)| Version(*version)) != expected {
            return Ok(false);
        }
        self.version.set(self.version.get() + 1);
        let before = entries.insert(key.to_owned(), (value.to_vec(), self.version.get()));
        self.journal.borrow_mut().push((key.to_owned(), before));
        Ok(true)
    }
}

/// A filter, its tables as full as they are to be, and requests that it has not seen.
struct Bench {
    driver: Driver<Rewinding>,
    requests: Vec<Request>,
    verdict: &'static str,
}

impl Bench {
    /// With the default configuration, but for several tokens of one account.
    fn new(tokens: usize, percent: usize, request: impl Fn(usize) -> Request) -> Bench {
        let token = |index: usize| match tokens - index {
            1 => format!("{TOKEN:?}"),
            _ => format!("\"another token, {index}\""),
        };
        let tokens: Vec<_> = (0..tokens).map(token).collect();
        let accounts = format!(
            r#"{{"accounts": [{{"auth_tokens": [{}]}}]}}"#,
            tokens.join(",")
        );
        let client = |number: usize| u32::try_from(number).expect("a few");
        let requests = (0..BATCH).map(|number| request(number).by_client(client(number)));
        let bench = Bench {
            driver: Driver::new(&accounts),
            requests: requests.collect(),
            verdict: "accepted",
        };
        bench.fill(percent);
        bench
    }

    fn that_is(self, verdict: &'static str) -> Bench {
        Bench { verdict, ..self }
    }

    fn fill(&self, percent: usize) {
        let settings = self.driver.settings();
        let webhook = &self.driver.webhooks()[0].settings;
        let replay = webhook.replay.as_ref().expect("the default");
        let nonces = NonceTable::new(replay.rules.clone());
        for number in 0..replay.rules.capacity * percent / 100 {
            let nonce = nonce(number as u64);
            let claimed = nonces.claim(self.driver.store(), nonce, 7, None, NOW);
            claimed.expect("this store does not fail");
        }
        // Whoever has no signature is counted, too.
        let nobody = Request::message().without("x-twilio-signature");
        for number in 0..settings.rate_limit_capacity * percent / 100 {
            let client = u32::try_from(BATCH + number).expect("a few thousand");
            let request = nobody.clone().by_client(client);
            self.driver.decide(request.sent(&request.pairs()), 7, NOW);
        }
        self.driver.store().journal.borrow_mut().clear();
    }

    /// How long so many decisions take, without the time for putting the tables back.
    fn time(&self, decisions: usize) -> Duration {
        let headers: Vec<_> = self.requests.iter().map(Request::pairs).collect();
        let requests: Vec<_> = headers.iter().zip(&self.requests).collect();
        let mut spent = Duration::ZERO;
        let mut left = decisions;
        while left > 0 {
            let batch = left.min(BATCH);
            let start = Instant::now();
            for (claim_id, (headers, request)) in (1..).zip(requests.iter().take(batch)) {
                let verdict = self.driver.decide(request.sent(headers), claim_id, NOW);
                assert_eq!(black_box(verdict).outcome.name(), self.verdict);
            }
            spent += start.elapsed();
            self.driver.store().rewind();
            left -= batch;
        }
        spent
    }

    fn measure(&self, group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId) {
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|times| self.time(usize::try_from(times).expect("in memory")));
        });
    }

    /// A run for the ratios, of so many decisions.
    fn run(&self, decisions: usize) -> Run<'_> {
        let times = u32::try_from(decisions).expect("a few");
        Box::new(move || self.time(decisions) / times)
    }
}

/// The usual message, each time another one.
fn usual(number: usize) -> Request {
    let body = message().replacen("abcdef", &format!("{number:06}"), 1);
    Request::form(body.as_bytes())
}

fn by_size() -> [(usize, Bench); 4] {
    SIZES.map(|size| {
        (
            size,
            Bench::new(1, 0, |number| Request::form(&of_size(size, number))),
        )
    })
}

fn by_parameters() -> [(usize, Bench); 4] {
    let request = |count, number| Request::form(&of_parameters(count, number));
    COUNTS.map(|count| (count, Bench::new(1, 0, |number| request(count, number))))
}

fn by_keys() -> [(usize, Bench); 2] {
    [1, 3].map(|keys| (keys, Bench::new(keys, 0, usual)))
}

fn by_fill() -> [(usize, Bench); 5] {
    PERCENT.map(|percent| (percent, Bench::new(1, percent, usual)))
}

fn by_verdict() -> [(&'static str, Bench); 3] {
    let unsigned = |number| usual(number).without("x-twilio-signature");
    let forged = |number| usual(number).with_body(message().as_bytes());
    [
        ("accepted", Bench::new(1, 0, usual)),
        (
            "invalid_signature",
            Bench::new(1, 0, forged).that_is("invalid_signature"),
        ),
        (
            "missing_signature",
            Bench::new(1, 0, unsigned).that_is("missing_signature"),
        ),
    ]
}

fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for (size, bench) in by_size() {
        group.throughput(Throughput::Bytes(size as u64));
        bench.measure(&mut group, BenchmarkId::new("bytes", size));
    }
    for (count, bench) in by_parameters() {
        group.throughput(Throughput::Elements(count as u64));
        bench.measure(&mut group, BenchmarkId::new("parameters", count));
    }
    group.throughput(Throughput::Elements(1));
    for (keys, bench) in by_keys() {
        bench.measure(&mut group, BenchmarkId::new("keys", keys));
    }
    for (percent, bench) in by_fill() {
        bench.measure(&mut group, BenchmarkId::new("fill", percent));
    }
    for (verdict, bench) in by_verdict() {
        bench.measure(&mut group, BenchmarkId::new("verdict", verdict));
    }
    group.finish();
}

fn print_ratios() {
    const NAME: &str = "whole decision";
    let benches = by_size();
    let mut runs = benches.each_ref().map(|(_, bench)| bench.run(BATCH));
    let rounds = alternate(&mut runs);
    let numbers = [rounds.times_the_first(), vec![rounds.last_step(&SIZES)]];
    print_row(&format!("{NAME}, by bytes"), &numbers.concat());

    let benches = by_parameters();
    let mut runs = benches.each_ref().map(|(_, bench)| bench.run(BATCH));
    let rounds = alternate(&mut runs);
    let numbers = [rounds.times_the_first(), vec![rounds.last_step(&COUNTS)]];
    print_row(&format!("{NAME}, by parameters"), &numbers.concat());

    let benches = by_keys();
    let mut runs = benches.each_ref().map(|(_, bench)| bench.run(8 * BATCH));
    print_row(
        &format!("{NAME}, by keys"),
        &alternate(&mut runs).times_the_first(),
    );

    let benches = by_fill();
    let mut runs = benches.each_ref().map(|(_, bench)| bench.run(8 * BATCH));
    print_row(
        &format!("{NAME}, by fill"),
        &alternate(&mut runs).times_the_first(),
    );

    let benches = by_verdict();
    let mut runs = benches.each_ref().map(|(_, bench)| bench.run(8 * BATCH));
    print_row(
        &format!("{NAME}, by verdict"),
        &alternate(&mut runs).times_the_first(),
    );
}

fn main() {
    let mut criterion = criterion();
    measure(&mut criterion);
    criterion.final_summary();
    print_ratios();
}
