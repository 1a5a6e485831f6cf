use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use support::http1::Http1;
use support::messages::{self, WEBHOOK, message};
use support::tap::{Behaviour, Tap};
use support::{envoy, signing, upstream, wire};

/// A message as the filter passes it on; the upstream takes no other.
fn verified() -> wire::Request {
    message()
        .header("x-twilio-webhook-verified", "true")
        .header(
            "x-twilio-webhook-nonce",
            signing::sha256_hex(messages::sid("SM").as_bytes()),
        )
}

/// The 51 cases from the test suites of Twilio's libraries.
pub(crate) fn official() -> Vec<Value> {
    let cases: Value =
        serde_json::from_str(include_str!("../vectors/official.json")).expect("JSON");
    let cases = cases.as_array().expect("a list").clone();
    assert_eq!(cases.len(), 51);
    cases
}

pub(crate) fn parameters(case: &Value) -> messages::Parameters {
    let pair = |pair: &Value| (text(&pair[0]), text(&pair[1]));
    case["params"]
        .as_array()
        .map(|list| list.iter().map(pair).collect())
        .unwrap_or_default()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_tests_own_signing_agrees_with_all_51_official_signatures() {
    let (mut valid, mut invalid) = (0, 0);
    for case in official() {
        let url = case["signed_url"]
            .as_str()
            .or(case["url"].as_str())
            .expect("a URL");
        let made = signing::sign(
            case["token"].as_str().expect("a token"),
            url,
            &parameters(&case),
        );
        let same = made == text(&case["signature"]);
        if case["valid"] == true {
            assert!(same, "{case}");
            valid += 1;
        } else {
            // Two of the invalid ones have a good signature and a body that it does not cover.
            assert!(!same || !case["body"].is_null(), "{case}");
            invalid += 1;
        }
    }
    assert_eq!((valid, invalid), (38, 13));
}

#[test]
fn the_tests_own_escaping_is_what_a_form_parser_undoes() {
    let parameters = messages::pairs([("a b", "1+1=2&c"), ("ñ", ""), ("Body", messages::TEXT)]);
    assert_eq!(
        messages::encode(&parameters),
        "a+b=1%2B1%3D2%26c&%C3%B1=&Body=zwei+Pizza+Margherita%2C+bitte+%F0%9F%8D%95"
    );
}

#[test]
fn a_chunked_message_is_parsed_to_its_last_byte_and_no_further() {
    let request = messages::unsigned("POST", "/x").body("hello world");
    let mut bytes = request.chunks(4).concat();
    for end in 0..bytes.len() {
        assert!(
            wire::request(&bytes[..end]).is_none(),
            "complete after {end} bytes"
        );
    }
    let whole = bytes.len();
    bytes.extend(b"GET / ");
    let (received, length) = wire::request(&bytes).expect("complete");
    assert_eq!(
        (received.body.as_slice(), length),
        (b"hello world".as_slice(), whole)
    );
}

#[tokio::test]
async fn the_tap_records_from_the_first_byte_and_behaves_as_told() {
    let tap = Tap::start(upstream::address());
    let address = envoy::new_address();
    let mut client = Http1::connect(tap.address, address).await;
    // A connection alone is no request.
    assert_eq!(tap.count(), 0);
    let bytes = messages::unsigned("POST", "/anything")
        .body("0123456789")
        .bytes();
    client.write(&bytes[..1]).await;
    while tap.count() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(tap.bytes_since(0), 1);
    tap.behave(Behaviour::Answer(503));
    client.write(&bytes[1..]).await;
    assert_eq!(client.response().await.status, 503);
    assert_eq!(tap.requests_since(0)[0].body, b"0123456789");
    assert_eq!(tap.bytes_since(0), bytes.len());

    tap.behave(Behaviour::Forward);
    let request = verified();
    assert_eq!(client.send(&request).await.status, 200);
    let sid = String::from_utf8_lossy(&request.body)
        .split('&')
        .next()
        .unwrap_or_default()
        .replace("SmsMessageSid=", "");
    assert!(
        upstream::messages().to_string().contains(&sid),
        "the upstream has stored {sid}"
    );

    tap.behave(Behaviour::Silence);
    client.write(&bytes).await;
    assert!(!client.hears_within(Duration::from_millis(100)).await);
    drop(client);
    tap.wait_for_abandoned(2).await;

    tap.reject_connections();
    assert!(tokio::net::TcpStream::connect(tap.address).await.is_err());
    tap.accept_connections();
    let mut client = Http1::connect(tap.address, address).await;
    tap.behave(Behaviour::Answer(302));
    assert_eq!(
        client.send(&message()).await.header("location"),
        Some("/elsewhere")
    );
}

#[test]
fn a_process_that_the_tests_start_ends_with_them() {
    use support::process::{Process, free_port};
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let mut process = Process::start(
        std::process::Command::new("sleep").arg("600"),
        &log,
        &log,
        directory.path(),
    );
    assert_eq!(process.ended(), None);
    drop(process);
    assert!(
        directory.path().is_dir(),
        "the directory is the test's as long as the test runs"
    );
    let port = free_port();
    assert!(std::net::TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_err());
    assert_ne!(port, free_port());
}

#[tokio::test]
async fn the_ordering_upstream_takes_its_webhook_and_nothing_else() {
    let address = upstream::address();
    let mut client = Http1::connect(address, envoy::new_address()).await;
    let answer = client.send(&verified()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("<Response"), "{}", answer.text());
    for path in ["/other", "/api/v1/whatsapp", "/api/v1/whatsapp/webhook/"] {
        let mut client = Http1::connect(address, envoy::new_address()).await;
        let other = wire::Request {
            target: path.into(),
            ..verified()
        };
        let status = client.send(&other).await.status;
        assert_eq!(status, 404, "{path}, not {WEBHOOK}");
    }
}
