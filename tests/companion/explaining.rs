//! `explain`: what it shows, and what it keeps to itself.

use crate::command::{file, run, run_with};

const TOKEN: &str = "5ce117c0de5ce117c0de5ce117c0de00";
const ENVIRONMENT: [(&str, &str); 1] = [("TWILIO_AUTH_TOKEN", TOKEN)];
const URL: &str = "https://orders.example.com/hook";
const PERSONAL: [&str; 4] = ["tacos", "15551234567", "Ana", "4711"];

/// A message that was signed for another scheme, as a curl command.
fn message(url: &str) -> String {
    let sign = [
        "sign",
        "--curl",
        url,
        "-p",
        "Body=2 tacos",
        "-p",
        "From=whatsapp:+15551234567",
        "-p",
        "ProfileName=Ana",
        "-p",
        "ButtonPayload=order 4711",
    ];
    run(&sign, &ENVIRONMENT).out
}

#[test]
fn a_mistake_is_named_in_the_filters_words_and_shown_in_its_place_without_personal_data() {
    let capture = message("http://orders.example.com/hook");
    let ran = run_with(&["explain", "--url", URL], &ENVIRONMENT, capture.as_bytes());
    assert_eq!(ran.status, 1);
    let hint = "the scheme that was signed is http, not https";
    assert!(ran.out.lines().any(|line| line == hint), "{}", ran.out);
    let row = ran.out.lines().find(|line| line.starts_with('>'));
    let row = row.expect("a row that differs");
    assert!(row.contains("https://orders.example.com") && row.contains("  http://orders"));
    for secret in PERSONAL.iter().chain(&[TOKEN]) {
        assert!(!ran.out.contains(secret), "{secret} is shown: {}", ran.out);
    }
    assert!(!ran.out.contains('\x1b'), "colours without a terminal");
    let ran = run_with(
        &["explain", "--url", URL, "--show-data"],
        &ENVIRONMENT,
        capture.as_bytes(),
    );
    for text in PERSONAL {
        assert!(ran.out.contains(text), "{text} is not shown: {}", ran.out);
    }
    assert!(!ran.out.contains(TOKEN));
}

#[test]
fn requests_are_explained_in_their_order_and_a_repeat_is_a_duplicate() {
    let capture = message(URL);
    let folder = tempfile::tempdir().expect("a directory");
    let path = file(folder.path(), "message.curl", capture.as_bytes());
    let ran = run(
        &["explain", "--json", "--url", URL, &path, &path],
        &ENVIRONMENT,
    );
    let answer = ran.json();
    assert_eq!(answer["requests"][0]["verdict"], "accepted");
    assert_eq!(answer["requests"][1]["verdict"], "duplicate");
    assert_eq!(ran.status, 1);
}

#[test]
fn what_monitor_lets_through_is_said_to_pass_and_why_it_does_not_verify() {
    let capture = message("http://orders.example.com/hook");
    let folder = tempfile::tempdir().expect("a directory");
    for (mode, passes, words) in [
        (
            "monitor",
            true,
            "passes, since the mode is monitor; else rejected: 403 invalid_signature",
        ),
        ("enforce", false, "rejected: 403 invalid_signature"),
        ("off", true, "passes: 200 unchecked"),
    ] {
        let json = format!(
            r#"{{"mode": "{mode}", "accounts": [{{"auth_tokens": ["{TOKEN}"]}}], "webhooks": [{{"url": "{URL}"}}]}}"#
        );
        let config = file(folder.path(), "filter.json", json.as_bytes());
        let explain = |more: &[&str]| {
            let arguments = [&["explain", "--config", &config][..], more].concat();
            run_with(&arguments, &[], capture.as_bytes())
        };
        let ran = explain(&["--json"]);
        let one = &ran.json()["requests"][0];
        assert_eq!(one["passes"], passes, "{mode}: {one}");
        assert_eq!(one["monitored"], mode == "monitor", "{mode}: {one}");
        // Whether it verifies.
        assert_eq!(ran.status, i32::from(mode != "off"), "{mode}");
        let ran = explain(&[]);
        assert!(
            ran.out.contains(&format!("  {words}\n")),
            "{mode}: {}",
            ran.out
        );
    }
}

