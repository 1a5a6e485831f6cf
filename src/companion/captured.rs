//! Requests as people have them at hand.
//!
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
mod twilio;

use std::fmt;

use crate::companion::encode;
use crate::request::timestamp;
use crate::time::Timestamp;

pub use filter_log::{LogLine, log_line};

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

/// A request as it was captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapturedRequest {
    /// The method.
    pub method: String,
    /// Path and query as they were sent.
    pub target: Vec<u8>,
    /// Scheme and host, where the capture has them.
    pub origin: Option<String>,
    /// The headers, their names in lower case, repeats included. `host` is one of them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// When it was sent, where the capture says that.
    pub at: Option<Timestamp>,
    /// The address of its client, where the capture says that.
    pub client: Option<String>,
    /// What had to be assumed to read it.
    pub notes: Vec<String>,
}

/// What a capture holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Captured {
    /// A request.
    Request(Box<CapturedRequest>),
    /// What the filter once said of a request that is not here.
    LogLine(LogLine),
}

/// Why a capture cannot be read, in words that say what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Unreadable {
    fn expected<T>(what: impl fmt::Display) -> Result<T, Unreadable> {
        Err(Unreadable(format!("expected {what}")))
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
            .map(Captured::LogLine)
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

/// Parses a time in one of the formats that the filter reads.
pub fn time(text: &str) -> Option<Timestamp> {
    timestamp::parse(text.as_bytes())
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

impl CapturedRequest {
    /// Returns the values of a header.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let own = self.headers.iter().filter(move |(own, _)| own == name);
        own.map(|(_, value)| value.as_slice())
    }

    /// Returns the path without its query.
    pub fn path(&self) -> &[u8] {
        let mut parts = self.target.split(|byte| *byte == b'?');
        parts.next().unwrap_or_default()
    }

    fn add_header(&mut self, name: &str, value: &[u8]) {
        let name = name.trim().to_ascii_lowercase();
        self.headers.push((name, value.trim_ascii().to_owned()));
    }

    fn has_header(&self, name: &str) -> bool {
        self.header(name).next().is_some()
    }

    /// Sets path and query, and origin and `host` where the URL is a whole one.
    fn set_url(&mut self, url: &str) {
        let url = url.split('#').next().unwrap_or_default();
        let Some((scheme, rest)) = url.split_once("://") else {
            self.target = url.as_bytes().to_owned();
            return;
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let host = authority.rsplit('@').next().unwrap_or_default();
        self.origin = Some(format!("{}://{host}", scheme.to_ascii_lowercase()));
        let slash = if target.starts_with('/') { "" } else { "/" };
        self.target = format!("{slash}{target}").into_bytes();
        if !self.has_header("host") {
            self.add_header("host", host.as_bytes());
        }
    }

    /// Sets the body to a form of parameters that are no longer as they were sent.
    fn set_form<'a>(&mut self, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.body = encode::form(parameters).into_bytes();
        if !self.has_header("content-type") {
            let form = b"application/x-www-form-urlencoded; charset=utf-8";
            self.add_header("content-type", form);
        }
    }

    /// Sets when it was sent, from a text in one of the formats that the filter reads.
    fn set_time(&mut self, text: &str) {
        self.at = time(text).or(self.at);
    }

    /// Appends parameters to the query.
    fn add_to_query(&mut self, query: &[u8]) {
        if query.is_empty() {
            return;
        }
        let has_query = self.target.contains(&b'?');
        self.target.push(if has_query { b'&' } else { b'?' });
        self.target.extend_from_slice(query);
    }
}

#[cfg(test)]
mod tests;
