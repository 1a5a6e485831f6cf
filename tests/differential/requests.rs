//! The requests: what was signed, and what is sent, which may be something else.

use crate::places::{ACCOUNT, OTHER_TOKEN, Place, SHARED_KEY, SHARED_SECRET, TOKEN};
use support::random::Random;
use support::reference::{Parts, Reader, decode, pairs, signature};
use support::signing::sha256_hex;

/// One of the official libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    Node,
    Python,
}

/// What a library signs.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) secret: &'static str,
    pub(crate) url: String,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// A request and where its signature comes from.
#[derive(Clone)]
pub(crate) struct Case {
    /// The webhook that it goes to.
    pub(crate) place: usize,
    pub(crate) method: &'static str,
    /// As sent, without the `?`.
    pub(crate) query: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
    /// `X-Twilio-Webhooks-Signature-Settings`.
    pub(crate) settings: Option<String>,
    /// What the libraries are given to judge it by.
    pub(crate) secret: &'static str,
    pub(crate) signed: Signed,
    /// Who signs.
    pub(crate) by: Library,
    /// What was changed between signing and sending. Empty: a library signed just this.
    pub(crate) changes: Vec<&'static str>,
    spoil: Option<Spoil>,
    /// `X-Twilio-Signature`.
    pub(crate) signature: String,
}

/// What becomes of the signature itself.
#[derive(Clone, Copy, Debug)]
enum Spoil {
    Flip(usize),
    SpareBits,
    NoPadding,
    UrlSafe,
    Spaces,
    Empty,
    Sha256,
}

impl Case {
    /// The URL as the libraries have it.
    pub(crate) fn url(&self, places: &[Place]) -> String {
        places[self.place].url(self.query.as_deref())
    }

    /// `:path`.
    pub(crate) fn target(&self, places: &[Place]) -> String {
        let path = &places[self.place].path;
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.clone(),
        }
    }

    /// Takes the signature that the library made, or what is left of it.
    pub(crate) fn take(&mut self, made: &str) {
        let standard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let spelled = match self.spoil {
            None => made.to_owned(),
            Some(Spoil::Flip(at)) => {
                let mut characters: Vec<char> = made.chars().collect();
                let at = at % (made.len() - 2);
                let place = standard.find(characters[at]).unwrap_or(0);
                characters[at] = standard
                    .chars()
                    .nth((place + 1) % 64)
                    .expect("64 characters");
                characters.into_iter().collect()
            }
            // The last character but the padding carries bits that mean nothing.
            Some(Spoil::SpareBits) => {
                let text = made.trim_end_matches('=');
                let (head, last) = text.split_at(text.len() - 1);
                let place = standard.find(last).unwrap_or(0) + 1;
                format!("{head}{}{}", &standard[place..=place], &made[text.len()..])
            }
            Some(Spoil::NoPadding) => made.trim_end_matches('=').to_owned(),
            Some(Spoil::UrlSafe) => made.replace('+', "-").replace('/', "_"),
            Some(Spoil::Spaces) => format!("{made} "),
            Some(Spoil::Empty) => String::new(),
            Some(Spoil::Sha256) => signature(true, self.secret, &self.signed.url, b""),
        };
        // Nothing was spoiled where there was nothing to respell.
        if spelled == made && self.spoil.is_some() {
            self.changes.retain(|change| *change != SPOILED);
        }
        self.signature = spelled;
    }
}

const SPOILED: &str = "signature respelled or flipped";
const FORM: &str = "application/x-www-form-urlencoded";

