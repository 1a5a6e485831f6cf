use super::*;
use crate::config::settings::WebhookSettings;
use crate::store::StoreSettings;
use crate::store::redis::settings::{OnStoreError, RedisSettings};
use crate::store::redis::wire::Api;
use crate::time::Millis;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SID: &str = "AC00000000000000000000000000000001";

#[track_caller]
fn assert_says(found: &str, words: &str) {
    assert!(found.contains(words), "{found}\nlacks {words}");
}

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
        assert_eq!(webhook.timestamp.freshness.max_age, Millis::seconds(300));
        let replay = webhook.replay.as_ref().expect("on by default");
        assert_eq!(replay.rules.max_pinned, Millis::seconds(330));
        let rule = webhook.rate_limits.first().expect("one rule by default");
        assert_eq!(
            (rule.limit.requests, rule.limit.window),
            (60, Millis::seconds(60))
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
    for line in MISTAKES.trim().lines() {
        let (json, expected) = line.split_once(" => ").expect("a configuration and words");
        let found = problems(json);
        assert_says(&found, expected);
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let found = problems(r#"{"mode": 1, "replay": {"keep": 1, "x": 2}, "log": []}"#);
    for path in ["mode:", "replay.keep:", "replay.x:", "log:"] {
        assert_says(&found, path);
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

/// With these variables beside the usual ones.
fn with_variables<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |asked| {
        let own = variables.iter().find(|(name, _)| *name == asked);
        match own {
            Some((_, value)) => Some((*value).to_owned()),
            None => environment(asked),
        }
    }
}

fn warnings(json: &str, variables: &[(&str, &str)]) -> Vec<String> {
    load(json.as_bytes(), &with_variables(variables))
        .unwrap_or_else(|problems| panic!("{json}: {problems}"))
        .warnings
}

const TOKEN: &str = "8f1c0de5a7b94c2299d0aa1122334455";

#[test]
fn a_secret_as_copying_leaves_it_is_rejected_by_its_field_wherever_it_comes_from() {
    let fields = [
        (
            r#"{"accounts": [{"auth_tokens": [SECRET]}]}"#,
            "accounts[0].auth_tokens[0]",
        ),
        (
            r#"{"shared_keys": [{"id": "a", "secret": SECRET}]}"#,
            "shared_keys[0].secret",
        ),
        (
            r#"{"store": {"type": "redis", "cluster": "c", "api": "upstash", "token": SECRET}}"#,
            "store.token",
        ),
        (
            r#"{"store": {"type": "redis", "cluster": "c", "api": "webdis", "username": "u",
                          "password": SECRET}}"#,
            "store.password",
        ),
        (
            r#"{"store": {"type": "redis", "cluster": "c", "api": "webdis", "username": SECRET,
                          "password": "p"}}"#,
            "store.username",
        ),
    ];
    for (secret, in_json, in_the_environment) in [
        (
            format!("{TOKEN}\n"),
            "ends in a line end",
            "ends in a line end",
        ),
        (
            format!("{TOKEN}\u{A0}"),
            "ends in white space",
            "ends in white space",
        ),
        (
            format!("\"{TOKEN}\""),
            "has quotes around it, besides those of JSON",
            "has quotes around it: docker --env-file keeps them",
        ),
        (
            "${TWILIO_AUTH_TOKEN}".to_owned(),
            "is the name of a variable that was not expanded: use {\"env\": \"NAME\"}",
            "is the name of a variable that was not expanded: write the value itself",
        ),
        (
            format!("\u{FEFF}{TOKEN}"),
            "byte order mark",
            "byte order mark",
        ),
    ] {
        for (json, field) in fields {
            let quoted = serde_json::Value::from(secret.as_str()).to_string();
            let found = problems(&json.replace("SECRET", &quoted));
            assert!(
                found.starts_with(&format!("{field}: expected a ")),
                "{found}"
            );
            assert_says(&found, in_json);
            assert!(
                !found.contains(TOKEN) && !found.contains("TWILIO"),
                "{found}"
            );
            let variables = [("THE_SECRET", secret.as_str())];
            let json = json.replace("SECRET", r#"{"env": "THE_SECRET"}"#);
            let found = load(json.as_bytes(), &with_variables(&variables))
                .expect_err(field)
                .to_string();
            let named = found.contains("the environment variable THE_SECRET ");
            assert!(
                found.starts_with(&format!("{field}: expected a ")) && named,
                "{found}"
            );
            assert_says(&found, in_the_environment);
            assert!(
                !found.contains(TOKEN) && !found.contains("TWILIO"),
                "{found}"
            );
        }
        // The variable that is read where there are no accounts.
        let variables = [("TWILIO_AUTH_TOKEN", secret.as_str())];
        let found = load(b"{}", &with_variables(&variables))
            .expect_err("a token")
            .to_string();
        assert!(
            found.starts_with("TWILIO_AUTH_TOKEN: expected a secret"),
            "{found}"
        );
        assert!(
            found.contains(in_the_environment) && !found.contains(TOKEN),
            "{found}"
        );
    }
}

