//! Twilio's REST API, as far as it is needed: one message goes out.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::StatusCode;

use crate::store::outbox::Reply;

/// As much of an answer as is read.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// What is needed to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Such as `https://api.twilio.com`, without a slash at the end.
    pub base_url: String,
    /// Whose messages they are.
    pub account_sid: String,
    /// The account SID with its auth token, or an API key with its secret.
    pub username: String,
    /// The token or the secret.
    pub password: String,
    /// Where Twilio shall tell what becomes of a message.
    pub status_callback: Option<String>,
    /// How long one request may take.
    pub timeout: Duration,
}

// By hand, so that no secret is ever printed.
impl std::fmt::Debug for Settings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Settings")
            .field("base_url", &self.base_url)
            .field("account_sid", &self.account_sid)
            .finish_non_exhaustive()
    }
}

/// What Twilio answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The message is taken, under this SID.
    Accepted(Option<String>),
    /// The message will never be taken as it is.
    Refused(String),
    /// Not now; if Twilio said when, after so long.
    NotNow(String, Option<Duration>),
    /// Too many requests; the same holds for every other message.
    TooMany(Option<Duration>),
    /// No answer. The message may have been taken all the same.
    Unknown(String),
}

/// A client for one account.
#[derive(Clone)]
pub struct Twilio {
    agent: ureq::Agent,
    url: String,
    authorization: String,
    status_callback: Option<String>,
}

#[derive(Deserialize)]
struct Created {
    sid: String,
}

#[derive(Deserialize)]
struct Problem {
    code: i64,
}

impl Twilio {
    /// Connects to nothing yet.
    pub fn new(settings: &Settings) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            // Nobody but the address that is configured gets the password.
            .max_redirects(0)
            .user_agent("ordering-upstream")
            .build()
            .new_agent();
        let credentials = format!("{}:{}", settings.username, settings.password);
        Self {
            agent,
            url: format!(
                "{}/2010-04-01/Accounts/{}/Messages.json",
                settings.base_url, settings.account_sid
            ),
            authorization: format!("Basic {}", STANDARD.encode(credentials)),
            status_callback: settings.status_callback.clone(),
        }
    }

    /// Sends one message, and blocks until there is an answer or none in time.
    pub fn send(&self, reply: &Reply) -> Answer {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("From", &reply.sender)
            .append_pair("To", &reply.recipient)
            .append_pair("Body", &reply.body);
        if let Some(url) = &self.status_callback {
            form.append_pair("StatusCallback", url);
        }
        let sent = self
            .agent
            .post(&self.url)
            .header("authorization", &self.authorization)
            .content_type("application/x-www-form-urlencoded")
            .send(form.finish());
        let mut response = match sent {
            Ok(response) => response,
            // Its text names addresses and what went wrong, nothing of the message.
            Err(error) => return Answer::Unknown(error.to_string()),
        };
        let status = response.status();
        let after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let body = response.body_mut().with_config().limit(LONGEST_ANSWER);
        // The status says it all; the body only says how Twilio calls it.
        let body = body.read_to_string().unwrap_or_default();
        if status.is_success() {
            let created: Option<Created> = serde_json::from_str(&body).ok();
            return Answer::Accepted(created.map(|created| created.sid));
        }
        // Twilio's text may hold the telephone number; its code says the same.
        let error = match serde_json::from_str(&body) {
            Ok(Problem { code }) => format!("status {}, code {code}", status.as_u16()),
            Err(_) => format!("status {}", status.as_u16()),
        };
        match status {
            StatusCode::TOO_MANY_REQUESTS => Answer::TooMany(after),
            StatusCode::REQUEST_TIMEOUT => Answer::NotNow(error, after),
            _ if status.is_server_error() => Answer::NotNow(error, after),
            _ => Answer::Refused(error),
        }
    }
}
