use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{official, parameters, text};
use support::envoy::{Setup, connection_manager, listener, plugin_config};
use support::messages::{ACCOUNT, encode, unsigned};
use support::tap::Behaviour;
use support::wire::Request;
use support::{assert_passed, assert_rejected};

/// Origin and path of a URL, and path with query as it goes into a request.
fn split(url: &str) -> (String, String, String) {
    let authority = url.find("://").expect("a scheme") + 3;
    let path = authority + url[authority..].find('/').expect("a path");
    let query = url.find('?').unwrap_or(url.len());
    (
        url[..query].to_owned(),
        url[path..query].to_owned(),
        url[path..].to_owned(),
    )
}

/// Why a case cannot be sent through a proxy.
fn unsendable(case: &Value) -> Option<&'static str> {
    let url = case["url"].as_str().expect("a URL");
    (!url.is_ascii()).then_some("bytes above 127 cannot be in a request line")
}

fn request(case: &Value, target: &str) -> Request {
    let request = unsigned(case["method"].as_str().expect("a method"), target)
        .header("x-twilio-signature", text(&case["signature"]));
    let parameters = parameters(case);
    match case["body"].as_str() {
        Some(body) => request
            .header("content-type", text(&case["content_type"]))
            .body(body),
        None if parameters.is_empty() => request,
        None => request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encode(&parameters)),
    }
}

/// What the filter says to each invalid case.
fn reason(case: &Value) -> &'static str {
    let signature = text(&case["signature"]);
    match case["body"].as_str() {
        Some(body) if body.contains("does not match") => "body_hash_mismatch",
        Some(_) => "unsigned_body",
        None if signature.is_empty() => "missing_signature",
        None if signature.len() == 28 => "invalid_signature",
        None => "malformed_signature",
    }
}

#[test]
fn of_the_51_official_cases_50_get_through_envoy_to_the_verdict_that_twilio_published() {
    // A listener for each token and URL, all in one Envoy, each with shared data of its own: several cases have
    // the same signature, and would be repeats of each other.
    let mut groups: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    let mut skipped = Vec::new();
    for case in official() {
        match unsendable(&case) {
            Some(reason) => skipped.push((text(&case["source"]), reason)),
            None => {
                let (url, ..) = split(case["url"].as_str().expect("a URL"));
                groups
                    .entry((text(&case["token"]), url))
                    .or_default()
                    .push(case);
            }
        }
    }
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    let keys: Vec<_> = groups.keys().cloned().collect();
    let setup = Setup::with(&support::envoy::plugin()).edit(move |config| {
        let original = listener(config).clone();
        for (index, (token, url)) in keys.into_iter().enumerate() {
            let mut listener = original.clone();
            listener["name"] = json!(format!("vectors-{index}"));
            connection_manager(&mut listener)["stat_prefix"] = json!(format!("vectors-{index}"));
            let plugin = plugin_config(&mut listener);
            plugin["vm_config"]["vm_id"] = json!(format!("vectors-{index}"));
            let (_, path, _) = split(&url);
            let value = json!({
                "accounts": [{"account_sid": ACCOUNT, "auth_tokens": [token]}],
                "webhooks": [{"path": path, "url": url}],
                "rate_limits": [],
            });
            plugin["configuration"]["value"] = json!(value.to_string());
            config["static_resources"]["listeners"]
                .as_array_mut()
                .expect("a list")
                .push(listener);
        }
    });
    setup.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let (mut passed, mut rejected, mut wrong) = (0, 0, Vec::new());
        for (index, cases) in groups.values().enumerate() {
            // The invalid ones first: some carry a signature that a valid one has too, and 409 is no verdict.
            let (valid, invalid): (Vec<_>, Vec<_>) =
                cases.iter().partition(|case| case["valid"] == true);
            for case in invalid.into_iter().chain(valid) {
                let before = t.received_count();
                let (_, _, target) = split(case["url"].as_str().expect("a URL"));
                let answer = t
                    .send_to(&format!("vectors-{index}"), &request(case, &target))
                    .await;
                let expected = if case["valid"] == true {
                    ""
                } else {
                    reason(case)
                };
                let got = answer.reason();
                // An empty header is as good as none, or as bad as any that is not base64.
                let same = got == expected
                    || (expected == "missing_signature" && got == "malformed_signature");
                if !same || (answer.status == 200) != (case["valid"] == true) {
                    wrong.push(format!("{} {}, {case}", answer.status, answer.text()));
                } else if case["valid"] == true {
                    assert_passed(&answer);
                    assert_eq!(t.received_count(), before + 1);
                    passed += 1;
                } else {
                    assert_rejected(&answer, &got);
                    assert_eq!(t.received_count(), before);
                    rejected += 1;
                }
            }
        }
        assert!(
            wrong.is_empty(),
            "{} wrong:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        assert_eq!((passed, rejected), (37, 13));
    });
}
