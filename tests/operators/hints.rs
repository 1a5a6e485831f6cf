//! Each mistake of the field, made before a real Envoy: its log says what would have matched.

use std::time::Duration;

use serde_json::{Value, json};

use crate::view::{assert_discreet, lines};
use support::envoy::{Setup, Test};
use support::messages::{
    self, ACCOUNT, ORIGIN, OTHER_TOKENS, Parameters, TOKEN, WEBHOOK, encode, form, form_by,
    form_for, hashed, message, set, sid, status_callback, whatsapp,
};
use support::process::until;
use support::wire::Request;
use support::{signing, status_of};

/// The fields of a line about a request: contract section 8, the sentence of the reason, and the hint.
const FIELDS: [&str; 11] = [
    "event",
    "verdict",
    "status",
    "message",
    "request_id",
    "client_ip",
    "webhook",
    "account_sid",
    "key",
    "nonce",
    "hint",
];

/// What the hint begins with where nothing fits.
const LAST_RESORT: &str = "nothing that is known to go wrong makes it fit";

/// The line of a request that is rejected, with its hint. A worker makes two diagnoses a second and rejects the rest
/// without, so it is sent again until it is one of the two.
async fn hint(t: &Test<'_>, request: &Request, reason: &str) -> Value {
    until(&format!("a hint for {request:?}"), async || {
        let answer = t.rejects(request, reason).await;
        let id = answer.header("x-request-id").expect("an id").to_owned();
        let lines = t.log_lines(1, |line| line["request_id"] == id.as_str());
        let mut found = lines.await;
        assert_eq!(found.len(), 1, "one line for a request: {found:?}");
        let line = found.pop()?;
        if !line["hint"].is_string() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            return None;
        }
        Some(line)
    })
    .await
}

/// A message that Twilio signed for another URL than the configured one.
fn signed_for(url: &str) -> Request {
    form_for(TOKEN, url, WEBHOOK, &whatsapp())
}

/// One that arrives with another query than was signed.
fn queries(signed: &str, arrives: &str) -> Request {
    let url = format!("{ORIGIN}{WEBHOOK}?{signed}");
    form_for(TOKEN, &url, &format!("{WEBHOOK}?{arrives}"), &whatsapp())
}

/// One whose parameters were changed after they were signed.
fn changed(signed: &Parameters, arrives: &Parameters) -> Request {
    form(WEBHOOK, signed).body(encode(arrives))
}

/// JSON that was signed, and what arrives of it.
fn rewritten(signed: &str, arrives: &str) -> Request {
    let hash = signing::sha256_hex(signed.as_bytes());
    hashed(
        &format!("/studio/flow?bodySHA256={hash}"),
        "application/json",
        arrives,
    )
}

