use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::envoy::{Envoy, Setup, Test, connection_manager, listener, plugin_with};
use support::http2::Framing;
use support::messages::{
    self, ORIGIN, TOKEN, WEBHOOK, form, message, pairs, sid, unsigned, whatsapp,
};
use support::process::until;
use support::tap::Behaviour;
use support::wire::{Request, Response};
use support::{assert_passed, assert_rejected, signing};

/// Without limits, and with an upstream that may take a second and a half, not ten.
fn impatient() -> &'static Envoy {
    static ENVOY: std::sync::LazyLock<Envoy> = std::sync::LazyLock::new(|| {
        let setup = Setup::changed(json!({"rate_limits": []})).edit(|config| {
            let hosts = &mut connection_manager(listener(config))["route_config"]["virtual_hosts"];
            for host in hosts.as_array_mut().expect("virtual hosts") {
                for route in host["routes"].as_array_mut().expect("routes") {
                    route["route"]["timeout"] = json!("1.5s");
                }
            }
        });
        setup.start()
    });
    &ENVOY
}

/// Without limits, and with the timeouts of the file: for what is under way for a while.
fn patient() -> &'static Envoy {
    static ENVOY: std::sync::LazyLock<Envoy> =
        std::sync::LazyLock::new(|| Setup::changed(json!({"rate_limits": []})).start());
    &ENVOY
}

fn replay(replay: &Value) -> Setup {
    Setup::changed(json!({"rate_limits": [], "replay": replay}))
}

/// The retry passes and is the one that counts: a third attempt is a duplicate.
async fn assert_released(t: &Test<'_>, request: &Request, attempts: usize) {
    t.upstream(Behaviour::Answer(200));
    t.passes(request).await;
    t.rejects(request, "duplicate").await;
    assert_eq!(t.received_count(), attempts);
}

#[test]
fn after_a_5xx_a_401_a_408_a_425_or_a_429_of_the_upstream_the_retry_passes() {
    impatient().run(async |t| {
        let mut attempts = 0;
        for status in [500, 502, 503, 504, 599, 401, 408, 425, 429] {
            t.upstream(Behaviour::Answer(status));
            let request = message();
            t.answered(&request, status).await;
            // Again, and again: each of these fails as the first one did.
            assert_eq!(t.send(&request).await.status, status);
            attempts += 3;
            assert_released(t, &request, attempts).await;
        }
    });
}

#[test]
fn after_any_other_answer_of_the_upstream_the_retry_is_a_duplicate() {
    impatient().run(async |t| {
        let mut answered = 0;
        for status in [200, 201, 302, 307, 400, 403, 404, 409, 422, 424, 428] {
            t.upstream(Behaviour::Answer(status));
            let request = message();
            t.answered(&request, status).await;
            t.upstream(Behaviour::Answer(200));
            t.rejects(&request, "duplicate").await;
            answered += 1;
            assert_eq!(t.received_count(), answered, "a {status}");
        }
    });
}

#[test]
fn after_a_reset_by_the_upstream_the_retry_passes() {
    impatient().run(async |t| {
        t.upstream(Behaviour::Reset);
        let request = message();
        t.answered(&request, 503).await;
        t.wait_for_received(1).await;
        assert_released(t, &request, 2).await;
    });
}

#[test]
fn after_an_upstream_that_never_answers_the_retry_passes() {
    impatient().run(async |t| {
        t.upstream(Behaviour::Silence);
        let request = message();
        t.answered(&request, 504).await;
        t.wait_for_abandoned().await;
        assert_released(t, &request, 2).await;
    });
}

#[test]
fn after_an_upstream_that_rejects_connections_the_retry_passes() {
    impatient().run(async |t| {
        t.envoy.tap.reject_connections();
        let request = message();
        t.answered(&request, 503).await;
        assert_eq!(t.received_count(), 0);
        t.envoy.tap.accept_connections();
        // Envoy may still hold that the address is unreachable for a moment; then it says so with another 503, and
        // that is one more failed attempt, which releases too.
        t.upstream(Behaviour::Answer(200));
        let is_envoys = |answer: &Response| answer.status == 503 && answer.reason().is_empty();
        let answer = until("the upstream is found again", async || {
            Some(t.send(&request).await).filter(|answer| !is_envoys(answer))
        });
        assert_passed(&answer.await);
        t.rejects(&request, "duplicate").await;
        t.received_one();
    });
}

