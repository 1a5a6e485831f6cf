//! Whether a request is recent, by a timestamp in one of the formats that Twilio uses.

use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use crate::reason::Reason;
use crate::time::{Millis, Timestamp};

/// How old a timestamp may be, and how far ahead; both inclusive.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// The maximum age.
    pub max_age: Millis,
    /// How far ahead it may be.
    pub clock_skew: Millis,
}

impl Freshness {
    /// Parses a timestamp and returns it if it is recent.
    ///
    /// # Errors
    /// [`Reason::MalformedTimestamp`], [`Reason::StaleTimestamp`], [`Reason::FutureTimestamp`].
    pub fn check(self, timestamp: &[u8], now: Timestamp) -> Result<Timestamp, Reason> {
        let moment = parse(timestamp).ok_or(Reason::MalformedTimestamp)?;
        if moment > now.after(self.clock_skew) {
            return Err(Reason::FutureTimestamp);
        }
        if now.since(moment) > self.max_age {
            return Err(Reason::StaleTimestamp);
        }
        Ok(moment)
    }
}

/// Returns the age of a timestamp, zero if it is in the future; `None` if it is malformed.
pub fn age(timestamp: &[u8], now: Timestamp) -> Option<Millis> {
    parse(timestamp).map(|moment| now.since(moment))
}

/// Parses Unix seconds, Unix milliseconds, RFC 3339 or RFC 2822.
///
/// A number of up to 11 digits is seconds (until the year 5138), a longer one milliseconds (from
/// 1973 on), so that no number in use has two readings.
pub(crate) fn parse(timestamp: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(timestamp).ok()?;
    // No format is longer, and a longer text is not worth a parser's time.
    if text.len() > 64 {
        return None;
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: u64 = text.parse().ok()?;
        return match text.len() {
            ..=11 => Some(Timestamp(number.checked_mul(1000)?)),
            12..=14 => Some(Timestamp(number)),
            _ => None,
        };
    }
    let date = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(text, &Rfc2822))
        .ok()?;
    let millis = date.unix_timestamp_nanos().div_euclid(1_000_000);
    u64::try_from(millis).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// 2020-03-31T20:15:00Z
    const THEN: u64 = 1_585_685_700_000;

    #[test]
    fn all_formats_say_the_same_moment() {
        for text in [
            "1585685700",
            "1585685700000",
            "2020-03-31T20:15:00Z",
            "2020-03-31T22:15:00.000+02:00",
            "Tue, 31 Mar 2020 20:15:00 +0000",
            "Tue, 31 Mar 2020 20:15:00 GMT",
            "31 Mar 2020 16:15:00 EDT",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(Timestamp(THEN)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        let texts = "|yesterday|-1|1585685700.5| 1585685700|0x5e83a244|15856857000000000|2020-03-31|\
            2020-03-31T20:15:00|2020-02-30T20:15:00Z|1899-01-01T00:00:00Z|１５８５６８５７００";
        let texts = texts.split('|').map(str::as_bytes);
        for text in texts.chain([&b"\xFF\xFE"[..], &[b'1'; 100]]) {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_date_of_64_characters_is_read_and_one_of_65_is_not() {
        let date = |length: usize| format!("2020-03-31T20:15:00.{}Z", "0".repeat(length - 21));
        assert_eq!(parse(date(64).as_bytes()), Some(Timestamp(THEN)));
        assert_eq!(parse(date(65).as_bytes()), None);
    }

    #[test]
    fn a_number_is_seconds_up_to_11_digits_and_milliseconds_up_to_14() {
        for (text, expected) in [
            ("99999999999", Some(99_999_999_999_000)),
            ("100000000000", Some(100_000_000_000)),
            ("99999999999999", Some(99_999_999_999_999)),
            ("100000000000000", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected.map(Timestamp), "{text}");
        }
    }

    #[test]
    fn the_age_of_a_timestamp_is_the_time_since_then() {
        let now = Timestamp(THEN + 61_500);
        assert_eq!(age(b"1585685700", now), Some(Millis(61_500)));
        assert_eq!(age(b"1585686700", now), Some(Millis(0)));
        assert_eq!(age(b"yesterday", now), None);
    }

    #[test]
    fn both_boundaries_are_inclusive() {
        let freshness = Freshness {
            max_age: Millis::seconds(300),
            clock_skew: Millis::seconds(30),
        };
        let check = |now: u64| freshness.check(b"1585685700", Timestamp(now));
        assert_eq!(check(THEN + 300_000), Ok(Timestamp(THEN)));
        assert_eq!(check(THEN + 300_001), Err(Reason::StaleTimestamp));
        assert_eq!(check(THEN - 30_000), Ok(Timestamp(THEN)));
        assert_eq!(check(THEN - 30_001), Err(Reason::FutureTimestamp));
    }
}
