//! A timestamp, signed or not: a moment is read as that moment in every format, and only what is recent is taken.
#![no_main]

use apart::draw::Draw;
use libfuzzer_sys::fuzz_target;
use twilio_webhook_filter::{Freshness, Millis, Reason, Timestamp};

const FRESHNESS: Freshness = Freshness {
    max_age: Millis::seconds(300),
    clock_skew: Millis::seconds(30),
};

fuzz_target!(|bytes: &[u8]| {
    for now in [0, 1_585_685_700_000, 1_800_000_000_000, u64::MAX] {
        match FRESHNESS.check(bytes, Timestamp(now)) {
            Ok(Timestamp(moment)) => {
                assert!(moment <= now.saturating_add(30_000));
                assert!(now.saturating_sub(moment) <= 300_000);
            }
            Err(reason) => assert!(matches!(
                reason,
                Reason::MalformedTimestamp | Reason::StaleTimestamp | Reason::FutureTimestamp
            )),
        }
    }

    let mut draw = Draw::new(bytes);
    // Until the year 2100, and around now by up to twice what is taken.
    let seconds =
        (0..4).fold(0, |seconds, _| seconds << 8 | u64::from(draw.byte())) % 4_102_444_800;
    let away = i64::from(draw.byte()) << 8 | i64::from(draw.byte());
    let now = (seconds * 1_000).saturating_add_signed(away * 20 - 655_360);
    let expected = match seconds * 1_000 {
        moment if moment > now + 30_000 => Err(Reason::FutureTimestamp),
        moment if moment + 300_000 < now => Err(Reason::StaleTimestamp),
        moment => Ok(Timestamp(moment)),
    };
    for text in spellings(seconds, &mut draw) {
        let read = FRESHNESS.check(text.as_bytes(), Timestamp(now));
        assert_eq!(read, expected, "{text:?} at {now}");
    }
});

/// One moment in each format.
fn spellings(seconds: u64, draw: &mut Draw<'_>) -> Vec<String> {
    let mut spellings = vec![seconds.to_string()];
    if seconds >= 100_000_000 {
        spellings.push(format!("{seconds}000"));
    }
    let (sign, hours, minutes) = (
        draw.one_in(2),
        draw.below(14) as u64,
        draw.one_of(&[0, 30, 45]),
    );
    let offset = hours * 3_600 + minutes * 60;
    let local = match sign {
        true => seconds.checked_sub(offset),
        false => Some(seconds + offset),
    };
    let Some(local) = local else { return spellings };
    let sign = if sign { '-' } else { '+' };
    let (year, month, day) = date(local / 86_400);
    let (hour, minute, second) = (local / 3_600 % 24, local / 60 % 60, local % 60);
    let fraction = draw.one_of(&["", ".0", ".000", ".000000"]);
    spellings.push(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{sign}{hours:02}:{minutes:02}"
    ));
    let month = MONTHS[month as usize - 1].0;
    // The first of January 1970 was a Thursday.
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(local / 86_400 % 7) as usize];
    // Of `-0045` the library for dates loses the sign. No zone is there, and a date in such a one can only be rejected
    // or taken for one that is an hour older.
    if sign == '+' || hours > 0 {
        spellings.push(format!(
            "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} {sign}{hours:02}{minutes:02}"
        ));
    }
    spellings
}

const MONTHS: [(&str, u64); 12] = [
    ("Jan", 31),
    ("Feb", 28),
    ("Mar", 31),
    ("Apr", 30),
    ("May", 31),
    ("Jun", 30),
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
    ("Dec", 31),
];

/// Year, month and day of a day since 1970, counted through.
fn date(mut day: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for (name, length) in MONTHS {
        let length = length + u64::from(name == "Feb" && is_leap(year));
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    (year, month, day + 1)
}
