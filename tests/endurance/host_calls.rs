use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use twilio_webhook_filter::Reason;

use crate::load::admin_post;
use support::envoy::{Envoy, Setup, Test, plugin, plugin_with};
use support::filter_host::{FilterHost, only};
use support::messages::{
    self, OTHER_ACCOUNT, WEBHOOK, bare, forged, form, message, set, sid, unsigned, whatsapp,
};
use support::process::until;
use support::rule;
use support::tables::publish;
use support::tap::Behaviour;
use support::wire::Request;

/// What goes before the request whose calls are counted.
enum Before {
    Nothing,
    /// The same request, accepted.
    Itself,
    /// A second in which nothing else is explained to the operator, of which few a second are.
    ASecond,
    /// Another one, accepted.
    Another,
}

/// A line of the table.
struct Case {
    name: &'static str,
    /// The most calls that it may take.
    budget: usize,
    request: Request,
    before: Before,
    upstream: Behaviour,
}

fn case(name: &'static str, budget: usize, request: Request) -> Case {
    Case {
        name,
        budget,
        request,
        before: Before::Nothing,
        upstream: Behaviour::Answer(200),
    }
}

/// The sender of this leaves once the upstream has it.
const SENDER_LEAVES: &str = "accepted, and the sender leaves";

/// With the configuration as it is by default.
fn default_cases() -> Vec<Case> {
    let header = "x-twilio-request-timestamp";
    let tomorrow = (messages::now().as_secs() + 86_400).to_string();
    let hashed = messages::json("/studio/flow", r#"{"a": 1}"#);
    let for_another = set(whatsapp(), "AccountSid", OTHER_ACCOUNT);
    let large = set(whatsapp(), "Body", &"x".repeat(70_000));
    vec![
        case("accepted", 17, message()),
        case(
            "accepted, without a body",
            15,
            bare("GET", &format!("/voice/status?CallSid={}", sid("CA"))),
        ),
        Case {
            upstream: Behaviour::Answer(500),
            ..case("accepted, and the upstream fails", 22, message())
        },
        Case {
            upstream: Behaviour::Silence,
            ..case(SENDER_LEAVES, 20, message())
        },
        case("exempt", 5, unsigned("GET", "/public/menu")),
        case("unknown_webhook", 7, unsigned("GET", "/elsewhere")),
        case("method_not_allowed", 7, bare("DELETE", WEBHOOK)),
        case(
            "target_too_long",
            7,
            bare("POST", &format!("{WEBHOOK}?{}", "q".repeat(16_384))),
        ),
        case("missing_signature", 9, unsigned("POST", WEBHOOK)),
        case(
            "malformed_signature",
            9,
            message().with("x-twilio-signature", "x"),
        ),
        case("stale_timestamp", 9, message().header(header, "1")),
        case("future_timestamp", 9, message().header(header, tomorrow)),
        case("malformed_timestamp", 9, message().header(header, "soon")),
        case("missing_timestamp", 13, form("/strict", &whatsapp())),
        case("body_too_large", 11, form(WEBHOOK, &large)),
        Case {
            before: Before::ASecond,
            ..case(
                "unsigned_body",
                16,
                message().with("content-type", "text/plain"),
            )
        },
        case(
            "malformed_body",
            12,
            message().header("content-encoding", "gzip"),
        ),
        Case {
            before: Before::ASecond,
            ..case("invalid_signature", 16, forged(&whatsapp()))
        },
        Case {
            before: Before::ASecond,
            ..case("body_hash_mismatch", 16, hashed.body(r#"{"a": 2}"#))
        },
        case("account_mismatch", 13, form(WEBHOOK, &for_another)),
        Case {
            before: Before::Itself,
            ..case("duplicate", 14, message())
        },
    ]
}

/// Calls of the host, in order, for a request that goes through alone.
async fn calls(t: &Test<'_>, case: &Case) -> Vec<String> {
    t.upstream(Behaviour::Answer(200));
    match case.before {
        Before::Nothing => {}
        Before::Itself => drop(t.send(&case.request).await),
        Before::ASecond => tokio::time::sleep(Duration::from_millis(1001)).await,
        Before::Another => drop(t.send(&message()).await),
    }
    t.upstream(case.upstream.clone());
    admin_post(t.envoy.admin, "/logging?wasm=trace");
    let from = t.log().len();
    let mut connection = t.http1().await;
    if case.name == SENDER_LEAVES {
        connection.write(&case.request.bytes()).await;
        t.wait_for_received(1).await;
        drop(connection);
    } else {
        let answer = connection.send(&case.request).await;
        // What passed has no reason, and an acknowledged duplicate shows none.
        let is_rejected = Reason::ALL.iter().any(|reason| reason.name() == case.name);
        let reason = if is_rejected { case.name } else { "" };
        assert_eq!(answer.reason(), reason, "{}: {answer:?}", case.name);
    }
    // The first thing that Envoy tells the filter of a request, and the last.
    let trace = until(case.name, async || {
        let log = t.log();
        let trace = log.get(from..).unwrap_or_default();
        let created = trace.split_once("[host->vm] proxy_on_context_create(");
        let context = created.and_then(|(_, rest)| rest.split(',').next());
        let over = context.map(|context| format!("[host->vm] proxy_on_delete({context})"));
        trace.contains(&over?).then(|| trace.to_owned())
    })
    .await;
    admin_post(t.envoy.admin, "/logging?wasm=info");
    let call = |line: &str| {
        let (_, call) = line.split_once("[vm->host] ")?;
        let (function, _) = call.split_once('(')?;
        let (_, name) = function.split_once('.')?;
        Some(name.trim_start_matches("proxy_").to_owned())
    };
    trace.lines().filter_map(call).collect()
}

/// As the table has it: what is called several times in a row stands there once.
fn in_words(calls: &[String]) -> String {
    let mut words = String::new();
    for run in calls.chunk_by(|left, right| left == right) {
        let comma = if words.is_empty() { "" } else { ", " };
        let _ = write!(words, "{comma}{}", run[0]);
        if run.len() > 1 {
            let _ = write!(words, " ×{}", run.len());
        }
    }
    words
}

fn with_replay(replay: &Value) -> Value {
    plugin_with(json!({"replay": replay}))
}

#[test]
fn each_request_stays_within_its_budget_of_calls_of_the_host() {
    if !only(FilterHost::Wasm, "Trace of calls") {
        return;
    }
    // One worker: what is in the trace belongs to the one request that is under way.
    let start = |plugin: &Value| -> Envoy { Setup::with(plugin).workers(1).start() };
    let runs = [
        (start(&plugin()), default_cases()),
        (
            start(&plugin_with(
                json!({"rate_limits": [rule("client_ip", "all", 1, "600s")]}),
            )),
            vec![Case {
                before: Before::Another,
                ..case("rate_limited", 8, message())
            }],
        ),
        (
            start(&with_replay(&json!({"capacity": 1}))),
            vec![Case {
                before: Before::Another,
                ..case("store_full", 15, message())
            }],
        ),
        (
            start(&with_replay(&json!({"on_duplicate": "acknowledge"}))),
            vec![Case {
                before: Before::Itself,
                ..case("duplicate, acknowledged", 14, message())
            }],
        ),
        (
            Setup::changed(json!({"accounts": []}))
                .without_env("TWILIO_AUTH_TOKEN")
                .workers(1)
                .start(),
            vec![case("not_configured", 9, message())],
        ),
    ];
    let mut counted = Vec::new();
    for (envoy, cases) in &runs {
        // The first request of all also counts what happened when the VMs started, and the first
        // that is accepted tells the other workers that its key is right.
        envoy.run(async |t| drop(t.send(&message()).await));
        for case in cases {
            envoy.run(async |t| {
                let calls = calls(t, case).await;
                let Case { name, budget, .. } = case;
                assert!(
                    calls.len() <= *budget,
                    "{name}: more than {budget}: {calls:?}"
                );
                let cells = [
                    (*name).to_owned(),
                    calls.len().to_string(),
                    in_words(&calls),
                ];
                counted.push(cells.to_vec());
            });
        }
    }
    // These two take a store or an Envoy that does what it never should.
    let not_made_here = [Reason::StoreUnavailable, Reason::Internal];
    for reason in Reason::ALL
        .iter()
        .filter(|reason| !not_made_here.contains(reason))
    {
        let is_counted = counted.iter().any(|cells| cells[0] == reason.name());
        assert!(is_counted, "{}", reason.name());
    }
    publish("docs/memory.md", "host calls", &counted);
}
