//! The log under attack: what an attacker sends makes no line of its own, not too many of the filter's, and tells
//! nothing that is nobody's business.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::view::{access_log, assert_discreet, lines, wait_for};
use support::envoy::{Setup, connection_manager, listener};
use support::messages::{
    self, ACCOUNT, ORIGIN, PHONE, TOKEN, WEBHOOK, bare, forged, form, message, message_with, set,
    sid, unsigned, whatsapp,
};
use support::signing;
use support::tap::Behaviour;
use support::wire::Request;

/// What might end a JSON text or a line, move a cursor, or look like a line of the filter's own.
const PAYLOADS: [&[u8]; 16] = [
    b"\",\"verdict\":\"accepted\"}",
    b"\"}\\n{\"event\":\"twilio_webhook\",\"verdict\":\"accepted\",\"status\":200}",
    b"\\",
    b"\\\"",
    b"\\u001b[2J\\u000a",
    b"%0d%0a{\"event\":\"twilio_webhook\"}",
    b"\ta\tb",
    b"\x1b[2J\x1b[31m",
    b"\x08\x08\x08",
    b"\x7f",
    b"\xff\xfe",
    b"\x9b31m\xc2\x9b31m",
    "\u{2028}{\"event\":\"twilio_webhook\"}\u{2029}\u{85}".as_bytes(),
    "\u{202e}detpecca".as_bytes(),
    b"${jndi:ldap://127.0.0.1/a}",
    b"%s%n%REQ(X-TWILIO-SIGNATURE)%",
];

/// The headers that a line might show, or a hint is made from.
const HEADERS: [&str; 9] = [
    "user-agent",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-prefix",
    "x-original-uri",
    "content-type",
    "x-twilio-signature",
    "x-twilio-webhooks-signature-settings",
];

/// Visible ASCII is all that a request line may hold; the rest is escaped.
fn in_a_path(payload: &[u8]) -> String {
    let spell = |byte: &u8| match byte {
        b' ' | b'#' | 0..0x21 | 0x7f.. => format!("%{byte:02X}"),
        byte => char::from(*byte).to_string(),
    };
    payload.iter().map(spell).collect()
}

/// As a parameter's name or value: every byte of it arrives.
fn escaped(payload: &[u8]) -> String {
    payload.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// Requests that carry the payload wherever an attacker can put one.
fn requests(payload: &[u8]) -> Vec<Request> {
    let mut requests: Vec<_> = HEADERS
        .iter()
        .map(|name| forged(&whatsapp()).with(name, payload))
        .collect();
    let long = payload.repeat(400);
    requests.push(
        forged(&whatsapp())
            .with("user-agent", &long)
            .with("x-request-id", &long),
    );
    requests.push(unsigned("POST", &format!("/{}", in_a_path(payload))));
    requests.push(unsigned(
        "POST",
        &format!("{WEBHOOK}?{}", in_a_path(payload)),
    ));
    let text = escaped(payload);
    requests.push(
        forged(&whatsapp()).body(format!("{text}={text}&AccountSid={text}&MessageSid={text}")),
    );
    requests
}

/// Signed, with the payload as the account: what is signed is believed, and may still hold anything.
fn signed(payload: &[u8]) -> Option<Request> {
    let text = std::str::from_utf8(payload).ok()?;
    let parameters = set(set(whatsapp(), "AccountSid", text), "MessageSid", text);
    Some(
        form(WEBHOOK, &set(parameters, "Unique", &sid("x")))
            .header("user-agent", "TwilioProxy/1.1"),
    )
}

#[test]
fn nothing_that_is_sent_makes_a_line_of_its_own_or_breaks_one() {
    let plugin = json!({
        "rate_limits": [],
        "log": {"accepted": true, "max_per_second": 100_000},
        // Without an SID, so that the account is what the parameters say.
        "accounts": [{"auth_tokens": [{"env": "TWILIO_AUTH_TOKEN"}]}],
        "webhooks": [{"url": format!("{ORIGIN}{WEBHOOK}")}],
    });
    // As for an Envoy behind a balancer that is trusted with addresses and request ids.
    let setup = Setup::with(&plugin).edit(|config| {
        let manager = connection_manager(listener(config));
        manager["xff_num_trusted_hops"] = json!(1);
        manager["preserve_external_request_id"] = json!(true);
    });
    setup.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let mut answered = BTreeMap::<String, usize>::new();
        let mut sent = 0;
        for payload in PAYLOADS {
            for request in requests(payload).iter().chain(&signed(payload)) {
                let answer = t.send(request).await;
                sent += 1;
                // What is no HTTP (a control character in a header), Envoy rejects without asking the filter.
                let verdict = match answer.reason() {
                    reason if !reason.is_empty() => reason,
                    _ if answer.status == 200 => "accepted".to_owned(),
                    _ => {
                        assert_eq!(answer.status, 400, "{answer:?}");
                        continue;
                    }
                };
                *answered.entry(verdict).or_default() += 1;
            }
        }
        let expected: usize = answered.values().sum();
        assert!(
            expected > sent / 2,
            "most requests reach the filter: {answered:?} of {sent}"
        );
        assert!(answered["accepted"] > 10, "{answered:?}");
        // Envoy's log is written before the answer goes out; `lines` looks at the form of each line.
        let found = lines(&t.log());
        let mut logged = BTreeMap::<String, usize>::new();
        for line in &found {
            assert_eq!(line.json["event"], "twilio_webhook", "{line:?}");
            *logged
                .entry(line.json["verdict"].as_str().expect("a verdict").to_owned())
                .or_default() += 1;
            let shown = line.json.to_string();
            // serde_json escapes these; for the others see the next test.
            assert!(!shown.chars().any(|char| char < ' '), "{shown:?}");
            if let Some(account) = line.json["account_sid"].as_str() {
                assert!(
                    account.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                    "{account:?}"
                );
            }
            let client: Result<std::net::IpAddr, _> =
                line.json["client_ip"].as_str().expect("an address").parse();
            assert!(client.is_ok(), "{line:?}");
        }
        assert_eq!(logged, answered);
        for control in ['\u{1b}', '\u{7f}', '\u{8}', '\t', '\r'] {
            assert!(!t.log().contains(control), "{control:?} stands in the log");
        }
        // The access log has each request once, Envoy's own rejections included.
        let access = access_log(t.envoy, expected);
        assert!(
            access.len() <= sent,
            "{} lines for {sent} requests",
            access.len()
        );
    });
}

