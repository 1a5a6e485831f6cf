//! Lines of the filter's own log. They hold a verdict and a hint, and by design no request.

use serde::Deserialize;

use crate::companion::captured::request::Unreadable;

/// A line of the filter's log about one request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct LogLine {
    /// Always `twilio_webhook`.
    pub event: String,
    /// The verdict.
    pub verdict: String,
    /// The status of the response.
    pub status: u16,
    /// The sentence of the response.
    pub message: String,
    /// Envoy's id of the request.
    pub request_id: String,
    /// The client's address.
    pub client_ip: String,
    /// The method, for a request that reached no webhook.
    pub method: Option<String>,
    /// The path, for a request that reached no webhook.
    pub path: Option<String>,
    /// The webhook.
    pub webhook: Option<String>,
    /// The account.
    pub account_sid: Option<String>,
    /// The key that matched.
    pub key: Option<String>,
    /// The beginning of the nonce.
    pub nonce: Option<String>,
    /// The hint.
    pub hint: Option<String>,
}

/// Returns the filter's line in a line of Envoy's log; `None` if there is none about a request.
pub fn log_line(line: &[u8]) -> Option<LogLine> {
    // Most of Envoy's log is not the filter's.
    let start = find(line, br#"{"event":"twilio_webhook","#)?;
    let json = line.get(start..)?;
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<LogLine>();
    let line = values.next()?.ok()?;
    (!line.verdict.is_empty()).then_some(line)
}

fn find(line: &[u8], part: &[u8]) -> Option<usize> {
    // By its first byte, which is rare in a log: windows alone take ten times as long.
    let mut from = 0;
    loop {
        let rest = line.get(from..)?;
        let at = rest.iter().position(|byte| *byte == b'{')?;
        if rest.get(at..)?.starts_with(part) {
            return Some(from + at);
        }
        from += at + 1;
    }
}

/// Returns whether the first line with something in it is a line of Envoy's log with the filter's in it.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    lines
        .find(|line| !line.trim_ascii().is_empty())
        .is_some_and(|first| {
            log_line(first).is_some()
                || first.starts_with(b"[20")
                    && bytes
                        .split(|byte| *byte == b'\n')
                        .any(|line| log_line(line).is_some())
        })
}

/// Reads all lines about requests.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<LogLine>, Unreadable> {
    let lines: Vec<_> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(log_line)
        .collect();
    match lines.is_empty() {
        true => Unreadable::expected(
            "lines of the filter's log ({\"event\":\"twilio_webhook\",\"verdict\":…}), found none",
        ),
        false => Ok(lines),
    }
}
