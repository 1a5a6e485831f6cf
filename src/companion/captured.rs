//! Requests as people have them at hand.
//!
//! - `request`: what they have in common
//! - `raw`: an HTTP request as text
//! - `curl`: a curl command line
//! - `har`: an HTTP archive, as browsers and tunnels export it
//! - `json`: objects with a request in them: lines of a log, events of gateways
//! - `twilio`: the copies that Twilio's debugger keeps
//! - `filter_log`: lines of the filter's own log, which hold a verdict and no request

mod curl;
mod filter_log;
mod har;
mod json;
mod raw;
mod request;
mod twilio;

use crate::time::Timestamp;

pub use filter_log::{LogLine, log_line};
pub use request::{CapturedRequest, Unreadable, time};

/// A way to write a request down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An HTTP request as text: request line, headers, an empty line, the body.
    Raw,
    /// A curl command line.
    Curl,
    /// An HTTP archive.
    Har,
    /// JSON objects with a request in them, one or many, also one a line.
    Json,
    /// A copy by Twilio's debugger: an alert, or a debugging event.
    Twilio,
    /// Lines of the filter's log, with or without what Envoy writes around them.
    Log,
}

impl Format {
    /// Every format with its name.
    pub const ALL: [(&'static str, Format); 6] = [
        ("raw", Format::Raw),
        ("curl", Format::Curl),
        ("har", Format::Har),
        ("json", Format::Json),
        ("twilio", Format::Twilio),
        ("log", Format::Log),
    ];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        let own = Format::ALL.iter().find(|(_, format)| *format == self);
        own.map_or("", |(name, _)| name)
    }
}

/// What a capture holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Captured {
    /// A request.
    Request(Box<CapturedRequest>),
    /// What the filter once said of a request that is not here.
    LogLine(Box<LogLine>),
}

impl Captured {
    /// Returns the request, if it is one.
    pub fn request(&self) -> Option<&CapturedRequest> {
        match self {
            Captured::Request(request) => Some(request),
            Captured::LogLine(_) => None,
        }
    }

    /// Says when a request came that does not say it itself.
    pub fn came_at(&mut self, at: Timestamp) {
        if let Captured::Request(request) = self {
            request.at.get_or_insert(at);
        }
    }
}

/// Reads everything that a capture holds, and returns in which format that was.
///
/// # Errors
/// What was expected in its place.
pub fn read(bytes: &[u8], format: Option<Format>) -> Result<(Format, Vec<Captured>), Unreadable> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Unreadable::expected("a request, found nothing");
    }
    let format = match format {
        Some(format) => format,
        None => detect(bytes)?,
    };
    let captured = match format {
        Format::Raw => requests(vec![raw::read(bytes)?]),
        Format::Curl => requests(vec![curl::read(text(bytes)?)?]),
        Format::Har => requests(har::read(bytes)?),
        Format::Json => requests(json::read(bytes)?),
        Format::Twilio => requests(twilio::read(bytes)?),
        Format::Log => filter_log::read(bytes)?
            .into_iter()
            .map(|line| Captured::LogLine(Box::new(line)))
            .collect(),
    };
    Ok((format, captured))
}

fn requests(requests: Vec<CapturedRequest>) -> Vec<Captured> {
    let boxed = requests.into_iter().map(Box::new);
    boxed.map(Captured::Request).collect()
}

/// Returns the format that a capture looks like.
fn detect(bytes: &[u8]) -> Result<Format, Unreadable> {
    let start = bytes.trim_ascii_start();
    if filter_log::is_one(bytes) {
        return Ok(Format::Log);
    }
    if start.starts_with(b"{") || start.starts_with(b"[") {
        return Ok(if har::is_one(start) {
            Format::Har
        } else if twilio::is_one(start) {
            Format::Twilio
        } else {
            Format::Json
        });
    }
    let first = start
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let first = first.trim_ascii();
    let command = first.strip_prefix(b"$ ").unwrap_or(first);
    if command.starts_with(b"curl ") || command.starts_with(b"curl.exe ") || command == b"curl" {
        return Ok(Format::Curl);
    }
    if twilio::is_event_form(start) {
        return Ok(Format::Twilio);
    }
    if raw::is_one(first) {
        return Ok(Format::Raw);
    }
    Unreadable::expected(
        "a request: raw HTTP (POST /path HTTP/1.1, headers, an empty line, the body), a curl \
         command, a HAR file, JSON with a request in it, a copy from Twilio's debugger, or lines \
         of the filter's log; --format says which one it is",
    )
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let at = error.valid_up_to();
            Unreadable::expected(format_args!("UTF-8, found another byte at offset {at}"))
        }
    }
}

#[cfg(test)]
mod tests;
