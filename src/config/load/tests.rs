mod pasted;
mod remnants;
mod warnings;

use super::*;
use crate::config::settings::WebhookSettings;
use crate::store::StoreSettings;
use crate::store::redis::settings::{OnStoreError, RedisSettings};
use crate::store::redis::wire::Api;
use crate::tests::{assert_says, rows};
use crate::time::Millis;
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

/// What is said of a configuration that is rejected.
#[track_caller]
fn problems(json: &str) -> String {
    problems_with(json, &[])
}

#[track_caller]
fn problems_with(json: &str, variables: &[(&str, &str)]) -> String {
    let loaded = load(json.as_bytes(), &with_variables(variables));
    loaded.expect_err(json).to_string()
}

#[track_caller]
fn assert_problem(json: &str, words: &str) {
    assert_says(&problems(json), words);
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
        assert_eq!(webhook.timestamp.freshness.max_age, Millis::seconds(300));
        let replay = webhook.replay.as_ref().expect("on by default");
        assert_eq!(replay.rules.max_pinned, Millis::seconds(330));
        let rule = webhook.rate_limits.first().expect("one rule by default");
        let limit = (rule.limit.requests, rule.limit.window);
        assert_eq!(limit, (60, Millis::seconds(60)));
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

/// Configurations and what is said of each, one a line.
const MISTAKES: &str = r##"
{"moed": "off"} => moed: unknown field
{"mode": "on"} => mode: expected "enforce" or "monitor" or "off"
[] => configuration: expected an object
{"mode" => configuration: expected JSON
{"accounts": [{"auth_tokens": [""]}]} => accounts[0].auth_tokens[0]: expected a secret
{"accounts": [{"auth_tokens": [{"env": "NO"}]}]} => accounts[0].auth_tokens[0]: expected a secret in the environment variable NO, which is not set
{"accounts": [{"account_sid": "AC"}]} => accounts[0].auth_tokens: this field is missing
{"accounts": [{"account_sid": "12", "auth_tokens": []}]} => accounts[0].account_sid: expected an account SID
{"accounts": {}} => accounts: expected a list
{"shared_keys": [{"id": "a"}]} => shared_keys[0].secret: this field is missing
{"shared_keys": [{"id": "a", "secret": ""}]} => shared_keys[0].secret: expected a secret
{"webhooks": [{"path": "/a", "url": "orders.example.com"}]} => webhooks[0].url: expected an absolute URL
{"webhooks": [{"path": "a", "url": "https://h/a"}]} => webhooks[0].path: expected a path that starts with a slash
{"webhooks": [{"path": "/a/*", "url": "https://h/a"}]} => webhooks[0].url: expected no url here
{"webhooks": [{"path": "/a/*"}]} => webhooks[0].url: expected a url here, or a public_base_url
{"webhooks": [{"path": "/a"}]} => webhooks[0].url: expected a url here
{"webhooks": [{}]} => webhooks[0].path: this field is missing
{"webhooks": [{"url": "https://h/a"}, {"url": "https://h/a"}]} => webhooks[1].path: expected a path that no other webhook has
{"webhooks": [{"url": "https://h/a", "methods": ["post"]}]} => webhooks[0].methods[0]: expected a method
{"webhooks": [{"url": "https://h/a", "methods": []}]} => webhooks[0].methods: expected at least one
{"webhooks": [{"url": "https://h/a", "replay": {"capacity": 0}}]} => webhooks[0].replay.capacity: expected a whole number from 1
{"public_base_url": "https://h?x"} => public_base_url: expected a URL without a query
{"exempt_paths": ["healthz"]} => exempt_paths[0]: expected a path
{"exempt_paths": ["/API/v1/whatsapp//webhook/"]} => exempt_paths[0]: expected a path that is not a webhook's
{"max_body_bytes": 0} => max_body_bytes: expected a whole number from 1
{"max_body_bytes": "1"} => max_body_bytes: expected a whole number
{"timestamp": {"max_age": 300}} => timestamp.max_age: expected a duration
{"timestamp": {"max_age": "5m"}} => timestamp.max_age: expected a duration
{"timestamp": {"header": "x y"}} => timestamp.header: expected a header's name
{"replay": "on"} => replay: expected "off" or an object
{"replay": {"window": "0s"}} => replay.window: expected a duration
{"replay": {"on_full": "drop"}} => replay.on_full: expected "reject" or "evict_oldest"
{"rate_limits": [{"key": "ip", "requests": 1, "window": "1s"}]} => rate_limits[0].key: expected
{"rate_limits": [{"key": "param:", "requests": 1, "window": "1s"}]} => rate_limits[0].key: expected
{"rate_limits": [{"key": "client_ip", "requests": 0, "window": "1s"}]} => rate_limits[0].requests: expected
{"rate_limits": [{"key": "client_ip", "requests": 1, "window": "0s"}]} => rate_limits[0].window: expected
{"rate_limits": [{"key": "client_ip", "requests": 1}]} => rate_limits[0].window: this field is missing
{"rate_limit_capacity": -1} => rate_limit_capacity: expected
{"store": {"type": "memcached"}} => store.type: expected
{"log": {"accepted": "yes"}} => log.accepted: expected true or false
{"trust_original_path": 1} => trust_original_path: expected true or false
"##;

#[test]
fn every_mistake_is_named_by_its_path() {
    for [json, expected] in rows(MISTAKES) {
        assert_problem(json, expected);
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    for path in ["mode:", "replay.keep:", "replay.x:", "log:"] {
        assert_problem(
            r#"{"mode": 1, "replay": {"keep": 1, "x": 2}, "log": []}"#,
            path,
        );
    }
}

#[test]
fn a_value_that_is_wrong_is_not_said_to_be_missing_as_well() {
    for json in [
        r#"{"public_base_url": "orders.example.com", "webhooks": [{"path": "/a"}, {"path": "/b/*"}]}"#,
        r#"{"public_base_url": "https://h?x", "webhooks": [{"path": "/a"}]}"#,
        r#"{"webhooks": [{"url": "orders.example.com"}]}"#,
        r#"{"webhooks": [{"path": "/a", "url": 1}]}"#,
        r#"{"webhooks": {}}"#,
        r#"{"webhooks": [{"url": "https://h/a", "methods": "POST"}]}"#,
    ] {
        let nothing = |_: &str| None;
        let found = load(json.as_bytes(), &nothing).expect_err(json).to_string();
        assert_eq!(found.matches("expected").count(), 1, "{json}: {found}");
        assert!(!found.contains("missing"), "{json}: {found}");
    }
    let wrong = [("WEBHOOK_URL", "orders.example.com")];
    for json in [
        "{}",
        r#"{"webhooks": []}"#,
        r#"{"webhooks": [{"path": "/a"}]}"#,
    ] {
        let found = problems_with(json, &wrong);
        assert_eq!(found.matches("expected").count(), 1, "{json}: {found}");
        assert!(found.starts_with("WEBHOOK_URL: "), "{json}: {found}");
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
        assert!(!found.contains("hunter2"), "{found}");
    }
}

/// With these variables beside the usual ones.
fn with_variables<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |asked| {
        let own = variables.iter().find(|(name, _)| *name == asked);
        own.map_or_else(|| environment(asked), |(_, value)| Some((*value).into()))
    }
}

fn warnings(json: &str, variables: &[(&str, &str)]) -> Vec<String> {
    load(json.as_bytes(), &with_variables(variables))
        .unwrap_or_else(|problems| panic!("{json}: {problems}"))
        .warnings
}

const TOKEN: &str = "8f1c0de5a7b94c2299d0aa1122334455";

#[test]
fn forms_and_handshakes_are_read_for_all_webhooks_and_for_one() {
    let json = r#"{"form": "lenient", "max_parameters": 7, "max_target_bytes": 9,
                   "replay": {"handshakes": true},
                   "webhooks": [
                     {"url": "https://h/a"},
                     {"url": "https://h/b", "form": "strict", "max_parameters": 8,
                      "replay": {"handshakes": false}}]}"#;
    let loaded = settings(json);
    assert_eq!(loaded.max_target_bytes, 9);
    let read = |webhook: &WebhookSettings| {
        let handshakes = webhook.replay.as_ref().map(|replay| replay.handshakes);
        (webhook.form, webhook.max_parameters, handshakes)
    };
    let (first, second) = (&loaded.webhooks[0], &loaded.webhooks[1]);
    assert_eq!(read(first), (FormReading::Lenient, 7, Some(true)));
    assert_eq!(read(second), (FormReading::Strict, 8, Some(false)));
    let loaded = settings("{}");
    assert_eq!(loaded.max_target_bytes, 16_384);
    let webhook = &loaded.webhooks[0];
    assert_eq!(read(webhook), (FormReading::Strict, 500, Some(false)));
}

#[test]
fn a_store_in_redis_is_reached_with_what_it_asks_for() {
    let redis = |json: &str| match settings(json).store {
        StoreSettings::Redis(redis) => redis,
        StoreSettings::SharedData => panic!("{json}"),
    };
    let least = redis(r#"{"store": {"type": "redis", "cluster": "c", "api": "webdis"}}"#);
    assert_eq!((least.api, least.timeout), (Api::Webdis, Millis(100)));
    assert_eq!((&*least.authority, &*least.key_prefix), ("c", "twf"));
    assert_eq!(least.on_error, OnStoreError::Reject);
    let header = |redis: &RedisSettings| {
        let secret = redis.authorization.as_ref();
        secret.map(|secret| secret.expose().to_owned())
    };
    assert_eq!(header(&least), None);
    let basic = redis(
        r#"{"store": {"type": "redis", "cluster": "c", "api": "webdis",
                      "username": "envoy", "password": {"env": "TWILIO_AUTH_TOKEN"}}}"#,
    );
    assert_eq!(header(&basic).as_deref(), Some("Basic ZW52b3k6MTIzNDU="));
    let bearer = redis(
        r#"{"store": {"type": "redis", "cluster": "c", "api": "upstash", "authority": "x.upstash.io",
                      "token": {"env": "TWILIO_AUTH_TOKEN"}, "on_error": "local"}}"#,
    );
    assert_eq!(bearer.on_error, OnStoreError::Local);
    assert_eq!(bearer.authority, "x.upstash.io");
    assert_eq!(header(&bearer).as_deref(), Some("Bearer 12345"));
}

