//! A request of the usual kind, to be changed in one thing or another.

use crate::decide::Sent;
use crate::message::{PATH, TOKEN, URL, message, signature};

/// A request as Envoy has it.
#[derive(Clone)]
pub struct Request {
    headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Envoy's `source.address`.
    pub client: String,
}

impl Request {
    /// A form, signed, with the headers that Twilio sends and those that Envoy adds.
    pub fn form(body: &[u8]) -> Request {
        let headers = [
            (":authority", "orders.example.com"),
            (":path", PATH),
            (":method", "POST"),
            (":scheme", "https"),
            (
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            ),
            ("content-length", &body.len().to_string()),
            ("x-twilio-signature", &signature(TOKEN, URL, body)),
            (
                "i-twilio-idempotency-token",
                "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
            ),
            ("accept", "*/*"),
            ("user-agent", "TwilioProxy/1.1"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "7c9e6679-7425-40de-944b-e07fc1f90ae7"),
        ];
        Request {
            headers: headers.map(|(name, value)| (name, value.to_owned())).into(),
            body: body.to_owned(),
            client: "192.0.2.1:4711".into(),
        }
    }

    /// The message of the usual kind.
    pub fn message() -> Request {
        Request::form(message().as_bytes())
    }

    /// The same with another value of a header.
    pub fn with(mut self, name: &'static str, value: &str) -> Request {
        self.headers.retain(|(own, _)| *own != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Request {
        self.headers.retain(|(own, _)| *own != name);
        self
    }

    /// The same with another body, under the signature of the first.
    pub fn with_body(mut self, body: &[u8]) -> Request {
        self.body = body.to_owned();
        self
    }

    /// The same by another client, each with a number of its own.
    pub fn by_client(mut self, number: u32) -> Request {
        let [_, b, c, d] = number.to_be_bytes();
        self.client = format!("10.{b}.{c}.{d}:4711");
        self
    }

    /// Its headers as the host hands them over.
    pub fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        fn bytes<'a>((name, value): &'a (&'static str, String)) -> (&'a [u8], &'a [u8]) {
            (name.as_bytes(), value.as_bytes())
        }
        self.headers.iter().map(bytes).collect()
    }

    /// What the host hands over, given [`Request::pairs`].
    pub fn sent<'a>(&'a self, headers: &'a [(&'a [u8], &'a [u8])]) -> Sent<'a> {
        Sent {
            headers,
            client: &self.client,
            body: &self.body,
        }
    }
}
