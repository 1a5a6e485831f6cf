use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, plugin};
use support::envoy::new_address;
use support::http1::Http1;
use support::http2::{Framing, Http2};
use support::messages::{Parameters, WEBHOOK, encode, form, whatsapp};
use support::rule;
use support::size;
use support::wire::Request;

/// Every byte as `%xx`.
fn everything(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Everything that can be changed about a request without its signature being wrong.
fn spellings(parameters: &Parameters) -> Vec<Request> {
    let request = form(WEBHOOK, parameters);
    let body = encode(parameters);
    let (mut reversed, mut sorted) = (parameters.clone(), parameters.clone());
    reversed.reverse();
    sorted.sort();
    let pair =
        |(name, value): &(String, String)| format!("{}={}", everything(name), everything(value));
    let escaped: Vec<_> = parameters.iter().map(pair).collect();
    let bodies = [
        encode(&reversed),
        encode(&sorted),
        escaped.join("&"),
        body.replace('+', "%20"),
        body.replace("%40", "@").replace("%3A", ":"),
        body.replace("SmsStatus", "%53msStatus"),
        format!("&{body}&&"),
        // Of a name's values only the distinct ones are signed.
        format!("{body}&{body}"),
    ];
    let mut all = vec![request.clone(); 4];
    all.extend(bodies.iter().map(|body| request.clone().body(body)));
    let mut backwards = request.clone();
    backwards.headers.reverse();
    all.extend([
        backwards,
        request.clone().with("host", "orders.example.com:443"),
        request.clone().with("host", "evil.example"),
        request
            .clone()
            .header("x-forwarded-host", "evil.example:8443"),
        request.clone().with("user-agent", "curl/8"),
        request
            .clone()
            .with("i-twilio-idempotency-token", "another"),
        request
            .clone()
            .with("content-type", "application/x-www-form-urlencoded"),
        request.clone().with(
            "content-type",
            "Application/X-WWW-Form-Urlencoded;charset=UTF-8",
        ),
        request.clone().header("x-twilio-webhook-verified", "true"),
        request.header("x-request-id", "7d1b8c66-6f0a-4c5e-9c7a-0d5c1e5b7a10"),
    ]);
    all
}

#[test]
fn whoever_has_captured_a_request_gets_one_of_all_its_spellings_through_all_envoys() {
    // With an early limit, too: then they overtake each other at two places.
    for rules in [json!([]), json!([rule("client_ip", "all", 1000, "60s")])] {
        let plugin = plugin(json!({"rate_limits": rules}));
        Replicas::of(3, |setup| setup.workers(2), &plugin).run(async |replicas| {
            replicas.recovered().await;
            let slow = Duration::from_millis(120);
            let mut all: BTreeMap<(u16, String), usize> = BTreeMap::new();
            for round in 0..size("REPLICAS_ATTACKS", 1) as usize {
                let ways = [Way::Open, Way::LateAnswer(slow), Way::LateRequest(slow)];
                for (index, way) in ways.into_iter().enumerate() {
                    replicas.proxy.set(way);
                    let (asked, arrived) = (replicas.proxy.settled().await, replicas.accepted());
                    let parameters = whatsapp();
                    let mut answers = JoinSet::new();
                    // The request itself; and while it is being asked for, everything else.
                    let captured = form(WEBHOOK, &parameters);
                    let victim = replicas.envoys[(round + index) % 3].address();
                    answers.spawn(async move {
                        Http1::connect(victim, new_address())
                            .await
                            .send(&captured)
                            .await
                    });
                    while replicas.proxy.count() == asked {
                        tokio::time::sleep(Duration::from_micros(200)).await;
                    }
                    for envoy in &replicas.envoys {
                        let address = envoy.address();
                        for request in spellings(&parameters) {
                            let again = request.clone();
                            answers.spawn(async move {
                                let mut client = Http1::connect(address, new_address()).await;
                                client.send(&request).await
                            });
                            answers.spawn(async move {
                                let mut client = Http2::connect(address, new_address()).await;
                                let framing = Framing::pieces(300).trailers(("x-trailer", "1"));
                                client.send(&again, framing).await
                            });
                        }
                    }
                    let answers = answers.join_all().await;
                    let passed = answers.iter().filter(|answer| answer.status == 200).count();
                    for answer in &answers {
                        *all.entry((answer.status, answer.reason())).or_default() += 1;
                    }
                    assert_eq!(passed, 1, "{way:?}: {all:?}");
                    assert_eq!(replicas.accepted() - arrived, 1, "{way:?}");
                    replicas.proxy.set(Way::Open);
                }
            }
            println!("{all:?}");
            let allowed = [(200, ""), (409, "duplicate"), (400, "malformed_body")];
            for (status, reason) in all.keys() {
                assert!(allowed.contains(&(*status, reason.as_str())), "{all:?}");
            }
            // Nothing of it was for nothing: most spellings are the same request.
            assert!(all[&(409, "duplicate".to_owned())] > 100, "{all:?}");
        });
    }
}
