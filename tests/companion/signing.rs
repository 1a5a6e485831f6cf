//! `sign`: the signatures that Twilio and its libraries have published.

use serde_json::Value;
use support::messages::encode;
use support::signing::{sha256_hex, sign_sha256};

use crate::command::{file, run, run_with};

fn official() -> Vec<Value> {
    let text = include_str!("../vectors/official.json");
    serde_json::from_str(text).expect("JSON")
}

fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap_or_default()
}

fn pairs(case: &Value) -> Vec<(String, String)> {
    let list = case["params"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    list.iter()
        .map(|pair| (text(&pair[0]), text(&pair[1])))
        .collect()
}

#[test]
fn the_official_vectors_have_their_signatures() {
    let mut compared = 0;
    for case in official() {
        // Those with a body have their hash in the URL already; sign would add it.
        let is_valid = case["valid"].as_bool() == Some(true);
        let url = case["signed_url"].as_str().unwrap_or(text(&case, "url"));
        // What it is asked for is a URL that can be called.
        let is_sendable = url.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_valid || !is_sendable || case["body"].is_string() || url.contains('@') {
            continue;
        }
        let pairs = pairs(&case);
        let parameters: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("--param={name}={value}"))
            .collect();
        let mut arguments = vec!["sign", "--json", url];
        arguments.extend(parameters.iter().map(String::as_str));
        let ran = run(&arguments, &[("TWILIO_AUTH_TOKEN", text(&case, "token"))]);
        assert_eq!(ran.status, 0, "{}", ran.err);
        let signature = ran.json()["headers"]["x-twilio-signature"].clone();
        assert_eq!(signature, case["signature"], "{case}");
        compared += 1;

        // The same from a form as it is spelled.
        if !pairs.is_empty() {
            let form = encode(&pairs);
            let arguments = ["sign", "--as", "form", "--body-file", "-", url];
            let ran = run_with(
                &arguments,
                &[("TWILIO_AUTH_TOKEN", text(&case, "token"))],
                form.as_bytes(),
            );
            let expected = format!("x-twilio-signature: {}\n", text(&case, "signature"));
            assert!(
                ran.out.starts_with(&expected),
                "{case}: {}{}",
                ran.out,
                ran.err
            );
        }
    }
    assert!(compared >= 20, "{compared}");
}

const TOKEN: &str = "5ce117c0de5ce117c0de5ce117c0de00";

#[test]
fn json_gets_its_hash_into_the_url_and_what_is_signed_verifies() {
    let folder = tempfile::tempdir().expect("a directory");
    let json = r#"[{"type":"com.twilio.messaging.message.delivered"}]"#;
    let body = file(folder.path(), "event.json", json.as_bytes());
    let url = "https://orders.example.com/events?a=1";
    let environment = [("TWILIO_AUTH_TOKEN", TOKEN)];
    let signed = run(&["sign", "--json", url, "--body-file", &body], &environment).json();
    let expected = format!("{url}&bodySHA256={}", sha256_hex(json.as_bytes()));
    assert_eq!(signed["url"], expected);

    for content in [
        &["--body-file", &body][..],
        &["-p", "Body=2 tacos", "-p", "From=whatsapp:+1 5"],
        &["--get", "-p", "Body=2 tacos", "-p", "CallStatus=ringing"],
        &["--websocket"],
        &[],
    ] {
        let sign = [&["sign", "--curl", url][..], content].concat();
        let curl = run(&sign, &environment);
        let explain = ["explain", "--url", url, "--json"];
        let ran = run_with(&explain, &environment, curl.out.as_bytes());
        assert_eq!(
            ran.status, 0,
            "{content:?}: {}{}{}",
            curl.out, ran.out, ran.err
        );
        assert_eq!(ran.json()["requests"][0]["verdict"], "accepted");
        // Another token has not signed it.
        let other = [("TWILIO_AUTH_TOKEN", "00000000000000000000000000000000")];
        let ran = run_with(&explain, &other, curl.out.as_bytes());
        assert_eq!(ran.json()["requests"][0]["verdict"], "invalid_signature");
        assert_eq!(ran.status, 1);
    }
}

