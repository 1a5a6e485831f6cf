use serde_json::json;

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, plugin, store_with};
use support::envoy::Setup;
use support::messages::message;
use support::process::until;

/// Waits until the log says why Redis fails, and lets it work again.
async fn line_of(replicas: &Replicas, inject: impl Fn(), end: impl Fn()) -> String {
    let envoy = &replicas.envoys[0];
    replicas.proxy.settled().await;
    let seen = envoy.full_log().len();
    inject();
    let line = until("a line of the log", async || {
        replicas.send(0, &message()).await;
        let log = envoy.full_log();
        let line = log[seen..].split_once("failed again and again: ");
        line.and_then(|(_, line)| Some(line.split_once('\n')?.0.to_owned()))
    })
    .await;
    end();
    replicas.heal().await;
    line
}

/// Envoy makes a response of most failures, which is not the store's.
#[test]
fn the_log_says_who_was_silent_and_for_how_long() {
    let store = store_with(json!({"timeout": "0.5s"}));
    let one = |setup: Setup| setup.workers(1);
    Replicas::of(1, one, &plugin(json!({"store": store}))).run(async |replicas| {
        replicas.recovered().await;
        let silent = "no answer in time (504): store.timeout is 500 ms";
        let cut = "its answers break off, or take longer than the 500 ms of store.timeout";
        let no_connection =
            "there is no connection to it, or its connections break, or it has none to Redis (503)";
        for (way, expected) in [
            (Way::Silence, silent),
            (Way::LostAnswer, silent),
            (Way::Close, no_connection),
            (Way::Half, cut),
            (Way::Endless, cut),
            (Way::Status(500), "it answered 500"),
            (
                Way::Status(403),
                "it answered 403: are username, password or token right",
            ),
            (
                Way::Garbage,
                "its answer is not one of Redis to this filter's scripts",
            ),
        ] {
            let line = line_of(replicas, || replicas.proxy.set(way), || {}).await;
            println!("{way:?}: {line}");
            assert!(line.starts_with(expected), "{way:?}: {line}");
        }
        let (webdis, redis) = (&replicas.webdis, &replicas.redis);
        let lines = [
            line_of(replicas, || webdis.kill(), || webdis.start_again()).await,
            line_of(replicas, || redis.kill(), || redis.start_again()).await,
            line_of(replicas, || redis.freeze(), || redis.thaw()).await,
        ];
        for (line, expected) in lines.iter().zip([no_connection, no_connection, silent]) {
            assert!(line.starts_with(expected), "{line}");
        }
    });
}
