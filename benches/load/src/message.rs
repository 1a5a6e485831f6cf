//! WhatsApp messages as Twilio sends them, each a different one, ready to be written to a connection.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::Serializer;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha1::Sha1;

/// What a message is about, but for what makes it different from every other. Twenty parameters.
const PARAMETERS: [(&str, &str); 20] = [
    ("SmsMessageSid", SID),
    ("NumMedia", "0"),
    ("ProfileName", "Ana María 🌮"),
    ("MessageType", "text"),
    ("SmsSid", SID),
    ("WaId", "5215512345678"),
    ("SmsStatus", "received"),
    (
        "Body",
        "Two al pastor, one suadero & a large horchata, please! 🌮🌮",
    ),
    ("To", "whatsapp:+14155238886"),
    ("NumSegments", "1"),
    ("ReferralNumMedia", "0"),
    ("MessageSid", SID),
    ("AccountSid", ACCOUNT),
    (
        "ChannelMetadata",
        r#"{"type":"whatsapp","data":{"context":{"ProfileName":"Ana","WaId":"5215512345678"}}}"#,
    ),
    ("From", "whatsapp:+5215512345678"),
    ("ApiVersion", "2010-04-01"),
    ("ButtonText", "Confirm order"),
    ("ButtonPayload", "confirm-order-no-4711"),
    ("OriginalRepliedMessageSid", ""),
    ("Label", "Home"),
];

/// Where the message's own SID stands, and the account's.
const SID: &str = "<sid>";
const ACCOUNT: &str = "<account>";

/// A message of another size would be another measurement.
const BODY_BYTES: usize = 755;

/// What is sent.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Signed,
    /// Signed with another token.
    Forged,
    /// Without a signature.
    Unsigned,
    /// A health check and no message.
    Probe,
}

/// Who signs, and for which URL.
#[derive(Deserialize)]
pub(crate) struct Account {
    pub(crate) sid: String,
    pub(crate) token: String,
    /// As it is configured at Twilio.
    pub(crate) url: String,
}

/// Appends message number `number` to `wire`: the same number is the same message.
pub(crate) fn write(account: &Account, kind: Kind, number: u64, wire: &mut Vec<u8>) {
    if matches!(kind, Kind::Probe) {
        return wire.extend_from_slice(b"GET /healthz HTTP/1.1\r\nhost: probe\r\n\r\n");
    }
    let sid = format!("SM{number:032x}");
    let mut parameters = PARAMETERS.map(|(name, value)| match value {
        SID => (name, sid.as_str()),
        ACCOUNT => (name, account.sid.as_str()),
        _ => (name, value),
    });
    let body = Serializer::new(String::with_capacity(BODY_BYTES))
        .extend_pairs(parameters)
        .finish();
    assert_eq!(body.len(), BODY_BYTES, "{body}");

    let (host, path) = account
        .url
        .strip_prefix("https://")
        .and_then(|rest| rest.split_once('/'))
        .expect("https://host/path");
    wire.extend_from_slice(
        format!(
            "POST /{path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: TwilioProxy/1.1\r\naccept: */*\r\n\
             i-twilio-idempotency-token: 01234567-89ab-4def-8123-{:012x}\r\n\
             content-type: application/x-www-form-urlencoded; charset=utf-8\r\n\
             content-length: {}\r\n",
            number & 0xffff_ffff_ffff,
            body.len()
        )
        .as_bytes(),
    );
    parameters.sort_unstable();
    let signed: String = [account.url.as_str()]
        .into_iter()
        .chain(parameters.iter().flat_map(|(name, value)| [*name, *value]))
        .collect();
    let signature = match kind {
        Kind::Signed => Some(signature(&account.token, &signed)),
        Kind::Forged => Some(signature("not the token", &signed)),
        Kind::Unsigned | Kind::Probe => None,
    };
    if let Some(signature) = signature {
        wire.extend_from_slice(format!("x-twilio-signature: {signature}\r\n").as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    wire.extend_from_slice(body.as_bytes());
}

fn signature(token: &str, signed: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).expect("a key of any length");
    mac.update(signed.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
