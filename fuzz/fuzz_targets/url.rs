//! The request's target, path and query, against configured URLs with and without a query.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twilio_webhook_filter::core::signature::url::{ConfiguredUrl, MOST_URLS, PublicUrl, Target};

const URLS: [&str; 4] = [
    "https://h.example/hook",
    "https://h.example:8443/hook?b='2&a=x+y",
    "wss://u:p@[::1]:1/?",
    "http://h.example",
];

fuzz_target!(|target: &[u8]| {
    for text in URLS {
        let url = ConfiguredUrl::parse(text).expect("a URL");
        for public in [PublicUrl::configured(&url), PublicUrl::base(&url)] {
            for websocket in [false, true] {
                let mut count = 0;
                let mut before = Vec::new();
                for candidate in public.candidates(Target::new(target, websocket)) {
                    let mut written = Vec::new();
                    candidate.write(&mut written);
                    assert!(!before.contains(&written), "an HMAC in vain");
                    before.push(written);
                    let _ = candidate.query_parameters();
                    count += 1;
                }
                assert!((1..=MOST_URLS).contains(&count));
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(target)
        && let Ok(url) = ConfiguredUrl::parse(text)
    {
        let _ = PublicUrl::configured(&url);
    }
});
