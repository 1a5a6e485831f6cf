//! Modes, overrides and rotation: what they do, and what an operator sees of it.

use serde_json::{Value, json};

use crate::view::Metrics;
use support::envoy::Setup;
use support::messages::{
    self, ACCOUNT, ORIGIN, TOKEN, WEBHOOK, forged, form, form_for, message, unsigned, whatsapp,
};
use support::rule;
use support::tap::Behaviour;

#[test]
fn monitor_mode_tells_each_verdict_in_header_metric_log_and_access_log() {
    Setup::changed(json!({"mode": "monitor", "rate_limits": [], "log": {"accepted": true}})).run(
        async |t| {
            t.upstream(Behaviour::Answer(200));
            let good = message();
            let cases = [
                (good.clone(), "accepted"),
                (good, "duplicate"),
                (forged(&whatsapp()), "invalid_signature"),
                (message().without("x-twilio-signature"), "missing_signature"),
                (unsigned("POST", "/elsewhere"), "unknown_webhook"),
            ];
            for (request, verdict) in &cases {
                let answer = t.passes(request).await;
                let received = t.received();
                let last = received.last().expect("everything passes");
                let header = if *verdict == "accepted" {
                    "true"
                } else {
                    verdict
                };
                assert_eq!(last.header("x-twilio-webhook-verified"), Some(header));
                let id = answer.header("x-request-id").expect("an id").to_owned();
                let lines = t
                    .log_lines(1, |line| line["request_id"] == id.as_str())
                    .await;
                assert_eq!(lines.len(), 1);
                assert_eq!(lines[0]["verdict"], *verdict);
                let access: Value = serde_json::from_str(&t.stdout_line(&id).await).expect("JSON");
                assert_eq!(
                    (&access["verdict"], &access["status"]),
                    (&json!(verdict), &json!(200))
                );
            }
            let metrics = Metrics::of(t.envoy);
            for (_, verdict) in &cases {
                assert_eq!(metrics.verdict(verdict), 1.0, "{verdict}");
            }
            let said = t
                .envoy
                .full_log()
                .matches("twilio_webhook mode is monitor")
                .count();
            assert_eq!(said, 1, "said once, not by each worker");
        },
    );
}

#[test]
fn off_mode_is_counted_and_logs_no_request() {
    Setup::changed(json!({"mode": "off", "log": {"accepted": true}})).run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for request in [
            message(),
            forged(&whatsapp()),
            unsigned("GET", "/elsewhere"),
        ] {
            t.passes(&request).await;
        }
        let metrics = Metrics::of(t.envoy);
        assert_eq!(metrics.verdict("unchecked"), 3.0);
        assert_eq!(metrics.sum("twilio_webhook_requests", &[]), 3.0);
        assert!(!t.log().contains("\"event\""), "{}", t.log());
    });
}

#[test]
fn a_variable_enforces_whatever_mode_is_configured() {
    for mode in ["off", "monitor"] {
        let setup = Setup::changed(json!({"mode": mode})).env("FORCE_TWILIO_VERIFY", "true");
        setup.run(async |t| {
            t.rejects(&forged(&whatsapp()), "invalid_signature").await;
            t.passes(&message()).await;
            assert_eq!(
                t.received_one().header("x-twilio-webhook-verified"),
                Some("true")
            );
            assert!(!t.envoy.full_log().contains("twilio_webhook mode is"));
        });
    }
}

