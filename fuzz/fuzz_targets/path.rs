//! The request's path: what is exempt is no webhook to any upstream, and what nobody could take for one is exempt.
#![no_main]

use apart::draw::Draw;
use libfuzzer_sys::fuzz_target;
use support::contract::split_target;
use support::decide::{Driver, NOW, Sent};
use support::lenient::{CONFIGURATION, PIECES, Reading};
use twilio_webhook_filter::{Outcome, PathPattern};

thread_local! {
    static DRIVER: Driver = Driver::without_environment(CONFIGURATION);
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut draw = Draw::new(bytes);
    let pieces: Vec<&str> = (0..draw.below(10)).map(|_| draw.one_of(&PIECES)).collect();
    check(&[b"/", pieces.concat().as_bytes()].concat());
    // A webhook's path with something in the middle.
    let webhook = draw.one_of(&["/Api/hook", "/in/x"]);
    let (before, behind) = webhook.split_at(draw.below(webhook.len() + 1));
    check(
        [before, draw.one_of(&PIECES), behind, draw.one_of(&PIECES)]
            .concat()
            .as_bytes(),
    );

    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(pattern) = PathPattern::parse(text)
    {
        assert_eq!(pattern.as_configured(), text);
        assert!(pattern.is_prefix() || pattern.matches(bytes));
    }
});

fn check(target: &[u8]) {
    let headers: [(&[u8], &[u8]); 2] = [(b":method", b"POST"), (b":path", target)];
    let sent = Sent {
        headers: &headers,
        client: "192.0.2.1:1",
        body: b"",
    };
    let outcome = DRIVER.with(|driver| driver.decide(sent, 1, NOW).outcome);
    let is_exempt = matches!(outcome, Outcome::Exempt);
    let (path, _) = split_target(target);
    let may_be_a_webhook = Reading::all().find(|reading| reading.leads_to_a_webhook(path));
    let shown = target.escape_ascii();
    match may_be_a_webhook {
        Some(reading) => assert!(
            !is_exempt,
            "{shown} is exempt, and a webhook to {reading:?}"
        ),
        None if is_plain(path) => assert!(is_exempt, "{shown} is nobody's, and not exempt"),
        None => {}
    }
}

/// A path in which there is nothing to be read in two ways.
fn is_plain(path: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_~".contains(byte);
    path.starts_with(b"/") && path.iter().all(is_plain)
}
