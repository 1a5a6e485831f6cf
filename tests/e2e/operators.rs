use serde_json::{Value, json};

use support::envoy::{Setup, plugin, shared};
use support::filter_host::{FilterHost, filter_host};
use support::messages::{
    self, ACCOUNT, WEBHOOK, forged, form, message, message_with, unsigned, whatsapp,
};
use support::status_of;

#[test]
fn each_rejection_is_one_line_of_json_at_warn() {
    Setup::changed(json!({"rate_limits": []})).run(async |t| {
        let good = message();
        t.passes(&good).await;
        let nonce = t
            .received_one()
            .header("x-twilio-webhook-nonce")
            .map(|nonce| nonce[..8].to_owned());
        for (request, reason) in [
            (forged(&whatsapp()), "invalid_signature"),
            (good.clone(), "duplicate"),
            (unsigned("POST", WEBHOOK), "missing_signature"),
            (unsigned("POST", "/elsewhere"), "unknown_webhook"),
            (unsigned("GET", WEBHOOK), "method_not_allowed"),
            (
                message().header("x-twilio-request-timestamp", "1"),
                "stale_timestamp",
            ),
            (
                message().with("content-type", "text/plain"),
                "unsigned_body",
            ),
            (message_with("Body", &"x".repeat(70_000)), "body_too_large"),
        ] {
            let answer = t.rejects(&request, reason).await;
            let id = answer.json()["request_id"].clone();
            let lines = t.log_lines(1, |line| line["request_id"] == id).await;
            assert_eq!(lines.len(), 1, "{reason}: {lines:?}");
            let line = &lines[0];
            assert!(line["event"].is_string(), "{line}");
            assert_eq!(line["verdict"], reason);
            assert_eq!(line["status"], status_of(reason));
            assert_eq!(line["client_ip"], t.address.to_string());
            if reason != "unknown_webhook" {
                assert!(line["webhook"].is_string(), "{line}");
            }
            if reason == "duplicate" {
                assert_eq!(line["nonce"].as_str().map(str::to_owned), nonce);
            }
            let log = t.log();
            let id = id.as_str().expect("a request id");
            let raw: Vec<_> = log
                .lines()
                .filter(|line| line.contains(filter_host().log_marker()) && line.contains(id))
                .collect();
            assert_eq!(raw.len(), 1, "{raw:?}");
            assert!(raw[0].contains("[warning]"), "{}", raw[0]);
        }
        t.received_one();
    });
}

#[test]
fn the_words_that_operators_search_the_old_log_for_are_still_there() {
    Setup::changed(json!({"rate_limits": [support::rule("client_ip", "all", 3, "600s")]})).run(
        async |t| {
            let good = message();
            for (request, status, words) in [
                (good.clone(), 200, ""),
                (forged(&whatsapp()), 403, "Invalid Twilio signature"),
                (good, 409, "Replay attack"),
                (message(), 429, "Rate limit"),
            ] {
                let answer = t.send(&request).await;
                assert_eq!(answer.status, status);
                if status != 200 {
                    let id = answer.json()["request_id"].clone();
                    let lines = t.log_lines(1, |line| line["request_id"] == id).await;
                    assert!(
                        lines[0].to_string().contains(words),
                        "{words}: {}",
                        lines[0]
                    );
                }
            }
        },
    );
}

#[test]
fn an_accepted_request_is_logged_only_where_that_is_asked_for() {
    Setup::with(&plugin()).run(async |t| {
        t.passes(&message()).await;
        // Something that is logged after it, so that its absence means something.
        t.rejects(&forged(&whatsapp()), "invalid_signature").await;
        t.log_lines(1, |line| line["verdict"] == "invalid_signature")
            .await;
        assert!(!t.log().contains("accepted"), "{}", t.log());
    });
    Setup::changed(json!({"log": {"accepted": true}})).run(async |t| {
        t.passes(&message()).await;
        let lines = t.log_lines(1, |line| line["verdict"] == "accepted").await;
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(
            (&line["account_sid"], &line["client_ip"]),
            (&json!(ACCOUNT), &json!(t.address.to_string()))
        );
        assert!(
            line["key"].as_str().is_some_and(|key| !key.is_empty()),
            "which key matched: {line}"
        );
        let received = t.received_one();
        assert_eq!(
            line["nonce"].as_str(),
            received
                .header("x-twilio-webhook-nonce")
                .map(|nonce| &nonce[..8])
        );
        assert_eq!(line["request_id"].as_str(), received.header("x-request-id"));
        let log = t.log();
        let raw: Vec<_> = log
            .lines()
            .filter(|line| line.contains("\"accepted\""))
            .collect();
        assert!(raw.len() == 1 && raw[0].contains("[info]"), "{raw:?}");
    });
}

