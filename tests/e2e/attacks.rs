use serde_json::json;

use support::envoy::{Setup, new_address, shared};
use support::http2::Framing;
use support::messages::{
    self, ACCOUNT, OTHER_ACCOUNT, TOKEN, WEBHOOK, encode, escape, forged, form, form_by, form_for,
    message, pairs, set, sid, unsigned, value, whatsapp,
};
use support::tap::Behaviour;
use support::wire::Request;
use support::{assert_passed, assert_rejected, signing};

#[test]
fn a_repeat_with_other_unsigned_headers_is_a_duplicate() {
    shared().run(async |t| {
        let request = message();
        t.passes(&request).await;
        let now = messages::now().as_secs().to_string();
        for (name, value) in [
            (
                "i-twilio-idempotency-token",
                "00000000-0000-4000-8000-000000000000",
            ),
            ("x-twilio-request-timestamp", now.as_str()),
            ("user-agent", "curl/8"),
            ("host", "elsewhere.example:8443"),
            ("x-request-id", "11111111-1111-4111-8111-111111111111"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("cookie", "a=b"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-port", "8443"),
            ("x-envoy-original-path", "/voice/status"),
            (
                "x-twilio-webhook-nonce",
                "0000000000000000000000000000000000000000000000000000000000000000",
            ),
        ] {
            t.rejects(&request.clone().with(name, value), "duplicate")
                .await;
        }
        // Framing and protocol are not signed either.
        assert_rejected(&t.send_chunked(&request, 9).await, "duplicate");
        let trailers = Framing::default().trailers(("x", "y"));
        t.http2()
            .await
            .rejects(&request, trailers, "duplicate")
            .await;
        t.received_one();
    });
}

#[test]
fn a_repeat_with_its_parameters_in_another_order_is_a_duplicate() {
    shared().run(async |t| {
        let mut parameters = whatsapp();
        let request = form(WEBHOOK, &parameters);
        t.passes(&request).await;
        parameters.reverse();
        t.rejects(&request.clone().body(encode(&parameters)), "duplicate")
            .await;
        parameters.sort();
        t.rejects(&request.clone().body(encode(&parameters)), "duplicate")
            .await;
        // Of a name's values only the distinct ones are signed.
        let twice = format!("{0}&{0}", encode(&parameters));
        t.rejects(&request.clone().body(twice), "duplicate").await;
        t.received_one();
    });
}

#[test]
fn a_repeat_with_its_percent_encoding_respelled_is_a_duplicate() {
    shared().run(async |t| {
        let parameters = whatsapp();
        let request = form(WEBHOOK, &parameters);
        let body = encode(&parameters);
        t.passes(&request).await;
        let everything = |text: &str| {
            text.bytes()
                .map(|byte| format!("%{byte:02x}"))
                .collect::<String>()
        };
        let pair = |(name, value): &(String, String)| {
            format!("{}={}", everything(name), everything(value))
        };
        let escaped = parameters.iter().map(pair).collect::<Vec<_>>().join("&");
        let mut lower = String::new();
        for (index, part) in body.split('%').enumerate() {
            let (digits, rest) = if index > 0 {
                part.split_at(2)
            } else {
                ("", part)
            };
            lower.push_str(if index > 0 { "%" } else { "" });
            lower.push_str(&digits.to_ascii_lowercase());
            lower.push_str(rest);
        }
        for respelled in [
            body.replace('+', "%20"),
            lower,
            escaped,
            body.replace("%40", "@")
                .replace("%3A", ":")
                .replace("%2C", ","),
            body.replace(&escape("🍕"), "🍕"),
            body.replace("SmsStatus", "%53msStatus"),
            body.replace("received", "receive%64"),
            format!("&{body}&&"),
        ] {
            assert_ne!(respelled, body);
            let answer = t.send(&request.clone().body(&respelled)).await;
            // Refusing a strange form is fine as well; accepting it is not.
            if answer.reason() != "malformed_body" {
                assert_rejected(&answer, "duplicate");
            }
        }
        t.received_one();
    });
}

#[test]
fn a_repeat_with_its_signature_respelled_is_rejected() {
    shared().run(async |t| {
        let request = message();
        let signature =
            String::from_utf8(request.get("x-twilio-signature").expect("signed").to_vec())
                .expect("ASCII");
        t.passes(&request).await;
        // Blanks around a header's value are not part of it.
        let blanks = request
            .clone()
            .with("x-twilio-signature", format!("  {signature} \t"));
        t.rejects(&blanks, "duplicate").await;
        // The last character before the padding has two bits that mean nothing: three other spellings decode,
        // carelessly, to the same 20 bytes.
        const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let last = ALPHABET.find(&signature[26..27]).expect("base64");
        assert_eq!(last % 4, 0);
        for low in 1..4 {
            let other = format!(
                "{}{}=",
                &signature[..26],
                &ALPHABET[last + low..=last + low]
            );
            let request = request.clone().with("x-twilio-signature", other);
            t.rejects(&request, "malformed_signature").await;
        }
        for other in [
            signature.trim_end_matches('=').to_owned(),
            signature.replace('+', "-").replace('/', "_") + "=",
            format!("{} {}", &signature[..10], &signature[10..]),
            format!("{signature}AAAA"),
        ] {
            let request = request.clone().with("x-twilio-signature", other);
            t.rejects(&request, "malformed_signature").await;
        }
        t.received_one();
    });
}

#[test]
fn a_repeat_whose_timestamp_hides_in_its_neighbour_is_a_duplicate() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let now = messages::now().as_secs().to_string();
        let parameters = pairs([
            ("CallSid", &sid("CA")),
            ("CallStatus", "completed"),
            ("Timestamp", &now),
            ("To", "+1"),
        ]);
        let request = form("/voice/status", &parameters);
        t.passes(&request).await;
        let mut hidden = parameters.clone();
        hidden.remove(2);
        hidden[1].1 = format!("completedTimestamp{now}");
        // Or else the test would show nothing: the signature is good for this one too.
        assert_eq!(
            signing::string_to_sign("", &hidden),
            signing::string_to_sign("", &parameters)
        );
        t.rejects(&request.clone().body(encode(&hidden)), "duplicate")
            .await;
        // And the way back: the first one without a timestamp, the repeat with a fresh one.
        let text = format!("{}Timestamp{now}", sid("x"));
        let plain = pairs([("Body", &text), ("To", "+1")]);
        let request = form("/voice/status", &plain);
        t.passes(&request).await;
        let split = pairs([
            ("Body", text.split("Timestamp").next().unwrap_or_default()),
            ("Timestamp", &now),
            ("To", "+1"),
        ]);
        assert_eq!(
            signing::string_to_sign("", &split),
            signing::string_to_sign("", &plain)
        );
        t.rejects(&request.clone().body(encode(&split)), "duplicate")
            .await;
        assert_eq!(t.received_count(), 2);
    });
}

