//! An HTTP request as text: `nc`, `tcpdump -A`, `ngrep`, an editor.

use crate::companion::captured::request::{CapturedRequest, Unreadable};

/// Returns whether a first line is a request line or a first header of HTTP/2.
pub(super) fn is_one(first: &[u8]) -> bool {
    request_line(first).is_some() || first.starts_with(b":method") || first.starts_with(b":path")
}

/// Reads a request.
pub(super) fn read(bytes: &[u8]) -> Result<CapturedRequest, Unreadable> {
    let mut request = CapturedRequest::default();
    let mut rest = trim_line_breaks(bytes);
    let (first, behind) = line(rest);
    if let Some((method, target)) = request_line(first) {
        request.method = method;
        rest = behind;
        request.set_url(&target);
    }
    let mut number = 1;
    let mut has_end = false;
    while !rest.is_empty() {
        let (own, behind) = line(rest);
        rest = behind;
        number += 1;
        if own.trim_ascii().is_empty() {
            has_end = true;
            break;
        }
        let name_starts = usize::from(own.starts_with(b":"));
        let colon = own.iter().skip(name_starts).position(|byte| *byte == b':');
        let split = colon.and_then(|colon| own.split_at_checked(colon + name_starts));
        let Some((name, value)) = split else {
            return Unreadable::expected(format_args!(
                "a header (Name: value) or an empty line before the body in line {number}"
            ));
        };
        let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
        let value = value.get(1..).unwrap_or_default();
        let text = || String::from_utf8_lossy(value).trim().to_owned();
        match name.as_str() {
            ":method" => request.method = text(),
            ":path" => request.target = value.trim_ascii().to_owned(),
            ":authority" => request.add_header("host", value),
            ":scheme" => {}
            _ => request.add_header(&name, value),
        }
    }
    if request.method.is_empty() || request.target.is_empty() {
        return Unreadable::expected("a request line such as POST /webhook HTTP/1.1");
    }
    request.body = rest.to_owned();
    if !has_end {
        let note = "there is no empty line behind the headers, so the request has no body";
        request.notes.push(note.into());
    }
    settle_body(&mut request);
    Ok(request)
}

/// Returns method and target of `POST /path HTTP/1.1`.
fn request_line(line: &[u8]) -> Option<(String, String)> {
    let line = std::str::from_utf8(line).ok()?.trim();
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let version = words.next();
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_target = target.starts_with('/') || target.contains("://");
    let is_version = version.is_none_or(|version| version.starts_with("HTTP/"));
    let is_all = words.next().is_none();
    (is_method && is_target && is_version && is_all).then(|| (method.to_owned(), target.to_owned()))
}

/// Makes the body what `content-length` or `transfer-encoding` say it is.
fn settle_body(request: &mut CapturedRequest) {
    let chunked = request
        .header("transfer-encoding")
        .any(|value| value.eq_ignore_ascii_case(b"chunked"));
    if chunked {
        if let Some(body) = dechunked(&request.body) {
            request.body = body;
        }
        // Envoy takes the framing off as well.
        request
            .headers
            .retain(|(name, _)| name != "transfer-encoding");
        return;
    }
    let length = request.header("content-length").next();
    let length = length.and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok());
    let has: usize = request.body.len();
    match length {
        Some(length) if has > length => {
            let behind = request.body.get(length..).unwrap_or_default();
            if !behind.trim_ascii().is_empty() {
                let note = format!(
                    "content-length is {length}, and the capture has {has} bytes of a body: the \
                     first {length} are taken"
                );
                request.notes.push(note);
            }
            request.body.truncate(length);
        }
        Some(length) if has < length => {
            let note = format!(
                "content-length is {length}, and the capture has {has} bytes of a body: something \
                 is missing, or was changed by copying"
            );
            request.notes.push(note);
        }
        Some(_) => {}
        None if request.body.ends_with(b"\n") => {
            // Editors end the last line; Twilio ends no body so.
            let end = request.body.trim_ascii_end().len();
            request.body.truncate(end);
            let note = "the line break at the end of the body is left out: there is no \
                        content-length that counts it";
            request.notes.push(note.into());
        }
        None => {}
    }
}

/// Takes the framing off a chunked body; `None` if it has none.
fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (size, behind) = line(rest);
        let size = std::str::from_utf8(size).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        let (chunk, behind) = behind.split_at_checked(size)?;
        body.extend_from_slice(chunk);
        rest = line(behind).1;
    }
}

/// Splits off the first line, without its line break.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let Some((own, rest)) = end.and_then(|end| bytes.split_at_checked(end)) else {
        return (bytes, b"");
    };
    (
        own.strip_suffix(b"\r").unwrap_or(own),
        rest.get(1..).unwrap_or_default(),
    )
}

fn trim_line_breaks(bytes: &[u8]) -> &[u8] {
    let is_break = |byte: &u8| b"\r\n".contains(byte);
    let start = bytes.iter().position(|byte| !is_break(byte));
    bytes.get(start.unwrap_or_default()..).unwrap_or_default()
}
