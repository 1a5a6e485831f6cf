use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use support::envoy::{Setup, Test, new_address, plugin_with};
use support::messages::{
    OTHER_ACCOUNT, OTHER_TOKENS, PHONE, WEBHOOK, forged, form, form_by, message, message_with, now,
    set, unsigned, whatsapp,
};
use support::tap::Behaviour;
use support::wire::Response;
use support::{assert_rejected, rule};

fn limits(rules: &Value) -> Setup {
    Setup::changed(json!({"rate_limits": rules}))
}

fn retry_after(answer: &Response) -> u64 {
    assert_rejected(answer, "rate_limited");
    answer
        .header("retry-after")
        .expect("retry-after")
        .parse()
        .expect("whole seconds")
}

#[test]
fn exactly_the_limit_passes_and_another_address_is_not_affected() {
    limits(&json!([rule("client_ip", "all", 5, "600s")])).run(async |t| {
        for _ in 0..5 {
            t.passes(&message()).await;
        }
        for _ in 0..5 {
            t.rejects(&message(), "rate_limited").await;
        }
        let other = new_address();
        for _ in 0..5 {
            t.passes_from(other, &message()).await;
        }
        t.rejects_from(other, &message(), "rate_limited").await;
        assert_eq!(t.received_count(), 10);
    });
}

#[test]
fn a_limit_on_all_requests_counts_rejected_ones_too() {
    limits(&json!([rule("client_ip", "all", 4, "600s")])).run(async |t| {
        t.rejects(&forged(&whatsapp()), "invalid_signature").await;
        t.rejects(&unsigned("POST", WEBHOOK), "missing_signature")
            .await;
        let request = message();
        t.passes(&request).await;
        t.rejects(&request, "duplicate").await;
        t.rejects(&message(), "rate_limited").await;
        t.rejects(&forged(&whatsapp()), "rate_limited").await;
        t.received_one();
    });
}

#[test]
fn a_limited_request_is_no_duplicate_when_it_comes_back() {
    limits(&json!([rule("client_ip", "all", 1, "600s")])).run(async |t| {
        t.passes(&message()).await;
        let request = message();
        t.rejects(&request, "rate_limited").await;
        t.passes_from(new_address(), &request).await;
    });
}

/// Uses up a limit of two in five seconds; returns when the first of them was sent, when the first rejected one
/// was sent and answered, and its `Retry-After`.
async fn use_up(t: &Test<'_>, address: IpAddr) -> (Instant, Instant, Instant, u64) {
    let first = Instant::now();
    t.passes_from(address, &message()).await;
    t.passes_from(address, &message()).await;
    let sent = Instant::now();
    let answer = t.send_from(address, &message()).await;
    (first, sent, Instant::now(), retry_after(&answer))
}

#[test]
fn who_waits_as_long_as_retry_after_says_passes() {
    limits(&json!([rule("client_ip", "all", 2, "3s")])).run(async |t| {
        for _ in 0..3 {
            let address = new_address();
            let (_, _, answered, seconds) = use_up(t, address).await;
            assert!((1..=3).contains(&seconds), "{seconds}");
            sleep(
                (answered + Duration::from_secs(seconds)).saturating_duration_since(Instant::now()),
            )
            .await;
            t.passes_from(address, &message()).await;
        }
        assert_eq!(t.received_count(), 9);
    });
}

#[test]
fn who_waits_one_second_less_than_retry_after_says_does_not_pass() {
    limits(&json!([rule("client_ip", "all", 2, "5s")])).run(async |t| {
        // On a machine that stalls, an attempt may say nothing; it is repeated until it does.
        for attempt in 0.. {
            assert!(attempt < 8, "the machine is too busy for this test");
            let address = new_address();
            let (first, sent, _, seconds) = use_up(t, address).await;
            assert!(
                seconds > 1,
                "{seconds}: two requests have just used up five seconds"
            );
            let early = sent + Duration::from_secs(seconds - 1);
            sleep((early - Duration::from_millis(150)).saturating_duration_since(Instant::now()))
                .await;
            let answer = t.send_from(address, &message()).await;
            let done = Instant::now();
            // Decided before a second less than Retry-After was over, and before the first had left the window.
            if done < early && done < first + Duration::from_secs(5) {
                let rest = retry_after(&answer);
                assert!(
                    (1..=2).contains(&rest),
                    "{rest} after waiting {seconds} - 1 seconds"
                );
                sleep((done + Duration::from_secs(rest)).saturating_duration_since(Instant::now()))
                    .await;
                t.passes_from(address, &message()).await;
                return;
            }
        }
    });
}

