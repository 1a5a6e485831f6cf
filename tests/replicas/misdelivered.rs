use std::collections::HashSet;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, metric, plugin, send, setup};
use crate::traffic::{Outcome, Traffic, assert_none_twice};
use support::assert_passed;
use support::envoy::Envoy;
use support::messages::message;
use support::tap::Behaviour;
use support::wire::{Received, Request};

/// What a question of an Envoy's was, for whoever wants to ask the same.
fn question(received: &Received) -> Vec<u8> {
    let asked = Request::new("POST", "/").body(&received.body);
    let names = ["authorization", "content-type"];
    let asked = names.iter().fold(asked, |asked, name| {
        asked.header(name, received.header(name).expect("what Webdis needs"))
    });
    asked.bytes()
}

/// How often answers were another question's, at all Envoys.
fn misdelivered(envoys: &[Envoy]) -> u64 {
    envoys
        .iter()
        .map(|envoy| metric(envoy, "store_callouts_misdelivered"))
        .sum()
}

#[test]
fn where_each_answer_is_that_to_the_question_before_nothing_passes_that_should_not() {
    Replicas::start(&plugin(json!({}))).run(async |replicas| {
        replicas.recovered().await;
        // Known everywhere, so that the answer to a first delivery would let it pass.
        let known = message();
        replicas.passes(0, &known).await;
        replicas.proxy.settled().await;
        replicas.proxy.set(Way::OneBehind);
        let traffic = Traffic::start(&replicas.envoys, 4);
        for number in 0..40 {
            let answer = replicas.send(number % 2, &known).await;
            assert_ne!(answer.status, 200, "a repeat passes");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let outcome = traffic.stop().await;
        println!(
            "{:?}, {} strangers' answers",
            outcome.counts(),
            misdelivered(&replicas.envoys)
        );
        assert_none_twice(replicas);
        assert!(misdelivered(&replicas.envoys) > 0);
        // What Redis has granted, and nobody was told, is given up: it passes afterwards.
        replicas.heal().await;
        replicas.proxy.settled().await;
        for request in outcome.rejected().into_iter().take(20) {
            replicas.passes(1, request).await;
        }
        assert_none_twice(replicas);
    });
}

/// Asks, and leaves before the answer has come, again and again.
fn leave(webdis: SocketAddr, question: &[u8], pause: Duration, stopped: &AtomicBool) {
    while !stopped.load(Ordering::SeqCst) {
        if let Ok(mut stream) = TcpStream::connect(webdis) {
            let _ = stream.write_all(question);
            std::thread::sleep(pause);
        }
    }
}

/// What eight clients send while others leave Webdis all the time, for three seconds.
fn traffic_beside(envoys: &[Envoy], webdis: SocketAddr, question: &[u8]) -> Outcome {
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let stopped = &stopped;
            let pause = Duration::from_micros(150 * number);
            scope.spawn(move || leave(webdis, question, pause, stopped));
        }
        let outcome = tokio::task::block_in_place(|| {
            let runtime = tokio::runtime::Handle::current();
            runtime.block_on(async {
                let traffic = Traffic::start(envoys, 8);
                tokio::time::sleep(Duration::from_secs(3)).await;
                traffic.stop().await
            })
        });
        stopped.store(true, Ordering::SeqCst);
        outcome
    })
}

#[test]
fn whoever_leaves_webdis_while_it_answers_lets_no_repeat_pass_and_loses_no_order() {
    let plugin = plugin(json!({}));
    Replicas::start(&plugin).run(async |replicas| {
        replicas.recovered().await;
        replicas.passes(0, &message()).await;
        replicas.proxy.settled().await;
        let asked = replicas.proxy.since(0);
        let claim = asked.iter().rev().find(|asked| !asked.body.is_empty());
        let question = question(claim.expect("a question"));
        // With nothing between them and Webdis: the connections are Envoy's own.
        let webdis = replicas.webdis.address();
        let envoys = [(); 2].map(|()| {
            let envoy = setup(&plugin, webdis).start();
            envoy.tap.behave(Behaviour::Answer(200));
            envoy
        });
        let outcome = traffic_beside(&envoys, webdis, &question);
        let mixed_up = misdelivered(&envoys);
        println!("{:?}, {mixed_up} strangers' answers", outcome.counts());
        assert!(outcome.requests.len() > 50, "{}", outcome.requests.len());
        let answers = [(200, ""), (409, "duplicate"), (503, "store_unavailable")];
        outcome.assert_answers(&answers, Duration::from_secs(10));
        for request in outcome.rejected() {
            assert_passed(&send(&envoys[0], request).await);
        }
        let taken: Vec<_> = envoys
            .iter()
            .flat_map(|envoy| envoy.tap.requests_since(0))
            .collect();
        let different: HashSet<_> = taken.iter().map(|received| &received.body).collect();
        assert_eq!(taken.len(), different.len(), "something has passed twice");
        assert_eq!(different.len(), outcome.requests.len(), "something is lost");
    });
}
