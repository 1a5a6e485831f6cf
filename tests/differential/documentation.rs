//! The tables of `docs/signatures.md`, held against the code that they describe.

use serde_json::{Value, json};

use crate::exceptions::EXCEPTIONS;
use support::native::{Incoming, Native, accepts};
use support::reference::{Parts, signature};
use support::tables::table;

const DISAGREEMENTS: &str = include_str!("../vectors/library_disagreements.json");

#[test]
fn the_table_of_exceptions_in_the_documentation_is_the_one_in_the_code() {
    let documented = table(
        "docs/signatures.md",
        "Where the filter and the libraries disagree",
    );
    let in_code: Vec<Vec<String>> = EXCEPTIONS
        .iter()
        .map(|exception| vec![exception.name.to_owned(), exception.why.to_owned()])
        .collect();
    assert_eq!(documented, in_code);
}

/// What the filter says of a POST, or of a WebSocket handshake, that arrives as `requested`, is configured as
/// `configured`, and was signed as `signed`.
fn verdict(requested: &str, configured: &str, signed: &str, token: &str) -> &'static str {
    // A fragment is not sent.
    let sent = Parts::of(requested.split('#').next().unwrap_or_default());
    let path = if sent.path.is_empty() {
        "/"
    } else {
        &sent.path
    };
    let query = sent.query.as_ref().map(|query| format!("?{query}"));
    let target = format!("{path}{}", query.unwrap_or_default());
    let websocket = sent.scheme == "wss";
    let configuration = json!({
        "accounts": [{"auth_tokens": [token]}],
        "webhooks": [{"path": path, "url": configured, "methods": ["GET", "POST"]}],
        "rate_limits": [],
    });
    Native::new(&configuration).judge(&Incoming {
        method: if websocket { "GET" } else { "POST" },
        target: &target,
        websocket,
        content_type: None,
        settings: None,
        signature: &signature(false, token, signed, b""),
        body: b"",
    })
}

#[test]
fn of_the_38_disagreements_of_the_libraries_the_documentation_says_what_the_filter_does() {
    let documented = table(
        "docs/signatures.md",
        "The 38 requests on which the libraries disagree",
    );
    let cases: Vec<Value> = serde_json::from_str(DISAGREEMENTS).expect("JSON");
    assert_eq!((cases.len(), documented.len()), (38, 38));
    for (case, row) in cases.iter().zip(&documented) {
        let text = |name: &str| case[name].as_str().expect(name);
        let [name, libraries, ours, why, cure] = row.as_slice() else {
            panic!("five cells: {row:?}");
        };
        assert_eq!(name, text("case"));
        assert!(why.ends_with('.'), "{name}: a sentence");
        let (requested, signed, token) = (text("request_url"), text("signed_url"), text("token"));

        let opinions = [
            "node_6_2_0",
            "python_9_13_0",
            "java_head",
            "php_head",
            "ruby_head",
            "go_head",
        ];
        let accepting = opinions.iter().filter(|library| text(library) == "true");
        assert_eq!(libraries, &format!("{} of 6", accepting.count()), "{name}");

        let verdict_of = |configured| verdict(requested, configured, signed, token);
        let said = match verdict_of(requested) {
            verdict if accepts(verdict) => "accepts",
            "invalid_signature" => "rejects",
            other => panic!("{name}: {other}"),
        };
        assert_eq!(ours, said, "{name}");

        // What to do about it does help, and where there is nothing to do, that does not help either.
        let cured = accepts(verdict_of(signed));
        match cure.as_str() {
            "" => assert_eq!(said, "accepts", "{name}: what can be done?"),
            "the URL as signed" => assert!(said == "rejects" && cured, "{name}"),
            "none" => assert!(said == "rejects" && !cured, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}
