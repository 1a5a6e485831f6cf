//! The configuration as the filter works with it: complete and valid.

use crate::request::path::PathPattern;
use crate::request::timestamp::Freshness;
use crate::secret::Secret;
use crate::signature::form::FormReading;
use crate::signature::keyring::Keyring;
use crate::signature::url::PublicUrl;
use crate::store::local::limiter::Limit;
use crate::store::local::nonces::NonceRules;
use crate::store::redis::wire::Api;
use crate::time::Millis;

/// All of it.
#[derive(Debug)]
pub struct Settings {
    /// What is done with a verdict.
    pub mode: Mode,
    /// The keys that may sign. May be empty: then every webhook answers 500.
    pub keyring: Keyring,
    /// At least one.
    pub webhooks: Vec<WebhookSettings>,
    /// Paths that pass unchecked.
    pub exempt_paths: Vec<PathPattern>,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// The longest path and query, in bytes.
    pub max_target_bytes: usize,
    /// Whether `x-envoy-original-path` is signed instead of the path.
    pub trust_original_path: bool,
    /// How many keys each rate limit remembers.
    pub rate_limit_capacity: usize,
    /// Where nonces and counters live.
    pub store: StoreSettings,
    /// What is logged.
    pub log: LogSettings,
    /// What is valid and most likely a mistake all the same: one sentence each, beginning with the field's path.
    pub warnings: Vec<String>,
}

/// Where nonces and counters live.
#[derive(Debug)]
pub enum StoreSettings {
    /// In this Envoy's shared data.
    SharedData,
    /// In Redis, for several Envoys.
    Redis(RedisSettings),
}

/// How Redis is reached.
#[derive(Debug)]
pub struct RedisSettings {
    /// The cluster of Envoy's configuration.
    pub cluster: String,
    /// The form of the service there.
    pub api: Api,
    /// The `Host` header.
    pub authority: String,
    /// The `Authorization` header, if the service wants one.
    pub authorization: Option<Secret>,
    /// What all keys begin with, in the braces that keep them in one slot of a cluster.
    pub key_prefix: String,
    /// For how long an answer is awaited.
    pub timeout: Millis,
    /// What happens without one.
    pub on_error: OnStoreError,
}

/// What happens to a request when Redis does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreError {
    /// It is rejected.
    Reject,
    /// This Envoy's shared data decides.
    Local,
}

/// What is done with a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What is rejected does not pass.
    Enforce,
    /// Everything is checked, counted and logged, and passes.
    Monitor,
    /// Everything passes unchecked.
    Off,
}

/// One webhook, with the global settings that it does not override.
#[derive(Debug)]
pub struct WebhookSettings {
    /// Which requests it takes.
    pub path: PathPattern,
    /// What metrics and log call it: its path in `[a-z0-9_-]`.
    pub label: String,
    /// The URL that Twilio signs.
    pub public_url: PublicUrl,
    /// Which methods it takes, in upper case.
    pub methods: Vec<String>,
    /// Which spellings of a form it takes.
    pub form: FormReading,
    /// The most parameters that a form may have, counted as pieces between `&`.
    pub max_parameters: usize,
    /// How recent a request has to be.
    pub timestamp: TimestampSettings,
    /// How repeats are rejected; `None` if they are not.
    pub replay: Option<ReplaySettings>,
    /// Which limits it is under.
    pub rate_limits: Vec<RuleSettings>,
}

impl WebhookSettings {
    /// Whether it takes any method that sends a body.
    pub fn takes_bodies(&self) -> bool {
        let sends = |method: &String| matches!(method.as_str(), "POST" | "PUT" | "PATCH");
        self.methods.iter().any(sends)
    }
}

/// How recent a request has to be.
#[derive(Clone, Debug)]
pub struct TimestampSettings {
    /// The signed parameters that hold one.
    pub params: Vec<String>,
    /// The unsigned header that may hold one, in lower case.
    pub header: Option<String>,
    /// How old and how far ahead it may be.
    pub freshness: Freshness,
    /// Whether a request without a signed one is rejected.
    pub required: bool,
}

/// How repeats are rejected.
#[derive(Clone, Debug)]
pub struct ReplaySettings {
    /// How they are recognised.
    pub rules: NonceRules,
    /// How they are answered.
    pub on_duplicate: OnDuplicate,
    /// Whether WebSocket handshakes claim a nonce, too.
    pub handshakes: bool,
}

/// How a repeat is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuplicate {
    /// 409.
    Reject,
    /// 200 with an empty TwiML response, and not passed on.
    Acknowledge,
}

/// One rate limit.
#[derive(Clone, Debug)]
pub struct RuleSettings {
    /// Whom it counts.
    pub key: RuleKey,
    /// Which of their requests it counts.
    pub count: Count,
    /// How many may pass.
    pub limit: Limit,
    /// What tells its counters from those of other rules: a webhook's own rules
    /// have counters of their own.
    pub scope: String,
}

/// Whom a rate limit counts.
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
    /// Whether the key is known, and can be trusted, before the signature is checked.
    pub fn is_known_early(&self) -> bool {
        matches!(self, RuleKey::ClientIp | RuleKey::Webhook)
    }

    /// As it is configured.
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
    /// Every request, as soon as its key is known and can be trusted.
    All,
    /// Those that are rejected.
    Rejected,
    /// Those that Twilio signed.
    Authenticated,
}

impl Count {
    /// As it is configured.
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
    /// Whether accepted requests are.
    pub accepted: bool,
    /// How many lines a second each worker writes at the most.
    pub max_per_second: u32,
}

/// What holds where nothing else is configured.
pub mod defaults {
    use super::Millis;

    /// Bytes.
    pub const MAX_BODY_BYTES: usize = 65_536;
    /// Bytes.
    pub const MAX_TARGET_BYTES: usize = 16_384;
    /// Pieces of a form.
    pub const MAX_PARAMETERS: usize = 500;
    /// How old a request may be.
    pub const MAX_AGE: Millis = Millis::seconds(300);
    /// How far ahead.
    pub const CLOCK_SKEW: Millis = Millis::seconds(30);
    /// How long a request must be remembered.
    pub const REPLAY_WINDOW: Millis = Millis::seconds(300);
    /// How long it is remembered while there is room.
    pub const REPLAY_KEEP: Millis = Millis::seconds(86_400);
    /// How many requests are remembered.
    pub const REPLAY_CAPACITY: usize = 65_536;
    /// How many requests a client may send …
    pub const LIMIT_REQUESTS: u32 = 60;
    /// … in this time.
    pub const LIMIT_WINDOW: Millis = Millis::seconds(60);
    /// How many clients are counted.
    pub const RATE_LIMIT_CAPACITY: usize = 16_384;
    /// The signed parameter of Voice status callbacks.
    pub const TIMESTAMP_PARAM: &str = "Timestamp";
    /// The header that the Express middleware read.
    pub const TIMESTAMP_HEADER: &str = "x-twilio-request-timestamp";
    /// What keys in Redis begin with.
    pub const KEY_PREFIX: &str = "twf";
    /// For how long an answer of Redis is awaited.
    pub const STORE_TIMEOUT: Millis = Millis(100);
    /// Log lines a second.
    pub const LOG_MAX_PER_SECOND: u32 = 50;
}
