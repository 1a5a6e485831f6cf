use serde_json::{Value, json};

use support::envoy::{Setup, connection_manager, listener, plugin, plugin_config, shared};
use support::filter_host::{FilterHost, filter_host};
use support::messages::{
    self, ACCOUNT, ORIGIN, TOKEN, WEBHOOK, bare, forged, form, form_for, message, message_with,
    sid, unsigned, whatsapp,
};
use support::tap::Behaviour;
use support::wire::Request;
use support::{assert_passed, assert_rejected, rule, signing};

/// A configuration that is right, but for the changes.
fn minimal(changes: Value) -> Value {
    let mut plugin = json!({"webhooks": [{"path": WEBHOOK, "url": format!("{ORIGIN}{WEBHOOK}")}]});
    for (name, value) in changes.as_object().expect("an object") {
        plugin[name] = value.clone();
    }
    plugin
}

/// A webhook that is right, but for the changes.
fn webhook(changes: Value) -> Value {
    let mut webhook = json!({"path": WEBHOOK, "url": format!("{ORIGIN}{WEBHOOK}")});
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            webhook.as_object_mut().expect("an object").remove(name);
        } else {
            webhook[name] = value.clone();
        }
    }
    minimal(json!({"webhooks": [webhook]}))
}

/// Some of each class, each with its field; the loader's own tests have the rest, without an Envoy for each.
const MISTAKES: &str = r#"
webhokks {"webhokks": []}
timestamp.maxage {"timestamp": {"maxage": "1s"}}
mode {"mode": 3}
max_body_bytes {"max_body_bytes": "64k"}
timestamp.params {"timestamp": {"params": "Timestamp"}}
log.accepted {"log": {"accepted": "yes"}}
replay.window {"replay": {"window": 300}}
timestamp.max_age {"timestamp": {"max_age": "-5s"}}
rate_limits[0].window {"rate_limits": [{"key": "client_ip", "count": "all", "requests": 1, "window": "60"}]}
mode {"mode": "enforced"}
replay.capacity {"replay": {"capacity": -1}}
replay.on_full {"replay": {"on_full": "drop"}}
rate_limits[0].key {"rate_limits": [{"key": "client", "count": "all", "requests": 1, "window": "1s"}]}
rate_limits[0].count {"rate_limits": [{"key": "client_ip", "count": "everything", "requests": 1, "window": "1s"}]}
store.type {"store": {"type": "memcached"}}
accounts[0].auth_tokens[0] {"accounts": [{"account_sid": "ACCOUNT", "auth_tokens": [""]}]}
accounts[0].auth_tokens[1] {"accounts": [{"account_sid": "ACCOUNT", "auth_tokens": ["good", 7]}]}
accounts[0].account_sid {"accounts": [{"account_sid": "12", "auth_tokens": ["good"]}]}
shared_keys[0].secret {"shared_keys": [{"id": "k", "secret": ""}]}
public_base_url {"public_base_url": "orders.example.com"}
exempt_paths[1] {"exempt_paths": ["/ok", "healthz"]}
"#;

/// The same of a webhook.
const MISTAKES_IN_A_WEBHOOK: &str = r#"
metods {"metods": ["POST"]}
replay.window {"replay": {"window": "5 minutes"}}
path {"path": "api/webhook"}
url {"url": "orders.example.com/api"}
url {"url": "ftp://orders.example.com/api"}
url {"path": "/api/*"}
url {"url": null}
methods[0] {"methods": ["PO ST"]}
"#;

fn mistakes() -> Vec<(Value, String)> {
    let lines = |text: &'static str| {
        let lines = text.trim().lines().filter_map(|line| line.split_once(' '));
        lines.map(|(field, changes)| {
            let changes = changes.replace("ACCOUNT", ACCOUNT);
            let changes: Value = serde_json::from_str(&changes).expect("JSON");
            (field.to_owned(), changes)
        })
    };
    let mut mistakes = vec![(json!({}), "webhooks".to_owned())];
    mistakes.extend(lines(MISTAKES).map(|(field, changes)| (minimal(changes), field)));
    mistakes.extend(
        lines(MISTAKES_IN_A_WEBHOOK)
            .map(|(field, changes)| (webhook(changes), format!("webhooks[0].{field}"))),
    );
    mistakes
}

