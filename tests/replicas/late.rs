use std::time::Duration;

use serde_json::json;

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, metric, plugin, store_with};
use crate::traffic::{Traffic, assert_none_twice};
use support::assert_rejected;
use support::envoy::new_address;
use support::http1::{Http1, PATIENCE};
use support::messages::message;
use support::process::until;
use support::size;
use support::wire::Request;

/// How many claims were given up before they arrived, or may arrive yet.
fn marks(replicas: &Replicas) -> i64 {
    replicas.redis.command(&["ZCARD", "{twf:1}:v"]).number()
}

/// Sends it to all Envoys by turns until one takes it, and then once more to each.
async fn assert_passes_once(replicas: &Replicas, request: &Request, first: usize) {
    let mut envoys = (0..replicas.envoys.len()).cycle().skip(first);
    until("it passes", async || {
        let answer = replicas.send(envoys.next()?, request).await;
        match (answer.status, answer.reason().as_str()) {
            (200, "") => Some(()),
            // Its claim has got through, and is about to be given up.
            (409, "duplicate") | (503, "store_unavailable") => None,
            _ => panic!("{answer:?}"),
        }
    })
    .await;
    for envoy in 0..replicas.envoys.len() {
        // Another worker may not ask yet.
        let answer = until("the store is found again", async || {
            Some(replicas.send(envoy, request).await).filter(|answer| answer.status != 503)
        });
        assert_rejected(&answer.await, "duplicate");
    }
    // Other requests are on their way meanwhile.
    let envoys = replicas.envoys.iter();
    let arrived = envoys.map(|envoy| envoy.tap.whole_with_body(&request.body));
    assert_eq!(arrived.sum::<usize>(), 1);
}

#[test]
fn claims_that_redis_gets_to_after_it_hung_are_void_while_traffic_goes_on() {
    let store = store_with(json!({"timeout": "0.1s"}));
    Replicas::start(&plugin(json!({"store": store}))).run(async |replicas| {
        replicas.recovered().await;
        let traffic = Traffic::start(&replicas.envoys, 2);
        let mut voided = 0;
        for round in 0..size("REPLICAS_HANGS", 2) as usize {
            let asked = replicas.proxy.count();
            replicas.redis.freeze();
            let requests: Vec<_> = (0..4).map(|_| message()).collect();
            for (number, request) in requests.iter().enumerate() {
                replicas
                    .rejects(number % 2, request, "store_unavailable")
                    .await;
            }
            assert!(replicas.proxy.count() > asked, "nothing waits in Redis");
            // Long enough for an open circuit to try again: more claims, and the first releases.
            if round % 2 == 1 {
                tokio::time::sleep(Duration::from_millis(1300)).await;
            }
            replicas.redis.thaw();
            for (number, request) in requests.iter().enumerate() {
                assert_passes_once(replicas, request, (round + number) % 2).await;
            }
            replicas.recovered().await;
            voided = marks(replicas);
        }
        let outcome = traffic.stop().await;
        println!(
            "{:?}, {voided} given up before they arrived",
            outcome.counts()
        );
        let allowed = [(200, ""), (409, "duplicate"), (503, "store_unavailable")];
        outcome.assert_answers(&allowed, PATIENCE);
        assert_none_twice(replicas);
        for (number, request) in outcome.rejected().into_iter().take(8).enumerate() {
            assert_passes_once(replicas, request, number % 2).await;
        }
        assert_none_twice(replicas);
    });
}

#[test]
fn a_claim_that_arrives_after_it_was_given_up_changes_nothing() {
    let late = Duration::from_millis(800);
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        replicas.recovered().await;
        for (round, retry_comes_first) in [true, false, true, false].into_iter().enumerate() {
            let (here, there) = (round / 2, 1 - round / 2);
            let (request, asked) = (message(), replicas.proxy.settled().await);
            let marked = marks(replicas);
            replicas.proxy.set(Way::LateRequest(late));
            let sent = async { replicas.send(here, &request).await };
            let lose = async {
                while replicas.proxy.count() == asked {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                // Envoy's connection ends, and so does that on which it asks again; the claim is on its way all the same.
                replicas.proxy.set(Way::CloseOnce);
            };
            let (answer, ()) = tokio::join!(sent, lose);
            assert_rejected(&answer, "store_unavailable");
            replicas.proxy.settled().await;
            assert!(marks(replicas) > marked, "it was not given up before");
            if retry_comes_first {
                assert_passes_once(replicas, &request, there).await;
                tokio::time::sleep(late).await;
                for envoy in [here, there] {
                    replicas.rejects(envoy, &request, "duplicate").await;
                }
            } else {
                tokio::time::sleep(late).await;
                assert_passes_once(replicas, &request, here).await;
            }
        }
        assert_none_twice(replicas);
        for envoy in &replicas.envoys {
            assert_eq!(metric(envoy, "store_settlements_lost"), 0);
        }
    });
}

#[test]
fn a_claim_whose_sender_has_hung_up_before_it_arrives_changes_nothing() {
    let late = Duration::from_millis(800);
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        replicas.recovered().await;
        let (request, asked) = (message(), replicas.proxy.settled().await);
        replicas.proxy.set(Way::LateRequest(late));
        let address = replicas.envoys[0].address();
        let mut client = Http1::connect(address, new_address()).await;
        client.write(&request.bytes()).await;
        while replicas.proxy.count() == asked {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        client.reset();
        replicas.proxy.set(Way::Open);
        replicas.proxy.settled().await;
        assert_passes_once(replicas, &request, 1).await;
        tokio::time::sleep(late).await;
        for envoy in [0, 1] {
            replicas.rejects(envoy, &request, "duplicate").await;
        }
        assert_none_twice(replicas);
    });
}
