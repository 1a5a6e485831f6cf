//! What an answer must be, and how to get one without ceremony.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::panic::Location;
use std::time::Duration;

use serde_json::{Value, json};

use crate::messages::{OTHER_TOKENS, PHONE, TEXT, TOKEN};
use crate::signing;
use crate::wire::{self, Response};

/// A GET for what is not under test: the admin interface, the ordering upstream.
pub fn simple_get(address: SocketAddr, path: &str) -> io::Result<Response> {
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

/// The answer to a request on a connection of its own; `None`: it was closed without one.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Option<Response> {
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(30)).expect("Envoy listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time limit");
    // Envoy may answer and hang up before it has read everything.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((response, length)) = wire::response(&bytes, false) {
            if response.status != 100 {
                return Some(response);
            }
            bytes.drain(..length);
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Passed: the answer is the upstream's, not one of the filter.
#[track_caller]
pub fn assert_passed(response: &Response) {
    check_passed(response, Location::caller());
}

pub(super) fn check_passed(response: &Response, at: &Location<'_>) {
    let status = (response.status, response.reason());
    assert_eq!(status, (200, String::new()), "{at}: {}", response.text());
}

/// A rejection as the contract has it: status, reason, and exactly these three fields.
#[track_caller]
pub fn assert_rejected(response: &Response, status: u16, reason: &str) {
    check_rejected(response, status, reason, Location::caller());
}

pub(super) fn check_rejected(response: &Response, status: u16, reason: &str, at: &Location<'_>) {
    let rejected = (response.status, response.reason());
    assert_eq!(
        rejected,
        (status, reason.to_owned()),
        "{at}: {}",
        response.text()
    );
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