/// What Envoy logged of the rejection: the one line of the filter that says why.
fn complaint(log: &str) -> Vec<&str> {
    let ours = |line: &&str| {
        (line.contains("[error]") || line.contains("[critical]"))
            && line.contains(filter_host().log_marker())
    };
    log.lines().filter(ours).collect()
}

#[test]
fn each_mistake_in_the_configuration_keeps_envoy_from_starting_and_the_log_names_the_field() {
    let mut wrong = Vec::new();
    // Some at a time: most of it is waiting.
    for some in mistakes().chunks(3) {
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let start = |(plugin, field): &(Value, String)| {
                let (plugin, field) = (plugin.clone(), field.clone());
                scope.spawn(move || (Setup::with(&plugin).rejected(), plugin, field))
            };
            let threads: Vec<_> = some.iter().map(start).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("an outcome"))
                .collect()
        });
        for (outcome, plugin, field) in outcomes {
            match outcome {
                Err(started) => wrong.push(format!("{started} with {plugin}")),
                Ok(log) => {
                    let lines = complaint(&log);
                    let named = lines.iter().any(|line| line.contains(&format!("{field}:")));
                    if lines.len() != 1 || !named || log.contains("panicked") {
                        wrong.push(format!(
                            "no single line with `{field}:` for {plugin}\n  {}",
                            lines.join("\n  ")
                        ));
                    }
                    for secret in [TOKEN, "\"good\""] {
                        assert!(!log.contains(secret), "the log tells {secret}");
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_configuration_that_is_no_json_object_keeps_envoy_from_starting() {
    for text in [
        "{",
        "[]",
        "null",
        "\"enforce\"",
        "webhooks: []",
        "{\"mode\": \"enforce\",}",
    ] {
        let log = Setup::with_text(text)
            .env("WEBHOOK_URL", &format!("{ORIGIN}{WEBHOOK}"))
            .rejected();
        let log = log.unwrap_or_else(|started| panic!("{started} with {text}"));
        assert_eq!(complaint(&log).len(), 1, "{text}: {log}");
        assert!(!log.contains("panicked"), "{text}: {log}");
    }
}

#[test]
fn a_mistake_in_the_environment_keeps_envoy_from_starting_and_the_log_names_the_variable() {
    for (name, value) in [
        ("WEBHOOK_URL", "orders.example.com"),
        ("TWILIO_CLOCK_SKEW_MS", "30s"),
        ("TWILIO_NONCE_WINDOW_MS", "-1"),
        ("TWILIO_ACCOUNT_SID", "nobody"),
    ] {
        let setup = Setup::with(&json!({}))
            .env("WEBHOOK_URL", &format!("{ORIGIN}{WEBHOOK}"))
            .env(name, value);
        let log = setup
            .rejected()
            .unwrap_or_else(|started| panic!("{started} with {name}={value}"));
        let lines = complaint(&log);
        assert!(
            lines.iter().any(|line| line.contains(name)),
            "{name}={value}: {log}"
        );
    }
}

/// Each as somebody pasted it; the loader's own tests have the rest.
#[test]
fn what_copying_leaves_keeps_envoy_from_starting_and_the_log_says_what_it_is() {
    let url = format!("{ORIGIN}{WEBHOOK}");
    let in_the_environment = |name: &str, value: &str| {
        Setup::with_text("{\"rate_limits\": []}")
            .env("WEBHOOK_URL", &url)
            .env(name, value)
    };
    let twice = format!(
        r#"{{"accounts": [{{"auth_tokens": ["first"]}}], "webhooks": [{{"url": "{url}"}}],
            "accounts": [{{"auth_tokens": ["second"]}}]}}"#
    );
    let deep = format!("{{\"mode\": {}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let cases = [
        (
            in_the_environment("TWILIO_AUTH_TOKEN", &format!("{TOKEN}\n")),
            "TWILIO_AUTH_TOKEN: expected a secret",
            "ends in a line end",
        ),
        (
            in_the_environment("TWILIO_AUTH_TOKEN", &format!("\"{TOKEN}\"")),
            "TWILIO_AUTH_TOKEN: expected a secret",
            "docker --env-file keeps them",
        ),
        (
            in_the_environment("TWILIO_ACCOUNT_SID", &format!("'{ACCOUNT}'")),
            "TWILIO_ACCOUNT_SID: expected an account SID",
            "has quotes around it",
        ),
        (
            in_the_environment("WEBHOOK_URL", "https://${HOST}/a"),
            "WEBHOOK_URL: expected a URL whose variables are expanded",
            "write the value itself",
        ),
        (
            Setup::with(&minimal(json!({
                "accounts": [{"account_sid": ACCOUNT, "auth_tokens": ["${TWILIO_AUTH_TOKEN}"]}],
            }))),
            "accounts[0].auth_tokens[0]: expected a secret",
            "variable that was not expanded",
        ),
        (
            Setup::with(&webhook(json!({"url": "https://orders. example.com/sms"}))),
            "webhooks[0].url: expected a URL",
            "white space",
        ),
        (
            Setup::with(&webhook(
                json!({"url": "https://https://orders.example.com/sms"}),
            )),
            "webhooks[0].url: expected a URL",
            "one scheme",
        ),
        (
            Setup::with_text(twice),
            "accounts: this field occurs twice",
            "",
        ),
        (
            Setup::with_text(format!("\u{FEFF}{}", minimal(json!({})))),
            "configuration: expected JSON",
            "byte order mark",
        ),
        (
            Setup::with_text(deep),
            "configuration: expected JSON",
            "recursion limit",
        ),
    ];
    for (setup, field, words) in cases {
        assert_rejected_in_words(setup, field, words);
    }
}

fn assert_rejected_in_words(setup: Setup, field: &str, words: &str) {
    let log = setup
        .rejected()
        .unwrap_or_else(|started| panic!("{started}: {field}"));
    let lines = complaint(&log);
    let says = |line: &&str| line.contains(field) && line.contains(words);
    assert!(lines.len() == 1 && lines.iter().any(says), "{field}: {log}");
    assert!(!log.contains(TOKEN) && !log.contains("panicked"), "{log}");
}

#[test]
fn a_protobuf_struct_is_rejected_in_words_unless_envoy_hands_it_over_as_json() {
    let plugin = minimal(json!({"log": {"accepted": true}}));
    let setup = Setup::shipped().edit(move |config| {
        plugin_config(listener(config))["configuration"] = json!({
            "@type": "type.googleapis.com/google.protobuf.Struct",
            "value": plugin,
        });
    });
    match filter_host() {
        FilterHost::Wasm => assert_rejected_in_words(
            setup,
            "configuration: expected JSON text, found the bytes of a google.protobuf.Struct",
            "use google.protobuf.StringValue with JSON text",
        ),
        FilterHost::Native => drop(setup.start()),
    }
}

#[test]
fn what_is_most_likely_a_mistake_is_said_once_for_all_workers() {
    Setup::changed(json!({
        "accounts": [{"account_sid": ACCOUNT, "auth_tokens": [{"env": "TWILIO_AUTH_TOKEN"}, ACCOUNT]}],
        "rate_limits": [rule("webhook", "all", 1000, "1s")],
        "exempt_paths": ["/api/*"],
    })).workers(4).run(async |t| {
        t.passes(&message()).await;
        let log = t.envoy.full_log();
        for field in [
            "accounts[0].auth_tokens[1]",
            "rate_limits[0]",
            "exempt_paths[0]",
        ] {
            let said = format!("twilio_webhook configuration: {field}: ");
            let lines: Vec<_> = log.lines().filter(|line| line.contains(&said)).collect();
            assert!(
                matches!(lines.as_slice(), [line] if line.contains("[warning]")),
                "{field}: {log}"
            );
        }
        assert_eq!(
            log.matches("twilio_webhook configuration: ").count(),
            3,
            "{log}"
        );
    });
}

#[test]
fn a_configuration_without_a_doubt_is_loaded_without_a_word() {
    Setup::with(&plugin()).run(async |t| {
        t.passes(&message()).await;
        let log = t.envoy.full_log();
        assert!(!log.contains("twilio_webhook configuration"), "{log}");
    });
}

#[test]
fn in_monitor_mode_everything_passes_and_carries_the_reason() {
    Setup::changed(json!({
        "mode": "monitor",
        "rate_limits": [rule("client_ip", "all", 12, "600s")],
    }))
    .run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let good = message();
        let big = message_with("Body", &"x".repeat(70_000));
        for (request, verdict) in [
            (good.clone(), "true"),
            (good.clone(), "duplicate"),
            (forged(&whatsapp()), "invalid_signature"),
            (message().without("x-twilio-signature"), "missing_signature"),
            (
                message().with("x-twilio-signature", "x"),
                "malformed_signature",
            ),
            (
                message().header("x-twilio-request-timestamp", "1"),
                "stale_timestamp",
            ),
            (
                message().with("content-type", "text/plain"),
                "unsigned_body",
            ),
            (unsigned("POST", "/elsewhere"), "unknown_webhook"),
            (bare("DELETE", WEBHOOK), "method_not_allowed"),
            (big, "body_too_large"),
        ] {
            let spoofed = request
                .header("x-twilio-webhook-verified", "true")
                .header("x-twilio-webhook-account", "AC");
            t.answered(&spoofed, 200).await;
            let received = t.received();
            let last = received.last().expect("everything passes");
            assert_eq!(last.all("x-twilio-webhook-verified"), [verdict.as_bytes()]);
            assert_eq!(
                last.body, spoofed.body,
                "{verdict}: the body goes through whole"
            );
            if verdict != "true" {
                assert!(
                    !last
                        .all("x-twilio-webhook-account")
                        .contains(&b"AC".as_slice())
                );
            }
        }
        // Limits and nonces are used up as if it were in force.
        let mut verdicts = Vec::new();
        for _ in 0..5 {
            t.passes(&message()).await;
            let received = t.received();
            verdicts.push(
                received
                    .last()
                    .and_then(|last| last.header("x-twilio-webhook-verified"))
                    .map(str::to_owned),
            );
        }
        assert_eq!(
            verdicts.last(),
            Some(&Some("rate_limited".to_owned())),
            "{verdicts:?}"
        );
        assert_eq!(t.received_count(), 15);
        let lines = t.log_lines(9, |line| line["verdict"].is_string()).await;
        assert!(
            lines
                .iter()
                .any(|line| line["verdict"] == "invalid_signature"),
            "{lines:?}"
        );
    });
}

