use std::time::Duration;

use support::envoy::shared;
use support::http2::Framing;
use support::messages::{
    self, ORIGIN, TOKEN, WEBHOOK, bare, encode, forged, form, hashed, json, message, set, sid,
    unsigned, whatsapp,
};
use support::tap::Behaviour;
use support::wire::Request;
use support::{assert_passed, assert_rejected, signing};

const LIMIT: usize = 65_536;

/// A signed message whose body has exactly this length.
fn of_length(length: usize) -> Request {
    let parameters = set(whatsapp(), "Body", "");
    let rest = encode(&parameters).len();
    let request = form(
        WEBHOOK,
        &set(parameters, "Body", &"x".repeat(length - rest)),
    );
    assert_eq!(request.body.len(), length);
    request
}

#[test]
fn http1_with_content_length_passes_when_signed_and_not_when_forged() {
    shared().run(async |t| {
        let request = message();
        t.passes(&request).await;
        assert_eq!(t.received_one().body, request.body);
        t.rejects(&forged(&whatsapp()), "invalid_signature").await;
        t.received_one();
    });
}

#[test]
fn http1_chunked_passes_when_signed_and_not_when_forged() {
    shared().run(async |t| {
        for size in [1, 7, 100, 10_000] {
            let bad = t.send_chunked(&forged(&whatsapp()), size).await;
            assert_rejected(&bad, "invalid_signature");
        }
        t.assert_nothing_received().await;
        for (index, size) in [1, 7, 100, 10_000].into_iter().enumerate() {
            let request = message();
            assert_passed(&t.send_chunked(&request, size).await);
            assert_eq!(t.received()[index].body, request.body);
        }
    });
}

#[test]
fn several_requests_on_one_connection_are_judged_each_by_itself() {
    shared().run(async |t| {
        let mut connection = t.http1().await;
        for _ in 0..3 {
            let request = message();
            connection.passes(&request).await;
            connection
                .rejects(&forged(&whatsapp()), "invalid_signature")
                .await;
            connection.rejects(&request, "duplicate").await;
            let chunks = message().chunks(50);
            assert_passed(&connection.send_pieces(&chunks, Duration::ZERO).await);
        }
        assert_eq!(t.received_count(), 6);
    });
}

#[test]
fn requests_pipelined_on_one_connection_are_judged_each_by_itself() {
    shared().run(async |t| {
        // Two at a time: with more, Envoy closes the connection after a local answer in between.
        for good_first in [true, false] {
            let (good, bad) = ((message(), 200), (forged(&whatsapp()), 403));
            let both = if good_first { [good, bad] } else { [bad, good] };
            let mut connection = t.http1().await;
            connection
                .write(&both.each_ref().map(|(request, _)| request.bytes()).concat())
                .await;
            for (_, status) in both {
                assert_eq!(connection.response().await.status, status);
            }
        }
        assert_eq!(t.received_count(), 2);
    });
}

#[test]
fn http2_passes_when_signed_and_not_when_forged() {
    shared().run(async |t| {
        let mut connection = t.http2().await;
        for piece in [0, 1, 100] {
            let framing = Framing::pieces(piece);
            connection
                .rejects(&forged(&whatsapp()), framing.clone(), "invalid_signature")
                .await;
            let request = message();
            connection.passes(&request, framing).await;
            assert_eq!(
                t.received().last().map(|received| received.body.clone()),
                Some(request.body)
            );
        }
        assert_eq!(t.received_count(), 3);
    });
}

#[test]
fn http2_with_trailers_after_data_passes_when_signed_and_not_when_forged() {
    // The last piece of data does not say that it is the last one: a filter that waits for it to say so lets
    // everything through with the trailers.
    shared().run(async |t| {
        let mut connection = t.http2().await;
        for piece in [0, 50] {
            let framing = Framing::pieces(piece).trailers(("x-checksum", "1"));
            connection
                .rejects(&forged(&whatsapp()), framing.clone(), "invalid_signature")
                .await;
            let unsigned = message().without("x-twilio-signature");
            connection
                .rejects(&unsigned, framing, "missing_signature")
                .await;
        }
        t.assert_nothing_received().await;
        for piece in [0, 50] {
            let framing = Framing::pieces(piece).trailers(("x-checksum", "1"));
            let request = message();
            connection.passes(&request, framing.clone()).await;
            assert_eq!(
                t.received().last().map(|received| received.body.clone()),
                Some(request.body.clone())
            );
            connection.rejects(&request, framing, "duplicate").await;
        }
        assert_eq!(t.received_count(), 2);
    });
}

