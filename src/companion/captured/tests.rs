use super::*;
use crate::companion::encode;
use crate::time::Timestamp;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const BODY: &str = "Body=2+tacos&From=whatsapp%3A%2B1";

/// The request that a capture holds, and its format.
fn one(capture: &str) -> (Format, CapturedRequest) {
    let (format, captured) = read(capture.as_bytes(), None).unwrap_or_else(|error| {
        panic!("{capture}: {error}");
    });
    match captured.into_iter().next() {
        Some(Captured::Request(request)) => (format, *request),
        other => panic!("{capture}: {other:?}"),
    }
}

/// Whether a capture holds the message, wherever it was captured.
fn assert_message(capture: &str, format: Format) {
    let (found, request) = one(capture);
    assert_eq!(found, format, "{capture}");
    assert_eq!(request.method, "POST", "{capture}");
    assert_eq!(request.target, b"/hook?a=1", "{capture}");
    assert_eq!(String::from_utf8_lossy(&request.body), BODY, "{capture}");
    let signature: Vec<_> = request.header("x-twilio-signature").collect();
    assert_eq!(signature, [b"c2ln"], "{capture}");
    let host: Vec<_> = request.header("host").collect();
    assert_eq!(host, [b"h.example"], "{capture}");
}

#[test]
fn a_request_is_the_same_in_every_format() {
    let raw = format!(
        "POST /hook?a=1 HTTP/1.1\r\nHost: h.example\r\nX-Twilio-Signature: c2ln\r\n\
         Content-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    assert_message(&raw, Format::Raw);
    assert_message(&format!("\n{}\r\n", raw), Format::Raw);
    assert_message(&raw.replace("\r\n", "\n"), Format::Raw);
    assert_message(
        &format!("POST https://h.example/hook?a=1 HTTP/1.1\nX-Twilio-Signature: c2ln\n\n{BODY}\n"),
        Format::Raw,
    );
    assert_message(
        &format!(
            ":method: POST\n:path: /hook?a=1\n:authority: h.example\n:scheme: https\n\
             x-twilio-signature: c2ln\n\n{BODY}"
        ),
        Format::Raw,
    );
    assert_message(
        &format!(
            "$ curl -sS 'https://h.example/hook?a=1' \\\n  -H 'X-Twilio-Signature: c2ln' \\\n  \
             --data-raw $'Body=2+tacos\\u0026From=whatsapp%3A%2B1' | jq ."
        ),
        Format::Curl,
    );
    assert_message(
        "curl --request POST --url=\"https://h.example/hook?a=1\" -HX-Twilio-Signature:c2ln \
         -d Body=2+tacos --data-urlencode 'From=whatsapp:+1'",
        Format::Curl,
    );
    assert_message(
        &format!(
            r#"{{"log": {{"entries": [
                {{"request": {{"method": "GET", "url": "https://h.example/other", "headers": []}}}},
                {{"startedDateTime": "2026-11-28T15:00:00.000Z", "request": {{
                  "method": "POST", "url": "https://h.example/hook?a=1",
                  "headers": [{{"name": "X-Twilio-Signature", "value": "c2ln"}}],
                  "postData": {{"mimeType": "application/x-www-form-urlencoded", "text": "{BODY}"}}}}}}]}}}}"#
        ),
        Format::Har,
    );
    assert_message(
        &format!(
            r#"{{"method": "post", "url": "/hook?a=1", "body": "{BODY}",
                "headers": {{"Host": "h.example", "X-Twilio-Signature": "c2ln"}}}}"#
        ),
        Format::Json,
    );
    assert_message(
        r#"{"requestContext": {"http": {"method": "POST"}}, "rawPath": "/hook",
            "rawQueryString": "a=1", "isBase64Encoded": true,
            "headers": {"host": "h.example", "x-twilio-signature": "c2ln"},
            "body": "Qm9keT0yK3RhY29zJkZyb209d2hhdHNhcHAlM0ElMkIx"}"#,
        Format::Json,
    );
    let event = r#"{"resource_sid": "SM1", "error_code": "11200", "webhook": {"type": "application/json",
        "request": {"url": "https://h.example/hook?a=1", "method": "POST",
        "headers": {"X-Twilio-Signature": "c2ln"},
        "parameters": {"Body": "2 tacos", "From": "whatsapp:+1"}}, "response": {}}}"#;
    assert_message(event, Format::Twilio);
    let posted = encode::form([
        ("Level", "ERROR"),
        ("PayloadType", "application/json"),
        ("Payload", event),
    ]);
    assert_message(&posted, Format::Twilio);
    assert_message(
        &format!(
            r#"{{"sid": "NO1", "request_method": "POST", "request_url": "https://h.example/hook?a=1",
                "request_headers": "X-Twilio-Signature=c2ln", "request_variables": "{BODY}",
                "date_generated": "2026-11-28T15:00:00Z"}}"#
        ),
        Format::Twilio,
    );
}

