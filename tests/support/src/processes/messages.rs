//! What Twilio sends, as in traffic that was seen: the parameters, their order, the headers.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::wire::Request;
use crate::signing;

pub const TOKEN: &str = "7c41d0a3b59f2e86c0d1f4a7b3e29586";
pub const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
/// A second account, a subaccount say, with two tokens: it is rotating them.
pub const OTHER_ACCOUNT: &str = "ACfedcba9876543210fedcba9876543210";
pub const OTHER_TOKENS: [&str; 2] = [
    "91b0c3d5e7f9a1b3c5d7e9f1a3b5c7d9",
    "28d6e4f2a0b8c6d4e2f0a8b6c4d2e0f8",
];
pub const ORIGIN: &str = "https://orders.example.com";
/// The one webhook that the ordering upstream has.
pub const WEBHOOK: &str = "/api/v1/whatsapp/webhook";
/// In every message; may show in no log and no rejection.
pub const PHONE: &str = "4915735998877";
pub const TEXT: &str = "zwei Pizza Margherita, bitte 🍕";

pub type Parameters = Vec<(String, String)>;

/// Two letters and 32 hexadecimal digits, never the same twice.
pub fn sid(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    static RUN: LazyLock<u128> = LazyLock::new(|| now().as_nanos());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}{:08x}{:024x}", count, *RUN & ((1 << 96) - 1))
}

pub fn now() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970")
}

pub fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Parameters {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A WhatsApp message, in the order in which Twilio sends its parameters.
pub fn whatsapp() -> Parameters {
    let sid = sid("SM");
    pairs([
        ("SmsMessageSid", &sid),
        ("NumMedia", "0"),
        ("ProfileName", "Jörg 🌮 & Söhne"),
        ("MessageType", "text"),
        ("SmsSid", &sid),
        ("WaId", PHONE),
        ("SmsStatus", "received"),
        ("Body", TEXT),
        ("To", "whatsapp:+14155238886"),
        ("NumSegments", "1"),
        ("ReferralNumMedia", "0"),
        ("MessageSid", &sid),
        ("AccountSid", ACCOUNT),
        (
            "ChannelMetadata",
            r#"{"type":"whatsapp","data":{"context":{"ProfileName":"Jörg 🌮 & Söhne"}}}"#,
        ),
        ("From", &format!("whatsapp:+{PHONE}")),
        ("ApiVersion", "2010-04-01"),
    ])
}

/// What became of a message that was sent; `status` is the only thing that changes between two of them.
pub fn status_callback(message: &str, status: &str) -> Parameters {
    pairs([
        ("SmsSid", message),
        ("SmsStatus", status),
        ("MessageStatus", status),
        ("ChannelToAddress", &format!("+{PHONE}")),
        ("To", &format!("whatsapp:+{PHONE}")),
        ("ChannelPrefix", "whatsapp"),
        ("MessageSid", message),
        ("AccountSid", ACCOUNT),
        ("From", "whatsapp:+14155238886"),
        ("ApiVersion", "2010-04-01"),
        ("ErrorCode", ""),
    ])
}

pub fn value<'a>(parameters: &'a Parameters, name: &str) -> &'a str {
    &parameters
        .iter()
        .find(|(other, _)| other == name)
        .expect("that parameter")
        .1
}

/// The same parameters with another value for one of them, or with one more.
pub fn set(mut parameters: Parameters, name: &str, value: &str) -> Parameters {
    match parameters.iter_mut().find(|(other, _)| other == name) {
        Some(pair) => value.clone_into(&mut pair.1),
        None => parameters.push((name.to_owned(), value.to_owned())),
    }
    parameters
}

/// Percent-encoded as Twilio does it: `+` for a space, upper-case digits, letters, digits and `-._*` as they are.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'-' | b'.' | b'_' | b'*' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                escaped.push(char::from(byte))
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

pub fn encode(parameters: &Parameters) -> String {
    let pair = |(name, value): &(String, String)| format!("{}={}", escape(name), escape(value));
    parameters.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// A request with Twilio's headers and no signature.
pub fn unsigned(method: &str, target: &str) -> Request {
    Request::new(method, target)
        .header("user-agent", "TwilioProxy/1.1")
        .header("accept", "*/*")
        .header(
            "i-twilio-idempotency-token",
            "7d1b8c66-6f0a-4c5e-9c7a-0d5c1e5b7a10",
        )
}

/// A form as Twilio posts it, with a signature that `token` made for `url`.
pub fn form_for(token: &str, url: &str, target: &str, parameters: &Parameters) -> Request {
    unsigned("POST", target)
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .header("x-twilio-signature", signing::sign(token, url, parameters))
        .body(encode(parameters))
}

/// A form to `path` (which may have a query), signed by `token`.
pub fn form_by(token: &str, path: &str, parameters: &Parameters) -> Request {
    form_for(token, &format!("{ORIGIN}{path}"), path, parameters)
}

/// A form to `path` (which may have a query), signed.
pub fn form(path: &str, parameters: &Parameters) -> Request {
    form_by(TOKEN, path, parameters)
}

/// A WhatsApp message with another value for one of its parameters, or with one more.
pub fn message_with(name: &str, value: &str) -> Request {
    form(WEBHOOK, &set(whatsapp(), name, value))
}

/// A signed WhatsApp message, another one with each call.
pub fn message() -> Request {
    form(WEBHOOK, &whatsapp())
}

/// JSON as Studio posts it: the query holds the hash of the body, and the URL is signed.
pub fn json(path: &str, body: &str) -> Request {
    let hash = signing::sha256_hex(body.as_bytes());
    hashed(
        &format!("{path}?bodySHA256={hash}"),
        "application/json",
        body,
    )
}

/// Any body with a signature over the URL alone.
pub fn hashed(target: &str, content_type: &str, body: &str) -> Request {
    unsigned("POST", target)
        .header("content-type", content_type)
        .header(
            "x-twilio-signature",
            signing::sign(TOKEN, &format!("{ORIGIN}{target}"), &[]),
        )
        .body(body)
}

/// A signed request without a body.
pub fn bare(method: &str, target: &str) -> Request {
    unsigned(method, target).header(
        "x-twilio-signature",
        signing::sign(TOKEN, &format!("{ORIGIN}{target}"), &[]),
    )
}

/// The same request with a signature by somebody who does not have the token.
pub fn forged(parameters: &Parameters) -> Request {
    form_by("0123456789abcdef0123456789abcdef", WEBHOOK, parameters)
}
