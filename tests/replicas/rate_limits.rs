use std::time::{Duration, Instant};

use serde_json::json;

use crate::replicas::{Replicas, plugin};
use support::envoy::new_address;
use support::http1::Http1;
use support::messages::{PHONE, WEBHOOK, forged, form, message, message_with, whatsapp};
use support::wire::{Request, Response};
use support::{assert_passed, assert_rejected, rule};

fn limited(rules: &serde_json::Value) -> Replicas {
    Replicas::start(&plugin(json!({"rate_limits": rules})))
}

async fn send_from(
    replicas: &Replicas,
    envoy: usize,
    from: std::net::IpAddr,
    request: &Request,
) -> Response {
    let address = replicas.envoys[envoy].address();
    Http1::connect(address, from).await.send(request).await
}

fn retry_after(answer: &Response) -> u64 {
    let text = answer.header("retry-after").expect("a 429 says when");
    text.parse().expect("whole seconds")
}

#[test]
fn one_address_has_one_allowance_at_all_envoys() {
    limited(&json!([rule("client_ip", "all", 6, "600s")])).run(async |replicas| {
        let from = new_address();
        for number in 0..6 {
            assert_passed(&send_from(replicas, number % 2, from, &message()).await);
        }
        for envoy in [0, 1, 0, 1] {
            let answer = send_from(replicas, envoy, from, &message()).await;
            assert_rejected(&answer, "rate_limited");
            assert!((590..=600).contains(&retry_after(&answer)), "{answer:?}");
        }
        // All requests count, forged ones too; another address has its own.
        let other = new_address();
        for number in 0..6 {
            let answer = send_from(replicas, number % 2, other, &forged(&whatsapp())).await;
            assert_rejected(&answer, "invalid_signature");
        }
        assert_rejected(
            &send_from(replicas, 0, other, &message()).await,
            "rate_limited",
        );
        assert_eq!(replicas.accepted(), 6);
    });
}

/// It is asked for with the claim, and with the limits of rejections, and is the answer all the same.
#[test]
fn an_address_over_its_limit_gets_429_whatever_it_sends_and_nothing_else_counts_that() {
    let rules = json!([
        rule("client_ip", "all", 4, "600s"),
        rule("webhook", "authenticated", 2, "600s"),
        rule("webhook", "rejected", 4, "600s"),
    ]);
    Replicas::of(
        2,
        |setup| setup.workers(1),
        &plugin(json!({"rate_limits": rules})),
    )
    .run(async |replicas| {
        let from = new_address();
        let captured = message();
        let stale = message_with("Timestamp", "1700000000");
        let unsigned = message().without("x-twilio-signature");
        // All of these count.
        for (number, (request, reason)) in [
            (&captured, ""),
            (&captured, "duplicate"),
            (&forged(&whatsapp()), "invalid_signature"),
            (&unsigned, "missing_signature"),
        ]
        .into_iter()
        .enumerate()
        {
            let answer = send_from(replicas, number % 2, from, request).await;
            assert_eq!(answer.reason(), reason, "{answer:?}");
        }
        // One Envoy is told so by each kind; the other knows it then.
        let late = message();
        for request in [&captured, &forged(&whatsapp()), &stale, &unsigned, &late] {
            for envoy in [0, 1] {
                let answer = send_from(replicas, envoy, from, request).await;
                assert_rejected(&answer, "rate_limited");
                assert!((590..=600).contains(&retry_after(&answer)), "{answer:?}");
            }
        }
        // The webhook's limits have room for one more of each kind, and the late one was not claimed.
        replicas.passes(1, &late).await;
        replicas
            .rejects(0, &forged(&whatsapp()), "invalid_signature")
            .await;
        assert_eq!(replicas.accepted(), 2);
    });
}

#[test]
fn who_leaves_before_its_body_is_complete_is_counted_at_all_envoys() {
    limited(&json!([rule("client_ip", "all", 4, "600s")])).run(async |replicas| {
        let from = new_address();
        for number in 0..4 {
            let address = replicas.envoys[number % 2].address();
            let mut client = Http1::connect(address, from).await;
            let bytes = message().bytes();
            client.write(&bytes[..bytes.len() - 1]).await;
            // Until Envoy has shown that to the filter.
            tokio::time::sleep(Duration::from_millis(100)).await;
            client.reset();
        }
        assert!(replicas.proxy.settled().await >= 4);
        for envoy in [0, 1] {
            let answer = send_from(replicas, envoy, from, &message()).await;
            assert_rejected(&answer, "rate_limited");
        }
        assert_eq!(replicas.accepted(), 0);
    });
}