#[test]
fn a_shared_key_signs_with_sha256_and_names_itself() {
    let folder = tempfile::tempdir().expect("a directory");
    let secret = file(folder.path(), "secret", b"a-secret\n");
    let url = "https://orders.example.com/hook";
    let key = ["--shared-key", "wsk_1", "--token-file", &secret];
    let sign = [&["sign", "--json", url, "-p", "a=1"][..], &key].concat();
    let headers = run(&sign, &[]).json()["headers"].clone();
    let pairs = [("a".to_owned(), "1".to_owned())];
    assert_eq!(
        headers["x-twilio-signature"],
        sign_sha256("a-secret", url, &pairs)
    );
    let settings = &headers["x-twilio-webhooks-signature-settings"];
    assert_eq!(settings, "key=wsk_1,algorithm=HMAC_SHA256");

    let sign = [&["sign", "--curl", url, "-p", "a=1"][..], &key].concat();
    let curl = run(&sign, &[]);
    let explain = [&["explain", "--json", "--url", url][..], &key].concat();
    let ran = run_with(&explain, &[], curl.out.as_bytes());
    assert_eq!(
        ran.json()["requests"][0]["verdict"],
        "accepted",
        "{}",
        ran.out
    );
}

#[test]
fn a_token_as_an_argument_is_rejected_and_none_at_all_is_asked_for() {
    for option in ["--token", "--auth-token"] {
        let ran = run(&["sign", "https://h.example/p", option, TOKEN], &[]);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""));
        assert!(ran.err.contains("a token is no argument"), "{}", ran.err);
        assert!(!ran.err.contains(TOKEN));
    }
    let ran = run(&["sign", "https://h.example/p"], &[]);
    assert_eq!(ran.status, 2);
    assert!(
        ran.err
            .contains("expected the auth token in TWILIO_AUTH_TOKEN"),
        "{}",
        ran.err
    );
}

#[test]
fn a_key_that_the_filter_would_not_load_signs_nothing() {
    let folder = tempfile::tempdir().expect("a directory");
    let url = "https://orders.example.com/hook";
    for (token, words) in [
        (format!("\"{TOKEN}\""), "it has quotes around it"),
        (format!(" {TOKEN}"), "it begins with white space"),
        (format!("{TOKEN}\r\n"), "it ends in a line end"),
        (
            "${TWILIO_AUTH_TOKEN}".to_owned(),
            "a variable that was not expanded",
        ),
        (format!("{TOKEN}\u{e9}"), "not ASCII"),
    ] {
        for command in [&["sign", url][..], &["send", "--dry-run", "--url", url]] {
            let ran = run(command, &[("TWILIO_AUTH_TOKEN", &token)]);
            assert_eq!(
                (ran.status, ran.out.as_str()),
                (2, ""),
                "{token:?}: {}",
                ran.err
            );
            assert!(
                ran.err.contains("TWILIO_AUTH_TOKEN: expected a secret"),
                "{}",
                ran.err
            );
            assert!(
                ran.err.contains(words) && !ran.err.contains(TOKEN),
                "{}",
                ran.err
            );
        }
        // The end of a file's last line is no part of it.
        let path = file(folder.path(), "token", token.as_bytes());
        let ran = run(&["sign", url, "--token-file", &path], &[]);
        let is_right = words.contains("line end");
        assert_eq!(
            ran.status,
            if is_right { 0 } else { 2 },
            "{token:?}: {}",
            ran.err
        );
        assert!(is_right || ran.err.contains(words), "{}", ran.err);
    }
}

#[test]
fn a_scheme_in_capitals_is_signed_as_the_filter_signs_it() {
    let environment = [("TWILIO_AUTH_TOKEN", TOKEN)];
    let url = "HTTPS://orders.example.com/hook";
    for content in [
        &["-p", "Body=x"][..],
        &["--get", "-p", "Body=x"],
        &["--websocket"],
    ] {
        let curl = run(
            &[&["sign", "--curl", url][..], content].concat(),
            &environment,
        );
        assert_eq!(curl.status, 0, "{}", curl.err);
        let explain = ["explain", "--url", url, "--json"];
        let ran = run_with(&explain, &environment, curl.out.as_bytes());
        assert_eq!(
            ran.json()["requests"][0]["verdict"],
            "accepted",
            "{}",
            ran.out
        );
    }
}