#[test]
fn in_no_window_more_than_the_limit_passes() {
    // Steadily more than allowed, over several windows: at a boundary of fixed windows twice the limit would pass.
    limits(&json!([rule("client_ip", "all", 4, "2s")])).run(async |t| {
        let mut connection = t.http1().await;
        let mut passed: Vec<(Instant, Instant)> = Vec::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(7) {
            let sent = Instant::now();
            let answer = connection.send(&message()).await;
            if answer.status == 200 {
                passed.push((sent, Instant::now()));
            } else {
                assert_rejected(&answer, "rate_limited");
            }
            sleep(Duration::from_millis(40)).await;
        }
        // Decided between sent and answered: five are in one window for sure only if the last was answered less
        // than a window after the first was sent.
        for five in passed.windows(5) {
            let span = five[4].1 - five[0].0;
            assert!(span >= Duration::from_secs(2), "5 passed within {span:?}");
        }
        assert!(
            passed.len() >= 8,
            "nor does it stay closed: {} passed",
            passed.len()
        );
        assert_eq!(t.received_count(), passed.len());
    });
}

#[test]
fn a_limit_for_each_account_counts_all_its_addresses() {
    limits(&json!([rule("account", "authenticated", 3, "600s")])).run(async |t| {
        for _ in 0..3 {
            t.passes_from(new_address(), &message()).await;
        }
        t.rejects_from(new_address(), &message(), "rate_limited")
            .await;
        let own = set(whatsapp(), "AccountSid", OTHER_ACCOUNT);
        let other = form_by(OTHER_TOKENS[0], WEBHOOK, &own);
        t.passes(&other).await;
        assert_eq!(t.received_count(), 4);
    });
}

#[test]
fn a_limit_on_authenticated_requests_cannot_be_used_up_by_forged_ones_or_repeats() {
    let rules = json!([
        rule("account", "authenticated", 3, "600s"),
        rule("client_ip", "authenticated", 3, "600s")
    ]);
    limits(&rules).run(async |t| {
        for _ in 0..20 {
            t.rejects(&forged(&whatsapp()), "invalid_signature").await;
        }
        for _ in 0..3 {
            t.passes(&message()).await;
        }
        // A forged one learns nothing about the limit.
        t.rejects(&forged(&whatsapp()), "invalid_signature").await;
        let request = message();
        t.rejects(&request, "rate_limited").await;
        assert_eq!(t.received_count(), 3);
    });
}

#[test]
fn a_limit_for_each_webhook_leaves_the_others_alone() {
    limits(&json!([rule("webhook", "all", 2, "600s")])).run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for _ in 0..2 {
            t.passes_from(new_address(), &message()).await;
        }
        t.rejects_from(new_address(), &message(), "rate_limited")
            .await;
        t.passes(&form("/voice/status", &whatsapp())).await;
        assert_eq!(t.received_count(), 3);
    });
}

#[test]
fn a_limit_for_each_sender_leaves_the_others_alone() {
    limits(&json!([rule("param:From", "authenticated", 2, "600s")])).run(async |t| {
        for _ in 0..2 {
            t.passes(&message()).await;
        }
        t.rejects_from(new_address(), &message(), "rate_limited")
            .await;
        let other = || message_with("From", &format!("whatsapp:+{PHONE}1"));
        for _ in 0..2 {
            t.passes(&other()).await;
        }
        t.rejects(&other(), "rate_limited").await;
        assert_eq!(t.received_count(), 4);
    });
}