#[test]
fn http2_with_trailers_and_no_data_passes_when_signed_and_not_when_forged() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let mut connection = t.http2().await;
        let framing = Framing::default().trailers(("x-checksum", "1"));
        // The signature is one of a request with a body.
        let bad = forged(&whatsapp()).body("");
        connection
            .rejects(&bad, framing.clone(), "invalid_signature")
            .await;
        let bad = unsigned("POST", "/voice/status");
        connection
            .rejects(&bad, framing.clone(), "missing_signature")
            .await;
        t.assert_nothing_received().await;
        let request = bare("POST", &format!("/voice/status?CallSid={}", sid("CA")));
        connection.passes(&request, framing).await;
        assert_eq!(t.received_one().body, b"");
    });
}

#[test]
fn a_slow_body_in_many_pieces_reaches_the_upstream_only_when_it_is_whole() {
    shared().run(async |t| {
        let request = message();
        let mut connection = t.http1().await;
        let bytes = request.bytes();
        let (head, body) = bytes.split_at(bytes.len() - request.body.len());
        connection.write(head).await;
        let (last, rest) = body.split_last().expect("a body");
        for piece in rest.chunks(rest.len() / 12) {
            connection.write(piece).await;
            tokio::time::sleep(Duration::from_millis(40)).await;
            assert_eq!(t.received_count(), 0, "the body is not whole yet");
        }
        assert!(!connection.hears_within(Duration::from_millis(100)).await);
        t.assert_nothing_received().await;
        connection.write(&[*last]).await;
        assert_passed(&connection.response().await);
        assert_eq!(t.received_one().body, request.body);
    });
}

#[test]
fn a_slow_body_over_http2_and_in_chunks_passes() {
    shared().run(async |t| {
        let pause = Duration::from_millis(30);
        let chunks = message().chunks(100);
        assert_passed(&t.http1().await.send_pieces(&chunks, pause).await);
        let framing = Framing::pieces(100).paused(pause);
        t.http2().await.passes(&message(), framing).await;
        let framing = Framing::pieces(100)
            .paused(pause)
            .trailers(("x-checksum", "1"));
        t.http2().await.passes(&message(), framing.clone()).await;
        t.http2()
            .await
            .rejects(&forged(&whatsapp()), framing, "invalid_signature")
            .await;
        assert_eq!(t.received_count(), 3);
    });
}

#[test]
fn a_body_that_never_ends_reaches_nobody() {
    shared().run(async |t| {
        let request = message();
        let bytes = request.bytes();
        let mut connection = t.http1().await;
        connection.write(&bytes[..bytes.len() - 1]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        connection.reset();
        let mut connection = t.http1().await;
        let chunks = request.chunks(100);
        for chunk in &chunks[..chunks.len() - 1] {
            connection.write(chunk).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(connection);
        t.assert_nothing_received().await;
        // And it has claimed nothing.
        t.passes(&request).await;
        t.received_one();
    });
}

#[test]
fn expect_100_continue_is_answered_and_the_body_then_judged() {
    shared().run(async |t| {
        for (request, status) in [(message(), 200), (forged(&whatsapp()), 403)] {
            let before = t.received_count();
            let mut connection = t.http1().await;
            let bytes = request.clone().header("expect", "100-continue").bytes();
            let (head, body) = bytes.split_at(bytes.len() - request.body.len());
            connection.write(head).await;
            let mut answer = connection.response().await;
            assert_eq!(answer.status, 100);
            assert_eq!(t.received_count(), before);
            connection.write(body).await;
            answer = connection.response().await;
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        t.received_one();
    });
}

#[test]
fn a_signed_get_passes_over_both_protocols_and_a_changed_one_does_not() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let get = || {
            bare(
                "GET",
                &format!("/voice/status?CallSid={}&b=%20+~&b=", sid("CA")),
            )
        };
        t.passes(&get()).await;
        t.http2().await.passes(&get(), Framing::default()).await;
        let received = t.received();
        assert_eq!(received.len(), 2);
        assert!(
            received[0].target.ends_with("&b=%20+~&b="),
            "as it was sent: {}",
            received[0].target
        );
        for (from, to) in [
            ("%20", "+"),
            ("&b=", "&b"),
            ("~", "%7E"),
            ("CallSid", "callsid"),
            ("?", "?x=1&"),
        ] {
            let mut request = get();
            let target = String::from_utf8(request.target).expect("ASCII");
            let changed = target.replacen(from, to, 1);
            assert_ne!(target, changed);
            request.target = changed.into_bytes();
            t.rejects(&request, "invalid_signature").await;
        }
        assert_eq!(t.received_count(), 2);
    });
}

