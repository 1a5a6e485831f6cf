use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::exceptions::{EXCEPTIONS, alike};
use crate::readers::{READERS, Reading, Readings};
use crate::requests::Parameter;
use crate::respellings::{BASE, Respelling, TOKEN, respelling};
use support::native::{Incoming, Native, accepts};
use support::reference::{Reader, decode, pairs};
use support::size;
use support::strictness::{Rule, broken};

const SEED: u64 = 20_261_128;
const REQUESTS: u64 = 5_000;

/// Nothing but the signature and the form's spelling decides.
fn configuration(form: &str) -> Value {
    json!({
        "accounts": [{"auth_tokens": [TOKEN]}],
        "public_base_url": BASE,
        "webhooks": [{"path": "/hooks/*"}],
        "form": form,
        "max_body_bytes": 1_048_576,
        "timestamp": {"params": [], "header": null},
        "replay": "off",
        "rate_limits": [],
        "log": {"max_per_second": 0},
    })
}

fn judge(filter: &Native, case: &Respelling) -> &'static str {
    filter.judge(&Incoming {
        method: "POST",
        target: &case.target,
        websocket: false,
        content_type: Some("application/x-www-form-urlencoded"),
        settings: None,
        signature: &case.signature,
        body: &case.body,
    })
}

/// A respelling and what the filter says of it.
struct Judged {
    case: Respelling,
    strict: &'static str,
    lenient: &'static str,
    broken: Vec<Rule>,
}

struct Run {
    seed: u64,
    judged: Vec<Judged>,
    readings: Readings,
}

impl Run {
    fn new() -> Self {
        let seed = size("PARSERS_SEED", SEED);
        let requests = size("PARSERS_REQUESTS", REQUESTS);
        println!("PARSERS_SEED={seed} PARSERS_REQUESTS={requests}");
        let strict = Native::new(&configuration("strict"));
        let lenient = Native::new(&configuration("lenient"));
        let judged: Vec<Judged> = (0..requests)
            .map(|index| respelling(seed, index))
            .map(|case| Judged {
                strict: judge(&strict, &case),
                lenient: judge(&lenient, &case),
                broken: broken(&case.body),
                case,
            })
            .collect();
        let bodies: Vec<Vec<u8>> = judged.iter().map(|one| one.case.body.clone()).collect();
        let readings = Readings::of(&bodies);
        let readers: BTreeSet<&str> = readings.by.keys().map(String::as_str).collect();
        assert_eq!(readers, READERS.iter().map(|reader| reader.name).collect());
        Self {
            seed,
            judged,
            readings,
        }
    }

    fn describe(&self, index: usize) -> String {
        let one = &self.judged[index];
        format!(
            "respelling {index} of seed {}: {:?}, strict {}, lenient {}, breaks {:?}\n  \"{}\"\n",
            self.seed,
            one.case.changes,
            one.strict,
            one.lenient,
            one.broken,
            one.case.body.escape_ascii()
        )
    }
}

fn shown_reading(reading: &Reading) -> String {
    let Reading::Form(read) = reading else {
        return format!("{reading:?}");
    };
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let pairs = read.iter().map(|(name, value)| match value {
        Some(value) => format!("{}={}", text(name), text(value)),
        None => text(name),
    });
    pairs.collect::<Vec<_>>().join(" & ")
}

/// Distinct and decoded.
fn parameters(body: &[u8]) -> BTreeSet<Parameter> {
    let text = |escaped| decode(Reader::Contract, escaped);
    pairs(body)
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// Whether the filter's verdicts are those that the rules ask for.
fn wrong_verdict(one: &Judged) -> Option<&'static str> {
    let may_be_rejected = one.case.is_moved;
    let many = one.broken.contains(&Rule::TooMany);
    match (accepts(one.strict), accepts(one.lenient)) {
        (true, _) if !one.broken.is_empty() => Some("accepted, and not strict"),
        (false, _) if one.strict != "malformed_body" => Some("rejected for another reason"),
        (false, _) if one.broken.is_empty() && !may_be_rejected => Some("strict, and rejected"),
        (true, false) => Some("rejected by the lenient"),
        (_, true) if many => Some("too many pieces for the lenient, too"),
        (_, false) if !many && !may_be_rejected => Some("respelled, and rejected by the lenient"),
        _ => None,
    }
}

