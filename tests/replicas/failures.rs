use std::time::Duration;

use serde_json::json;

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, metric, plugin, store_with};
use crate::traffic::{Outcome, Traffic, assert_none_twice, assert_none_twice_at_one};
use support::messages::{forged, message, whatsapp};
use support::process::until;
use support::size;
use support::tap::Behaviour;
use support::wire::Request;
use support::{assert_passed, assert_rejected};

/// How long an answer may take when the store does not answer within its 0.1 s. What is asserted is that somebody gives
/// up, and not how fast this machine is.
const SLACK: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Redis,
    Webdis,
    /// Redis has used up its memory: it reads, and writes nothing.
    Full,
    /// Redis is stopped, and goes on later with all that was asked.
    Hung,
    Proxy(Way),
}

const FAULTS: [Fault; 17] = [
    Fault::Redis,
    Fault::Webdis,
    Fault::Full,
    Fault::Hung,
    Fault::Proxy(Way::LateRequest(Duration::from_millis(400))),
    Fault::Proxy(Way::LateAnswer(Duration::from_millis(400))),
    Fault::Proxy(Way::LostAnswer),
    Fault::Proxy(Way::Silence),
    Fault::Proxy(Way::Close),
    Fault::Proxy(Way::Garbage),
    Fault::Proxy(Way::OtherJson),
    Fault::Proxy(Way::Half),
    Fault::Proxy(Way::Empty),
    Fault::Proxy(Way::Endless),
    Fault::Proxy(Way::OneBehind),
    Fault::Proxy(Way::Status(500)),
    // As Webdis answers where its ACL has no EVAL.
    Fault::Proxy(Way::Status(403)),
];

impl Fault {
    fn inject(self, replicas: &Replicas) {
        match self {
            Self::Redis => replicas.redis.kill(),
            Self::Webdis => replicas.webdis.kill(),
            Self::Full => replicas.redis.limit_memory("1"),
            Self::Hung => replicas.redis.freeze(),
            Self::Proxy(way) => replicas.proxy.set(way),
        }
    }

    /// The rest is [`Replicas::heal`].
    fn end(self, replicas: &Replicas) {
        match self {
            Self::Redis => replicas.redis.start_again(),
            Self::Webdis => replicas.webdis.start_again(),
            Self::Full => replicas.redis.limit_memory("256mb"),
            Self::Hung => replicas.redis.thaw(),
            Self::Proxy(_) => {}
        }
    }
}

/// A store as it is shipped: a tenth of a second, and what is asked for on errors.
fn replicas(on_error: &str) -> Replicas {
    let store = store_with(json!({"timeout": "0.1s", "on_error": on_error}));
    Replicas::start(&plugin(json!({"store": store})))
}

/// Traffic before, during and after a fault.
async fn through(replicas: &Replicas, fault: Fault) -> Outcome {
    let traffic = Traffic::start(&replicas.envoys, 4);
    tokio::time::sleep(Duration::from_millis(100)).await;
    fault.inject(replicas);
    tokio::time::sleep(Duration::from_millis(size("REPLICAS_FAULT_MS", 400))).await;
    fault.end(replicas);
    replicas.heal().await;
    let outcome = traffic.stop().await;
    println!("{fault:?}: {:?}", outcome.counts());
    outcome
}

/// A request that was never accepted passes in the end, once. It may be rejected for a while: its claim may have got
/// through when its answer did not.
async fn assert_passes_in_the_end(replicas: &Replicas, request: &Request, envoy: usize) {
    until("it passes", async || {
        let answer = replicas.send(envoy, request).await;
        match (answer.status, answer.reason().as_str()) {
            (200, _) => Some(()),
            (409, "duplicate") | (503, "store_unavailable") => None,
            _ => panic!("{answer:?}"),
        }
    })
    .await;
    for envoy in 0..replicas.envoys.len() {
        replicas.rejects(envoy, request, "duplicate").await;
    }
}

#[test]
fn with_reject_nothing_passes_twice_whatever_happens_to_the_store() {
    replicas("reject").run(async |replicas| {
        for fault in FAULTS {
            let outcome = through(replicas, fault).await;
            let allowed = [(200, ""), (409, "duplicate"), (503, "store_unavailable")];
            outcome.assert_answers(&allowed, SLACK);
            let counts = outcome.counts();
            assert!(counts.contains_key(&(200, "")), "{fault:?}: {counts:?}");
            assert!(
                counts.contains_key(&(503, "store_unavailable")),
                "{fault:?} goes unnoticed: {counts:?}"
            );
            assert_none_twice(replicas);
            let rejected = outcome.rejected();
            for (number, request) in rejected.into_iter().take(4).enumerate() {
                assert_passes_in_the_end(replicas, request, number % 2).await;
            }
            assert_none_twice(replicas);
        }
        for envoy in &replicas.envoys {
            assert!(metric(envoy, "store_callout_failures") > 0);
            assert_eq!(metric(envoy, "store_fallbacks"), 0);
        }
    });
}

#[test]
fn with_local_requests_pass_and_each_envoy_knows_its_own_whatever_happens_to_the_store() {
    // Which answer it is that cannot be used makes no difference here: one of a kind.
    let one_of_a_kind = |fault: &Fault| {
        let others = [Way::OtherJson, Way::Half, Way::Empty, Way::Status(403)];
        !matches!(fault, Fault::Proxy(way) if others.contains(way))
    };
    replicas("local").run(async |replicas| {
        for fault in FAULTS.into_iter().filter(one_of_a_kind) {
            let outcome = through(replicas, fault).await;
            outcome.assert_answers(&[(200, ""), (409, "duplicate")], SLACK);
            // Each was sent to one Envoy twice, then to the other: the first delivery passes, the second never does,
            // and the third while the store is there does not, either.
            let counts = outcome.counts();
            let passed = counts.get(&(200, "")).copied().unwrap_or_default();
            let all = outcome.requests.len();
            assert!((all..all * 2).contains(&passed), "{fault:?}: {counts:?}");
            assert_none_twice_at_one(replicas);
        }
        for envoy in &replicas.envoys {
            assert!(metric(envoy, "store_fallbacks") > 0);
        }
    });
}

