//! A timestamp, signed or not: what is taken is as recent as it has to be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twilio_webhook_filter::core::clock::{Moment, Span};
use twilio_webhook_filter::core::freshness::Freshness;

fuzz_target!(|timestamp: &[u8]| {
    let freshness = Freshness {
        max_age: Span::seconds(300),
        clock_skew: Span::seconds(30),
    };
    for now in [0, 1_585_685_700_000, 1_800_000_000_000, u64::MAX] {
        let now = Moment(now);
        if let Ok(moment) = freshness.check(timestamp, now) {
            assert!(moment <= now.after(freshness.clock_skew));
            assert!(now.since(moment) <= freshness.max_age);
        }
    }
});
