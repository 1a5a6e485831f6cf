//! How often does a hint name the true cause?
//!
//! Mistakes of every kind are made on random requests, one at a time and in pairs, by code
//! that shares nothing with the filter: an encoder and a signer of its own. The hint must name
//! what was done; naming anything else is worse than naming nothing.

use std::collections::BTreeMap;

use twilio_webhook_filter::Millis;

use support::decide::{Driver, NOW};
use support::mistakes::{ALONE, Mistake, PAIRS, UNKNOWABLE};
use support::random_requests::{Case, Random};
use support::tables::{in_thousands, publish};

/// The least that hints must name, in percent.
const MIN_ALONE: f64 = 95.0;
const MIN_PAIRS: f64 = 70.0;

/// What the hint of last resort begins with, and what says that nothing can be said.
const NO_CAUSE: [&str; 3] = [
    "nothing that is known to go wrong",
    "URL and parameters are too long",
    "the body was changed on the way: it is not the one",
];

/// How many were made, named truly, and named falsely.
#[derive(Default, Clone, Copy)]
struct Count {
    made: u32,
    named: u32,
    falsely: u32,
}

impl Count {
    fn percent(self) -> f64 {
        100.0 * f64::from(self.named) / f64::from(self.made)
    }
}

/// The hint on a request with these mistakes, and the words that would be true.
fn hint(mistakes: &[Mistake], random: &mut Random) -> (String, Vec<&'static str>) {
    loop {
        let mut case = Case::random(random);
        let made = mistakes.iter().map(|mistake| mistake(&mut case, random));
        let Some(words) = made.collect::<Option<Vec<_>>>() else {
            continue;
        };
        let driver: Driver = Driver::new(&case.configuration());
        let request = case.request();
        let headers = request.pairs();
        let sent = request.sent(&headers);
        let now = NOW.after(Millis::seconds(1));
        let mut verdict = driver.decide(sent, 7, now);
        if verdict.outcome.name() == "accepted" {
            continue;
        }
        driver.explain(&mut verdict, sent, now);
        let hint = verdict.hint();
        let hint = hint.unwrap_or_else(|| panic!("no hint: {} {case:?}", verdict.outcome.name()));
        return (hint.to_owned(), words.concat());
    }
}

/// Makes so many of each and counts; shows the first of what was not named.
fn count(
    rows: &[(&'static str, &[Mistake])],
    each: u32,
    random: &mut Random,
) -> BTreeMap<&'static str, Count> {
    let mut counts = BTreeMap::<_, Count>::new();
    for (name, mistakes) in rows {
        let count = counts.entry(*name).or_default();
        for _ in 0..each {
            let (hint, words) = hint(mistakes, random);
            let is_true = |part: &str| words.iter().any(|words| part.contains(words));
            let names_none = NO_CAUSE.iter().any(|none| hint.starts_with(none));
            count.made += 1;
            if hint.split("; and ").all(is_true) && !names_none {
                count.named += 1;
            } else if !names_none {
                count.falsely += 1;
                println!("false: {name}: {hint}");
            }
        }
    }
    counts
}

fn sum(counts: &BTreeMap<&'static str, Count>) -> Count {
    counts.values().fold(Count::default(), |sum, count| Count {
        made: sum.made + count.made,
        named: sum.named + count.named,
        falsely: sum.falsely + count.falsely,
    })
}

#[test]
fn of_2000_mistakes_the_hint_names_nearly_all_and_none_falsely() {
    let mut random = Random::new(0x7457_1234_5678_9ABD, 0);
    let alone = count(
        ALONE,
        1400_u32.div_ceil(u32::try_from(ALONE.len()).expect("few")),
        &mut random,
    );
    let pairs = count(
        PAIRS,
        450_u32.div_ceil(u32::try_from(PAIRS.len()).expect("few")),
        &mut random,
    );
    let unknowable = count(UNKNOWABLE, 50, &mut random);
    for counts in [&alone, &pairs, &unknowable] {
        for (name, count) in counts {
            println!("{name:60} {:4} of {:4}", count.named, count.made);
        }
    }
    let (alone, pairs, unknowable) = (sum(&alone), sum(&pairs), sum(&unknowable));
    println!("alone {:.1} % of {}", alone.percent(), alone.made);
    println!("in pairs {:.1} % of {}", pairs.percent(), pairs.made);
    println!("nobody can know {}", unknowable.made);
    assert!(alone.made + pairs.made + unknowable.made >= 2000);
    assert_eq!(
        (alone.falsely, pairs.falsely, unknowable.falsely),
        (0, 0, 0)
    );
    assert_eq!(unknowable.named, 0, "a cause that is nowhere to be seen");
    let cells = |name: &str, count: Count| {
        let percent = format!("{:.0} %", count.percent().floor());
        vec![name.to_owned(), in_thousands(count.made.into()), percent]
    };
    let measured = [cells("alone", alone), cells("in pairs", pairs)];
    publish("docs/operations.md", "hints", &measured);
    assert!(alone.percent() >= MIN_ALONE, "{}", alone.percent());
    assert!(pairs.percent() >= MIN_PAIRS, "{}", pairs.percent());
}
