use std::time::Duration;

use serde_json::{Value, json};

use crate::replicas::{Replicas, plugin};
use support::messages::message;
use support::{assert_passed, assert_rejected};

fn with_room_for_five(replay: Value) -> Replicas {
    Replicas::start(&plugin(json!({"replay": replay})))
}

/// Five requests, at one Envoy and the other in turn.
async fn fill(replicas: &Replicas) {
    for number in 0..5 {
        assert_passed(&replicas.send(number % 2, &message()).await);
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
            assert_rejected(&replicas.send(envoy, &sixth).await, 503, "store_full");
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
        assert_passed(&replicas.send(0, &sixth).await);
        assert_rejected(&replicas.send(1, &sixth).await, 409, "duplicate");
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
            assert_passed(&replicas.send(number % 2, &request).await);
            assert_rejected(
                &replicas.send((number + 1) % 2, &request).await,
                409,
                "duplicate",
            );
        }
        assert_eq!(replicas.accepted(), 10);
    });
}
