//! What the filter's hint says and what `explain` says: the same, word for word.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;
use support::decide::{Driver, ENVIRONMENT, NOW};
use support::field::cases::{self, Case as FieldCase};
use support::field::request::request as field_request;
use support::messages::now;
use support::mistakes::{ALONE, Mistake, PAIRS, UNKNOWABLE};
use support::random_requests::{Case, Random};
use support::request::Request;
use support::wire;
use tempfile::TempDir;
use twilio_webhook_filter::{
    ClientAddress, Filter, Headers, MemoryMap, Step, Timestamp, UpstreamOutcome, Verdict, load,
};

use crate::command::{file, run};

/// How many failures are generated.
pub const FAILURES: usize = 1000;

/// Verdict and hint.
type Said = (String, Option<String>);

fn said(verdict: &Verdict) -> Said {
    let hint = verdict.hint().map(str::to_owned);
    (verdict.outcome.name().to_owned(), hint)
}

/// What `explain` says of each request of a JSON answer.
pub fn explained(answer: &Value) -> Vec<Said> {
    let requests = answer["requests"].as_array().expect("requests");
    let one = |request: &Value| {
        let hint = request["hint"].as_str().map(str::to_owned);
        let verdict = request["verdict"].as_str().expect("a verdict").to_owned();
        (verdict, hint)
    };
    requests.iter().map(one).collect()
}

/// A request as raw HTTP, whatever is wrong with it.
pub fn raw(request: &Request) -> Vec<u8> {
    let pairs = request.pairs();
    let value = |name: &str| {
        let own = pairs.iter().find(|(own, _)| *own == name.as_bytes());
        own.map_or(&b""[..], |(_, value)| value)
    };
    let (method, target, host) = (value(":method"), value(":path"), value(":authority"));
    let mut raw = [method, b" ", target, b" HTTP/1.1\r\nHost: ", host, b"\r\n"].concat();
    for (name, value) in pairs.iter().filter(|(name, _)| !name.starts_with(b":")) {
        raw.extend([name, &b": "[..], value, b"\r\n"].concat());
    }
    raw.extend(b"\r\n");
    raw.extend(&request.body);
    raw
}

/// So many failures of each kind, in turn; the same ones each time.
pub fn failures(count: usize) -> Vec<(Case, Request)> {
    let mut random = Random::new(0x0C0A_FFEE_1234_5678, 0);
    let kinds: Vec<&[Mistake]> = [ALONE, PAIRS, UNKNOWABLE]
        .iter()
        .flat_map(|rows| rows.iter().map(|(_, mistakes)| *mistakes))
        .collect();
    let mut failures = Vec::new();
    for mistakes in kinds.iter().cycle() {
        if failures.len() == count {
            break;
        }
        let mut case = Case::random(&mut random);
        let made = mistakes
            .iter()
            .map(|mistake| mistake(&mut case, &mut random));
        if made.collect::<Option<Vec<_>>>().is_none() {
            continue;
        }
        let request = case.request();
        let driver: Driver = Driver::new(&case.configuration());
        let verdict = driver.decide(request.sent(&request.pairs()), 7, NOW);
        // Some mistakes make no difference to some requests.
        if verdict.outcome.name() != "accepted" {
            failures.push((case, request));
        }
    }
    failures
}