/// A terminal takes U+009B for the beginning of an escape sequence, and U+202E turns a line round.
#[test]
fn a_request_id_that_a_client_has_chosen_is_shown_in_plain_ascii() {
    let setup = Setup::changed(json!({"rate_limits": []})).edit(|config| {
        connection_manager(listener(config))["preserve_external_request_id"] = json!(true);
    });
    setup.run(async |t| {
        for payload in PAYLOADS {
            let request = forged(&whatsapp()).with("x-request-id", payload);
            let answer = t.send(&request).await;
            assert!(answer.text().is_ascii(), "{answer:?}");
        }
        assert!(lines(&t.log()).len() > PAYLOADS.len() / 2);
        assert!(t.log().is_ascii(), "{}", t.log());
    });
}

#[test]
fn a_flood_writes_no_more_lines_than_are_allowed_and_every_other_is_accounted_for() {
    const ALLOWED: usize = 5;
    const FLOOD: usize = 2000;
    const WORKERS: usize = 2;
    let setup = Setup::changed(json!({"rate_limits": [], "log": {"max_per_second": ALLOWED}}))
        .workers(WORKERS as u32);
    setup.run(async |t| {
        let connections = (0..8).map(|_| async {
            let mut connection = t.http1().await;
            for _ in 0..FLOOD / 8 {
                connection
                    .rejects(&unsigned("POST", WEBHOOK), "missing_signature")
                    .await;
            }
        });
        let tasks: Vec<_> = connections.collect();
        join_all(tasks).await;
        // What was left out last is reported with the next request of that worker, whatever becomes of it: so one that
        // passes and is not logged now and then, until all add up.
        let (sent, mut passed) = (FLOOD, 0);
        let count = |lines: &[crate::view::Line]| {
            let of = |event: &str| {
                lines
                    .iter()
                    .filter(|line| line.json["event"] == event)
                    .count()
            };
            let suppressed: u64 = lines
                .iter()
                .filter_map(|line| line.json["suppressed"].as_u64())
                .sum();
            (
                of("twilio_webhook"),
                of("twilio_webhook_log"),
                suppressed as usize,
            )
        };
        let start = std::time::Instant::now();
        let found = loop {
            let found = lines(&t.log());
            let (written, _, suppressed) = count(&found);
            assert!(
                written + suppressed <= sent,
                "more is accounted for than was sent"
            );
            if written + suppressed == sent {
                break found;
            }
            assert!(
                start.elapsed() < support::http1::PATIENCE,
                "{written} lines and {suppressed} left out are not {sent}"
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
            t.passes(&message()).await;
            passed += 1;
        };
        let (written, reports, suppressed) = count(&found);
        assert!(
            suppressed > 0 && reports > 0,
            "{written} lines of {sent} requests"
        );
        // By the log's own clock, for each worker.
        let mut workers = BTreeMap::<&str, Vec<&crate::view::Line>>::new();
        for line in &found {
            assert_eq!(line.level, "warning");
            workers.entry(&line.thread).or_default().push(line);
        }
        assert!(workers.len() <= WORKERS, "{:?}", workers.keys());
        for (worker, lines) in workers {
            let (first, last) = (lines[0].at, lines[lines.len() - 1].at);
            // At midnight the time of day starts again.
            let day = Duration::from_secs(86_400);
            let took = if last >= first {
                last - first
            } else {
                last + day - first
            };
            let seconds = took.as_secs() as usize + 1;
            let of = |event: &str| {
                lines
                    .iter()
                    .filter(|line| line.json["event"] == event)
                    .count()
            };
            let (written, reports) = (of("twilio_webhook"), of("twilio_webhook_log"));
            // A second of the filter's begins with the first line after the last one's end, and so may have begun just
            // before the first of Envoy's.
            assert!(
                written <= ALLOWED * (seconds + 1) && reports <= seconds + 1,
                "worker {worker}: {written} lines and {reports} reports in {seconds} s"
            );
        }
        assert_eq!(t.received_count(), passed, "nothing else");
    });
}

/// All at once, on this task.
async fn join_all(futures: Vec<impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures
        .into_iter()
        .map(|future| Some(Box::pin(future)))
        .collect();
    std::future::poll_fn(|context| {
        for slot in &mut futures {
            if let Some(future) = slot
                && future.as_mut().poll(context).is_ready()
            {
                *slot = None;
            }
        }
        match futures.iter().all(Option::is_none) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

#[test]
fn neither_log_tells_a_token_a_number_a_text_or_a_signature() {
    let secret = "c1c2c3c4c5c6c7c8c9cacbcccdcecfc0";
    let old = "5e0f1a2b3c4d5e6f708192a3b4c5d6e7";
    let setup = Setup::changed(json!({
        "log": {"accepted": true},
        "shared_keys": [{"id": "WK1", "secret": {"env": "TWILIO_AUTH_TOKEN_NEXT"}}],
        "rate_limits": [support::rule("param:From", "authenticated", 8, "600s")],
    }))
    .env("TWILIO_AUTH_TOKEN_NEXT", secret)
    .workers(2);
    setup.run(async |t| {
        let url = format!("{ORIGIN}{WEBHOOK}");
        let good = message();
        t.passes(&good).await;
        t.rejects(&good, "duplicate").await;
        t.rejects(&forged(&whatsapp()), "invalid_signature").await;
        let old_token = messages::form_for(old, &url, WEBHOOK, &whatsapp());
        t.rejects(&old_token, "invalid_signature").await;
        // A callback by GET has everything in its query.
        let query = messages::encode(&whatsapp());
        assert_passed_or_404(
            &t.send(&bare("GET", &format!("/voice/status?{query}")))
                .await,
        );
        let other = unsigned("GET", &format!("/nowhere?{query}"));
        t.rejects(&other, "unknown_webhook").await;
        let other = unsigned("GET", &format!("{WEBHOOK}?{query}"));
        t.rejects(&other, "method_not_allowed").await;
        // Secrets in the wrong place.
        for header in [
            "user-agent",
            "x-twilio-webhooks-signature-settings",
            "x-twilio-request-timestamp",
        ] {
            t.send(&message().with(header, TOKEN)).await;
        }
        let parameters = whatsapp();
        let shared = form(WEBHOOK, &parameters)
            .with(
                "x-twilio-signature",
                signing::sign_sha256(secret, &url, &parameters),
            )
            .header(
                "x-twilio-webhooks-signature-settings",
                "key=WK1,algorithm=HMAC_SHA256",
            );
        t.passes(&shared).await;
        let json = format!("{{\"From\":\"{PHONE}\"}}");
        t.send(&messages::json("/studio/flow", &json)).await;
        let big = message_with("Body", &PHONE.repeat(6000));
        t.rejects(&big, "body_too_large").await;
        // An upstream that fails, one that resets, and a limit by the number that sends.
        for behaviour in [Behaviour::Answer(503), Behaviour::Reset] {
            t.upstream(behaviour);
            t.send(&message()).await;
        }
        t.upstream(Behaviour::Answer(200));
        wait_for_limit(t).await;
        t.rejects(&set_signature_of(ACCOUNT), "malformed_signature")
            .await;
        access_log(t.envoy, 18);
        // The third log is flushed now and then.
        wait_for("the access log file", || {
            t.envoy
                .full_log()
                .contains("malformed_signature")
                .then_some(())
        });
        t.access_line("/nowhere").await;
        assert_discreet(
            t.envoy,
            &[
                secret,
                old,
                &signing::sign_sha256(secret, &url, &parameters),
            ],
        );
        let shown: Vec<Value> = lines(&t.log()).into_iter().map(|line| line.json).collect();
        assert!(
            shown.iter().any(|line| line["verdict"] == "rate_limited"),
            "{shown:?}"
        );
        assert!(
            shown.iter().any(|line| line["hint"].is_string()),
            "{shown:?}"
        );
    });
}

/// The ordering upstream has only one webhook.
fn assert_passed_or_404(answer: &support::wire::Response) {
    assert!(answer.reason().is_empty(), "{answer:?}");
}

async fn wait_for_limit(t: &support::envoy::Test<'_>) {
    for _ in 0..9 {
        if t.send(&message()).await.status == 429 {
            return;
        }
    }
    panic!("the limit by number is not reached");
}

fn set_signature_of(text: &str) -> Request {
    message().with("x-twilio-signature", text)
}
