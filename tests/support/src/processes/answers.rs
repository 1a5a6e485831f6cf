//! What an answer must be, and how to get one without ceremony.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::panic::Location;
use std::time::Duration;

use serde_json::{Value, json};

use crate::blocking::read_response;
use crate::filter_host::filter_host;
use crate::messages::{OTHER_TOKENS, PHONE, TEXT, TOKEN};
use crate::signing;
use crate::wire::{self, Request, Response};

/// A GET for what is not under test: the admin interface, the ordering upstream.
pub fn simple_get(address: SocketAddr, path: &str) -> io::Result<Response> {
    if path.starts_with("/stats") {
        // What was counted until now is to be in it.
        std::thread::sleep(filter_host().metrics_lag());
    }
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    wire::response(&bytes, true)
        .map(|(response, _)| response)
        .ok_or(io::ErrorKind::UnexpectedEof.into())
}

/// The sum of Envoy's stats whose names fit the pattern.
pub fn stat(admin: SocketAddr, pattern: &str) -> u64 {
    let answer = simple_get(admin, &format!("/stats?filter={pattern}")).expect("an answer");
    let text = answer.text();
    let values = text.lines().filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<u64>().ok()).sum()
}

/// A number from the environment: how much of something a run does.
pub fn size(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no number")),
        Err(_) => default,
    }
}

/// How often each item comes.
pub fn counts<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

/// The answer to a request on a connection of its own; `None`: it was closed without one.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Option<Response> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("Envoy listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    // Envoy may answer and hang up before it has read everything.
    let _ = stream.write_all(request);
    read_response(stream).ok()
}

/// Passed: the answer is the upstream's, not one of the filter.
#[track_caller]
pub fn assert_passed(response: &Response) {
    let answer = (response.status, response.reason());
    assert_eq!(answer, (200, String::new()), "{}", response.text());
}

/// The status of a rejection, by its reason: the contract's table, written down a second time.
pub fn status_of(reason: &str) -> u16 {
    match reason {
        "missing_timestamp" | "malformed_timestamp" | "stale_timestamp" => 400,
        "future_timestamp" | "malformed_body" => 400,
        "missing_signature" | "malformed_signature" | "unsigned_body" => 403,
        "invalid_signature" | "body_hash_mismatch" | "account_mismatch" => 403,
        "unknown_webhook" => 404,
        "method_not_allowed" => 405,
        "duplicate" => 409,
        "body_too_large" => 413,
        "target_too_long" => 414,
        "rate_limited" => 429,
        "not_configured" | "internal" => 500,
        "store_unavailable" | "store_full" => 503,
        _ => panic!("the contract has no reason {reason:?}"),
    }
}

/// A rejection as the contract has it: the reason, its status, and exactly these three fields.
#[track_caller]
pub fn assert_rejected(response: &Response, reason: &str) {
    let rejection = (response.status, response.reason());
    let expected = (status_of(reason), reason.to_owned());
    assert_eq!(rejection, expected, "{}", response.text());
    assert_is_complete(response, reason);
}

/// Waits for an answer with this status and reason.
pub async fn answered(
    answer: impl Future<Output = Response>,
    (status, reason): (u16, &str),
    request: &Request,
    at: &Location<'_>,
) -> Response {
    let answer = answer.await;
    let found = (answer.status, answer.reason());
    assert_eq!(
        found,
        (status, reason.to_owned()),
        "{at}: {request:?}: {}",
        answer.text()
    );
    answer
}

/// Waits for an answer of an upstream that has taken the request.
pub async fn passed(
    answer: impl Future<Output = Response>,
    request: &Request,
    at: &Location<'_>,
) -> Response {
    answered(answer, (200, ""), request, at).await
}

/// Waits for an answer that rejects with a reason.
pub async fn rejected(
    answer: impl Future<Output = Response>,
    reason: &str,
    request: &Request,
    at: &Location<'_>,
) -> Response {
    let answer = answered(answer, (status_of(reason), reason), request, at).await;
    assert_is_complete(&answer, reason);
    answer
}

/// A rejection has exactly these three fields, and tells nothing.
fn assert_is_complete(response: &Response, reason: &str) {
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json();
    let sentence = body["message"].as_str().expect("a message");
    assert!(
        sentence.len() > 10 && sentence.len() < 200 && sentence.contains(' '),
        "one sentence: {sentence:?}"
    );
    let id = response
        .header("x-request-id")
        .expect("envoy.yaml has always_set_request_id_in_response");
    assert_eq!(
        body,
        json!({"error": reason, "message": sentence, "request_id": id})
    );
    assert_tells_nothing(response);
}

/// No token, no signature, no parameter in an answer.
#[track_caller]
pub fn assert_tells_nothing(response: &Response) {
    let mut texts = vec![response.text()];
    texts.extend(
        response
            .headers
            .iter()
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned()),
    );
    for text in &texts {
        for secret in [
            TOKEN,
            OTHER_TOKENS[0],
            OTHER_TOKENS[1],
            PHONE,
            TEXT,
            "Margherita",
        ] {
            assert!(
                !text.contains(secret),
                "the answer tells {secret:?}: {response:?}"
            );
        }
        assert_eq!(
            signing::leaked(text),
            None,
            "the answer tells a signature: {response:?}"
        );
    }
}

/// A rate limit.
pub fn rule(key: &str, count: &str, requests: u32, window: &str) -> Value {
    json!({"key": key, "count": count, "requests": requests, "window": window})
}