#[test]
fn what_copying_leaves_in_any_other_variable_is_said_by_the_variables_name() {
    for (name, value, words) in [
        ("TWILIO_ACCOUNT_SID", "AC0f\n", "it ends in a line end"),
        ("TWILIO_ACCOUNT_SID", "'AC0f'", "it has quotes around it"),
        (
            "TWILIO_ACCOUNT_SID",
            "${SID}",
            "variable that was not expanded",
        ),
        (
            "WEBHOOK_URL",
            "https://h.example/a ",
            "without spaces around it",
        ),
        (
            "WEBHOOK_URL",
            "\"https://h.example/a\"",
            "docker --env-file keeps them",
        ),
        ("WEBHOOK_URL", "${WEBHOOK_URL}", "variables are expanded"),
        ("WEBHOOK_URL", "https://$HOST/a", "variables are expanded"),
        ("TWILIO_CLOCK_SKEW_MS", "30000\n", "it ends in a line end"),
        (
            "TWILIO_NONCE_WINDOW_MS",
            "\"300000\"",
            "it has quotes around it",
        ),
        ("FORCE_TWILIO_VERIFY", "yes\n", "it ends in a line end"),
        (
            "FORCE_TWILIO_VERIFY",
            "$FORCE",
            "variable that was not expanded",
        ),
    ] {
        let found = load(b"{}", &with_variables(&[(name, value)]))
            .expect_err(name)
            .to_string();
        assert!(found.starts_with(&format!("{name}: expected ")), "{found}");
        assert!(found.contains(words) && !found.contains(value), "{found}");
    }
}

