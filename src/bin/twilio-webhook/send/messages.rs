//! What Twilio sends: the parameters of each kind, in its order, and its headers.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use clap::ValueEnum;

/// The account of scripts/run, for a message that names none.
pub const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// An incoming WhatsApp message.
    Whatsapp,
    /// An incoming SMS.
    Sms,
    /// What became of a message that was sent.
    Status,
    /// A WhatsApp message that answers by a button.
    Button,
    /// A WhatsApp message with a location.
    Location,
    /// An incoming call.
    Voice,
    /// An event as JSON, its hash in the signed URL.
    Json,
    /// The handshake of a WebSocket.
    Websocket,
}

type Parameters = Vec<(String, String)>;

/// Returns the parameters of a message with new SIDs.
pub fn parameters(kind: Kind, account: &str) -> Parameters {
    let sid = sid("SM");
    let (from, to) = ("whatsapp:+15551234567", "whatsapp:+14155238886");
    let whatsapp = |kind: &str, body: &str| {
        pairs(&[
            ("SmsMessageSid", &sid),
            ("NumMedia", "0"),
            ("ProfileName", "Ana 🌮"),
            ("MessageType", kind),
            ("SmsSid", &sid),
            ("WaId", "15551234567"),
            ("SmsStatus", "received"),
            ("Body", body),
            ("To", to),
            ("NumSegments", "1"),
            ("ReferralNumMedia", "0"),
            ("MessageSid", &sid),
            ("AccountSid", account),
            (
                "ChannelMetadata",
                r#"{"type":"whatsapp","data":{"context":{"ProfileName":"Ana 🌮","WaId":"15551234567"}}}"#,
            ),
            ("From", from),
            ("ApiVersion", "2010-04-01"),
        ])
    };
    match kind {
        Kind::Whatsapp => whatsapp("text", "2 tacos al pastor, por favor"),
        Kind::Button => {
            let mut parameters = whatsapp("button", "Confirm order");
            parameters.extend(pairs(&[
                ("ButtonText", "Confirm order"),
                ("ButtonPayload", "confirm-order-4711"),
                ("OriginalRepliedMessageSid", &self::sid("MM")),
            ]));
            parameters
        }
        Kind::Location => {
            let mut parameters = whatsapp("location", "");
            parameters.extend(pairs(&[
                ("Latitude", "19.4326"),
                ("Longitude", "-99.1332"),
                ("Address", "Plaza de la Constitución, Ciudad de México"),
                ("Label", "Zócalo"),
            ]));
            parameters
        }
        Kind::Sms => pairs(&[
            ("ToCountry", "US"),
            ("ToState", "CA"),
            ("SmsMessageSid", &sid),
            ("NumMedia", "0"),
            ("ToCity", ""),
            ("FromZip", "94107"),
            ("SmsSid", &sid),
            ("FromState", "CA"),
            ("SmsStatus", "received"),
            ("FromCity", "SAN FRANCISCO"),
            ("Body", "2 tacos al pastor, please"),
            ("FromCountry", "US"),
            ("To", "+14155238886"),
            ("ToZip", ""),
            ("NumSegments", "1"),
            ("MessageSid", &sid),
            ("AccountSid", account),
            ("From", "+15551234567"),
            ("ApiVersion", "2010-04-01"),
        ]),
        Kind::Status => pairs(&[
            ("SmsSid", &sid),
            ("SmsStatus", "delivered"),
            ("MessageStatus", "delivered"),
            ("ChannelToAddress", "+1555123XXXX"),
            ("To", from),
            ("ChannelPrefix", "whatsapp"),
            ("MessageSid", &sid),
            ("AccountSid", account),
            ("From", to),
            ("ApiVersion", "2010-04-01"),
            ("ErrorCode", ""),
        ]),
        Kind::Voice => pairs(&[
            ("AccountSid", account),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", &self::sid("CA")),
            ("CallStatus", "ringing"),
            ("Called", "+14155238886"),
            ("CalledCity", ""),
            ("CalledCountry", "US"),
            ("CalledState", "CA"),
            ("CalledZip", ""),
            ("Caller", "+15551234567"),
            ("CallerCity", "SAN FRANCISCO"),
            ("CallerCountry", "US"),
            ("CallerState", "CA"),
            ("CallerZip", "94107"),
            ("Direction", "inbound"),
            ("From", "+15551234567"),
            ("FromCity", "SAN FRANCISCO"),
            ("FromCountry", "US"),
            ("FromState", "CA"),
            ("FromZip", "94107"),
            ("To", "+14155238886"),
            ("ToCity", ""),
            ("ToCountry", "US"),
            ("ToState", "CA"),
            ("ToZip", ""),
        ]),
        Kind::Json | Kind::Websocket => Vec::new(),
    }
}

