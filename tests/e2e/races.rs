use serde_json::json;

use support::burst::{
    CONNECTIONS, WORKERS, assert_arrived_once, assert_one_passed, burst, count, identical, spread,
};
use support::envoy::Setup;
use support::messages::message;
use support::rule;
use support::tap::Behaviour;

#[test]
fn of_16_identical_requests_at_once_over_4_workers_one_passes_in_each_of_300_rounds() {
    Setup::changed(json!({"rate_limits": []}))
        .workers(WORKERS)
        .run(async |t| {
            t.upstream(Behaviour::Answer(200));
            let connections = spread(t.envoy, t.address).await;
            let (requests, rounds) = identical(300, CONNECTIONS);
            for answers in burst(connections, &rounds) {
                assert_eq!(answers.len(), 16);
                assert_one_passed(&answers);
            }
            assert_arrived_once(t, &requests);
        });
}

/// What is acknowledged has been taken by then.
#[test]
fn of_16_identical_requests_at_once_one_passes_and_none_is_acknowledged_before_it_is_taken() {
    Setup::changed(json!({
        "rate_limits": [], "replay": {"on_duplicate": "acknowledge"},
    }))
    .workers(WORKERS)
    .run(async |t| {
        // It fails after a moment: who was told 200 meanwhile would never send it again.
        let slow = std::time::Duration::from_millis(100);
        t.upstream(Behaviour::AnswerAfter(slow, 500));
        let connections = spread(t.envoy, t.address).await;
        let (requests, rounds) = identical(20, CONNECTIONS);
        let mut failed = 0;
        for answers in burst(connections, &rounds) {
            let passed = count(&answers, 500, "");
            let early = count(&answers, 409, "duplicate");
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
    Setup::changed(json!({"rate_limits": []}))
        .workers(WORKERS)
        .run(async |t| {
            t.upstream(Behaviour::Answer(500));
            let connections = spread(t.envoy, t.address).await;
            let (requests, rounds) = identical(20, CONNECTIONS);
            let mut failed = 0;
            for answers in burst(connections, &rounds) {
                // One that comes after a release goes through too, and rightly. None is lost, none is let in twice.
                let passed = count(&answers, 500, "");
                let duplicates = count(&answers, 409, "duplicate");
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
    for (key, counted) in [("client_ip", "all"), ("account", "authenticated")] {
        Setup::changed(json!({"rate_limits": [rule(key, counted, 60, "600s")]}))
            .workers(WORKERS)
            .run(async |t| {
                t.upstream(Behaviour::Answer(200));
                let connections = spread(t.envoy, t.address).await;
                let rounds: Vec<Vec<_>> = (0..8)
                    .map(|_| (0..CONNECTIONS).map(|_| message()).collect())
                    .collect();
                let answers: Vec<_> = burst(connections, &rounds).into_iter().flatten().collect();
                let passed = count(&answers, 200, "");
                let limited = count(&answers, 429, "rate_limited");
                assert_eq!((passed, limited), (60, 68), "{key}, {counted}");
                assert_eq!(t.received_count(), 60);
            });
    }
}