#[test]
fn for_1000_generated_failures_explain_says_what_the_filters_hint_says() {
    let folder = tempfile::tempdir().expect("a directory");
    let at = (NOW.0 / 1000).to_string();
    let mut hints = BTreeMap::<String, usize>::new();
    for (index, (case, request)) in failures(FAILURES).iter().enumerate() {
        let driver: Driver = Driver::new(&case.configuration());
        let headers = request.pairs();
        let sent = request.sent(&headers);
        let mut verdict = driver.decide(sent, 7, NOW);
        driver.explain(&mut verdict, sent, NOW);
        let expected = said(&verdict);

        let config = file(
            folder.path(),
            "config.json",
            case.configuration().as_bytes(),
        );
        let capture = file(folder.path(), "request.http", &raw(request));
        let arguments = [
            "explain", "--json", "--config", &config, "--at", &at, &capture,
        ];
        let ran = run(&arguments, &ENVIRONMENT);
        let found = explained(&ran.json());
        assert_eq!(found.first(), Some(&expected), "{index}: {case:?}");
        assert_eq!(ran.status, 1, "{index}");
        *hints.entry(expected.1.unwrap_or(expected.0)).or_default() += 1;
    }
    println!("{} different hints", hints.len());
    assert!(hints.len() > 200, "they are all alike");
}

/// The filter of a field case, with its requests in their order.
struct FieldFilter {
    filter: Filter,
    claims: u64,
}

impl FieldFilter {
    /// `None` where the configuration is rejected.
    fn new(case: &FieldCase) -> Option<FieldFilter> {
        let environment = |name: &str| case.env.get(name).cloned();
        let settings = load(case.plugin().as_bytes(), &environment).ok()?;
        let filter = Filter::new(settings, Rc::new(MemoryMap::new()), [7; 16]);
        Some(FieldFilter {
            filter: filter.expect("memory"),
            claims: 0,
        })
    }

    fn decide(&mut self, request: &wire::Request, at: Timestamp) -> Said {
        let names: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        let mut pairs: Vec<(&[u8], &[u8])> = vec![
            (b":path", &request.target),
            (b":method", request.method.as_bytes()),
        ];
        for (name, value) in &names {
            let name: &[u8] = if name == b"host" { b":authority" } else { name };
            pairs.push((name, value));
        }
        let headers = Headers::new(&pairs);
        let client = ClientAddress::from_source_address(b"192.0.2.1:1");
        self.claims += 1;
        let step = match self.filter.on_headers(headers, client, at) {
            Step::AwaitBody(awaiting) => {
                self.filter
                    .on_body(awaiting, &request.body, self.claims, at)
            }
            step => step,
        };
        let Step::Decided(mut verdict) = step else {
            panic!("not decided");
        };
        if let twilio_webhook_filter::Outcome::Accepted(accepted) = &verdict.outcome
            && let Some(claim) = &accepted.claim
        {
            let webhook = verdict.record.webhook.as_ref().expect("a webhook");
            let store = self.filter.store();
            let _ = store.settle(webhook.index, claim, UpstreamOutcome::Processed, at);
        }
        self.filter
            .explain(&mut verdict, headers, &request.body, at);
        said(&verdict)
    }
}

#[test]
fn for_every_field_case_explain_says_what_the_filters_hint_says() {
    let folder: TempDir = tempfile::tempdir().expect("a directory");
    let mut compared = 0;
    for case in cases::all() {
        let Some(mut filter) = FieldFilter::new(&case) else {
            continue;
        };
        let seconds = now().as_secs();
        let at = Timestamp(seconds * 1000);
        let (mut expected, mut files) = (Vec::new(), Vec::new());
        for (index, step) in case.steps.iter().flatten().enumerate() {
            let request = field_request(&case, &step.send);
            let name = format!("{index}.http");
            files.push(file(folder.path(), &name, &request.bytes()));
            expected.push(filter.decide(&request, at));
        }
        if files.is_empty() {
            continue;
        }
        let config = file(folder.path(), "config.json", case.plugin().as_bytes());
        let at = seconds.to_string();
        let mut arguments = vec!["explain", "--json", "--config", &config, "--at", &at];
        arguments.extend(files.iter().map(String::as_str));
        let environment: Vec<_> = case
            .env
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect();
        let ran = run(&arguments, &environment);
        let found = explained(&ran.json());
        assert_eq!(found, expected, "{} {}", case.id, case.title);
        compared += found.len();
    }
    println!("{compared} requests");
    assert!(compared >= 100, "{compared}");
}