#[test]
fn in_off_mode_everything_passes_and_the_log_says_so_once() {
    Setup::changed(json!({"mode": "off"})).run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let good = message();
        for request in [
            good.clone(),
            good,
            forged(&whatsapp()),
            unsigned("POST", "/elsewhere"),
            unsigned("GET", WEBHOOK),
        ] {
            let spoofed = request.header("x-twilio-webhook-verified", "true");
            t.passes(&spoofed).await;
        }
        for _ in 0..70 {
            t.passes(&forged(&whatsapp())).await;
        }
        assert_eq!(t.received_count(), 75);
        for received in t.received() {
            // An upstream that trusts the header must not be told that something was verified.
            assert_eq!(received.header("x-twilio-webhook-verified"), None);
        }
        let log = t.envoy.full_log();
        let said = log.lines().filter(|line| {
            line.contains(filter_host().log_marker()) && line.to_ascii_lowercase().contains("off")
        });
        assert_eq!(said.count(), 1, "{log}");
    });
}

#[test]
fn exempt_paths_go_through_unchecked_and_uncounted() {
    shared().run(async |t| {
        for _ in 0..100 {
            assert_eq!(t.send(&unsigned("GET", "/healthz")).await.status, 200);
        }
        t.upstream(Behaviour::Answer(200));
        for request in [
            unsigned("GET", "/public/"),
            unsigned("GET", "/public/menu.html?x=/../"),
            unsigned("POST", "/public/a/b").body("anything"),
            unsigned("DELETE", "/healthz?verbose").header("x-twilio-signature", "bad"),
            unsigned("POST", "/public/big").body("x".repeat(200_000)),
        ] {
            t.passes(&request).await;
        }
        assert_eq!(t.received_count(), 105);
        t.passes(&message()).await;
    });
}