#[test]
fn a_signed_post_without_a_body_passes() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let post = || bare("POST", &format!("/voice/status?CallSid={}", sid("CA")));
        t.passes(&post()).await;
        // No content-length at all, no chunk but the last one, and a form without a parameter.
        assert_passed(&t.send_chunked(&post(), 1).await);
        let form = post().header("content-type", "application/x-www-form-urlencoded");
        t.passes(&form).await;
        t.http2().await.passes(&post(), Framing::default()).await;
        t.rejects(&unsigned("POST", "/voice/status"), "missing_signature")
            .await;
        let mut moved = post();
        moved.target.extend(b"&x=");
        t.rejects(&moved, "invalid_signature").await;
        assert_eq!(t.received_count(), 4);
    });
}

#[test]
fn a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    shared().run(async |t| {
        for by_chunks in [false, true] {
            let send = async |request: Request| {
                let pieces = if by_chunks {
                    request.chunks(10_000)
                } else {
                    vec![request.bytes()]
                };
                t.http1().await.send_pieces(&pieces, Duration::ZERO).await
            };
            let before = t.received_count();
            assert_rejected(&send(of_length(LIMIT + 1)).await, "body_too_large");
            assert_eq!(t.received_count(), before);
            let request = of_length(LIMIT);
            assert_passed(&send(request.clone()).await);
            assert_eq!(t.received()[before].body, request.body);
        }
        let mut connection = t.http2().await;
        for trailers in [None, Some(("x-checksum", "1"))] {
            let framing = Framing::pieces(10_000).trailers(trailers);
            connection
                .rejects(&of_length(LIMIT + 1), framing.clone(), "body_too_large")
                .await;
            connection.passes(&of_length(LIMIT), framing).await;
        }
        assert_eq!(t.received_count(), 4);
    });
}

#[test]
fn a_body_far_over_the_limit_is_rejected_without_being_kept() {
    shared().run(async |t| {
        // Beyond Envoy's own buffer limit as well: then the 413 may be Envoy's.
        for length in [10 * LIMIT, 3 * 1024 * 1024] {
            for pieces in [
                vec![of_length(length).bytes()],
                of_length(length).chunks(100_000),
            ] {
                let answer = t.http1().await.send_pieces(&pieces, Duration::ZERO).await;
                assert_eq!(answer.status, 413, "{answer:?}");
            }
            let framing = Framing::pieces(100_000);
            assert_eq!(
                t.http2()
                    .await
                    .send(&of_length(length), framing)
                    .await
                    .status,
                413
            );
        }
        t.assert_nothing_received().await;
        t.passes(&message()).await;
    });
}

#[test]
fn a_content_length_that_lies_lets_nothing_through() {
    shared().run(async |t| {
        // Shorter than the body: the rest is another request, and none that is signed.
        let request = message();
        let length = request.body.len();
        let mut connection = t.http1().await;
        connection
            .write(
                &request
                    .clone()
                    .header("content-length", (length - 5).to_string())
                    .bytes(),
            )
            .await;
        assert_rejected(&connection.response().await, "invalid_signature");
        // A huge one is rejected at the head or waits for ever; it does not reach the upstream.
        let mut connection = t.http1().await;
        connection
            .write(
                &request
                    .clone()
                    .header("content-length", "99999999999")
                    .bytes(),
            )
            .await;
        connection.hears_within(Duration::from_millis(300)).await;
        drop(connection);
        // Two that differ, and one beside chunks, are Envoy's to reject.
        for extra in [("content-length", "3"), ("transfer-encoding", "chunked")] {
            let request = request
                .clone()
                .header("content-length", length.to_string())
                .header(extra.0, extra.1);
            let answer = t.send(&request).await;
            assert!((400..500).contains(&answer.status), "{answer:?}");
        }
        t.assert_nothing_received().await;
        t.passes(&request).await;
    });
}