#[test]
fn after_a_client_that_left_before_the_answer_its_retry_passes() {
    patient().run(async |t| {
        let mut attempts = 0;
        for abruptly in [false, true] {
            t.upstream(Behaviour::Silence);
            let request = message();
            let mut connection = t.http1().await;
            connection.write(&request.bytes()).await;
            attempts += 1;
            t.wait_for_received(attempts).await;
            // As long as it is under way, it is a duplicate.
            t.rejects(&request, "duplicate").await;
            if abruptly {
                connection.reset();
            } else {
                drop(connection);
            }
            // Nothing tells from outside when Envoy has noticed, before it gives up by itself; so ask until then.
            t.upstream(Behaviour::Answer(200));
            let answer = until("Envoy notices", async || {
                Some(t.send(&request).await).filter(|answer| answer.status != 409)
            });
            assert_passed(&answer.await);
            attempts += 1;
            t.rejects(&request, "duplicate").await;
            assert_eq!(t.received_count(), attempts);
        }
    });
}

#[test]
fn while_the_upstream_thinks_a_repeat_is_a_duplicate() {
    patient().run(async |t| {
        t.upstream(Behaviour::AnswerAfter(Duration::from_millis(700), 200));
        let request = message();
        let mut connection = t.http1().await;
        connection.write(&request.bytes()).await;
        t.wait_for_received(1).await;
        t.rejects(&request, "duplicate").await;
        assert_passed(&connection.response().await);
        t.rejects(&request, "duplicate").await;
        t.received_one();
    });
}

#[test]
fn a_release_frees_the_request_that_failed_and_no_other() {
    impatient().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let accepted: Vec<_> = (0..5).map(|_| message()).collect();
        for request in &accepted {
            t.passes(request).await;
        }
        t.upstream(Behaviour::Answer(500));
        let failed = message();
        assert_eq!(t.send(&failed).await.status, 500);
        t.upstream(Behaviour::Answer(200));
        for request in &accepted {
            t.rejects(request, "duplicate").await;
        }
        // A duplicate's own end releases nothing either.
        for request in &accepted {
            t.rejects(request, "duplicate").await;
        }
        assert_released(t, &failed, 7).await;
    });
}

#[test]
fn a_failure_releases_requests_of_every_shape() {
    impatient().run(async |t| {
        t.upstream(Behaviour::Answer(500));
        let get = messages::bare("GET", &format!("/voice/status?CallSid={}", sid("CA")));
        let (chunked, trailers) = (message(), message());
        let framing = Framing::default().trailers(("x-checksum", "1"));
        for status in [500, 200] {
            t.upstream(Behaviour::Answer(status));
            assert_eq!(t.send(&get).await.status, status);
            assert_eq!(t.send_chunked(&chunked, 50).await.status, status);
            assert_eq!(
                t.http2()
                    .await
                    .send(&trailers, framing.clone())
                    .await
                    .status,
                status
            );
        }
        assert_eq!(t.received_count(), 6);
        t.rejects(&get, "duplicate").await;
    });
}

#[test]
fn a_duplicate_can_be_acknowledged_instead_of_rejected() {
    replay(&json!({"on_duplicate": "acknowledge"})).run(async |t| {
        let request = message();
        t.passes(&request).await;
        for _ in 0..3 {
            let answer = t.send(&request).await;
            assert_eq!(answer.status, 200);
            let content_type = answer.header("content-type").expect("a content type");
            assert!(content_type.contains("xml"), "{content_type}");
            let twiml: String = answer.text().split_whitespace().collect();
            let twiml = twiml.split("?>").last().unwrap_or_default().to_owned();
            assert!(
                twiml == "<Response/>" || twiml == "<Response></Response>",
                "an empty TwiML response: {twiml}"
            );
        }
        t.received_one();
        // Nothing else is acknowledged.
        t.rejects(&messages::forged(&whatsapp()), "invalid_signature")
            .await;
        t.rejects(&request.without("x-twilio-signature"), "missing_signature")
            .await;
    });
}