#[test]
fn a_prefix_webhook_signs_the_path_as_received() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for path in [
            "/studio/a",
            "/studio/a/b",
            "/studio/%41",
            "/studio/a//b",
            "/studio/",
            "/studio/ü".replace('ü', "%C3%BC").as_str(),
        ] {
            t.passes(&form(path, &whatsapp())).await;
            assert_eq!(
                t.received().last().map(|received| received.target.clone()),
                Some(path.to_owned())
            );
        }
        // The spelling is signed.
        let mut respelled = form("/studio/%41", &whatsapp());
        respelled.target = b"/studio/A".to_vec();
        t.rejects(&respelled, "invalid_signature").await;
    });
}

#[test]
fn a_configured_url_is_signed_whatever_envoy_sees_and_with_every_port_form() {
    let plugin = json!({
        "webhooks": [
            {"path": "/internal/a", "url": "https://public.example:8443/hooks/a#rc=3"},
            {"path": "/internal/b", "url": "http://public.example/hooks/b"},
            {"path": "/internal/c", "url": "https://public.example/hooks/c?shop=1&lang=de"},
        ],
        "public_base_url": "https://unused.example",
    });
    Setup::with(&plugin).run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for (target, url) in [
            ("/internal/a", "https://public.example:8443/hooks/a"),
            ("/internal/a", "https://public.example/hooks/a"),
            (
                "/internal/a?x=%20",
                "https://public.example:8443/hooks/a?x=%20",
            ),
            ("/internal/b", "http://public.example/hooks/b"),
            ("/internal/b", "http://public.example:80/hooks/b"),
            (
                "/internal/c?shop=1&lang=de",
                "https://public.example/hooks/c?shop=1&lang=de",
            ),
            (
                "/internal/c?shop=1&lang=de",
                "https://public.example:443/hooks/c?shop=1&lang=de",
            ),
            // Sent in another order, signed as configured; and the other way round.
            (
                "/internal/c?lang=de&shop=1",
                "https://public.example/hooks/c?shop=1&lang=de",
            ),
            (
                "/internal/c?lang=de&shop=1",
                "https://public.example/hooks/c?lang=de&shop=1",
            ),
        ] {
            t.answered(&form_for(TOKEN, url, target, &whatsapp()), 200)
                .await;
        }
        let passed = t.received_count();
        for (target, url) in [
            ("/internal/a", "https://public.example:8443/internal/a"),
            ("/internal/a", "http://public.example:8443/hooks/a"),
            ("/internal/a", "https://public.example:8444/hooks/a"),
            ("/internal/b", "https://public.example/hooks/b"),
            ("/internal/b", "http://public.example:443/hooks/b"),
            (
                "/internal/c?shop=2&lang=de",
                "https://public.example/hooks/c?shop=1&lang=de",
            ),
            (
                "/internal/c",
                "https://public.example/hooks/c?shop=1&lang=de",
            ),
            (
                "/internal/c?shop=1&lang=de&x=1",
                "https://public.example/hooks/c?shop=1&lang=de",
            ),
            (
                "/internal/c?shop=1&shop=1&lang=de",
                "https://public.example/hooks/c?shop=1&lang=de",
            ),
        ] {
            let answer = t.send(&form_for(TOKEN, url, target, &whatsapp())).await;
            assert_eq!(
                (answer.status, answer.reason().as_str()),
                (403, "invalid_signature"),
                "{target}, {url}"
            );
        }
        assert_eq!(t.received_count(), passed);
    });
}

