//! The copies that Twilio's debugger keeps of its requests: an alert of the Monitor API, or a
//! debugging event with the request in `webhook.request`, as its webhook posts it.

use serde_json::{Map, Value};

use crate::companion::captured::json;
use crate::companion::captured::request::{CapturedRequest, Unreadable};
use crate::signature::form::Form;

const NO_SIGNATURE: &str = "the debugger's copy has no X-Twilio-Signature: what Twilio signs is \
                            shown, and a signature to compare it with is in the request itself";

/// Returns whether a JSON text looks like such a copy.
pub(super) fn is_one(text: &[u8]) -> bool {
    let value = json::values(text).unwrap_or_default().into_iter().next();
    value.is_some_and(|value| {
        value.pointer("/webhook/request").is_some()
            || value.get("request_url").is_some() && value.get("request_variables").is_some()
            || value.get("Payload").is_some()
    })
}

/// Returns whether a text is the form that the debugger's webhook posts.
pub(super) fn is_event_form(text: &[u8]) -> bool {
    let holds = |part: &[u8]| text.windows(part.len()).any(|own| own == part);
    holds(b"PayloadType=") && holds(b"Payload=")
}

/// Reads all copies of a text.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<CapturedRequest>, Unreadable> {
    if is_event_form(bytes) && !bytes.trim_ascii_start().starts_with(b"{") {
        let form = Form::parse(bytes.trim_ascii());
        let payload = form.values(b"Payload").next().unwrap_or_default();
        return read(payload);
    }
    let mut requests = Vec::new();
    for value in json::values(bytes)? {
        requests.push(request(&value)?);
    }
    match requests.is_empty() {
        true => Unreadable::expected("an alert or a debugging event in JSON"),
        false => Ok(requests),
    }
}

fn request(value: &Value) -> Result<CapturedRequest, Unreadable> {
    // The event as it was posted, its payload still a text.
    if let Some(payload) = value.get("Payload") {
        let parsed = payload
            .as_str()
            .and_then(|text| serde_json::from_str(text).ok());
        return request(parsed.as_ref().unwrap_or(payload));
    }
    let mut found = if let Some(own) = value.pointer("/webhook/request") {
        json::request(own)?
    } else if let Some(alert) = value
        .as_object()
        .filter(|alert| alert.contains_key("request_url"))
    {
        alert_request(alert)
    } else {
        return Unreadable::expected(
            "webhook.request (a debugging event), or request_url and request_variables (an alert)",
        );
    };
    if found.method == "GET" && !found.body.is_empty() {
        // The parameters of a GET are in its query.
        let query = std::mem::take(&mut found.body);
        if !found.target.contains(&b'?') {
            found.add_to_query(&query);
        }
        found.headers.retain(|(name, _)| name != "content-type");
    }
    if !found.has_header("x-twilio-signature") {
        found.notes.push(NO_SIGNATURE.into());
    }
    Ok(found)
}

fn alert_request(alert: &Map<String, Value>) -> CapturedRequest {
    let text = |name: &str| alert.get(name).and_then(Value::as_str);
    let mut request = CapturedRequest {
        method: text("request_method").unwrap_or("POST").to_owned(),
        ..CapturedRequest::default()
    };
    let headers = match alert.get("request_headers") {
        Some(Value::Object(fields)) => fields
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
        // As a query, or a header a line.
        Some(Value::String(text)) if text.contains(": ") => text
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        Some(Value::String(text)) => parameters(text),
        _ => Vec::new(),
    };
    for (name, value) in headers {
        request.add_header(&name, value.as_bytes());
    }
    request.set_url(text("request_url").unwrap_or_default());
    if let Some(time) = text("date_generated").or_else(|| text("date_created")) {
        request.set_time(time);
    }
    match alert.get("request_variables") {
        Some(Value::Object(fields)) => json::set_parameters(&mut request, fields),
        Some(Value::String(text)) if !text.is_empty() => {
            let pairs = parameters(text);
            request.set_form(
                pairs
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            );
        }
        _ => {}
    }
    request
}

/// Returns the parameters of a query, decoded, in their order.
fn parameters(query: &str) -> Vec<(String, String)> {
    let form = Form::parse(query.as_bytes());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pairs = form.pairs_as_sent();
    pairs
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}
