use std::time::Duration;

use serde_json::json;

use crate::replicas::{Replicas, metric, plugin};
use support::messages::{forged, message, whatsapp};
use support::tap::Behaviour;
use support::{assert_passed, assert_rejected};

#[test]
fn what_one_envoy_has_accepted_no_other_accepts() {
    let plugin = plugin(json!({}));
    Replicas::of(3, |setup| setup, &plugin).run(async |replicas| {
        for first in 0..3 {
            let request = message();
            replicas.passes(first, &request).await;
            for _ in 0..2 {
                for envoy in 0..3 {
                    replicas.rejects(envoy, &request, "duplicate").await;
                }
            }
        }
        assert_eq!(replicas.accepted(), 3);
        // And one that is started later knows it, too.
        let request = message();
        replicas.passes(0, &request).await;
        let later = replicas.another(&plugin);
        let answer = crate::replicas::send(&later, &request).await;
        assert_rejected(&answer, "duplicate");
        assert_eq!(later.tap.count(), 0);
    });
}

#[test]
fn when_the_service_behind_one_envoy_fails_the_retry_passes_at_another() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        for failure in [
            Behaviour::Answer(500),
            Behaviour::Answer(503),
            Behaviour::Answer(401),
            Behaviour::Answer(408),
            Behaviour::Answer(425),
            Behaviour::Answer(429),
            Behaviour::Reset,
        ] {
            replicas.envoys[0].tap.behave(failure.clone());
            let request = message();
            let answer = replicas.send(0, &request).await;
            assert!(answer.status >= 401, "{failure:?}: {answer:?}");
            assert_eq!(answer.reason(), "", "the answer is not the filter's");
            // The nonce is given up when the answer is out.
            replicas.proxy.settled().await;
            replicas.passes(1, &request).await;
            for envoy in [0, 1] {
                replicas.rejects(envoy, &request, "duplicate").await;
            }
        }
        for kept in [
            Behaviour::Answer(200),
            Behaviour::Answer(302),
            Behaviour::Answer(404),
        ] {
            replicas.envoys[0].tap.behave(kept.clone());
            let request = message();
            assert_eq!(replicas.send(0, &request).await.reason(), "", "{kept:?}");
            replicas.proxy.settled().await;
            replicas.rejects(1, &request, "duplicate").await;
        }
    });
}

#[test]
fn while_the_service_behind_one_envoy_works_on_it_a_request_is_rejected_at_the_others() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        let slow = Duration::from_secs(1);
        replicas.envoys[0]
            .tap
            .behave(Behaviour::AnswerAfter(slow, 500));
        let request = message();
        let first = async { replicas.send(0, &request).await };
        let second = async {
            replicas.envoys[0].tap.wait_for(0, 1).await;
            replicas.send(1, &request).await
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first.status, first.reason().as_str()), (500, ""));
        assert_rejected(&second, "duplicate");
        replicas.proxy.settled().await;
        // The one that failed is given up. What the other Envoy has learned meanwhile must not stand against it.
        replicas.passes(1, &request).await;
        assert_eq!(replicas.accepted(), 2);
    });
}

