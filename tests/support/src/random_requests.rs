//! Random requests as Twilio makes them, and what is known of one on both sides.

use crate::message::{ACCOUNT, TOKEN};
pub use crate::random::Random;
use crate::request::Request;
use crate::signing::{sha256_hex, sign};

/// A URL in parts.
#[derive(Clone, Debug)]
pub struct Url {
    pub scheme: String,
    pub host: String,
    pub port: Option<String>,
    pub path: String,
    pub query: Option<String>,
}

impl Url {
    pub fn text(&self) -> String {
        let port = self.port.as_ref().map(|port| format!(":{port}"));
        let query = self.query.as_ref().map(|query| format!("?{query}"));
        let (port, query) = (port.unwrap_or_default(), query.unwrap_or_default());
        format!("{}://{}{port}{}{query}", self.scheme, self.host, self.path)
    }
}

pub type Parameters = Vec<(String, String)>;

/// A request: what Twilio signed, what arrives, and what is configured.
#[derive(Clone, Debug)]
pub struct Case {
    pub signed: Url,
    pub parameters: Parameters,
    pub token: &'static str,
    /// The JSON that was hashed, where it is JSON.
    pub json: Option<String>,
    pub configured: Url,
    /// Whether the configured URL is a base, and the path that of the request.
    pub is_base: bool,
    pub method: &'static str,
    pub path: String,
    pub query: Option<String>,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
}