#[test]
fn many_at_once_at_all_envoys_get_no_more_than_one_limit_through() {
    limited(&json!([rule("client_ip", "all", 20, "600s")])).run(async |replicas| {
        let from = new_address();
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..80 {
            let address = replicas.envoys[number % 2].address();
            clients.spawn(async move {
                let mut connection = Http1::connect(address, from).await;
                let answer = connection.send(&message()).await;
                (answer.status, answer.reason())
            });
        }
        let answers = clients.join_all().await;
        let passed = answers.iter().filter(|(status, _)| *status == 200).count();
        let limited = answers
            .iter()
            .filter(|(_, reason)| reason == "rate_limited")
            .count();
        assert_eq!((passed, limited), (20, 60), "{answers:?}");
        assert_eq!(replicas.accepted(), 20);
    });
}

#[test]
fn a_limit_for_a_webhook_counts_what_is_signed_at_all_envoys() {
    limited(&json!([rule("webhook", "authenticated", 4, "600s")])).run(async |replicas| {
        for number in 0..10 {
            replicas
                .rejects(number % 2, &forged(&whatsapp()), "invalid_signature")
                .await;
        }
        for number in 0..4 {
            replicas.passes(number % 2, &message()).await;
        }
        for envoy in [0, 1] {
            replicas.rejects(envoy, &message(), "rate_limited").await;
        }
        // Another webhook has its own.
        let other = form("/voice/status", &whatsapp());
        replicas.passes(1, &other).await;
        assert_eq!(replicas.accepted(), 5);
    });
}

#[test]
fn a_limit_for_a_sender_counts_at_all_envoys_and_rejected_repeats_use_up_nothing() {
    limited(&json!([rule("param:From", "authenticated", 3, "600s")])).run(async |replicas| {
        let first = message();
        replicas.passes(0, &first).await;
        for number in 0..10 {
            replicas.rejects(number % 2, &first, "duplicate").await;
        }
        replicas.passes(1, &message()).await;
        replicas.passes(0, &message()).await;
        for envoy in [0, 1] {
            replicas.rejects(envoy, &message(), "rate_limited").await;
        }
        let sender = format!("whatsapp:+{PHONE}1");
        let other = message_with("From", &sender);
        replicas.passes(1, &other).await;
        assert_eq!(replicas.accepted(), 4);
    });
}

#[test]
fn a_request_that_a_limit_rejected_was_not_accepted_and_passes_later() {
    limited(&json!([rule("webhook", "authenticated", 1, "2s")])).run(async |replicas| {
        replicas.passes(0, &message()).await;
        let late = message();
        let answer = replicas.rejects(1, &late, "rate_limited").await;
        tokio::time::sleep(Duration::from_secs(retry_after(&answer))).await;
        replicas.passes(1, &late).await;
        replicas.rejects(0, &late, "duplicate").await;
    });
}

#[test]
fn a_limit_on_rejected_requests_counts_them_at_all_envoys() {
    limited(&json!([rule("client_ip", "rejected", 4, "600s")])).run(async |replicas| {
        let from = new_address();
        for number in 0..6 {
            assert_passed(&send_from(replicas, number % 2, from, &message()).await);
        }
        for number in 0..4 {
            let answer = send_from(replicas, number % 2, from, &forged(&whatsapp())).await;
            assert_rejected(&answer, "invalid_signature");
        }
        // They are counted when their answer is out.
        replicas.proxy.settled().await;
        for envoy in [0, 1] {
            let answer = send_from(replicas, envoy, from, &forged(&whatsapp())).await;
            assert_rejected(&answer, "rate_limited");
        }
        let answer = send_from(replicas, 1, new_address(), &forged(&whatsapp())).await;
        assert_rejected(&answer, "invalid_signature");
        assert_eq!(replicas.accepted(), 6);
    });
}

