//! What a rejected sender gets.

use serde::Serialize;

use crate::host::wasm::abi::{self as host, HostError};
use crate::pipeline::verdict::Rejection;

/// The body of a rejection. It says nothing that the sender does not know.
#[derive(Serialize)]
struct Body<'a> {
    error: &'static str,
    message: &'a str,
    request_id: &'a str,
}

/// TwiML that tells Twilio to do nothing.
const EMPTY_TWIML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response></Response>";

impl Rejection {
    /// The status that the sender gets.
    pub(super) fn answered_status(&self) -> u16 {
        if self.acknowledge {
            200
        } else {
            self.reason.status()
        }
    }

    /// Answers the request. `allow` are the webhook's methods, for a 405.
    pub(super) fn send(&self, request_id: &str, allow: &[String]) -> Result<(), HostError> {
        let status = self.answered_status();
        let details = format!("twilio_webhook_{}", self.reason.name());
        if self.acknowledge {
            let headers = [("content-type", "text/xml")];
            return host::send_local_response(status, &details, &headers, EMPTY_TWIML);
        }
        let body = Body {
            error: self.reason.name(),
            message: self.detail.as_deref().unwrap_or(self.reason.sentence()),
            request_id,
        };
        let body = serde_json::to_string(&body).unwrap_or_default();
        let mut headers = vec![("content-type", "application/json")];
        let allow = allow.join(", ");
        if status == 405 {
            headers.push(("allow", &allow));
        }
        let limited = self.limited.map(|limited| {
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
        let retry_after = self.retry_after.map(|wait| wait.as_secs_ceil().to_string());
        if let Some(retry_after) = &retry_after {
            headers.push(("retry-after", retry_after));
        }
        host::send_local_response(status, &details, &headers, &body)
    }
}
