//! The signature header: what is taken has one spelling, and every MAC in that spelling is taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use support::signing::base64;
use twilio_webhook_filter::ClaimedMac;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// 20 bytes are 160 bits in 27 letters, 32 are 256 bits in 43: in both, the last letter has two bits to spare.
fn is_canonical(header: &[u8]) -> bool {
    let Some((b'=', letters)) = header.split_last() else {
        return false;
    };
    let values: Vec<usize> = letters
        .iter()
        .filter_map(|letter| LETTERS.iter().position(|own| own == letter))
        .collect();
    matches!(letters.len(), 27 | 43)
        && values.len() == letters.len()
        && values.last().is_some_and(|last| last & 3 == 0)
}

fuzz_target!(|bytes: &[u8]| {
    let claimed = ClaimedMac::parse(bytes);
    assert_eq!(claimed.is_some(), is_canonical(bytes));

    // Bytes that are letters more often than not.
    let letters: Vec<u8> = bytes
        .iter()
        .map(|byte| LETTERS[usize::from(*byte) % 64])
        .collect();
    for length in [27, 43] {
        let header = [letters.get(..length).unwrap_or_default(), b"="].concat();
        assert_eq!(ClaimedMac::parse(&header).is_some(), is_canonical(&header));
    }
    for length in [19, 20, 21, 31, 32, 33] {
        if let Some(mac) = bytes.get(..length) {
            let claimed = ClaimedMac::parse(base64(mac).as_bytes()).map(|claimed| claimed.length());
            assert_eq!(
                claimed,
                Some(length).filter(|length| matches!(length, 20 | 32))
            );
        }
    }
});
