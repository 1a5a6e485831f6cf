//! `send`: each kind through a real Envoy, and the filter's hint from its log.

use std::io::Write as _;

use serde_json::{Value, json};
use support::envoy::{Envoy, Setup, plugin_with};
use support::messages::{ACCOUNT, ORIGIN, TOKEN, WEBHOOK};
use support::tap::Behaviour;

use crate::command::run;

fn envoy() -> Envoy {
    let envoy = Setup::with(&plugin_with(json!({
        "rate_limits": [],
        "accounts": [{"account_sid": ACCOUNT, "auth_tokens": [{"env": "TWILIO_AUTH_TOKEN"}]}],
    })))
    .start();
    envoy.tap.behave(Behaviour::Answer(200));
    envoy
}

fn send(envoy: &Envoy, path: &str, more: &[&str]) -> (i32, Value) {
    let (to, url) = (envoy.address().to_string(), format!("{ORIGIN}{path}"));
    let arguments = [
        &[
            "send",
            "--json",
            "--to",
            &to,
            "--url",
            &url,
            "--account",
            ACCOUNT,
        ][..],
        more,
    ]
    .concat();
    let ran = run(&arguments, &[("TWILIO_AUTH_TOKEN", TOKEN)]);
    assert!(ran.status < 2, "{}", ran.err);
    (ran.status, ran.json())
}

#[test]
fn every_kind_passes_and_what_is_wrong_is_rejected_with_the_filters_hint() {
    let envoy = envoy();
    for kind in [
        "whatsapp", "sms", "status", "button", "location", "voice", "json",
    ] {
        let (status, answer) = send(&envoy, WEBHOOK, &["--kind", kind]);
        assert_eq!(
            (status, &answer["answers"][0]["status"]),
            (0, &json!(200)),
            "{kind}: {answer}"
        );
    }
    let (status, answer) = send(&envoy, "/voice/status", &["--kind", "status", "--get"]);
    assert_eq!(status, 0, "{answer}");
    let (_, answer) = send(&envoy, "/voice/stream", &["--kind", "websocket"]);
    // The upstream of these tests opens none, but Envoy has passed it on.
    assert_eq!(answer["answers"][0]["reason"], Value::Null, "{answer}");

    let (status, answer) = send(&envoy, WEBHOOK, &["--forge"]);
    assert_eq!(
        (status, &answer["answers"][0]["reason"]),
        (1, &json!("invalid_signature"))
    );
    let (_, answer) = send(&envoy, WEBHOOK, &["--age", "4000"]);
    assert_eq!(answer["answers"][0]["reason"], "stale_timestamp");
    let (status, answer) = send(&envoy, WEBHOOK, &["--repeat", "2", "Body=1"]);
    let reasons: Vec<_> = answer["answers"]
        .as_array()
        .expect("two")
        .iter()
        .map(|one| &one["reason"])
        .collect();
    assert_eq!(
        (status, reasons),
        (1, vec![&Value::Null, &json!("duplicate")])
    );
    let (_, answer) = send(&envoy, WEBHOOK, &["--parallel", "8"]);
    let passed = answer["answers"]
        .as_array()
        .expect("eight")
        .iter()
        .filter(|one| one["status"] == 200)
        .count();
    assert_eq!(passed, 1, "{answer}");

    // The hint is found in Envoy's log, by the request's id.
    let folder = tempfile::tempdir().expect("a directory");
    let log = folder.path().join("envoy.log");
    std::fs::File::create(&log).expect("a file");
    let (to, log_name) = (
        envoy.address().to_string(),
        log.to_str().expect("UTF-8").to_owned(),
    );
    let copier = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let url = format!("http://orders.example.com{WEBHOOK}");
            let arguments = [
                "send",
                "--to",
                &to,
                "--url",
                &url,
                "--account",
                ACCOUNT,
                "--log",
                &log_name,
            ];
            run(&arguments, &[("TWILIO_AUTH_TOKEN", TOKEN)])
        });
        while !sender.is_finished() {
            let mut file = std::fs::File::create(&log).expect("a file");
            file.write_all(envoy.full_log().as_bytes())
                .expect("written");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        sender.join().expect("it ends")
    });
    assert_eq!(copier.status, 1);
    let hint = "the scheme that was signed is http, not https";
    assert!(
        copier.out.lines().any(|line| line == hint),
        "{}{}",
        copier.out,
        copier.err
    );
}

#[test]
fn a_load_ends_after_its_time_and_counts_what_came_back() {
    let envoy = envoy();
    let (status, answer) = send(
        &envoy,
        WEBHOOK,
        &["--rate", "100", "--duration", "1", "--parallel", "4"],
    );
    assert_eq!(status, 0, "{answer}");
    let requests = answer["requests"].as_u64().expect("a number");
    assert!((50..=100).contains(&requests), "{answer}");
    assert_eq!(answer["answers"]["200"], requests);
}

#[test]
fn a_number_that_cannot_be_is_said_with_status_2() {
    let environment = [("TWILIO_AUTH_TOKEN", "5ce117c0de5ce117c0de5ce117c0de00")];
    let send = [
        "send",
        "--url",
        "https://orders.example.com/hook",
        "--to",
        "127.0.0.1:1",
    ];
    for number in ["-1", "0", "nan", "inf", "1e20", "1e309", "x", ""] {
        for (option, words) in [
            ("--duration", "a number of seconds, from 0.001 to a year"),
            (
                "--rate",
                "a number of requests a second, from 0.001 to 100000",
            ),
        ] {
            let own = format!("{option}={number}");
            let rate: &[&str] = if option == "--rate" {
                &[]
            } else {
                &["--rate=1"]
            };
            let ran = run(&[&send, rate, &[&own[..]]].concat(), &environment);
            assert_eq!(
                (ran.status, ran.out.as_str()),
                (2, ""),
                "{own}: {}",
                ran.err
            );
            assert!(ran.err.contains(words), "{own}: {}", ran.err);
        }
    }
    for own in [
        "--rate=1e-300",
        "--parallel=0",
        "--parallel=1001",
        "--parallel=-1",
        "--repeat=0",
        "--repeat=4294967296",
        "--age=9223372036854775808",
    ] {
        let ran = run(&[&send[..], &[own]].concat(), &environment);
        let name = own.split('=').next().expect("a name");
        assert_eq!(ran.status, 2, "{own}: {}", ran.err);
        assert!(ran.err.contains(name), "{own}: {}", ran.err);
    }
}
