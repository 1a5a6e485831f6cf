use serde_json::{Value, json};

use crate::replicas::{Replicas, assert_well, plugin, send, setup, store_with};
use crate::upstash;
use support::http1::PATIENCE;
use support::messages::{forged, message, whatsapp};
use support::process::{in_time, until};
use support::redis::{Redis, store};
use support::tap::Behaviour;
use support::{assert_passed, assert_rejected};

#[test]
fn with_webdis_wrong_password_nothing_passes() {
    let change = |setup: support::envoy::Setup| setup.env("WEBDIS_PASSWORD", "guessed");
    Replicas::of(1, change, &plugin(json!({}))).run(async |replicas| {
        for _ in 0..10 {
            replicas.rejects(0, &message(), "store_unavailable").await;
        }
        replicas
            .rejects(0, &forged(&whatsapp()), "invalid_signature")
            .await;
        assert_eq!(replicas.accepted(), 0);
        assert_eq!(replicas.redis.keys(), [""; 0]);
    });
}

#[test]
fn without_a_password_none_is_sent() {
    let mut store = store();
    let fields = store.as_object_mut().expect("an object");
    fields.remove("username");
    fields.remove("password");
    let plugin = plugin(json!({"store": store}));
    Replicas::of(1, |setup| setup, &plugin).run(async |replicas| {
        replicas.rejects(0, &message(), "store_unavailable").await;
        for received in replicas.proxy.since(0) {
            assert_eq!(received.header("authorization"), None);
        }
    });
}

#[test]
fn webdis_is_asked_as_it_wants_to_be() {
    let plugin = plugin(json!({"store": store_with(json!({"authority": "webdis.internal:7379"}))}));
    Replicas::start(&plugin).run(async |replicas| {
        replicas.passes(0, &message()).await;
        replicas.proxy.settled().await;
        let asked = replicas.proxy.since(0);
        assert!(!asked.is_empty());
        for received in asked {
            assert_eq!(
                (received.method.as_str(), received.target.as_str()),
                ("POST", "/")
            );
            assert_eq!(received.header("host"), Some("webdis.internal:7379"));
            let body = String::from_utf8_lossy(&received.body).into_owned();
            assert!(
                body.starts_with("EVALSHA/") || body.starts_with("EVAL/"),
                "{body}"
            );
            assert!(
                body.len() < 65_536,
                "webdis.json takes no more: {}",
                body.len()
            );
        }
    });
}

/// Two Envoys in front of the stub, with this token.
fn with_upstash(token: &Value, test: impl AsyncFnOnce(&[support::envoy::Envoy], &Redis)) {
    let redis = Redis::start();
    let upstash = upstash::start(redis.address());
    let store = json!({
        "type": "redis",
        "cluster": "redis_over_http",
        "api": "upstash",
        "token": token,
        "timeout": "5s",
    });
    let plugin = plugin(json!({"store": store}));
    let start = || {
        let envoy = setup(&plugin, upstash.address).start();
        envoy.tap.behave(Behaviour::Answer(200));
        envoy
    };
    let envoys = [start(), start()];
    in_time(PATIENCE * 3, Box::pin(test(&envoys, &redis)));
    envoys.iter().for_each(assert_well);
}

#[test]
fn a_service_that_speaks_as_upstash_does_is_a_store_like_any_other() {
    with_upstash(&json!({"env": "UPSTASH_TOKEN"}), async |envoys, redis| {
        for first in 0..2 {
            let request = message();
            assert_passed(&send(&envoys[first], &request).await);
            for envoy in envoys {
                assert_rejected(&send(envoy, &request).await, "duplicate");
            }
        }
        // Rejected by its service, and then by nobody.
        envoys[0].tap.behave(Behaviour::Answer(500));
        let request = message();
        assert_eq!(send(&envoys[0], &request).await.status, 500);
        until("its claim is given up", async || {
            (send(&envoys[1], &request).await.status == 200).then_some(())
        })
        .await;
        redis.command(&["SCRIPT", "FLUSH"]);
        assert_passed(&send(&envoys[1], &message()).await);
        assert!(redis.keys().iter().all(|key| key.starts_with("{twf:1}:")));
    });
}

#[test]
fn with_upstash_wrong_token_nothing_passes() {
    with_upstash(&json!("guessed-and-long-enough"), async |envoys, redis| {
        for envoy in envoys {
            let answer = send(envoy, &message()).await;
            assert_rejected(&answer, "store_unavailable");
            assert_eq!(envoy.tap.count(), 0);
        }
        assert_eq!(redis.keys(), [""; 0]);
    });
}
