use std::sync::Mutex;
use std::time::{Duration, Instant};

use support::messages::{
    self, ORIGIN, OTHER_ACCOUNT, Parameters, TOKEN, WEBHOOK, encode, set, sid, unsigned, whatsapp,
};
use support::signing::{base64, hmac_sha1, sha256_hex, string_to_sign};
use support::wire::Request;

use crate::upstream::short;

/// A signed request, and the nonce that the filter must make of it.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) request: Request,
    pub(crate) nonce: u64,
}

/// As `signing::sign`, which remembers each signature for as long as the tests run, and these are millions.
fn sign(token: &str, url: &str, parameters: &Parameters) -> String {
    let message = string_to_sign(url, parameters);
    base64(&hmac_sha1(token.as_bytes(), message.as_bytes()))
}

fn order(request: Request, token: &str, url: &str, parameters: &Parameters) -> Order {
    let signature = sign(token, url, parameters);
    Order {
        nonce: short(&sha256_hex(signature.as_bytes())),
        request: request.header("x-twilio-signature", signature),
    }
}

/// A form with a signature by who has this token.
pub(crate) fn form(path: &str, token: &str, parameters: &Parameters) -> Order {
    let request = unsigned("POST", path)
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .body(encode(parameters));
    order(request, token, &format!("{ORIGIN}{path}"), parameters)
}

/// A signed WhatsApp message, another one with each call.
pub(crate) fn message() -> Order {
    form(WEBHOOK, TOKEN, &whatsapp())
}

/// A signed request without parameters in its body.
fn bare(method: &str, target: &str) -> Order {
    let url = format!("{ORIGIN}{target}");
    order(unsigned(method, target), TOKEN, &url, &Vec::new())
}

/// A status callback by GET.
pub(crate) fn status() -> Order {
    bare("GET", &format!("/voice/status?CallSid={}", sid("CA")))
}

/// JSON as Studio posts it.
pub(crate) fn json() -> Order {
    let body = format!(r#"{{"flow": "{}"}}"#, sid("FW"));
    hashed(&body, &body)
}

fn hashed(signed: &str, body: &str) -> Order {
    let hash = sha256_hex(signed.as_bytes());
    let order = bare("POST", &format!("/studio/flow?bodySHA256={hash}"));
    let request = order.request.header("content-type", "application/json");
    Order {
        request: request.body(body),
        ..order
    }
}

/// A WebSocket handshake as Media Streams does it.
pub(crate) fn handshake() -> Order {
    let target = format!("/voice/stream?CallSid={}", sid("CA"));
    let url = format!("{}{target}", ORIGIN.replace("https", "wss"));
    let request = unsigned("GET", &target)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    order(request, TOKEN, &url, &Vec::new())
}

/// The webhook with a rate limit, and how many each address may send it in all.
pub(crate) const LIMITED: &str = "/limited";
pub(crate) const LIMIT: u64 = 50;

/// From the one address that floods.
pub(crate) fn flood() -> Order {
    let order = form(LIMITED, TOKEN, &whatsapp());
    Order {
        request: order.request.header("x-forwarded-for", "198.51.100.1"),
        ..order
    }
}

/// What is always rejected, each with its answer.
const ODD: [&str; 18] = [
    "unknown_webhook",
    "method_not_allowed",
    "target_too_long",
    "missing_signature",
    "malformed_signature",
    "stale_timestamp",
    "stale_timestamp",
    "future_timestamp",
    "malformed_timestamp",
    "missing_timestamp",
    "body_too_large",
    "unsigned_body",
    "malformed_body",
    "invalid_signature",
    "invalid_signature",
    "invalid_signature",
    "body_hash_mismatch",
    "account_mismatch",
];

/// The reasons of what is rejected, whatever came before it; some more often than others.
pub(crate) fn rejected(draw: usize) -> (&'static str, u16, Request) {
    const HEADER: &str = "x-twilio-request-timestamp";
    let index = draw % ODD.len();
    let reason = ODD[index];
    let message = || message().request;
    let (status, request) = match reason {
        "unknown_webhook" => (404, unsigned("GET", "/api/v1//whatsapp/webhook")),
        "method_not_allowed" => (405, bare("DELETE", WEBHOOK).request),
        "target_too_long" => {
            let target = format!("{WEBHOOK}?{}", "q".repeat(16_384));
            (414, unsigned("POST", &target))
        }
        "missing_signature" => {
            // From an address of its own, of very many: the counters of a flood.
            let [.., a, b, c] = (draw as u32 % 100_000).to_be_bytes();
            let request = unsigned("POST", LIMITED);
            let request = request.header("x-forwarded-for", format!("10.{a}.{b}.{c}"));
            (403, request)
        }
        "malformed_signature" => (403, message().with("x-twilio-signature", "x")),
        // Once by a header and once by what is signed.
        "stale_timestamp" if index % 2 == 1 => (400, message().header(HEADER, "1")),
        "stale_timestamp" => {
            let form = form(WEBHOOK, TOKEN, &set(whatsapp(), "Timestamp", "1700000000"));
            (400, form.request)
        }
        "future_timestamp" => {
            let tomorrow = (messages::now().as_secs() + 86_400).to_string();
            (400, message().header(HEADER, tomorrow))
        }
        "malformed_timestamp" => (400, message().header(HEADER, "soon")),
        "missing_timestamp" => (400, form("/strict", TOKEN, &whatsapp()).request),
        "body_too_large" => {
            let large = set(whatsapp(), "Body", &"x".repeat(70_000));
            (413, form(WEBHOOK, TOKEN, &large).request)
        }
        "unsigned_body" => (403, message().with("content-type", "text/plain")),
        "malformed_body" => (400, message().header("content-encoding", "gzip")),
        "invalid_signature" => {
            let token = "0123456789abcdef0123456789abcdef";
            (403, form(WEBHOOK, token, &whatsapp()).request)
        }
        "body_hash_mismatch" => (403, hashed(r#"{"a": 1}"#, r#"{"a": 2}"#).request),
        "account_mismatch" => {
            let other = set(whatsapp(), "AccountSid", OTHER_ACCOUNT);
            (403, form(WEBHOOK, TOKEN, &other).request)
        }
        other => panic!("{other} is not made"),
    };
    (reason, status, request)
}

/// What was accepted a moment ago, to be sent again.
#[derive(Default)]
pub(crate) struct Captured(Mutex<Vec<(Instant, Order)>>);

impl Captured {
    pub(crate) fn add(&self, order: Order, draw: usize) {
        let mut captured = self.0.lock().expect("nobody panics with it");
        let entry = (Instant::now(), order);
        if captured.len() < 512 {
            captured.push(entry);
        } else {
            captured[draw % 512] = entry;
        }
    }

    /// One that the filter must still remember.
    pub(crate) fn any(&self, draw: usize) -> Option<Order> {
        let captured = self.0.lock().expect("nobody panics with it");
        let (at, order) = captured.get(draw % captured.len().max(1))?;
        (at.elapsed() < Duration::from_secs(4)).then(|| order.clone())
    }
}
