//! What is counted of the lines.

use std::collections::BTreeMap;

use twilio_webhook_filter::companion::captured::{LogLine, log_line};

use crate::report::top::Top;

/// The largest number of rows: hours times webhooks. The oldest make room.
const MAX_ROWS: usize = 50_000;

/// What was counted so far.
#[derive(Default)]
pub struct Tally {
    pub bytes: u64,
    pub lines: u64,
    pub requests: u64,
    pub verdicts: BTreeMap<String, u64>,
    /// Verdicts by hour and webhook.
    pub hours: BTreeMap<(String, String), BTreeMap<String, u64>>,
    /// Requests of hours that had to make room.
    pub other_hours: u64,
    pub hints: Top,
    /// Addresses of rejected requests, with the last verdict.
    pub addresses: Top,
    /// Lines that the filter left out.
    pub suppressed: u64,
    pub unseen_bodies: u64,
    pub rejected_configurations: u64,
}

/// What a line tells.
pub enum Told {
    /// What became of a request, and in which hour.
    Request(Box<LogLine>, Option<String>),
    /// Nothing of a request.
    Nothing,
}

impl Tally {
    /// Counts a line.
    pub fn add(&mut self, line: &[u8]) -> Told {
        if line.is_empty() {
            return Told::Nothing;
        }
        self.bytes += line.len() as u64 + 1;
        self.lines += 1;
        let Some(found) = log_line(line) else {
            self.add_other(line);
            return Told::Nothing;
        };
        self.requests += 1;
        let hour = hour(line);
        let webhook = found.webhook.as_deref().unwrap_or("-");
        *count(&mut self.verdicts, &found.verdict) += 1;
        let row = (
            hour.clone().unwrap_or_else(|| "-".into()),
            webhook.to_owned(),
        );
        let verdicts = self.hours.entry(row).or_default();
        *count(verdicts, &found.verdict) += 1;
        if self.hours.len() > MAX_ROWS
            && let Some((_, verdicts)) = self.hours.pop_first()
        {
            self.other_hours += verdicts.values().sum::<u64>();
        }
        if found.verdict != "accepted" {
            self.addresses.add(&found.client_ip, &found.verdict);
            if let Some(hint) = &found.hint {
                self.hints.add(&pattern(hint), hint);
            }
        }
        Told::Request(Box::new(found), hour)
    }

    /// Counts a line that is about no request's verdict.
    ///
    /// Envoy's prefix holds the filter's name, once or three times, so every place of the word is looked at.
    fn add_other(&mut self, line: &[u8]) {
        let places = line.windows(WORD.len()).enumerate();
        let places = places.filter(|(_, part)| *part == WORD);
        let rests = places.map(|(at, _)| line.get(at..).unwrap_or_default());
        for rest in rests {
            if let Some(number) = rest.strip_prefix(SUPPRESSED) {
                self.suppressed = self.suppressed.saturating_add(leading_number(number));
            } else if rest.starts_with(UNSEEN_BODY) {
                self.unseen_bodies += 1;
            } else if rest.starts_with(REJECTED_CONFIGURATION) {
                self.rejected_configurations += 1;
            } else {
                continue;
            }
            return;
        }
    }
}

/// What is in each line of the filter.
const WORD: &[u8] = b"twilio_webhook";
/// How the filter says how many lines it has left out.
const SUPPRESSED: &[u8] = b"twilio_webhook_log\",\"suppressed\":";
/// How it says that Envoy did not show it a body.
const UNSEEN_BODY: &[u8] = b"twilio_webhook\",\"message\":\"A request was held";
/// How it says that a configuration is wrong.
const REJECTED_CONFIGURATION: &[u8] = b"twilio_webhook configuration rejected:";

fn leading_number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u64, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    })
}

