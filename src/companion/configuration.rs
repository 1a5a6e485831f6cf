//! The filter's configuration where there is just a URL and a key.

use serde_json::{Map, Value, json};

use crate::companion::captured::CapturedRequest;
use crate::copied::{A_KEY, Alphabet, Place, remnant};
use crate::secret::Secret;

/// What a single key is: an account's auth token, or a shared key.
pub enum SigningSecret {
    /// An auth token, and its account if that is to be checked.
    AuthToken(Secret, Option<String>),
    /// A shared key with its id.
    SharedKey(Secret, String),
}

/// A configuration, and the environment that goes with it.
pub struct Configuration {
    /// The filter's JSON.
    pub json: String,
    secret: SigningSecret,
}

/// Returns what was expected of a key that the filter would not load, and what copying has left in
/// it; never the key itself.
pub fn problem_of_key(text: &str) -> Option<String> {
    let left = remnant(text, Place::Environment, Alphabet::Ascii)?;
    // What follows is advice for a variable; it may as well have come from a file.
    let left = left.split(':').next().unwrap_or_default();
    Some(format!("{A_KEY}: it {left}"))
}

/// The variable that a shared key's secret is in.
const SHARED_SECRET: &str = "TWILIO_SHARED_KEY_SECRET";

impl Configuration {
    /// Returns the configuration in which each request's path is a webhook's with this URL: what
    /// arrives at another path is not rejected for that, and the diagnosis may say why it does.
    pub fn of_url(
        url: &str,
        secret: SigningSecret,
        requests: &[&CapturedRequest],
    ) -> Configuration {
        let mut webhooks: Vec<Value> = Vec::new();
        for request in requests {
            let path = String::from_utf8_lossy(request.path());
            // A prefix takes no url.
            if path.is_empty() || path.contains('*') {
                continue;
            }
            let known = webhooks.iter_mut().find(|own| own["path"] == *path);
            match known.map(|own| &mut own["methods"]) {
                Some(Value::Array(methods)) if !methods.contains(&json!(request.method)) => {
                    methods.push(json!(request.method));
                }
                Some(_) => {}
                None => webhooks.push(json!({
                    "path": path, "url": url, "methods": [request.method],
                })),
            }
        }
        if webhooks.is_empty() {
            webhooks.push(json!({"url": url}));
        }
        let mut configuration = Map::new();
        configuration.insert("webhooks".into(), webhooks.into());
        if let SigningSecret::SharedKey(_, id) = &secret {
            let keys = json!([{"id": id, "secret": {"env": SHARED_SECRET}}]);
            configuration.insert("shared_keys".into(), keys);
        }
        Configuration {
            json: Value::Object(configuration).to_string(),
            secret,
        }
    }

    /// Returns a variable of the environment that goes with it.
    pub fn variable(&self, name: &str) -> Option<String> {
        match (&self.secret, name) {
            (SigningSecret::AuthToken(token, _), "TWILIO_AUTH_TOKEN") => {
                Some(token.expose().to_owned())
            }
            (SigningSecret::AuthToken(_, account), "TWILIO_ACCOUNT_SID") => account.clone(),
            (SigningSecret::SharedKey(secret, _), SHARED_SECRET) => {
                Some(secret.expose().to_owned())
            }
            _ => None,
        }
    }
}

/// Returns the URL by which a request seems to have been called; none where it names no host.
pub fn assumed_url(request: &CapturedRequest) -> Option<String> {
    let path = String::from_utf8_lossy(request.path()).into_owned();
    if let Some(origin) = &request.origin {
        return Some(format!("{origin}{path}"));
    }
    let host = std::str::from_utf8(request.header("host").next()?).ok()?;
    Some(format!("https://{host}{path}")).filter(|_| !host.is_empty())
}
