//! The genuine requests: what Twilio sends, with text in it that somebody chose who knows how forms are read; and some
//! with names that Twilio does not use, since it may use others tomorrow.

use support::random::Random;

/// Name and value, not escaped.
pub(crate) type Parameter = (Vec<u8>, Vec<u8>);

/// What Twilio signs: the query, and the parameters of the form.
pub(crate) struct Genuine {
    pub(crate) query: Option<&'static str>,
    pub(crate) parameters: Vec<Parameter>,
}

/// What a sender may write. Cut up, much of it are names and values of its own.
const TEXTS: [&str; 24] = [
    "two tacos, please",
    "",
    "a=b&c=d;e=f",
    "100% of %41 and %zz, %u0041, %",
    "=50;off=1",
    "Jörg & Söhne, 東京 🌮",
    "cafe\u{301} | caf\u{e9}",
    "x[y]=1",
    "1Body[]2",
    "2Cost[usd]3",
    "a.b c.d",
    "1BodyX2BodyX3",
    "5__proto__6",
    "7constructor8",
    " leading and trailing ",
    "line\r\nbreak\ttab",
    "nul\0inside",
    "?shop=1&x=?",
    "2 tacosFromwhatsapp:+15551230000",
    "https://x.example/a?b=c#d",
    "{\"type\":\"order\",\"items\":[1,2]}",
    "++1+1++",
    "\u{FEFF}mark",
    ".defaults.submit",
];

/// Names that some reader takes for something else.
const ODD_NAMES: [&[u8]; 30] = [
    b"a[b]",
    b"a[b]",
    b"a[]",
    b"a[0]",
    b"a[b][c]",
    b"[]",
    b"[a]",
    b"a]b",
    b"a[b",
    b"a.b",
    b"a b",
    b" lead",
    b" lead",
    b" lead",
    b"",
    b"0",
    b"10",
    b"-1",
    b"__proto__",
    b"constructor",
    b"toString",
    b"length",
    b"a\0b",
    b"a%41",
    b".submit",
    b".defaults",
    b"_charset_",
    b"utf8",
    b"a\xFFb",
    b"caf\xC3\xA9",
];

/// Request number `index`; the number makes its identifiers its own.
pub(crate) fn genuine(random: &mut Random, index: u64) -> Genuine {
    let sid = |prefix: &str| format!("{prefix}{:032x}", u128::from(index) << 64 | 0x00DD_BA11);
    let text = random.pick(&TEXTS).as_bytes().to_vec();
    let mut parameters = match random.below(4) {
        0 => message(&sid("SM"), text),
        1 => whatsapp(&sid("SM"), text),
        2 => call(&sid("CA"), text),
        _ => status(&sid("SM"), text),
    };
    parameters.push(pair("AccountSid", ACCOUNT));
    if random.chance(30) {
        for _ in 0..=random.below(4) {
            let name = random.pick(&ODD_NAMES).to_vec();
            parameters.push((name, odd_value(random)));
        }
    }
    if random.chance(3) {
        parameters.push((b"LongName".repeat(15), b"long".to_vec()));
    }
    let query = random.chance(15).then_some("shop=1");
    Genuine { query, parameters }
}

const ACCOUNT: &str = "AC5ef872f6da5a21de157d80997a64bd33";

fn pair(name: &str, value: &str) -> Parameter {
    (name.as_bytes().to_vec(), value.as_bytes().to_vec())
}

fn odd_value(random: &mut Random) -> Vec<u8> {
    match random.below(5) {
        0 => Vec::new(),
        1 => (0..1 + random.below(6))
            .map(|_| random.below(256) as u8)
            .collect(),
        2 => random.below(1000).to_string().into_bytes(),
        _ => random.pick(&TEXTS).as_bytes().to_vec(),
    }
}

fn message(sid: &str, text: Vec<u8>) -> Vec<Parameter> {
    let mut parameters = vec![
        pair("ApiVersion", "2010-04-01"),
        pair("From", "+15551234567"),
        pair("FromCity", ""),
        pair("FromCountry", "US"),
        pair("MediaContentType0", "image/jpeg"),
        pair("MediaUrl0", "https://api.example.com/Media/ME0?a=1&b=2"),
        pair("MessageSid", sid),
        pair("NumMedia", "1"),
        pair("NumSegments", "1"),
        pair("SmsMessageSid", sid),
        pair("SmsSid", sid),
        pair("SmsStatus", "received"),
        pair("To", "+15557654321"),
        pair("ToZip", ""),
    ];
    parameters.push((b"Body".to_vec(), text));
    parameters
}

fn whatsapp(sid: &str, text: Vec<u8>) -> Vec<Parameter> {
    let mut parameters = vec![
        pair("ApiVersion", "2010-04-01"),
        pair(
            "ChannelMetadata",
            r#"{"type":"whatsapp","data":{"context":{"ProfileName":"Jörg 🌮","WaId":"4915735998877"}}}"#,
        ),
        pair("From", "whatsapp:+4915735998877"),
        pair("MessageSid", sid),
        pair("MessageType", "text"),
        pair("NumMedia", "0"),
        pair("ProfileName", "Jörg 🌮"),
        pair("SmsMessageSid", sid),
        pair("SmsSid", sid),
        pair("SmsStatus", "received"),
        pair("To", "whatsapp:+14155238886"),
        pair("WaId", "4915735998877"),
    ];
    parameters.push((b"Body".to_vec(), text));
    parameters
}

fn call(sid: &str, text: Vec<u8>) -> Vec<Parameter> {
    let mut parameters = vec![
        pair("CallSid", sid),
        pair("CallStatus", "in-progress"),
        pair("Confidence", "0.9"),
        pair("Direction", "inbound"),
        pair("From", "sip:alice@example.com;transport=tls"),
        pair("Timestamp", "Sat, 03 Oct 2026 10:00:00 +0000"),
        pair("To", "+15557654321"),
    ];
    parameters.push((b"SpeechResult".to_vec(), text));
    parameters
}

fn status(sid: &str, text: Vec<u8>) -> Vec<Parameter> {
    let mut parameters = vec![
        pair("ErrorCode", "30008"),
        pair("MessageSid", sid),
        pair("MessageStatus", "delivered"),
        // The same name twice, as Twilio has it for lists.
        pair("StatusCallbackEvent", "sent"),
        pair("StatusCallbackEvent", "delivered"),
        pair("To", "+15557654321"),
    ];
    parameters.push((b"Note".to_vec(), text));
    parameters
}
