use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::fault_proxy::{FaultProxy, Way};
use crate::upstash::{self, TOKEN};
use support::blocking::read_some;
use support::envoy::new_address;
use support::http1::Http1;
use support::process::until;
use support::redis::{Redis, WEBDIS_PASSWORD, WEBDIS_USER, Webdis};
use support::resp::ScriptReply;
use support::wire::{Request, Response};

/// A script as the filter sends it: it writes a key that expires, once.
const CLAIM: &str = "return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', 60000) and 1 or 0";

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Every byte that is not a letter or a digit, so that none of them separates arguments.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    text.bytes().map(byte).collect()
}

/// A command with the password.
pub(crate) fn command(words: &[&str]) -> Request {
    let words: Vec<_> = words.iter().map(|word| escaped(word)).collect();
    Request::new("POST", "/")
        .header("authorization", basic(WEBDIS_USER, WEBDIS_PASSWORD))
        .body(words.join("/"))
}

async fn send(to: std::net::SocketAddr, request: &Request) -> Response {
    Http1::connect(to, new_address()).await.send(request).await
}

#[tokio::test]
async fn webdis_runs_the_two_commands_for_who_has_the_password_and_nothing_else() {
    let redis = Redis::start();
    let webdis = Webdis::start(redis.address());
    let claim = command(&["EVAL", CLAIM, "1", "{twf:1}:a", "mine"]);
    for expected in [1, 0] {
        let answer = send(webdis.address(), &claim).await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"EVAL": expected}))
        );
    }
    assert_eq!(redis.keys(), ["{twf:1}:a"]);
    let sha = redis.command(&["SCRIPT", "LOAD", CLAIM]).text();
    let answer = send(
        webdis.address(),
        &command(&["EVALSHA", &sha, "1", "{twf:1}:b", "mine"]),
    )
    .await;
    assert_eq!(answer.json(), json!({"EVALSHA": 1}));
    redis.command(&["SCRIPT", "FLUSH"]);
    let answer = send(
        webdis.address(),
        &command(&["EVALSHA", &sha, "1", "{twf:1}:c", "mine"]),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("NOSCRIPT"), "{}", answer.text());

    for words in [
        &["GET", "{twf:1}:a"][..],
        &["SET", "{twf:1}:a", "1"],
        &["DEL", "{twf:1}:a"],
        &["FLUSHALL"],
        &["CONFIG", "GET", "*"],
        &["KEYS", "*"],
        &["SCRIPT", "FLUSH"],
        &["SHUTDOWN"],
        &["DEBUG", "SEGFAULT"],
        &["SELECT", "1"],
        &["SUBSCRIBE", "x"],
    ] {
        let answer = send(webdis.address(), &command(words)).await;
        assert_eq!(answer.status, 403, "{words:?}: {}", answer.text());
    }
    for get in ["/GET/%7btwf%3a1%7d%3aa", "/CONFIG/GET/*", "/INFO", "/"] {
        let request =
            Request::new("GET", get).header("authorization", basic(WEBDIS_USER, WEBDIS_PASSWORD));
        assert_eq!(send(webdis.address(), &request).await.status, 403, "{get}");
    }
    for wrong in [
        claim.clone().without("authorization"),
        claim
            .clone()
            .with("authorization", basic(WEBDIS_USER, "guessed")),
        claim
            .clone()
            .with("authorization", basic("admin", WEBDIS_PASSWORD)),
        claim
            .clone()
            .with("authorization", format!("Bearer {WEBDIS_PASSWORD}")),
        claim.clone().with("authorization", "Basic "),
    ] {
        assert_eq!(
            send(webdis.address(), &wrong).await.status,
            403,
            "{wrong:?}"
        );
    }
    assert_eq!(
        redis.keys().len(),
        2,
        "nothing of that has changed anything"
    );
    let large = Request::new("POST", "/").body(vec![b'a'; 100_000]);
    assert_eq!(send(webdis.address(), &large).await.status, 413);
}