/// Once it was acknowledged, then the first failed, and nobody sent it again.
#[test]
fn a_repeat_is_not_acknowledged_while_the_first_is_undecided() {
    replay(&json!({"on_duplicate": "acknowledge"})).run(async |t| {
        let request = message();
        for (status, then) in [(500, 500), (200, 200)] {
            t.upstream(Behaviour::AnswerAfter(Duration::from_millis(700), status));
            let arrived = t.received_count();
            let mut first = t.http1().await;
            first.write(&request.bytes()).await;
            t.wait_for_received(arrived + 1).await;
            for _ in 0..3 {
                let early = t.rejects(&request, "duplicate").await;
                assert_eq!(early.header("retry-after"), Some("1"));
                assert_eq!(early.header("ratelimit-limit"), None);
            }
            let answer = first.response().await;
            assert_eq!((answer.status, answer.reason().as_str()), (then, ""));
        }
        // Only now is it known that it was taken.
        let acknowledged = t.send(&request).await;
        assert_eq!(acknowledged.status, 200);
        assert!(acknowledged.text().contains("<Response>"));
        assert_eq!(acknowledged.header("retry-after"), None);
        assert_eq!(t.received_count(), 2);
    });
    // Where repeats are rejected, they are rejected.
    patient().run(async |t| {
        let request = message();
        t.passes(&request).await;
        let rejected = t.rejects(&request, "duplicate").await;
        assert_eq!(rejected.header("retry-after"), None);
    });
}

/// Sends a request, and leaves when the upstream has it.
async fn leave(t: &Test<'_>, request: &Request) {
    let arrived = t.received_count();
    let mut connection = t.http1().await;
    connection.write(&request.bytes()).await;
    t.wait_for_received(arrived + 1).await;
    drop(connection);
    t.envoy.idle().await;
}

/// Once three more deliveries passed in each window, for ever.
#[test]
fn a_sender_who_hangs_up_gets_three_more_deliveries_in_all_and_not_in_each_window() {
    replay(&json!({"window": "1s", "keep": "3600s"})).run(async |t| {
        t.upstream(Behaviour::Silence);
        let request = message();
        for _ in 0..4 {
            leave(t, &request).await;
            tokio::time::sleep(Duration::from_millis(1300)).await;
        }
        for _ in 0..3 {
            t.rejects(&request, "duplicate").await;
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        assert_eq!(t.received_count(), 4);
        let told = |line: &Value| {
            line["hint"]
                .as_str()
                .is_some_and(|hint| hint.contains("four times"))
        };
        t.log_lines(3, told).await;
    });
}

/// A handshake has one signature for all calls.
#[test]
fn a_handshake_is_opened_on_every_call_and_once_only_where_that_is_asked_for() {
    let handshake = || {
        let url = format!("{ORIGIN}/voice/stream").replace("https", "wss");
        unsigned("GET", "/voice/stream")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("x-twilio-signature", signing::sign(TOKEN, &url, &[]))
    };
    patient().run(async |t| {
        t.upstream(Behaviour::Echo);
        for _ in 0..3 {
            let mut connection = t.http1().await;
            let answer = connection.send(&handshake()).await;
            assert_eq!(answer.status, 101, "{}", answer.text());
            connection.write(b"hello").await;
            assert_eq!(connection.read_exactly(5).await, b"hello");
        }
        let nonces: Vec<_> = t
            .received()
            .iter()
            .map(|received| received.header("x-twilio-webhook-nonce").map(str::to_owned))
            .collect();
        assert_eq!(nonces.len(), 3);
        assert!(nonces[0].is_some() && nonces.iter().all(|nonce| *nonce == nonces[0]));
    });
    replay(&json!({"handshakes": true})).run(async |t| {
        t.upstream(Behaviour::Echo);
        assert_eq!(t.send(&handshake()).await.status, 101);
        t.rejects(&handshake(), "duplicate").await;
        t.received_one();
    });
}

/// What stays a duplicate says since when, and what can be done about it.
#[test]
fn a_duplicates_line_says_how_old_the_first_is_and_what_to_set() {
    patient().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let request = form(
            "/studio/flow",
            &pairs([("Choice", "1"), ("Call", &sid("CA"))]),
        );
        t.passes(&request).await;
        tokio::time::sleep(Duration::from_millis(2100)).await;
        let answer = t.rejects(&request, "duplicate").await;
        let id = answer.json()["request_id"].clone();
        let lines = t.log_lines(1, |line| line["request_id"] == id).await;
        let hint = lines[0]["hint"].as_str().expect("a hint");
        let aged = hint
            .split_once("was accepted ")
            .and_then(|(_, rest)| rest.split_once(" s ago"));
        let age: u64 = aged.and_then(|(age, _)| age.parse().ok()).expect(hint);
        assert!((2..30).contains(&age), "{hint}");
        assert!(hint.contains("replay: \"off\""), "{hint}");
    });
}

