//! What the page in the browser asks and gets: JSON in, JSON out.
//!
//! It asks for what the command line does, with the same words, and both go through the same code:
//! the page adds nothing to it.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::companion::captured::{Captured, CapturedRequest, Format, read, time};
use crate::companion::configuration::{Configuration, SigningSecret, assumed_url};
use crate::companion::explain::Explainer;
use crate::companion::mask::{Shown, visible};
use crate::companion::sign::{Content, sign};
use crate::secret::Secret;
use crate::time::Timestamp;

/// A question of the page. An empty field is as if it were not there.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Question {
    action: Action,
    /// The URL as it is entered at Twilio.
    url: String,
    /// The auth token, or the shared key's secret.
    secret: String,
    /// The shared key's id.
    shared_key: String,
    account: String,
    /// To explain: the capture, in any format that the command line reads.
    request: String,
    /// To explain: what the capture is, by its name on the command line.
    format: String,
    /// To explain: when the requests came that do not say it.
    at: String,
    /// To explain: the filter's JSON, in place of a URL.
    config: String,
    /// To explain: whether values are shown, and not only their shapes.
    show_data: bool,
    /// To sign: what.
    kind: Kind,
    /// To sign: parameters, one a line: `Name=value`.
    parameters: String,
    /// To sign: the body of JSON.
    body: String,
}

/// What the page wants to know.
#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Whether captured requests verify and, if not, why.
    #[default]
    Explain,
    /// The headers of a request that is to pass.
    Sign,
}

/// What is signed.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Parameters in a form.
    #[default]
    Form,
    /// Parameters in the query of a GET.
    Get,
    /// A body whose hash is in the URL.
    Json,
    /// The handshake of a WebSocket.
    Websocket,
}

/// Answers a question of the page: the same fields as the command line's `--json`, or `error` with
/// what was expected.
pub fn answer(question: &str, now: Timestamp) -> String {
    let answer = match serde_json::from_str::<Question>(question) {
        Ok(question) => match question.action {
            Action::Explain => question.explained(now),
            Action::Sign => question.signed(),
        },
        Err(error) => Err(error.to_string()),
    };
    answer
        .unwrap_or_else(|error| json!({"error": error}))
        .to_string()
}

impl Question {
    fn explained(&self, now: Timestamp) -> Result<Value, String> {
        let format = match self.format.as_str() {
            "" => None,
            name => Some(format_named(name)?),
        };
        let (_, mut captured) = read(self.request.as_bytes(), format).map_err(|error| error.0)?;
        if !self.at.trim().is_empty() {
            let at = time(self.at.trim())
                .ok_or("expected a time as 2026-11-28T15:00:00Z or Unix seconds")?;
            captured.iter_mut().for_each(|one| one.came_at(at));
        }
        let requests: Vec<_> = captured.iter().filter_map(Captured::request).collect();
        let mut notes = Vec::new();
        let explainer = match requests.first() {
            Some(first) => Some(self.explainer(first, &requests, &mut notes)?),
            None => None,
        };
        let warnings = explainer.iter().flat_map(Explainer::warnings);
        notes.extend(warnings.map(|warning| format!("configuration: {warning}")));
        let shown = Shown::all_if(self.show_data);
        let explanations = Explainer::explain_all(explainer.as_ref(), &captured, now, shown);
        Ok(json!({"notes": notes, "requests": explanations}))
    }

    fn explainer(
        &self,
        first: &CapturedRequest,
        requests: &[&CapturedRequest],
        notes: &mut Vec<String>,
    ) -> Result<Explainer, String> {
        if !self.config.trim().is_empty() {
            return Explainer::new(self.config.as_bytes(), &|name| self.variable(name));
        }
        let url = match self.url.trim() {
            "" => {
                let url = assumed_url(first).ok_or(
                    "expected the URL that is entered at Twilio, since the request names no host",
                )?;
                notes.push(format!(
                    "without a URL it is taken from the request: {url}. It has to be the one that \
                     is entered at Twilio"
                ));
                url
            }
            url => url.to_owned(),
        };
        let configuration = Configuration::of_url(&url, self.key()?, requests);
        let variable = |name: &str| configuration.variable(name);
        Explainer::new(configuration.json.as_bytes(), &variable)
            .map_err(|problems| problems.replace("webhooks[0].url", "URL"))
    }

    fn signed(&self) -> Result<Value, String> {
        let content = match self.kind {
            Kind::Form => Content::Parameters(pairs(&self.parameters)?),
            Kind::Get => Content::Query(pairs(&self.parameters)?),
            Kind::Json => Content::Hashed(self.body.clone().into_bytes()),
            Kind::Websocket => Content::WebSocket,
        };
        let signed = sign(self.url.trim(), content, &self.key()?)?;
        let headers: Map<_, _> = signed
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        Ok(json!({
            "method": signed.method,
            "url": signed.url,
            "headers": headers,
            "string": visible(&signed.message),
            "curl": signed.curl(&signed.url),
        }))
    }

    fn key(&self) -> Result<SigningSecret, String> {
        if self.secret.is_empty() {
            return Err(match self.shared_key.is_empty() {
                true => "expected an auth token".into(),
                false => "expected the secret of the shared key".into(),
            });
        }
        let secret = Secret::new(self.secret.clone());
        Ok(match self.shared_key.trim() {
            "" => {
                let account = Some(self.account.trim().to_owned());
                SigningSecret::AuthToken(secret, account.filter(|account| !account.is_empty()))
            }
            id => SigningSecret::SharedKey(secret, id.to_owned()),
        })
    }

    /// Returns a variable of a configuration: what the page knows, by the README's names. Any
    /// other secret of the configuration is the one that the page has.
    fn variable(&self, name: &str) -> Option<String> {
        let value = match name {
            "TWILIO_ACCOUNT_SID" => self.account.trim(),
            "WEBHOOK_URL" => self.url.trim(),
            "FORCE_TWILIO_VERIFY" | "TWILIO_CLOCK_SKEW_MS" | "TWILIO_NONCE_WINDOW_MS" => "",
            _ => &self.secret,
        };
        Some(value.to_owned()).filter(|value| !value.is_empty())
    }
}

fn format_named(name: &str) -> Result<Format, String> {
    let found = Format::ALL.iter().find(|(known, _)| *known == name);
    let known: Vec<_> = Format::ALL.iter().map(|(name, _)| *name).collect();
    found
        .map(|(_, format)| *format)
        .ok_or_else(|| format!("format: expected one of {}", known.join(", ")))
}

/// Returns the parameters of lines `Name=value`. What is behind the first `=` is the value, blanks
/// included.
fn pairs(lines: &str) -> Result<Vec<(String, String)>, String> {
    let lines = lines.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            let (name, value) = line
                .split_once('=')
                .ok_or_else(|| format!("parameters: expected Name=value in line {}", index + 1))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}