/// Nobody is told that a request was taken while another Envoy's service still has it.
#[test]
fn a_repeat_is_not_acknowledged_while_the_first_is_undecided_at_another_envoy() {
    let plugin = plugin(json!({"replay": {"on_duplicate": "acknowledge"}}));
    Replicas::start(&plugin).run(async |replicas| {
        let request = message();
        let slow = Duration::from_secs(1);
        for (arrived, status) in [(0, 500), (1, 200)] {
            let tap = &replicas.envoys[0].tap;
            tap.behave(Behaviour::AnswerAfter(slow, status));
            let first = async { replicas.send(0, &request).await };
            let second = async {
                tap.wait_for(arrived, 1).await;
                [
                    replicas.send(1, &request).await,
                    replicas.send(0, &request).await,
                ]
            };
            let (first, early) = tokio::join!(first, second);
            assert_eq!((first.status, first.reason().as_str()), (status, ""));
            for early in early {
                assert_rejected(&early, "duplicate");
                assert_eq!(early.header("retry-after"), Some("1"));
            }
            replicas.proxy.settled().await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        for envoy in [1, 0, 1] {
            let answer = replicas.send(envoy, &request).await;
            assert_eq!(answer.status, 200);
            assert!(answer.text().contains("<Response>"), "{}", answer.text());
        }
        assert_eq!(replicas.accepted(), 2);
    });
}

#[test]
fn an_envoy_gives_up_its_own_claim_only() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        let slow = Duration::from_millis(1500);
        replicas.envoys[0]
            .tap
            .behave(Behaviour::AnswerAfter(slow, 500));
        let request = message();
        let first = async { replicas.send(0, &request).await };
        let second = async {
            replicas.envoys[0].tap.wait_for(0, 1).await;
            // As if the first claim had run out: it is gone, and another Envoy makes a new one.
            let keys = replicas.redis.keys();
            assert!(!keys.is_empty(), "the claim is in Redis");
            for key in keys {
                replicas.redis.command(&["DEL", &key]);
            }
            replicas.send(1, &request).await
        };
        let (first, second) = tokio::join!(first, second);
        assert_passed(&second);
        assert_eq!((first.status, first.reason().as_str()), (500, ""));
        replicas.proxy.settled().await;
        for envoy in [1, 0] {
            replicas.rejects(envoy, &request, "duplicate").await;
        }
    });
}

#[test]
fn a_repeat_that_an_envoy_knows_costs_no_round_trip() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        let request = message();
        replicas.passes(0, &request).await;
        let before = replicas.proxy.settled().await;
        for _ in 0..10 {
            replicas.rejects(0, &request, "duplicate").await;
        }
        assert_eq!(replicas.proxy.settled().await, before);
        // What an Envoy does not know it has to ask for.
        replicas.rejects(1, &request, "duplicate").await;
        assert!(replicas.proxy.settled().await > before);
    });
}

#[test]
fn an_accepted_request_costs_one_round_trip_before_it_passes() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        // Redis and each worker know the scripts after this.
        replicas.recovered().await;
        let slow = Duration::from_secs(1);
        for envoy in [0, 1] {
            replicas.envoys[envoy]
                .tap
                .behave(Behaviour::AnswerAfter(slow, 200));
            let (before, arrived) = (
                replicas.proxy.settled().await,
                replicas.envoys[envoy].tap.count(),
            );
            let calls = metric(&replicas.envoys[envoy], "store_callouts");
            let request = message();
            let sent = async { replicas.send(envoy, &request).await };
            let counted = async {
                replicas.envoys[envoy].tap.wait_for(arrived, 1).await;
                replicas.proxy.count() - before
            };
            let (answer, counted) = tokio::join!(sent, counted);
            assert_passed(&answer);
            assert_eq!(counted, 1);
            let all = replicas.proxy.settled().await - before;
            assert!(all <= 2, "and at most one when it is answered: {all}");
            let calls = metric(&replicas.envoys[envoy], "store_callouts") - calls;
            assert_eq!(calls, all as u64, "the metric counts what has arrived");
        }
    });
}

#[test]
fn what_nobody_has_signed_is_never_written() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        for number in 0..50 {
            replicas
                .rejects(number % 2, &forged(&whatsapp()), "invalid_signature")
                .await;
        }
        let without = message().without("x-twilio-signature");
        replicas.rejects(0, &without, "missing_signature").await;
        assert_eq!(replicas.proxy.settled().await, 0, "it is not even asked");
        assert_eq!(replicas.redis.keys(), [""; 0]);
    });
}

#[test]
fn redis_forgetting_the_scripts_costs_a_second_round_trip_and_nothing_else() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        replicas.recovered().await;
        for _ in 0..3 {
            replicas.redis.command(&["SCRIPT", "FLUSH"]);
            let before = replicas.proxy.settled().await;
            let request = message();
            replicas.passes(0, &request).await;
            let trips = replicas.proxy.settled().await - before;
            assert!((2..=4).contains(&trips), "{trips} round trips");
            replicas.rejects(1, &request, "duplicate").await;
        }
        for envoy in &replicas.envoys {
            assert_eq!(metric(envoy, "store_callout_failures"), 0);
        }
    });
}