#[test]
fn a_repeat_with_the_boundary_of_a_parameter_moved_does_not_pass() {
    shared().run(async |t| {
        let parameters = whatsapp();
        let request = form(WEBHOOK, &parameters);
        t.passes(&request).await;
        let sid = value(&parameters, "MessageSid").to_owned();
        let mut moved = parameters.clone();
        moved.retain(|(name, _)| name != "MessageSid");
        moved.push((format!("MessageSid{}", &sid[..2]), sid[2..].to_owned()));
        assert_eq!(
            signing::string_to_sign("", &moved),
            signing::string_to_sign("", &parameters)
        );
        // An identifier no longer stands where its parameter is.
        t.rejects(&request.clone().body(encode(&moved)), "malformed_body")
            .await;
        // Text has nothing of the kind; it is the same request all the same.
        let text = value(&parameters, "Body").to_owned();
        let (first, rest) = text.split_at(text.find(' ').expect("words"));
        let mut moved = parameters.clone();
        moved.retain(|(name, _)| name != "Body");
        moved.push((format!("Body{first}"), rest.to_owned()));
        assert_eq!(
            signing::string_to_sign("", &moved),
            signing::string_to_sign("", &parameters)
        );
        t.rejects(&request.clone().body(encode(&moved)), "duplicate")
            .await;
        t.received_one();
    });
}

#[test]
fn status_callbacks_that_differ_in_their_status_only_are_no_duplicates() {
    shared().run(async |t| {
        let message = sid("SM");
        t.upstream(Behaviour::Answer(200));
        for status in ["sent", "delivered", "read"] {
            t.passes(&form(
                "/voice/status",
                &messages::status_callback(&message, status),
            ))
            .await;
        }
        let repeat = form(
            "/voice/status",
            &messages::status_callback(&message, "sent"),
        );
        t.rejects(&repeat, "duplicate").await;
        assert_eq!(t.received_count(), 3);
    });
}

