//! The request's target, path and query, against configured URLs with and without a query: just those URLs are tried
//! that the reference names, none twice and no more than promised.
#![no_main]

use std::collections::BTreeSet;

use apart::draw::Draw;
use libfuzzer_sys::fuzz_target;
use support::contract::{SignedAs, Webhook, messages, pairs, split_target};
use twilio_webhook_filter::{ConfiguredUrl, Form, MAX_URLS, PublicUrl, Target};

/// What is tried of `wss://u:p@[::1]:1`, for a handshake, too.
const WITH_USERINFO: &[&str] = &[
    "wss://u:p@[::1]:1",
    "wss://u:p@[::1]",
    "wss://u:p@[::1]:443",
    "wss://u:p@[::1]:80",
    "wss://[::1]:1",
    "wss://[::1]",
    "wss://[::1]:443",
    "wss://[::1]:80",
];

/// Configured URLs, and what is tried for them in front of the path.
const URLS: [(&str, Webhook); 4] = [
    ("https://h.example/hook", Webhook::USUAL),
    (
        "https://h.example:8443/hook?b='2&a=x+y",
        Webhook {
            own_query: Some("b='2&a=x+y"),
            ..Webhook::AT_8443
        },
    ),
    (
        "wss://u:p@[::1]:1/?",
        Webhook {
            origins: WITH_USERINFO,
            handshake_origins: WITH_USERINFO,
            own_query: Some(""),
            ..Webhook::PLAIN
        },
    ),
    (
        "http://h.example",
        Webhook {
            origins: &["http://h.example", "http://h.example:80"],
            ..Webhook::USUAL
        },
    ),
];

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut draw = Draw::new(bytes);
    let path = draw.one_of(&["/hook", "/", "", "/hook/", "/a"]);
    let mut pieces = vec!["b=%272", "a=x%20y", "bodySHA256=00"];
    draw.shuffle(&mut pieces);
    pieces.truncate(3 - draw.below(3));
    let more = draw.text(4);
    let query = match draw.below(4) {
        0 => Vec::new(),
        1 => [b"?", &more[..]].concat(),
        2 => ["?", &pieces.join("&")].concat().into_bytes(),
        _ => [b"?", pieces.join("&").as_bytes(), b"&", &more].concat(),
    };
    check(&[path.as_bytes(), &query].concat());

    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(url) = ConfiguredUrl::parse(text)
    {
        let query = url
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let port = url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let whole = format!(
            "{}://{}{port}{}{query}",
            url.scheme(),
            url.host(),
            url.path()
        );
        assert_eq!(
            Some(&whole[..]),
            text.split('#').next(),
            "not a byte is lost"
        );
    }
});

thread_local! {
    static PARSED: [ConfiguredUrl; 4] = URLS.map(|(text, _)| ConfiguredUrl::parse(text).expect("a URL"));
}

fn check(target: &[u8]) {
    let (path, query) = split_target(target);
    let parsed = PARSED.with(Clone::clone);
    for (url, (_, webhook)) in parsed.iter().zip(&URLS) {
        let base = Webhook {
            own_query: None,
            ..*webhook
        };
        // The path is the configured one, or the base's and the request's behind it.
        let configured = (PublicUrl::configured(url), webhook, url.path().as_bytes());
        let path = [url.path().trim_end_matches('/').as_bytes(), path].concat();
        let below = (PublicUrl::base(url), &base, &path[..]);
        for (public, webhook, path) in [configured, below] {
            for handshake in [false, true] {
                let mut tried = Vec::new();
                for candidate in public.candidates(Target::new(target, handshake)) {
                    let mut written = Vec::new();
                    candidate.write(&mut written);
                    let parameters = candidate.query_parameters();
                    tried.push((written, parameters));
                }
                assert!((1..=MAX_URLS).contains(&tried.len()));
                compare(tried, messages(webhook, path, query, handshake, b""));
            }
        }
    }
}

fn compare(tried: Vec<(Vec<u8>, Form)>, expected: Vec<(Vec<u8>, Vec<u8>, SignedAs)>) {
    let count = tried.len();
    let distinct: BTreeSet<&[u8]> = tried.iter().map(|(url, _)| &url[..]).collect();
    assert_eq!(distinct.len(), count, "an HMAC in vain");
    for (url, parameters) in &tried {
        let shown = url.escape_ascii().to_string();
        let own = expected.iter().find(|(own, ..)| own == url);
        let (_, query, _) = own.unwrap_or_else(|| panic!("{shown} is no URL that Twilio signs"));
        let mut read: Vec<_> = pairs(query);
        read.sort();
        read.dedup();
        let is_same = parameters
            .pairs()
            .eq(read.iter().map(|(name, value)| (&name[..], &value[..])));
        assert!(is_same, "the query of {shown}");
    }
    for (url, _, signed_as) in &expected {
        let must = *signed_as != SignedAs::Form { is_sure: false };
        let is_tried = distinct.contains(&url[..]);
        assert!(is_tried || !must, "{} is not tried", url.escape_ascii());
    }
}