/// Request number `index` of this seed.
pub(crate) fn case(seed: u64, index: u64, places: &[Place]) -> Case {
    let random = &mut Random::new(seed, index);
    let place_index = random.below(places.len());
    let place = &places[place_index];
    let mut query = query(random, place);
    let (method, content_type, body, parameters) = if place.websocket {
        ("GET", None, Vec::new(), None)
    } else {
        body(random, &mut query)
    };
    let (settings, secret) = key(random);
    let url = place.url(query.as_deref());
    let (signed_url, respelled) = signed_url(random, place, &url);
    let mut case = Case {
        place: place_index,
        method,
        query,
        content_type: content_type.clone(),
        body: body.clone(),
        settings,
        secret,
        signed: Signed {
            secret,
            url: signed_url,
            content_type,
            body,
        },
        by: random.weighted(&[(1, Library::Node), (1, Library::Python)]),
        changes: Vec::new(),
        spoil: None,
        signature: String::new(),
    };
    if case.signed.url != url {
        case.changes.push(respelled);
    }
    if place.websocket && case.query.is_some() && random.chance(15) {
        case.signed.url = place.url(None);
        case.signed.content_type = Some(FORM.to_owned());
        case.signed.body = case.query.clone().unwrap_or_default().into_bytes();
        case.changes = vec!["signed with the query as a form"];
    }
    if random.chance(50) {
        for _ in 0..=usize::from(random.chance(15)) {
            change(random, &mut case, parameters.clone(), places);
        }
    }
    case
}

fn key(random: &mut Random) -> (Option<String>, &'static str) {
    let settings = match random.weighted(&[(92, 0), (4, 1), (1, 2), (1, 3), (2, 4)]) {
        1 => format!("key={SHARED_KEY},algorithm=HMAC_SHA256"),
        2 => format!("key={SHARED_KEY},algorithm=HMAC_SHA1"),
        3 => format!("key={SHARED_KEY}"),
        // Not one of ours: as if it were not there.
        4 => return (Some("key=unknown".to_owned()), TOKEN),
        _ => return (None, TOKEN),
    };
    (Some(settings), SHARED_SECRET)
}

// --- queries -------------------------------------------------------------------------------------

const QUERY_PIECES: [&str; 38] = [
    "a=1",
    "b=2",
    "a=2",
    "a=1",
    "foo=bar",
    "x=",
    "=y",
    "novalue",
    "a=b+c",
    "a=b%20c",
    "a=b%2Bc",
    "a=b%26c",
    "a=%C3%B1",
    "a=%c3%b1",
    "q=a'b",
    "q=a%27b",
    "Caller=sip:1@10.0.0.1",
    "Caller=sip%3A1%4010.0.0.1",
    "a[]=1|2",
    "a%5B%5D=1%7C2",
    "a=%zz",
    "a=%",
    "a=%%41",
    "a=%00",
    "a=%0D%0A",
    "a=%FF",
    "a=;b",
    "a=1;b=2",
    "url=https://x.example/?y=1",
    "~tilde=-._~",
    "e=(a)*!$,",
    "xbodySHA256=1",
    "emoji=%F0%9F%8C%AE",
    "a=b=c",
    "t=2026-01-02T03:04:05+01:00",
    "p=\\back",
    "q=\"quoted\"",
    "q=<b>^{c}`",
];

fn query(random: &mut Random, place: &Place) -> Option<String> {
    if let Some(own) = &place.own_query
        && random.chance(70)
    {
        return Some(match random.below(3) {
            0 => own.clone(),
            _ => reordered(random, own),
        });
    }
    match random.weighted(&[(40, 0), (3, 1), (55, 2), (2, 3)]) {
        0 => None,
        1 => Some(String::new()),
        2 => {
            let pieces = 1 + random.below(4);
            let pieces: Vec<&str> = (0..pieces).map(|_| random.pick(&QUERY_PIECES)).collect();
            Some(pieces.join(random.weighted(&[(95, "&"), (5, "&&")])))
        }
        // Bytes above 127 are in no request line, but in `:path` they might be.
        _ => Some("name=Jörg&taco=🌮".to_owned()),
    }
}

/// The same parameters in another order and escaping.
fn reordered(random: &mut Random, query: &str) -> String {
    let mut parameters: Vec<Parameter> = pairs(query.as_bytes())
        .map(|(name, value)| {
            (
                decode(Reader::Contract, name),
                decode(Reader::Contract, value),
            )
        })
        .collect();
    random.shuffle(&mut parameters);
    let style = random.weighted(&[(1, Style::Twilio), (1, Style::Lower)]);
    String::from_utf8_lossy(&encode(random, style, &parameters)).into_owned()
}

