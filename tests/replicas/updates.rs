use std::time::Duration;

use serde_json::{Value, json};

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, assert_well, metric, plugin, send, setup};
use support::envoy::new_address;
use support::http1::Http1;
use support::live::Live;
use support::messages::message;
use support::tap::Behaviour;
use support::{assert_passed, assert_rejected};

fn in_shared_data() -> Value {
    plugin(json!({"store": {"type": "shared_data"}}))
}

/// An Envoy more, whose configuration can be replaced. The other two have Redis.
fn live(replicas: &Replicas, plugin: &Value) -> Live {
    let address = replicas.proxy.address;
    let live = Live::start(plugin, |plugin| setup(plugin, address).workers(2));
    live.envoy.tap.behave(Behaviour::Answer(200));
    live
}

#[test]
fn from_shared_data_to_redis_and_back_what_an_envoy_has_accepted_it_never_accepts_again() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        let live = live(replicas, &in_shared_data());
        let envoy = &live.envoy;
        let mut accepted = Vec::new();
        for (number, next) in [
            plugin(json!({})),
            in_shared_data(),
            plugin(json!({})),
            in_shared_data(),
        ]
        .into_iter()
        .enumerate()
        {
            let is_in_redis = number % 2 == 1;
            for _ in 0..4 {
                let request = message();
                assert_passed(&send(envoy, &request).await);
                if is_in_redis {
                    replicas.rejects(number % 2, &request, "duplicate").await;
                }
                accepted.push(request);
            }
            // Requests keep coming meanwhile.
            let (address, (stop, mut stopped)) =
                (envoy.address(), tokio::sync::oneshot::channel::<()>());
            let traffic = tokio::spawn(async move {
                let mut sent = Vec::new();
                while stopped.try_recv().is_err() {
                    let request = message();
                    for expected in [(200, ""), (409, "duplicate")] {
                        let mut client = Http1::connect(address, new_address()).await;
                        let answer = client.send(&request).await;
                        assert_eq!((answer.status, answer.reason().as_str()), expected);
                    }
                    sent.push(request);
                }
                sent
            });
            live.update(&next).await;
            let _ = stop.send(());
            let sent = traffic.await.expect("requests during the update");
            assert!(!sent.is_empty());
            accepted.extend(sent);
            for request in &accepted {
                assert_rejected(&send(envoy, request).await, "duplicate");
            }
        }
        assert!(metric(envoy, "store_callouts") > 0);
        assert_eq!(metric(envoy, "store_callout_failures"), 0);
        assert_well(envoy);
    });
}

#[test]
fn a_request_under_way_during_an_update_ends_as_it_began() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        let live = live(replicas, &plugin(json!({})));
        let envoy = &live.envoy;
        for (status, again) in [(200, 409), (500, 200)] {
            envoy
                .tap
                .behave(Behaviour::AnswerAfter(Duration::from_millis(1500), status));
            let (request, arrived) = (message(), envoy.tap.count());
            let sent = async { send(envoy, &request).await };
            let update = async {
                envoy.tap.wait_for(arrived, 1).await;
                // Answers to the questions by which the update is recognised are the upstream's, too.
                envoy.tap.behave(Behaviour::Answer(200));
                live.update(&in_shared_data()).await;
            };
            let (answer, ()) = tokio::join!(sent, update);
            assert_eq!((answer.status, answer.reason().as_str()), (status, ""));
            replicas.proxy.settled().await;
            assert_eq!(
                replicas.send(0, &request).await.status,
                again,
                "after {status}"
            );
            live.update(&plugin(json!({}))).await;
        }
        assert_well(envoy);
    });
}

#[test]
fn a_question_under_way_during_an_update_is_answered() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        let live = live(replicas, &plugin(json!({})));
        let envoy = &live.envoy;
        replicas
            .proxy
            .set(Way::LateAnswer(Duration::from_millis(1500)));
        let (request, asked) = (message(), replicas.proxy.count());
        let sent = async { send(envoy, &request).await };
        let update = async {
            while replicas.proxy.count() == asked {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            live.update(&in_shared_data()).await;
        };
        let (answer, ()) = tokio::join!(sent, update);
        assert_passed(&answer);
        replicas.proxy.set(Way::Open);
        assert_rejected(&send(envoy, &request).await, "duplicate");
        for envoy in [0, 1] {
            replicas.rejects(envoy, &request, "duplicate").await;
        }
        assert_well(envoy);
    });
}
