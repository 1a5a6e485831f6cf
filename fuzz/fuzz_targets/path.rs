//! The request's path: a path that is exempt is no webhook's to an upstream that decodes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twilio_webhook_filter::core::routes::{PathPattern, spell_plainly};

/// Decodes escapes once.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    while let [first, after @ ..] = rest {
        rest = after;
        let digits = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match (first, digits) {
            (b'%', Some(digits)) => {
                out.push(u8::from_str_radix(digits, 16).expect("two digits"));
                rest = &after[2..];
            }
            _ => out.push(*first),
        }
    }
    out
}

fuzz_target!(|path: &[u8]| {
    let parse = |text| PathPattern::parse(text).expect("a pattern");
    let (webhook, exempt) = (parse("/a/b"), parse("/*"));
    let plain = spell_plainly(path);
    if exempt.matches(path) && !webhook.means(&plain) {
        for read in [path.to_vec(), decoded(path), decoded(&decoded(path))] {
            let read = read
                .split(|byte| matches!(byte, b'?' | b'#' | b';' | 0))
                .next();
            let read = read.unwrap_or_default().to_ascii_lowercase();
            let segments = read.split(|byte| matches!(byte, b'/' | b'\\'));
            let segments: Vec<&[u8]> = segments.filter(|s| !matches!(*s, b"" | b".")).collect();
            assert_ne!(
                segments,
                [b"a", b"b"],
                "{:?}",
                String::from_utf8_lossy(path)
            );
        }
    }
    if let Ok(text) = std::str::from_utf8(path)
        && let Ok(pattern) = PathPattern::parse(text)
    {
        assert_eq!(pattern.as_configured(), text);
        assert!(pattern.is_prefix() || pattern.matches(path));
    }
});
