use std::time::Duration;

use serde_json::{Value, json};

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, metric, plugin};
use support::envoy::new_address;
use support::http1::Http1;
use support::http2::{Framing, Http2};
use support::messages::{ORIGIN, TOKEN, bare, message, message_with, sid, unsigned};
use support::tap::Behaviour;
use support::wire::{Request, Response};
use support::{assert_passed, assert_rejected, rule, signing};

/// How long the store takes for each answer.
const SLOW: Duration = Duration::from_millis(100);

/// A limit that is asked for at the headers, and that nobody reaches.
fn with_early_limit() -> Value {
    plugin(json!({"rate_limits": [rule("client_ip", "all", 1000, "60s")]}))
}

/// What the upstream of an Envoy has received since: one request, with every byte.
#[track_caller]
fn assert_arrived_whole(replicas: &Replicas, envoy: usize, first: usize, request: &Request) {
    let received = replicas.envoys[envoy].tap.requests_since(first);
    let [received] = received.as_slice() else {
        panic!("{} requests", received.len());
    };
    assert_eq!(received.body, request.body);
    assert_eq!(received.header("x-twilio-webhook-verified"), Some("true"));
}

#[test]
fn a_body_in_pieces_is_whole_whether_it_ends_before_or_after_redis_has_answered() {
    Replicas::start(&with_early_limit()).run(async |replicas| {
        replicas.proxy.set(Way::LateAnswer(SLOW));
        // Everything before the answer; some before and some after it; most after it.
        for pause in [0, 8, 30].map(Duration::from_millis) {
            for (envoy, size) in [(0, 100), (1, 60)] {
                let request = message();
                let pieces = request.chunks(size);
                let first = replicas.envoys[envoy].tap.count();
                let mut client =
                    Http1::connect(replicas.envoys[envoy].address(), new_address()).await;
                assert_passed(&client.send_pieces(&pieces, pause).await);
                assert_arrived_whole(replicas, envoy, first, &request);

                let other = 1 - envoy;
                let first = replicas.envoys[other].tap.count();
                let mut client =
                    Http1::connect(replicas.envoys[other].address(), new_address()).await;
                let answer = client.send_pieces(&pieces, pause).await;
                assert_rejected(&answer, "duplicate");
                assert_eq!(replicas.envoys[other].tap.count(), first);
            }
        }
    });
}

#[test]
fn a_body_with_trailers_over_http2_is_whole_while_redis_is_asked() {
    Replicas::start(&with_early_limit()).run(async |replicas| {
        replicas.proxy.set(Way::LateAnswer(SLOW));
        for pause in [0, 8, 30].map(Duration::from_millis) {
            for trailers in [None, Some(("x-trailer", "1"))] {
                let request = message();
                let framing = Framing::pieces(120).paused(pause).trailers(trailers);
                let first = replicas.envoys[0].tap.count();
                let mut client = Http2::connect(replicas.envoys[0].address(), new_address()).await;
                client.passes(&request, framing.clone()).await;
                assert_arrived_whole(replicas, 0, first, &request);
                let mut client = Http2::connect(replicas.envoys[1].address(), new_address()).await;
                client.rejects(&request, framing, "duplicate").await;
            }
        }
        // Nothing but trailers: they alone say that there is no body.
        let request = bare("GET", &format!("/voice/status?CallSid={}", sid("CA")));
        let framing = Framing::default().trailers(("x-trailer", "1"));
        for (envoy, status, reason) in [(0, 200, ""), (1, 409, "duplicate")] {
            let mut client = Http2::connect(replicas.envoys[envoy].address(), new_address()).await;
            let answer = client.send(&request, framing.clone()).await;
            assert_eq!((answer.status, answer.reason().as_str()), (status, reason));
        }
    });
}

async fn sent_large(replicas: &Replicas, size: usize, http2: bool) -> Response {
    let request = message_with("Body", &"a".repeat(size));
    let address = replicas.envoys[0].address();
    if http2 {
        let mut client = Http2::connect(address, new_address()).await;
        let framing = Framing::pieces(16_000);
        client.send(&request, framing).await
    } else {
        let mut client = Http1::connect(address, new_address()).await;
        client.send_chunked(&request, 16_000).await
    }
}