const SPOOFED: [(&str, &str); 9] = [
    ("x-twilio-webhook-verified", "true"),
    ("X-Twilio-Webhook-Verified", "true"),
    ("X-TWILIO-WEBHOOK-VERIFIED", "yes"),
    ("x-twilio-webhook-nonce", "spoofed"),
    ("X-tWiLiO-wEbHoOk-NoNcE", "spoofed"),
    ("x-twilio-webhook-account", OTHER_ACCOUNT),
    ("x-twilio-webhook-account", "spoofed"),
    ("X-Twilio-Webhook-Account", ""),
    ("x-twilio-webhook-verified", ""),
];

fn spoofed(mut request: Request) -> Request {
    for (name, value) in SPOOFED {
        request = request.header(name, value);
    }
    request.header("x-twilio-webhook-nonce", b"\xff\xfe")
}

#[test]
fn spoofed_verdict_headers_are_replaced_on_accepted_requests() {
    shared().run(async |t| {
        t.passes(&spoofed(message())).await;
        t.http2()
            .await
            .passes(&spoofed(message()), Framing::default())
            .await;
        for received in t.received() {
            assert_eq!(received.all("x-twilio-webhook-verified"), [b"true"]);
            assert_eq!(
                received.all("x-twilio-webhook-account"),
                [ACCOUNT.as_bytes()]
            );
            assert_eq!(
                received.header("x-twilio-webhook-nonce").map(str::len),
                Some(64)
            );
        }
        assert_eq!(t.received_count(), 2);
    });
}

#[test]
fn spoofed_verdict_headers_are_removed_on_exempt_paths() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for path in ["/healthz", "/public/", "/public/menu?x=1"] {
            for method in ["GET", "POST"] {
                t.passes(&spoofed(unsigned(method, path))).await;
                let http2 = Framing::default().trailers(("x-twilio-webhook-verified", "true"));
                t.http2()
                    .await
                    .passes(&spoofed(unsigned(method, path)), http2)
                    .await;
            }
        }
        assert_eq!(t.received_count(), 12);
        for received in t.received() {
            let names = received
                .headers
                .iter()
                .map(|(name, _)| String::from_utf8_lossy(name).to_ascii_lowercase());
            let ours: Vec<_> = names
                .filter(|name| name.starts_with("x-twilio-webhook"))
                .collect();
            assert!(ours.is_empty(), "{received:?}");
            // The tap's parser drops trailers; the bytes do not lie.
        }
        assert!(!t.received_text().contains("x-twilio-webhook"));
    });
}

#[test]
fn underscores_do_not_make_a_spoofed_header_pass() {
    // A CGI-like upstream cannot tell `x_twilio_webhook_verified` from the real one.
    shared().run(async |t| {
        let request = message()
            .header("x_twilio_webhook_verified", "true")
            .header("X_Twilio-Webhook_Account", "AC");
        let answer = t.send(&request).await;
        if answer.status == 200 {
            let text = t.received_text().to_ascii_lowercase();
            assert!(!text.contains("x_twilio"), "{text}");
        } else {
            t.assert_nothing_received().await;
        }
    });
}

