//! What a command reads.

use std::fs;
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use twilio_webhook_filter::Timestamp;

use crate::failure::Failure;
use crate::output::complain;

/// Returns the content of a file, or of standard input for `-`.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return fs::read(path).map_err(|error| Failure::of_file(path, &error));
    }
    let mut stdin = io::stdin();
    if stdin.is_terminal() {
        complain("reading standard input; Ctrl-D ends it")?;
    }
    let mut bytes = Vec::new();
    stdin.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads what is there, or waits for something; 0 is the end. A signal, or a machine that stood still for a while, is no
/// error.
pub fn read_some(mut from: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        #[expect(clippy::disallowed_methods, reason = "what interrupts it is seen to")]
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Returns the current time.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().into()
}

/// Parses `NAME=VALUE`.
pub fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as Body='2 tacos'".into()),
    }
}

/// Parses a number of seconds, at most a year.
pub fn seconds(text: &str) -> Result<Duration, String> {
    const YEAR: f64 = 366.0 * 86_400.0;
    number(text, 0.001, YEAR)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds, from 0.001 to a year".into())
}

/// Parses a number of requests a second.
pub fn rate(text: &str) -> Result<f64, String> {
    number(text, 0.001, 100_000.0)
        .ok_or_else(|| "expected a number of requests a second, from 0.001 to 100000".into())
}

fn number(text: &str, least: f64, most: f64) -> Option<f64> {
    let number = text.parse().ok();
    number.filter(|number| (least..=most).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_none_or_out_of_range_is_an_error_in_words() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(rate("1e5"), Ok(100_000.0));
        for text in [
            "", "x", "-1", "0", "1e-300", "inf", "-inf", "nan", "NaN", "1e20", "1e309",
        ] {
            let said = seconds(text).expect_err(text);
            assert!(said.contains("seconds, from 0.001"), "{said}");
            let said = rate(text).expect_err(text);
            assert!(said.contains("a second, from 0.001"), "{said}");
        }
    }
}
