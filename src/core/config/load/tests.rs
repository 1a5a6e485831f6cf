use super::*;
use crate::core::config::settings::{OnStoreError, RedisSettings};
use crate::core::redis::wire::Api;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SID: &str = "AC00000000000000000000000000000001";

fn environment(name: &str) -> Option<String> {
    match name {
        "TWILIO_AUTH_TOKEN" => Some("12345".into()),
        "TWILIO_ACCOUNT_SID" => Some(SID.into()),
        "WEBHOOK_URL" => Some("https://orders.example.com/api/v1/whatsapp/webhook".into()),
        _ => None,
    }
}

fn nothing(_: &str) -> Option<String> {
    None
}

fn problems(json: &str) -> String {
    match load(json.as_bytes(), &environment) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

fn settings(json: &str) -> Settings {
    load(json.as_bytes(), &environment).unwrap_or_else(|problems| panic!("{json}: {problems}"))
}

#[test]
fn three_variables_and_an_empty_configuration_are_complete() {
    for json in ["", "{}", " \n"] {
        let settings = settings(json);
        assert_eq!(settings.mode, Mode::Enforce);
        assert_eq!(settings.keyring.len(), 1);
        let webhook = settings.webhooks.first().expect("one webhook");
        assert!(webhook.path.matches(b"/api/v1/whatsapp/webhook"));
        assert_eq!(webhook.label, "api-v1-whatsapp-webhook");
        assert_eq!(webhook.methods, ["POST"]);
        assert_eq!(webhook.timestamp.freshness.max_age, Span::seconds(300));
        let replay = webhook.replay.as_ref().expect("on by default");
        assert_eq!(replay.rules.longest, Span::seconds(330));
        let rule = webhook.rate_limits.first().expect("one rule by default");
        assert_eq!(
            (rule.limit.requests, rule.limit.window),
            (60, Span::seconds(60))
        );
    }
}

#[test]
fn the_configuration_of_the_contract_loads() {
    let json = r#"{
      "mode": "enforce",
      "accounts": [{"account_sid": "AC00000000000000000000000000000001",
                    "auth_tokens": ["current", {"env": "TWILIO_AUTH_TOKEN"}]}],
      "shared_keys": [{"id": "wsk", "secret": {"env": "TWILIO_AUTH_TOKEN"}}],
      "webhooks": [{"path": "/api/v1/whatsapp/webhook",
                    "url": "https://orders.example.com/api/v1/whatsapp/webhook",
                    "methods": ["POST"]}],
      "public_base_url": "https://orders.example.com",
      "exempt_paths": ["/healthz"],
      "max_body_bytes": 65536,
      "timestamp": {"params": ["Timestamp"], "header": "x-twilio-request-timestamp",
                    "max_age": "300s", "clock_skew": "30s", "required": false},
      "replay": {"window": "300s", "keep": "86400s", "capacity": 65536,
                 "on_full": "reject", "on_duplicate": "reject"},
      "rate_limits": [{"key": "client_ip", "count": "all", "requests": 60, "window": "60s"}],
      "rate_limit_capacity": 16384,
      "store": {"type": "shared_data"},
      "log": {"accepted": false, "max_per_second": 50}
    }"#;
    assert_eq!(settings(json).keyring.len(), 3);
}