/// Spellings that some server, framework or proxy takes for `/api/v1/whatsapp/webhook`.
const RESPELLED: &[&str] = &[
    "/api/v1/whatsapp/webhook/",
    "//api/v1/whatsapp/webhook",
    "/api//v1/whatsapp/webhook",
    "/api/v1/whatsapp//webhook",
    "/api/v1/whatsapp/webhook//",
    "/./api/v1/whatsapp/webhook",
    "/api/./v1/whatsapp/webhook",
    "/api/v1/whatsapp/webhook/.",
    "/api/v1/whatsapp/x/../webhook",
    "/x/../api/v1/whatsapp/webhook",
    "/api/v1/whatsapp/webhook/x/..",
    "/api%2Fv1/whatsapp/webhook",
    "/api%2fv1/whatsapp/webhook",
    "/api/v1/whatsapp%5Cwebhook",
    "/api/v1/whatsapp\\webhook",
    "\\api\\v1\\whatsapp\\webhook",
    "/api/v1/whatsapp/%77ebhook",
    "/%61pi/v1/whatsapp/webhook",
    "/api/%2e/v1/whatsapp/webhook",
    "/x/%2e%2e/api/v1/whatsapp/webhook",
    "/x/%2E%2E%2Fapi/v1/whatsapp/webhook",
    "/x/..%2fapi/v1/whatsapp/webhook",
    "/API/v1/whatsapp/webhook",
    "/api/v1/WhatsApp/webhook",
    "/api/v1/whatsapp/webhook;x",
    "/api/v1/whatsapp/webhook;jsessionid=1?a=b",
    "/api/v1;/whatsapp/webhook",
    "/api/v1/whatsapp/webhook%00",
    "/api/v1/whatsapp/webhook%20",
    "/api/v1/whatsapp/webhook%0a",
    "/api/v1/whatsapp/webhook%3Fx",
    "/api/v1/whatsapp/webhook%23",
    "/api/v1/whatsapp/webhook.json",
    "/api/v1/whatsapp/webhook#x",
    "/api/v1/whatsapp/webhook?",
    "/api/v1/whatsapp/webhook?x=/healthz",
    "/api/v1/whatsapp/webhook?/../../../../healthz",
    "api/v1/whatsapp/webhook",
    // From an exempt path.
    "/public/../api/v1/whatsapp/webhook",
    "/public/%2e%2e/api/v1/whatsapp/webhook",
    "/public/%2E./api/v1/whatsapp/webhook",
    "/public/..%2Fapi/v1/whatsapp/webhook",
    "/public/..%5Capi/v1/whatsapp/webhook",
    "/public/..\\api/v1/whatsapp/webhook",
    "/public\\..\\api\\v1\\whatsapp\\webhook",
    "/public/..;/api/v1/whatsapp/webhook",
    "/public/..;x=y/api/v1/whatsapp/webhook",
    "/public/x/../../api/v1/whatsapp/webhook",
    "/public/./../api/v1/whatsapp/webhook",
    "/public//../api/v1/whatsapp/webhook",
    "/public/%252e%252e/api/v1/whatsapp/webhook",
    "/public/..",
    "/public/%2e%2e",
    "/public",
    "/PUBLIC/x",
    "/healthz/",
    "/healthz/../api/v1/whatsapp/webhook",
    "/healthz;/../api/v1/whatsapp/webhook",
    "/healthz%2F..%2Fapi/v1/whatsapp/webhook",
    "/healthz%3F",
    "/studio/../api/v1/whatsapp/webhook",
];

#[test]
fn no_spelling_of_a_path_gets_an_unsigned_request_to_the_upstream() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for path in RESPELLED {
            for request in [
                unsigned("POST", path)
                    .body("Body=x")
                    .header("content-type", "application/x-www-form-urlencoded"),
                Request {
                    target: path.as_bytes().to_vec(),
                    ..forged(&whatsapp())
                },
            ] {
                let answer = t.send_from(new_address(), &request).await;
                assert!(answer.status >= 400, "{path}: {answer:?}");
                assert_eq!(t.received_count(), 0, "{path} has reached the upstream");
            }
            // HTTP/2 carries the path by itself; its client here takes only what looks like a URI.
            if path.starts_with('/') && !path.contains(['\\', '#']) {
                let mut connection =
                    support::http2::Http2::connect(t.envoy.address(), new_address()).await;
                let answer = connection
                    .send(&unsigned("POST", path).body("Body=x"), Framing::default())
                    .await;
                assert!(answer.status >= 400, "{path}: {answer:?}");
            }
        }
        t.assert_nothing_received().await;
    });
}

#[test]
fn an_absolute_request_target_or_another_host_changes_nothing() {
    shared().run(async |t| {
        let absolute = |origin: &str, request: Request| Request {
            target: format!("{origin}{WEBHOOK}").into(),
            ..request
        };
        for origin in [
            "http://orders.example.com",
            "http://evil.example",
            "https://orders.example.com:1",
            "http://127.0.0.1",
        ] {
            let answer = t.send(&absolute(origin, forged(&whatsapp()))).await;
            assert!(answer.status >= 400, "{origin}: {answer:?}");
        }
        // The URL is the configured one: a signature for the host that the client names is none.
        let evil = form_for(
            TOKEN,
            &format!("https://evil.example{WEBHOOK}"),
            WEBHOOK,
            &whatsapp(),
        );
        for request in [
            evil.clone().with("host", "evil.example"),
            evil.clone().header("x-forwarded-host", "evil.example"),
            evil.clone()
                .header("forwarded", "host=evil.example;proto=https"),
            absolute("http://evil.example", evil.clone()),
        ] {
            t.rejects(&request, "invalid_signature").await;
        }
        t.assert_nothing_received().await;
        t.passes(&message().with("host", "evil.example")).await;
    });
}

