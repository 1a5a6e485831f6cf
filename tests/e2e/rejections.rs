use std::collections::BTreeSet;

use serde_json::json;

use support::envoy::{Setup, new_address, shared};
use support::messages::{
    self, ACCOUNT, ORIGIN, OTHER_ACCOUNT, OTHER_TOKENS, TOKEN, WEBHOOK, bare, forged, form,
    form_for, message, message_with, pairs, set, sid, unsigned, whatsapp,
};
use support::wire::Request;
use support::{assert_passed, assert_rejected, rule, signing};

fn with_header_time(time: impl ToString) -> Request {
    message().header("x-twilio-request-timestamp", time.to_string())
}

/// A voice status callback carries its time, signed.
fn with_signed_time(time: impl ToString) -> Request {
    form(
        "/voice/status",
        &pairs([("CallSid", &sid("CA")), ("Timestamp", &time.to_string())]),
    )
}

#[test]
fn a_path_that_is_no_webhook_is_answered_404() {
    shared().run(async |t| {
        for path in [
            "/",
            "/api",
            "/api/v1/whatsapp/webhook2",
            "/studio",
            "/healthz2",
            "/messages",
        ] {
            for method in ["POST", "GET", "PUT", "OPTIONS", "DELETE"] {
                t.rejects_from(new_address(), &unsigned(method, path), "unknown_webhook")
                    .await;
            }
        }
        // A good signature is no ticket to another path.
        t.rejects(&form("/messages", &whatsapp()), "unknown_webhook")
            .await;
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_method_that_the_webhook_does_not_have_is_answered_405_with_allow() {
    shared().run(async |t| {
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let answer = t
                .rejects(&bare(method, WEBHOOK), "method_not_allowed")
                .await;
            assert_eq!(answer.header("allow"), Some("POST"));
        }
        let answer = t
            .rejects(&bare("DELETE", "/voice/status"), "method_not_allowed")
            .await;
        let allow = answer.header("allow").expect("allow");
        let allow: BTreeSet<_> = allow.split(',').map(str::trim).collect();
        assert_eq!(allow, BTreeSet::from(["GET", "POST"]));
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_429_says_what_the_limit_is_and_when_to_come_back() {
    Setup::changed(json!({"rate_limits": [rule("client_ip", "all", 2, "600s")]})).run(async |t| {
        t.passes(&message()).await;
        // Whatever it is, it counts.
        t.rejects(&unsigned("POST", WEBHOOK), "missing_signature")
            .await;
        let answer = t.rejects(&message(), "rate_limited").await;
        let number = |name: &str| -> u64 {
            let value = answer
                .header(name)
                .unwrap_or_else(|| panic!("{name} in {answer:?}"));
            value
                .parse()
                .unwrap_or_else(|_| panic!("{name}: {value} is a whole number"))
        };
        assert_eq!(number("ratelimit-limit"), 2);
        assert_eq!(number("ratelimit-remaining"), 0);
        assert!((500..=600).contains(&number("retry-after")), "{answer:?}");
        assert!((1..=600).contains(&number("ratelimit-reset")), "{answer:?}");
        t.received_one();
    });
}

#[test]
fn a_request_without_a_signature_is_answered_403() {
    shared().run(async |t| {
        for request in [
            message().without("x-twilio-signature"),
            unsigned("POST", WEBHOOK),
            unsigned("GET", "/voice/status?CallSid=CA1"),
            unsigned("POST", "/studio/flow")
                .header("content-type", "application/json")
                .body("{}"),
            message()
                .without("x-twilio-signature")
                .header("x-twilio-signatures", "x"),
            message()
                .without("x-twilio-signature")
                .header("twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ] {
            t.rejects(&request, "missing_signature").await;
        }
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_signature_that_is_not_canonical_base64_of_20_bytes_is_answered_403() {
    shared().run(async |t| {
        let request = message();
        let good = String::from_utf8(request.get("x-twilio-signature").expect("signed").to_vec())
            .expect("ASCII");
        let url_safe = "-_".repeat(13) + "-=";
        for bad in [
            "x",
            "=",
            "null",
            "AAAA",
            // 19 and 21 bytes.
            "AAAAAAAAAAAAAAAAAAAAAAAAAA==",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            // Bits behind the last byte that no encoder leaves there.
            "AAAAAAAAAAAAAAAAAAAAAAAAAAB=",
            &url_safe,
            good.trim_end_matches('='),
            &format!("{good}="),
            &format!("{good} {good}"),
            &format!("{good},{good}"),
            &format!("\"{good}\""),
            &format!("{good}\t;x"),
            &"A".repeat(8000),
        ] {
            let request = request.clone().with("x-twilio-signature", bad);
            t.rejects(&request, "malformed_signature").await;
        }
        // Not UTF-8. A getter of the SDK panics on that.
        for bad in [
            &b"\xff\xfe"[..],
            b"\xc3",
            b"AAAAAAAAAAAAAAAAAAAAAAAAAA\xe4=",
        ] {
            let request = request.clone().with("x-twilio-signature", bad);
            t.rejects(&request, "malformed_signature").await;
        }
        t.assert_nothing_received().await;
        // Nothing of that has burned the nonce of the request.
        t.passes(&request).await;
    });
}

#[test]
fn a_signature_twice_is_answered_403_even_if_both_are_the_same() {
    shared().run(async |t| {
        let request = message();
        let good = request.get("x-twilio-signature").expect("signed").to_vec();
        let forged = forged(&whatsapp());
        let bad = forged.get("x-twilio-signature").expect("signed").to_vec();
        for (first, second) in [
            (&good, &good),
            (&good, &bad),
            (&bad, &good),
            (&good, &Vec::new()),
            (&Vec::new(), &good),
        ] {
            let request = request
                .clone()
                .with("x-twilio-signature", first)
                .header("X-TWILIO-Signature", second);
            t.rejects(&request, "malformed_signature").await;
        }
        t.assert_nothing_received().await;
    });
}

#[test]
fn an_unsigned_timestamp_header_can_reject_at_the_boundary_and_not_before() {
    shared().run(async |t| {
        let seconds = messages::now().as_secs();
        let millis = messages::now().as_millis() as u64;
        // Time only moves on: what is older than 300 s stays so, and what is 30 s ahead can only come nearer.
        // The other sides of the two boundaries leave room for a slow machine.
        t.rejects(&with_header_time(millis - 300_001), "stale_timestamp")
            .await;
        t.rejects(&with_header_time(seconds - 301), "stale_timestamp")
            .await;
        t.passes(&with_header_time(seconds - 270)).await;
        t.passes(&with_header_time(messages::now().as_millis() + 30_000))
            .await;
        t.passes(&with_header_time(messages::now().as_secs() + 30))
            .await;
        let request = with_header_time(messages::now().as_secs() + 90);
        t.rejects(&request, "future_timestamp").await;
        let request = with_header_time(messages::now().as_millis() + 90_000);
        t.rejects(&request, "future_timestamp").await;
        t.rejects(&with_header_time(0), "stale_timestamp").await;
        assert_eq!(t.received_count(), 3);
    });
}

#[test]
fn a_timestamp_header_that_is_no_time_is_answered_400() {
    shared().run(async |t| {
        for bad in [
            "yesterday",
            "-1",
            "1e9",
            "NaN",
            "12:00",
            "99999999999999999999999999",
            "2026-13-41T25:00:00Z",
            "0x5f",
        ] {
            let answer = t.send(&with_header_time(bad)).await;
            assert_eq!(answer.status, 400, "{bad}: {answer:?}");
            assert_rejected(&answer, "malformed_timestamp");
        }
        let request = message().header("x-twilio-request-timestamp", b"\xff\xff1700000000");
        t.rejects(&request, "malformed_timestamp").await;
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_timestamp_header_never_makes_a_request_acceptable() {
    shared().run(async |t| {
        let now = messages::now().as_secs();
        let other = forged(&whatsapp()).header("x-twilio-request-timestamp", now.to_string());
        t.rejects(&other, "invalid_signature").await;
        // Nor does it stand in for the signed one.
        let old = with_signed_time(now - 400).header("x-twilio-request-timestamp", now.to_string());
        t.rejects(&old, "stale_timestamp").await;
        let none =
            form("/strict", &whatsapp()).header("x-twilio-request-timestamp", now.to_string());
        let answer = t.send(&none).await;
        assert_eq!(
            answer.status, 400,
            "a required timestamp is a signed one: {answer:?}"
        );
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_signed_timestamp_is_held_to_the_same_boundaries() {
    shared().run(async |t| {
        t.upstream(support::tap::Behaviour::Answer(200));
        let now = messages::now().as_secs();
        t.rejects(&with_signed_time(now - 301), "stale_timestamp")
            .await;
        t.rejects(&with_signed_time(now + 90), "future_timestamp")
            .await;
        t.rejects(&with_signed_time("soon"), "malformed_timestamp")
            .await;
        t.assert_nothing_received().await;
        t.passes(&with_signed_time(now - 270)).await;
        t.passes(&with_signed_time(now + 30)).await;
        // In the query of a GET it is signed as well.
        let get = |time: u64| {
            bare(
                "GET",
                &format!("/voice/status?CallSid={}&Timestamp={time}", sid("CA")),
            )
        };
        t.rejects(&get(now - 301), "stale_timestamp").await;
        t.passes(&get(now - 270)).await;
        assert_eq!(t.received_count(), 3);
    });
}

#[test]
fn a_timestamp_may_be_in_seconds_milliseconds_rfc_3339_or_rfc_2822() {
    use time::format_description::well_known::{Rfc2822, Rfc3339};
    shared().run(async |t| {
        t.upstream(support::tap::Behaviour::Answer(200));
        let at = |seconds: i64| time::OffsetDateTime::from_unix_timestamp(seconds).expect("a time");
        let now = messages::now().as_secs() as i64;
        for (seconds, fresh) in [(now - 60, true), (now - 301, false)] {
            let offset = time::UtcOffset::from_hms(-5, -30, 0).expect("an offset");
            for text in [
                seconds.to_string(),
                (seconds * 1000).to_string(),
                at(seconds).format(&Rfc3339).expect("RFC 3339"),
                at(seconds)
                    .to_offset(offset)
                    .format(&Rfc3339)
                    .expect("RFC 3339"),
                at(seconds).format(&Rfc2822).expect("RFC 2822"),
                at(seconds)
                    .to_offset(offset)
                    .format(&Rfc2822)
                    .expect("RFC 2822"),
                at(seconds)
                    .format(&Rfc2822)
                    .expect("RFC 2822")
                    .replace("+0000", "GMT"),
            ] {
                let (signed, header) = (
                    t.send(&with_signed_time(&text)).await,
                    t.send(&with_header_time(&text)).await,
                );
                for answer in [signed, header] {
                    if fresh {
                        assert_passed(&answer);
                    } else {
                        assert_rejected(&answer, "stale_timestamp");
                    }
                }
            }
        }
        assert_eq!(t.received_count(), 14);
    });
}

#[test]
fn a_webhook_that_requires_a_timestamp_answers_400_without_one() {
    shared().run(async |t| {
        t.upstream(support::tap::Behaviour::Answer(200));
        t.rejects(&form("/strict", &whatsapp()), "missing_timestamp")
            .await;
        t.assert_nothing_received().await;
        let now = messages::now().as_secs().to_string();
        t.passes(&form("/strict", &set(whatsapp(), "Timestamp", &now)))
            .await;
        t.received_one();
    });
}

#[test]
fn a_body_over_the_limit_is_answered_413() {
    shared().run(async |t| {
        let request = message_with("Body", &"x".repeat(70_000));
        t.rejects(&request, "body_too_large").await;
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_body_that_is_not_what_its_headers_say_is_answered_400() {
    shared().run(async |t| {
        // What the upstream would make of it by decoding is not what was signed.
        for coding in ["gzip", "br", "identity, gzip", "deflate", "x"] {
            let request = message().header("content-encoding", coding);
            t.rejects(&request, "malformed_body").await;
        }
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_signed_request_of_another_account_is_answered_403() {
    shared().run(async |t| {
        // This key is ACCOUNT's, whatever the parameters say.
        for account in [OTHER_ACCOUNT, &sid("AC"), "", "AC", &ACCOUNT.to_uppercase()] {
            t.rejects(&message_with("AccountSid", account), "account_mismatch")
                .await;
        }
        t.assert_nothing_received().await;
        // Each of the other account's tokens signs for the other account, and for no one else.
        let url = format!("{ORIGIN}{WEBHOOK}");
        for token in OTHER_TOKENS {
            let request = form_for(token, &url, WEBHOOK, &whatsapp());
            t.rejects(&request, "account_mismatch").await;
            let own = set(whatsapp(), "AccountSid", OTHER_ACCOUNT);
            t.passes(&form_for(token, &url, WEBHOOK, &own)).await;
        }
        for received in t.received() {
            assert_eq!(
                received.header("x-twilio-webhook-account"),
                Some(OTHER_ACCOUNT)
            );
        }
        assert_eq!(t.received_count(), 2);
    });
}

#[test]
fn a_signature_by_another_token_or_for_another_url_is_answered_403() {
    shared().run(async |t| {
        let url = format!("{ORIGIN}{WEBHOOK}");
        let host = url.replace("orders.", "order.");
        for (token, url) in [
            ("", url.as_str()),
            (TOKEN.to_uppercase().as_str(), &url),
            (&TOKEN[1..], &url),
            (ACCOUNT, &url),
            (TOKEN, &host),
            (TOKEN, &url.replace("https", "http")),
            (TOKEN, &format!("{url}/")),
            (TOKEN, &format!("{url}?")),
            (TOKEN, &format!("{url}?a=b")),
            (TOKEN, &format!("{ORIGIN}/voice/status")),
            (TOKEN, WEBHOOK),
            (TOKEN, ""),
        ] {
            let request = form_for(token, url, WEBHOOK, &whatsapp());
            t.rejects(&request, "invalid_signature").await;
        }
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_change_to_any_parameter_is_answered_403() {
    shared().run(async |t| {
        let parameters = whatsapp();
        let request = form(WEBHOOK, &parameters);
        for (index, (name, value)) in parameters.iter().enumerate() {
            let mut changed = parameters.clone();
            changed[index].1 = format!("{value}x");
            let body = messages::encode(&changed);
            let other = request.clone().body(body);
            t.rejects_from(new_address(), &other, "invalid_signature")
                .await;
            changed.remove(index);
            let request = request.clone().body(messages::encode(&changed));
            t.rejects_from(new_address(), &request, "invalid_signature")
                .await;
            assert!(!name.is_empty());
        }
        let more = format!("{}&Extra=1", messages::encode(&parameters));
        t.rejects(&request.clone().body(more), "invalid_signature")
            .await;
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_duplicate_is_answered_409() {
    shared().run(async |t| {
        let request = message();
        t.passes(&request).await;
        t.rejects(&request, "duplicate").await;
        t.received_one();
    });
}

#[test]
fn a_rejection_carries_the_request_id_that_the_access_log_has() {
    shared().run(async |t| {
        let answer = t.send(&forged(&whatsapp())).await;
        let body = answer.json();
        let id = body["request_id"].as_str().expect("a string");
        // It is a header of the request: the access log is where it can be seen from outside.
        let line = t.access_line(id).await;
        assert!(
            line.contains("access 403 verdict=invalid_signature"),
            "{line}"
        );
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_rejection_tells_neither_token_nor_expected_signature_nor_parameters() {
    shared().run(async |t| {
        let parameters = whatsapp();
        // This puts the expected signature among those that no answer and no log line may hold; assert_rejected
        // looks at the answer, the harness at the log.
        let expected = signing::sign(TOKEN, &format!("{ORIGIN}{WEBHOOK}"), &parameters);
        assert_eq!(signing::leaked(&format!("x{expected}x")), Some(expected));
        for request in [
            forged(&parameters),
            form(WEBHOOK, &parameters).without("x-twilio-signature"),
            form(WEBHOOK, &parameters).with("content-type", "text/plain"),
            form(WEBHOOK, &parameters).header("x-twilio-request-timestamp", "1"),
            form(
                WEBHOOK,
                &set(parameters.clone(), "AccountSid", OTHER_ACCOUNT),
            ),
            form("/unknown", &parameters),
        ] {
            let answer = t.send(&request).await;
            assert_rejected(&answer, &answer.reason());
        }
        t.assert_nothing_received().await;
    });
}
