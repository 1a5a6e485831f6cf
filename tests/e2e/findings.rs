use std::time::Duration;

use serde_json::{Value, json};

use support::assert_passed;
use support::assert_rejected;
use support::envoy::{Setup, connection_manager, listener, plugin_config, shared};
use support::filter_host::{FilterHost, filter_host};
use support::http2::Framing;
use support::messages::{
    ORIGIN, TOKEN, WEBHOOK, bare, encode, forged, form, form_for, hashed, message, message_with,
    pairs, set, sid, unsigned, whatsapp,
};
use support::signing;
use support::tap::Behaviour;

/// The configuration of the other tests, without limits.
fn unlimited(more: Value) -> Setup {
    let mut changes = json!({"rate_limits": []});
    for (name, value) in more.as_object().expect("an object") {
        changes[name] = value.clone();
    }
    Setup::changed(changes)
}

#[test]
fn finding_2_a_hash_that_is_not_the_last_parameter_covers_no_body() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let body = r#"{"order":1000}"#;
        let hash = signing::sha256_hex(body.as_bytes());
        let moved = format!("/studio/x?shop=1&bodySHA256={hash}&z=");
        let moved = hashed(&moved, "application/json", body);
        t.rejects(&moved, "unsigned_body").await;
        t.assert_nothing_received().await;
        let genuine = format!("/studio/x?shop=1&bodySHA256={hash}");
        t.passes(&hashed(&genuine, "application/json", body)).await;
    });
}

#[test]
fn finding_2b_a_message_inside_of_a_text_is_malformed_in_either_reading() {
    shared().run(async |t| {
        let inner = sid("SM");
        let text = format!("2 tacosFromwhatsapp:+15550001MessageSid{inner}ToWaId");
        let request = message_with("Body", &text);
        t.rejects(&request, "malformed_body").await;
        // A customer may ask what a MessageSid is.
        let asked = set(
            whatsapp(),
            "Body",
            "what is my MessageSidSM12 and AccountSidAC?",
        );
        t.assert_nothing_received().await;
        t.passes(&form(WEBHOOK, &asked)).await;
    });
}

