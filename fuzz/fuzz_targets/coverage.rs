//! Method, content type and coding, query, body: what covers a body, if anything does.
#![no_main]

use apart::draw::Draw;
use libfuzzer_sys::fuzz_target;
use support::contract::pairs;
use support::signing::sha256_hex;
use twilio_webhook_filter::{Coverage, DeclaredBody, Method, MethodKind, Reason, Repeated};

const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// Content types, or pieces of them.
const TYPES: [&str; 14] = [
    "application/x-www-form-urlencoded",
    "APPLICATION/x-www-form-URLencoded",
    ";",
    "; ",
    "charset=utf-8",
    "charset=\"UTF-8\"",
    "charset=utf8",
    "charset=utf-16",
    "charset=",
    " ",
    "application/json",
    ",",
    "boundary=x",
    "text/plain",
];

const METHODS: [&str; 6] = ["POST", "GET", "HEAD", "DELETE", "PUT", "PATCH"];

fuzz_target!(|bytes: &[u8]| {
    let mut draw = Draw::new(bytes);
    let method = draw.one_of(&METHODS);
    let webhook_takes_bodies = draw.one_in(2) || ["POST", "PUT", "PATCH"].contains(&method);
    let pieces: Vec<&str> = (0..draw.below(6)).map(|_| draw.one_of(&TYPES)).collect();
    let content_type = match draw.below(8) {
        0 => Ok(None),
        1 => Err(Repeated),
        2 => Ok(Some(draw.text(8))),
        3 => Ok(Some([FORM, &draw.text(4)].concat())),
        _ => Ok(Some(pieces.concat().into_bytes())),
    };
    let coding = match draw.below(8) {
        0 => Err(Repeated),
        1 => Ok(Some(draw.one_of(&[
            "gzip",
            "identity",
            "Identity",
            "identity, gzip",
            "",
        ]))),
        _ => Ok(None),
    };
    let body = draw.text(draw_body_length(bytes));
    let query = query(&body, &mut draw);

    let once = match &content_type {
        Ok(content_type) => Ok(content_type.as_deref()),
        Err(Repeated) => Err(Repeated),
    };
    let declared = DeclaredBody::new(once, coding.map(|coding| coding.map(str::as_bytes)));
    let kind = Method {
        kind: MethodKind::of(method.as_bytes()),
        webhook_takes_bodies,
    };
    let covered = Coverage::of(kind, declared, &body, &query);

    let is_coded = !matches!(coding, Ok(None))
        && !matches!(coding, Ok(Some(c)) if c.eq_ignore_ascii_case("identity"));
    let reading = match &content_type {
        Err(Repeated) => Reading::Ambiguous,
        Ok(None) => Reading::Other,
        Ok(Some(content_type)) => reading(content_type),
    };
    let hashes: Vec<Vec<u8>> = pairs(&query)
        .into_iter()
        .filter(|(name, _)| name == b"bodySHA256")
        .map(|(_, hash)| hash)
        .collect();
    let is_without = |hash: &Vec<u8>| {
        let hash = hash.to_ascii_lowercase();
        hash == sha256_hex(b"").as_bytes() || hash == sha256_hex(b"{}").as_bytes()
    };
    let expected = match (body.is_empty(), method) {
        (true, "GET" | "HEAD") if !webhook_takes_bodies => Ok(None),
        (true, _) if hashes.iter().all(is_without) => Ok(None),
        // Rejected once the signature is right: it may be nobody's.
        (true, _) => {
            assert_eq!(covered, Ok(Coverage::Missing));
            return;
        }
        (false, _) if is_coded => Err(Reason::MalformedBody),
        (false, "GET" | "HEAD" | "DELETE") => Err(Reason::UnsignedBody),
        (false, _) => match reading {
            Reading::Form => {
                assert_eq!(covered, Ok(Coverage::Form));
                return;
            }
            Reading::Ambiguous => Err(Reason::UnsignedBody),
            Reading::Other => match &hashes[..] {
                [hash] if hash.len() == 64 && hash.iter().all(u8::is_ascii_hexdigit) => {
                    Ok(Some(hash.to_ascii_lowercase()))
                }
                _ => Err(Reason::UnsignedBody),
            },
        },
    };
    match (covered, expected) {
        (Ok(Coverage::Empty), Ok(None)) => {}
        (Ok(Coverage::Hash(hash)), Ok(Some(expected))) => {
            let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex.as_bytes(), expected);
        }
        (Err(reason), Err(expected)) => assert_eq!(reason, expected),
        (covered, expected) => panic!("{covered:?}, and not {expected:?}"),
    }
});

fn draw_body_length(bytes: &[u8]) -> usize {
    if bytes.last().is_some_and(|last| last % 4 == 0) {
        0
    } else {
        6
    }
}

fn query(body: &[u8], draw: &mut Draw<'_>) -> Vec<u8> {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for _ in 0..draw.below(4) {
        let hash = match draw.below(5) {
            0 => sha256_hex(b""),
            1 => sha256_hex(b"{}"),
            2 => sha256_hex(body).to_uppercase(),
            3 => sha256_hex(body)[draw.below(2)..].to_owned(),
            _ => sha256_hex(body),
        };
        let name = draw.one_of(&[
            "bodySHA256",
            "body%53HA256",
            "%62ody%53HA%32%356",
            "bodysha256",
            "bodySHA256%20",
        ]);
        pieces.push(match draw.below(4) {
            0 => draw.text(6),
            1 => name.into(),
            2 => format!("{name}={}", hash.replace('0', "%30")).into(),
            _ => format!("{name}={hash}").into(),
        });
    }
    pieces.join(&b'&')
}

enum Reading {
    Form,
    /// Some upstream reads it as a form, and in another way than it was signed.
    Ambiguous,
    Other,
}

fn reading(content_type: &[u8]) -> Reading {
    let lower = content_type.to_ascii_lowercase();
    let mut parts = lower.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let parameters: [&[u8]; 4] = [b"", b"charset=utf-8", b"charset=\"utf-8\"", b"charset=utf8"];
    let is_form = parts.next() == Some(FORM);
    match is_form && parts.all(|parameter| parameters.contains(&parameter)) {
        true => Reading::Form,
        false if lower.windows(FORM.len()).any(|window| window == FORM) => Reading::Ambiguous,
        false => Reading::Other,
    }
}