#[test]
fn a_full_store_answers_503_and_forgets_nothing() {
    replay(&json!({"capacity": 4, "window": "600s"})).run(async |t| {
        let accepted: Vec<_> = (0..4).map(|_| message()).collect();
        for request in &accepted {
            t.passes(request).await;
        }
        for _ in 0..20 {
            t.rejects(&message(), "store_full").await;
        }
        for request in &accepted {
            t.rejects(request, "duplicate").await;
        }
        assert_eq!(t.received_count(), 4);
    });
}

#[test]
fn a_full_store_can_forget_the_oldest_instead() {
    replay(&json!({"capacity": 4, "window": "600s", "on_full": "evict_oldest"})).run(async |t| {
        let sent: Vec<_> = (0..6).map(|_| message()).collect();
        for request in &sent {
            t.passes(request).await;
            // Times are kept in whole units of some kind: what is older must be so by more than one of them.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        for request in &sent[2..] {
            t.rejects(request, "duplicate").await;
        }
        // The price, which is why it is not the default.
        t.passes(&sent[0]).await;
        assert_eq!(t.received_count(), 7);
    });
}

#[test]
fn nonces_are_kept_beyond_the_window_while_there_is_room() {
    replay(&json!({"capacity": 4, "window": "1s", "keep": "3600s"})).run(async |t| {
        let sent: Vec<_> = (0..4).map(|_| message()).collect();
        for request in &sent {
            t.passes(request).await;
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        tokio::time::sleep(Duration::from_millis(2200)).await;
        for request in &sent {
            t.rejects(request, "duplicate").await;
        }
        // A new one takes the place of the oldest.
        let new = message();
        t.passes(&new).await;
        for request in sent[1..].iter().chain([&new]) {
            t.rejects(request, "duplicate").await;
        }
        assert_eq!(t.received_count(), 5);
    });
}

#[test]
fn a_nonce_is_forgotten_after_window_and_keep() {
    replay(&json!({"window": "3s", "keep": "3s"})).run(async |t| {
        let request = message();
        let sent = Instant::now();
        t.passes(&request).await;
        for _ in 0..5 {
            let answer = t.send(&request).await;
            // On a machine that stood still for three seconds this says nothing.
            if sent.elapsed() < Duration::from_secs(3) {
                assert_rejected(&answer, "duplicate");
            }
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        t.passes(&request).await;
    });
}

#[test]
fn a_signed_timestamp_keeps_a_nonce_as_long_as_it_is_fresh() {
    // The window has long passed when the repeat comes, and there is no keeping beyond; the timestamp is still fresh.
    replay(&json!({"window": "1s", "keep": "1s"})).run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let now = messages::now().as_secs().to_string();
        let timed = form(
            "/voice/status",
            &pairs([("CallSid", &sid("CA")), ("Timestamp", &now)]),
        );
        let plain = message();
        t.passes(&timed).await;
        t.passes(&plain).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        t.rejects(&timed, "duplicate").await;
        // Or else the test would show nothing but a long memory.
        t.passes(&plain).await;
        assert_eq!(t.received_count(), 3);
    });
}

#[test]
fn replay_protection_can_be_switched_off_for_all_or_for_one_webhook() {
    replay(&json!("off")).run(async |t| {
        let request = message();
        for _ in 0..3 {
            t.passes(&request).await;
        }
        t.rejects(&messages::forged(&whatsapp()), "invalid_signature")
            .await;
        assert_eq!(t.received_count(), 3);
    });
    let mut plugin = plugin_with(json!({"rate_limits": []}));
    plugin["webhooks"][1]["replay"] = json!("off");
    plugin["webhooks"][2]["replay"] = json!({"on_duplicate": "acknowledge"});
    plugin["webhooks"][2]["methods"] = json!(["POST"]);
    Setup::with(&plugin).run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let (off, on, acknowledged) = (
            form("/voice/status", &whatsapp()),
            message(),
            form("/voice/stream", &whatsapp()),
        );
        for _ in 0..2 {
            t.passes(&off).await;
        }
        t.passes(&on).await;
        t.rejects(&on, "duplicate").await;
        t.passes(&acknowledged).await;
        assert_eq!(t.send(&acknowledged).await.status, 200);
        assert_eq!(t.received_count(), 4);
        assert_eq!(t.received()[0].target, "/voice/status");
        assert_eq!(t.received()[2].target, WEBHOOK);
    });
}