/// Whether an identifier of the genuine request has become text of another parameter.
fn hides_an_identifier(case: &Respelling) -> bool {
    let names: [&[u8]; 5] = [
        b"AccountSid",
        b"MessageSid",
        b"SmsSid",
        b"SmsMessageSid",
        b"CallSid",
    ];
    let read = parameters(&case.body);
    let mut own = case.genuine.parameters.iter();
    own.any(|own| names.contains(&own.0.as_slice()) && !read.contains(own))
}

#[test]
fn what_the_strict_filter_accepts_all_parsers_read_alike_or_a_named_exception_says_why_not() {
    let run = Run::new();
    let mut wrong = Vec::new();
    let mut shown: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut misread: BTreeMap<(Rule, &str), usize> = BTreeMap::new();
    let mut only_lenient = 0;
    let mut only_lenient_misread = 0;
    for (index, one) in run.judged.iter().enumerate() {
        if let Some(problem) = wrong_verdict(one) {
            wrong.push(format!("{problem}\n{}", run.describe(index)));
        }
        if accepts(one.lenient) && hides_an_identifier(&one.case) {
            wrong.push(format!("an identifier is hidden\n{}", run.describe(index)));
        }
        let mut is_misread = false;
        for reader in &READERS {
            let reading = &run.readings.by[reader.name][index];
            let alike = alike(reader.name, &one.case.body, reading);
            match alike {
                Ok(needed) if accepts(one.strict) => {
                    assert_ne!(*reading, Reading::NotAsked, "{}", run.describe(index));
                    for exception in needed {
                        *shown.entry((exception, reader.name)).or_default() += 1;
                    }
                }
                Err(applying) if accepts(one.strict) => wrong.push(format!(
                    "{} reads {}\n  where {applying:?} apply\n{}",
                    reader.name,
                    shown_reading(reading),
                    run.describe(index)
                )),
                Err(_) => {
                    is_misread = true;
                    if let [rule] = one.broken[..] {
                        *misread.entry((rule, reader.name)).or_default() += 1;
                    }
                }
                Ok(_) => {}
            }
        }
        if accepts(one.lenient) && !accepts(one.strict) {
            only_lenient += 1;
            only_lenient_misread += usize::from(is_misread);
        }
    }
    for reader in &READERS {
        println!("  {}: {}", reader.name, run.readings.versions[reader.name]);
    }
    let count = |of: &dyn Fn(&Judged) -> bool| run.judged.iter().filter(|one| of(one)).count();
    let strict = count(&|one| accepts(one.strict));
    println!("{:7}  respellings", run.judged.len());
    println!("{strict:7}  accepted, strict");
    println!(
        "{:7}  of them with boundaries moved",
        count(&|one| accepts(one.strict) && one.case.is_moved)
    );
    println!("{only_lenient:7}  accepted by the lenient alone");
    println!("{only_lenient_misread:7}  of them read otherwise by some parser");
    for exception in &EXCEPTIONS {
        let counts = exception.readers.iter().map(|reader| {
            let count = shown.get(&(exception.name, *reader)).unwrap_or(&0);
            format!("{reader} {count}")
        });
        println!(
            "  {}: {}",
            exception.name,
            counts.collect::<Vec<_>>().join(", ")
        );
    }
    for rule in Rule::ALL {
        let by = misread.iter().filter(|((of, _), _)| *of == rule);
        let by: Vec<String> = by
            .map(|((_, reader), count)| format!("{reader} {count}"))
            .collect();
        println!(
            "  {}, alone, read otherwise: {}",
            rule.name(),
            by.join(", ")
        );
    }
    let first = wrong.iter().take(6).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} wrong, such as\n{first}", wrong.len());
    for exception in &EXCEPTIONS {
        for reader in exception.readers {
            assert!(
                shown.contains_key(&(exception.name, *reader)),
                "{}: {reader} never shows it",
                exception.name
            );
        }
    }
    for rule in Rule::ALL {
        for reader in rule.readers() {
            assert!(
                misread.contains_key(&(rule, *reader)),
                "{}: {reader} never reads it otherwise",
                rule.name()
            );
        }
    }
    assert!(strict * 4 > run.judged.len(), "too few are accepted");
    assert!(only_lenient_misread > 0, "strict forms are for nothing");
}
