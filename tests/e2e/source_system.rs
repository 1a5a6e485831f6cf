use serde_json::json;

use support::envoy::{Setup, shared};
use support::messages::{
    self, ACCOUNT, ORIGIN, TOKEN, WEBHOOK, forged, form, message, sid, unsigned, whatsapp,
};
use support::{assert_passed, assert_rejected, upstream};

#[test]
fn a_valid_message_is_answered_200_and_stored_by_the_ordering_upstream() {
    shared().run(async |t| {
        let parameters = whatsapp();
        let answer = t.passes(&form(WEBHOOK, &parameters)).await;
        assert!(
            answer.text().contains("<Response"),
            "the upstream's TwiML: {}",
            answer.text()
        );
        let received = t.received_one();
        assert_eq!(
            (received.method.as_str(), received.target.as_str()),
            ("POST", WEBHOOK)
        );
        let sid = messages::value(&parameters, "MessageSid");
        assert!(
            upstream::messages().to_string().contains(sid),
            "the upstream has stored {sid}"
        );
    });
}

#[test]
fn a_wrong_signature_is_answered_403_and_reaches_nobody() {
    shared().run(async |t| {
        let parameters = whatsapp();
        t.rejects(&forged(&parameters), "invalid_signature").await;
        t.assert_nothing_received().await;
        let sid = messages::value(&parameters, "MessageSid");
        assert!(!upstream::messages().to_string().contains(sid));
    });
}

#[test]
fn a_missing_signature_is_answered_403_and_reaches_nobody() {
    shared().run(async |t| {
        let request = message().without("x-twilio-signature");
        t.rejects(&request, "missing_signature").await;
        t.assert_nothing_received().await;
    });
}

#[test]
fn the_same_request_twice_is_answered_200_and_then_409() {
    shared().run(async |t| {
        let request = message();
        t.passes(&request).await;
        for _ in 0..3 {
            t.rejects(&request, "duplicate").await;
        }
        t.received_one();
    });
}

#[test]
fn of_70_requests_in_a_row_60_pass_and_10_are_answered_429() {
    shared().run(async |t| {
        let start = std::time::Instant::now();
        let mut connection = t.http1().await;
        let mut answers = Vec::new();
        for _ in 0..70 {
            answers.push(connection.send(&message()).await);
        }
        // If the machine slept for longer than the window, more may pass, and rightly.
        assert!(
            start.elapsed().as_secs() < 60,
            "70 requests within a minute"
        );
        for answer in &answers[..60] {
            assert_passed(answer);
        }
        for answer in &answers[60..] {
            assert_rejected(answer, "rate_limited");
        }
        assert_eq!(t.received_count(), 60);
    });
}

#[test]
fn without_a_token_every_webhook_is_answered_500() {
    let setup = Setup::with(
        &json!({"public_base_url": ORIGIN, "webhooks": [{"path": WEBHOOK}, {"path": "/other"}]}),
    );
    setup.without_env("TWILIO_AUTH_TOKEN").run(async |t| {
        t.rejects(&message(), "not_configured").await;
        t.rejects(&form("/other", &whatsapp()), "not_configured")
            .await;
        t.rejects(&unsigned("POST", WEBHOOK), "not_configured")
            .await;
        t.assert_nothing_received().await;
        let log = t.envoy.full_log();
        let errors: Vec<_> = log
            .lines()
            .filter(|line| line.contains("[error]") && line.contains("not_configured"))
            .collect();
        assert_eq!(errors.len(), 1, "once, at error:\n{log}");
    });
}

#[test]
fn three_environment_variables_and_an_empty_configuration_are_enough() {
    let setup = Setup::with(&json!({})).env("WEBHOOK_URL", &format!("{ORIGIN}{WEBHOOK}"));
    setup.run(async |t| {
        let request = message();
        t.passes(&request).await;
        t.rejects(&request, "duplicate").await;
        t.rejects(&forged(&whatsapp()), "invalid_signature").await;
        t.rejects(&unsigned("POST", "/elsewhere"), "unknown_webhook")
            .await;
        let stale = message().header(
            "x-twilio-request-timestamp",
            (messages::now().as_secs() - 301).to_string(),
        );
        t.rejects(&stale, "stale_timestamp").await;
        let foreign = messages::set(whatsapp(), "AccountSid", &sid("AC"));
        t.rejects(&form(WEBHOOK, &foreign), "account_mismatch")
            .await;
        let received = t.received_one();
        assert_eq!(received.header("x-twilio-webhook-account"), Some(ACCOUNT));
    });
}

#[test]
fn the_environment_sets_clock_skew_and_nonce_window() {
    let setup = Setup::with(&json!({})).env("WEBHOOK_URL", &format!("{ORIGIN}{WEBHOOK}"));
    let setup = setup
        .env("TWILIO_CLOCK_SKEW_MS", "600000")
        .env("TWILIO_NONCE_WINDOW_MS", "900000");
    setup.run(async |t| {
        let at = |seconds: u64| message().header("x-twilio-request-timestamp", seconds.to_string());
        let now = messages::now().as_secs();
        t.passes(&at(now + 600)).await;
        t.passes(&at(now - 800)).await;
        t.rejects(&at(now - 901), "stale_timestamp").await;
        t.rejects(&at(now + 700), "future_timestamp").await;
        assert_eq!(t.received_count(), 2);
    });
}

#[test]
fn force_twilio_verify_wins_over_the_mode_in_the_configuration() {
    for mode in ["off", "monitor"] {
        let plugin = json!({"mode": mode});
        let setup = Setup::with(&plugin)
            .env("WEBHOOK_URL", &format!("{ORIGIN}{WEBHOOK}"))
            .env("FORCE_TWILIO_VERIFY", "true");
        setup.run(async |t| {
            t.rejects(&forged(&whatsapp()), "invalid_signature").await;
            t.passes(&message()).await;
            t.received_one();
        });
    }
}

#[test]
fn the_shipped_configuration_works_as_it_is() {
    let setup = Setup::shipped().env("WEBHOOK_URL", &format!("{ORIGIN}{WEBHOOK}"));
    setup.run(async |t| {
        let request = message();
        t.passes(&request).await;
        t.rejects(&request, "duplicate").await;
        t.rejects(&forged(&whatsapp()), "invalid_signature").await;
        assert_eq!(t.received_count(), 1);
        assert_eq!(t.send(&unsigned("GET", "/healthz")).await.status, 200);
        assert!(
            !t.envoy.admin("/config_dump").contains(TOKEN),
            "secrets come by the environment"
        );
    });
}

#[test]
fn each_rejection_is_logged_with_reason_address_and_request_id() {
    // A filter of its own: the shared one may have used up its lines for this second.
    let setup = Setup::with(&support::envoy::plugin());
    setup.run(async |t| {
        let request = message();
        t.passes(&request).await;
        let answer = t.rejects(&request, "duplicate").await;
        let other = t.send(&forged(&whatsapp())).await;
        let lines = t.log_lines(2, |line| line["client_ip"].is_string()).await;
        assert_eq!(lines.len(), 2, "{lines:?}");
        for (line, answer) in lines.iter().zip([answer, other]) {
            assert_eq!(line["verdict"], answer.json()["error"]);
            assert_eq!(line["request_id"], answer.json()["request_id"]);
            assert_eq!(line["client_ip"], t.address.to_string());
        }
    });
}
