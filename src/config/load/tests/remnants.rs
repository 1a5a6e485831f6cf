//! Remnants of copying in secrets and variables.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

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
