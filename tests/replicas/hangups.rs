use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, metric, plugin};
use crate::traffic::assert_none_twice;
use support::envoy::{Envoy, new_address};
use support::filter_host::{FilterHost, filter_host};
use support::http1::Http1;
use support::messages::message;
use support::process::until;
use support::resident::resident;
use support::rule;
use support::tap::Behaviour;
use support::wire::Request;
use support::{size, stat};

/// Sends a request, and leaves while Redis is asked.
async fn leave(replicas: &Replicas, envoy: usize, request: &Request, abruptly: bool) {
    let asked = replicas.proxy.count();
    let mut client = Http1::connect(replicas.envoys[envoy].address(), new_address()).await;
    client.write(&request.bytes()).await;
    while replicas.proxy.count() == asked {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if abruptly {
        client.reset();
    }
}

#[test]
fn a_sender_that_hangs_up_while_redis_is_asked_leaves_nothing_claimed() {
    // Where there is an early limit, the first question is not the claim.
    for rules in [json!([]), json!([rule("client_ip", "all", 1000, "60s")])] {
        Replicas::start(&plugin(json!({"rate_limits": rules}))).run(async |replicas| {
            replicas.recovered().await;
            let slow = Duration::from_millis(150);
            for way in [Way::LateAnswer(slow), Way::LateRequest(slow)] {
                for (envoy, abruptly) in [(0, true), (1, false)] {
                    let request = message();
                    let before = replicas.accepted();
                    replicas.proxy.set(way);
                    leave(replicas, envoy, &request, abruptly).await;
                    // What it has asked for is answered, and what it has claimed given up.
                    replicas.proxy.settled().await;
                    tokio::time::sleep(slow).await;
                    assert_eq!(replicas.accepted(), before, "nobody waits for it any more");
                    replicas.proxy.set(Way::Open);
                    replicas.passes(1 - envoy, &request).await;
                    for envoy in [0, 1] {
                        replicas.rejects(envoy, &request, "duplicate").await;
                    }
                }
            }
            assert_none_twice(replicas);
        });
    }
}

/// Once three more deliveries passed in each window, for ever.
#[test]
fn hang_ups_at_all_envoys_are_counted_together_and_not_anew_in_each_window() {
    let plugin = plugin(json!({"replay": {"window": "1s", "keep": "3600s"}}));
    Replicas::start(&plugin).run(async |replicas| {
        replicas.recovered().await;
        let request = message();
        let before = replicas.accepted();
        for number in 0..4 {
            let envoy = &replicas.envoys[number % 2];
            envoy.tap.behave(Behaviour::Silence);
            let arrived = envoy.tap.count();
            let mut client = Http1::connect(envoy.address(), new_address()).await;
            client.write(&request.bytes()).await;
            envoy.tap.wait_for(arrived, 1).await;
            client.reset();
            tokio::time::sleep(Duration::from_millis(1500)).await;
            replicas.proxy.settled().await;
        }
        for number in 0..4 {
            replicas.rejects(number % 2, &request, "duplicate").await;
        }
        assert_eq!(replicas.accepted() - before, 4);
    });
}

/// Connections to the store: those that are open, and all that ever were.
fn connections(envoy: &Envoy) -> [u64; 2] {
    let connections = |which| format!("^cluster.redis_over_http.upstream_cx_{which}$");
    ["active", "total"].map(|which| stat(envoy.admin, &connections(which)))
}

/// So many senders leave, 16 at a time. Returns what they had sent.
async fn many_leave(envoy: &Envoy, count: u64) -> Vec<Request> {
    const AT_A_TIME: u64 = 16;
    let mut clients = JoinSet::new();
    for client in 0..AT_A_TIME {
        let (address, from) = (envoy.address(), new_address());
        clients.spawn(async move {
            let mut sent = Vec::new();
            for _ in (client..count).step_by(AT_A_TIME as usize) {
                let request = message();
                let mut connection = Http1::connect(address, from).await;
                connection.write(&request.bytes()).await;
                tokio::time::sleep(Duration::from_millis(15)).await;
                connection.reset();
                sent.push(request);
            }
            sent
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

#[test]
fn many_senders_that_hang_up_leave_no_memory_and_no_connections_behind() {
    let replicas = Replicas::of(2, |setup| setup.workers(1), &plugin(json!({})));
    replicas.run(async |replicas| {
        let envoy = &replicas.envoys[0];
        replicas.recovered().await;
        replicas.proxy.set(Way::LateAnswer(Duration::from_millis(30)));
        many_leave(envoy, 300).await;
        replicas.proxy.settled().await;
        let asked = metric(envoy, "store_callouts");
        let (memory, [_, opened]) = (resident(envoy.pid()), connections(envoy));

        let count = size("REPLICAS_HANGUPS", 2000);
        let sent = many_leave(envoy, count).await;
        replicas.proxy.settled().await;
        let asked = metric(envoy, "store_callouts") - asked;
        let (after, [open, all]) = (resident(envoy.pid()), connections(envoy));
        println!(
            "{count} hung up, {asked} questions; resident {} KiB, then {} KiB; {open} connections to the store, {} new",
            memory >> 10,
            after >> 10,
            all - opened
        );
        assert!(asked >= count / 2, "most had not asked yet: {asked} of {count}");
        // A connection is not closed because somebody has left: there are as many as questions at the same moment.
        assert!(open <= 64, "{open}");
        // In a native module a call is its stream's, and ends with it.
        if filter_host() == FilterHost::Wasm {
            assert!(all - opened <= 64, "{} new connections", all - opened);
        }
        assert!(after < memory + (4 << 20), "{memory} bytes, then {after}");
        assert_eq!(metric(envoy, "store_callout_failures"), 0);
        assert_eq!(metric(envoy, "store_settlements_lost"), 0);

        replicas.proxy.set(Way::Open);
        let nonces = replicas.redis.keys();
        let nonces = nonces.iter().filter(|key| key.starts_with("{twf:1}:n:"));
        let values = nonces.map(|key| replicas.redis.command(&["GET", key]).text());
        let claimed = values.filter(|value| value.starts_with('p')).count();
        assert_eq!(claimed, 0, "claims of senders that have left");
        // Those whose answer had come before they left are with the service.
        let taken = envoy.tap.count();
        let mut passed = 0;
        for request in sent.iter().step_by(sent.len() / 20) {
            passed += usize::from(replicas.send(1, request).await.status == 200);
        }
        assert!(passed >= 15, "{passed} of 20 pass elsewhere, {taken} had been taken");
    });
}

/// At an Envoy that does not know it yet. Each time, nobody knows whether its claim has arrived.
#[test]
fn a_captured_request_that_is_sent_and_given_up_many_times_leaves_nothing_in_redis() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        replicas.recovered().await;
        let request = message();
        assert_eq!(replicas.passes(0, &request).await.status, 200);
        replicas.proxy.settled().await;
        let before = replicas.redis.keys();
        let asked = replicas.proxy.count();

        replicas
            .proxy
            .set(Way::LateAnswer(Duration::from_millis(60)));
        for _ in 0..40 {
            leave(replicas, 1, &request, true).await;
        }
        replicas.proxy.set(Way::Open);
        replicas.proxy.settled().await;
        let asked = replicas.proxy.count() - asked;
        assert!(asked >= 40, "it was not asked for: {asked}");
        let mut sorted = [before, replicas.redis.keys()];
        sorted.iter_mut().for_each(|keys| keys.sort_unstable());
        let [before, after] = sorted;
        assert_eq!(after, before);
        replicas.rejects(1, &request, "duplicate").await;
    });
}

#[test]
fn senders_that_hang_up_do_not_keep_a_worker_from_seeing_that_redis_is_back() {
    // Without claims, of which Redis would be told afterwards, nothing else looks.
    let rules = json!([rule("client_ip", "all", 100_000, "600s")]);
    let plugin = plugin(json!({"rate_limits": rules, "replay": "off"}));
    let replicas = Replicas::of(1, |setup| setup.workers(1), &plugin);
    replicas.run(async |replicas| {
        let envoy = &replicas.envoys[0];
        replicas.recovered().await;
        replicas.proxy.set(Way::Close);
        until("the worker gives up", async || {
            replicas.send(0, &message()).await;
            (metric(envoy, "store_circuits_open") > 0).then_some(())
        })
        .await;
        // Longer than any of them stays.
        replicas
            .proxy
            .set(Way::LateAnswer(Duration::from_millis(60)));
        let leave = async {
            loop {
                many_leave(envoy, 160).await;
            }
        };
        let closed = until("the worker asks again", async || {
            tokio::time::sleep(Duration::from_millis(50)).await;
            // A native worker has no timer: it takes somebody who stays.
            if filter_host() == FilterHost::Native {
                replicas.send(0, &message()).await;
            }
            (metric(envoy, "store_circuits_open") == 0).then_some(())
        });
        tokio::select! {
            () = leave => {}
            () = closed => {}
        }
    });
}
