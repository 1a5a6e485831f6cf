//! One case: loading, each step, the log.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gateway::{Gateway, gateway};
use support::exchange;
use support::field::cases::{Case, Expected, Step};
use support::field::request::request;
use support::wire::Response;

/// Longer than anything here takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// For how long a request is sent again until its line has a hint: a worker diagnoses two a second.
const UNTIL_HINT: Duration = Duration::from_secs(3);

/// How many lines of its log a case that does not hold shows.
const SHOWN: usize = 3;

/// The header that tells a step's request at the upstream.
const MARK: &str = "x-field-step";

/// What does not hold of a case, in words; nothing if it holds.
pub(crate) fn run(case: &Case) -> Vec<String> {
    let gateway = gateway();
    let mut wrong = check_load(gateway, case);
    if let Some(address) = gateway.address(case) {
        for (index, step) in case.steps.iter().flatten().enumerate() {
            let mark = format!("{}-{index}.", case.id);
            let found = check_step(gateway, case, address, step, &mark);
            wrong.extend(
                found
                    .into_iter()
                    .map(|what| format!("step {index}: {what}")),
            );
        }
    }
    for words in &case.log {
        let found = || {
            let log = gateway.log(case);
            log.iter().any(|line| line.contains(words)).then_some(())
        };
        if gateway.wait_for(PATIENCE / 6, found).is_none() {
            wrong.push(format!("the log does not say {words:?}"));
        }
    }
    let log = gateway.log(case);
    for words in &case.log_not {
        if log.iter().any(|line| line.contains(words)) {
            wrong.push(format!("the log says {words:?}"));
        }
    }
    if !wrong.is_empty() {
        let last = &log[log.len().saturating_sub(SHOWN)..];
        wrong.push(format!("the end of its log:\n{}", last.join("\n")));
    }
    wrong
}

fn check_load(gateway: &Gateway, case: &Case) -> Vec<String> {
    let mut wrong = Vec::new();
    let loads = gateway.address(case).is_some();
    if loads != case.loads() {
        wrong.push(format!("loads is {loads}"));
    }
    let Some(load) = case.load() else {
        return wrong;
    };
    let log = gateway.log(case);
    // What loading said, not what requests brought.
    let said = log.iter().filter(|line| !line.contains("\"request_id\""));
    let said: Vec<_> = said.collect();
    if !load.loads.unwrap_or(true) {
        let rejected = said
            .iter()
            .any(|line| line.contains("twilio_webhook configuration rejected: "));
        if !rejected {
            wrong.push("no line says that the configuration is rejected".into());
        }
    }
    let says = |words: &String| said.iter().any(|line| line.contains(words));
    if !load.says.is_empty() && !load.says.iter().any(says) {
        wrong.push(format!("loading says none of {:?}", load.says));
    }
    wrong
}

fn check_step(
    gateway: &Gateway,
    case: &Case,
    address: SocketAddr,
    step: &Step,
    mark: &str,
) -> Vec<String> {
    let request = request(case, &step.send).header(MARK, mark);
    let both = [&step.expect, &step.wish];
    let wants_hint = both
        .iter()
        .any(|expected| !expected.hint.is_empty() || !expected.hint_not.is_empty());
    let wants_line = wants_hint || both.iter().any(|expected| !expected.line.is_empty());
    let start = Instant::now();
    loop {
        let answer = exchange(address, &request.bytes());
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        let reason = answer.as_ref().map(Response::reason).unwrap_or_default();
        let mut wrong = Vec::new();
        for expected in both {
            if !expected.takes(status) {
                wrong.push(format!("the answer is {status} {reason}"));
            }
            if expected.reason.as_ref().is_some_and(|want| *want != reason) {
                wrong.push(format!("the reason is {reason:?}"));
            }
        }
        if !wrong.is_empty() {
            return wrong;
        }
        let line = answer
            .filter(|_| wants_line)
            .and_then(|answer| line(gateway, case, answer.header("x-request-id")?));
        let hint = line.as_ref().and_then(|line| line["hint"].as_str());
        if wants_hint && hint.is_none() && start.elapsed() < UNTIL_HINT {
            // Another of the same kind: a request that is rejected leaves nothing behind.
            std::thread::sleep(Duration::from_millis(400));
            continue;
        }
        for expected in both {
            wrong.extend(check_line(expected, line.as_ref(), hint));
        }
        if let Some(wanted) = both.iter().find_map(|expected| expected.upstream) {
            let seen = gateway.upstream_has_seen(mark);
            if seen != wanted {
                wrong.push(format!("that the upstream sees it is {seen}"));
            }
        }
        return wrong;
    }
}

/// The line about a request.
fn line(gateway: &Gateway, case: &Case, id: &str) -> Option<Value> {
    gateway.wait_for(PATIENCE / 6, || {
        let log = gateway.log(case);
        let line = log.iter().find(|line| line.contains(id))?;
        let (_, json) = line.split_once(": {")?;
        serde_json::from_str(&format!("{{{json}")).ok()
    })
}

fn check_line(expected: &Expected, line: Option<&Value>, hint: Option<&str>) -> Vec<String> {
    let mut wrong = Vec::new();
    let hint = hint.unwrap_or_default();
    let has = |words: &String| hint.contains(words.as_str());
    if !expected.hint.is_empty() && !expected.hint.iter().any(has) {
        let words = &expected.hint;
        wrong.push(format!("none of {words:?} is in the hint {hint:?}"));
    }
    for words in expected.hint_not.iter().filter(|words| has(words)) {
        wrong.push(format!("{words:?} is in the hint {hint:?}"));
    }
    for (field, value) in &expected.line {
        if line.and_then(|line| line.get(field)) != Some(value) {
            wrong.push(format!("{field} is not {value} in the line {line:?}"));
        }
    }
    wrong
}