#[test]
fn finding_7_the_answer_says_what_is_wrong_with_a_form_and_shows_none_of_it() {
    shared().run(async |t| {
        for (changed, words) in [
            ("+", "space"),
            ("%3B", "\";\""),
            ("%0A", "control character"),
            ("%C3%A9", "beyond ASCII"),
        ] {
            let genuine = form(WEBHOOK, &whatsapp());
            let raw = match changed {
                "+" => " ",
                "%3B" => ";",
                "%0A" => "\n",
                _ => "\u{e9}",
            };
            let body = String::from_utf8(genuine.body.clone()).expect("ASCII");
            let body = body.replacen("&Body=", &format!("&Body=secret{raw}"), 1);
            let offset = body.find(raw).expect("it is there");
            let answer = t.rejects(&genuine.body(body), "malformed_body").await;
            let said = answer.json()["message"]
                .as_str()
                .expect("a text")
                .to_owned();
            assert!(said.contains(words), "{said}");
            assert!(said.ends_with(&format!("at byte {offset}.")), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
        t.assert_nothing_received().await;
    });
}

#[test]
fn finding_8_a_body_with_a_get_is_unsigned() {
    shared().run(async |t| {
        let url = format!("{ORIGIN}/voice/status?amount=1000");
        let request = form_for(TOKEN, &url, "/voice/status?amount=1", &pairs([]));
        let mut request = request.body("000=");
        request.method = "GET".to_owned();
        t.rejects(&request, "unsigned_body").await;
        t.assert_nothing_received().await;
    });
}

#[test]
fn finding_9_paths_around_a_webhook_are_not_exempt() {
    let exempt = json!(["/*", format!("{WEBHOOK}/health")]);
    unlimited(json!({"exempt_paths": exempt})).run(async |t| {
        for around in [
            "/x", ".json", "%20", "~", "%ff", "/%c0%ae", ";x", "%00", "/../x",
        ] {
            let request = unsigned("GET", &format!("{WEBHOOK}{around}"));
            t.rejects(&request, "unknown_webhook").await;
        }
        t.assert_nothing_received().await;
        for exempt in [format!("{WEBHOOK}/health"), "/other".to_owned()] {
            let answer = t.send(&unsigned("GET", &exempt)).await;
            assert_eq!(answer.reason(), "", "{exempt}");
        }
    });
}

/// An Envoy that passes headers on whose names have underscores.
fn with_underscores(more: Value) -> Setup {
    unlimited(more).edit(|config| {
        let manager = connection_manager(listener(config));
        manager["common_http_protocol_options"]["headers_with_underscores_action"] = json!("ALLOW");
    })
}

#[test]
fn finding_12_no_spelling_of_the_filters_own_headers_passes() {
    with_underscores(json!({})).run(async |t| {
        let spellings = [
            "x_twilio_webhook_verified",
            "X_Twilio-Webhook_Nonce",
            "x-twilio_webhook-account",
            "X-TWILIO-WEBHOOK-ACCOUNT",
        ];
        let add = |request: support::wire::Request| {
            let all = spellings.iter();
            all.fold(request, |request, name| request.header(name, "true"))
        };
        t.passes(&add(message())).await;
        t.send(&add(unsigned("GET", "/healthz"))).await;
        let received = t.received();
        assert_eq!(received.len(), 2);
        for (received, own) in received.iter().zip([3, 0]) {
            let alike = |name: &[u8]| {
                let name = String::from_utf8_lossy(name).replace('_', "-");
                name.to_lowercase().starts_with("x-twilio-webhook-")
            };
            let names: Vec<_> = received
                .headers
                .iter()
                .filter(|(name, _)| alike(name))
                .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
                .collect();
            assert_eq!(names.len(), own, "{names:?}");
            assert!(names.iter().all(|name| !name.contains('_')), "{names:?}");
        }
    });
}

#[test]
fn finding_13_the_filters_own_headers_do_not_pass_as_trailers() {
    let setup = with_underscores(json!({})).edit(|config| {
        let cluster = &mut config["static_resources"]["clusters"][0];
        let options = &mut cluster["typed_extension_protocol_options"]
            ["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
        options["explicit_http_config"]["http_protocol_options"] = json!({"enable_trailers": true});
    });
    setup.run(async |t| {
        for name in [
            "x-twilio-webhook-verified",
            "x_twilio_webhook_account",
            "x-kept",
        ] {
            for request in [message(), unsigned("POST", "/healthz").body("x")] {
                // Without its length it is chunked, and so has room for trailers.
                let request = request.without("content-length");
                let trailers = Framing::default().trailers((name, "forged"));
                let answer = t.http2().await.send(&request, trailers).await;
                assert_eq!(answer.reason(), "", "{name}");
            }
        }
        let received = t.received_text();
        assert_eq!(received.matches("x-kept: forged").count(), 2, "{received}");
        assert_eq!(received.matches("forged").count(), 2, "{received}");
    });
}

#[test]
fn finding_14_a_flood_of_forged_requests_does_not_hide_the_line_of_an_accepted_one() {
    let log = json!({"accepted": true, "max_per_second": 5});
    let envoy = unlimited(json!({"log": log})).workers(1).start();
    envoy.run(async |t| {
        for _ in 0..40 {
            t.send(&forged(&whatsapp())).await;
        }
        let answer = t.passes(&message()).await;
        let id = answer.header("x-request-id").expect("an id").to_owned();
        let lines = t
            .log_lines(1, |line| line["request_id"] == id.as_str())
            .await;
        assert_eq!(lines[0]["verdict"], "accepted");
    });
}

#[test]
fn finding_14_a_long_target_is_rejected_before_anything_is_made_of_it() {
    shared().run(async |t| {
        let long = format!("{WEBHOOK}?{}", "q".repeat(16_384 - WEBHOOK.len()));
        t.rejects(&bare("POST", &long), "target_too_long").await;
        t.rejects(&bare("GET", &long), "method_not_allowed").await;
        let fits = bare("POST", &long[..16_384]);
        t.passes(&fits).await;
    });
}

#[test]
fn the_line_of_a_404_or_405_has_method_and_path_without_the_query() {
    shared().run(async |t| {
        for (method, path, _status, reason, words) in [
            (
                "POST",
                format!("{WEBHOOK}/"),
                404,
                "unknown_webhook",
                "slash",
            ),
            (
                "GET",
                WEBHOOK.to_owned(),
                405,
                "method_not_allowed",
                "redirect",
            ),
        ] {
            let answer = t
                .rejects(
                    &unsigned(method, &format!("{path}?From=%2B1555123")),
                    reason,
                )
                .await;
            let id = answer.header("x-request-id").expect("an id").to_owned();
            let lines = t
                .log_lines(1, |line| line["request_id"] == id.as_str())
                .await;
            assert_eq!(lines[0]["method"], method);
            assert_eq!(lines[0]["path"], path);
            let hint = lines[0]["hint"].as_str().unwrap_or_default();
            assert!(hint.contains(words), "{hint}");
        }
    });
}

#[test]
fn a_form_is_taken_with_the_configured_query_and_no_other() {
    let url = format!("{ORIGIN}/pay?shop=1");
    let webhooks = json!([{"path": "/pay", "url": url}]);
    unlimited(json!({"webhooks": webhooks})).run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let message = whatsapp();
        let more = format!("{url}&amount=1");
        let moved = form_for(TOKEN, &more, "/pay?shop=1&amount=1", &message);
        t.rejects(&moved, "invalid_signature").await;
        t.passes(&form_for(TOKEN, &url, "/pay?shop=1", &message))
            .await;
    });
}

#[test]
fn a_lenient_webhook_takes_what_a_strict_one_does_not() {
    let webhooks = json!([
        {"path": "/strict"},
        {"path": "/lenient", "form": "lenient", "max_parameters": 25},
    ]);
    unlimited(json!({"webhooks": webhooks})).run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for (path, is_taken) in [("/strict", false), ("/lenient", true)] {
            let request = form(path, &whatsapp());
            let respelled = encode(&whatsapp()) + "&";
            let genuine = request.clone().body([&request.body[..], b"&"].concat());
            assert!(respelled.ends_with('&'));
            let answer = t.send(&genuine).await;
            if is_taken {
                assert_passed(&answer);
            } else {
                assert_rejected(&answer, "malformed_body");
            }
        }
        let many = form("/lenient", &whatsapp());
        let many = many
            .clone()
            .body([&many.body[..], &b"&".repeat(25)].concat());
        t.rejects(&many, "malformed_body").await;
    });
}

