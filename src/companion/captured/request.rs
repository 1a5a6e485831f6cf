//! A request as it was captured.

use std::fmt;

use crate::companion::encode;
use crate::request::timestamp;
use crate::time::Timestamp;

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

/// Why a capture cannot be read, in words that say what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Unreadable {
    pub(super) fn expected<T>(what: impl fmt::Display) -> Result<T, Unreadable> {
        Err(Unreadable(format!("expected {what}")))
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

    pub(super) fn add_header(&mut self, name: &str, value: &[u8]) {
        let name = name.trim().to_ascii_lowercase();
        self.headers.push((name, value.trim_ascii().to_owned()));
    }

    pub(super) fn has_header(&self, name: &str) -> bool {
        self.header(name).next().is_some()
    }

    /// Sets path and query, and origin and `host` where the URL is a whole one.
    pub(super) fn set_url(&mut self, url: &str) {
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
    pub(super) fn set_form<'a>(
        &mut self,
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        self.body = encode::form(parameters).into_bytes();
        if !self.has_header("content-type") {
            let form = b"application/x-www-form-urlencoded; charset=utf-8";
            self.add_header("content-type", form);
        }
    }

    /// Sets when it was sent, from a text in one of the formats that the filter reads.
    pub(super) fn set_time(&mut self, text: &str) {
        self.at = time(text).or(self.at);
    }

    /// Appends parameters to the query.
    pub(super) fn add_to_query(&mut self, query: &[u8]) {
        if query.is_empty() {
            return;
        }
        let has_query = self.target.contains(&b'?');
        self.target.push(if has_query { b'&' } else { b'?' });
        self.target.extend_from_slice(query);
    }
}

/// Parses a time in one of the formats that the filter reads.
pub fn time(text: &str) -> Option<Timestamp> {
    timestamp::parse(text.as_bytes())
}