/// What Twilio may have signed for `url`, and what that is called.
fn signed_url(random: &mut Random, place: &Place, url: &str) -> (String, &'static str) {
    let parts = Parts::of(url);
    let default = parts.default_port();
    let signed = match random.weighted(&[
        (60, 0),
        (6, 1),
        (6, 2),
        (3, 3),
        (3, 4),
        (6, 5),
        (3, 6),
        (3, 7),
        (2, 8),
        (2, 9),
        (1, 10),
        (2, 11),
        (1, 12),
        (2, 13),
    ]) {
        1 => (parts.with_port(None), "signed without the port"),
        2 => (
            parts.with_port(Some(default)),
            "signed with the default port",
        ),
        3 => {
            let other = if default == "80" { "443" } else { "80" };
            (
                parts.with_port(Some(other)),
                "signed with the other default port",
            )
        }
        4 => (
            Parts {
                path: format!("{}/", parts.path),
                ..parts
            },
            "signed with a slash at the end",
        ),
        5 => {
            let query = own_query(place, parts.query.as_deref());
            (
                Parts { query, ..parts },
                "signed with the query of the configured URL",
            )
        }
        6 => {
            let (scheme, host) = (parts.scheme.to_lowercase(), parts.host.to_lowercase());
            (
                Parts {
                    scheme,
                    host,
                    ..parts
                },
                "signed in lower case",
            )
        }
        7 => {
            let query = parts
                .query
                .map(|query| query.replace('\'', "%27").replace('"', "%22"));
            (Parts { query, ..parts }, "signed with quotes escaped")
        }
        8 => (
            Parts {
                path: resolved(&parts.path),
                ..parts
            },
            "signed with dot segments resolved",
        ),
        9 => {
            let query = parts.query.filter(|query| !query.is_empty());
            let path = parts
                .path
                .strip_suffix(';')
                .unwrap_or(&parts.path)
                .to_owned();
            (
                Parts {
                    query,
                    path,
                    ..parts
                },
                "signed without a ? or ; that nothing follows",
            )
        }
        10 => return (format!("{url}#rc=5&rp=all"), "signed with a fragment"),
        11 => (
            Parts {
                userinfo: String::new(),
                ..parts
            },
            "signed without userinfo",
        ),
        12 => {
            let scheme = if parts.scheme == "http" {
                "https"
            } else {
                "http"
            };
            (
                Parts {
                    scheme: scheme.to_owned(),
                    ..parts
                },
                "signed for another scheme",
            )
        }
        13 => {
            let query = parts.query.map(|query| match query.contains('+') {
                true => query.replace('+', "%20"),
                false => reordered(random, &query),
            });
            (
                Parts { query, ..parts },
                "signed with the query in another spelling",
            )
        }
        _ => (parts, ""),
    };
    (signed.0.url(), signed.1)
}

/// The configured query and what of the received one is the body's hash.
pub(crate) fn own_query(place: &Place, received: Option<&str>) -> Option<String> {
    let received = received.unwrap_or_default();
    let is_hash = |piece: &&str| {
        let name = piece.split('=').next().unwrap_or_default();
        decode(Reader::Contract, name.as_bytes()) == b"bodySHA256"
    };
    let hash = received.split('&').find(is_hash);
    let pieces: Vec<&str> = place.own_query.as_deref().into_iter().chain(hash).collect();
    (!pieces.is_empty()).then(|| pieces.join("&"))
}

fn resolved(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    if path.is_empty() {
        "/".to_owned()
    } else {
        segments.join("/")
    }
}

// --- bodies --------------------------------------------------------------------------------------

/// Name and value, not escaped.
pub(crate) type Parameter = (Vec<u8>, Vec<u8>);

type Body = (
    &'static str,
    Option<String>,
    Vec<u8>,
    Option<Vec<Parameter>>,
);

