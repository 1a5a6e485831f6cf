//! The dearest request that an unauthenticated client can send, by path: how many instructions the core
//! takes for it, against a usual forged one.
//!
//! A usual forged request is the message of 755 bytes under a signature that does not fit,
//! rejected without a diagnosis. Each shape of a family of hostile ones is counted twice, in
//! processes of their own under valgrind: the check alone, and with the diagnosis that it may
//! get. What holds for all of them:
//!
//! - The diagnosis takes no more than [`MAX_OF_A_DIAGNOSIS`], whatever it looks at.
//! - The check alone takes no more than [`MAX_OF_A_CHECK`], or [`MAX_WITH_EIGHT_KEYS`].
//!
//! Both are in usual forged requests *of the core*, as it is counted here. A worker takes
//! six times that for one, since Envoy and V8 have their part in it: `scripts/work` counts
//! that, in a whole Envoy, and docs/performance.md says what it is.
//!
//! A path of its own is a row in [`shapes`]: a name, a filter, and a request.

use std::hint::black_box;

use crate::shapes::{OF_EIGHT_KEYS, Shape, USUAL, shapes};
use support::callgrind::{CASE, instructions};
use support::decide::NOW;
use support::tables::{in_thousands, publish};

mod shapes;

/// Of a body of 64 KiB, the largest by default, most goes into hashing it twice.
const MAX_OF_A_CHECK: u64 = 60;

/// The same where any of eight keys may have signed it: it is hashed eight times.
const MAX_WITH_EIGHT_KEYS: u64 = 230;

/// Some four usual forged requests of a worker.
const MAX_OF_A_DIAGNOSIS: u64 = 25;

/// Behind the name of a shape: its diagnosis is counted, too.
const DIAGNOSED: &str = " diagnosed";

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
    let (name, diagnosed) = match case.strip_suffix(DIAGNOSED) {
        Some(name) => (name, true),
        None => (case.as_str(), false),
    };
    let shape = shapes().into_iter().find(|shape| shape.name == name);
    let shape = shape.unwrap_or_else(|| panic!("no shape {name}"));
    // Another comes first, to be warm.
    let warm = shapes::usual();
    run(&warm, true);
    let hint = only_this_is_counted(|| run(&shape, diagnosed));
    eprintln!("{case}: {hint}");
}

/// The check of a request, and its diagnosis.
fn run(shape: &Shape, diagnosed: bool) -> String {
    let headers = shape.request.pairs();
    let sent = shape.request.sent(&headers);
    let mut verdict = shape.driver.decide(sent, 7, NOW);
    assert_ne!(verdict.outcome.name(), "accepted", "{}", shape.name);
    if !diagnosed {
        return String::new();
    }
    shape.driver.explain(&mut verdict, sent, NOW);
    verdict.hint().unwrap_or_default().to_owned()
}

#[test]
#[cfg_attr(
    any(debug_assertions, not(target_arch = "x86_64")),
    ignore = "counts are of a release build for x86-64: cargo test --package counts --profile symbols"
)]
fn no_check_and_no_diagnosis_takes_more_than_its_bound() {
    let count = |name: &str, diagnosed: &str| {
        instructions("only_this_is_counted", &format!("{name}{diagnosed}"))
    };
    let usual = count(USUAL, "");
    let mut cells = Vec::new();
    let mut too_dear = Vec::new();
    for shape in shapes() {
        let own = count(shape.name, "");
        let whole = count(shape.name, DIAGNOSED);
        let diagnosis = whole.saturating_sub(own);
        let most = match OF_EIGHT_KEYS.contains(&shape.name) {
            true => MAX_WITH_EIGHT_KEYS,
            false => MAX_OF_A_CHECK,
        };
        if own > most * usual || diagnosis > MAX_OF_A_DIAGNOSIS * usual {
            too_dear.push(shape.name);
        }
        cells.push(vec![
            shape.name.to_owned(),
            in_thousands(own),
            in_thousands(diagnosis),
            in_thousands(whole / usual),
        ]);
    }
    publish("docs/performance.md", "work", &cells);
    assert!(
        too_dear.is_empty(),
        "{too_dear:?}; a usual forged request takes {usual}"
    );
}
