use std::collections::BTreeMap;

use serde_json::json;

use support::burst::{CONNECTIONS, WORKERS, burst, spread};
use support::envoy::plugin_with;
use support::messages::message;
use support::rule;
use support::tap::Behaviour;

#[test]
fn of_16_identical_requests_at_once_over_4_workers_one_passes_in_each_of_300_rounds() {
    let plugin = plugin_with(json!({"rate_limits": []}));
    crate::setup(&plugin)
        .workers(WORKERS)
        .start()
        .run(async |t| {
            t.upstream(Behaviour::Answer(200));
            let connections = spread(t.envoy, t.address).await;
            let requests: Vec<_> = (0..300).map(|_| message()).collect();
            let rounds = requests
                .iter()
                .map(|request| vec![request.clone(); CONNECTIONS])
                .collect::<Vec<_>>();
            for (round, answers) in burst(connections, &rounds).iter().enumerate() {
                let passed = answers
                    .iter()
                    .filter(|answer| **answer == (200, String::new()))
                    .count();
                let duplicates = answers
                    .iter()
                    .filter(|answer| **answer == (409, "duplicate".to_owned()))
                    .count();
                assert_eq!((passed, duplicates), (1, 15), "round {round}: {answers:?}");
            }
            // By what has arrived, and not by the answers alone.
            let mut arrived: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
            for received in t.received() {
                *arrived.entry(received.body).or_default() += 1;
            }
            assert_eq!(arrived.len(), 300);
            for request in requests {
                assert_eq!(arrived.get(&request.body), Some(&1));
            }
        });
}

/// Finding 6, at once: what is acknowledged has been taken by then.
#[test]
fn of_16_identical_requests_at_once_one_passes_and_none_is_acknowledged_before_it_is_taken() {
    let plugin = plugin_with(json!({
        "rate_limits": [], "replay": {"on_duplicate": "acknowledge"},
    }));
    crate::setup(&plugin)
        .workers(WORKERS)
        .start()
        .run(async |t| {
            // It fails after a moment: who was told 200 meanwhile would never send it again.
            let slow = std::time::Duration::from_millis(100);
            t.upstream(Behaviour::AnswerAfter(slow, 500));
            let connections = spread(t.envoy, t.address).await;
            let requests: Vec<_> = (0..20).map(|_| message()).collect();
            let rounds = requests
                .iter()
                .map(|request| vec![request.clone(); CONNECTIONS])
                .collect::<Vec<_>>();
            let mut failed = 0;
            for answers in burst(connections, &rounds) {
                let count = |status, reason: &str| {
                    let is_one = |answer: &&(u16, String)| **answer == (status, reason.to_owned());
                    answers.iter().filter(is_one).count()
                };
                let (passed, early) = (count(500, ""), count(409, "duplicate"));
                assert!(passed >= 1 && passed + early == CONNECTIONS, "{answers:?}");
                failed += passed;
            }
            assert_eq!(t.received_count(), failed);
            t.upstream(Behaviour::Answer(200));
            for request in &requests {
                for _ in 0..2 {
                    assert_eq!(t.send(request).await.status, 200);
                }
            }
            assert_eq!(t.received_count(), failed + requests.len(), "each once");
        });
}

#[test]
fn a_failing_upstream_gets_each_of_many_concurrent_retries_one_at_a_time() {
    let plugin = plugin_with(json!({"rate_limits": []}));
    crate::setup(&plugin)
        .workers(WORKERS)
        .start()
        .run(async |t| {
            t.upstream(Behaviour::Answer(500));
            let connections = spread(t.envoy, t.address).await;
            let requests: Vec<_> = (0..20).map(|_| message()).collect();
            let rounds = requests
                .iter()
                .map(|request| vec![request.clone(); CONNECTIONS])
                .collect::<Vec<_>>();
            let mut failed = 0;
            for answers in burst(connections, &rounds) {
                // One that comes after a release goes through too, and rightly. None is lost, none is let in twice.
                let passed = answers
                    .iter()
                    .filter(|answer| **answer == (500, String::new()))
                    .count();
                let duplicates = answers
                    .iter()
                    .filter(|answer| **answer == (409, "duplicate".to_owned()))
                    .count();
                assert!(
                    passed >= 1 && passed + duplicates == CONNECTIONS,
                    "{answers:?}"
                );
                failed += passed;
            }
            assert_eq!(t.received_count(), failed);
            t.upstream(Behaviour::Answer(200));
            for request in &requests {
                assert_eq!(t.send(request).await.status, 200, "all are released");
                assert_eq!(t.send(request).await.status, 409);
            }
        });
}

#[test]
fn a_rate_limit_is_exact_for_requests_at_once_over_4_workers() {
    for (key, count) in [("client_ip", "all"), ("account", "authenticated")] {
        let plugin = plugin_with(json!({"rate_limits": [rule(key, count, 60, "600s")]}));
        crate::setup(&plugin)
            .workers(WORKERS)
            .start()
            .run(async |t| {
                t.upstream(Behaviour::Answer(200));
                let connections = spread(t.envoy, t.address).await;
                let rounds: Vec<Vec<_>> = (0..8)
                    .map(|_| (0..CONNECTIONS).map(|_| message()).collect())
                    .collect();
                let answers: Vec<_> = burst(connections, &rounds).into_iter().flatten().collect();
                let passed = answers
                    .iter()
                    .filter(|answer| **answer == (200, String::new()))
                    .count();
                let limited = answers
                    .iter()
                    .filter(|answer| **answer == (429, "rate_limited".to_owned()))
                    .count();
                assert_eq!((passed, limited), (60, 68), "{key}, {count}");
                assert_eq!(t.received_count(), 60);
            });
    }
}