/// Returns an event as Event Streams posts it.
pub fn event(account: &str) -> String {
    let id = sid("EZ");
    serde_json::json!([{
        "specversion": "1.0",
        "type": "com.twilio.messaging.message.delivered",
        "source": "/2010-04-01/Accounts/messages",
        "id": id,
        "data": {"accountSid": account, "messageSid": sid("SM"), "messageStatus": "DELIVERED"},
    }])
    .to_string()
}

/// Returns parameters with others set, those with a new name at the end. A name that is given twice
/// occurs twice.
pub fn with(mut parameters: Parameters, changes: &[(String, String)]) -> Parameters {
    let mut set: Vec<&str> = Vec::new();
    for (name, value) in changes {
        let own = parameters.iter_mut().find(|(own, _)| own == name);
        match own.filter(|_| !set.contains(&name.as_str())) {
            Some(own) => own.1.clone_from(value),
            None => parameters.push((name.clone(), value.clone())),
        }
        set.push(name);
    }
    // A message is called the same everywhere.
    if let Some((_, sid)) = changes.iter().find(|(name, _)| name == "MessageSid") {
        for (name, value) in &mut parameters {
            if name == "SmsSid" || name == "SmsMessageSid" {
                value.clone_from(sid);
            }
        }
    }
    parameters
}

/// Returns the headers that Twilio sends besides the signature's.
pub fn headers(kind: Kind) -> Vec<(&'static str, String)> {
    if kind == Kind::Websocket {
        return [
            ("user-agent", "Twilio.TmeWs/1.0"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into();
    }
    vec![
        ("user-agent", "TwilioProxy/1.1".into()),
        ("accept", "*/*".into()),
        ("i-twilio-idempotency-token", uuid()),
    ]
}

fn pairs(list: &[(&str, &str)]) -> Parameters {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    list.iter().map(owned).collect()
}

/// Returns a number that is another one each time.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Returns a SID: two letters and 32 hex digits.
fn sid(prefix: &str) -> String {
    format!("{prefix}{:016x}{:016x}", random(), random())
}

fn uuid() -> String {
    let (high, low) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xFFFF,
        high & 0xFFF,
        low >> 48 & 0xFFF,
        low & 0xFFFF_FFFF_FFFF
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_set_and_the_rest_is_a_whole_message() {
        let change = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let changes = [
            change("Body", "1"),
            change("Body", "2"),
            change("New", "3"),
            change("MessageSid", "SM1"),
        ];
        let message = with(parameters(Kind::Whatsapp, ACCOUNT), &changes);
        let values = |wanted: &str| -> Vec<&str> {
            let own = message.iter().filter(|(name, _)| name == wanted);
            own.map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(values("Body"), ["1", "2"]);
        assert_eq!(values("New"), ["3"]);
        assert_eq!(values("SmsSid"), ["SM1"]);
        assert_eq!(message.len(), 18);
        assert_eq!(sid("SM").len(), 34);
        assert_eq!(uuid().len(), 36);
        assert_ne!(uuid(), uuid());
    }
}