fn body(random: &mut Random, query: &mut Option<String>) -> Body {
    match random.weighted(&[(62, 0), (18, 1), (4, 2), (10, 3), (3, 4), (3, 5)]) {
        0 => {
            let content_type = random.weighted(&[
                (40, FORM),
                (50, "application/x-www-form-urlencoded; charset=utf-8"),
                (10, "Application/X-WWW-Form-URLEncoded;charset=UTF-8"),
            ]);
            if random.chance(2) {
                let piece = format!("bodySHA256={}", sha256_hex(b""));
                append(query, &piece);
            }
            let method = random.weighted(&[(97, "POST"), (3, "GET")]);
            form(random, method, content_type)
        }
        1 => hashed(random, query),
        // A body, and nothing about it in the URL.
        2 => {
            let content_type = random.pick(&[
                "application/json",
                "text/plain",
                "multipart/form-data; boundary=x",
            ]);
            let content_type = random.chance(80).then(|| content_type.to_owned());
            if random.chance(20) {
                append(query, "bodySHA256=");
            }
            ("POST", content_type, json(random), None)
        }
        3 => {
            if random.chance(10) {
                append(
                    query,
                    &format!(
                        "bodySHA256={}",
                        sha256_hex(random.pick(&[&b""[..], b"{}", b"gone"]))
                    ),
                );
            }
            let content_type =
                random.weighted(&[(2, None), (1, Some(FORM)), (1, Some("application/json"))]);
            (
                random.pick(&["GET", "POST"]),
                content_type.map(str::to_owned),
                Vec::new(),
                None,
            )
        }
        // Read as a form by some and not by others, or read as another text.
        4 => {
            let content_type = random.pick(&[
                "application/x-www-form-urlencoded; charset=utf-16",
                "application/x-www-form-urlencoded; charset=iso-8859-1",
                "application/x-www-form-urlencoded; boundary=x",
            ]);
            form(random, "POST", content_type)
        }
        _ => {
            let (method, _, body, _) = form(random, "POST", FORM);
            if random.chance(60) {
                append(query, &format!("bodySHA256={}", sha256_hex(&body)));
            }
            let content_type = random.pick(&[
                "text/plain",
                "application/x-www-form-urlencoded-not",
                "application/json",
            ]);
            (method, Some(content_type.to_owned()), body, None)
        }
    }
}

fn append(query: &mut Option<String>, piece: &str) {
    *query = Some(match query.as_deref() {
        None | Some("") => piece.to_owned(),
        Some(before) => format!("{before}&{piece}"),
    });
}

/// A body with its hash in the URL, or what looks like it.
fn hashed(random: &mut Random, query: &mut Option<String>) -> Body {
    let body = json(random);
    let hash = sha256_hex(&body);
    let wrong = sha256_hex(b"another body");
    let upper = hash.to_uppercase();
    let pieces = match random.weighted(&[
        (60, 0),
        (8, 1),
        (8, 2),
        (8, 3),
        (4, 4),
        (4, 5),
        (4, 6),
        (2, 7),
        (2, 8),
        (4, 9),
    ]) {
        1 => format!("bodySHA256={wrong}"),
        2 => format!("bodySHA256={upper}"),
        3 => format!("bodySHA256={hash}&bodySHA256={hash}"),
        4 => format!("bodySHA256={hash}&bodySHA256={wrong}"),
        5 => format!("body%53HA256={hash}"),
        6 => format!("body%53HA256={wrong}"),
        7 => format!("bodysha256={hash}"),
        8 => format!("bodySHA256={}", &hash[..63]),
        9 => format!("bodySHA256={hash}&z="),
        _ => format!("bodySHA256={hash}"),
    };
    append(query, &pieces);
    let content_type = random.weighted(&[
        (70, Some("application/json")),
        (10, Some("application/json; charset=utf-8")),
        (10, None),
        (10, Some("text/plain")),
    ]);
    ("POST", content_type.map(str::to_owned), body, None)
}

fn json(random: &mut Random) -> Vec<u8> {
    let mut text = String::from("{");
    for number in 0..random.below(6) {
        let value = String::from_utf8_lossy(&value(random)).into_owned();
        let value = serde_json::Value::from(value);
        text.push_str(&format!("\"field{number}\": {value}, "));
    }
    text.push_str("\"end\": null}");
    let mut bytes = text.into_bytes();
    if random.chance(3) {
        bytes.extend(b"\xFF\xFE");
    }
    bytes
}