#[test]
fn json_with_the_hash_of_its_body_in_the_signed_query_passes() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for (content_type, body) in [
            (
                "application/json",
                format!("{{\"flow\":\"{}\"}}", sid("FN")),
            ),
            (
                "application/json; charset=utf-8",
                format!("[\"{}\"]", sid("FN")),
            ),
            (
                "application/cloudevents-batch+json",
                format!("[{{\"id\":\"{}\"}}]", sid("EV")),
            ),
            ("text/plain", sid("any text, its hash is signed")),
        ] {
            let target = format!(
                "/studio/flow?a=1&bodySHA256={}",
                signing::sha256_hex(body.as_bytes())
            );
            let request = hashed(&target, content_type, &body);
            t.passes(&request).await;
            assert_eq!(
                t.received().last().map(|received| received.body.clone()),
                Some(body.into_bytes())
            );
        }
        let none = format!("{{\"none\":\"{}\"}}", sid("FN"));
        t.passes(&json("/studio/flow", &none).without("content-type"))
            .await;
        let put = json("/studio/flow", &format!("{{\"put\":\"{}\"}}", sid("FN")));
        t.passes(&Request {
            method: "PUT".to_owned(),
            ..put
        })
        .await;
        assert_eq!(t.received_count(), 6);
    });
}