#[test]
fn several_tokens_of_one_account_are_accepted_during_a_rotation() {
    let next = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf";
    Setup::changed(json!({"accounts": [
        {"account_sid": ACCOUNT, "auth_tokens": [{"env": "TWILIO_AUTH_TOKEN"}, {"env": "TWILIO_AUTH_TOKEN_NEXT"}]},
    ]}))
        .env("TWILIO_AUTH_TOKEN_NEXT", next)
        .run(async |t| {
            let url = format!("{ORIGIN}{WEBHOOK}");
            for token in [TOKEN, next] {
                t.passes(&form_for(token, &url, WEBHOOK, &whatsapp())).await;
            }
            let request = form_for(&sid("x"), &url, WEBHOOK, &whatsapp());
            t.rejects(&request, "invalid_signature").await;
            assert_eq!(t.received_count(), 2);
        });
}

#[test]
fn the_timestamp_header_can_be_renamed_or_switched_off() {
    for (header, name, rejected) in [
        (json!("x-sent-at"), "x-sent-at", true),
        (json!("x-sent-at"), "x-twilio-request-timestamp", false),
        (Value::Null, "x-twilio-request-timestamp", false),
    ] {
        Setup::changed(json!({"timestamp": {"header": header, "params": ["SentAt"]}})).run(
            async |t| {
                let answer = t.send(&message().header(name, "1")).await;
                if rejected {
                    assert_rejected(&answer, "stale_timestamp");
                } else {
                    assert_passed(&answer);
                }
                let signed = message_with("SentAt", "1");
                t.rejects(&signed, "stale_timestamp").await;
                let other = message_with("Timestamp", "1");
                t.passes(&other).await;
            },
        );
    }
}