fn form(random: &mut Random, method: &'static str, content_type: &str) -> Body {
    let parameters = parameters(random);
    let style = random.weighted(&[
        (50, Style::Twilio),
        (12, Style::Lower),
        (8, Style::Everything),
        (15, Style::Raw),
        (15, Style::Mixed),
    ]);
    let mut body = encode(random, style, &parameters);
    match random.weighted(&[(92, 0), (2, 1), (2, 2), (2, 3), (2, 4)]) {
        1 => body.extend(b"&"),
        2 => body.splice(0..0, *b"&&").for_each(drop),
        3 => body.extend(b"&novalue"),
        4 => body.extend(b"&a=b=c"),
        _ => {}
    }
    (
        method,
        Some(content_type.to_owned()),
        body,
        Some(parameters),
    )
}

const NAMES: [&str; 41] = [
    "AccountSid",
    "ApiVersion",
    "Body",
    "From",
    "To",
    "MessageSid",
    "SmsSid",
    "NumMedia",
    "MediaUrl0",
    "ToCity",
    "FromZip",
    "ProfileName",
    "WaId",
    "ChannelMetadata",
    "Timestamp",
    "Digits",
    "CallSid",
    "Reason",
    "ReasonConferenceEnded",
    "Reas",
    "ReasonC",
    "MediaUrl",
    "MediaUrl1",
    "MediaUrl10",
    "a",
    "A",
    "aa",
    "ab",
    "b",
    "",
    "message.body",
    "items[0][name]",
    "items[]",
    "a b",
    "name=with&marks",
    "Ünïcödé",
    "\u{FF5E}",
    "😀",
    "\u{E000}x",
    "__proto__",
    "constructor",
];

fn parameters(random: &mut Random) -> Vec<Parameter> {
    let count = match random.weighted(&[(30, 0), (60, 1), (10, 2)]) {
        0 => 1 + random.below(3),
        1 => 3 + random.below(20),
        _ => 20 + random.below(60),
    };
    let mut parameters: Vec<Parameter> = (0..count).map(|_| parameter(random)).collect();
    // Repeats, with the same value or another, beside the few that chance brings.
    for _ in 0..random.below(3) {
        let (name, same) = parameters[random.below(parameters.len())].clone();
        let value = if random.chance(50) {
            same
        } else {
            value(random)
        };
        parameters.push((name, value));
    }
    random.shuffle(&mut parameters);
    parameters
}

fn parameter(random: &mut Random) -> Parameter {
    match random.below(100) {
        0..85 => {
            let name = random.pick(&NAMES);
            let value = match name {
                "AccountSid" if random.chance(97) => ACCOUNT.as_bytes().to_vec(),
                _ => value(random),
            };
            (name.as_bytes().to_vec(), value)
        }
        85..90 => (
            format!("Parameter{}", random.below(1000)).into_bytes(),
            value(random),
        ),
        _ => (value(random), value(random)),
    }
}

const VALUES: [&str; 30] = [
    "",
    "",
    "",
    "1",
    "0",
    "received",
    "whatsapp:+14155238886",
    "+4915735998877",
    "two tacos, please",
    " leading and trailing ",
    "a+b=c&d",
    "100%",
    "%41",
    "%zz",
    "%%41",
    "50% off: 100%25",
    "{\"type\":\"whatsapp\",\"data\":{}}",
    "https://x.example/a?b=c#d",
    "Jörg & Söhne",
    "🌮🌮🌮",
    "👩‍👩‍👧‍👦 family",
    "\u{FEFF}byte order mark",
    "line\r\nbreak\ttab",
    "nul\0inside",
    "\u{7F}\u{80}\u{9F}\u{2028}",
    "e\u{301} decomposed",
    "\u{10FFFF}\u{FFFF}",
    "\u{E000}",
    "𐀀",
    "日本語のメッセージ",
];

fn value(random: &mut Random) -> Vec<u8> {
    match random.below(1000) {
        0..705 => random.pick(&VALUES).as_bytes().to_vec(),
        705..855 => {
            let length = random.below(40);
            (0..length).map(|_| 0x20 + random.below(95) as u8).collect()
        }
        855..990 => {
            let length = random.below(12);
            let any = |random: &mut Random| loop {
                if let Some(character) = char::from_u32(random.below(0x11_0000) as u32) {
                    return character;
                }
            };
            (0..length)
                .map(|_| any(random))
                .collect::<String>()
                .into_bytes()
        }
        990..997 => {
            let length = 1 + random.below(6);
            (0..length).map(|_| random.below(256) as u8).collect()
        }
        _ => random
            .pick(&["long ", "ñandú "])
            .repeat(random.below(3000))
            .into_bytes(),
    }
}

