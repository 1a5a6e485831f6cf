//! Remnants of copying in secrets and variables.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Expects a mistake of this field that shows none of what it must not show.
#[track_caller]
fn assert_rejected(found: &str, field: &str, words: &str, secret: &str) {
    assert!(found.starts_with(&format!("{field}: expected ")), "{found}");
    assert_says(found, words);
    assert!(!found.contains(secret), "{found}");
}

#[test]
fn a_secret_as_copying_leaves_it_is_rejected_by_its_field_wherever_it_comes_from() {
    let fields = r#"
        {"accounts": [{"auth_tokens": [SECRET]}]} => accounts[0].auth_tokens[0]
        {"shared_keys": [{"id": "a", "secret": SECRET}]} => shared_keys[0].secret
        {"store": {"type": "redis", "cluster": "c", "api": "upstash", "token": SECRET}} => store.token
        {"store": {"type": "redis", "cluster": "c", "api": "webdis", "username": "u", "password": SECRET}} => store.password
        {"store": {"type": "redis", "cluster": "c", "api": "webdis", "username": SECRET, "password": "p"}} => store.username
    "#;
    let of_json = "has quotes around it, besides those of JSON";
    let of_env = "has quotes around it: docker --env-file keeps them";
    let name = "is the name of a variable that was not expanded: ";
    let in_json = format!("{name}use {{\"env\": \"NAME\"}}");
    let in_env = format!("{name}write the value itself");
    for (before, behind, in_json, in_env) in [
        ("", "\n", "ends in a line end", "ends in a line end"),
        ("", "\u{A0}", "ends in white space", "ends in white space"),
        ("\"", "\"", of_json, of_env),
        ("${A", "}", &in_json, &in_env),
        ("\u{FEFF}", "", "byte order mark", "byte order mark"),
    ] {
        let secret = format!("{before}{TOKEN}{behind}");
        for [json, field] in rows(fields) {
            let quoted = serde_json::Value::from(secret.as_str()).to_string();
            let found = problems(&json.replace("SECRET", &quoted));
            assert_rejected(&found, field, in_json, TOKEN);
            let json = json.replace("SECRET", r#"{"env": "THE_SECRET"}"#);
            let found = problems_with(&json, &[("THE_SECRET", &secret)]);
            assert_rejected(&found, field, in_env, TOKEN);
            assert_says(&found, "the environment variable THE_SECRET ");
        }
        // The variable that is read where there are no accounts.
        let found = problems_with("{}", &[("TWILIO_AUTH_TOKEN", &secret)]);
        assert_rejected(&found, "TWILIO_AUTH_TOKEN", in_env, TOKEN);
    }
}

#[test]
fn what_copying_leaves_in_any_other_variable_is_said_by_the_variables_name() {
    let unexpanded = "variable that was not expanded";
    for (name, value, words) in [
        ("TWILIO_ACCOUNT_SID", "AC0f\n", "it ends in a line end"),
        ("TWILIO_ACCOUNT_SID", "'AC0f'", "it has quotes around it"),
        ("TWILIO_ACCOUNT_SID", "${SID}", unexpanded),
        ("WEBHOOK_URL", "https://h/a ", "without spaces around it"),
        ("WEBHOOK_URL", "\"https://h/a\"", "--env-file keeps them"),
        ("WEBHOOK_URL", "${WEBHOOK_URL}", "variables are expanded"),
        ("WEBHOOK_URL", "https://$HOST/a", "variables are expanded"),
        ("TWILIO_CLOCK_SKEW_MS", "30000\n", "it ends in a line end"),
        ("TWILIO_NONCE_WINDOW_MS", "\"3\"", "it has quotes around it"),
        ("FORCE_TWILIO_VERIFY", "yes\n", "it ends in a line end"),
        ("FORCE_TWILIO_VERIFY", "$FORCE", unexpanded),
    ] {
        let found = problems_with("{}", &[(name, value)]);
        assert_rejected(&found, name, words, value);
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
        assert_says(&found, "unknown field");
        assert!(!found.contains(name), "{found}");
    }
    // Nor does any name make a second line of one.
    let found = problems("{\"a\\nb\": 1}");
    assert_says(&found, "unknown field");
    assert!(!found.contains('\n'), "{found}");
}

#[test]
fn a_token_that_has_not_the_form_of_twilios_is_warned_of_and_taken() {
    for (token, words) in [
        (TOKEN, ""),
        ("12345", "this is not 32 hex digits"),
        (
            "TWILIO_AUTH_TOKEN",
            "this looks like the name of a variable",
        ),
        (&TOKEN[1..], "this is not 32 hex digits"),
        (&format!("AC{TOKEN}"), "this is an account SID"),
        (&format!("SK{TOKEN}"), "this is the SID of an API key"),
    ] {
        let one = r#"{"accounts": [{"auth_tokens": [{"env": "T"}]}]}"#;
        let second = format!(
            r#"{{"accounts": [{{"auth_tokens": ["{TOKEN}", "{token}", {{"env": "T"}}]}}]}}"#
        );
        for (place, json, variable, value) in [
            ("accounts[0].auth_tokens[1]", &second[..], "T", TOKEN),
            ("accounts[0].auth_tokens[0]", one, "T", token),
            ("TWILIO_AUTH_TOKEN", "{}", "TWILIO_AUTH_TOKEN", token),
        ] {
            let found = warnings(json, &[(variable, value)]);
            assert_eq!(found.len(), usize::from(token != TOKEN), "{found:?}");
            for warning in &found {
                let said = warning.strip_prefix(&format!("{place}: {words}"));
                assert!(!said.expect(warning).contains(token), "{warning}");
            }
        }
    }
}