#[test]
fn a_flood_of_rejections_is_logged_at_a_bounded_rate() {
    Setup::changed(json!({"rate_limits": [], "log": {"max_per_second": 3}})).run(async |t| {
        // One connection is one worker.
        let mut connection = t.http1().await;
        let start = std::time::Instant::now();
        for _ in 0..400 {
            connection
                .rejects(&unsigned("POST", WEBHOOK), "missing_signature")
                .await;
        }
        let seconds = start.elapsed().as_secs() as usize + 2;
        let lines = t
            .log_lines(1, |line| line["verdict"] == "missing_signature")
            .await
            .len();
        assert!(lines <= 3 * seconds, "{lines} lines in {seconds} seconds");
        t.assert_nothing_received().await;
    });
}

/// The value of the counter for a verdict (and a webhook that contains `webhook`), summed.
fn count(metrics: &str, verdict: &str, webhook: &str) -> u64 {
    let verdict = format!("verdict=\"{verdict}\"");
    let line = |line: &&str| {
        line.contains("twilio_webhook_requests")
            && line.contains(&verdict)
            && (webhook.is_empty()
                || label(line, "webhook").is_some_and(|label| label.contains(webhook)))
    };
    let value = |line: &str| {
        line.rsplit(' ')
            .next()
            .and_then(|value| value.parse::<u64>().ok())
            .expect("a number")
    };
    metrics.lines().filter(line).map(value).sum()
}

fn label<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

#[test]
fn metrics_have_labels_for_verdict_and_webhook() {
    Setup::with(&plugin()).run(async |t| {
        let good = message();
        t.passes(&good).await;
        t.passes(&message()).await;
        t.rejects(&good, "duplicate").await;
        for _ in 0..3 {
            t.rejects(&forged(&whatsapp()), "invalid_signature").await;
        }
        let missing = form("/voice/status", &whatsapp()).without("x-twilio-signature");
        t.rejects(&missing, "missing_signature").await;
        assert_eq!(t.send(&unsigned("GET", "/healthz")).await.status, 200);
        t.rejects(&unsigned("GET", "/nowhere"), "unknown_webhook")
            .await;
        let metrics = t.metrics();
        let ours: Vec<_> = metrics
            .lines()
            .filter(|line| line.contains("twilio_webhook"))
            .collect();
        for (verdict, expected) in [
            ("accepted", 2),
            ("duplicate", 1),
            ("invalid_signature", 3),
            ("missing_signature", 1),
            ("exempt", 1),
            ("unknown_webhook", 1),
        ] {
            assert_eq!(
                count(&metrics, verdict, ""),
                expected,
                "{verdict} in {ours:#?}"
            );
        }
        let webhooks: std::collections::BTreeSet<_> = ours
            .iter()
            .filter(|line| line.contains("verdict=\"missing_signature\"") && !line.ends_with(" 0"))
            .chain(
                ours.iter()
                    .filter(|line| line.contains("verdict=\"accepted\"") && !line.ends_with(" 0")),
            )
            .map(|line| label(line, "webhook").unwrap_or_default())
            .collect();
        assert_eq!(
            webhooks.len(),
            2,
            "each webhook has a label of its own: {webhooks:?} in {ours:#?}"
        );
        assert!(!webhooks.contains(""), "{webhooks:?}");
    });
}

#[test]
fn the_access_log_has_the_verdict_of_each_request() {
    shared().run(async |t| {
        let good = message();
        let cases = [
            (good.clone(), 200, "accepted"),
            (good, 409, "duplicate"),
            (forged(&whatsapp()), 403, "invalid_signature"),
            (unsigned("POST", "/elsewhere"), 404, "unknown_webhook"),
            (unsigned("GET", "/healthz"), 200, "exempt"),
        ];
        for (request, status, verdict) in cases {
            let answer = t.send(&request).await;
            assert_eq!(answer.status, status);
            let id = answer.header("x-request-id").expect("an id").to_owned();
            let line = t.access_line(&id).await;
            let metadata = match filter_host() {
                FilterHost::Wasm => "-",
                FilterHost::Native => verdict,
            };
            let shown = format!("access {status} verdict={verdict} metadata={metadata} ");
            assert!(line.contains(&shown), "{line}");
        }
    });
}

#[test]
fn the_shipped_access_log_is_json_with_the_verdict() {
    let url = format!("{}{WEBHOOK}", messages::ORIGIN);
    Setup::shipped().env("WEBHOOK_URL", &url).run(async |t| {
        let answer = t.rejects(&forged(&whatsapp()), "invalid_signature").await;
        let id = answer.header("x-request-id").expect("an id").to_owned();
        let line: Value = serde_json::from_str(&t.stdout_line(&id).await).expect("JSON");
        assert_eq!(
            (&line["verdict"], &line["status"]),
            (&json!("invalid_signature"), &json!(403))
        );
        assert_eq!(
            (&line["request_id"], &line["client_ip"]),
            (&json!(id), &json!(t.address.to_string()))
        );
    });
}
