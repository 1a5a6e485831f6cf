//! A configuration that is complete and valid.

use crate::request::path::PathPattern;
use crate::request::timestamp::Freshness;
use crate::signature::form::FormReading;
use crate::signature::keyring::Keyring;
use crate::signature::url::PublicUrl;
use crate::store::StoreSettings;
use crate::store::local::limiter::Limit;
use crate::store::local::nonces::NonceRules;
use crate::time::Millis;

/// The whole configuration.
#[derive(Debug)]
pub struct Settings {
    /// What follows from a verdict.
    pub mode: Mode,
    /// The keys that may sign. Without any, every webhook responds with 500.
    pub keyring: Keyring,
    /// The webhooks, at least one.
    pub webhooks: Vec<WebhookSettings>,
    /// Paths that pass unchecked.
    pub exempt_paths: Vec<PathPattern>,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// The longest path and query, in bytes.
    pub max_target_bytes: usize,
    /// Whether `x-envoy-original-path` is signed instead of the path.
    pub trust_original_path: bool,
    /// The number of keys that each rate limit tracks.
    pub rate_limit_capacity: usize,
    /// Where nonces and counters live.
    pub store: StoreSettings,
    /// What is logged.
    pub log: LogSettings,
    /// What is valid but probably a mistake: one sentence each, beginning with the field's path.
    pub warnings: Vec<String>,
}

/// What follows from a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Rejected requests do not reach the upstream.
    Enforce,
    /// Every request is checked, counted and logged, and passes.
    Monitor,
    /// Every request passes unchecked.
    Off,
}

/// One webhook, with the global settings that it does not override.
#[derive(Debug)]
pub struct WebhookSettings {
    /// The paths that belong to it.
    pub path: PathPattern,
    /// Its name in metrics and log: its path in `[a-z0-9_-]`.
    pub label: String,
    /// The URL that Twilio signs.
    pub public_url: PublicUrl,
    /// The methods that it accepts, in upper case.
    pub methods: Vec<String>,
    /// The spellings of a form that it accepts.
    pub form: FormReading,
    /// The maximum number of parameters of a form, counted as pieces between `&`.
    pub max_parameters: usize,
    /// How recent a request has to be.
    pub timestamp: TimestampSettings,
    /// Replay protection, if it is on.
    pub replay: Option<ReplaySettings>,
    /// Its rate limits.
    pub rate_limits: Vec<RuleSettings>,
}

impl WebhookSettings {
    /// Returns whether it accepts any method that sends a body.
    pub fn takes_bodies(&self) -> bool {
        let sends = |method: &String| matches!(method.as_str(), "POST" | "PUT" | "PATCH");
        self.methods.iter().any(sends)
    }
}

/// How recent a request has to be.
#[derive(Clone, Debug)]
pub struct TimestampSettings {
    /// The signed parameters that may hold a timestamp.
    pub params: Vec<String>,
    /// The unsigned header that may hold a timestamp, in lower case.
    pub header: Option<String>,
    /// How old and how far ahead a timestamp may be.
    pub freshness: Freshness,
    /// Whether a request without a signed timestamp is rejected.
    pub required: bool,
}

/// Replay protection.
#[derive(Clone, Debug)]
pub struct ReplaySettings {
    /// How long nonces are retained, and how many.
    pub rules: NonceRules,
    /// The response to a duplicate.
    pub on_duplicate: OnDuplicate,
    /// Whether WebSocket handshakes claim a nonce.
    pub handshakes: bool,
}

/// The response to a duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuplicate {
    /// 409 Conflict.
    Reject,
    /// 200 with empty TwiML; the duplicate does not reach the upstream.
    Acknowledge,
}

/// A rate limit.
#[derive(Clone, Debug)]
pub struct RuleSettings {
    /// What it counts by.
    pub key: RuleKey,
    /// Which requests it counts.
    pub count: Count,
    /// How many requests may pass in which time.
    pub limit: Limit,
    /// The namespace of its counters: empty for a global rule, the webhook's label for one of
    /// a webhook's own.
    pub scope: String,
}

/// What a rate limit counts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleKey {
    /// The client's address; of an IPv6 address its /64.
    ClientIp,
    /// The account that signed.
    Account,
    /// The webhook.
    Webhook,
    /// The value of a signed parameter.
    Param(String),
}

impl RuleKey {
    /// Returns whether the key is known and trustworthy before the signature is checked.
    pub fn is_known_early(&self) -> bool {
        matches!(self, RuleKey::ClientIp | RuleKey::Webhook)
    }

    /// Returns its name in the configuration.
    pub fn as_configured(&self) -> String {
        match self {
            RuleKey::ClientIp => "client_ip".into(),
            RuleKey::Account => "account".into(),
            RuleKey::Webhook => "webhook".into(),
            RuleKey::Param(name) => format!("param:{name}"),
        }
    }
}

/// Which requests a rate limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Every request, as soon as its key is known and trustworthy.
    All,
    /// Rejected requests.
    Rejected,
    /// Requests that Twilio signed.
    Authenticated,
}

impl Count {
    /// Returns its name in the configuration.
    pub fn as_configured(self) -> &'static str {
        match self {
            Count::All => "all",
            Count::Rejected => "rejected",
            Count::Authenticated => "authenticated",
        }
    }
}

/// What is logged.
#[derive(Clone, Copy, Debug)]
pub struct LogSettings {
    /// Whether accepted requests are logged.
    pub accepted: bool,
    /// The maximum number of lines that each worker writes in a second: so many of accepted
    /// requests, so many others, and one that says how many were left out.
    pub max_per_second: u32,
}

/// The values of fields that are left out.
pub mod defaults {
    use super::Millis;

    /// The largest body, in bytes.
    pub const MAX_BODY_BYTES: usize = 65_536;
    /// The longest path and query, in bytes.
    pub const MAX_TARGET_BYTES: usize = 16_384;
    /// The maximum number of parameters of a form.
    pub const MAX_PARAMETERS: usize = 500;
    /// The maximum age of a timestamp.
    pub const MAX_AGE: Millis = Millis::seconds(300);
    /// How far ahead a timestamp may be.
    pub const CLOCK_SKEW: Millis = Millis::seconds(30);
    /// The minimum retention of a nonce.
    pub const REPLAY_WINDOW: Millis = Millis::seconds(300);
    /// The retention of a nonce while there is space.
    pub const REPLAY_KEEP: Millis = Millis::seconds(86_400);
    /// The number of nonces.
    pub const REPLAY_CAPACITY: usize = 65_536;
    /// The number of requests that a client may send in [`LIMIT_WINDOW`].
    pub const LIMIT_REQUESTS: u32 = 60;
    /// The window of the default rate limit.
    pub const LIMIT_WINDOW: Millis = Millis::seconds(60);
    /// The number of keys that each rate limit tracks.
    pub const RATE_LIMIT_CAPACITY: usize = 16_384;
    /// The signed parameter of Voice status callbacks.
    pub const TIMESTAMP_PARAM: &str = "Timestamp";
    /// The header that the Express middleware read.
    pub const TIMESTAMP_HEADER: &str = "x-twilio-request-timestamp";
    /// The prefix of keys in Redis.
    pub const KEY_PREFIX: &str = "twf";
    /// How long a call to Redis may take.
    pub const STORE_TIMEOUT: Millis = Millis(100);
    /// The maximum number of log lines of either kind in a second.
    pub const LOG_MAX_PER_SECOND: u32 = 50;
}
