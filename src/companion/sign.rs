//! The headers of a request that is to pass: what Twilio does when it sends one.

use std::fmt::Write as _;

use crate::companion::configuration::SigningSecret;
use crate::companion::encode;
use crate::request::headers::{SETTINGS_HEADER, SIGNATURE_HEADER};
use crate::signature::form::Form;
use crate::signature::key::{SigningKey, sha256};

/// What is sent besides the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing: a GET, or a POST without parameters.
    Nothing,
    /// Parameters in the query of a GET.
    Query(Vec<(String, String)>),
    /// Parameters in a form.
    Parameters(Vec<(String, String)>),
    /// A form as it is spelled.
    Form(Vec<u8>),
    /// Any other body, whose hash the URL gets.
    Hashed(Vec<u8>),
    /// Nothing, and the connection becomes a WebSocket.
    WebSocket,
}

/// A request that is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// The method that goes with the content.
    pub method: &'static str,
    /// The URL as it is sent: with the query of a GET, with `bodySHA256`, without fragment and user.
    pub url: String,
    /// Path and query.
    pub target: String,
    /// The signature, the header that selects a shared key, the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The string that was signed.
    pub message: Vec<u8>,
}

impl SignedRequest {
    /// Returns the request as a command for a POSIX shell that calls this URL.
    pub fn curl(&self, url: &str) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let mut words = vec!["curl -i -X".to_owned(), self.method.to_owned()];
        for (name, value) in &self.headers {
            words.push(format!("-H {}", quoted(&format!("{name}: {value}"))));
        }
        let has_upgrade = self.headers.iter().any(|(name, _)| *name == "upgrade");
        if self.url.starts_with("ws") && !has_upgrade {
            for header in [
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ] {
                words.push(format!("-H {}", quoted(header)));
            }
        }
        if !self.body.is_empty() {
            let body = String::from_utf8_lossy(&self.body);
            words.push(format!("--data-raw {}", quoted(&body)));
        }
        // curl knows WebSockets as HTTP.
        let url = match url.strip_prefix("ws") {
            Some(rest) => format!("http{rest}"),
            None => url.to_owned(),
        };
        words.push(quoted(&url));
        words.join(" ")
    }
}

/// Signs a request for a URL, exactly as that is entered at Twilio.
///
/// # Errors
/// What was expected in the place of the URL or the key.
pub fn sign(url: &str, content: Content, secret: &SigningSecret) -> Result<SignedRequest, String> {
    let mut url = public_url(url)?;
    let mut content_type = None;
    let mut method = "POST";
    let mut body = Vec::new();
    match content {
        Content::Nothing => {}
        Content::Query(parameters) => {
            method = "GET";
            if !parameters.is_empty() {
                add_to_query(&mut url, &encode::form(pairs(&parameters)));
            }
        }
        Content::Parameters(parameters) => {
            body = encode::form(pairs(&parameters)).into_bytes();
            content_type = Some(FORM);
        }
        Content::Form(form) => {
            body = form;
            content_type = Some(FORM);
        }
        Content::Hashed(bytes) => {
            let hex = sha256(&[&bytes])
                .iter()
                .fold(String::new(), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                });
            add_to_query(&mut url, &format!("bodySHA256={hex}"));
            body = bytes;
            content_type = Some("application/json");
        }
        Content::WebSocket => {
            method = "GET";
            if let Some((scheme, rest)) = url.split_once("://")
                && scheme.to_ascii_lowercase().starts_with("http")
            {
                // https becomes wss, http becomes ws.
                let s = if scheme.len() > "http".len() { "s" } else { "" };
                url = format!("ws{s}://{rest}");
            }
        }
    }
    let mut message = url.clone().into_bytes();
    if content_type == Some(FORM) {
        Form::parse(&body).write_signed(&mut message);
    }
    let (signature, settings) = mac(secret, &message)?;
    let mut headers = vec![(SIGNATURE_HEADER, signature)];
    headers.extend(settings.map(|settings| (SETTINGS_HEADER, settings)));
    headers.extend(content_type.map(|kind| ("content-type", kind.to_owned())));
    let behind = url.split_once("://").map_or("", |(_, rest)| rest);
    let target = behind.find(['/', '?']).and_then(|at| behind.get(at..));
    let target = target.unwrap_or_default();
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok(SignedRequest {
        method,
        target: format!("{slash}{target}"),
        url,
        headers,
        body,
        message,
    })
}

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