#[test]
fn json_with_another_body_than_the_signed_hash_is_answered_403() {
    shared().run(async |t| {
        let request = json("/studio/flow", r#"{"order":1}"#);
        for body in [r#"{"order":2}"#, r#"{"order":1} "#, r#"{"order":1"#] {
            t.rejects(&request.clone().body(body), "body_hash_mismatch")
                .await;
        }
        // A hash that is right, in a query that is not the signed one.
        let other = r#"{"order":2}"#;
        let moved = Request {
            target: json("/studio/flow", other).target,
            ..request.clone()
        };
        t.rejects(&moved.body(other), "invalid_signature").await;
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_body_that_no_signature_covers_is_answered_403() {
    shared().run(async |t| {
        let body = r#"{"order":1}"#;
        let hash = signing::sha256_hex(body.as_bytes());
        let (other, no_digits) = ("0".repeat(64), "g".repeat(64));
        let (json, text) = ("application/json", "text/plain");
        // Each has a signature that is right for its URL.
        for (method, query, content_type) in [
            ("POST", "", json),
            ("POST", "?a=1", json),
            ("POST", "?bodySHA256=", json),
            // One digit too few, one too many, none.
            ("POST", &format!("?bodySHA256={}", &hash[1..]), json),
            ("POST", &format!("?bodySHA256={hash}0"), json),
            ("POST", &format!("?bodySHA256={no_digits}"), json),
            (
                "POST",
                &format!("?bodySHA256={hash}&bodySHA256={hash}"),
                json,
            ),
            (
                "POST",
                &format!("?bodySHA256={other}&bodySHA256={hash}"),
                json,
            ),
            ("POST", &format!("?bodysha256={hash}"), json),
            ("POST", "", text),
            ("GET", "", json),
            ("PUT", "", json),
        ] {
            let request = Request {
                method: method.to_owned(),
                ..hashed(&format!("/studio/flow{query}"), content_type, body)
            };
            let answer = t.send(&request).await;
            assert_eq!(answer.status, 403, "{method} {query} {content_type}");
            assert_rejected(&answer, "unsigned_body");
        }
        t.assert_nothing_received().await;
    });
}

#[test]
fn a_signed_form_under_another_content_type_is_answered_403() {
    shared().run(async |t| {
        for content_type in [
            "text/plain",
            "application/json",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencodedx",
            "application/x-www-form-urlencoded+json",
            "x/application/x-www-form-urlencoded",
            "form",
            "",
        ] {
            let request = message().with("content-type", content_type);
            let answer = t.send(&request).await;
            assert_eq!(answer.status, 403, "{content_type}: {}", answer.text());
            assert_rejected(&answer, "unsigned_body");
        }
        t.rejects(&message().without("content-type"), "unsigned_body")
            .await;
        let bytes = message().with("content-type", b"\xffapplication/x-www-form-urlencoded");
        t.rejects(&bytes, "unsigned_body").await;
        t.assert_nothing_received().await;
    });
}

#[test]
fn two_content_types_let_nothing_through() {
    // The filter and the upstream could each believe another one.
    shared().run(async |t| {
        let form = "application/x-www-form-urlencoded";
        for (first, second) in [
            (form, "application/json"),
            ("application/json", form),
            (form, form),
            (form, "charset=utf-7"),
        ] {
            let request = message()
                .with("content-type", first)
                .header("Content-Type", second);
            let answer = t.send(&request).await;
            assert!(
                matches!(answer.status, 400 | 403),
                "{first}, {second}: {answer:?}"
            );
            assert!(
                ["unsigned_body", "malformed_body"].contains(&answer.reason().as_str()),
                "{answer:?}"
            );
        }
        t.assert_nothing_received().await;
        // Of two where one is empty, Envoy makes one; the filter and the upstream see the same.
        let request = message()
            .with("content-type", form)
            .header("content-type", "");
        if t.send(&request).await.status == 200 {
            assert_eq!(t.received_one().all("content-type"), [form.as_bytes()]);
        }
    });
}

#[test]
fn a_form_passes_whatever_the_case_and_the_charset_of_its_content_type() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for content_type in [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded;charset=UTF-8",
            "application/x-www-form-urlencoded ; charset=\"utf-8\"",
            "Application/X-WWW-Form-URLEncoded; charset=utf-8",
        ] {
            t.passes(&message().with("content-type", content_type))
                .await;
        }
        assert_eq!(t.received_count(), 4);
    });
}

#[test]
fn parameters_of_any_kind_are_signed_as_their_bytes() {
    shared().run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let base = |name: &str| {
            vec![
                ("Sid".to_owned(), sid("SM")),
                (name.to_owned(), "1".to_owned()),
            ]
        };
        for parameters in [
            set(base("Empty"), "Empty", ""),
            set(base("a.b"), "a.b", "="),
            set(base("Ünï"), "Ünï", "🍕&=+%"),
            set(base("nul"), "nul", "\0\u{1}\r\n\t"),
            // One name several times: the distinct values, sorted.
            [
                base("Media"),
                messages::pairs([("Media", "9"), ("Media", "1"), ("Media", "")]),
            ]
            .concat(),
            [
                base("Sid"),
                messages::pairs([("SidAccount", "AC123"), ("sid", "lower"), ("SID", "upper")]),
            ]
            .concat(),
        ] {
            t.passes(&form(WEBHOOK, &parameters)).await;
        }
        assert_eq!(t.received_count(), 6);
        // Bytes that are not UTF-8, invalid escapes, empty names: the string to sign by hand.
        let id = sid("SM");
        let raw = [
            b"Sid=".as_slice(),
            id.as_bytes(),
            b"&bad=%zz%4&=nameless&&equals=a=b&flag",
        ]
        .concat();
        let decoded = messages::pairs([
            ("", "nameless"),
            ("Sid", &id),
            ("bad", "%zz%4"),
            ("equals", "a=b"),
            ("flag", ""),
        ]);
        let signature = signing::sign(TOKEN, &format!("{ORIGIN}{WEBHOOK}"), &decoded);
        let request = message().with("x-twilio-signature", &signature).body(&raw);
        let answer = t.send(&request).await;
        // Well formed or not is the filter's to say; but the body that passes is the one that was signed.
        if answer.status == 200 {
            assert_eq!(
                t.received().last().map(|received| received.body.clone()),
                Some(raw)
            );
        } else {
            assert_rejected(&answer, "malformed_body");
        }
    });
}
