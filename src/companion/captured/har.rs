//! An HTTP archive (HAR 1.2), as browsers, ngrok and proxies export it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::companion::captured::request::{CapturedRequest, Unreadable};

/// Returns whether a JSON text looks like an archive.
pub(super) fn is_one(text: &[u8]) -> bool {
    serde_json::from_slice::<Value>(text).is_ok_and(|value| value.pointer("/log/entries").is_some())
}

/// Reads the requests of an archive: those with a signature, or all if none has one.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<CapturedRequest>, Unreadable> {
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => return Unreadable::expected(format_args!("a HAR file in JSON: {error}")),
    };
    let Some(entries) = value.pointer("/log/entries").and_then(Value::as_array) else {
        return Unreadable::expected("log.entries in the HAR file");
    };
    let mut requests = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        match request(entry) {
            Some(request) => requests.push(request),
            None => {
                return Unreadable::expected(format_args!(
                    "log.entries[{index}].request with method and url"
                ));
            }
        }
    }
    let is_signed = |request: &CapturedRequest| request.has_header("x-twilio-signature");
    if requests.iter().any(is_signed) {
        requests.retain(is_signed);
    }
    match requests.is_empty() {
        true => Unreadable::expected("at least one request in the HAR file"),
        false => Ok(requests),
    }
}

fn request(entry: &Value) -> Option<CapturedRequest> {
    let own = entry.get("request")?;
    let text = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
    let mut request = CapturedRequest {
        method: text(own, "method")?,
        ..CapturedRequest::default()
    };
    for header in own
        .get("headers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let (name, value) = (text(header, "name")?, text(header, "value")?);
        match name.as_str() {
            ":authority" => request.add_header("host", value.as_bytes()),
            name if name.starts_with(':') => {}
            name => request.add_header(name, value.as_bytes()),
        }
    }
    request.set_url(&text(own, "url")?);
    if let Some(time) = text(entry, "startedDateTime") {
        request.set_time(&time);
    }
    let Some(data) = own.get("postData") else {
        return Some(request);
    };
    if let Some(kind) = text(data, "mimeType")
        && !request.has_header("content-type")
    {
        request.add_header("content-type", kind.as_bytes());
    }
    let content = text(data, "text").filter(|content| !content.is_empty());
    let is_base64 = text(data, "encoding").as_deref() == Some("base64");
    match content {
        Some(content) if is_base64 => request.body = STANDARD.decode(content).ok()?,
        Some(content) => request.body = content.into_bytes(),
        None => {
            let parameters = data.get("params").and_then(Value::as_array);
            let pair = |one: &Value| Some((text(one, "name")?, text(one, "value")?));
            let pairs: Vec<_> = parameters.into_iter().flatten().filter_map(pair).collect();
            if !pairs.is_empty() {
                request.set_form(
                    pairs
                        .iter()
                        .map(|(name, value)| (name.as_str(), value.as_str())),
                );
                let note = "the archive has the form's parameters and not its text: it is written \
                            anew from them";
                request.notes.push(note.into());
            }
        }
    }
    Some(request)
}