#[test]
fn no_webhook_at_all_is_rejected_and_no_key_at_all_is_not() {
    let nothing = |_: &str| None;
    let found = load(b"{}", &nothing).expect_err("no webhook").to_string();
    assert_says(&found, "webhooks: expected at least one webhook");
    let json = br#"{"webhooks": [{"url": "https://h/a"}]}"#;
    let settings = load(json, &nothing).expect("no key is no reason not to load");
    assert!(settings.keyring.is_empty());
}

#[test]
fn the_environment_sets_what_the_json_leaves_out() {
    let variables = with_variables(&[
        ("TWILIO_CLOCK_SKEW_MS", "5000"),
        ("TWILIO_NONCE_WINDOW_MS", "60000"),
        ("FORCE_TWILIO_VERIFY", "true"),
    ]);
    for (json, max_age, window) in [
        (r#"{"mode": "off"}"#, 60, 60),
        (
            r#"{"timestamp": {"max_age": "10s"}, "replay": {"window": "20s"}}"#,
            10,
            20,
        ),
    ] {
        let loaded = load(json.as_bytes(), &variables).expect("valid");
        assert_eq!(loaded.mode, Mode::Enforce);
        let webhook = &loaded.webhooks[0];
        assert_eq!(
            webhook.timestamp.freshness.max_age,
            Millis::seconds(max_age)
        );
        assert_eq!(webhook.timestamp.freshness.clock_skew, Millis::seconds(5));
        let replay = webhook.replay.as_ref().expect("on");
        assert_eq!(replay.rules.window, Millis::seconds(window));
    }
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
        let found = problems_with("{}", &[(name, value)]);
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
    let (first, second) = (&settings.webhooks[0], &settings.webhooks[1]);
    let replay = first.replay.as_ref().expect("on");
    assert_eq!(replay.rules.window, Millis::seconds(7));
    assert_eq!(replay.rules.keep, Millis::seconds(10));
    assert_eq!(replay.on_duplicate, OnDuplicate::Acknowledge);
    assert!(first.timestamp.required && first.rate_limits.is_empty());
    assert_eq!(first.timestamp.freshness.max_age, Millis::seconds(10));
    assert!(second.replay.is_none() && !second.timestamp.required);
    assert_eq!(second.rate_limits.len(), 1);
}

#[test]
fn labels_are_plain_and_differ() {
    let json = r#"{"public_base_url": "https://h",
                   "webhooks": [{"path": "/A/b"}, {"path": "/a/b"}, {"path": "/a-b/*"}, {"path": "/"}]}"#;
    let webhooks = settings(json).webhooks.into_iter();
    let labels: Vec<_> = webhooks.map(|webhook| webhook.label).collect();
    assert_eq!(labels, ["a-b", "a-b-2", "a-b-all", "root"]);
}

#[test]
fn a_header_of_null_turns_it_off() {
    let settings = settings(r#"{"timestamp": {"header": null}}"#);
    assert_eq!(settings.webhooks[0].timestamp.header, None);
}