#[test]
fn an_old_timestamp_is_held_against_a_request_only_if_it_is_known_when_it_came() {
    let sign = ["sign", "--curl", URL, "-p", "Timestamp=1700000000"];
    let capture = run(&sign, &ENVIRONMENT).out;
    let explain = |more: &[&str]| {
        let arguments = [&["explain", "--json", "--url", URL][..], more].concat();
        let ran = run_with(&arguments, &ENVIRONMENT, capture.as_bytes());
        (ran.status, ran.json()["requests"][0].clone())
    };
    let (status, request) = explain(&[]);
    assert_eq!((status, &request["verdict"]), (0, &"accepted".into()));
    let note = request["notes"][0].as_str().expect("a note");
    assert!(note.contains("400 stale_timestamp"), "{note}");
    let (status, request) = explain(&["--at", "1700000100"]);
    assert_eq!((status, &request["notes"]), (0, &serde_json::json!([])));
    let (status, request) = explain(&["--at", "2023-11-14T23:13:20Z"]);
    assert_eq!(
        (status, &request["verdict"]),
        (1, &"stale_timestamp".into())
    );
    assert_eq!(request["hint"], "it is 3600 s old");
}

#[test]
fn a_line_of_the_filters_log_says_again_what_it_says() {
    let line = r#"[2026-11-28 15:00:01.000][7][warning][wasm] wasm log x: {"event":"twilio_webhook","verdict":"unknown_webhook","status":404,"message":"There is no webhook at this path.","request_id":"1","client_ip":"192.0.2.1","method":"POST","path":"/hook/","webhook":null,"account_sid":null,"key":null,"nonce":null,"hint":"a hint"}"#;
    let ran = run_with(&["explain"], &[], line.as_bytes());
    assert_eq!(ran.status, 1, "{}", ran.err);
    assert!(ran.out.lines().any(|line| line == "a hint"), "{}", ran.out);
    // Whoever can write a log cannot write to the terminal of whoever reads it.
    let hostile = line
        .replace("a hint", r"a hint\u001b[2J")
        .replace("/hook/", r"/\u001b[2J");
    let ran = run_with(&["explain"], &[], hostile.as_bytes());
    assert!(
        !ran.out.contains('\x1b') && ran.out.contains(r"a hint\u{1b}[2J"),
        "{}",
        ran.out
    );
}

#[test]
fn what_is_wrong_with_the_input_is_said_with_status_2() {
    let folder = tempfile::tempdir().expect("a directory");
    let config = file(folder.path(), "config.json", br#"{"modee": 1}"#);
    let capture = file(folder.path(), "request.http", b"POST /hook HTTP/1.1\n\na=1");
    for (arguments, stdin, words) in [
        (vec!["explain"], "hello", "expected a request"),
        (vec!["explain", "/no/such/file"], "", "/no/such/file: "),
        (
            vec!["explain", "--url", "h.example", &capture],
            "",
            "--url: expected",
        ),
        (vec!["explain", &capture], "", "expected --url URL"),
        (vec!["explain", "--config", &config, &capture], "", "modee"),
        (
            vec!["explain", "--at", "tomorrow", &capture],
            "",
            "expected a time",
        ),
        (
            vec!["explain", "--format", "har", &capture],
            "",
            "a HAR file",
        ),
        (vec!["explode"], "", "unrecognized subcommand"),
    ] {
        let ran = run_with(&arguments, &ENVIRONMENT, stdin.as_bytes());
        assert_eq!(
            (ran.status, ran.out.as_str()),
            (2, ""),
            "{arguments:?}: {}",
            ran.err
        );
        assert!(ran.err.contains(words), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn a_reader_that_leaves_is_no_error_and_completions_and_pages_are_made() {
    use std::process::Stdio;
    let mut child = crate::command::command(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");

    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().to_str().expect("UTF-8");
    assert_eq!(run(&["man", "--dir", path], &[]).status, 0);
    for page in [
        "twilio-webhook",
        "twilio-webhook-explain",
        "twilio-webhook-check-config",
    ] {
        assert!(folder.path().join(format!("{page}.1")).is_file(), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell], &[]).out;
        assert!(script.contains("check-config"), "{shell}");
    }
}
