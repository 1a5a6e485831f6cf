use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::documentation::table;
use support::envoy::{Envoy, Setup, Test, connection_manager, listener, plugin_with};
use support::http1::PATIENCE;
use support::messages::{WEBHOOK, form, whatsapp};
use support::tap::Behaviour;
use support::wire::Request;

/// What happens to every delivery of a request.
#[derive(Clone, Debug)]
enum Fate {
    Upstream(Behaviour),
    ConnectionRefused,
    SenderLeaves,
    /// Envoy answers by itself, for a path that it has another route for.
    Route(&'static str),
}

const REDIRECTED: &str = "/studio/redirected";
const ANSWERED: &str = "/studio/answered";
const NOWHERE: &str = "/studio/nowhere";

/// By how the table calls it.
fn fates() -> BTreeMap<&'static str, Fate> {
    let upstream = |behaviour| Fate::Upstream(behaviour);
    let status = |status| Fate::Upstream(Behaviour::Answer(status));
    BTreeMap::from([
        ("the upstream answers 200", status(200)),
        ("the upstream answers 302", status(302)),
        ("the upstream answers 400", status(400)),
        ("the upstream answers 401", status(401)),
        ("the upstream answers 404", status(404)),
        ("the upstream answers 408", status(408)),
        ("the upstream answers 425", status(425)),
        ("the upstream answers 429", status(429)),
        ("the upstream answers 500", status(500)),
        ("the upstream answers 503", status(503)),
        (
            "the upstream resets the connection",
            upstream(Behaviour::Reset),
        ),
        (
            "the upstream gives no answer within the route's timeout",
            upstream(Behaviour::Silence),
        ),
        (
            "the upstream refuses the connection",
            Fate::ConnectionRefused,
        ),
        ("the sender leaves before the answer", Fate::SenderLeaves),
        ("Envoy has no route: its own 404", Fate::Route(NOWHERE)),
        (
            "Envoy's route is a redirect: its own 301",
            Fate::Route(REDIRECTED),
        ),
        (
            "Envoy's route is a direct response: its own 200",
            Fate::Route(ANSWERED),
        ),
    ])
}

/// Without limits, with an upstream that may take a second and a half, and with routes of all kinds.
fn envoy() -> Envoy {
    let plugin = plugin_with(json!({"rate_limits": []}));
    let routes = |config: &mut Value| {
        let to_upstream = json!({"cluster": "ordering_upstream", "timeout": "1.5s"});
        connection_manager(listener(config))["route_config"]["virtual_hosts"][0]["routes"] = json!([
            {"match": {"path": REDIRECTED}, "redirect": {"path_redirect": "/elsewhere"}},
            {"match": {"path": ANSWERED}, "direct_response": {"status": 200}},
            {"match": {"path": WEBHOOK}, "route": to_upstream},
        ]);
    };
    Setup::with(&plugin).edit(routes).start()
}

/// What the sender of one delivery gets, as the table has it.
async fn deliver(t: &Test<'_>, fate: &Fate, request: &Request) -> String {
    match fate {
        Fate::SenderLeaves => leave(t, request).await,
        Fate::ConnectionRefused => {
            t.envoy.tap.reject_connections();
            t.send(request).await.status.to_string()
        }
        Fate::Upstream(behaviour) => {
            t.upstream(behaviour.clone());
            t.send(request).await.status.to_string()
        }
        Fate::Route(_) => t.send(request).await.status.to_string(),
    }
}

/// Sends a request and leaves once the upstream has it, if it gets that far.
async fn leave(t: &Test<'_>, request: &Request) -> String {
    t.upstream(Behaviour::Silence);
    let before = t.received_count();
    let mut connection = t.http1().await;
    connection.write(&request.bytes()).await;
    let start = Instant::now();
    while t.received_count() == before {
        if connection.hears_within(Duration::from_millis(5)).await {
            return connection.response().await.status.to_string();
        }
        assert!(start.elapsed() < PATIENCE, "neither passed nor answered");
    }
    drop(connection);
    // Envoy takes a moment to notice; what it does then is done when no request is under way.
    t.envoy.idle().await;
    "none".to_owned()
}

/// What further deliveries get once all is well again.
async fn recover(t: &Test<'_>, request: &Request) -> String {
    t.envoy.tap.accept_connections();
    t.upstream(Behaviour::Answer(200));
    let start = Instant::now();
    let mut answer = t.send(request).await;
    // For a moment Envoy may hold that nobody listens there. Each such 503 is one more failure, which releases too.
    while answer.status == 503 && answer.reason().is_empty() && start.elapsed() < PATIENCE / 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = t.send(request).await;
    }
    if answer.status == 409 {
        return "409".to_owned();
    }
    let then = t.send(request).await;
    format!("{}, then {}", answer.status, then.status)
}

#[test]
fn after_each_answer_a_retry_gets_what_the_documentation_says() {
    let fates = fates();
    let rows = table("What a retry gets");
    let documented: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    for name in fates.keys() {
        assert!(documented.contains(name), "{name:?} is not documented");
    }
    let envoy = envoy();
    for row in &rows {
        let [name, deliveries @ .., recovered] = row.as_slice() else {
            panic!("no cells")
        };
        let fate = fates.get(name.as_str());
        let fate = fate.unwrap_or_else(|| panic!("{name:?} is documented and not tested"));
        envoy.run(async |t| {
            let path = match fate {
                Fate::Route(path) => path,
                _ => WEBHOOK,
            };
            let request = form(path, &whatsapp());
            let mut got = Vec::new();
            for _ in deliveries {
                got.push(deliver(t, fate, &request).await);
            }
            assert_eq!(got, deliveries, "{name}");
            assert_eq!(recover(t, &request).await, *recovered, "{name}, and then");
        });
    }
}

#[test]
fn a_failure_after_a_sender_has_left_does_not_give_it_more_retries() {
    envoy().run(async |t| {
        let request = form(WEBHOOK, &whatsapp());
        for _ in 0..4 {
            assert_eq!(leave(t, &request).await, "none");
            // The last time the request counts as accepted, and is not passed on.
            t.upstream(Behaviour::Answer(500));
            let answer = t.send(&request).await;
            let expected = if t.received_count() < 7 { 500 } else { 409 };
            assert_eq!(answer.status, expected);
        }
        assert_eq!(t.received_count(), 7);
    });
}