/// How names and values are escaped.
#[derive(Clone, Copy, Debug)]
enum Style {
    /// As Twilio does it.
    Twilio,
    /// Digits in lower case, a space as `%20`.
    Lower,
    /// Every byte.
    Everything,
    /// Only what separates; not even `%`, so that escapes may be broken or mean what nobody meant.
    Raw,
    /// Each byte as it comes.
    Mixed,
}

fn encode(random: &mut Random, style: Style, parameters: &[Parameter]) -> Vec<u8> {
    let mut body = Vec::new();
    for (number, (name, value)) in parameters.iter().enumerate() {
        if number > 0 {
            body.push(b'&');
        }
        escape(random, style, name, &mut body);
        body.push(b'=');
        escape(random, style, value, &mut body);
    }
    body
}

fn escape(random: &mut Random, style: Style, text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        let style = match style {
            Style::Mixed => {
                let raw = byte.is_ascii()
                    && !matches!(byte, b'%' | b'+' | b'&' | b'=')
                    && random.chance(30);
                if raw {
                    Style::Raw
                } else {
                    random.weighted(&[
                        (1, Style::Twilio),
                        (1, Style::Lower),
                        (1, Style::Everything),
                    ])
                }
            }
            same => same,
        };
        let plain = byte.is_ascii_alphanumeric() || b"-._*".contains(byte);
        match (style, byte) {
            (Style::Raw, b'&' | b'=' | b'+') => out.extend(format!("%{byte:02X}").into_bytes()),
            (Style::Raw, _) => out.push(*byte),
            (Style::Twilio, b' ') => out.push(b'+'),
            (Style::Twilio | Style::Lower, _) if plain => out.push(*byte),
            (Style::Lower, _) => out.extend(format!("%{byte:02x}").into_bytes()),
            _ => out.extend(format!("%{byte:02X}").into_bytes()),
        }
    }
}

// --- changes -------------------------------------------------------------------------------------

/// Changes a request after it was signed. Some changes keep the MAC: then it is to be accepted.
fn change(
    random: &mut Random,
    case: &mut Case,
    parameters: Option<Vec<Parameter>>,
    places: &[Place],
) {
    let name = match parameters {
        Some(parameters) if random.chance(65) => change_form(random, case, parameters),
        _ => change_other(random, case, places),
    };
    case.changes.push(name);
}

fn change_form(
    random: &mut Random,
    case: &mut Case,
    mut parameters: Vec<Parameter>,
) -> &'static str {
    let at = random.below(parameters.len());
    let name = match random.below(11) {
        0 => {
            random.shuffle(&mut parameters);
            "parameters in another order"
        }
        1 => "parameters escaped in another way",
        2 => {
            let again = parameters[at].clone();
            parameters.push(again);
            "a parameter repeated"
        }
        3 => {
            let (name, value) = &mut parameters[at];
            match random.below(2) {
                0 if !name.is_empty() => value.splice(0..0, name.pop()).for_each(drop),
                _ if !value.is_empty() => name.push(value.remove(0)),
                _ => {}
            }
            "the boundary between a name and its value moved"
        }
        4 => {
            // The whole parameter becomes the end of the value before it.
            parameters.sort();
            if at > 0 {
                let (name, value) = parameters.remove(at);
                parameters[at - 1].1.extend([name, value].concat());
            }
            "a parameter hidden in the one before it"
        }
        5 => {
            parameters.remove(at);
            "a parameter removed"
        }
        6 => {
            parameters.push((b"Added".to_vec(), value(random)));
            "a parameter added"
        }
        7 => {
            parameters[at].0.push(b'x');
            "a parameter renamed"
        }
        8 => {
            let next = (at + 1) % parameters.len();
            let (left, right) = (parameters[at].1.clone(), parameters[next].1.clone());
            (parameters[at].1, parameters[next].1) = (right, left);
            "the values of two parameters exchanged"
        }
        9 => {
            flip(random, &mut parameters[at].0);
            "a byte of a name flipped"
        }
        _ => {
            flip(random, &mut parameters[at].1);
            "a byte of a value flipped"
        }
    };
    let style = random.weighted(&[
        (4, Style::Twilio),
        (1, Style::Lower),
        (1, Style::Everything),
    ]);
    case.body = encode(random, style, &parameters);
    name
}

