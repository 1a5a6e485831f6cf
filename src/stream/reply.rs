//! What a rejected client gets.

use serde::Serialize;

use crate::pipeline::rejection::Rejection;
use crate::stream::host::{Host, HostError, LocalResponse};

/// The body of a rejection. It says nothing that the client does not know.
#[derive(Serialize)]
struct Body<'a> {
    error: &'static str,
    message: &'a str,
    request_id: &'a str,
}

/// TwiML that tells Twilio to do nothing.
const EMPTY_TWIML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response></Response>";

/// Answers a rejected request. `allow` are the webhook's methods, for a 405.
pub fn send(
    host: &impl Host,
    rejection: &Rejection,
    request_id: &str,
    allow: &[String],
) -> Result<(), HostError> {
    let status = rejection.status();
    let details = format!("twilio_webhook_{}", rejection.reason.name());
    if rejection.acknowledge {
        return host.send_local_response(&LocalResponse {
            status,
            details: &details,
            headers: &[("content-type", "text/xml")],
            body: EMPTY_TWIML,
        });
    }
    let sentence = rejection.reason.sentence();
    let body = Body {
        error: rejection.reason.name(),
        message: rejection.detail.as_deref().unwrap_or(sentence),
        request_id,
    };
    let body = serde_json::to_string(&body).unwrap_or_default();
    let mut headers = vec![("content-type", "application/json")];
    let allow = allow.join(", ");
    if status == 405 {
        headers.push(("allow", &allow));
    }
    let limited = rejection.limited.map(|limited| {
        let wait = limited.wait.as_secs_ceil().max(1).to_string();
        (limited.limit.requests.to_string(), wait)
    });
    if let Some((requests, wait)) = &limited {
        // The quota is back when the next request passes, and not a second before.
        headers.push(("retry-after", wait));
        headers.push(("ratelimit-limit", requests));
        headers.push(("ratelimit-remaining", "0"));
        headers.push(("ratelimit-reset", wait));
    }
    let retry_after = rejection.retry_after;
    let retry_after = retry_after.map(|wait| wait.as_secs_ceil().to_string());
    if let Some(retry_after) = &retry_after {
        headers.push(("retry-after", retry_after));
    }
    host.send_local_response(&LocalResponse {
        status,
        details: &details,
        headers: &headers,
        body: &body,
    })
}
