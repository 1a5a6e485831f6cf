//! The module with the feature `trap`: a header `x-trap`, of a request or of the upstream's answer, is a fault. In
//! WebAssembly that ends the VM, and with it all requests of the worker; a native module panics, and is there still.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;

use crate::load::Service;
use support::envoy::{Envoy, Setup, listener, new_address, plugin_config};
use support::filter_host::{FilterHost, filter_host, only};
use support::http1::{Http1, PATIENCE};
use support::messages::{message, unsigned};
use support::process::{in_time, repository, until};
use support::stat;
use support::tap::Behaviour;
use support::wire::{Request, Response};
use support::{assert_passed, assert_rejected, rule};

fn module() -> &'static str {
    match filter_host() {
        FilterHost::Wasm => "target/trap/wasm32-wasip1/release/twilio_webhook_filter.wasm",
        FilterHost::Native => "target/trap/release/libtwilio_webhook_filter.so",
    }
}

/// Whether a fault ends all requests of its worker.
fn fault_ends_all() -> bool {
    only(FilterHost::Wasm, "A fault")
}

/// `run` of the shared harness ends a test in which a VM has died; here it has to.
fn run(test: impl Future<Output = ()>) {
    in_time(PATIENCE * 3, Box::pin(test));
}

/// One worker: the VM that dies is the one that all requests are in.
fn setup() -> Setup {
    let module = module();
    assert!(
        repository().join(module).is_file(),
        "{module} does not exist: scripts/test endurance builds it"
    );
    Setup::changed(json!({"rate_limits": [rule("client_ip", "all", 5, "600s")]}))
        .workers(1)
        .edit(move |config| {
            let config = plugin_config(listener(config));
            assert_eq!(config["failure_policy"], "FAIL_RELOAD");
            config["vm_config"]["code"]["local"]["filename"] = json!(module);
        })
}

async fn send(envoy: &Envoy, from: IpAddr, request: &Request) -> Response {
    Http1::connect(envoy.address(), from)
        .await
        .send(request)
        .await
}

/// A fault. Envoy rejects the request that it came of, or the filter itself does.
async fn fault(envoy: &Envoy) {
    let request = unsigned("POST", "/anything").header("x-trap", "now");
    let answer = send(envoy, new_address(), &request).await;
    match filter_host() {
        FilterHost::Wasm => assert_eq!((answer.status, answer.text()), (503, String::new())),
        FilterHost::Native => assert_rejected(&answer, "internal"),
    }
}

/// What becomes of a request that the upstream answers 200 after, or in, a fault.
#[track_caller]
fn assert_lost_with_the_vm(answer: &Response) {
    if fault_ends_all() {
        assert_eq!((answer.status, answer.text()), (503, String::new()));
    } else {
        assert_passed(answer);
    }
}

/// The first answer after a fault, of a new VM if need be. Envoy makes none within a second and a half of the one before.
async fn first_answer(envoy: &Envoy, from: IpAddr, request: &Request) -> Response {
    until("a new VM", async || {
        let answer = send(envoy, from, request).await;
        (answer.status != 503 || !answer.text().is_empty()).then_some(answer)
    })
    .await
}

#[test]
fn the_request_after_a_fault_passes_and_nonces_and_counters_are_still_there() {
    let envoy = setup().start();
    run(async {
        envoy.tap.behave(Behaviour::Answer(200));
        let from = new_address();
        let accepted = message();
        assert_passed(&send(&envoy, from, &accepted).await);
        for _ in 0..2 {
            assert_passed(&send(&envoy, from, &message()).await);
        }
        // As long as Envoy waits before it makes another VM.
        tokio::time::sleep(Duration::from_millis(1600)).await;
        fault(&envoy).await;
        // The very next one.
        assert_passed(&send(&envoy, from, &message()).await);
        if fault_ends_all() {
            assert_eq!(stat(envoy.admin, "vm_reload_success"), 1);
        }
        assert_rejected(&send(&envoy, new_address(), &accepted).await, "duplicate");
        assert_passed(&send(&envoy, from, &message()).await);
        assert_rejected(&send(&envoy, from, &message()).await, "rate_limited");
        assert_eq!(envoy.tap.count(), 5);
    });
}

#[test]
fn requests_that_are_held_at_a_fault_never_reach_the_upstream_unchecked() {
    let envoy = setup().start();
    run(async {
        envoy.tap.behave(Behaviour::Answer(200));
        // AwaitingBody after the headers, in the middle of the body, and but for its last byte.
        let requests: Vec<_> = (0..3).map(|_| message()).collect();
        let mut held = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let bytes = request.bytes();
            let missing = [request.body.len(), 50, 1][index];
            let (sent, rest) = bytes.split_at(bytes.len() - missing);
            let mut connection = Http1::connect(envoy.address(), new_address()).await;
            connection.write(sent).await;
            held.push((connection, rest.to_vec()));
        }
        until("Envoy has read the requests", async || {
            (stat(envoy.admin, "http.webhooks.downstream_rq_active") == 3).then_some(())
        })
        .await;
        fault(&envoy).await;
        let ends_all = fault_ends_all();
        for (mut connection, rest) in held {
            let answer = connection.send_pieces(&[rest], Duration::ZERO).await;
            assert_lost_with_the_vm(&answer);
        }
        if !ends_all {
            assert_eq!(envoy.tap.count(), requests.len());
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(
            envoy.tap.bytes_since(0),
            0,
            "{}",
            envoy.tap.describe_since(0)
        );
        // They had claimed nothing.
        for request in &requests {
            assert_passed(&first_answer(&envoy, new_address(), request).await);
        }
    });
}

#[test]
fn a_request_that_is_with_the_upstream_at_a_fault_stays_claimed() {
    let envoy = setup().start();
    run(async {
        let late = Duration::from_millis(500);
        envoy.tap.behave(Behaviour::AnswerAfter(late, 200));
        let request = message();
        let mut connection = Http1::connect(envoy.address(), new_address()).await;
        connection.write(&request.bytes()).await;
        envoy.tap.wait_for(0, 1).await;
        fault(&envoy).await;
        assert_lost_with_the_vm(&connection.response().await);
        envoy.tap.behave(Behaviour::Answer(200));
        assert_passed(&first_answer(&envoy, new_address(), &message()).await);
        for _ in 0..3 {
            let answer = send(&envoy, new_address(), &request).await;
            assert_rejected(&answer, "duplicate");
        }
        assert_eq!(envoy.tap.count(), 2);
    });
}

#[test]
fn a_request_with_a_fault_at_the_upstreams_answer_stays_claimed() {
    let service = Service::start(|request| {
        let asked = request.windows(10).any(|part| part == b"x-end-vm: ");
        let header = if asked { "x-trap: now\r\n" } else { "" };
        format!("HTTP/1.1 200 OK\r\n{header}content-length: 0\r\n\r\n").into_bytes()
    });
    let upstream = service.address;
    let envoy = setup()
        .edit(move |config| Service::put_into(config, upstream))
        .start();
    run(async {
        let request = message();
        let answer = send(
            &envoy,
            new_address(),
            &request.clone().header("x-end-vm", "now"),
        )
        .await;
        assert_lost_with_the_vm(&answer);
        assert_eq!(service.received(), 1);
        assert_passed(&first_answer(&envoy, new_address(), &message()).await);
        for _ in 0..3 {
            let answer = send(&envoy, new_address(), &request).await;
            assert_rejected(&answer, "duplicate");
        }
        assert_eq!(service.received(), 2);
    });
}
