use support::envoy::shared;
use support::messages::{ORIGIN, TOKEN, sid, unsigned};
use support::signing;
use support::tap::Behaviour;
use support::wire::Request;

/// A WebSocket handshake as Media Streams does it, with a signature over `url`.
fn handshake(target: &str, url: &str) -> Request {
    unsigned("GET", target)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("x-twilio-signature", signing::sign(TOKEN, url, &[]))
}

fn target() -> String {
    format!("/voice/stream?CallSid={}", sid("CA"))
}

#[test]
fn a_websocket_signed_with_wss_is_opened_and_carries_data_both_ways() {
    shared().run(async |t| {
        t.upstream(Behaviour::Echo);
        let target = target();
        let url = format!("{}{target}", ORIGIN.replace("https", "wss"));
        for url in [
            url.clone(),
            url.replace(".com/", ".com:443/"),
            url.replace(".com/", ".com:80/"),
        ] {
            let mut connection = t.http1().await;
            let answer = connection.send(&handshake(&target, &url)).await;
            assert_eq!(answer.status, 101, "{url}: {}", answer.text());
            connection.write(b"hello").await;
            assert_eq!(connection.read_exactly(5).await, b"hello");
        }
        assert_eq!(t.received_count(), 3);
        assert_eq!(
            t.received()[0].header("x-twilio-webhook-verified"),
            Some("true")
        );
    });
}

#[test]
fn a_websocket_signed_with_a_slash_at_the_end_is_opened() {
    shared().run(async |t| {
        t.upstream(Behaviour::Echo);
        // Without a query: there the slash is at the end of the path too.
        let url = format!("{}/voice/stream/", ORIGIN.replace("https", "wss"));
        let answer = t.send(&handshake("/voice/stream", &url)).await;
        assert_eq!(answer.status, 101, "{}", answer.text());
        t.received_one();
    });
}

#[test]
fn a_forged_websocket_handshake_is_rejected_at_once() {
    shared().run(async |t| {
        t.upstream(Behaviour::Echo);
        let target = target();
        let wss = ORIGIN.replace("https", "wss");
        for url in [
            // The scheme of an upgrade is wss.
            format!("{ORIGIN}{target}"),
            format!("{wss}{target}x"),
            format!("{}{target}", ORIGIN.replace("https", "ws")),
            format!("wss://evil.example{target}"),
        ] {
            t.rejects(&handshake(&target, &url), "invalid_signature")
                .await;
        }
        let unsigned = handshake(&target, &wss).without("x-twilio-signature");
        t.rejects(&unsigned, "missing_signature").await;
        t.assert_nothing_received().await;
    });
}

/// Of Media Streams every call's handshake is the same.
#[test]
fn a_repeated_websocket_handshake_is_opened_again() {
    shared().run(async |t| {
        t.upstream(Behaviour::Echo);
        let target = target();
        let request = handshake(
            &target,
            &format!("{}{target}", ORIGIN.replace("https", "wss")),
        );
        for _ in 0..2 {
            assert_eq!(t.send(&request).await.status, 101);
        }
        assert_eq!(t.received_count(), 2);
    });
}

#[test]
fn an_upgrade_header_on_a_request_with_a_body_does_not_let_the_body_through() {
    // Taken for a handshake, the request would be judged on its headers, and its body would follow unseen.
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for method in ["GET", "POST"] {
            let mut request = handshake(
                "/studio/flow",
                &format!("{}/studio/flow", ORIGIN.replace("https", "wss")),
            );
            request.method = method.to_owned();
            let mut connection = t.http1().await;
            connection
                .write(&request.clone().header("content-length", "7").bytes())
                .await;
            connection.write(b"order=1").await;
            connection
                .hears_within(std::time::Duration::from_millis(300))
                .await;
        }
        for received in t.received() {
            assert_eq!(received.header("content-length"), None, "{received:?}");
            assert_eq!(received.body, b"");
        }
        // The same without the announcement of WebSocket, and over an HTTPS signature.
        let target = format!("/studio/flow?x={}", sid("FN"));
        let mut request = handshake(&target, &format!("{ORIGIN}{target}"));
        request.method = "POST".to_owned();
        let request = request
            .with("upgrade", "h2c")
            .header("content-length", "7")
            .body("order=1");
        let mut connection = t.http1().await;
        connection.write(&request.bytes()).await;
        connection
            .hears_within(std::time::Duration::from_millis(300))
            .await;
        for received in t.received() {
            assert_ne!(received.body, b"order=1");
        }
    });
}
