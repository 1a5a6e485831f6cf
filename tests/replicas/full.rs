use serde_json::json;

use crate::replicas::{Replicas, metric, plugin};
use crate::traffic::assert_none_twice;
use support::messages::message;
use support::tap::Behaviour;

#[test]
fn a_redis_without_memory_takes_nothing_new_forgets_nothing_and_recovers_when_it_has_some() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        replicas.recovered().await;
        let before: Vec<_> = (0..6).map(|_| message()).collect();
        for (number, request) in before.iter().enumerate() {
            replicas.passes(number % 2, request).await;
        }
        replicas.proxy.settled().await;
        let arrived = replicas.accepted();

        replicas.redis.limit_memory("1");
        let meanwhile: Vec<_> = (0..6).map(|_| message()).collect();
        for (number, request) in meanwhile.iter().enumerate() {
            replicas
                .rejects(number % 2, request, "store_unavailable")
                .await;
        }
        for (number, request) in before.iter().enumerate() {
            // The Envoy that has accepted it knows it; the other one cannot ask any more, or is told that it is one.
            replicas.rejects(number % 2, request, "duplicate").await;
            let there = replicas.send((number + 1) % 2, request).await;
            assert!([409, 503].contains(&there.status), "{there:?}");
        }
        assert_eq!(replicas.accepted(), arrived);

        replicas.redis.limit_memory("256mb");
        replicas.recovered().await;
        replicas.proxy.settled().await;
        for (number, request) in meanwhile.iter().enumerate() {
            replicas.passes((number + 1) % 2, request).await;
            for envoy in [0, 1] {
                replicas.rejects(envoy, request, "duplicate").await;
            }
        }
        for (number, request) in before.iter().enumerate() {
            replicas
                .rejects((number + 1) % 2, request, "duplicate")
                .await;
        }
        assert_none_twice(replicas);
    });
}

#[test]
fn what_services_answer_while_redis_has_no_memory_is_told_when_it_has_some() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        replicas.recovered().await;
        let late = std::time::Duration::from_millis(500);
        for (status, again) in [(500, 200), (200, 409)] {
            replicas.envoys[0]
                .tap
                .behave(Behaviour::AnswerAfter(late, status));
            let (request, arrived) = (message(), replicas.envoys[0].tap.count());
            let sent = async { replicas.send(0, &request).await };
            let fill = async {
                replicas.envoys[0].tap.wait_for(arrived, 1).await;
                replicas.redis.limit_memory("1");
            };
            let (answer, ()) = tokio::join!(sent, fill);
            assert_eq!((answer.status, answer.reason().as_str()), (status, ""));
            replicas.redis.limit_memory("256mb");
            replicas.envoys[0].tap.behave(Behaviour::Answer(200));
            replicas.recovered().await;
            replicas.proxy.settled().await;
            assert_eq!(
                replicas.send(1, &request).await.status,
                again,
                "after {status}"
            );
            replicas.rejects(0, &request, "duplicate").await;
        }
        for envoy in &replicas.envoys {
            assert_eq!(metric(envoy, "store_settlements_lost"), 0);
        }
    });
}