#[test]
fn the_original_path_header_is_not_believed() {
    shared().run(async |t| {
        let other = "/voice/status";
        let request = form(other, &whatsapp()).header("x-envoy-original-path", other);
        let request = Request {
            target: WEBHOOK.into(),
            ..request
        };
        t.rejects(&request, "invalid_signature").await;
        let unknown = form(WEBHOOK, &whatsapp()).header("x-envoy-original-path", WEBHOOK);
        let unknown = Request {
            target: b"/messages".to_vec(),
            ..unknown
        };
        t.rejects(&unknown, "unknown_webhook").await;
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_signature_for_one_webhook_is_none_for_another() {
    shared().run(async |t| {
        for target in ["/voice/status", "/studio/x", "/strict"] {
            let request = Request {
                target: target.into(),
                ..message()
            };
            t.rejects(&request, "invalid_signature").await;
        }
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_forged_request_does_not_burn_the_nonce_of_the_genuine_one() {
    shared().run(async |t| {
        let parameters = whatsapp();
        let request = form(WEBHOOK, &parameters);
        // The same signature on another body, the same body with another signature; rejected early and late.
        let other = set(parameters.clone(), "Body", "x");
        t.rejects(&request.clone().body(encode(&other)), "invalid_signature")
            .await;
        t.rejects(&forged(&parameters), "invalid_signature").await;
        let other = request.clone().with("content-type", "text/plain");
        t.rejects(&other, "unsigned_body").await;
        let stale = request.clone().header("x-twilio-request-timestamp", "1");
        t.rejects(&stale, "stale_timestamp").await;
        let big = request.clone().body("x".repeat(70_000));
        t.rejects(&big, "body_too_large").await;
        t.assert_nothing_received().await;
        t.passes(&request).await;
        t.rejects(&request, "duplicate").await;
        t.received_one();
    });
}

#[test]
fn forged_requests_cannot_fill_the_store() {
    Setup::changed(json!({"replay": {"capacity": 4}, "rate_limits": []})).run(async |t| {
        let mut connection = t.http1().await;
        let first = message();
        connection.passes(&first).await;
        for _ in 0..200 {
            connection
                .rejects(&forged(&whatsapp()), "invalid_signature")
                .await;
        }
        connection.rejects(&first, "duplicate").await;
        for _ in 0..3 {
            connection.passes(&message()).await;
        }
        assert_eq!(t.received_count(), 4);
    });
}

#[test]
fn a_request_smuggled_behind_another_is_judged_too() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let inner = unsigned("POST", WEBHOOK)
            .header("x-twilio-webhook-verified", "true")
            .body("Body=x")
            .bytes();
        // The unsigned request sits where a body would, behind each framing that servers have disagreed on.
        for (name, value) in [
            ("transfer-encoding", "chunked, identity"),
            ("transfer-encoding", "xchunked"),
            ("transfer-encoding", "\x0bchunked"),
            ("Transfer-Encoding", "chunked, chunked"),
            ("content-length", "0, 0"),
            ("content-length", "+0"),
            ("content-length", "0x0"),
        ] {
            let mut connection = t.http1().await;
            let outer = unsigned("POST", "/healthz").header(name, value).bytes();
            connection.write(&[outer, inner.clone()].concat()).await;
            let answer = connection.response().await;
            assert!(answer.status >= 400, "{name}: {value}: {answer:?}");
        }
        // Through an exempt path, where the body is nobody's business: the second one is a request by itself.
        let mut connection = t.http1().await;
        connection
            .write(
                &[
                    unsigned("POST", "/healthz")
                        .header("content-length", "0")
                        .bytes(),
                    inner,
                ]
                .concat(),
            )
            .await;
        assert_passed(&connection.response().await);
        assert_rejected(&connection.response().await, "missing_signature");
        assert_eq!(t.received_one().target, "/healthz");
    });
}

#[test]
fn an_account_without_its_key_cannot_sign() {
    shared().run(async |t| {
        for key in ["", ACCOUNT, "TWILIO_AUTH_TOKEN", "null", "undefined", "0"] {
            let request = form_by(key, WEBHOOK, &whatsapp());
            t.rejects(&request, "invalid_signature").await;
        }
        t.assert_nothing_received().await;
    });
}
