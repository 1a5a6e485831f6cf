use std::time::Duration;

use serde_json::json;

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, plugin, store_with};
use support::messages::message;
use support::process::until;

#[test]
fn the_log_says_who_was_silent_and_for_how_long() {
    let store = store_with(json!({"timeout": "0.5s"}));
    let one = |setup: support::envoy::Setup| setup.workers(1);
    Replicas::of(1, one, &plugin(json!({"store": store}))).run(async |replicas| {
        replicas.recovered().await;
        for way in [
            Way::Silence,
            Way::LostAnswer,
            Way::Close,
            Way::Half,
            Way::Endless,
            Way::Status(503),
            Way::Status(500),
            Way::Garbage,
        ] {
            let seen = replicas.envoys[0].full_log().len();
            replicas.proxy.set(way);
            let line = until("a line", async || {
                replicas.send(0, &message()).await;
                let log = replicas.envoys[0].full_log();
                let line = log[seen..].lines().find(|line| line.contains("failed again and again"));
                line.map(str::to_owned)
            })
            .await;
            println!("{way:?}: {line}");
            replicas.heal().await;
        }
        for (name, down) in [("webdis", true), ("redis", false)] {
            let seen = replicas.envoys[0].full_log().len();
            if down { replicas.webdis.kill() } else { replicas.redis.kill() };
            let line = until("a line", async || {
                replicas.send(0, &message()).await;
                let log = replicas.envoys[0].full_log();
                let line = log[seen..].lines().find(|line| line.contains("failed again and again"));
                line.map(str::to_owned)
            })
            .await;
            println!("{name}: {line}");
            if down { replicas.webdis.start_again() } else { replicas.redis.start_again() };
            replicas.heal().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
}