/// As browsers, Java and Twilio encode a form.
pub fn encode(text: &[u8]) -> String {
    let mut out = String::new();
    for byte in text {
        match byte {
            b' ' => out.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.*".contains(byte) => {
                out.push(char::from(*byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

pub fn form(parameters: &[(String, String)]) -> String {
    let piece = |(name, value): &(String, String)| {
        format!("{}={}", encode(name.as_bytes()), encode(value.as_bytes()))
    };
    parameters.iter().map(piece).collect::<Vec<_>>().join("&")
}

const WORDS: [&str; 12] = [
    "two", "tacos", "al", "pastor", "please", "¡hola!", "50%", "a+b", "it's", "señor", "🌮", "ok?",
];

fn text(random: &mut Random) -> String {
    let count = 1 + random.below(9);
    let words = (0..count).map(|_| random.of(&WORDS));
    words.collect::<Vec<_>>().join(" ")
}

fn number(random: &mut Random) -> String {
    format!("+1{:010}", random.word() % 10_000_000_000)
}

fn place(random: &mut Random) -> String {
    random
        .of(&["", "", "OAKLAND", "SAN FRANCISCO", "94107", "CA"])
        .to_owned()
}

fn pairs(list: &[(&str, String)]) -> Parameters {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn sms(random: &mut Random) -> Parameters {
    let sid = random.sid("SM");
    pairs(&[
        ("ToCountry", "US".into()),
        ("ToState", place(random)),
        ("SmsMessageSid", sid.clone()),
        ("NumMedia", "0".into()),
        ("ToCity", place(random)),
        ("FromZip", place(random)),
        ("SmsSid", sid.clone()),
        ("FromState", place(random)),
        ("SmsStatus", "received".into()),
        ("FromCity", place(random)),
        ("Body", text(random)),
        ("FromCountry", "US".into()),
        ("To", number(random)),
        ("ToZip", place(random)),
        ("NumSegments", "1".into()),
        ("MessageSid", sid),
        ("AccountSid", ACCOUNT.into()),
        ("From", number(random)),
        ("ApiVersion", "2010-04-01".into()),
    ])
}

fn whatsapp(random: &mut Random) -> Parameters {
    let (sid, from) = (random.sid("SM"), number(random));
    let name = random.of(&["Ana", "Ana María", "José", "Bob Smith"]);
    pairs(&[
        ("SmsMessageSid", sid.clone()),
        ("NumMedia", "0".into()),
        ("ProfileName", name.into()),
        ("MessageType", "text".into()),
        ("SmsSid", sid.clone()),
        ("WaId", from[1..].into()),
        ("SmsStatus", "received".into()),
        ("Body", text(random)),
        ("To", format!("whatsapp:{}", number(random))),
        ("NumSegments", "1".into()),
        ("ReferralNumMedia", "0".into()),
        ("MessageSid", sid),
        ("AccountSid", ACCOUNT.into()),
        ("From", format!("whatsapp:{from}")),
        ("ApiVersion", "2010-04-01".into()),
    ])
}

fn call(random: &mut Random) -> Parameters {
    let (from, to) = (number(random), number(random));
    let mut list = pairs(&[
        ("AccountSid", ACCOUNT.into()),
        ("ApiVersion", "2010-04-01".into()),
        ("CallSid", random.sid("CA")),
        ("CallStatus", "ringing".into()),
        ("Called", to.clone()),
        ("Caller", from.clone()),
        ("Direction", "inbound".into()),
        ("From", from),
        ("To", to),
    ]);
    for (first, second) in [("Called", "To"), ("Caller", "From")] {
        for part in ["City", "Country", "State", "Zip"] {
            let value = place(random);
            list.push((format!("{first}{part}"), value.clone()));
            list.push((format!("{second}{part}"), value));
        }
    }
    list
}

fn status(random: &mut Random) -> Parameters {
    let sid = random.sid("SM");
    pairs(&[
        ("SmsSid", sid.clone()),
        ("SmsStatus", "delivered".into()),
        ("MessageStatus", "delivered".into()),
        ("To", number(random)),
        ("MessageSid", sid),
        ("AccountSid", ACCOUNT.into()),
        ("From", number(random)),
        ("ApiVersion", "2010-04-01".into()),
    ])
}

fn json(random: &mut Random) -> String {
    let events = 1 + random.below(4);
    let event = |random: &mut Random| {
        format!(
            r#"{{"id":"{}","type":"com.twilio.messaging","data":{{"to":"{}","text":"{}","n":[1,2]}}}}"#,
            random.sid("EZ"),
            number(random),
            text(random)
        )
    };
    let events: Vec<_> = (0..events).map(|_| event(random)).collect();
    format!("[{}]", events.join(","))
}

/// A query of so many parameters, in no order, as Twilio spells it.
pub fn query(count: usize, random: &mut Random) -> String {
    let mut names = [
        "Retry", "zone", "msg", "Step", "lang", "flow", "order", "q2",
    ];
    random.shuffle(&mut names);
    let values = [
        "1",
        "b",
        "Gather End",
        "it's late",
        "a/b",
        "x@y.z",
        "50%",
        "é",
        "3",
        "(no)",
        "b+c",
    ];
    let pieces = names
        .iter()
        .take(count)
        .map(|name| format!("{name}={}", encode(random.of(&values).as_bytes())));
    pieces.collect::<Vec<_>>().join("&")
}

impl Case {
    /// As Twilio makes it, and as it arrives if nobody makes a mistake.
    pub fn random(random: &mut Random) -> Case {
        let host = random.of(&[
            "orders.example.com",
            "hooks.shop.example",
            "www.example.org",
        ]);
        let path = random.of(&[
            "/hook",
            "/api/v1/whatsapp/webhook",
            "/twilio/Voice/Status",
            "/sms.php",
        ]);
        let query = random.one_in(3).then(|| query(1 + random.below(4), random));
        let mut url = Url {
            scheme: "https".into(),
            host: host.into(),
            port: random.one_in(8).then(|| "8443".to_owned()),
            path: path.into(),
            query,
        };
        let mut case = Case {
            signed: url.clone(),
            parameters: Vec::new(),
            token: TOKEN,
            json: None,
            configured: Url {
                query: None,
                ..url.clone()
            },
            is_base: false,
            method: "POST",
            path: path.into(),
            query: url.query.clone(),
            content_type: "application/x-www-form-urlencoded; charset=utf-8",
            body: Vec::new(),
            headers: Vec::new(),
        };
        match random.below(8) {
            0..2 => case.parameters = sms(random),
            2..4 => case.parameters = whatsapp(random),
            4 => case.parameters = call(random),
            5 => case.parameters = status(random),
            6 => {
                case.method = "GET";
                let parameters = form(&status(random));
                let own = url.query.map(|query| query + "&").unwrap_or_default();
                url.query = Some(own + &parameters);
            }
            _ => {
                let json = json(random);
                let own = url.query.map(|query| query + "&").unwrap_or_default();
                url.query = Some(format!("{own}bodySHA256={}", sha256_hex(json.as_bytes())));
                case.content_type = "application/json";
                case.body = json.clone().into_bytes();
                case.json = Some(json);
            }
        }
        if url.query.is_some() {
            case.query.clone_from(&url.query);
            case.signed.query = url.query;
        }
        random.shuffle(&mut case.parameters);
        if case.is_form() {
            case.body = form(&case.parameters).into_bytes();
        }
        case
    }

    pub fn is_form(&self) -> bool {
        !self.parameters.is_empty()
    }

    /// The header, by Twilio's rules: <https://www.twilio.com/docs/usage/security>.
    fn signature(&self) -> String {
        sign(self.token, &self.signed.text(), &self.parameters)
    }

    /// The plugin's.
    pub fn configuration(&self) -> String {
        let methods = format!("[\"{}\"]", self.method);
        let url = self.configured.text();
        if self.is_base {
            return format!(
                r#"{{"rate_limits": [], "public_base_url": "{url}",
                    "webhooks": [{{"path": "/*", "methods": {methods}}}]}}"#
            );
        }
        format!(
            r#"{{"rate_limits": [], "webhooks": [
                {{"path": "{}", "url": "{url}", "methods": {methods}}}]}}"#,
            self.path
        )
    }

    /// As it arrives.
    pub fn request(&self) -> Request {
        let query = self
            .query
            .as_ref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let mut request = Request::form(b"")
            .with_body(&self.body)
            .with(":authority", &self.configured.host)
            .with(":method", self.method)
            .with(":path", &format!("{}{query}", self.path))
            .with("content-type", self.content_type)
            .with("content-length", &self.body.len().to_string())
            .with("x-twilio-signature", &self.signature());
        if self.method == "GET" {
            request = request.without("content-type");
        }
        for (name, value) in &self.headers {
            request = request.with(name, value);
        }
        request
    }
}
