use std::time::Duration;

use serde_json::{Value, json};

use crate::replicas::{Replicas, plugin};
use support::messages::message;

fn with_room_for_five(replay: Value) -> Replicas {
    Replicas::start(&plugin(json!({"replay": replay})))
}

/// Five requests, at one Envoy and the other in turn.
async fn fill(replicas: &Replicas) {
    for number in 0..5 {
        replicas.passes(number % 2, &message()).await;
    }
    replicas.proxy.settled().await;
}

#[test]
fn room_for_five_is_room_for_five_at_all_envoys_together() {
    let replay = json!({"capacity": 5, "window": "600s", "keep": "600s", "on_full": "reject"});
    with_room_for_five(replay).run(async |replicas| {
        fill(replicas).await;
        let sixth = message();
        for envoy in [0, 1, 0, 1] {
            replicas.rejects(envoy, &sixth, "store_full").await;
        }
        assert_eq!(replicas.accepted(), 5);
    });
}

#[test]
fn what_must_no_longer_be_remembered_makes_room_for_what_must() {
    let replay = json!({"capacity": 5, "window": "2s", "keep": "600s", "on_full": "reject"});
    with_room_for_five(replay).run(async |replicas| {
        fill(replicas).await;
        // A claim is held for a minute, a settled nonce for its window.
        tokio::time::sleep(Duration::from_millis(2200)).await;
        let sixth = message();
        replicas.passes(0, &sixth).await;
        replicas.rejects(1, &sixth, "duplicate").await;
        assert_eq!(replicas.accepted(), 6);
    });
}

#[test]
fn where_the_oldest_may_go_there_is_always_room() {
    let replay =
        json!({"capacity": 5, "window": "600s", "keep": "600s", "on_full": "evict_oldest"});
    with_room_for_five(replay).run(async |replicas| {
        fill(replicas).await;
        for number in 0..5 {
            let request = message();
            replicas.passes(number % 2, &request).await;
            replicas
                .rejects((number + 1) % 2, &request, "duplicate")
                .await;
        }
        assert_eq!(replicas.accepted(), 10);
    });
}