/// Once five repeats of one captured request locked its account out.
#[test]
fn replays_at_all_envoys_never_use_up_a_limit_of_their_account_or_parameters() {
    let rules = json!([
        rule("account", "rejected", 3, "600s"),
        rule("param:From", "rejected", 3, "600s"),
    ]);
    limited(&rules).run(async |replicas| {
        let captured = message();
        replicas.passes(0, &captured).await;
        let mut old = whatsapp();
        old.push(("Timestamp".to_owned(), "1700000000".to_owned()));
        let old = form(WEBHOOK, &old);
        for number in 0..8 {
            replicas.rejects(number % 2, &captured, "duplicate").await;
            replicas.rejects(number % 2, &old, "stale_timestamp").await;
        }
        for envoy in [0, 1] {
            replicas.passes(envoy, &message()).await;
        }
        assert_eq!(replicas.accepted(), 3);
    });
}

#[test]
fn replays_at_all_envoys_use_up_the_limit_of_the_address_that_they_come_from() {
    limited(&json!([rule("client_ip", "rejected", 4, "600s")])).run(async |replicas| {
        let (captured, attacker) = (message(), new_address());
        replicas.passes(0, &captured).await;
        for number in 0..4 {
            let answer = send_from(replicas, number % 2, attacker, &captured).await;
            assert_rejected(&answer, "duplicate");
        }
        for envoy in [0, 1] {
            let answer = send_from(replicas, envoy, attacker, &captured).await;
            assert_rejected(&answer, "rate_limited");
        }
        replicas.passes(1, &message()).await;
    });
}

/// Once a flood rejected all who have no slot, and genuine senders have none.
#[test]
fn a_flood_of_rejected_requests_rejects_no_genuine_sender_at_any_envoy() {
    let plugin = plugin(json!({
        "rate_limits": [rule("client_ip", "rejected", 2, "600s")],
        "rate_limit_capacity": 2,
    }));
    Replicas::start(&plugin).run(async |replicas| {
        let mut limited = 0;
        for number in 0..60 {
            let answer = replicas.send(number % 2, &forged(&whatsapp())).await;
            assert!([403, 429].contains(&answer.status), "{answer:?}");
            limited += u32::from(answer.status == 429);
        }
        assert!(limited > 30, "the flood is limited: {limited}");
        let genuine = new_address();
        for number in 0..6 {
            assert_passed(&send_from(replicas, number % 2, genuine, &message()).await);
            let answer = send_from(replicas, number % 2, genuine, &forged(&whatsapp())).await;
            assert_rejected(&answer, "rate_limited");
        }
        assert_eq!(replicas.accepted(), 6);
    });
}

#[test]
fn in_no_window_do_all_envoys_together_let_more_through() {
    limited(&json!([rule("client_ip", "all", 4, "2s")])).run(async |replicas| {
        let from = new_address();
        let (start, mut passed, mut number) = (Instant::now(), Vec::new(), 0);
        while start.elapsed() < Duration::from_secs(7) {
            let sent = Instant::now();
            let answer = send_from(replicas, number % 2, from, &message()).await;
            if answer.status == 200 {
                passed.push((sent, Instant::now()));
            } else {
                assert_rejected(&answer, "rate_limited");
                let wait = retry_after(&answer);
                assert!((1..=2).contains(&wait), "{wait}");
            }
            number += 1;
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        // Decided between sent and answered, as in the test of one Envoy.
        for five in passed.windows(5) {
            let span = five[4].1 - five[0].0;
            assert!(span >= Duration::from_secs(2), "5 passed within {span:?}");
        }
        assert!(
            passed.len() >= 10,
            "nor does it stay closed: {} passed",
            passed.len()
        );
        assert_eq!(replicas.accepted(), passed.len());
    });
}

#[test]
fn after_the_seconds_that_one_envoy_names_another_lets_the_request_through() {
    limited(&json!([rule("client_ip", "all", 2, "3s")])).run(async |replicas| {
        let from = new_address();
        for envoy in [0, 1] {
            assert_passed(&send_from(replicas, envoy, from, &message()).await);
        }
        let rejected = send_from(replicas, 0, from, &message()).await;
        assert_rejected(&rejected, "rate_limited");
        let wait = retry_after(&rejected);
        assert!((1..=3).contains(&wait), "{wait}");
        tokio::time::sleep(Duration::from_secs(wait)).await;
        assert_passed(&send_from(replicas, 1, from, &message()).await);
    });
}