#[test]
fn a_shared_key_signs_with_sha_256_where_the_request_names_it() {
    let secret = "c1c2c3c4c5c6c7c8c9cacbcccdcecfc0";
    Setup::changed(json!({
        "rate_limits": [],
        "shared_keys": [{"id": "WK1", "secret": {"env": "TWILIO_AUTH_TOKEN_NEXT"}}],
    }))
    .env("TWILIO_AUTH_TOKEN_NEXT", secret)
    .run(async |t| {
        let url = format!("{ORIGIN}{WEBHOOK}");
        let by = |signature: &dyn Fn(&messages::Parameters) -> String, settings: &str| {
            let parameters = whatsapp();
            let request =
                form(WEBHOOK, &parameters).with("x-twilio-signature", signature(&parameters));
            if settings.is_empty() {
                request
            } else {
                request.header("X-Twilio-Webhooks-Signature-Settings", settings)
            }
        };
        let sha256 = |key: &'static str| {
            let url = url.clone();
            move |p: &messages::Parameters| signing::sign_sha256(key, &url, p)
        };
        let sha1 = |key: &'static str| {
            let url = url.clone();
            move |p: &messages::Parameters| signing::sign(key, &url, p)
        };
        let settings = "key=WK1,algorithm=HMAC_SHA256";
        let request = by(&sha256(secret), settings);
        t.passes(&request).await;
        t.rejects(&request, "duplicate").await;
        // The header chooses a key. It chooses no algorithm, and it makes none.
        for request in [
            by(&sha256(secret), ""),
            by(&sha256(secret), "key=WK2,algorithm=HMAC_SHA256"),
            by(&sha256(secret), "key=,algorithm=HMAC_SHA256"),
            by(&sha256(TOKEN), settings),
            by(&sha256(TOKEN), ""),
            by(&sha256(""), settings),
            by(&sha1(secret), settings),
            by(&sha1(secret), "key=WK1,algorithm=HMAC_SHA1"),
            by(&sha1(secret), ""),
        ] {
            t.rejects(&request, "invalid_signature").await;
        }
        t.received_one();
    });
}

#[test]
fn behind_an_envoy_that_rewrites_the_original_path_is_signed_where_that_is_configured() {
    for (trusted, passes) in [(true, true), (false, false)] {
        // From anyone who is not internal Envoy removes the header.
        let setup = Setup::changed(json!({"trust_original_path": trusted})).edit(|config| {
            connection_manager(listener(config))["internal_address_config"] =
                json!({"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]});
        });
        setup.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            // Both paths belong to the same webhook, /studio/*.
            let request = form("/studio/original?a=b", &whatsapp())
                .header("x-envoy-original-path", "/studio/original?a=b");
            let request = Request {
                target: b"/studio/rewritten".to_vec(),
                ..request
            };
            let answer = t.send(&request).await;
            if passes {
                assert_passed(&answer);
                assert_eq!(t.received_one().target, "/studio/rewritten");
            } else {
                assert_rejected(&answer, "invalid_signature");
                t.assert_nothing_received().await;
            }
        });
    }
}