fn count<'a>(counts: &'a mut BTreeMap<String, u64>, name: &str) -> &'a mut u64 {
    // Verdicts are few; a log that somebody has written may hold any.
    const MAX: usize = 64;
    let name = match counts.contains_key(name) || counts.len() < MAX {
        true => name,
        false => "other",
    };
    counts.entry(name.to_owned()).or_default()
}

/// Returns the hour of a line of Envoy's log: `[2026-11-28 15:04:05.678]…`.
fn hour(line: &[u8]) -> Option<String> {
    let text = line.strip_prefix(b"[")?.get(..13)?;
    let is_it = text.iter().enumerate().all(|(index, byte)| match index {
        4 | 7 => *byte == b'-',
        10 => *byte == b' ' || *byte == b'T',
        _ => byte.is_ascii_digit(),
    });
    let text = std::str::from_utf8(text).ok().filter(|_| is_it)?;
    Some(format!("{}:00", text.replace('T', " ")))
}

/// Returns a hint without its numbers, so that those of one cause are counted together.
fn pattern(hint: &str) -> String {
    let mut out = String::with_capacity(hint.len());
    for character in hint.chars() {
        if !character.is_ascii_digit() {
            out.push(character);
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_counted_by_hour_webhook_and_verdict() {
        let line = |hour: &str, age: u32| {
            format!(
                "[2026-11-28 {hour}:04:05.678][7][warning][wasm] wasm log x: {{\"event\":\"twilio_webhook\",\
                 \"verdict\":\"stale_timestamp\",\"status\":400,\"client_ip\":\"192.0.2.1\",\
                 \"webhook\":\"hook\",\"hint\":\"it is {age} s old\"}}"
            )
        };
        let mut tally = Tally::default();
        for (hour, age) in [("15", 301), ("15", 4000), ("16", 302)] {
            tally.add(line(hour, age).as_bytes());
        }
        tally.add(
            b"[2026-11-28 16:04:05.678] {\"event\":\"twilio_webhook_log\",\"suppressed\":1834}",
        );
        tally.add(b"[2026-11-28 16:04:05.678] something else {}");
        assert_eq!(
            (tally.requests, tally.lines, tally.suppressed),
            (3, 5, 1834)
        );
        let row = ("2026-11-28 15:00".to_owned(), "hook".to_owned());
        assert_eq!(
            tally
                .hours
                .get(&row)
                .and_then(|row| row.get("stale_timestamp")),
            Some(&2)
        );
        let hints = tally.hints.most(5);
        assert_eq!(hints.len(), 1);
        assert_eq!(hints.first().map(|(_, count, _)| *count), Some(3));
    }

    #[test]
    fn a_line_about_no_request_is_counted_behind_either_hosts_prefix() {
        let lines = [
            r#"{"event":"twilio_webhook_log","suppressed":1834}"#,
            r#"{"event":"twilio_webhook","message":"A request was held until it ended","request_id":"7"}"#,
            "twilio_webhook configuration rejected: webhooks[0].url: expected a URL",
            "twilio_webhook configuration: accounts[0]: a warning",
        ];
        for prefix in [
            "[2026-11-28 16:04:05.678][7][warning][wasm] [source/extensions/common/wasm/context.cc:1154] wasm log \
             twilio_webhook_filter twilio_webhook_filter twilio_webhook_filter: ",
            "[2026-11-28 16:04:05.678][7][warning][wasm] [source/x.cc:1] wasm log twilio_webhook: ",
            "[2026-11-28 16:04:05.678][7][warning][dynamic_modules] [source/x.cc:1] twilio_webhook_filter: ",
            "",
        ] {
            let mut tally = Tally::default();
            for line in lines {
                tally.add(format!("{prefix}{line}").as_bytes());
            }
            let counted = (
                tally.suppressed,
                tally.unseen_bodies,
                tally.rejected_configurations,
            );
            assert_eq!(counted, (1834, 1, 1), "{prefix}");
            assert_eq!((tally.requests, tally.lines), (0, 4));
        }
    }
}
