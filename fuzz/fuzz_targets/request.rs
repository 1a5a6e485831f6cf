//! Whole requests: what Twilio signed passes in every spelling, once; what it did not sign does not.
//!
//! Parameters are drawn, signed by the reference, spelled, and judged by the reference: not only what passes, but
//! also that it passes. Then they come again, respelled, and with one thing changed.
#![no_main]

use std::cell::Cell;

use apart::draw::Draw;
use apart::spelling;
use libfuzzer_sys::fuzz_target;
use support::contract::{
    Declared, Key, Must, Pair, Sent, Signer, Webhook, judge, mac, pairs, signed, split_target,
};
use support::decide::{self, Driver, NOW};
use support::signing::{base64, sha256_hex};
use twilio_webhook_filter::{Outcome, Reason, Timestamp};

const CONFIGURATION: &str = r#"{
    "accounts": [{"account_sid": "AC0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a", "auth_tokens": ["12345", "54321"]},
                 {"account_sid": "AC0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "auth_tokens": ["abcde"]}],
    "shared_keys": [{"id": "wsk_1", "secret": "67890"}],
    "webhooks": [{"path": "/hook", "url": "https://h.example/hook", "methods": ["POST", "GET", "DELETE"]},
                 {"path": "/query", "url": "https://h.example:8443/query?b=%272&a=x+y&c", "methods": ["POST", "GET"]},
                 {"path": "/user", "url": "http://u:p@h.example/user", "methods": ["GET", "HEAD"]},
                 {"path": "/in/*", "methods": ["PUT", "POST", "GET"], "max_parameters": 6},
                 {"path": "/lenient/*", "form": "lenient", "max_parameters": 8}],
    "public_base_url": "https://h.example/",
    "rate_limits": []
}"#;

/// The same once more, for the reference.
const WEBHOOKS: [Webhook; 5] = [
    Webhook {
        path: "/hook",
        methods: &["POST", "GET", "DELETE"],
        ..Webhook::USUAL
    },
    Webhook {
        path: "/query",
        own_query: Some("b=%272&a=x+y&c"),
        methods: &["POST", "GET"],
        ..Webhook::AT_8443
    },
    Webhook {
        path: "/user",
        origins: &[
            "http://u:p@h.example",
            "http://u:p@h.example:80",
            "http://h.example",
            "http://h.example:80",
        ],
        handshake_origins: &[
            "wss://u:p@h.example",
            "wss://u:p@h.example:443",
            "wss://u:p@h.example:80",
            "wss://h.example",
            "wss://h.example:443",
            "wss://h.example:80",
        ],
        methods: &["GET", "HEAD"],
        ..Webhook::PLAIN
    },
    Webhook {
        path: "/in/",
        methods: &["PUT", "POST", "GET"],
        most: 6,
        ..Webhook::USUAL
    },
    Webhook {
        path: "/lenient/",
        methods: &["POST"],
        lenient: true,
        most: 8,
        ..Webhook::USUAL
    },
];

const ACCOUNTS: [&str; 2] = [
    "AC0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
    "AC0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
];

const SIGNERS: [Signer; 4] = [
    Signer {
        key: Key::Token("12345"),
        id: None,
        account: Some(ACCOUNTS[0]),
    },
    Signer {
        key: Key::Token("54321"),
        id: None,
        account: Some(ACCOUNTS[0]),
    },
    Signer {
        key: Key::Token("abcde"),
        id: None,
        account: Some(ACCOUNTS[1]),
    },
    Signer {
        key: Key::Shared("67890"),
        id: Some("wsk_1"),
        account: None,
    },
];

/// What Twilio puts into nearly every request.
const IDENTIFIERS: [(&str, &str); 5] = [
    ("AccountSid", ACCOUNTS[0]),
    ("MessageSid", "SM0123456789abcdef0123456789ABCDEF"),
    ("SmsSid", "SM0123456789abcdef0123456789ABCDEF"),
    ("SmsMessageSid", "SM0123456789abcdef0123456789ABCDEF"),
    ("CallSid", "CA0123456789abcdef0123456789ABCDEF"),
];

/// Headers that mean something to the filter.
const NAMES: [&str; 10] = [
    "content-type",
    "content-encoding",
    "x-twilio-signature",
    "x-twilio-webhooks-signature-settings",
    "x-twilio-request-timestamp",
    "x-envoy-original-path",
    "connection",
    "upgrade",
    "content-length",
    "transfer-encoding",
];

thread_local! {
    // Reading the configuration takes longer than many requests.
    static DRIVER: Driver = Driver::without_environment(CONFIGURATION);
    static CLAIMS: Cell<u64> = const { Cell::new(0) };
}

fuzz_target!(|bytes: &[u8]| {
    let mut draw = Draw::new(bytes);
    let webhook = &WEBHOOKS[draw.below(WEBHOOKS.len())];
    let genuine = genuine(webhook, &mut draw);
    let mut all = vec![genuine.clone()];
    for _ in 0..=draw.below(3) {
        all.push(again(webhook, &genuine, &mut draw));
    }
    if draw.one_in(4) {
        // The changed one comes first.
        all.reverse();
    }

    let driver = DRIVER.with(Driver::emptied);
    let mut passed: Vec<&[u8]> = Vec::new();
    for sent in &all {
        let must = judge(webhook, &SIGNERS, sent, NOW.0);
        let is_repeat = !sent.handshake && passed.contains(&&sent.mac[..]);
        match outcome(&driver, sent, &mut draw) {
            Outcome::Accepted(accepted) => {
                assert_ne!(must, Must::BeRejected, "passed: {sent:?}");
                assert!(!is_repeat, "passed twice: {all:?}");
                assert_eq!(accepted.claim.is_none(), sent.handshake);
                passed.push(&sent.mac);
            }
            Outcome::Rejected(rejection) => {
                let reason = rejection.reason;
                assert_ne!(reason, Reason::Internal);
                let is_right = match must {
                    Must::Pass => is_repeat && reason == Reason::Duplicate,
                    Must::NotFail => true,
                    Must::BeRejected => reason != Reason::Duplicate,
                };
                assert!(is_right, "{reason:?}, {must:?}: {sent:?}");
            }
            other => panic!("{} at a webhook", other.name()),
        }
    }
    noise(&genuine, draw);
});

/// What Twilio would send, signed by the reference.
fn genuine(webhook: &Webhook, draw: &mut Draw<'_>) -> Sent {
    let handshake = draw.one_in(8) && webhook.methods.contains(&"GET");
    let method = if handshake {
        "GET"
    } else {
        draw.one_of(webhook.methods)
    };
    let mut parameters = draw.pairs(7);
    match draw.below(8) {
        0 => parameters.push((b"AccountSid".to_vec(), draw.one_of(&ACCOUNTS).into())),
        1 => {
            let when = NOW.0 as i64 / 1_000 - [0, 299, 300, 301, -30, -31][draw.below(6)];
            parameters.push((b"Timestamp".to_vec(), when.to_string().into_bytes()));
        }
        2 | 3 => {
            // Where it belongs, or written into another parameter.
            let (name, sid) = draw.one_of(&IDENTIFIERS);
            let pair = match draw.below(3) {
                0 => (
                    draw.text(1),
                    [&draw.text(1)[..], name.as_bytes(), sid.as_bytes()].concat(),
                ),
                1 => ([name, sid].concat().into_bytes(), draw.text(1)),
                _ => (name.into(), sid.into()),
            };
            parameters.push(pair);
        }
        _ => {}
    }
    let (declared, body) = match draw.below(8) {
        0 => (draw.one_of(&[Declared::Form, Declared::Other]), Vec::new()),
        1 => (Declared::Form, draw.text(40)),
        2 | 3 => (Declared::Other, draw.text(20)),
        _ => (Declared::Form, spelled(webhook, &parameters, draw)),
    };
    let body = if handshake { Vec::new() } else { body };
    let path = webhook.path;
    let below = if path.ends_with('/') {
        draw.one_of(&["", "a", "a/b/", "A%20b"])
    } else {
        ""
    };
    let path = [path, below].concat();

    let mut query = match draw.below(4) {
        0 => Some(draw.text(12)),
        1 => Some(spelling::strict(&draw.pairs(3), draw)),
        _ => None,
    };
    // What is sent is signed, but for a query whose own spelling is configured.
    let mut signed_query = None;
    if let Some(own) = webhook.own_query.filter(|_| !draw.one_in(4)) {
        let mut respelled: Vec<Pair> = pairs(own.as_bytes());
        draw.shuffle(&mut respelled);
        let mut one = |pair: &Pair| spelling::lenient(std::slice::from_ref(pair), draw);
        query = Some(
            respelled
                .iter()
                .map(&mut one)
                .collect::<Vec<_>>()
                .join(&b'&'),
        );
        signed_query = Some(own.as_bytes().to_vec());
    }
    if declared == Declared::Other && !draw.one_in(8) {
        let hash = match draw.below(8) {
            0 => sha256_hex(b""),
            1 => sha256_hex(b"{}"),
            2 => sha256_hex(&body).to_uppercase(),
            _ => sha256_hex(&body),
        };
        for query in [&mut query, &mut signed_query] {
            let before = query.take().filter(|query| !query.is_empty());
            let before = before
                .map(|query| [&query[..], b"&"].concat())
                .unwrap_or_default();
            *query = Some([&before[..], b"bodySHA256=", hash.as_bytes()].concat());
        }
        if draw.one_in(8) {
            // Not the last parameter.
            let behind = draw.one_of(&["&", "&z=", "&z=1"]);
            for query in [&mut query, &mut signed_query].into_iter().flatten() {
                query.extend(behind.bytes());
            }
        }
        if webhook.own_query.is_none() {
            signed_query = None;
        }
    }
    let with = |query: &Option<Vec<u8>>| {
        let query = query.as_ref().map(|query| [b"?", &query[..]].concat());
        [path.as_bytes(), &query.unwrap_or_default()].concat()
    };
    let target = with(&query);

    let origins = if handshake {
        webhook.handshake_origins
    } else {
        webhook.origins
    };
    let mut message = draw.one_of(origins).as_bytes().to_vec();
    match draw.below(4) {
        // The form that Twilio's SDKs for agents check.
        0 if handshake => {
            message.extend(path.bytes());
            message.extend(signed(&pairs(query.as_deref().unwrap_or_default())));
        }
        1 if handshake && !path.ends_with('/') => {
            message.extend([path.as_bytes(), b"/"].concat());
            message.extend(&with(&query)[path.len()..]);
        }
        _ => message.extend(with(if signed_query.is_some() {
            &signed_query
        } else {
            &query
        })),
    }
    if declared == Declared::Form && !body.is_empty() {
        message.extend(signed(&pairs(&body)));
    }
    let signer = &SIGNERS[draw.below(SIGNERS.len())];
    Sent {
        method,
        target,
        handshake,
        declared,
        body,
        mac: mac(signer.key, &message),
        names: signer.id,
    }
}

fn spelled(webhook: &Webhook, parameters: &[Pair], draw: &mut Draw<'_>) -> Vec<u8> {
    match webhook.lenient {
        true => spelling::lenient(parameters, draw),
        false => spelling::strict(parameters, draw),
    }
}

/// The same once more, respelled or with one thing changed. Its signature stays the same, but for one.
fn again(webhook: &Webhook, genuine: &Sent, draw: &mut Draw<'_>) -> Sent {
    let mut sent = genuine.clone();
    let is_form = sent.declared == Declared::Form && !sent.body.is_empty();
    match draw.below(16) {
        0 => {
            let index = draw.below(sent.mac.len());
            sent.mac[index] ^= draw.byte();
        }
        1 => sent.body = Vec::new(),
        2 => sent.body = draw.text(12),
        3 => sent.body.extend(draw.text(3)),
        4 if !sent.body.is_empty() => {
            let index = draw.below(sent.body.len().min(256));
            sent.body[index] = draw.text(1).first().copied().unwrap_or(b'&');
        }
        5 if !sent.handshake => sent.method = draw.one_of(webhook.methods),
        6 => {
            sent.declared = if is_form {
                Declared::Other
            } else {
                Declared::Form
            }
        }
        7 => {
            let from = split_target(&sent.target).0.len();
            sent.target.truncate(from);
            sent.target.extend([b"?", &draw.text(6)[..]].concat());
        }
        8 => sent.target.extend(draw.text(3)),
        9 if is_form => {
            // The parameters as a query, and a body of the sender's choice.
            let text = signed(&pairs(&sent.body));
            sent.target.extend(text);
            sent.declared = Declared::Other;
            sent.body = draw.text(6);
        }
        10 if is_form => {
            // A boundary moved.
            let mut parameters = pairs(&sent.body);
            let index = draw.below(parameters.len().max(1));
            if let Some((name, value)) = parameters.get_mut(index) {
                let both = [&name[..], value].concat();
                let cut = draw.below(both.len() + 1).min(both.len());
                (*name, *value) = (both[..cut].to_vec(), both[cut..].to_vec());
            }
            sent.body = spelled(webhook, &parameters, draw);
        }
        _ if is_form => {
            let parameters = pairs(&sent.body);
            sent.body = spelled(webhook, &parameters, draw);
        }
        _ => {}
    }
    let (path, query) = split_target(&sent.target);
    if let Some(own) = webhook.own_query
        && let Some(query) = query
        && draw.one_in(4)
    {
        let mut pieces: Vec<&[u8]> = query.split(|byte| *byte == b'&').collect();
        draw.shuffle(&mut pieces);
        let _ = own;
        sent.target = [path, b"?", &pieces.join(&b'&')].concat();
    }
    sent
}

fn outcome(driver: &Driver, sent: &Sent, draw: &mut Draw<'_>) -> Outcome {
    let signature = base64(&sent.mac);
    let settings = sent
        .names
        .map(|id| format!("key={id},algorithm=HMAC_SHA256"));
    let mut headers: Vec<(&[u8], &[u8])> = vec![
        (b":method", sent.method.as_bytes()),
        (b":path", &sent.target),
        (b"x-twilio-signature", signature.as_bytes()),
    ];
    if let Some(settings) = &settings {
        headers.push((b"x-twilio-webhooks-signature-settings", settings.as_bytes()));
    }
    if sent.handshake {
        headers.push((b"connection", b"Upgrade"));
        headers.push((b"upgrade", b"websocket"));
    } else {
        headers.push((
            b"content-type",
            match sent.declared {
                Declared::Form => b"application/x-www-form-urlencoded; charset=utf-8",
                Declared::Other => b"application/json",
            },
        ));
    }
    let explain = draw.one_in(16);
    decided(driver, &headers, &sent.body, explain)
}

/// What becomes of a request. What is rejected is explained, too, if that is wanted: it takes as long as a hundred
/// requests.
fn decided(driver: &Driver, headers: &[(&[u8], &[u8])], body: &[u8], explain: bool) -> Outcome {
    let claim = CLAIMS.get() + 1;
    CLAIMS.set(claim);
    let sent = decide::Sent {
        headers,
        client: "192.0.2.1:1",
        body,
    };
    let mut verdict = driver.decide(sent, claim, NOW);
    if explain {
        // So many a second are explained and no more, so each has a second of its own.
        driver.explain(&mut verdict, sent, Timestamp(NOW.0 + 1_000 * claim));
    }
    verdict.outcome
}

/// Whatever headers come along: without the right signature nothing passes, and with it once.
fn noise(genuine: &Sent, mut draw: Draw<'_>) {
    let count = draw.below(5);
    let drawn: Vec<(&str, Vec<u8>)> = (0..count)
        .map(|_| (draw.one_of(&NAMES), draw.text(12)))
        .collect();
    let is_signed = draw.one_in(2);
    let path = [&genuine.target[..], &draw.text(3)].concat();
    let signature = base64(&genuine.mac);
    let mut headers: Vec<(&[u8], &[u8])> =
        vec![(b":method", genuine.method.as_bytes()), (b":path", &path)];
    headers.extend(
        drawn
            .iter()
            .map(|(name, value)| (name.as_bytes(), &value[..])),
    );
    if is_signed {
        headers.push((b"x-twilio-signature", signature.as_bytes()));
    }
    let body = if draw.one_in(2) {
        &genuine.body[..]
    } else {
        draw.rest()
    };
    let driver = DRIVER.with(Driver::emptied);
    let outcome = || decided(&driver, &headers, body, false);
    match outcome() {
        Outcome::Accepted(accepted) => {
            assert!(is_signed, "nobody guesses a signature: {headers:?}");
            let again = outcome();
            let is_known = |rejection: &_| matches!(rejection, Outcome::Rejected(rejection) if rejection.reason == Reason::Duplicate);
            assert!(
                accepted.claim.is_none() || is_known(&again),
                "a repeat was {}",
                again.name()
            );
        }
        Outcome::Rejected(rejection) => assert_ne!(rejection.reason, Reason::Internal),
        other => panic!("{}, and nothing is exempt", other.name()),
    }
}
