//! What it costs to take a webhook apart, to put together what Twilio signed, and to check it.
//!
//! `webhook_form` is the comparison that matters: one WhatsApp message, by this
//! filter and by the code that anybody would write with `form_urlencoded`, a sorted
//! `Vec` and `hmac`, in one run on one machine. Both compute the same MAC, which is
//! asserted before anything is timed, and the ratio is printed at the end.

use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use criterion::{BenchmarkId, Criterion, Throughput};
use twilio_webhook_filter::{
    ClaimedMac, ComputedMac, ConfiguredUrl, Form, Key, Keyring, PublicUrl, Secret, Signed,
    SigningKey, Target, verify,
};

use support::bodies::{COUNTS, SIZES, of_parameters, of_size};
use support::message::{PATH, TOKEN, URL, message, straightforward};
use support::side_by_side::{Run, alternate, criterion, print_row, repeat};

/// What this filter does, without the comparison: parse, sort, MAC.
fn own(key: &SigningKey, url: &[u8], body: &[u8], out: &mut Vec<u8>) -> ComputedMac {
    let form = Form::parse(body);
    out.clear();
    out.extend_from_slice(url);
    form.write_signed(out);
    key.mac(out)
}

fn key() -> SigningKey {
    SigningKey::auth_token(&Secret::new(TOKEN.into())).expect("a token")
}

fn claimed(mac: &[u8]) -> ClaimedMac {
    ClaimedMac::parse(STANDARD.encode(mac).as_bytes()).expect("20 bytes")
}

fn webhook_form(criterion: &mut Criterion) {
    let (key, body) = (key(), message().as_bytes());
    let mut out = Vec::with_capacity(1024);
    let theirs = claimed(&straightforward(TOKEN, URL, body));
    let equal = own(&key, URL.as_bytes(), body, &mut out).equals(&theirs);
    assert!(bool::from(equal), "both have to compute the same MAC");

    let mut group = criterion.benchmark_group("webhook_form");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("this filter", |bencher| {
        bencher.iter(|| own(&key, URL.as_bytes(), black_box(body), &mut out));
    });
    group.bench_function("form_urlencoded, sorted Vec, hmac", |bencher| {
        bencher.iter(|| straightforward(TOKEN, URL, black_box(body)));
    });
    group.bench_function("of which: parse and sort", |bencher| {
        bencher.iter(|| Form::parse(black_box(body)));
    });
    let message = out.clone();
    group.bench_function("of which: HMAC", |bencher| {
        bencher.iter(|| key.mac(black_box(&message)));
    });
    group.finish();
}

/// The message that is signed.
fn signed(body: &[u8]) -> Vec<u8> {
    let mut out = URL.as_bytes().to_vec();
    Form::parse(body).write_signed(&mut out);
    out
}

/// As many keys, of which the last one fits.
fn keyring(keys: usize) -> Keyring {
    let key = |index: usize| Key {
        signing: match keys - index {
            1 => key(),
            _ => SigningKey::auth_token(&Secret::new(format!("token {index}"))).expect("a token"),
        },
        account: None,
        label: String::new(),
        shared_id: None,
    };
    Keyring::new((0..keys).map(key).collect())
}

fn fits(keyring: &Keyring, public: &PublicUrl, claimed: &ClaimedMac, form: &Form) -> bool {
    let signed = Signed {
        target: Target::new(PATH.as_bytes(), false),
        form: Some(form),
        claimed,
        settings: None,
    };
    verify(keyring, public, signed).is_ok()
}

fn public() -> PublicUrl {
    PublicUrl::configured(&ConfiguredUrl::parse(URL).expect("a URL"))
}

/// What is done with each body.
const STEPS: [&str; 4] = ["parse", "canonicalise", "HMAC", "parse and verify"];

