//! Senders that leave, which must not be taken for a mistake in Envoy's configuration.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use crate::gateway::gateway;
use support::field::cases::Case;
use support::field::request::request;

/// What the line about it names.
const SETTING: &str = "allow_on_headers_stop_iteration";

/// A case whose Envoy has this setting, and whose first request has a body.
fn case_with(allow_stop: bool) -> &'static Case {
    let mut cases = gateway().cases.iter();
    let has_body = |case: &&Case| {
        let step = case.steps.iter().flatten().next();
        step.is_some_and(|step| step.send.form.is_some())
    };
    cases
        .find(|case| case.envoy.allow_stop == Some(allow_stop) && has_body(case))
        .expect("a case")
}

/// Sends the headers of a case's request and so much of its body, and leaves. How many lines
/// about the setting there are then that were not there before.
fn lines_after_leaving(case: &Case, of_body: usize) -> usize {
    let gateway = gateway();
    let count = || {
        let log = gateway.log(case);
        log.iter().filter(|line| line.contains(SETTING)).count()
    };
    let before = count();
    let step = case.steps.iter().flatten().next().expect("a step");
    let request = request(case, &step.send);
    let bytes = request.bytes();
    let sent = &bytes[..bytes.len() - request.body.len() + of_body];
    let address = gateway.address(case).expect("a configuration that loads");
    let mut stream = TcpStream::connect(address).expect("Envoy listens");
    stream.write_all(sent).expect("Envoy reads");
    std::thread::sleep(Duration::from_millis(100));
    drop(stream);
    gateway.wait_for(Duration::from_secs(1), || (count() > before).then_some(()));
    count() - before
}

#[test]
fn a_sender_that_leaves_before_its_body_is_not_taken_for_a_wrong_envoy() {
    assert_eq!(lines_after_leaving(case_with(true), 0), 0);
}

#[test]
fn a_sender_that_leaves_within_its_body_is_not_taken_for_a_wrong_envoy() {
    assert_eq!(lines_after_leaving(case_with(true), 20), 0);
}
