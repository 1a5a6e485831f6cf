use std::time::Duration;

use serde_json::{Value, json};

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, assert_well, metric, plugin, send, setup};
use support::assert_passed;
use support::live::Live;
use support::messages::message;
use support::process::until;
use support::stat;
use support::tap::Behaviour;

fn in_redis() -> Value {
    plugin(json!({}))
}

fn in_shared_data() -> Value {
    plugin(json!({"store": {"type": "shared_data"}}))
}

/// An Envoy more, whose configuration can be replaced, and then stays for a second.
fn live(replicas: &Replicas) -> Live {
    let address = replicas.proxy.address;
    let live = Live::start(&in_redis(), |plugin| {
        setup(plugin, address).workers(1).drain_seconds(1)
    });
    live.envoy.tap.behave(Behaviour::Answer(200));
    live
}

/// Replaces the configuration, and waits until the one before has ended.
async fn replace(live: &Live, plugin: &Value) {
    live.update(plugin).await;
    until("the configuration before has ended", async || {
        let draining = "listener_manager.total_filter_chains_draining";
        (stat(live.envoy.admin, draining) == 0).then_some(())
    })
    .await;
    // Its end is told to the workers, and counted.
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Sends a request that is accepted, and whose outcome Redis does not hear.
async fn accept_untold(replicas: &Replicas, live: &Live) {
    let envoy = &live.envoy;
    let (request, arrived) = (message(), envoy.tap.count());
    let slow = Duration::from_millis(500);
    envoy.tap.behave(Behaviour::AnswerAfter(slow, 200));
    let sent = async { send(envoy, &request).await };
    let cut = async {
        envoy.tap.wait_for(arrived, 1).await;
        replicas.proxy.set(Way::Close);
    };
    let (answer, ()) = tokio::join!(sent, cut);
    assert_passed(&answer);
    envoy.tap.behave(Behaviour::Answer(200));
}

/// What Redis knows of requests that were accepted: `k`, or `p` where nobody has told what became of them.
fn known(replicas: &Replicas) -> Vec<String> {
    let keys = replicas.redis.keys();
    let nonces = keys.iter().filter(|key| key.contains("}:n:"));
    let value = |key: &String| replicas.redis.command(&["GET", key]).text();
    nonces.map(|key| value(key)[..1].to_owned()).collect()
}

#[test]
fn what_a_configuration_had_not_told_yet_when_it_ended_the_next_one_tells() {
    Replicas::of(1, |setup| setup.workers(1), &plugin(json!({}))).run(async |replicas| {
        let live = live(replicas);
        accept_untold(replicas, &live).await;
        assert_eq!(known(replicas), ["p"], "nobody has told");
        replace(&live, &in_redis()).await;
        assert_eq!(known(replicas), ["p"], "nobody has told");
        replicas.proxy.set(Way::Open);
        until("the next configuration tells", async || {
            (known(replicas) == ["k"]).then_some(())
        })
        .await;
        assert_eq!(metric(&live.envoy, "store_settlements_lost"), 0);
        assert_well(&live.envoy);
    });
}

#[test]
fn what_nobody_is_left_to_tell_is_counted_and_no_gauge_shows_a_circuit_that_is_gone() {
    Replicas::of(1, |setup| setup.workers(1), &plugin(json!({}))).run(async |replicas| {
        let live = live(replicas);
        let envoy = &live.envoy;
        accept_untold(replicas, &live).await;
        until("a worker gives up", async || {
            send(envoy, &message()).await;
            (metric(envoy, "store_circuits_open") > 0).then_some(())
        })
        .await;
        assert_eq!(metric(envoy, "store_settlements_lost"), 0);
        replace(&live, &in_shared_data()).await;
        assert_eq!(metric(envoy, "store_circuits_open"), 0);
        until("what is lost is counted", async || {
            // A native module counts with the next request.
            send(envoy, &message()).await;
            (metric(envoy, "store_settlements_lost") > 0).then_some(())
        })
        .await;
        assert_well(envoy);
    });
}
