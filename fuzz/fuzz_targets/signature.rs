//! The signature header: what is taken has one spelling, which is what was taken.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use twilio_webhook_filter::core::signature::key::ClaimedMac;

fuzz_target!(|header: &[u8]| {
    if let Some(claimed) = ClaimedMac::parse(header) {
        let decoded = STANDARD.decode(header).expect("what was taken is base64");
        assert_eq!(decoded.len(), claimed.length());
        assert!(matches!(decoded.len(), 20 | 32));
        assert_eq!(STANDARD.encode(decoded).as_bytes(), header);
    }
});