#[test]
fn a_secret_in_the_place_of_its_variables_name_is_not_shown() {
    for name in [
        TOKEN,
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
        "A0A1A2A3A4A5A6A7A8A9AAABACADAEAF",
        "hunter",
    ] {
        let json = format!(r#"{{"accounts": [{{"auth_tokens": [{{"env": "{name}"}}]}}]}}"#);
        let found = problems(&json);
        assert!(found.starts_with("accounts[0].auth_tokens[0]"), "{found}");
        assert!(!found.contains(name), "{found}");
        let json =
            format!(r#"{{"accounts": [{{"{name}{name}3456789": "x", "auth_tokens": []}}]}}"#);
        let found = problems(&json);
        assert!(
            found.contains("unknown field") && !found.contains(name),
            "{found}"
        );
    }
    // Nor does any name make a second line of one.
    let found = problems("{\"a\\nb\": 1}");
    assert!(
        found.contains("unknown field") && !found.contains('\n'),
        "{found}"
    );
}

#[test]
fn a_token_that_has_not_the_form_of_twilios_is_warned_of_and_taken() {
    for (token, words) in [
        (TOKEN, None),
        ("12345", Some("this is not 32 hex digits")),
        (
            "TWILIO_AUTH_TOKEN",
            Some("this looks like the name of a variable"),
        ),
        (
            "8f1c0de5a7b94c2299d0aa112233445",
            Some("this is not 32 hex digits"),
        ),
        (
            "AC8f1c0de5a7b94c2299d0aa1122334455",
            Some("this is an account SID"),
        ),
        (
            "SK8f1c0de5a7b94c2299d0aa1122334455",
            Some("this is the SID of an API key"),
        ),
    ] {
        let json = format!(
            r#"{{"accounts": [{{"auth_tokens": ["{TOKEN}", "{token}", {{"env": "T"}}]}}]}}"#
        );
        for (index, found) in [
            (
                "accounts[0].auth_tokens[1]",
                warnings(&json, &[("T", TOKEN)]),
            ),
            (
                "accounts[0].auth_tokens[0]",
                warnings(
                    r#"{"accounts": [{"auth_tokens": [{"env": "T"}]}]}"#,
                    &[("T", token)],
                ),
            ),
            (
                "TWILIO_AUTH_TOKEN",
                warnings("{}", &[("TWILIO_AUTH_TOKEN", token)]),
            ),
        ] {
            let Some(words) = words else {
                assert!(found.is_empty(), "{found:?}");
                continue;
            };
            let [warning] = found.as_slice() else {
                panic!("{token}: {found:?}");
            };
            assert!(
                warning.starts_with(&format!("{index}: {words}")),
                "{warning}"
            );
            let (_, said) = warning.split_once(": ").expect("a path");
            assert!(!said.contains(token), "{warning}");
        }
    }
}

#[test]
fn a_limit_that_unauthenticated_clients_can_exhaust_is_warned_of() {
    let variables = [("TWILIO_AUTH_TOKEN", TOKEN)];
    for (key, count, warned) in [
        ("webhook", "all", true),
        ("webhook", "rejected", true),
        ("webhook", "authenticated", false),
        ("client_ip", "all", false),
        ("account", "rejected", false),
    ] {
        let rule =
            format!(r#"[{{"key": "{key}", "count": "{count}", "requests": 1, "window": "1s"}}]"#);
        let global = warnings(&format!(r#"{{"rate_limits": {rule}}}"#), &variables);
        let own = warnings(
            &format!(r#"{{"webhooks": [{{"url": "https://h/a", "rate_limits": {rule}}}]}}"#),
            &variables,
        );
        assert_eq!(
            global.len(),
            usize::from(warned),
            "{key} {count}: {global:?}"
        );
        assert!(
            global
                .iter()
                .all(|warning| warning.starts_with("rate_limits[0]: "))
        );
        assert_eq!(own.len(), usize::from(warned), "{key} {count}: {own:?}");
        assert!(
            own.iter()
                .all(|warning| warning.starts_with("webhooks[0].rate_limits[0]: "))
        );
    }
    // The count that holds where none is configured.
    let json = r#"{"rate_limits": [{"key": "webhook", "requests": 1, "window": "1s"}]}"#;
    assert_eq!(warnings(json, &variables).len(), 1);
}

#[test]
fn an_exempt_prefix_around_a_webhook_is_warned_of() {
    let variables = [("TWILIO_AUTH_TOKEN", TOKEN)];
    for (exempt, warned) in [
        ("/*", true),
        ("/api/*", true),
        ("/API//v1/*", true),
        ("/api/v1/whatsapp/webhook/*", true),
        ("/api/v2/*", false),
        ("/api/v1/whatsapp/webhook2/*", false),
        ("/healthz", false),
    ] {
        let json = format!(r#"{{"exempt_paths": ["/ok", "{exempt}"]}}"#);
        let found = warnings(&json, &variables);
        assert_eq!(found.len(), usize::from(warned), "{exempt}: {found:?}");
        assert!(
            found
                .iter()
                .all(|warning| warning.starts_with("exempt_paths[1]: ")),
            "{found:?}"
        );
    }
    let json = r#"{"public_base_url": "https://h", "webhooks": [{"path": "/hooks/in/*"}],
                   "exempt_paths": ["/hooks/*", "/hooks/in/out/*"]}"#;
    let found = warnings(json, &variables);
    assert!(
        matches!(found.as_slice(), [one] if one.starts_with("exempt_paths[0]: ")),
        "{found:?}"
    );
}

#[test]
fn a_store_without_credentials_is_warned_of() {
    let variables = [("TWILIO_AUTH_TOKEN", TOKEN)];
    let redis = |more: &str| format!(r#"{{"store": {{"type": "redis", "cluster": "c", {more}}}}}"#);
    let found = warnings(&redis(r#""api": "webdis""#), &variables);
    assert!(
        matches!(found.as_slice(), [one] if one.starts_with("store: ")),
        "{found:?}"
    );
    for more in [
        r#""api": "webdis", "username": "u", "password": "p""#,
        r#""api": "upstash", "token": "t""#,
    ] {
        assert!(warnings(&redis(more), &variables).is_empty(), "{more}");
    }
}

#[test]
fn a_field_that_occurs_twice_is_named_by_its_path_at_any_depth() {
    for (json, path) in [
        (r#"{"mode": "off", "log": {}, "mode": "enforce"}"#, "mode"),
        (r#"{"mode": "off", "\u006dode": "enforce"}"#, "mode"),
        (
            r#"{"accounts": [{"auth_tokens": ["first"]}], "accounts": [{"auth_tokens": ["second"]}]}"#,
            "accounts",
        ),
        (
            r#"{"webhooks": [{"url": "https://h/a"}, {"url": "https://h/b", "url": "https://h/b"}]}"#,
            "webhooks[1].url",
        ),
        (
            r#"{"webhooks": [{"url": "https://h/a", "replay": {"keep": "1s", "keep": "1s"}}]}"#,
            "webhooks[0].replay.keep",
        ),
        (
            r#"{"accounts": [{"auth_tokens": [{"env": "TWILIO_AUTH_TOKEN", "env": "TWILIO_AUTH_TOKEN"}]}]}"#,
            "accounts[0].auth_tokens[0].env",
        ),
    ] {
        let found = problems(json);
        assert_eq!(
            found,
            format!("{path}: this field occurs twice, and only one of them could count")
        );
    }
}

#[test]
fn what_is_pasted_in_the_place_of_json_is_called_by_its_name() {
    let deep = format!("{{\"mode\": {}{}}}", "[".repeat(200), "]".repeat(200));
    let huge = format!("{{\"max_body_bytes\": 1{}}}", "0".repeat(400));
    for (text, words) in [
        (
            "\u{FEFF}{}",
            "byte order mark in front of it: save it as UTF-8 without BOM",
        ),
        ("\u{FEFF}", "byte order mark"),
        ("webhooks:\n- path: /a\n", "it looks like YAML"),
        ("---\nmode: off", "it looks like YAML"),
        ("- path: /a", "it looks like YAML"),
        ("{'mode': 'off'}", "straight double quotes"),
        ("'{\"mode\": \"off\"}'", "straight double quotes"),
        ("{“mode”: “off”}", "straight double quotes"),
        ("{\"mode\": \"off\",}", "trailing comma"),
        ("{\"webhooks\": [{}, ]}", "trailing comma"),
        ("{\"mode\": \"off\"", "EOF while parsing an object"),
        ("{\"mode\": \"off\"}}", "trailing characters"),
        ("{\"mode\": off}", "expected value"),
        ("// all of it\n{}", "JSON has no comments"),
        ("{\"mode\": \"off\" # really\n}", "JSON has no comments"),
        ("{\u{A0}\"mode\": \"off\"}", "white space that is not ASCII"),
        ("eyJtb2RlIjogIm9mZiJ9", "it looks like base64"),
        ("ewogICJtb2RlIjogIm9mZiIKfQo=\n", "it looks like base64"),
        ("${CONFIGURATION}", "variable or a template"),
        ("$CONFIGURATION", "variable or a template"),
        ("{{ toJson .Values.filter }}", "variable or a template"),
        (
            "\"{\\\"mode\\\": \\\"off\\\"}\"",
            "one layer of quotes too many",
        ),
        (
            r#"{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "{}"}"#,
            "what belongs here is its \"value\"",
        ),
        (&deep, "recursion limit exceeded"),
        (&huge, "number out of range"),
        ("{\"mode\": \"o\0ff\"}", "control character"),
        ("{\"mode\": \"\\ud800\"}", "line 1 column"),
        ("\0\0\0", "bytes that are no text"),
        ("NaN", "line 1 column 1"),
    ] {
        let found = problems(text);
        assert!(
            found.starts_with("configuration: expected "),
            "{text}: {found}"
        );
        assert_says(&found, words);
    }
}

#[test]
fn bytes_that_are_no_text_are_called_by_their_name() {
    let said = |bytes: &[u8]| load(bytes, &environment).expect_err("no JSON").to_string();
    // {"mode": "enforce", "log": {"accepted": true}} as protobuf has it.
    let mode = b"\x0a\x11\x0a\x04mode\x12\x09\x1a\x07enforce";
    let log = b"\x0a\x17\x0a\x03log\x12\x10\x2a\x0e\x0a\x0c\x0a\x08accepted\x12\x00";
    let of_a_struct: [&[u8]; 2] = [mode, &[mode.as_slice(), log].concat()];
    for bytes in of_a_struct {
        let found = said(bytes);
        assert_says(&found, "the bytes of a google.protobuf.Struct");
        assert_says(&found, "use google.protobuf.StringValue with JSON text");
    }
    for length in 2..mode.len() {
        let found = said(mode.get(..length).unwrap_or_default());
        assert!(
            !found.contains("the bytes of a google.protobuf.Struct"),
            "{length}: {found}"
        );
    }
    // A StringValue in its own wrapping is no Struct.
    let found = said(b"\x0a\x02{}\x10\x01");
    assert_says(&found, "another protobuf message");
    let found = said(b"\xFF\xFE{\0}\0");
    assert_says(&found, "UTF-16");
    let found = said(b"{\"mode\": \"\xFC\"}");
    assert_says(
        &found,
        "configuration: expected JSON, which it is not at line 1",
    );
    // Text that begins with a line end is no protobuf, though its first byte is the same.
    assert!(load(b"\n{\n  \"mode\": \"off\"}", &environment).is_ok());
}

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
    let read: Vec<_> = loaded.webhooks.iter().map(read).collect();
    assert_eq!(
        read,
        [
            (FormReading::Lenient, 7, Some(true)),
            (FormReading::Strict, 8, Some(false))
        ]
    );
    let loaded = settings("{}");
    assert_eq!(loaded.max_target_bytes, 16_384);
    let webhook = loaded.webhooks.first().expect("one");
    assert_eq!(
        (webhook.form, webhook.max_parameters),
        (FormReading::Strict, 500)
    );
    assert!(!webhook.replay.as_ref().expect("on").handshakes);
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
        (Millis(100), OnStoreError::Reject)
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
fn no_webhook_at_all_is_rejected_and_no_key_at_all_is_not() {
    let found = load(b"{}", &nothing).expect_err("no webhook").to_string();
    assert_says(&found, "webhooks: expected at least one webhook");
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
    assert_eq!(webhook.timestamp.freshness.max_age, Millis::seconds(60));
    assert_eq!(webhook.timestamp.freshness.clock_skew, Millis::seconds(5));
    let replay = webhook.replay.as_ref().expect("on");
    assert_eq!(replay.rules.window, Millis::seconds(60));
    let json = br#"{"timestamp": {"max_age": "10s"}, "replay": {"window": "20s"}}"#;
    let loaded = load(json, &variables).expect("valid");
    let webhook = loaded.webhooks.first().expect("one");
    assert_eq!(webhook.timestamp.freshness.max_age, Millis::seconds(10));
    assert_eq!(
        webhook.replay.as_ref().expect("on").rules.window,
        Millis::seconds(20)
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
