//! Which requests each rate limit counts, and which it rejects.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Once five repeats of one captured request locked its account out.
#[test]
fn replays_of_one_request_never_use_up_a_limit_of_its_account_or_of_its_parameters() {
    for key in ["account", "param:From"] {
        let world = limited(key, "rejected");
        let from_now = |seconds: u64| format!("From=1&Timestamp={}", 1_800_000_000 + seconds);
        let captured = of("a", &from_now(0));
        let ahead = of("a", &from_now(1000));
        world.expect(&captured, "accepted");
        for _ in 0..10 {
            world.expect(&captured, "duplicate");
            world.expect(&ahead, "future_timestamp");
        }
        world.expect(&of("a", "From=1&x=1"), "accepted");
        for _ in 0..10 {
            let late = captured.clone().at(after(400));
            world.expect(&late, "stale_timestamp");
        }
        let another = of("a", "From=1&x=2").at(after(400));
        world.expect(&another, "accepted");
    }
}

#[test]
fn what_else_is_rejected_is_counted_by_the_account_that_signed_it() {
    let world = limited("account", "rejected");
    for number in 0..2 {
        let foreign = of("a", &format!("AccountSid=ACb&x={number}"));
        world.expect(&foreign, "account_mismatch");
    }
    world.expect(&of("a", "x=1"), "rate_limited");
    world.expect(&of("b", "x=1"), "accepted");
}

/// Limits by account and parameters count no repeat; these two do.
#[test]
fn replays_are_counted_by_the_address_that_they_come_from_and_by_their_webhook() {
    for key in ["client_ip", "webhook"] {
        let with_header = of("a", "x=1").with("x-twilio-request-timestamp", "1");
        for (replay, verdict) in [
            (of("a", "x=1"), "duplicate"),
            (of("a", "Timestamp=1"), "stale_timestamp"),
            (with_header, "stale_timestamp"),
            (of("a", "Timestamp=1900000000"), "future_timestamp"),
        ] {
            let world = limited(key, "rejected");
            if verdict == "duplicate" {
                world.expect(&replay, "accepted");
            }
            world.expect_times(2, &replay, verdict);
            world.expect(&replay, "rate_limited");
            world.expect(&of("a", "x=2"), "rate_limited");
        }
    }
}

#[test]
fn acknowledged_repeats_and_early_retries_are_counted_by_no_rule() {
    for key in ["client_ip", "webhook", "account"] {
        let world = World::new(&format!(
            r#"{{"replay": {{"on_duplicate": "acknowledge"}}, "rate_limits": [
                {{"key": "{key}", "count": "rejected", "requests": 2, "window": "60s"}}]}}"#
        ));
        let first = world.send(&form("x=1"));
        world.expect_times(5, &form("x=1"), "duplicate");
        world.settle(&first, UpstreamOutcome::Processed);
        world.expect_times(5, &form("x=1"), "duplicate");
        world.expect(&form("x=2"), "accepted");
    }
}

/// Once a flood from one /48 rejected all who have no slot, and a genuine sender
/// never has one.
#[test]
fn a_flood_of_rejected_requests_from_everywhere_rejects_no_genuine_sender() {
    let json = r#"{"rate_limit_capacity": 4, "rate_limits": [
        {"key": "client_ip", "count": "rejected", "requests": 2, "window": "60s"}]}"#;
    let world = World::new(json);
    let forged = || form("a=1").signed("wrong", URL, "a=1");
    let mut limited = 0;
    for number in 0..200_u32 {
        let client = format!("[2001:db8:0:{number:x}::1]:1");
        let client: &'static str = Box::leak(client.into_boxed_str());
        for _ in 0..3 {
            let verdict = world.verdict(&forged().from(client));
            limited += u32::from(verdict == "rate_limited");
        }
    }
    assert!(limited > 300, "the flood is limited: {limited}");
    for client in ["198.51.100.1:1", "[2001:db8:ffff::1]:1"] {
        let genuine = |name| form(&format!("{name}={client}")).from(client);
        world.expect(&genuine("a"), "accepted");
        // Only the signature tells it from the flood.
        world.expect(&forged().from(client), "rate_limited");
        world.expect(&genuine("b"), "accepted");
    }
    // Who has done it himself is limited at his headers as ever.
    let world = World::new(json);
    world.expect_times(2, &forged(), "invalid_signature");
    world.expect(&form("a=1"), "rate_limited");
}