/// One of the steps, ready to be done again and again.
fn step<'a>(step: &str, body: &'a [u8]) -> Box<dyn FnMut() + 'a> {
    match step {
        "parse" => Box::new(move || drop(black_box(Form::parse(black_box(body))))),
        "canonicalise" => {
            let (form, mut out) = (Form::parse(body), Vec::with_capacity(body.len() + 1024));
            Box::new(move || {
                out.clear();
                out.extend_from_slice(URL.as_bytes());
                black_box(&form).write_signed(&mut out);
                black_box(&out);
            })
        }
        "HMAC" => {
            let (key, signed) = (key(), signed(body));
            Box::new(move || {
                black_box(key.mac(black_box(&signed)));
            })
        }
        _ => {
            let (keyring, public) = (keyring(1), public());
            let claimed = claimed(&straightforward(TOKEN, URL, body));
            Box::new(move || {
                let form = Form::parse(black_box(body));
                assert!(fits(&keyring, &public, &claimed, &form));
            })
        }
    }
}

/// By the size of the body and by the number of parameters.
fn by_size(criterion: &mut Criterion) {
    for name in STEPS {
        let mut group = criterion.benchmark_group(name);
        for size in SIZES {
            let body = of_size(size, 0);
            group.throughput(Throughput::Bytes(size as u64));
            let mut step = step(name, &body);
            group.bench_function(BenchmarkId::new("bytes", size), |bencher| {
                bencher.iter(&mut step);
            });
        }
        for count in COUNTS {
            let body = of_parameters(count, 0);
            group.throughput(Throughput::Elements(count as u64));
            let mut step = step(name, &body);
            group.bench_function(BenchmarkId::new("parameters", count), |bencher| {
                bencher.iter(&mut step);
            });
        }
        group.finish();
    }
}

/// The usual message is parsed already; the last of the keys fits.
fn by_keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify");
    let form = Form::parse(message().as_bytes());
    let claimed = claimed(&straightforward(TOKEN, URL, message().as_bytes()));
    let public = public();
    for keys in KEYS {
        let keyring = keyring(keys);
        group.throughput(Throughput::Elements(keys as u64));
        group.bench_function(BenchmarkId::new("keys", keys), |bencher| {
            bencher.iter(|| fits(&keyring, &public, &claimed, black_box(&form)));
        });
    }
    group.finish();
}

const KEYS: [usize; 2] = [1, 3];

/// The rows of docs/performance.md.
fn print_ratios() {
    let (key, body) = (key(), message().as_bytes());
    let mut out = Vec::with_capacity(1024);
    let rounds = alternate(&mut [
        repeat(2_000, || straightforward(TOKEN, URL, black_box(body))),
        repeat(2_000, || {
            own(&key, URL.as_bytes(), black_box(body), &mut out)
        }),
    ]);
    let ratio = rounds.times_the_first()[1];
    println!("webhook_form: this filter takes {ratio:.3} of the straightforward way");

    for name in STEPS {
        // Each run takes about as long as any other.
        let bodies = SIZES.map(|size| of_size(size, 0));
        let mut runs: Vec<Run<'_>> = Vec::new();
        for (size, body) in SIZES.iter().zip(&bodies) {
            runs.push(repeat((1 << 17) / size, step(name, body)));
        }
        let rounds = alternate(&mut runs);
        let numbers = [rounds.times_the_first(), vec![rounds.last_step(&SIZES)]];
        print_row(&format!("{name}, by bytes"), &numbers.concat());

        let bodies = COUNTS.map(|count| of_parameters(count, 0));
        let mut runs: Vec<Run<'_>> = Vec::new();
        for (count, body) in COUNTS.iter().zip(&bodies) {
            runs.push(repeat(4_000 / count, step(name, body)));
        }
        let rounds = alternate(&mut runs);
        let numbers = [rounds.times_the_first(), vec![rounds.last_step(&COUNTS)]];
        print_row(&format!("{name}, by parameters"), &numbers.concat());
    }

    let form = Form::parse(body);
    let claimed = claimed(&straightforward(TOKEN, URL, body));
    let public = public();
    let keyrings = KEYS.map(keyring);
    let mut runs: Vec<Run<'_>> = Vec::new();
    for keyring in &keyrings {
        runs.push(repeat(1_000, || {
            fits(keyring, &public, &claimed, black_box(&form))
        }));
    }
    let rounds = alternate(&mut runs);
    print_row("verify, by keys", &rounds.times_the_first());
}

fn main() {
    let mut criterion = criterion();
    webhook_form(&mut criterion);
    by_size(&mut criterion);
    by_keys(&mut criterion);
    criterion.final_summary();
    print_ratios();
}
