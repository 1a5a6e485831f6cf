use std::time::Duration;

use serde_json::json;

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, metric, plugin};
use support::envoy::{Envoy, Setup};
use support::messages::{forged, message, message_with, whatsapp};
use support::process::until;
use support::rule;
use support::tap::Behaviour;
use support::wire::{Received, Request};
use twilio_webhook_filter::Scripts;

/// Count and sum of a histogram.
fn histogram(envoy: &Envoy, name: &str) -> (f64, f64) {
    let text = envoy.admin("/stats?format=prometheus");
    let value = |part: &str| {
        let name = format!("twilio_webhook_{name}_{part}{{");
        let line = text.lines().find(|line| line.starts_with(&name));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        value.unwrap_or_default()
    };
    (value("count"), value("sum"))
}

#[test]
fn how_long_redis_takes_is_measured_for_every_question() {
    let often = |setup: Setup| {
        // Envoy sums up histograms when it flushes statistics.
        setup.edit(|config| config["stats_flush_interval"] = json!("0.2s"))
    };
    Replicas::of(1, often, &plugin(json!({}))).run(async |replicas| {
        let envoy = &replicas.envoys[0];
        let slow = Duration::from_millis(150);
        replicas.proxy.set(Way::LateAnswer(slow));
        for _ in 0..4 {
            replicas.passes(0, &message()).await;
        }
        replicas.proxy.settled().await;
        let asked = metric(envoy, "store_callouts") as f64;
        assert!(asked >= 4.0, "{asked}");
        let (count, sum) = until("all questions are in the histogram", async || {
            let (count, sum) = histogram(envoy, "store_callout_microseconds");
            (count >= asked).then_some((count, sum))
        })
        .await;
        assert_eq!(count, asked);
        let mean = Duration::from_micros((sum / count) as u64);
        println!("{count} questions, {mean:?} each");
        assert!((slow / 2..slow * 20).contains(&mean), "{mean:?}");
    });
}

/// Sends one of each, and counts the calls to Redis: those for decisions, and all.
async fn calls(replicas: &Replicas, requests: Vec<Request>) -> (usize, u64) {
    let envoy = &replicas.envoys[0];
    let (first, asked) = (
        replicas.proxy.settled().await,
        metric(envoy, "store_callouts"),
    );
    for request in &requests {
        replicas.send(0, request).await;
    }
    replicas.proxy.settled().await;
    let settle = Scripts::new().settle.hash;
    let sent = replicas.proxy.since(first);
    let decides = |call: &&Received| !String::from_utf8_lossy(&call.body).contains(settle.as_str());
    (
        sent.iter().filter(decides).count(),
        metric(envoy, "store_callouts") - asked,
    )
}

#[test]
fn a_request_that_is_accepted_and_one_that_is_rejected_ask_redis_once_each() {
    let all = rule("client_ip", "all", 1000, "600s");
    let rejected = rule("client_ip", "rejected", 1000, "600s");
    let signed = rule("account", "authenticated", 1000, "600s");
    for rules in [json!([all]), json!([all, rejected, signed]), json!([])] {
        let plugin = plugin(json!({"rate_limits": rules}));
        Replicas::of(1, |setup| setup.workers(1), &plugin).run(async |replicas| {
            replicas.recovered().await;
            const EACH: usize = 10;
            let known = message();
            replicas.passes(0, &known).await;
            let forged = forged(&whatsapp());
            let large = message_with("Body", &"a".repeat(70_000));
            let kinds = [
                ("accepted", (0..EACH).map(|_| message()).collect()),
                ("duplicate", vec![known; EACH]),
                ("invalid_signature", vec![forged.clone(); EACH]),
                (
                    "missing_signature",
                    vec![forged.without("x-twilio-signature"); EACH],
                ),
                ("body_too_large", vec![large; EACH]),
            ];
            for (name, requests) in kinds {
                let (decisions, all) = calls(replicas, requests).await;
                println!("{rules}: {EACH} {name}, {decisions} calls for decisions, {all} calls");
                // What became of those that are accepted is told for several at once.
                let settlements = if name == "accepted" { EACH } else { 0 };
                assert!(
                    (decisions..=decisions + settlements).contains(&(all as usize)),
                    "{name}"
                );
                let asks = rules != json!([]) || name == "accepted";
                assert_eq!(decisions, if asks { EACH } else { 0 }, "{name}");
            }
        });
    }
}

#[test]
fn what_redis_was_never_told_is_counted() {
    // After a second nobody has to know it any more.
    let replay = json!({"window": "1s", "keep": "1s"});
    Replicas::start(&plugin(json!({"replay": replay}))).run(async |replicas| {
        replicas.recovered().await;
        replicas.proxy.settled().await;
        let envoy = &replicas.envoys[0];
        envoy
            .tap
            .behave(Behaviour::AnswerAfter(Duration::from_millis(300), 200));
        let arrived = envoy.tap.count();
        let sent = async { replicas.passes(0, &message()).await };
        let lose = async {
            envoy.tap.wait_for(arrived, 1).await;
            replicas.proxy.set(Way::Close);
        };
        tokio::join!(sent, lose);
        envoy.tap.behave(Behaviour::Answer(200));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        replicas.heal().await;
        until("the lost settlement is counted", async || {
            (metric(envoy, "store_settlements_lost") > 0).then_some(())
        })
        .await;
        assert_eq!(metric(envoy, "store_settlements_lost"), 1);
        assert_eq!(metric(&replicas.envoys[1], "store_settlements_lost"), 0);
    });
}