/// What was done wrong, and the words that must tell it.
fn mistakes() -> Vec<(Request, &'static str, Vec<&'static str>)> {
    let callback = || status_callback(&sid("SM"), "delivered");
    let without_empty = |parameters: &Parameters| {
        let filled = parameters.iter().filter(|(_, value)| !value.is_empty());
        filled.cloned().collect::<Parameters>()
    };
    let lower_case = |parameters: &Parameters| {
        let lower = |(name, value): &(String, String)| (name.to_lowercase(), value.clone());
        parameters.iter().map(lower).collect::<Parameters>()
    };
    let (dropped, lowered, spaced) = (callback(), whatsapp(), set(whatsapp(), "Body", " hola "));
    // A number by itself, as in an SMS.
    let plus = set(
        set(whatsapp(), "From", "+4915735998877"),
        "To",
        "+14155238886",
    );
    let unescaped = encode(&plus).replace("%2B", "+");
    let of_another_account = set(
        whatsapp(),
        "AccountSid",
        "AC00000000000000000000000000000009",
    );
    let signature =
        |request: (Request, Vec<&'static str>)| (request.0, "invalid_signature", request.1);
    let mut mistakes: Vec<_> = vec![
        (
            signed_for(&format!("http://orders.example.com{WEBHOOK}")),
            vec!["the scheme that was signed is http, not https"],
        ),
        (
            signed_for(&format!("https://hooks.internal{WEBHOOK}")).with("host", "hooks.internal"),
            vec!["the host that was signed is hooks.internal, not the configured one"],
        ),
        (
            signed_for(&format!("{ORIGIN}:8443{WEBHOOK}")),
            vec!["the URL that was signed has the port 8443"],
        ),
        (
            signed_for(&format!("http://hooks.internal:8080{WEBHOOK}/"))
                .with("host", "hooks.internal:8080"),
            vec![
                "scheme that was signed is http",
                "hooks.internal",
                "port 8080",
                "slash at its end",
            ],
        ),
        (
            signed_for(&format!("{ORIGIN}/shop{WEBHOOK}")).header("x-forwarded-prefix", "/shop"),
            vec!["a proxy in front took a prefix off the path"],
        ),
        (
            signed_for(&format!("{ORIGIN}/v1/hook")).header("x-original-uri", "/v1/hook"),
            vec!["the path was rewritten on the way"],
        ),
        (
            signed_for(&format!("{ORIGIN}{WEBHOOK}/")),
            vec!["the path that was signed has a slash at its end"],
        ),
        (
            signed_for(&format!("https://agent.example.com{WEBHOOK}")).header(
                "x-forwarded-host",
                "agent.example.com, alb-internal.example.net",
            ),
            vec!["the host that was signed is agent.example.com"],
        ),
        (
            signed_for(&format!("https://agent.example.com{WEBHOOK}")).header(
                "forwarded",
                "for=192.0.2.1;host=agent.example.com;proto=https",
            ),
            vec!["the host that was signed is agent.example.com"],
        ),
        (
            signed_for(&format!("{ORIGIN}/twilio/sms")).header("x-replaced-path", "/twilio/sms"),
            vec!["the path was rewritten on the way", "x-replaced-path"],
        ),
        (
            queries(
                "zone=b&Retry=1&msg=Couldn%27t+find",
                "Retry=1&msg=Couldn%27t%20find&zone=b",
            ),
            vec!["in another order and escaped in another way"],
        ),
        (
            queries("shop=1&lang=es", "shop=1&lang=es&gclid=7"),
            vec!["something on the way has added to it"],
        ),
        (
            queries("b=2&a=1&c=3", "a=1&b=2&c=3"),
            vec!["the query that was signed is in another order"],
        ),
        (
            queries("x=it's", "x=it%27s"),
            vec!["the query that was signed is escaped in another way"],
        ),
        (
            queries("shop=1", "shop=1&utm="),
            vec!["lacks the parameters without a value"],
        ),
        (
            changed(&dropped, &without_empty(&dropped)),
            vec!["empty values were dropped"],
        ),
        (
            changed(&spaced, &set(spaced.clone(), "Body", "hola")),
            vec!["white space around a value was cut off"],
        ),
        (
            changed(&lowered, &lower_case(&lowered)),
            vec!["names of the parameters were changed"],
        ),
        (
            form(WEBHOOK, &plus).body(unescaped),
            vec!["was not escaped and became a space"],
        ),
        (
            changed(&plus, &set(plus.clone(), "_waf_id", "7")),
            vec!["a parameter was added on the way"],
        ),
        (
            form_by("00112233445566778899aabbccddeeff", WEBHOOK, &whatsapp()),
            vec![
                LAST_RESORT,
                "the URL at Twilio is another one (a path",
                "the token is another account's or an old one",
            ],
        ),
        (
            form_by(
                "00112233445566778899aabbccddeeff",
                WEBHOOK,
                &of_another_account,
            ),
            vec!["an account that is not configured"],
        ),
    ]
    .into_iter()
    .map(signature)
    .collect();
    let (compact, spaced) = (
        r#"{"flow":"order","items":[1,2]}"#,
        r#"{"flow": "order", "items": [1, 2]}"#,
    );
    mistakes.extend([
        (
            message().without("x-twilio-signature"),
            "missing_signature",
            vec!["a proxy in front may strip X-Twilio-Signature"],
        ),
        (
            rewritten(compact, spaced),
            "body_hash_mismatch",
            vec!["parsed and written anew on the way"],
        ),
        (
            rewritten(spaced, compact),
            "body_hash_mismatch",
            vec!["parsed and written anew on the way"],
        ),
        (
            rewritten(compact, "{}"),
            "body_hash_mismatch",
            vec!["it is not the one whose hash is in the signed URL"],
        ),
        (
            hashed("/studio/flow", "application/json", compact),
            "unsigned_body",
            vec![
                "the URL is signed, the body is not",
                "does not send bodySHA256",
            ],
        ),
        (
            Request {
                target: b"/studio/flow".to_vec(),
                ..rewritten(compact, compact)
            },
            "unsigned_body",
            vec!["a proxy may have dropped or changed the query"],
        ),
        (
            message().with("content-type", "text/plain"),
            "unsigned_body",
            vec!["something on the way changed its content-type"],
        ),
    ]);
    mistakes
}

#[test]
fn the_hint_in_envoys_log_names_each_mistake() {
    let envoy = Setup::changed(json!({"rate_limits": []}))
        .workers(4)
        .start();
    envoy.run(async |t| {
        for (request, reason, words) in mistakes() {
            let line = hint(t, &request, reason).await;
            let hint = line["hint"].as_str().expect("a text");
            for words in words {
                assert!(hint.contains(words), "{words:?} is not in {hint:?}");
            }
            let fields = line.as_object().expect("an object");
            for field in FIELDS {
                assert!(fields.contains_key(field), "{field}: {line}");
            }
            assert_eq!(fields.len(), FIELDS.len(), "{line}");
            assert_eq!(
                (&line["event"], &line["status"]),
                (&json!("twilio_webhook"), &json!(status_of(reason)))
            );
            assert_eq!(line["client_ip"], t.address.to_string());
            assert!(
                line["webhook"].is_string() && line["nonce"].is_null(),
                "{line}"
            );
            // Only the last resort says which URL was tried: the configured one.
            let names_url = hint.starts_with(LAST_RESORT);
            assert!(
                hint.contains(ORIGIN) == names_url && !hint.contains(ACCOUNT),
                "{hint}"
            );
        }
        t.assert_nothing_received().await;
        for line in lines(&t.log()) {
            assert_eq!(line.level, "warning", "{line:?}");
        }
        assert_discreet(t.envoy, &[]);
    });
}

/// `whatsapp:+49…` that became `whatsapp: 49…`, beside a text with spaces that are right.
#[test]
fn a_plus_that_was_not_escaped_in_a_whatsapp_number_is_named() {
    let envoy = Setup::changed(json!({"rate_limits": []})).start();
    envoy.run(async |t| {
        let parameters = whatsapp();
        let unescaped = encode(&parameters).replace("%2B", "+");
        let request = form(WEBHOOK, &parameters).body(unescaped);
        let line = hint(t, &request, "invalid_signature").await;
        let hint = line["hint"].as_str().expect("a text");
        assert!(
            hint.contains("was not escaped and became a space"),
            "{hint}"
        );
    });
}

#[test]
fn a_clock_that_is_wrong_is_told_from_one_late_request() {
    let envoy = Setup::changed(json!({"rate_limits": []}))
        .workers(1)
        .start();
    envoy.run(async |t| {
        let late = |age: u64| {
            let at = (messages::now().as_secs() - age).to_string();
            form("/voice/status", &set(whatsapp(), "Timestamp", &at))
        };
        let first = hint(t, &late(400), "stale_timestamp").await;
        assert!(
            first["hint"]
                .as_str()
                .is_some_and(|hint| hint.starts_with("it is 4")),
            "{first}"
        );
        hint(t, &late(400), "stale_timestamp").await;
        let third = hint(t, &late(400), "stale_timestamp").await;
        let third = third["hint"].as_str().expect("a text");
        assert!(
            third.contains("the last 3 requests with a timestamp were all 4"),
            "{third}"
        );
        assert!(
            third.contains("this host's clock is ahead, or they wait in a queue"),
            "{third}"
        );
    });
}

#[test]
fn a_token_of_another_configured_account_is_told_by_the_reason_and_the_key() {
    let envoy = Setup::changed(json!({"rate_limits": []})).start();
    envoy.run(async |t| {
        // The parameters name the first account, the second one's token has signed.
        let crossed = form_by(OTHER_TOKENS[0], WEBHOOK, &whatsapp());
        t.rejects(&crossed, "account_mismatch").await;
        let found = t
            .log_lines(1, |line| line["verdict"] == "account_mismatch")
            .await;
        assert_eq!(found[0]["key"], "accounts[1].auth_tokens[0]");
        t.assert_nothing_received().await;
    });
}
