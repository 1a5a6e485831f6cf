//! The loader of configurations: nothing makes it panic, and what is wrong is named by its path.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use twilio_webhook_filter::{Millis, load};

use crate::generators::cases;

const NAMES: [&str; 8] = [
    "configuration",
    "TWILIO_AUTH_TOKEN",
    "TWILIO_ACCOUNT_SID",
    "WEBHOOK_URL",
    "TWILIO_CLOCK_SKEW_MS",
    "TWILIO_NONCE_WINDOW_MS",
    "FORCE_TWILIO_VERIFY",
    "made up",
];

/// A configuration that says everything.
fn complete() -> Value {
    json!({
        "mode": "enforce",
        "accounts": [{"account_sid": "AC0123456789abcdef0123456789abcdef",
                      "auth_tokens": ["current", {"env": "NEXT"}]}],
        "shared_keys": [{"id": "wsk_1", "secret": {"env": "SHARED"}}],
        "webhooks": [
            {"path": "/hook", "url": "https://h.example/hook", "methods": ["POST", "GET"],
             "timestamp": {"required": true}, "replay": {"window": "60s", "handshakes": true},
             "form": "lenient", "max_parameters": 1000,
             "rate_limits": [{"key": "param:From", "requests": 5, "window": "1s"}]},
            {"path": "/hooks/*", "replay": "off"}
        ],
        "public_base_url": "https://h.example",
        "exempt_paths": ["/healthz", "/public/*"],
        "max_body_bytes": 65536,
        "max_target_bytes": 16384,
        "form": "strict",
        "max_parameters": 500,
        "trust_original_path": false,
        "timestamp": {"params": ["Timestamp"], "header": null, "max_age": "300s",
                      "clock_skew": "30s", "required": false},
        "replay": {"window": "300s", "keep": "86400s", "capacity": 65536, "on_full": "reject",
                   "on_duplicate": "acknowledge", "handshakes": false},
        "rate_limits": [{"key": "client_ip", "count": "all", "requests": 60, "window": "60s"}],
        "rate_limit_capacity": 16384,
        "store": {"type": "shared_data"},
        "log": {"accepted": true, "max_per_second": 50}
    })
}

/// What a loader says of a configuration: nothing, if it takes it.
fn problems(json: &[u8], environment: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    match load(json, &environment) {
        Ok(_) => None,
        Err(problems) => Some(problems.to_string()),
    }
}

fn environment(name: &str) -> Option<String> {
    match name {
        "NEXT" => Some("next".into()),
        "SHARED" => Some("shared".into()),
        _ => None,
    }
}

/// Every place in a document, as the loader calls it, the document itself first.
fn places(value: &Value, path: String, found: &mut Vec<(String, String)>, pointer: String) {
    found.push((path.clone(), pointer.clone()));
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let below = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                places(value, below, found, format!("{pointer}/{name}"));
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                places(
                    value,
                    format!("{path}[{index}]"),
                    found,
                    format!("{pointer}/{index}"),
                );
            }
        }
        _ => {}
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "off",
            "/a",
            "/*",
            "300s",
            "0s",
            "é",
            "client_ip",
            "POST"
        ])
        .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let name = prop::sample::select(vec![
            "path", "url", "env", "key", "window", "requests", "made up", "id", "secret",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
            }),
        ]
    })
}

#[test]
fn the_configuration_that_says_everything_loads() {
    let json = complete().to_string();
    assert_eq!(problems(json.as_bytes(), &environment), None);
}

/// One by one, every value is replaced by one of a type that no field has here.
#[test]
fn a_wrong_type_anywhere_is_named_by_its_path() {
    let mut found = Vec::new();
    places(&complete(), String::new(), &mut found, String::new());
    assert!(found.len() > 50, "{}", found.len());
    for (path, pointer) in found {
        let mut changed = complete();
        let wrong = json!([[{"a type that": "no field has"}]]);
        *changed.pointer_mut(&pointer).expect("a place") = wrong;
        let said = problems(changed.to_string().as_bytes(), &environment);
        let said = said.unwrap_or_else(|| panic!("{path} was taken"));
        let expected = if path.is_empty() {
            "configuration: expected"
        } else {
            &path
        };
        assert!(said.contains(expected), "{path}: {said}");
    }
}

