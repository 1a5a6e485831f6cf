use std::time::{Duration, Instant};

use serde_json::json;

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, metric, plugin};
use support::assert_passed;
use support::envoy::{Envoy, Setup};
use support::http1::PATIENCE;
use support::messages::message;
use support::tap::Behaviour;

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
            assert_passed(&replicas.send(0, &message()).await);
        }
        replicas.proxy.settled().await;
        let (asked, start) = (metric(envoy, "store_callouts") as f64, Instant::now());
        assert!(asked >= 4.0, "{asked}");
        let (count, sum) = loop {
            let (count, sum) = histogram(envoy, "store_callout_microseconds");
            if count >= asked {
                break (count, sum);
            }
            assert!(start.elapsed() < PATIENCE, "{count} of {asked}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(count, asked);
        let mean = Duration::from_micros((sum / count) as u64);
        println!("{count} questions, {mean:?} each");
        assert!((slow / 2..slow * 20).contains(&mean), "{mean:?}");
    });
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
        let sent = async { assert_passed(&replicas.send(0, &message()).await) };
        let lose = async {
            envoy.tap.wait_for(arrived, 1).await;
            replicas.proxy.set(Way::Close);
        };
        tokio::join!(sent, lose);
        envoy.tap.behave(Behaviour::Answer(200));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        replicas.heal().await;
        let start = Instant::now();
        while metric(envoy, "store_settlements_lost") == 0 {
            assert!(start.elapsed() < PATIENCE, "nothing is counted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(metric(envoy, "store_settlements_lost"), 1);
        assert_eq!(metric(&replicas.envoys[1], "store_settlements_lost"), 0);
    });
}