#[test]
fn an_envoy_that_never_shows_a_body_leaves_a_line_that_says_so() {
    let setup = unlimited(json!({})).edit(|config| {
        let config = plugin_config(listener(config));
        let fields = config.as_object_mut().expect("an object");
        assert!(fields.remove("allow_on_headers_stop_iteration").is_some());
    });
    let setup = setup.edit(|config| {
        connection_manager(listener(config))["request_timeout"] = json!("1s");
    });
    setup.run(async |t| {
        if filter_host() == FilterHost::Native {
            // There is no such setting: a dynamic module is shown every body.
            t.passes(&message()).await;
            return;
        }
        let answer = t.send(&message()).await;
        assert_ne!(answer.status, 200);
        t.assert_nothing_received().await;
        let says = |line: &Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message.contains("allow_on_headers_stop_iteration: true")
        };
        assert_eq!(t.log_lines(1, says).await.len(), 1);
        // A sender that leaves before its body is no mistake of the configuration.
        let announced = message().header("expect", "x");
        let mut client = t.http1().await;
        let head = announced.bytes();
        let head = &head[..head.len() - announced.body.len()];
        client.write(head).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.reset();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(t.log_lines(1, says).await.len(), 1);
    });
}

#[test]
fn a_form_made_of_the_end_of_a_json_requests_url_does_not_take_its_place() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let json = format!(r#"{{"order": "{}"}}"#, sid("OR"));
        let hash = signing::sha256_hex(json.as_bytes());
        let signed = format!("/studio/x?shop=1&bodySHA256={hash}");
        for at in [
            "?",
            "shop",
            "&",
            "body",
            "=",
            &hash,
            &hash[20..],
            &hash[60..],
        ] {
            let (target, moved) = signed.split_at(signed.rfind(at).expect("it is there"));
            let moved = moved.replace('&', "%26").replace('=', "%3D");
            for body in [format!("{moved}="), format!("={moved}")] {
                let url = format!("{ORIGIN}{signed}");
                let request = form_for(TOKEN, &url, target, &pairs([])).body(body);
                t.rejects(&request, "malformed_body").await;
            }
        }
        t.assert_nothing_received().await;
        t.passes(&hashed(&signed, "application/json", &json)).await;
    });
}