#[tokio::test]
async fn who_has_webdis_password_can_only_reach_the_filters_keys() {
    let redis = Redis::start();
    redis.command(&["SET", "another application", "1"]);
    let webdis = Webdis::start(redis.address());
    for (script, key) in [
        ("return redis.call('GET', KEYS[1])", "another application"),
        ("return redis.call('SET', KEYS[1], 1)", "{twf:2}:a"),
        ("return redis.call('FLUSHALL')", "{twf:1}:a"),
        ("return redis.call('KEYS', '*')", "{twf:1}:a"),
        (
            "return redis.call('CONFIG', 'SET', 'maxmemory', '1')",
            "{twf:1}:a",
        ),
        ("return redis.call('ACL', 'WHOAMI')", "{twf:1}:a"),
    ] {
        let answer = send(webdis.address(), &command(&["EVAL", script, "1", key])).await;
        let answer = answer.json();
        assert_eq!(answer["EVAL"][0], false, "{script}: {answer}");
    }
    assert_eq!(redis.keys(), ["another application"]);
    // And without the password, nobody: protected-mode aside, the tests' own user is the only one that needs none.
    let mut unauthenticated =
        support::resp::Client::connect(redis.address()).expect("a connection");
    let answer = unauthenticated
        .command(&["GET", "{twf:1}:a"])
        .expect("an answer");
    assert!(
        matches!(&answer, ScriptReply::Error(error) if error.starts_with("NOAUTH")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn what_redis_remembers_survives_its_death() {
    let redis = Redis::start();
    let webdis = Webdis::start(redis.address());
    let claim = command(&["EVAL", CLAIM, "1", "{twf:1}:a", "mine"]);
    assert_eq!(
        send(webdis.address(), &claim).await.json(),
        json!({"EVAL": 1})
    );
    redis.kill();
    let asked = async || send(webdis.address(), &claim).await;
    until("Webdis notices", async || {
        (asked().await.status == 503).then_some(())
    })
    .await;
    redis.start_again();
    let found = until("Webdis finds it again", async || {
        Some(asked().await).filter(|answer| answer.status == 200)
    });
    assert_eq!(found.await.json(), json!({"EVAL": 0}));
    let left = redis.command(&["PTTL", "{twf:1}:a"]).number();
    assert!((1..=60_000).contains(&left), "{left}");
    let written = redis.written();
    assert!(written.windows(9).any(|part| part == b"{twf:1}:a"));
}

#[tokio::test]
async fn the_fault_proxy_counts_and_does_as_told() {
    let redis = Redis::start();
    let webdis = Webdis::start(redis.address());
    let proxy = FaultProxy::start(webdis.address());
    let request = command(&["EVAL", "return 7", "0"]);
    let late = Duration::from_millis(200);
    for (way, status, text) in [
        (Way::Open, 200, r#"{"EVAL":7}"#),
        (Way::LateRequest(late), 200, r#"{"EVAL":7}"#),
        (Way::LateAnswer(late), 200, r#"{"EVAL":7}"#),
        (Way::Garbage, 200, "<html>It works!</html>"),
        (Way::OtherJson, 200, r#"{"GET":[{"a":null},-7,"b"]}"#),
        (Way::Empty, 200, ""),
        (Way::Status(500), 500, r#"{"error":"as told"}"#),
    ] {
        proxy.set(way);
        let (before, start) = (proxy.count(), Instant::now());
        let answer = send(proxy.address, &request).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (status, text),
            "{way:?}"
        );
        let waited = start.elapsed() >= late;
        assert_eq!(
            waited,
            matches!(way, Way::LateRequest(_) | Way::LateAnswer(_)),
            "{way:?}"
        );
        assert_eq!(proxy.count(), before + 1);
        assert_eq!(proxy.since(before)[0].body, request.body);
    }
    for way in [Way::Silence, Way::LostAnswer] {
        proxy.set(way);
        let mut client = Http1::connect(proxy.address, new_address()).await;
        client.write(&request.bytes()).await;
        assert!(!client.hears_within(late).await, "{way:?}");
    }
    for (way, parts) in [
        (Way::Close, &[][..]),
        (Way::Half, &["HTTP/1.1 200"]),
        (Way::Endless, &["chunked", "EVALSHA"]),
    ] {
        proxy.set(way);
        let answer = raw(proxy.address, &request, late);
        for part in parts {
            assert!(answer.contains(part), "{way:?}: {answer}");
        }
        assert_eq!(answer.is_empty(), parts.is_empty(), "{way:?}: {answer}");
    }
    proxy.set(Way::Open);
    assert_eq!(send(proxy.address, &request).await.status, 200);
    webdis.kill();
    assert_eq!(
        raw(proxy.address, &request, late),
        "",
        "its end is an end here"
    );
    webdis.start_again();
    assert_eq!(send(proxy.address, &request).await.status, 200);
}

/// What comes within a time, as text.
fn raw(to: std::net::SocketAddr, request: &Request, time: Duration) -> String {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(to).expect("a connection");
    stream.set_read_timeout(Some(time)).expect("a timeout");
    stream.write_all(&request.bytes()).expect("written");
    let mut bytes = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time && matches!(read_some(&stream, &mut bytes), Ok(1..)) {}
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn the_stub_of_upstash_speaks_json_to_who_has_the_token() {
    let redis = Redis::start();
    let upstash = upstash::start(redis.address());
    let request = |body: serde_json::Value| {
        Request::new("POST", "/")
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(body.to_string())
    };
    let claim = request(json!(["EVAL", CLAIM, 1, "{twf:1}:a", "mine"]));
    for expected in [1, 0] {
        let answer = send(upstash.address, &claim).await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"result": expected}))
        );
    }
    let list = request(json!(["EVAL", "return {1, 'a', false, {2}}", "0"]));
    assert_eq!(
        send(upstash.address, &list).await.json(),
        json!({"result": [1, "a", null, [2]]})
    );
    let unknown = request(json!([
        "EVALSHA",
        "e0e1f9fabfc9d4800c877a703b823ac0578ff8dc",
        "0"
    ]));
    let answer = send(upstash.address, &unknown).await;
    assert_eq!(answer.status, 400);
    let error = answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(error.starts_with("NOSCRIPT"), "{error}");
    for wrong in ["", "Bearer ", "Bearer guessed", TOKEN] {
        let answer = send(upstash.address, &claim.clone().with("authorization", wrong)).await;
        assert_eq!(answer.status, 401, "{wrong:?}");
    }
}
