//! Whole requests: what passes was signed, and does not pass twice.
#![no_main]

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use sha1::Sha1;
use twilio_webhook_filter::core::clock::Moment;
use twilio_webhook_filter::core::config::load::load;
use twilio_webhook_filter::core::refusal::Reason;
use twilio_webhook_filter::core::request::client::Client;
use twilio_webhook_filter::core::request::headers::Headers;
use twilio_webhook_filter::core::request::rules::HashKey;
use twilio_webhook_filter::core::request::state::{Next, Filter, Surroundings};
use twilio_webhook_filter::core::request::verdict::Outcome;
use twilio_webhook_filter::core::signature::form::Form;
use twilio_webhook_filter::core::table::memory::MemoryStore;

const CONFIGURATION: &str = r#"{
    "accounts": [{"auth_tokens": ["12345"]}],
    "shared_keys": [{"id": "wsk_1", "secret": "67890"}],
    "webhooks": [{"path": "/hook", "url": "https://h.example/hook?a=1", "methods": ["POST", "GET"]},
                 {"path": "/in/*", "rate_limits": [{"key": "param:From", "requests": 2, "window": "1s"}]}],
    "public_base_url": "https://h.example",
    "exempt_paths": ["/*"]
}"#;

/// Headers that mean something to the filter.
const NAMES: [&str; 10] = [
    "content-type",
    "content-encoding",
    "x-twilio-signature",
    "x-twilio-webhooks-signature-settings",
    "x-twilio-request-timestamp",
    "x-envoy-original-path",
    "connection",
    "upgrade",
    "content-length",
    "transfer-encoding",
];

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    get: bool,
    /// Sent to a webhook, whatever the path below.
    to_a_webhook: bool,
    path: &'a [u8],
    headers: Vec<(u8, &'a [u8])>,
    form: bool,
    body: &'a [u8],
    /// With the signature that Twilio would send.
    signed: bool,
    client: &'a [u8],
}

thread_local! {
    /// Read once: what is tried is requests.
    static FILTER: Rc<Filter> = {
        let nothing = |_: &str| None::<String>;
        let settings = load(CONFIGURATION.as_bytes(), &nothing);
        let settings = settings.unwrap_or_else(|problems| panic!("{problems}"));
        Rc::new(Filter::new(settings, HashKey([7; 16])))
    };
}

fuzz_target!(|input: Input<'_>| {
    let filter = FILTER.with(Rc::clone);
    let path = match input.to_a_webhook {
        true => [b"/in/", input.path].concat(),
        false => input.path.to_vec(),
    };
    let mut message = [b"https://h.example", &path[..]].concat();
    if input.form && !input.body.is_empty() {
        Form::parse(input.body).write_signed(&mut message);
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(b"12345").expect("any key will do");
    mac.update(&message);
    let signature = STANDARD.encode(mac.finalize().into_bytes());

    let method: &[u8] = if input.get { b"GET" } else { b"POST" };
    let mut headers: Vec<(&[u8], &[u8])> = vec![(b":method", method), (b":path", &path)];
    for (name, value) in &input.headers {
        headers.push((NAMES[usize::from(*name) % NAMES.len()].as_bytes(), value));
    }
    if input.form {
        headers.push((b"content-type", b"application/x-www-form-urlencoded"));
    }
    if input.signed {
        headers.push((b"x-twilio-signature", signature.as_bytes()));
    }

    let store = MemoryStore::new();
    let around = Surroundings {
        store: &store,
        now: Moment(1_800_000_000_000),
    };
    let outcome = |claim_id| {
        let client = Client::from_source_address(input.client);
        let next = match filter.arrive(Headers::new(&headers), client, around) {
            Next::Held(held) => held.complete(input.body, claim_id, around),
            next => next,
        };
        let Next::Decided(verdict) = next else {
            panic!("shared data answers at once")
        };
        verdict.outcome
    };
    match outcome(1) {
        Outcome::Accepted(accepted) => {
            assert!(input.signed, "nobody guesses a signature");
            assert!(accepted.claim.is_some());
            match outcome(2) {
                Outcome::Refused(refusal) => assert_eq!(refusal.reason, Reason::Duplicate),
                other => panic!("a repeat was {}", other.name()),
            }
        }
        Outcome::Refused(refusal) => assert_ne!(refusal.reason, Reason::Internal),
        Outcome::Exempt => assert!(!path.starts_with(b"/in/") && !path.starts_with(b"/hook?")),
        Outcome::Unchecked => panic!("the mode is enforce"),
    }
});