fn pairs(parameters: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    parameters
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

/// Returns the URL as Twilio calls it: fragments say how to deliver, and user and password go into
/// a header.
fn public_url(url: &str) -> Result<String, String> {
    let expected = |what: &str| Err(format!("expected {what}"));
    let url = url.split('#').next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return expected("a URL with its scheme, such as https://orders.example.com/webhook");
    };
    let is = |known: &str| scheme.eq_ignore_ascii_case(known);
    if !["http", "https", "ws", "wss"].into_iter().any(is) {
        return expected("a URL that begins with https://, http://, wss:// or ws://");
    }
    // As the filter does, which signs it as it is configured, but each handshake as wss.
    let scheme = match is("ws") || is("wss") {
        true => scheme.to_ascii_lowercase(),
        false => scheme.to_owned(),
    };
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return expected("a URL of visible ASCII characters, without blanks");
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.is_empty() {
        return expected("a host in the URL");
    }
    Ok(format!("{scheme}://{host}{target}"))
}

fn add_to_query(url: &mut String, query: &str) {
    url.push(if url.contains('?') { '&' } else { '?' });
    url.push_str(query);
}

/// Returns the signature, and the header that selects a shared key.
fn mac(secret: &SigningSecret, message: &[u8]) -> Result<(String, Option<String>), String> {
    let (key, settings) = match secret {
        SigningSecret::AuthToken(token, _) => (SigningKey::auth_token(token), None),
        SigningSecret::SharedKey(secret, id) => {
            let settings = format!("key={id},algorithm=HMAC_SHA256");
            (SigningKey::shared_key(secret), Some(settings))
        }
    };
    let key = key.ok_or("expected a key that is not empty")?;
    Ok((key.mac(message).to_header(), settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn token(text: &str) -> SigningSecret {
        SigningSecret::AuthToken(Secret::new(text.into()), None)
    }

    #[test]
    fn the_example_of_twilios_documentation_has_its_signature() {
        // https://www.twilio.com/docs/usage/security
        let parameters = [
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675310"),
            ("Digits", "1234"),
            ("From", "+14158675310"),
            ("To", "+18005551212"),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let content = Content::Parameters(parameters.into());
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        let signed = sign(url, content, &token("12345")).expect("a URL");
        let signature = signed.headers.first().map(|(_, value)| value.as_str());
        assert_eq!(signature, Some("GvWf1cFY/Q7PnoempGyD5oXAezc="));
    }

    #[test]
    fn what_is_sent_has_what_is_signed() {
        let sent = |url: &str, content| {
            let signed = sign(url, content, &token("t")).expect("a URL");
            (signed.method, signed.url, signed.target)
        };
        let url = "https://me:pw@h.example?a=1#rc=5";
        let get = sent(url, Content::Query(vec![("b".into(), "2 3".into())]));
        let expected = (
            "GET",
            "https://h.example?a=1&b=2+3".to_owned(),
            "/?a=1&b=2+3".to_owned(),
        );
        assert_eq!(get, expected);
        let (_, url, _) = sent("https://h.example/p", Content::Hashed(b"{}".into()));
        assert!(
            url.starts_with("https://h.example/p?bodySHA256=44136fa355b3678a"),
            "{url}"
        );
        let (method, url, target) = sent("https://h.example/s", Content::WebSocket);
        assert_eq!(
            (method, &url[..], &target[..]),
            ("GET", "wss://h.example/s", "/s")
        );
        for (given, content, expected) in [
            (
                "HTTPS://h.example/s",
                Content::Nothing,
                "HTTPS://h.example/s",
            ),
            (
                "HTTPS://h.example/s",
                Content::WebSocket,
                "wss://h.example/s",
            ),
            ("Http://h.example/s", Content::WebSocket, "ws://h.example/s"),
            ("WSS://h.example/s", Content::WebSocket, "wss://h.example/s"),
        ] {
            assert_eq!(sent(given, content).1, expected);
        }
        for wrong in [
            "h.example",
            "ftp://h.example",
            "https://",
            "https://h.example/a b",
        ] {
            assert!(
                sign(wrong, Content::Nothing, &token("t")).is_err(),
                "{wrong}"
            );
        }
    }
}