#[test]
fn a_body_that_grows_too_large_while_redis_is_asked_is_rejected() {
    Replicas::start(&with_early_limit()).run(async |replicas| {
        replicas.proxy.set(Way::LateAnswer(SLOW));
        for http2 in [false, true] {
            // Above `max_body_bytes`, but not above what Envoy buffers: the filter says so, once Redis has answered.
            let answer = sent_large(replicas, 70_000, http2).await;
            assert_rejected(&answer, "body_too_large");
        }
        for http2 in [false, true] {
            // Above that, too: Envoy says so itself, and does not wait for Redis.
            let answer = sent_large(replicas, 2_000_000, http2).await;
            assert_eq!((answer.status, answer.reason().as_str()), (413, ""));
        }
        assert_eq!(replicas.accepted(), 0);
        replicas.proxy.set(Way::Open);
        replicas.passes(0, &message()).await;
    });
}

/// A WebSocket handshake as Media Streams does it.
fn handshake() -> Request {
    let target = format!("/voice/stream?CallSid={}", sid("CA"));
    let url = format!("{}{target}", ORIGIN.replace("https", "wss"));
    unsigned("GET", &target)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("x-twilio-signature", signing::sign(TOKEN, &url, &[]))
}

#[test]
fn a_websocket_is_opened_once_at_all_envoys_where_that_is_asked_for_and_carries_data() {
    let once = |mut plugin: Value| {
        plugin["replay"] = json!({"handshakes": true});
        plugin
    };
    for plugin in [once(plugin(json!({}))), once(with_early_limit())] {
        Replicas::start(&plugin).run(async |replicas| {
            replicas.proxy.set(Way::LateAnswer(SLOW));
            for envoy in [0, 1] {
                replicas.envoys[envoy].tap.behave(Behaviour::Echo);
                let request = handshake();
                let address = replicas.envoys[envoy].address();
                let mut client = Http1::connect(address, new_address()).await;
                let answer = client.send(&request).await;
                assert_eq!(answer.status, 101, "{}", answer.text());
                client.write(b"hello").await;
                assert_eq!(client.read_exactly(5).await, b"hello");
                for other in [0, 1] {
                    replicas.rejects(other, &request, "duplicate").await;
                }
            }
            let before = replicas.accepted();
            let mut forged = handshake();
            forged.target.extend(b"x");
            replicas.rejects(0, &forged, "invalid_signature").await;
            assert_eq!(replicas.accepted(), before);

            // No client may send before the answer, which decides whether it is a socket. What comes all the same is
            // for the upstream, also while the limit is asked for.
            let address = replicas.envoys[0].address();
            let mut client = Http1::connect(address, new_address()).await;
            client.write(&handshake().bytes()).await;
            client.write(b"early").await;
            assert_eq!(client.response().await.status, 101);
            assert_eq!(client.read_exactly(5).await, b"early");
        });
    }
}

/// Every call's handshake is the same: Redis is not asked whether there was one before.
#[test]
fn a_websocket_is_opened_on_every_call_at_every_envoy() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        let request = handshake();
        let asked = replicas.proxy.settled().await;
        for envoy in [0, 1, 0, 1] {
            replicas.envoys[envoy].tap.behave(Behaviour::Echo);
            let address = replicas.envoys[envoy].address();
            let mut client = Http1::connect(address, new_address()).await;
            let answer = client.send(&request).await;
            assert_eq!(answer.status, 101, "{}", answer.text());
            client.write(b"hello").await;
            assert_eq!(client.read_exactly(5).await, b"hello");
        }
        assert_eq!(replicas.proxy.settled().await, asked, "nobody was asked");
    });
}

#[test]
fn what_is_exempt_asks_nobody() {
    Replicas::start(&with_early_limit()).run(async |replicas| {
        replicas.proxy.set(Way::Silence);
        for envoy in [0, 1] {
            let exempt = unsigned("GET", "/healthz");
            replicas.passes(envoy, &exempt).await;
            let unknown = unsigned("GET", "/elsewhere");
            replicas.rejects(envoy, &unknown, "unknown_webhook").await;
            assert_eq!(metric(&replicas.envoys[envoy], "store_callouts"), 0);
        }
        assert_eq!(replicas.proxy.count(), 0);
    });
}
