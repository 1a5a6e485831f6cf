//! `report`: a log of any size, in bounded memory.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::random::Random;

use crate::command::{command, run, run_with};

/// The size of the large log, in bytes.
const LARGE: usize = 200_000_000;

/// The most memory that a report may take, in KiB. It does not depend on the log's size.
const MAX_KIB: u64 = 64 * 1024;

fn line(second: usize, verdict: &str, webhook: &str, address: &str, hint: Option<&str>) -> String {
    let hint = hint.map_or("null".to_owned(), |hint| format!("\"{hint}\""));
    let (hour, minute) = (second / 3600 % 24, second / 60 % 60);
    format!(
        "[2026-11-{:02} {hour:02}:{minute:02}:{:02}.000][7][warning][wasm] [source/x.cc:1] wasm log \
         twilio_webhook_filter twilio_webhook_filter twilio_webhook_filter: {{\"event\":\"twilio_webhook\",\
         \"verdict\":\"{verdict}\",\"status\":403,\"message\":\"A sentence.\",\
         \"request_id\":\"7c9e6679-7425-40de-944b-e07fc1f90ae7\",\"client_ip\":\"{address}\",\
         \"webhook\":\"{webhook}\",\"account_sid\":null,\"key\":null,\"nonce\":null,\"hint\":{hint}}}\n",
        1 + second / 86_400 % 28,
        second % 60
    )
}

const SCHEME: &str = "the scheme that was signed is http, not https";

#[test]
fn verdicts_hints_and_addresses_are_counted_with_what_to_do() {
    let mut log = String::from("[2026-11-01 00:00:00.000][1][info][main] starting {}\n");
    for second in [0, 10, 3600] {
        log += &line(
            second,
            "invalid_signature",
            "hook",
            "192.0.2.1",
            Some(SCHEME),
        );
    }
    log += &line(3601, "accepted", "hook", "192.0.2.2", None);
    log += &line(
        3602,
        "duplicate",
        "voice",
        "192.0.2.3",
        Some("the same request was accepted 7 s ago"),
    );
    for (host, prefix) in [
        (
            "wasm",
            "wasm log twilio_webhook_filter twilio_webhook_filter twilio_webhook_filter: ",
        ),
        ("dynamic_modules", "twilio_webhook_filter: "),
    ] {
        for line in [
            r#"{"event":"twilio_webhook_log","suppressed":6}"#,
            r#"{"event":"twilio_webhook","message":"A request was held until it ended","request_id":""}"#,
            "twilio_webhook configuration rejected: mode: expected enforce",
        ] {
            log += &format!(
                "[2026-11-01 02:00:00.000][1][warning][{host}] [source/x.cc:1] {prefix}{line}\n"
            );
        }
    }
    let ran = run_with(&["report"], &[], log.as_bytes());
    assert_eq!(ran.status, 0, "{}", ran.err);
    for words in [
        "5 requests in 12 lines",
        "12 lines were left out",
        "2026-11-01 00:00  hook     2         0         invalid_signature 2",
        "2026-11-01 01:00  hook     2         1         invalid_signature 1",
        "3 the scheme that was signed is http, not https",
        "the URL at Twilio begins with http://",
        "3  192.0.2.1  invalid_signature",
    ] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    let value = run_with(&["report", "--json"], &[], log.as_bytes()).json();
    assert_eq!(value["verdicts"]["invalid_signature"], 3);
    assert_eq!(value["hints"][0]["hint"], SCHEME);
    let counted = [
        "suppressed",
        "bodies_never_shown",
        "configurations_rejected",
    ]
    .map(|name| &value[name]);
    assert_eq!(counted, [12, 2, 2], "{value}");
    let ran = run_with(&["report"], &[], b"nothing of the filter\n");
    assert!(
        ran.out.contains("There is no line of the filter"),
        "{}",
        ran.out
    );
}

#[test]
fn a_log_of_200_mb_takes_bounded_memory_and_loses_no_verdict() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("envoy.log");
    let mut file = BufWriter::new(File::create(&path).expect("a file"));
    let (mut size, mut count) = (0, 0_u64);
    let mut random = Random::new(7, 0);
    while size < LARGE {
        let mut batch = String::new();
        for _ in 0..1000 {
            // Ever new addresses and hints, among them one that comes often.
            let number = random.below(1 << 30);
            let often = number.is_multiple_of(5);
            let address = match often {
                true => "198.51.100.7".to_owned(),
                false => format!("2001:db8::{:x}:{:x}", number >> 16, number & 0xFFFF),
            };
            let mut hint = String::from("the host that was signed is ");
            for shift in 0..6 {
                let letter = b'a' + (number >> (4 * shift) & 15) as u8;
                let _ = write!(hint, "{}", char::from(letter));
            }
            let hint = if often { SCHEME } else { &hint };
            let second = usize::try_from(count / 10).expect("small");
            batch += &line(second, "invalid_signature", "hook", &address, Some(hint));
            batch += "{\"time\":\"2026-11-28T15:00:00Z\",\"status\":403,\"path\":\"/hook\",\"of\":\"the access log\"}\n";
            count += 1;
        }
        size += batch.len();
        file.write_all(batch.as_bytes()).expect("written");
    }
    file.into_inner().expect("written");
    let start = Instant::now();
    let mut child = command(&["report", "--json", path.to_str().expect("UTF-8")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().expect("it ends");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    println!("{size} bytes in {:?}, {peak} KiB at most", start.elapsed());
    assert_eq!(value["verdicts"]["invalid_signature"], count);
    assert_eq!(value["bytes"], size);
    assert_eq!(value["hints"][0]["hint"], SCHEME);
    assert_eq!(value["addresses"][0]["client_ip"], "198.51.100.7");
    assert!(peak > 0 && peak < MAX_KIB, "{peak} KiB");
}

#[test]
fn a_log_that_grows_is_followed_across_a_rotation_until_ctrl_c() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("envoy.log");
    std::fs::write(
        &path,
        line(0, "invalid_signature", "hook", "192.0.2.1", Some("first")),
    )
    .expect("a file");
    let mut child = command(&["report", "--follow", path.to_str().expect("UTF-8")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("UTF-8");
    assert!(next().ends_with("first"));
    let mut file = File::options().append(true).open(&path).expect("the file");
    file.write_all(line(1, "duplicate", "hook", "192.0.2.1", Some("second")).as_bytes())
        .expect("written");
    assert!(next().ends_with("second"));
    std::fs::rename(&path, folder.path().join("envoy.log.1")).expect("rotated");
    std::fs::write(
        &path,
        line(2, "stale_timestamp", "hook", "192.0.2.1", Some("third")),
    )
    .expect("a file");
    assert!(next().ends_with("third"));
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    let rest: Vec<String> = lines.map(|line| line.expect("UTF-8")).collect();
    assert!(
        rest.first()
            .is_some_and(|line| line.starts_with("3 requests")),
        "{rest:?}"
    );
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_log_that_is_not_there_is_told() {
    let ran = run(&["report", "/no/such/file"], &[]);
    assert_eq!((ran.status, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("/no/such/file: "), "{}", ran.err);
}