#[test]
fn an_unknown_field_anywhere_is_named_by_its_path() {
    let mut found = Vec::new();
    places(&complete(), String::new(), &mut found, String::new());
    for (path, pointer) in found {
        let mut changed = complete();
        let index = changed.pointer_mut(&pointer).expect("a place");
        let Value::Object(fields) = index else {
            continue;
        };
        fields.insert("made up".into(), json!(1));
        let said = problems(changed.to_string().as_bytes(), &environment);
        let said = said.unwrap_or_else(|| panic!("{path} was taken"));
        let below = if path.is_empty() {
            "made up".into()
        } else {
            format!("{path}.made up")
        };
        assert!(
            said.contains(&format!("{below}: unknown field")),
            "{path}: {said}"
        );
    }
}

/// Webhooks share the table of nonces. What one of them has to remember for a day must not
/// look to another like an entry of a clock that was ahead, which may be evicted.
#[test]
fn webhooks_that_share_a_table_agree_on_how_long_anything_has_to_be_remembered() {
    let mut document = complete();
    document["webhooks"] = json!([
        {"path": "/a", "url": "https://h.example/a"},
        {"path": "/b", "url": "https://h.example/b", "replay": {"window": "86400s"}},
        {"path": "/c", "url": "https://h.example/c", "timestamp": {"max_age": "3600s"}},
    ]);
    let json = document.to_string();
    let settings = load(json.as_bytes(), &environment).unwrap_or_else(|said| panic!("{said}"));
    let replays = settings
        .webhooks
        .iter()
        .filter_map(|webhook| webhook.replay.as_ref());
    let longest: Vec<_> = replays.map(|replay| replay.rules.max_pinned).collect();
    assert_eq!(longest, [Millis::seconds(86_400); 3]);
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn any_value_anywhere_is_taken_or_named_by_a_path(
        replaced in prop::collection::vec((any::<Index>(), any_json()), 1..4),
        skew in prop::option::of(prop::sample::select(vec!["", "5", "x", "99999999999999999999"])),
    ) {
        let mut document = complete();
        for (which, value) in replaced {
            let mut found = Vec::new();
            places(&document, String::new(), &mut found, String::new());
            let (_, pointer) = which.get(&found);
            *document.pointer_mut(pointer).expect("a place") = value;
        }
        let variables = |name: &str| match name {
            "TWILIO_CLOCK_SKEW_MS" => skew.map(str::to_owned),
            other => environment(other),
        };
        if let Some(said) = problems(document.to_string().as_bytes(), &variables) {
            let whole = complete();
            let fields = whole.as_object().expect("an object").keys().map(String::as_str);
            let own = document.as_object().into_iter().flat_map(|o| o.keys().map(String::as_str));
            let mut known = fields.chain(own).chain(NAMES);
            let named = known.any(|name| said.starts_with(name));
            prop_assert!(named && said.contains(": "), "{said}");
        }
    }

    #[test]
    fn any_bytes_are_taken_or_rejected_in_words(
        json in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            any_json().prop_map(|value| value.to_string().into_bytes()),
        ],
    ) {
        let said = problems(&json, &environment).expect("no webhook, no configuration");
        prop_assert!(said.contains(": "), "{said}");
    }

    /// A secret that is wrong must not end up in the log by way of the complaint, wherever
    /// it was put and whatever was left around it.
    #[test]
    fn neither_a_problem_nor_a_warning_shows_a_configured_text(
        secret in "[a-z]{20}",
        index in any::<Index>(),
        form in prop::sample::select(vec!["S", "S\n", "\"S\"", "${S}", "$S", "S\u{a0}", "https://S/a b",
            "https://h,https://S", "/S b", "S*", "param:", "{\"env\": \"S\"}", "AC S", "7S", "[S]"]),
        other_mistake in any::<bool>(),
        in_the_environment in any::<bool>(),
    ) {
        let text = form.replace('S', &secret);
        let mut document = complete();
        let mut found = Vec::new();
        places(&document, String::new(), &mut found, String::new());
        let (_, pointer) = index.get(&found);
        *document.pointer_mut(pointer).expect("a place") = match form {
            "[S]" => json!([text]),
            _ => Value::from(text.as_str()),
        };
        if other_mistake && document.is_object() {
            document["mode"] = json!("none");
        }
        let variables = |name: &str| match name {
            "NEXT" | "TWILIO_CLOCK_SKEW_MS" | "FORCE_TWILIO_VERIFY" if in_the_environment => Some(text.clone()),
            other => environment(other),
        };
        let said = match load(document.to_string().as_bytes(), &variables) {
            Ok(settings) => settings.warnings.join("\n"),
            Err(problems) => problems.to_string(),
        };
        prop_assert!(!said.contains(&secret), "{said}");
        // The text alone, in the place of all the JSON.
        let said = problems(text.as_bytes(), &variables).unwrap_or_default();
        prop_assert!(!said.contains(&secret), "{said}");
    }
}