#[test]
fn a_limit_by_client_counts_every_request_of_that_client() {
    let world = limited("client_ip", "all");
    world.expect(&of("a", "x=1"), "accepted");
    world.expect(&of("wrong", "x=2"), "invalid_signature");
    let limited = rejection(&world, &of("a", "x=3")).limited;
    assert_eq!(limited.expect("limited").wait, Millis::seconds(60));
    world.expect(&of("a", "x=3").from("192.0.2.2:1"), "accepted");
    world.expect(&of("a", "x=3").at(after(59)), "rate_limited");
    world.expect(&of("a", "x=4").at(after(60)), "accepted");
}

#[test]
fn a_limit_by_account_cannot_be_used_up_by_unauthenticated_clients_or_repeats() {
    for count in ["all", "authenticated"] {
        let world = limited("account", count);
        world.expect_times(5, &of("wrong", "AccountSid=ACa"), "invalid_signature");
        world.expect(&of("a", "x=1"), "accepted");
        world.expect_times(5, &of("a", "x=1"), "duplicate");
        world.expect(&of("a", "x=2"), "accepted");
        world.expect(&of("a", "x=3"), "rate_limited");
        // Another account.
        world.expect(&of("b", "x=3"), "accepted");
    }
}

#[test]
fn a_limit_by_parameter_counts_its_values_apart() {
    let world = limited("param:From", "authenticated");
    for body in ["From=1&x=1", "From=1&x=2", "From=2&x=1"] {
        world.expect(&of("a", body), "accepted");
    }
    world.expect(&of("a", "From=1&x=3"), "rate_limited");
    for body in ["x=1", "x=2"] {
        world.expect(&of("a", body), "accepted");
    }
    // Those without it count together.
    world.expect(&of("a", "x=3"), "rate_limited");
}

#[test]
fn a_limit_by_webhook_counts_each_webhook() {
    let world = limited("webhook", "all");
    for _ in 0..2 {
        world.verdict(&of("wrong", "x=1"));
    }
    world.expect(&of("a", "x=1"), "rate_limited");
    let other = of("a", "x=1").to("/other");
    let other = other.signed("a", "https://orders.example.com/other", "x=1");
    world.expect(&other, "accepted");
}

#[test]
fn a_limit_on_rejected_requests_does_not_count_accepted_ones() {
    let world = limited("client_ip", "rejected");
    for number in 0..10 {
        world.expect(&of("a", &format!("x={number}")), "accepted");
    }
    world.expect(&of("wrong", "x=1"), "invalid_signature");
    let unsigned = of("wrong", "x=1").without("x-twilio-signature");
    world.expect(&unsigned, "missing_signature");
    world.expect(&of("wrong", "x=1"), "rate_limited");
    world.expect(&of("a", "x=11"), "rate_limited");
    world.expect(&of("a", "x=11").at(after(60)), "accepted");
}

#[test]
fn what_one_limit_rejects_another_does_not_count() {
    let world = World::new(
        r#"{"rate_limits": [
        {"key": "webhook", "requests": 3, "window": "60s"},
        {"key": "client_ip", "requests": 1, "window": "60s"}]}"#,
    );
    world.expect(&form("x=1"), "accepted");
    world.expect_times(5, &form("x=2"), "rate_limited");
    for client in ["192.0.2.2:1", "192.0.2.3:1"] {
        world.expect(&form(&format!("x={client}")).from(client), "accepted");
    }
    world.expect(&form("x=9").from("192.0.2.4:1"), "rate_limited");
}