#[test]
fn every_mistake_is_named_by_its_path() {
    for (json, expected) in [
        (r#"{"moed": "off"}"#, "moed: unknown field"),
        (
            r#"{"mode": "on"}"#,
            r#"mode: expected "enforce" or "monitor" or "off""#,
        ),
        (r#"[]"#, "configuration: expected an object"),
        (r#"{"mode""#, "configuration: expected JSON"),
        (
            r#"{"accounts": [{"auth_tokens": [""]}]}"#,
            "accounts[0].auth_tokens[0]: expected a secret",
        ),
        (
            r#"{"accounts": [{"auth_tokens": [{"env": "NO"}]}]}"#,
            "accounts[0].auth_tokens[0]: expected a secret in the environment variable NO, which is not set",
        ),
        (
            r#"{"accounts": [{"account_sid": "AC"}]}"#,
            "accounts[0].auth_tokens: this field is missing",
        ),
        (
            r#"{"accounts": [{"account_sid": "12", "auth_tokens": []}]}"#,
            "accounts[0].account_sid: expected an account SID",
        ),
        (r#"{"accounts": {}}"#, "accounts: expected a list"),
        (
            r#"{"shared_keys": [{"id": "a"}]}"#,
            "shared_keys[0].secret: this field is missing",
        ),
        (
            r#"{"shared_keys": [{"id": "a", "secret": ""}]}"#,
            "shared_keys[0].secret: expected a secret",
        ),
        (
            r#"{"webhooks": [{"path": "/a", "url": "orders.example.com"}]}"#,
            "webhooks[0].url: expected an absolute URL",
        ),
        (
            r#"{"webhooks": [{"path": "a", "url": "https://h/a"}]}"#,
            "webhooks[0].path: expected a path that starts with a slash",
        ),
        (
            r#"{"webhooks": [{"path": "/a/*", "url": "https://h/a"}]}"#,
            "webhooks[0].url: expected no url here",
        ),
        (
            r#"{"webhooks": [{"path": "/a/*"}]}"#,
            "webhooks[0].url: expected a url here, or a public_base_url",
        ),
        (
            r#"{"webhooks": [{"path": "/a"}]}"#,
            "webhooks[0].url: expected a url here",
        ),
        (
            r#"{"webhooks": [{}]}"#,
            "webhooks[0].path: this field is missing",
        ),
        (
            r#"{"webhooks": [{"url": "https://h/a"}, {"url": "https://h/a"}]}"#,
            "webhooks[1].path: expected a path that no other webhook has",
        ),
        (
            r#"{"webhooks": [{"url": "https://h/a", "methods": ["post"]}]}"#,
            "webhooks[0].methods[0]: expected a method",
        ),
        (
            r#"{"webhooks": [{"url": "https://h/a", "methods": []}]}"#,
            "webhooks[0].methods: expected at least one",
        ),
        (
            r#"{"webhooks": [{"url": "https://h/a", "replay": {"capacity": 0}}]}"#,
            "webhooks[0].replay.capacity: expected a whole number from 1",
        ),
        (
            r#"{"public_base_url": "https://h?x"}"#,
            "public_base_url: expected a URL without a query",
        ),
        (
            r#"{"exempt_paths": ["healthz"]}"#,
            "exempt_paths[0]: expected a path",
        ),
        (
            r#"{"exempt_paths": ["/API/v1/whatsapp//webhook/"]}"#,
            "exempt_paths[0]: expected a path that is not a webhook's",
        ),
        (
            r#"{"max_body_bytes": 0}"#,
            "max_body_bytes: expected a whole number from 1",
        ),
        (
            r#"{"max_body_bytes": "1"}"#,
            "max_body_bytes: expected a whole number",
        ),
        (
            r#"{"timestamp": {"max_age": 300}}"#,
            "timestamp.max_age: expected a duration",
        ),
        (
            r#"{"timestamp": {"max_age": "5m"}}"#,
            "timestamp.max_age: expected a duration",
        ),
        (
            r#"{"timestamp": {"header": "x y"}}"#,
            "timestamp.header: expected a header's name",
        ),
        (
            r#"{"replay": "on"}"#,
            r#"replay: expected "off" or an object"#,
        ),
        (
            r#"{"replay": {"window": "0s"}}"#,
            "replay.window: expected a duration",
        ),
        (
            r#"{"replay": {"on_full": "drop"}}"#,
            r#"replay.on_full: expected "reject" or "evict_oldest""#,
        ),
        (
            r#"{"rate_limits": [{"key": "ip", "requests": 1, "window": "1s"}]}"#,
            "rate_limits[0].key: expected",
        ),
        (
            r#"{"rate_limits": [{"key": "param:", "requests": 1, "window": "1s"}]}"#,
            "rate_limits[0].key: expected",
        ),
        (
            r#"{"rate_limits": [{"key": "client_ip", "requests": 0, "window": "1s"}]}"#,
            "rate_limits[0].requests: expected",
        ),
        (
            r#"{"rate_limits": [{"key": "client_ip", "requests": 1, "window": "0s"}]}"#,
            "rate_limits[0].window: expected",
        ),
        (
            r#"{"rate_limits": [{"key": "client_ip", "requests": 1}]}"#,
            "rate_limits[0].window: this field is missing",
        ),
        (
            r#"{"rate_limit_capacity": -1}"#,
            "rate_limit_capacity: expected",
        ),
        (
            r#"{"store": {"type": "memcached"}}"#,
            "store.type: expected",
        ),
        (
            r#"{"log": {"accepted": "yes"}}"#,
            "log.accepted: expected true or false",
        ),
        (
            r#"{"trust_original_path": 1}"#,
            "trust_original_path: expected true or false",
        ),
    ] {
        let found = problems(json);
        assert!(
            found.contains(expected),
            "{json}\n  {found}\n  lacks {expected}"
        );
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let found = problems(r#"{"mode": 1, "replay": {"keep": 1, "x": 2}, "log": []}"#);
    for path in ["mode:", "replay.keep:", "replay.x:", "log:"] {
        assert!(found.contains(path), "{found}");
    }
}

#[test]
fn no_mistake_shows_a_value() {
    for json in [
        r#"{"accounts": [{"auth_tokens": "hunter2"}], "mode": "hunter2"}"#,
        r#"{"store": {"type": "redis", "cluster": "c", "api": "upstash", "token": "hunter2 \n"}}"#,
        r#"{"store": {"type": "redis", "cluster": "c", "api": "webdis", "username": "hunter2:",
                      "password": "hunter2", "token": "hunter2", "on_error": "hunter2"}}"#,
    ] {
        let found = problems(json);
        assert!(!found.is_empty(), "{json}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}

#[test]
fn a_store_in_redis_is_reached_with_what_it_asks_for() {
    let redis = |json: &str| match settings(json).store {
        StoreSettings::Redis(redis) => redis,
        StoreSettings::SharedData => panic!("{json}"),
    };
    let least = redis(r#"{"store": {"type": "redis", "cluster": "c", "api": "webdis"}}"#);
    assert_eq!(
        (
            least.api,
            least.authority.as_str(),
            least.key_prefix.as_str()
        ),
        (Api::Webdis, "c", "twf")
    );
    assert_eq!(
        (least.timeout, least.on_error),
        (Span(100), OnStoreError::Reject)
    );
    assert!(least.authorization.is_none());
    let header =
        |redis: RedisSettings| redis.authorization.map(|secret| secret.expose().to_owned());
    let basic = redis(
        r#"{"store": {"type": "redis", "cluster": "c", "api": "webdis",
                      "username": "envoy", "password": {"env": "TWILIO_AUTH_TOKEN"}}}"#,
    );
    assert_eq!(header(basic).as_deref(), Some("Basic ZW52b3k6MTIzNDU="));
    let bearer = redis(
        r#"{"store": {"type": "redis", "cluster": "c", "api": "upstash", "authority": "x.upstash.io",
                      "token": {"env": "TWILIO_AUTH_TOKEN"}, "on_error": "local"}}"#,
    );
    assert_eq!(
        (bearer.on_error, bearer.authority.as_str()),
        (OnStoreError::Local, "x.upstash.io")
    );
    assert_eq!(header(bearer).as_deref(), Some("Bearer 12345"));
}

#[test]
fn no_webhook_at_all_is_refused_and_no_key_at_all_is_not() {
    let found = load(b"{}", &nothing).expect_err("no webhook").to_string();
    assert!(
        found.contains("webhooks: expected at least one webhook"),
        "{found}"
    );
    let json = br#"{"webhooks": [{"url": "https://h/a"}]}"#;
    let settings = load(json, &nothing).expect("no key is no reason not to load");
    assert!(settings.keyring.is_empty());
}

#[test]
fn the_environment_sets_what_the_json_leaves_out() {
    let variables = |name: &str| match name {
        "TWILIO_CLOCK_SKEW_MS" => Some("5000".into()),
        "TWILIO_NONCE_WINDOW_MS" => Some("60000".into()),
        "FORCE_TWILIO_VERIFY" => Some("true".into()),
        other => environment(other),
    };
    let loaded = load(br#"{"mode": "off"}"#, &variables).expect("valid");
    assert_eq!(loaded.mode, Mode::Enforce);
    let webhook = loaded.webhooks.first().expect("one");
    assert_eq!(webhook.timestamp.freshness.max_age, Span::seconds(60));
    assert_eq!(webhook.timestamp.freshness.clock_skew, Span::seconds(5));
    let replay = webhook.replay.as_ref().expect("on");
    assert_eq!(replay.rules.window, Span::seconds(60));
    let json = br#"{"timestamp": {"max_age": "10s"}, "replay": {"window": "20s"}}"#;
    let loaded = load(json, &variables).expect("valid");
    let webhook = loaded.webhooks.first().expect("one");
    assert_eq!(webhook.timestamp.freshness.max_age, Span::seconds(10));
    assert_eq!(
        webhook.replay.as_ref().expect("on").rules.window,
        Span::seconds(20)
    );
}

#[test]
fn a_bad_variable_is_named() {
    for (name, value) in [
        ("TWILIO_ACCOUNT_SID", "nobody"),
        ("TWILIO_CLOCK_SKEW_MS", "30s"),
        ("TWILIO_NONCE_WINDOW_MS", "0"),
        ("FORCE_TWILIO_VERIFY", "yes"),
        ("WEBHOOK_URL", "orders.example.com"),
    ] {
        let variables = |asked: &str| {
            if asked == name {
                Some(value.to_owned())
            } else {
                environment(asked)
            }
        };
        let found = load(b"{}", &variables).expect_err(name).to_string();
        assert!(found.starts_with(&format!("{name}: expected")), "{found}");
    }
}

#[test]
fn a_webhook_overrides_field_by_field() {
    let json = r#"{"replay": {"keep": "10s", "on_duplicate": "acknowledge"},
                   "timestamp": {"max_age": "10s"},
                   "webhooks": [
                     {"url": "https://h/a", "replay": {"window": "7s"}, "rate_limits": [],
                      "timestamp": {"required": true}},
                     {"url": "https://h/b", "replay": "off"}]}"#;
    let settings = settings(json);
    let [first, second] = settings.webhooks.as_slice() else {
        panic!("two webhooks");
    };
    let replay = first.replay.as_ref().expect("on");
    assert_eq!(replay.rules.window, Span::seconds(7));
    assert_eq!(replay.rules.keep, Span::seconds(10));
    assert_eq!(replay.on_duplicate, OnDuplicate::Acknowledge);
    assert!(first.timestamp.required && first.rate_limits.is_empty());
    assert_eq!(first.timestamp.freshness.max_age, Span::seconds(10));
    assert!(second.replay.is_none() && !second.timestamp.required);
    assert_eq!(second.rate_limits.len(), 1);
}

#[test]
fn labels_are_plain_and_differ() {
    let json = r#"{"public_base_url": "https://h",
                   "webhooks": [{"path": "/A/b"}, {"path": "/a/b"}, {"path": "/a-b/*"}, {"path": "/"}]}"#;
    let labels: Vec<_> = settings(json)
        .webhooks
        .into_iter()
        .map(|hook| hook.label)
        .collect();
    assert_eq!(labels, ["a-b", "a-b-2", "a-b-all", "root"]);
}

#[test]
fn a_header_of_null_turns_it_off() {
    let settings = settings(r#"{"timestamp": {"header": null}}"#);
    assert!(
        settings
            .webhooks
            .iter()
            .all(|webhook| webhook.timestamp.header.is_none())
    );
}