#[test]
fn without_the_store_unauthenticated_clients_are_still_rejected_with_their_own_reasons() {
    for on_error in ["reject", "local"] {
        replicas(on_error).run(async |replicas| {
            replicas.webdis.kill();
            for number in 0..20 {
                replicas
                    .rejects(number % 2, &forged(&whatsapp()), "invalid_signature")
                    .await;
            }
            assert_eq!(replicas.accepted(), 0);
        });
    }
}

#[test]
fn a_cluster_that_envoy_does_not_have_is_a_store_that_fails() {
    for (on_error, status, reason) in [("reject", 503, "store_unavailable"), ("local", 200, "")] {
        let store = store_with(json!({"cluster": "nowhere", "on_error": on_error}));
        Replicas::start(&plugin(json!({"store": store}))).run(async |replicas| {
            let request = message();
            let answer = replicas.send(0, &request).await;
            assert_eq!((answer.status, answer.reason().as_str()), (status, reason));
            if on_error == "local" {
                replicas.rejects(0, &request, "duplicate").await;
            } else {
                assert_eq!(replicas.accepted(), 0);
            }
            assert_eq!(replicas.proxy.count(), 0);
        });
    }
}

#[test]
fn limits_go_on_at_each_envoy_by_itself_where_the_store_fails_and_that_is_asked_for() {
    let rules = json!([support::rule("webhook", "authenticated", 3, "600s")]);
    let store = store_with(json!({"timeout": "0.1s", "on_error": "local"}));
    let plugin = plugin(json!({"rate_limits": rules, "store": store}));
    Replicas::start(&plugin).run(async |replicas| {
        replicas.redis.kill();
        for envoy in [0, 1] {
            for _ in 0..3 {
                replicas.passes(envoy, &message()).await;
            }
            replicas.rejects(envoy, &message(), "rate_limited").await;
        }
        assert_eq!(replicas.accepted(), 6);
    });
}

#[test]
fn what_was_accepted_before_redis_died_is_rejected_after_it_has_come_back() {
    replicas("reject").run(async |replicas| {
        let traffic = Traffic::start(&replicas.envoys, 4);
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            replicas.redis.kill();
            tokio::time::sleep(Duration::from_millis(200)).await;
            replicas.redis.start_again();
        }
        replicas.recovered().await;
        let outcome = traffic.stop().await;
        println!("{:?}", outcome.counts());
        assert_none_twice(replicas);
        // An Envoy that knows nothing but what is in Redis.
        let store = store_with(json!({"timeout": "5s"}));
        let later = replicas.another(&plugin(json!({"store": store})));
        let accepted: Vec<_> = {
            let mut sent = outcome.sent.iter().filter(|sent| sent.status == 200);
            std::iter::from_fn(|| sent.next())
                .map(|sent| &outcome.requests[sent.request])
                .collect()
        };
        assert!(accepted.len() > 20, "{}", accepted.len());
        for request in accepted {
            let answer = crate::replicas::send(&later, request).await;
            assert_rejected(&answer, "duplicate");
        }
        assert_eq!(later.tap.count(), 0);
    });
}

#[test]
fn a_request_under_way_when_the_store_dies_is_not_lost_and_its_repeat_does_not_pass() {
    // With time enough: the first request has to pass, and the store dies at once.
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        let slow = Duration::from_secs(1);
        replicas.envoys[0]
            .tap
            .behave(Behaviour::AnswerAfter(slow, 200));
        let request = message();
        let sent = async { replicas.send(0, &request).await };
        let kill = async {
            replicas.envoys[0].tap.wait_for(0, 1).await;
            replicas.proxy.set(Way::Close);
        };
        let (answer, ()) = tokio::join!(sent, kill);
        assert_passed(&answer);
        replicas.envoys[0].tap.behave(Behaviour::Answer(200));
        replicas.heal().await;
        for envoy in [0, 1] {
            replicas.rejects(envoy, &request, "duplicate").await;
        }
    });
}

#[test]
fn a_dead_store_is_left_alone_for_most_requests() {
    replicas("reject").run(async |replicas| {
        replicas.recovered().await;
        for way in [Way::Silence, Way::Close, Way::Status(500)] {
            replicas.proxy.set(way);
            let before = replicas.proxy.count();
            let traffic = Traffic::start(&replicas.envoys, 8);
            tokio::time::sleep(Duration::from_secs(2)).await;
            let open: u64 = replicas.envoys.iter().map(|envoy| metric(envoy, "store_circuits_open")).sum();
            let outcome = traffic.stop().await;
            let (asked, answered) = (replicas.proxy.count() - before, outcome.sent.len());
            println!("{way:?}: {asked} of {answered} requests went to the store, {open} workers had given up");
            assert!(answered > 300, "{answered}");
            assert!(asked * 5 < answered, "{asked} of {answered}");
            assert!(asked > 0, "nobody looks whether it is back");
            assert!(open > 0);
            outcome.assert_answers(&[(503, "store_unavailable")], SLACK);
            replicas.heal().await;
            replicas.passes(0, &message()).await;
        }
    });
}
