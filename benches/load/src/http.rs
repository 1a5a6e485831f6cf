//! As much of HTTP/1.1 as the servers that are measured speak.

use std::io::{self, Read, Write};

/// Reads what there is; false if the other side has closed.
pub(crate) fn read(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 16 * 1024];
    loop {
        #[expect(clippy::disallowed_methods, reason = "what interrupts it is seen to")]
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(length) => buffer.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Writes all of it at once. What is sent here is far smaller than a socket's buffer, and nobody sends a second before
/// the first is answered.
pub(crate) fn write(stream: &mut impl Write, bytes: &[u8]) -> Result<(), String> {
    match stream.write(bytes) {
        Ok(length) if length == bytes.len() => Ok(()),
        Ok(length) => Err(format!("{length} of {} bytes written", bytes.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// How long the request at the beginning is, once it is whole.
pub(crate) fn request_length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let head = request
        .parse(bytes)
        .map_err(|error| format!("a request: {error}"))?;
    let httparse::Status::Complete(head) = head else {
        return Ok(None);
    };
    let length = match request.method {
        Some("GET") => head,
        _ => head + content_length(request.headers)?,
    };
    Ok((bytes.len() >= length).then_some(length))
}

/// What matters of an answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The server closes the connection after it.
    pub(crate) last: bool,
    pub(crate) length: usize,
}

/// The answer at the beginning, once it is whole.
pub(crate) fn answer(bytes: &[u8]) -> Result<Option<Answer>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let head = response
        .parse(bytes)
        .map_err(|error| format!("an answer: {error}"))?;
    let httparse::Status::Complete(head) = head else {
        return Ok(None);
    };
    let length = head + content_length(response.headers)?;
    if bytes.len() < length {
        return Ok(None);
    }
    let last = value(response.headers, "connection")
        .is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    let status = response.code.unwrap_or_default();
    Ok(Some(Answer {
        status,
        last,
        length,
    }))
}

fn value<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    let mut named = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name));
    named.next().map(|header| header.value)
}

/// Nothing here is chunked: a message without a length would be read wrongly, so it is a mistake.
fn content_length(headers: &[httparse::Header<'_>]) -> Result<usize, String> {
    let length = value(headers, "content-length")
        .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    length.ok_or_else(|| "a message without content-length".to_owned())
}
