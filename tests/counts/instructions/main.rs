//! How many instructions the core takes for the usual message, of 755 bytes: the whole
//! decision, and what takes longest in it.
//!
//! Times vary; instruction counts hardly do. Each case runs in a process of its own under
//! valgrind's callgrind: others come first, to be warm, and one is counted. The store is
//! a list in memory, so that as little of what is counted as can be is its own.
//!
//! Compiler and crates are pinned. What is not: the C library, whose `malloc` and `memcpy`
//! are counted, and what the processor can do. Of that, valgrind shows no SHA
//! instructions, so that the crates that hash do without them everywhere; and
//! `GLIBC_TUNABLES` takes from the C library what remains. The rest is within the
//! [`BUDGETS`].
//!
//! Counts are of a release build for this machine. They show when the source does more
//! than it did, not what Envoy's V8 makes of it.

use std::cell::RefCell;
use std::hint::black_box;

use twilio_webhook_filter::{CasError, CasMap, Entry, Form, Millis, Secret, SigningKey, Version};

use support::callgrind::{CASE, instructions};
use support::decide::{Driver, NOW, one_bucket};
use support::message::{TOKEN, URL, message};
use support::request::Request;
use support::tables::{in_thousands, publish};

/// What is counted, and the most instructions that it may take: 3 % above what it took when it was last made cheaper.
const BUDGETS: [(&str, u64); 5] = [
    ("accepted", 50_600),
    ("invalid_signature", 63_150),
    ("missing_signature", 5_150),
    ("of which: parse and sort", 13_250),
    ("of which: HMAC", 17_300),
];

/// A store that does hardly more than to copy values, and always the same.
#[derive(Default)]
struct List(RefCell<Vec<(String, Vec<u8>, u32)>>);

impl CasMap for List {
    fn get(&self, key: &str) -> Result<Option<Entry>, CasError> {
        let (list, key) = (self.0.borrow(), one_bucket(key));
        let found = list.iter().find(|(own, _, _)| own == key);
        Ok(found.map(|(_, value, version)| Entry {
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
        let (mut list, key) = (self.0.borrow_mut(), one_bucket(key));
        let found = list.iter_mut().find(|(own, _, _)| own == key);
        match (found, expected) {
            (Some((_, old, version)), Some(Version(expected))) if *version == expected => {
                value.clone_into(old);
                *version += 1;
                Ok(true)
            }
            (None, None) => {
                list.push((key.to_owned(), value.to_owned(), 1));
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// What is counted; valgrind knows it by its name.
#[inline(never)]
fn only_this_is_counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// This is what runs under valgrind. Without [`CASE`] there is nothing to do.
#[test]
fn the_case_that_runs_under_valgrind() {
    let Some(case) = std::env::var(CASE).ok() else {
        return;
    };
    #[cfg(target_arch = "x86_64")]
    assert!(
        !std::is_x86_feature_detected!("sha"),
        "this valgrind shows SHA instructions; the budgets are without"
    );
    let body = message().as_bytes();
    match case.as_str() {
        "of which: parse and sort" => {
            black_box(Form::parse(black_box(body)));
            only_this_is_counted(|| Form::parse(black_box(body)));
        }
        "of which: HMAC" => {
            let key = SigningKey::auth_token(&Secret::new(TOKEN.into())).expect("a token");
            let mut signed = URL.as_bytes().to_vec();
            Form::parse(body).write_signed(&mut signed);
            black_box(key.mac(black_box(&signed)));
            only_this_is_counted(|| key.mac(black_box(&signed)));
        }
        outcome => decision(outcome),
    }
}

/// Requests of four clients come before, of whom the counted request's is one: as many as
/// a bucket of a full table holds on average.
fn decision(outcome: &str) {
    let driver = Driver::<List>::new(r#"{"rate_limit_capacity": 16}"#);
    let before = NOW.before(Millis::seconds(10));
    for client in 1..4 {
        let request = Request::form(format!("Body={client}").as_bytes()).by_client(client);
        driver.decide(request.sent(&request.pairs()), client.into(), before);
    }
    let as_expected = |request: Request| match outcome {
        "accepted" => request,
        "invalid_signature" => request.with("x-twilio-signature", &format!("{}=", "A".repeat(27))),
        _ => request.without("x-twilio-signature"),
    };
    let warm = as_expected(Request::form(
        message().replace("pastor", "suadero").as_bytes(),
    ));
    driver.decide(warm.sent(&warm.pairs()), 5, before);
    let request = as_expected(Request::message());
    let headers = request.pairs();
    let sent = request.sent(&headers);
    let verdict = only_this_is_counted(|| driver.decide(sent, 7, NOW));
    assert_eq!(verdict.outcome.name(), outcome);
}

#[test]
#[cfg_attr(
    any(debug_assertions, not(target_arch = "x86_64")),
    ignore = "counts are of a release build for x86-64: cargo test --package counts --profile symbols"
)]
fn the_usual_message_stays_within_its_budget_of_instructions() {
    let counted = BUDGETS.map(|(case, _)| (case, instructions("only_this_is_counted", case)));
    let row = |(case, count): (&str, u64)| vec![case.to_owned(), in_thousands(count)];
    publish("docs/performance.md", "instructions", &counted.map(row));
    for ((case, count), (_, budget)) in counted.into_iter().zip(BUDGETS) {
        assert!(count <= budget, "{case}: {count} instructions of {budget}");
    }
}