#[test]
fn a_limit_on_rejected_requests_counts_nothing_else() {
    limits(&json!([rule("client_ip", "rejected", 3, "600s")])).run(async |t| {
        for _ in 0..10 {
            t.passes(&message()).await;
        }
        t.rejects(&forged(&whatsapp()), "invalid_signature").await;
        t.rejects(&unsigned("POST", WEBHOOK), "missing_signature")
            .await;
        t.passes(&message()).await;
        t.rejects(&forged(&whatsapp()), "invalid_signature").await;
        t.rejects(&forged(&whatsapp()), "rate_limited").await;
        t.rejects_from(new_address(), &forged(&whatsapp()), "invalid_signature")
            .await;
        assert_eq!(t.received_count(), 11);
    });
}

/// Once five repeats of one captured request locked its account out.
#[test]
fn replays_of_one_request_never_use_up_a_limit_of_its_account_or_of_its_parameters() {
    for key in ["account", "param:From"] {
        limits(&json!([rule(key, "rejected", 3, "600s")])).run(async |t| {
            let captured = message();
            t.passes(&captured).await;
            let timed = |ago: i64| {
                let now = i64::try_from(now().as_secs()).expect("a moment");
                let mut parameters = whatsapp();
                parameters.push(("Timestamp".to_owned(), (now - ago).to_string()));
                form(WEBHOOK, &parameters)
            };
            let (stale, ahead) = (timed(4000), timed(-4000));
            for _ in 0..6 {
                t.rejects(&captured, "duplicate").await;
                t.rejects(&stale, "stale_timestamp").await;
                t.rejects(&ahead, "future_timestamp").await;
            }
            t.passes(&message()).await;
            assert_eq!(t.received_count(), 2, "{key}");
        });
    }
}

#[test]
fn replays_use_up_the_limit_of_the_address_that_they_come_from() {
    limits(&json!([rule("client_ip", "rejected", 3, "600s")])).run(async |t| {
        let captured = message();
        t.passes(&captured).await;
        let attacker = new_address();
        for _ in 0..3 {
            t.rejects_from(attacker, &captured, "duplicate").await;
        }
        t.rejects_from(attacker, &captured, "rate_limited").await;
        t.passes(&message()).await;
    });
}

/// Once a flood from one /48 rejected all who have no slot.
#[test]
fn a_flood_of_rejected_requests_from_one_48_rejects_no_genuine_sender() {
    let setup = Setup::changed(json!({
        "rate_limits": [rule("client_ip", "rejected", 2, "600s")],
        "rate_limit_capacity": 4,
    }));
    let setup = setup.trusted_hops(1);
    setup.run(async |t| {
        let forged_by = |address: &str| forged(&whatsapp()).header("x-forwarded-for", address);
        let mut connection = t.http1().await;
        let mut limited = 0;
        for number in 0..300_u32 {
            let answer = connection
                .send(&forged_by(&format!("2001:db8:0:{number:x}::1")))
                .await;
            assert!([403, 429].contains(&answer.status), "{answer:?}");
            limited += u32::from(answer.status == 429);
        }
        assert!(limited > 200, "the flood is limited: {limited}");
        for address in ["198.51.100.1", "2001:db8:ffff::1"] {
            for _ in 0..3 {
                let genuine = message().header("x-forwarded-for", address);
                connection.passes(&genuine).await;
                // Its signature is all that tells it from the flood.
                connection
                    .rejects(&forged_by(address), "rate_limited")
                    .await;
            }
        }
        assert_eq!(t.received_count(), 6);
    });
}

#[test]
fn of_several_rules_each_holds() {
    let rules = json!([
        rule("client_ip", "all", 6, "600s"),
        rule("account", "authenticated", 4, "600s")
    ]);
    limits(&rules).run(async |t| {
        for _ in 0..4 {
            t.passes(&message()).await;
        }
        // The account's limit, by another address too; then the address's.
        let answer = t
            .rejects_from(new_address(), &message(), "rate_limited")
            .await;
        assert_eq!(answer.header("ratelimit-limit"), Some("4"));
        assert_eq!(
            t.send(&message()).await.header("ratelimit-limit"),
            Some("4")
        );
        assert_eq!(
            t.send(&message()).await.header("ratelimit-limit"),
            Some("4")
        );
        let answer = t.rejects(&message(), "rate_limited").await;
        assert_eq!(answer.header("ratelimit-limit"), Some("6"));
        assert_eq!(t.received_count(), 4);
    });
}