fn flip(random: &mut Random, bytes: &mut [u8]) {
    if !bytes.is_empty() {
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
    }
}

fn change_other(random: &mut Random, case: &mut Case, places: &[Place]) -> &'static str {
    match random.weighted(&[
        (20, 0),
        (10, 1),
        (8, 2),
        (8, 3),
        (8, 4),
        (6, 5),
        (5, 6),
        (5, 7),
        (5, 8),
        (5, 9),
        (6, 10),
    ]) {
        0 => {
            let spoils = [
                Spoil::Flip(random.below(26)),
                Spoil::Flip(random.below(26)),
                Spoil::SpareBits,
            ];
            let others = [
                Spoil::NoPadding,
                Spoil::UrlSafe,
                Spoil::Spaces,
                Spoil::Empty,
                Spoil::Sha256,
            ];
            case.spoil = [&spoils[..], &others]
                .concat()
                .get(random.below(8))
                .copied();
            SPOILED
        }
        1 => {
            case.signed.secret = OTHER_TOKEN;
            "signed with another token"
        }
        2 => {
            case.query = case.query.as_deref().map(|query| reordered(random, query));
            "the query in another spelling"
        }
        3 => {
            append(&mut case.query, random.pick(&["added=1", "a=1", ""]));
            "the query made longer"
        }
        4 => {
            case.query = case
                .query
                .as_deref()
                .and_then(|query| query.rsplit_once('&'))
                .map(|(rest, _)| rest.to_owned());
            "the query made shorter"
        }
        5 => {
            // As many requests to another webhook as there are webhooks of the same kind.
            let kind = places[case.place].websocket;
            let other =
                (case.place + 1..places.len()).find(|other| places[*other].websocket == kind);
            case.place = other.unwrap_or(case.place);
            "sent to another webhook"
        }
        6 if !case.body.is_empty() => {
            case.body.push(random.pick(&[b"&", b" ", b"\n", b"x"])[0]);
            "a byte after the body"
        }
        7 if !case.body.is_empty() => {
            case.body.clear();
            if random.chance(40) {
                let nothing: &[u8] = random.pick(&[&b"&"[..], b"=", b"=&="]);
                case.body.extend_from_slice(nothing);
                case.content_type = Some(FORM.to_owned());
                return "a form of nothing in the place of the body";
            }
            "the body taken away"
        }
        8 if !places[case.place].websocket => {
            let content_type = random.weighted(&[
                (1, None),
                (1, Some(FORM)),
                (1, Some("application/json")),
                (1, Some("text/plain")),
            ]);
            case.content_type = content_type.map(str::to_owned);
            "another content type"
        }
        9 if !places[case.place].websocket => {
            case.method = if case.method == "GET" { "POST" } else { "GET" };
            "another method"
        }
        10 if !places[case.place].websocket => {
            // Nothing separates the URL from the parameters.
            let query = case.query.clone().unwrap_or_default();
            let cut = random.below(query.len() + 1);
            if query.is_char_boundary(cut) && case.query.is_some() {
                let (head, tail) = query.split_at(cut);
                case.query = Some(head.to_owned());
                case.method = "POST";
                case.content_type = Some(FORM.to_owned());
                let parameter = (tail.as_bytes().to_vec(), Vec::new());
                case.body = encode(random, Style::Everything, &[parameter]);
            }
            "the end of the URL moved into the form"
        }
        _ => {
            let mut query = case.query.clone().unwrap_or_default().into_bytes();
            if !query.is_empty() {
                let at = random.below(query.len());
                query[at] = if query[at] == b'e' { b'f' } else { b'e' };
            }
            if !query.is_empty() {
                case.query = Some(String::from_utf8_lossy(&query).into_owned());
            }
            "a byte of the query replaced"
        }
    }
}