#[test]
fn a_webhook_overrides_timestamp_replay_and_limits_and_the_others_keep_theirs() {
    let plugin = json!({
        "public_base_url": ORIGIN,
        "accounts": [{"account_sid": ACCOUNT, "auth_tokens": [{"env": "TWILIO_AUTH_TOKEN"}]}],
        "timestamp": {"max_age": "600s"},
        "replay": {"on_duplicate": "acknowledge"},
        "rate_limits": [rule("webhook", "all", 5, "600s")],
        "webhooks": [
            {"path": WEBHOOK},
            {"path": "/strict", "timestamp": {"required": true}, "replay": {"on_duplicate": "reject"},
             "rate_limits": []},
            {"path": "/open", "replay": "off", "rate_limits": [rule("webhook", "rejected", 2, "600s")]},
        ],
    });
    Setup::with(&plugin).run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let aged = |path: &str, age: u64| {
            let at = (messages::now().as_secs() - age).to_string();
            form(path, &messages::set(whatsapp(), "Timestamp", &at))
        };
        // Field by field: /strict has its own `required` and `on_duplicate` and the global `max_age`.
        t.rejects(&form("/strict", &whatsapp()), "missing_timestamp")
            .await;
        let strict = aged("/strict", 400);
        t.passes(&strict).await;
        t.rejects(&strict, "duplicate").await;
        t.rejects(&aged("/strict", 700), "stale_timestamp").await;
        // /open forgets everything, and limits only what it rejects.
        let open = form("/open", &whatsapp());
        for _ in 0..7 {
            t.passes(&open).await;
        }
        for _ in 0..2 {
            t.rejects(&unsigned("POST", "/open"), "missing_signature")
                .await;
        }
        t.rejects(&unsigned("POST", "/open"), "rate_limited").await;
        // The first has what holds for all: repeats are acknowledged and not passed on, five requests pass.
        let good = message();
        t.passes(&good).await;
        let before = t.received_count();
        let repeat = t.send(&good).await;
        assert_eq!(
            (repeat.status, repeat.header("content-type")),
            (200, Some("text/xml"))
        );
        assert_eq!(t.received_count(), before);
        for _ in 0..3 {
            t.passes(&message()).await;
        }
        t.rejects(&message(), "rate_limited").await;
        let metrics = Metrics::of(t.envoy);
        let of = |webhook, verdict| {
            metrics.sum(
                "twilio_webhook_requests",
                &[("webhook", webhook), ("verdict", verdict)],
            )
        };
        assert_eq!(
            (of("strict", "duplicate"), of("open", "accepted")),
            (1.0, 7.0)
        );
        assert_eq!(
            (
                of("open", "rate_limited"),
                of("api-v1-whatsapp-webhook", "rate_limited")
            ),
            (1.0, 1.0)
        );
        assert_eq!(
            of("api-v1-whatsapp-webhook", "duplicate"),
            1.0,
            "acknowledged ones are counted as what they are"
        );
    });
}

#[test]
fn during_a_rotation_metric_and_log_tell_which_token_signs() {
    let next = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf";
    let setup = Setup::changed(json!({
        "log": {"accepted": true},
        "accounts": [{"account_sid": ACCOUNT, "auth_tokens": [{"env": "TWILIO_AUTH_TOKEN"},
                                                              {"env": "TWILIO_AUTH_TOKEN_NEXT"}]}],
    }))
    .env("TWILIO_AUTH_TOKEN_NEXT", next);
    setup.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let url = format!("{ORIGIN}{WEBHOOK}");
        for (token, times, key) in [
            (TOKEN, 2, "TWILIO_AUTH_TOKEN"),
            (next, 3, "TWILIO_AUTH_TOKEN_NEXT"),
        ] {
            for _ in 0..times {
                let answer = t.passes(&form_for(token, &url, WEBHOOK, &whatsapp())).await;
                let id = answer.header("x-request-id").expect("an id").to_owned();
                let lines = t
                    .log_lines(1, |line| line["request_id"] == id.as_str())
                    .await;
                assert_eq!(
                    (&lines[0]["key"], &lines[0]["account_sid"]),
                    (&json!(key), &json!(ACCOUNT))
                );
            }
            let label = key.to_ascii_lowercase();
            let counted = Metrics::of(t.envoy).sum("twilio_webhook_signatures", &[("key", &label)]);
            assert_eq!(counted, f64::from(times));
        }
        crate::view::assert_discreet(t.envoy, &[next]);
    });
}
