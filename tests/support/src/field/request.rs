//! A request of a case, with its placeholders filled in and signed.

use crate::field::cases::{Case, ORIGIN, Send, TOKEN};
use crate::messages::{Parameters, encode, now, sid, unsigned};
use crate::signing::{sha256_hex, sign, sign_sha256};
use crate::wire::Request;

/// The values of one step: the same wherever a placeholder occurs in it, others in the next step.
struct Values {
    unique: String,
    sha256: String,
    signature: String,
    sids: std::cell::RefCell<std::collections::BTreeMap<String, String>>,
}

impl Values {
    fn new() -> Values {
        Values {
            // 32 hexadecimal digits, so that it may stand in a SID.
            unique: sid("")[..32].to_owned(),
            sha256: String::new(),
            signature: String::new(),
            sids: Default::default(),
        }
    }

    fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let value = after
                .split_once('}')
                .and_then(|(name, after)| Some((self.value(name)?, after)));
            match value {
                Some((value, after)) => {
                    filled.push_str(&value);
                    rest = after;
                }
                // A brace of JSON.
                None => {
                    filled.push('{');
                    rest = after;
                }
            }
        }
        filled + rest
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "unique" => Some(self.unique.clone()),
            "sha256" => Some(self.sha256.clone()),
            "signature" => Some(self.signature.clone()),
            _ => {
                if let Some(prefix) = name.strip_prefix("sid:") {
                    let mut sids = self.sids.borrow_mut();
                    let sid = sids.entry(prefix.to_owned()).or_insert_with(|| sid(prefix));
                    return Some(sid.clone());
                }
                if let Some(times) = name.strip_prefix("times:") {
                    let (times, text) = times.split_once(':')?;
                    return Some(text.repeat(times.parse().ok()?));
                }
                let offset: i64 = name.strip_prefix("now")?.parse().ok()?;
                let at = i64::try_from(now().as_secs()).ok()? + offset;
                Some(at.to_string())
            }
        }
    }

    fn parameters(&self, parameters: &[(String, String)]) -> Parameters {
        let one = |(name, value): &(String, String)| (self.fill(name), self.fill(value));
        parameters.iter().map(one).collect()
    }
}

/// The request of a step.
pub fn request(case: &Case, send: &Send) -> Request {
    let mut values = Values::new();
    let form = send.form.as_ref().map(|form| values.parameters(form));
    let body = match (&form, &send.body) {
        (Some(form), None) => encode(form),
        (None, body) => values.fill(body.as_deref().unwrap_or_default()),
        (Some(_), Some(_)) => panic!("{}: a form and a body", case.id),
    };
    values.sha256 = sha256_hex(body.as_bytes());
    let path = values.fill(send.path.as_ref().unwrap_or(&case.path()));
    let url = match send.sign.url.as_ref().or(case.url.as_ref()) {
        Some(url) => values.fill(url),
        None => format!("{ORIGIN}{path}"),
    };
    let params = match &send.sign.params {
        Some(params) => values.parameters(params),
        None => form.clone().unwrap_or_default(),
    };
    let token = send.sign.token.as_deref().unwrap_or(TOKEN);
    values.signature = match send.sign.algo.as_deref() {
        None | Some("sha1") => sign(token, &url, &params),
        Some("sha256") => sign_sha256(token, &url, &params),
        Some(other) => panic!("{}: unknown algorithm {other}", case.id),
    };
    let method = send.method.as_deref().unwrap_or("POST");
    let mut request =
        unsigned(method, &path).header("x-twilio-signature", values.signature.as_bytes());
    if form.is_some() {
        request = request.header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        );
    }
    if send.websocket {
        request = request
            .with("user-agent", "Twilio.TmeWs/1.0")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    }
    for (name, value) in &send.headers {
        request = match value {
            Some(value) => request.with(name, values.fill(value)),
            None => request.without(name),
        };
    }
    request.body(body)
}