#[test]
fn an_empty_list_means_no_limits() {
    limits(&json!([])).run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let mut connection = t.http1().await;
        for _ in 0..200 {
            connection.passes(&message()).await;
        }
        assert_eq!(t.received_count(), 200);
    });
}

#[test]
fn a_webhook_may_have_limits_of_its_own() {
    let mut plugin = plugin_with(json!({"rate_limits": [rule("client_ip", "all", 3, "600s")]}));
    plugin["webhooks"][1]["rate_limits"] = json!([]);
    plugin["webhooks"][3]["rate_limits"] = json!([rule("client_ip", "all", 1, "600s")]);
    Setup::with(&plugin).run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for _ in 0..10 {
            t.passes(&form("/voice/status", &whatsapp())).await;
        }
        t.passes(&form("/studio/a", &whatsapp())).await;
        t.rejects(&form("/studio/b", &whatsapp()), "rate_limited")
            .await;
        for _ in 0..3 {
            t.passes(&message()).await;
        }
        t.rejects(&message(), "rate_limited").await;
        assert_eq!(t.received_count(), 14);
    });
}

#[test]
fn a_forwarded_for_header_of_a_client_is_not_believed() {
    limits(&json!([rule("client_ip", "all", 3, "600s")])).run(async |t| {
        let spoofed = |number: u8| {
            let address = Ipv4Addr::new(198, 51, 100, number).to_string();
            message()
                .header("x-forwarded-for", &address)
                .header("x-real-ip", &address)
                .header("x-envoy-external-address", &address)
                .header("forwarded", format!("for={address}"))
        };
        for number in 0..3 {
            t.passes(&spoofed(number)).await;
        }
        for number in 3..10 {
            t.rejects(&spoofed(number), "rate_limited").await;
        }
        assert_eq!(t.received_count(), 3);
    });
}

#[test]
fn behind_a_trusted_proxy_the_forwarded_address_counts() {
    let setup = limits(&json!([rule("client_ip", "all", 2, "600s")]));
    let setup = setup.trusted_hops(1);
    setup.run(async |t| {
        let through = |address: &str| message().header("x-forwarded-for", address);
        for address in ["198.51.100.1", "198.51.100.2"] {
            for _ in 0..2 {
                t.passes(&through(address)).await;
            }
            t.rejects(&through(address), "rate_limited").await;
            // What the client itself has put before it is not the proxy's word.
            let spoofed = format!("203.0.113.9, {address}");
            t.rejects(&through(&spoofed), "rate_limited").await;
        }
        // IPv6 by its /64: a customer has all of it.
        for address in ["2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"] {
            t.passes(&through(address)).await;
        }
        t.rejects(&through("2001:db8:1:2:a::b"), "rate_limited")
            .await;
        t.passes(&through("2001:db8:1:3::1")).await;
        assert_eq!(t.received_count(), 7);
    });
}

#[test]
fn a_flood_from_ever_new_addresses_does_not_free_the_limited_one() {
    let setup = Setup::changed(json!({
        "rate_limits": [rule("client_ip", "all", 2, "600s")],
        "rate_limit_capacity": 64,
    }));
    let setup = setup.trusted_hops(1);
    setup.run(async |t| {
        let from = |address: String| unsigned("POST", WEBHOOK).header("x-forwarded-for", address);
        let limited = || from("203.0.113.77".to_owned());
        let mut connection = t.http1().await;
        for _ in 0..2 {
            connection.rejects(&limited(), "missing_signature").await;
        }
        connection.rejects(&limited(), "rate_limited").await;
        for number in 0..3000_u32 {
            let address = Ipv4Addr::from(0x0a00_0000 + number * 7919);
            let answer = connection.send(&from(address.to_string())).await;
            assert!([403, 429, 503].contains(&answer.status), "{answer:?}");
        }
        connection.rejects(&limited(), "rate_limited").await;
        t.assert_nothing_received().await;
    });
}
