use std::time::Duration;

use serde_json::json;

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, metric, plugin};
use support::messages::message;
use support::tap::Behaviour;

/// The next call breaks, and no other; connections that [`Way`] has ended are gone by then.
async fn break_next(replicas: &Replicas, way: Way) {
    replicas.proxy.settled().await;
    replicas.proxy.set(way);
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[test]
fn a_first_delivery_whose_call_breaks_once_passes_once_whether_redis_has_run_it_or_not() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        replicas.recovered().await;
        let envoy = &replicas.envoys[0];
        let failures = metric(envoy, "store_callout_failures");
        for (number, way) in [Way::CloseOnce, Way::LoseOnce, Way::CloseOnce]
            .into_iter()
            .enumerate()
        {
            break_next(replicas, way).await;
            let (request, accepted) = (message(), replicas.accepted());
            let asked = replicas.proxy.count();
            replicas.passes(0, &request).await;
            assert!(
                replicas.proxy.count() >= asked + 2,
                "{way:?}: nothing broke"
            );
            assert_eq!(replicas.accepted(), accepted + 1);
            assert_eq!(metric(envoy, "store_callouts_retried"), number as u64 + 1);
            replicas.proxy.settled().await;
            for envoy in [1, 0] {
                replicas.rejects(envoy, &request, "duplicate").await;
            }
        }
        assert_eq!(metric(envoy, "store_callout_failures"), failures);
        assert_eq!(metric(envoy, "store_circuits_open"), 0);
    });
}

#[test]
fn a_repeat_whose_call_breaks_once_is_still_one() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        replicas.recovered().await;
        for way in [Way::CloseOnce, Way::LoseOnce] {
            let request = message();
            replicas.passes(0, &request).await;
            break_next(replicas, way).await;
            // Only Redis knows it.
            replicas.rejects(1, &request, "duplicate").await;
            assert!(metric(&replicas.envoys[1], "store_callouts_retried") > 0);
        }
    });
}

#[test]
fn a_release_whose_call_breaks_once_lets_the_retry_pass_at_every_envoy() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        replicas.recovered().await;
        let envoy = &replicas.envoys[0];
        for way in [Way::CloseOnce, Way::LoseOnce] {
            replicas.proxy.settled().await;
            let slow = Duration::from_millis(500);
            envoy.tap.behave(Behaviour::AnswerAfter(slow, 500));
            let (request, arrived) = (message(), envoy.tap.count());
            let sent = async { replicas.send(0, &request).await };
            let fail = async {
                envoy.tap.wait_for(arrived, 1).await;
                replicas.proxy.set(way);
            };
            let (answer, ()) = tokio::join!(sent, fail);
            assert_eq!(answer.status, 500);
            envoy.tap.behave(Behaviour::Answer(200));
            replicas.passes(1, &request).await;
        }
        assert_eq!(metric(envoy, "store_callouts_retried"), 2);
        assert_eq!(metric(envoy, "store_callout_failures"), 0);
    });
}