#[test]
fn the_body_is_what_the_length_says_or_the_chunks_hold() {
    let (_, request) = one("POST /p HTTP/1.1\nContent-Length: 3\n\na=1\n");
    assert_eq!((request.body, request.notes.len()), (b"a=1".to_vec(), 0));
    let (_, request) = one("POST /p HTTP/1.1\nContent-Length: 9\n\na=1");
    assert_eq!((request.body, request.notes.len()), (b"a=1".to_vec(), 1));
    let (_, request) = one("POST /p HTTP/1.1\n\na=1\n");
    assert_eq!((request.body, request.notes.len()), (b"a=1".to_vec(), 1));
    let chunked =
        "POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na=\r\n1;x\r\n1\r\n0\r\n\r\n";
    let (_, request) = one(chunked);
    assert_eq!(request.body, b"a=1");
    assert!(!request.has_header("transfer-encoding"));
}

#[test]
fn many_requests_come_in_their_order() {
    let lines = "{\"url\": \"/1\", \"body\": \"a=1\"}\n{\"req\": {\"url\": \"/2\"}, \"time\": 1700000000}\n";
    let (format, captured) = read(lines.as_bytes(), None).expect("two");
    let targets: Vec<_> = captured
        .iter()
        .filter_map(|one| match one {
            Captured::Request(request) => {
                Some((&request.target[..], &request.method[..], request.at))
            }
            Captured::LogLine(_) => None,
        })
        .collect();
    assert_eq!(format, Format::Json);
    let at = Some(Timestamp(1_700_000_000_000));
    assert_eq!(targets, [(&b"/1"[..], "POST", None), (b"/2", "GET", at)]);
}

#[test]
fn lines_of_the_filters_log_are_known_with_what_envoy_writes_around_them() {
    let line = r#"{"event":"twilio_webhook","verdict":"invalid_signature","status":403,"message":"Invalid Twilio signature.","request_id":"1","client_ip":"198.51.100.7","webhook":"hook","account_sid":null,"key":null,"nonce":null,"hint":"a \"hint\""}"#;
    let envoy = format!(
        "[2026-11-28 15:00:00.000][7][info][main] starting\n[2026-11-28 15:00:01.000][7][warning][wasm] \
         [source/x.cc:1] wasm log twilio_webhook_filter twilio_webhook_filter vm: {line}\n{{\"status\":200}}\n"
    );
    for text in [line, &envoy] {
        let (format, captured) = read(text.as_bytes(), None).expect("a line");
        assert_eq!(format, Format::Log);
        let [Captured::LogLine(line)] = &captured[..] else {
            panic!("{captured:?}");
        };
        assert_eq!(line.hint.as_deref(), Some("a \"hint\""));
        assert_eq!(
            (line.verdict.as_str(), line.status),
            ("invalid_signature", 403)
        );
    }
}

#[test]
fn what_is_no_request_is_told_what_was_expected() {
    for (capture, words) in [
        ("", "found nothing"),
        ("hello", "raw HTTP"),
        ("POST /p HTTP/1.1\nno header\n\n", "in line 2"),
        ("curl -H 'a: b'", "a URL"),
        ("curl 'http://h", "closing '"),
        ("curl h -d @body.txt", "the data itself"),
        ("curl h -F a=b", "no multipart form"),
        ("{\"log\": {\"entries\": []}}", "at least one request"),
        ("{\"log\": {\"entries\": [{}]}}", "log.entries[0].request"),
        ("{\"a\": 1}", "found no url"),
        ("{\"url\": ", "JSON"),
    ] {
        let error = read(capture.as_bytes(), None)
            .expect_err(capture)
            .to_string();
        assert!(
            error.starts_with("expected ") || error.contains(": expected "),
            "{error}"
        );
        assert!(error.contains(words), "{capture}: {error}");
    }
}
