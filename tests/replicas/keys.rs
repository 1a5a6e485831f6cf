use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::replicas::{Replicas, plugin, store_with};
use support::messages::{ACCOUNT, PHONE, TEXT, TOKEN, WEBHOOK, forged, message, whatsapp};
use support::redis::Redis;
use support::rule;
use support::wire::Request;

/// Nothing of a request may be read in Redis by who gets at its memory or its file.
fn assert_tells_nothing(redis: &Redis, requests: &[Request]) {
    let written = redis.written();
    assert!(!written.is_empty());
    let holds = |part: &[u8]| written.windows(part.len()).any(|other| other == part);
    assert!(holds(b"{twf:1}:"), "it is the right file");
    for secret in [
        PHONE,
        TEXT,
        TOKEN,
        ACCOUNT,
        "Margherita",
        WEBHOOK,
        "whatsapp",
        "127.16.",
        "orders.example.com",
    ] {
        assert!(!holds(secret.as_bytes()), "{secret:?} is in Redis");
    }
    for request in requests {
        let signature = request.get("x-twilio-signature").expect("a signature");
        let mac = STANDARD.decode(signature).expect("base64");
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        for form in [
            signature,
            &mac,
            hex.as_bytes(),
            hex.to_uppercase().as_bytes(),
        ] {
            assert!(!holds(form), "a signature is in Redis");
        }
    }
}

#[test]
fn every_key_has_the_prefix_is_hashed_and_expires() {
    let rules = json!([
        rule("client_ip", "all", 1000, "60s"),
        rule("client_ip", "rejected", 1000, "60s"),
        rule("webhook", "all", 1000, "60s"),
        rule("account", "authenticated", 1000, "60s"),
        rule("param:From", "authenticated", 1000, "60s"),
    ]);
    Replicas::start(&plugin(json!({"rate_limits": rules}))).run(async |replicas| {
        let requests: Vec<_> = (0..20).map(|_| message()).collect();
        for (number, request) in requests.iter().enumerate() {
            replicas.passes(number % 2, request).await;
            replicas.send(number % 2, &forged(&whatsapp())).await;
        }
        replicas.proxy.settled().await;
        let keys = replicas.redis.keys();
        assert!(keys.len() > 20, "{keys:?}");
        for key in &keys {
            assert!(key.starts_with("{twf:1}:"), "{key}");
            let printable = key.bytes().all(|byte| byte.is_ascii_graphic());
            assert!(printable, "{key:?}");
            let left = replicas.redis.command(&["PTTL", key]).number();
            // A day is how long a nonce may be kept; the list of them all stays a little longer.
            assert!((1..=87_000_000).contains(&left), "{key}: {left}");
        }
        assert_tells_nothing(&replicas.redis, &requests);
    });
}

#[test]
fn another_prefix_is_another_memory() {
    let changes = json!({"store": store_with(json!({"key_prefix": "orders-2"}))});
    let redis = Redis::with_prefix("orders-2");
    let replicas = Replicas::with_redis(redis, 2, |setup| setup, &plugin(changes));
    replicas.run(async |replicas| {
        replicas.passes(0, &message()).await;
        replicas.proxy.settled().await;
        let keys = replicas.redis.keys();
        assert!(!keys.is_empty());
        assert!(
            keys.iter().all(|key| key.starts_with("{orders-2:1}:")),
            "{keys:?}"
        );
    });
}
