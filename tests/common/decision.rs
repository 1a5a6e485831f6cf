//! The whole decision on a request in the core, as the adapter drives it.

use std::rc::Rc;

use twilio_webhook_filter::{
    CasMap, ClientAddress, Filter, HashKey, Headers, Next, Surroundings, Timestamp, Verdict, load,
};

use crate::message::{ACCOUNT, PATH, TOKEN, URL, message, signature};

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// The filter by a configuration, with the environment of a small installation.
pub(crate) fn filter(json: &str) -> Rc<Filter> {
    let environment = |name: &str| match name {
        "TWILIO_AUTH_TOKEN" => Some(TOKEN.to_owned()),
        "TWILIO_ACCOUNT_SID" => Some(ACCOUNT.to_owned()),
        "WEBHOOK_URL" => Some(URL.to_owned()),
        _ => None,
    };
    let settings =
        load(json.as_bytes(), &environment).unwrap_or_else(|problems| panic!("{json}: {problems}"));
    Rc::new(Filter::new(settings, HashKey([7; 16])))
}

/// A request as Envoy has it.
#[derive(Clone)]
pub(crate) struct Request {
    headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Envoy's `source.address`.
    pub(crate) client: String,
}

impl Request {
    /// A form, signed, with the headers that Twilio sends and those that Envoy adds.
    pub(crate) fn form(body: &[u8]) -> Request {
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
    pub(crate) fn message() -> Request {
        Request::form(message().as_bytes())
    }

    /// The same with another value of a header.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Request {
        self.headers.retain(|(own, _)| *own != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Request {
        self.headers.retain(|(own, _)| *own != name);
        self
    }

    /// The same with another body, under the signature of the first.
    pub(crate) fn with_body(mut self, body: &[u8]) -> Request {
        self.body = body.to_owned();
        self
    }

    /// The same by another client, each with a number of its own.
    pub(crate) fn by_client(mut self, number: u32) -> Request {
        let [_, b, c, d] = number.to_be_bytes();
        self.client = format!("10.{b}.{c}.{d}:4711");
        self
    }

    /// What the adapter hands over.
    pub(crate) fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        fn bytes<'a>((name, value): &'a (&'static str, String)) -> (&'a [u8], &'a [u8]) {
            (name.as_bytes(), value.as_bytes())
        }
        self.headers.iter().map(bytes).collect()
    }
}

/// From the client's address to the verdict. Redis is not asked, and a body that is too
/// large is told by its size alone, as it is in Envoy.
pub(crate) fn decide<S: CasMap>(
    filter: &Rc<Filter>,
    headers: &[(&[u8], &[u8])],
    request: &Request,
    claim_id: u64,
    around: Surroundings<'_, S>,
) -> Verdict {
    let Request { client, body, .. } = request;
    let client = ClientAddress::from_source_address(client.as_bytes());
    let next = match filter.arrive(Headers::new(headers), client, around) {
        Next::AwaitingBody(held) if !held.fits(body.len()) => held.overflow(around),
        Next::AwaitingBody(held) => held.complete(body, claim_id, around),
        decided => decided,
    };
    match next {
        Next::Decided(verdict) => verdict,
        Next::AwaitingBody(_) | Next::Asking(_) => panic!("not decided"),
    }
}
