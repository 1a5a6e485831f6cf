//! Objects with a request in them: lines of a log, events of gateways and functions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::companion::captured::request::{CapturedRequest, Unreadable};

/// Reads one object, a list of them, or one a line.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<CapturedRequest>, Unreadable> {
    let mut requests = Vec::new();
    for (index, value) in values(bytes)?.iter().enumerate() {
        let one = request(value)
            .map_err(|Unreadable(what)| Unreadable(format!("in object {}: {what}", index + 1)))?;
        requests.push(one);
    }
    match requests.is_empty() {
        true => Unreadable::expected("at least one JSON object"),
        false => Ok(requests),
    }
}

/// Returns all JSON values of a text, lists as what they hold.
pub(super) fn values(bytes: &[u8]) -> Result<Vec<Value>, Unreadable> {
    let mut values = Vec::new();
    for value in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
        match value {
            Ok(Value::Array(list)) => values.extend(list),
            Ok(value) => values.push(value),
            Err(error) => return Unreadable::expected(format_args!("JSON: {error}")),
        }
    }
    Ok(values)
}

/// Where a request stands in an object, besides at its top.
const INSIDE: [&str; 5] = ["request", "req", "http_request", "httpRequest", "event"];

/// Reads one object.
pub(super) fn request(value: &Value) -> Result<CapturedRequest, Unreadable> {
    let Some(top) = value.as_object() else {
        return Unreadable::expected("a JSON object for each request");
    };
    let inside = INSIDE.iter().find_map(|name| top.get(*name)?.as_object());
    let own = inside.unwrap_or(top);
    let mut request = CapturedRequest::default();
    let method = text(
        own,
        &["method", "httpMethod", "requestMethod", "request_method"],
    );
    let method = method.or_else(|| at(own, "/requestContext/http/method"));
    for (name, value) in headers(own)? {
        request.add_header(&name, &value);
    }
    let url = text(
        own,
        &["url", "uri", "requestUrl", "request_url", "originalUrl"],
    );
    if let Some(url) = url {
        request.set_url(&url);
    } else if let Some(path) = text(own, &["rawPath", "path", "target"]) {
        request.target = path.into_bytes();
        add_query(&mut request, own);
    }
    if request.target.is_empty() {
        return Unreadable::expected(
            "method, url (or path), headers and body of a request; found no url",
        );
    }
    body(&mut request, own)?;
    let default = if request.body.is_empty() {
        "GET"
    } else {
        "POST"
    };
    request.method = method
        .unwrap_or_else(|| default.into())
        .to_ascii_uppercase();
    let time = text(
        own,
        &["time", "timestamp", "at", "startedDateTime", "start_time"],
    );
    if let Some(time) = time.or_else(|| text(top, &["time", "timestamp", "@timestamp"])) {
        request.set_time(&time);
    }
    request.client = text(own, &["client", "client_ip", "remote_addr", "ip"]);
    Ok(request)
}

