use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use support::envoy::shared;
use support::http2::Framing;
use support::messages::{ACCOUNT, json, message, sid};
use support::tap::Behaviour;
use support::wire::{Received, Request};
use support::{assert_passed, signing};

/// Everything that was sent has arrived: each header's values in their order, byte for byte, and the body.
fn assert_untouched(sent: &Request, received: &Received) {
    assert_eq!(received.method, sent.method);
    assert_eq!(received.target.as_bytes(), sent.target);
    assert_eq!(received.body, sent.body);
    for (name, _) in &sent.headers {
        let name = String::from_utf8_lossy(name).into_owned();
        let values = |headers: &[(Vec<u8>, Vec<u8>)]| -> Vec<Vec<u8>> {
            let same = headers
                .iter()
                .filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
            same.map(|(_, value)| value.clone()).collect()
        };
        assert_eq!(values(&received.headers), values(&sent.headers), "{name}");
    }
}

#[test]
fn an_accepted_request_carries_verdict_nonce_and_account() {
    shared().run(async |t| {
        let request = message();
        t.passes(&request).await;
        let received = t.received_one();
        assert_eq!(received.header("x-twilio-webhook-verified"), Some("true"));
        assert_eq!(received.header("x-twilio-webhook-account"), Some(ACCOUNT));
        // The SHA-256 of the MAC in base64, which is what the signature header says.
        let signature = request.get("x-twilio-signature").expect("signed");
        assert_eq!(STANDARD.decode(signature).expect("base64").len(), 20);
        let nonce = received.header("x-twilio-webhook-nonce").expect("a nonce");
        assert_eq!(nonce, signing::sha256_hex(signature));
    });
}

#[test]
fn body_and_headers_arrive_byte_for_byte() {
    shared().run(async |t| {
        let request = message()
            .header("x-custom", "one")
            .header("X-Custom", "two, three")
            .header("x-custom", "")
            .header("x-bytes", b"\xff\xfe caf\xe9 \x80")
            .header("x-utf8", "Jörg 🌮")
            .header("cookie", "a=b; c=d")
            .header("x-long", "y".repeat(6000))
            .header("authorization", "Basic dXNlcjpwYXNz");
        t.passes(&request).await;
        assert_untouched(&request, &t.received_one());
    });
}

#[test]
fn body_and_headers_arrive_byte_for_byte_over_http2_and_in_chunks() {
    shared().run(async |t| {
        let request = message()
            .header("x-bytes", b"\xff\xfe caf\xe9 \x80")
            .header("x-custom", "1")
            .header("x-custom", "2");
        let framing = Framing::pieces(100);
        t.http2().await.passes(&request, framing).await;
        let chunked = message().header("x-bytes", b"\xff\xfe caf\xe9 \x80");
        assert_passed(&t.send_chunked(&chunked, 33).await);
        let received = t.received();
        assert_untouched(&request, &received[0]);
        assert_untouched(&chunked, &received[1]);
    });
}

#[test]
fn a_json_body_of_any_bytes_arrives_as_it_was_sent() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let request = json(
            "/studio/flow",
            &format!(
                "{{\"a\" :\r\n\t\"\u{0}é🌮\", \"id\":\"{}\"}}\n\n",
                sid("FN")
            ),
        );
        t.passes(&request).await;
        let received = t.received_one();
        assert_untouched(&request, &received);
        // There is no AccountSid in it; the key is the account's.
        assert_eq!(received.header("x-twilio-webhook-account"), Some(ACCOUNT));
    });
}

#[test]
fn the_answer_of_the_upstream_arrives_as_it_was_given() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(201));
        let answer = t.send(&message()).await;
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header("content-type"), Some("text/xml"));
        assert_eq!(answer.text(), "<Response/>");
        for (name, _) in &answer.headers {
            assert!(!name.starts_with("x-twilio"), "{answer:?}");
        }
    });
}