fn text(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match object.get(*name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

fn at(object: &Map<String, Value>, pointer: &str) -> Option<String> {
    let value = Value::Object(object.clone());
    Some(value.pointer(pointer)?.as_str()?.to_owned())
}

/// Reads headers as an object, a list of pairs, or a list of objects with name and value.
fn headers(object: &Map<String, Value>) -> Result<Vec<(String, Vec<u8>)>, Unreadable> {
    let multiple = object
        .get("multiValueHeaders")
        .filter(|value| value.is_object());
    let own = multiple.or_else(|| object.get("headers"));
    let own = own.or_else(|| object.get("request_headers"));
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &Value| match value {
        Value::String(text) => headers.push((name.to_owned(), text.clone().into_bytes())),
        Value::Array(list) => {
            let texts = list.iter().filter_map(Value::as_str);
            headers.extend(texts.map(|text| (name.to_owned(), text.as_bytes().to_owned())));
        }
        Value::Number(number) => headers.push((name.to_owned(), number.to_string().into_bytes())),
        _ => {}
    };
    match own {
        None | Some(Value::Null) => {}
        Some(Value::Object(fields)) => {
            for (name, value) in fields {
                add(name, value);
            }
        }
        Some(Value::Array(list)) => {
            for one in list {
                let pair = match one {
                    Value::Array(pair) => pair.first().and_then(Value::as_str).zip(pair.get(1)),
                    one => {
                        let name = one.get("name").or_else(|| one.get("key"));
                        name.and_then(Value::as_str).zip(one.get("value"))
                    }
                };
                match pair {
                    Some((name, value)) => add(name, value),
                    None => return Unreadable::expected("headers as name and value"),
                }
            }
        }
        Some(_) => return Unreadable::expected("headers as an object or a list of pairs"),
    }
    Ok(headers)
}

fn add_query(request: &mut CapturedRequest, object: &Map<String, Value>) {
    if let Some(query) = text(object, &["rawQueryString", "query_string", "query"]) {
        return request.add_to_query(query.trim_start_matches('?').as_bytes());
    }
    let Some(query) = object
        .get("queryStringParameters")
        .and_then(Value::as_object)
    else {
        return;
    };
    let pairs = query
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let query = crate::companion::encode::form(pairs);
    request.add_to_query(query.as_bytes());
    let note = "the query is written anew from queryStringParameters: its order and escaping may \
                not be those that arrived";
    request.notes.push(note.into());
}

fn body(request: &mut CapturedRequest, object: &Map<String, Value>) -> Result<(), Unreadable> {
    let encoded = object.get("isBase64Encoded").and_then(Value::as_bool);
    if let Some(text) = text(object, &["body_base64", "bodyBase64"]) {
        return base64_body(request, &text);
    }
    let own = object.get("rawBody").or_else(|| object.get("raw_body"));
    match own.or_else(|| object.get("body")) {
        Some(Value::String(text)) if encoded == Some(true) => base64_body(request, text),
        Some(Value::String(text)) => {
            request.body = text.clone().into_bytes();
            Ok(())
        }
        Some(Value::Object(fields)) => {
            let is_json = request.header("content-type").any(|kind| {
                kind.windows(4)
                    .any(|part| part.eq_ignore_ascii_case(b"json"))
            });
            if is_json {
                let text = Value::Object(fields.clone()).to_string();
                request.body = text.into_bytes();
                let note = "the body is written anew from the parsed JSON: its hash fits only if \
                            it was spelled alike";
                request.notes.push(note.into());
            } else {
                set_parameters(request, fields);
            }
            Ok(())
        }
        None | Some(Value::Null) => {
            let names = ["parameters", "params", "form"];
            let fields = names.iter().find_map(|name| object.get(*name)?.as_object());
            if let Some(fields) = fields {
                set_parameters(request, fields);
            }
            Ok(())
        }
        Some(_) => Unreadable::expected("a body as text or as an object of parameters"),
    }
}

fn base64_body(request: &mut CapturedRequest, text: &str) -> Result<(), Unreadable> {
    match STANDARD.decode(text.trim()) {
        Ok(body) => {
            request.body = body;
            Ok(())
        }
        Err(error) => Unreadable::expected(format_args!("a body in base64: {error}")),
    }
}

/// Sets the body to a form of parsed parameters.
pub(super) fn set_parameters(request: &mut CapturedRequest, fields: &Map<String, Value>) {
    let mut pairs = Vec::new();
    for (name, value) in fields {
        match value {
            Value::String(text) => pairs.push((name.as_str(), text.clone())),
            Value::Array(list) => {
                let texts = list.iter().filter_map(Value::as_str);
                pairs.extend(texts.map(|text| (name.as_str(), text.to_owned())));
            }
            Value::Null => pairs.push((name, String::new())),
            other => pairs.push((name, other.to_string())),
        }
    }
    request.set_form(pairs.iter().map(|(name, value)| (*name, value.as_str())));
    let note = "the form is written anew from its parsed parameters";
    request.notes.push(note.into());
}
