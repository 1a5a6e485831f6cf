//! From JSON and environment to [`Settings`], or to the list of all that is wrong.

use serde_json::Value;

use crate::core::clock::Span;
use crate::core::config::reader::{Environment, Node, Object, Problems};
use crate::core::config::settings::{
    Count, LogSettings, Mode, OnDuplicate, ReplaySettings, RuleKey, RuleSettings, Settings,
    TimestampSettings, WebhookSettings, defaults,
};
use crate::core::freshness::Freshness;
use crate::core::routes::{PathPattern, spell_plainly};
use crate::core::secret::Secret;
use crate::core::signature::key::SigningKey;
use crate::core::signature::keyring::{Key, Keyring, MOST_KEYS};
use crate::core::signature::url::{ConfiguredUrl, PublicUrl};
use crate::core::table::limiter::Limit;
use crate::core::table::nonces::{NonceRules, OnFull};

/// Names of the environment variables that fill in what the JSON leaves out.
mod variable {
    pub(super) const AUTH_TOKEN: &str = "TWILIO_AUTH_TOKEN";
    pub(super) const ACCOUNT_SID: &str = "TWILIO_ACCOUNT_SID";
    pub(super) const WEBHOOK_URL: &str = "WEBHOOK_URL";
    pub(super) const CLOCK_SKEW_MS: &str = "TWILIO_CLOCK_SKEW_MS";
    pub(super) const NONCE_WINDOW_MS: &str = "TWILIO_NONCE_WINDOW_MS";
    pub(super) const FORCE_VERIFY: &str = "FORCE_TWILIO_VERIFY";
}

const A_MILLISECOND: Span = Span(1);
const NOTHING: Span = Span(0);
/// Longer than anything that makes sense here, and far from any overflow.
const A_YEAR: Span = Span::seconds(366 * 86_400);
/// Four million nonces are 256 MiB.
const MOST_NONCES: u64 = 4_194_304;
const MOST_COUNTED: u64 = 1_048_576;
/// The body is copied into the VM's memory whole.
const MOST_BODY_BYTES: u64 = 16_777_216;
const MOST_REQUESTS: u64 = 1_000_000;
const MOST_LOG_LINES: u64 = 100_000;
/// Each webhook has a metric for each verdict.
const MOST_WEBHOOKS: usize = 256;

/// Reads a configuration. An empty one is `{}`: all of it comes from the environment.
///
/// # Errors
/// All problems at once, each with the path of its field and what was expected.
/// No problem shows a configured value, which may be a secret.
pub fn load(json: &[u8], environment: &impl Environment) -> Result<Settings, Problems> {
    let problems = Problems::default();
    let document = match parse_json(json) {
        Ok(document) => document,
        Err(what) => {
            problems.note("configuration", what);
            return Err(problems);
        }
    };
    let loader = Loader {
        environment,
        problems: &problems,
    };
    let settings = loader.settings(&Node::root(&document, &problems));
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(problems),
    }
}

fn parse_json(json: &[u8]) -> Result<Value, String> {
    if json.trim_ascii().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    // serde_json's message would quote the text; line and column say enough.
    serde_json::from_slice(json).map_err(|error| {
        format!(
            "expected JSON, which it is not at line {} column {}",
            error.line(),
            error.column()
        )
    })
}

struct Loader<'a, E> {
    environment: &'a E,
    problems: &'a Problems,
}

/// What a webhook takes over where it does not say otherwise.
struct Globals {
    base: Option<PublicUrl>,
    timestamp: TimestampSettings,
    replay: Option<ReplaySettings>,
    /// What a webhook's own `replay` object starts from, also where the global one is off.
    replay_basis: ReplaySettings,
    rate_limits: Vec<RuleSettings>,
}

impl<E: Environment> Loader<'_, E> {
    fn settings(&self, root: &Node<'_>) -> Option<Settings> {
        let root = root.object(&[
            "mode",
            "accounts",
            "shared_keys",
            "webhooks",
            "public_base_url",
            "exempt_paths",
            "max_body_bytes",
            "trust_original_path",
            "timestamp",
            "replay",
            "rate_limits",
            "rate_limit_capacity",
            "store",
            "log",
        ])?;
        // Every part is read before any is missed, so that all problems are found.
        let mode = self.mode(&root);
        let keyring = self.keyring(&root);
        let globals = self.globals(&root);
        let webhooks = self.webhooks(&root, &globals);
        let exempt_paths = self.exempt_paths(&root, &webhooks);
        let max_body_bytes = number(&root, "max_body_bytes", 1, MOST_BODY_BYTES);
        let rate_limit_capacity = number(&root, "rate_limit_capacity", 1, MOST_COUNTED);
        let trust_original_path = flag(&root, "trust_original_path");
        self.check_store(&root);
        let log = self.log(&root);
        Some(Settings {
            mode,
            keyring,
            webhooks,
            exempt_paths,
            max_body_bytes: max_body_bytes.unwrap_or(defaults::MAX_BODY_BYTES),
            trust_original_path,
            rate_limit_capacity: rate_limit_capacity.unwrap_or(defaults::RATE_LIMIT_CAPACITY),
            log,
        })
    }

    fn mode(&self, root: &Object<'_>) -> Mode {
        let modes = [
            ("enforce", Mode::Enforce),
            ("monitor", Mode::Monitor),
            ("off", Mode::Off),
        ];
        let configured = root.field("mode").and_then(|node| node.one_of(&modes));
        match self.variable(variable::FORCE_VERIFY).as_deref() {
            Some("true") => return Mode::Enforce,
            None | Some("false") => {}
            Some(_) => self
                .problems
                .expected(variable::FORCE_VERIFY, "true or false in the environment"),
        }
        configured.unwrap_or(Mode::Enforce)
    }

    /// A variable of the environment; one that is empty counts as not set, since
    /// that is what compose files and charts make of an unset one.
    fn variable(&self, name: &str) -> Option<String> {
        let value = self.environment.variable(name);
        value.filter(|value| !value.is_empty())
    }

    fn milliseconds(&self, name: &str, least: Span) -> Option<Span> {
        let text = self.variable(name)?;
        let span = text.parse().ok().map(Span);
        let valid = span.filter(|span| (least..=A_YEAR).contains(span));
        if valid.is_none() {
            self.problems.expected(
                name,
                format_args!("milliseconds in the environment, {} at least", least.0),
            );
        }
        valid
    }

    fn keyring(&self, root: &Object<'_>) -> Keyring {
        let mut keys = Vec::new();
        match root.field("accounts") {
            Some(accounts) => {
                for account in accounts.list().unwrap_or_default() {
                    self.account(&account, &mut keys);
                }
            }
            None => self.account_of_the_environment(&mut keys),
        }
        if let Some(shared) = root.field("shared_keys") {
            for node in shared.list().unwrap_or_default() {
                self.shared_key(&node, &mut keys);
            }
        }
        if keys.len() > MOST_KEYS {
            self.problems.expected(
                "accounts",
                format_args!("at most {MOST_KEYS} auth tokens and shared keys in all"),
            );
        }
        Keyring::new(keys)
    }

    fn account_of_the_environment(&self, keys: &mut Vec<Key>) {
        let account = self.variable(variable::ACCOUNT_SID);
        if account
            .as_deref()
            .is_some_and(|account| !is_account_sid(account))
        {
            self.problems.expected(variable::ACCOUNT_SID, ACCOUNT_SID);
        }
        let token = self.variable(variable::AUTH_TOKEN).map(Secret::new);
        let signing = token.as_ref().and_then(SigningKey::auth_token);
        keys.extend(signing.map(|signing| Key {
            signing,
            account,
            label: variable::AUTH_TOKEN.to_owned(),
            shared_id: None,
        }));
    }

    fn account(&self, node: &Node<'_>, keys: &mut Vec<Key>) {
        let Some(account) = node.object(&["account_sid", "auth_tokens"]) else {
            return;
        };
        let sid = account.field("account_sid").and_then(|node| {
            let sid = node.text(ACCOUNT_SID)?;
            if is_account_sid(sid) {
                Some(sid)
            } else {
                node.expected(ACCOUNT_SID)
            }
        });
        let tokens = account.required("auth_tokens").and_then(|node| node.list());
        for node in tokens.unwrap_or_default() {
            let Some((token, label)) = node.secret(self.environment) else {
                continue;
            };
            keys.extend(SigningKey::auth_token(&token).map(|signing| Key {
                signing,
                account: sid.map(str::to_owned),
                label,
                shared_id: None,
            }));
        }
    }

    fn shared_key(&self, node: &Node<'_>, keys: &mut Vec<Key>) {
        let Some(object) = node.object(&["id", "secret"]) else {
            return;
        };
        let id = object
            .required("id")
            .and_then(|node| node.text("the key's id"));
        let secret = object
            .required("secret")
            .and_then(|node| node.secret(self.environment));
        let (Some(id), Some((secret, label))) = (id, secret) else {
            return;
        };
        if keys.iter().any(|key| key.shared_id.as_deref() == Some(id)) {
            self.problems.expected(
                format_args!("{}.id", node.path()),
                "an id that no other key has",
            );
        }
        keys.extend(SigningKey::shared_key(&secret).map(|signing| Key {
            signing,
            account: None,
            label,
            shared_id: Some(id.to_owned()),
        }));
    }

    fn globals(&self, root: &Object<'_>) -> Globals {
        let base = root.field("public_base_url").and_then(|node| {
            let url = url(&node)?;
            if url.query().is_some() {
                return node.expected("a URL without a query, such as https://orders.example.com");
            }
            Some(PublicUrl::base(&url))
        });
        let window = self.milliseconds(variable::NONCE_WINDOW_MS, A_MILLISECOND);
        let skew = self.milliseconds(variable::CLOCK_SKEW_MS, NOTHING);
        let timestamp = TimestampSettings {
            params: vec![defaults::TIMESTAMP_PARAM.to_owned()],
            header: Some(defaults::TIMESTAMP_HEADER.to_owned()),
            freshness: Freshness {
                max_age: window.unwrap_or(defaults::MAX_AGE),
                clock_skew: skew.unwrap_or(defaults::CLOCK_SKEW),
            },
            required: false,
        };
        let timestamp = self.timestamp(root.field("timestamp"), &timestamp);
        let basis = ReplaySettings {
            rules: NonceRules {
                window: window.unwrap_or(defaults::REPLAY_WINDOW),
                keep: defaults::REPLAY_KEEP,
                longest: NOTHING,
                capacity: defaults::REPLAY_CAPACITY,
                on_full: OnFull::Reject,
            },
            on_duplicate: OnDuplicate::Reject,
        };
        let replay = self.replay(root.field("replay"), Some(&basis), &basis);
        let rate_limits = match root.field("rate_limits") {
            Some(node) => self.rate_limits(&node, ""),
            None => vec![RuleSettings {
                key: RuleKey::ClientIp,
                count: Count::All,
                limit: Limit {
                    requests: defaults::LIMIT_REQUESTS,
                    window: defaults::LIMIT_WINDOW,
                },
                scope: String::new(),
            }],
        };
        Globals {
            base,
            timestamp,
            replay_basis: replay.clone().unwrap_or(basis),
            replay,
            rate_limits,
        }
    }

    /// A `timestamp` object; what it leaves out is as in `basis`.
    fn timestamp(&self, node: Option<Node<'_>>, basis: &TimestampSettings) -> TimestampSettings {
        let mut timestamp = basis.clone();
        let fields = ["params", "header", "max_age", "clock_skew", "required"];
        let Some(object) = node.and_then(|node| node.object(&fields)) else {
            return timestamp;
        };
        if let Some(params) = object.field("params").and_then(|node| node.list()) {
            let name = |node: &Node<'_>| Some(node.text("a parameter's name")?.to_owned());
            timestamp.params = params.iter().filter_map(name).collect();
        }
        if let Some(header) = object.field("header") {
            timestamp.header = if header.is_null() {
                None
            } else {
                self.header_name(&header)
            };
        }
        if let Some(node) = object.field("max_age") {
            let max_age = node.duration(A_MILLISECOND, A_YEAR);
            timestamp.freshness.max_age = max_age.unwrap_or(A_MILLISECOND);
        }
        if let Some(node) = object.field("clock_skew") {
            timestamp.freshness.clock_skew = node.duration(NOTHING, A_YEAR).unwrap_or(NOTHING);
        }
        if object.field("required").is_some() {
            timestamp.required = flag(&object, "required");
        }
        timestamp
    }

    fn header_name(&self, node: &Node<'_>) -> Option<String> {
        let what = "a header's name, or null for none";
        let name = node.text(what)?;
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if !name.bytes().all(is_token) {
            return node.expected(what);
        }
        Some(name.to_ascii_lowercase())
    }

    /// A `replay` object or `"off"`; what it leaves out is as in `basis`, and where
    /// there is none at all it is `absent`.
    fn replay(
        &self,
        node: Option<Node<'_>>,
        absent: Option<&ReplaySettings>,
        basis: &ReplaySettings,
    ) -> Option<ReplaySettings> {
        let Some(node) = node else {
            return absent.cloned();
        };
        if node.is_text("off") {
            return None;
        }
        let mut replay = basis.clone();
        if !node.is_object() {
            return node.expected("\"off\" or an object");
        }
        let object = node.object(&["window", "keep", "capacity", "on_full", "on_duplicate"])?;
        if let Some(node) = object.field("window") {
            replay.rules.window = node
                .duration(A_MILLISECOND, A_YEAR)
                .unwrap_or(A_MILLISECOND);
        }
        if let Some(node) = object.field("keep") {
            replay.rules.keep = node.duration(NOTHING, A_YEAR).unwrap_or(NOTHING);
        }
        if let Some(capacity) = number(&object, "capacity", 1, MOST_NONCES) {
            replay.rules.capacity = capacity;
        }
        if let Some(node) = object.field("on_full") {
            let words = [
                ("reject", OnFull::Reject),
                ("evict_oldest", OnFull::EvictOldest),
            ];
            replay.rules.on_full = node.one_of(&words).unwrap_or(OnFull::Reject);
        }
        if let Some(node) = object.field("on_duplicate") {
            let words = [
                ("reject", OnDuplicate::Reject),
                ("acknowledge", OnDuplicate::Acknowledge),
            ];
            replay.on_duplicate = node.one_of(&words).unwrap_or(OnDuplicate::Reject);
        }
        Some(replay)
    }

    fn rate_limits(&self, node: &Node<'_>, scope: &str) -> Vec<RuleSettings> {
        let rules = node.list().unwrap_or_default();
        let rule = |node: &Node<'_>| self.rate_limit(node, scope);
        rules.iter().filter_map(rule).collect()
    }

    fn rate_limit(&self, node: &Node<'_>, scope: &str) -> Option<RuleSettings> {
        let object = node.object(&["key", "count", "requests", "window"])?;
        let key = object.required("key").and_then(|node| rule_key(&node));
        let counts = [
            ("all", Count::All),
            ("rejected", Count::Rejected),
            ("authenticated", Count::Authenticated),
        ];
        let count = match object.field("count") {
            Some(node) => node.one_of(&counts),
            None => Some(Count::All),
        };
        let requests = object
            .required("requests")
            .and_then(|node| node.number(1, MOST_REQUESTS));
        let window = object
            .required("window")
            .and_then(|node| node.duration(A_MILLISECOND, A_YEAR));
        Some(RuleSettings {
            key: key?,
            count: count?,
            limit: Limit {
                requests: u32::try_from(requests?).ok()?,
                window: window?,
            },
            scope: scope.to_owned(),
        })
    }

    fn webhooks(&self, root: &Object<'_>, globals: &Globals) -> Vec<WebhookSettings> {
        let of_the_environment = self.webhook_url();
        let nodes = root
            .field("webhooks")
            .map(|node| node.list().unwrap_or_default());
        let mut webhooks = Vec::new();
        for node in nodes.iter().flatten() {
            let webhook = self.webhook(node, globals, of_the_environment.as_ref(), &webhooks);
            webhooks.extend(webhook);
        }
        if nodes.is_none_or(|nodes| nodes.is_empty()) {
            match of_the_environment {
                Some(url) => webhooks.extend(self.webhook_of_the_environment(&url, globals)),
                None => self.problems.expected(
                    "webhooks",
                    "at least one webhook, here or as the environment variable WEBHOOK_URL \
                     (vm_config.environment_variables)",
                ),
            }
        }
        if webhooks.len() > MOST_WEBHOOKS {
            self.problems
                .expected("webhooks", format_args!("at most {MOST_WEBHOOKS}"));
        }
        webhooks
    }

    fn webhook_url(&self) -> Option<ConfiguredUrl> {
        let text = self.variable(variable::WEBHOOK_URL)?;
        match ConfiguredUrl::parse(&text) {
            Ok(url) => Some(url),
            Err(what) => {
                self.problems.expected(variable::WEBHOOK_URL, what);
                None
            }
        }
    }

    fn webhook_of_the_environment(
        &self,
        url: &ConfiguredUrl,
        globals: &Globals,
    ) -> Option<WebhookSettings> {
        let path = path_of(url, variable::WEBHOOK_URL, self.problems)?;
        Some(WebhookSettings {
            label: label(&path, &[]),
            path,
            public_url: PublicUrl::configured(url),
            methods: default_methods(),
            timestamp: globals.timestamp.clone(),
            replay: with_longest(&globals.replay, &globals.timestamp),
            rate_limits: globals.rate_limits.clone(),
        })
    }

    fn webhook(
        &self,
        node: &Node<'_>,
        globals: &Globals,
        of_the_environment: Option<&ConfiguredUrl>,
        before: &[WebhookSettings],
    ) -> Option<WebhookSettings> {
        let object = node.object(&[
            "path",
            "url",
            "methods",
            "timestamp",
            "replay",
            "rate_limits",
        ])?;
        let url_node = object.field("url");
        let configured = url_node.as_ref().and_then(url);
        let path = match (object.field("path"), &configured) {
            (Some(node), _) => path_pattern(&node),
            (None, Some(url)) => path_of(url, node.path(), self.problems),
            (None, None) => {
                object.required("path");
                None
            }
        };
        let timestamp = self.timestamp(object.field("timestamp"), &globals.timestamp);
        let replay = self.replay(
            object.field("replay"),
            globals.replay.as_ref(),
            &globals.replay_basis,
        );
        let methods = match object.field("methods") {
            Some(node) => methods(&node),
            None => default_methods(),
        };
        let path = path?;
        if before.iter().any(|earlier| earlier.path == path) {
            self.problems.expected(
                format_args!("{}.path", node.path()),
                "a path that no other webhook has",
            );
        }
        let label = label(&path, before);
        let rate_limits = match object.field("rate_limits") {
            Some(node) => self.rate_limits(&node, &label),
            None => globals.rate_limits.clone(),
        };
        if let (Some(url), true) = (&url_node, path.is_prefix()) {
            return url.expected(
                "no url here, since the path is a prefix: its URL is public_base_url and the \
                 path as received",
            );
        }
        let fits = |url: &&ConfiguredUrl| path.matches(url.path().as_bytes());
        let public_url = match (&url_node, configured, &globals.base) {
            (Some(_), configured, _) => PublicUrl::configured(&configured?),
            (None, _, Some(base)) => base.clone(),
            (None, _, None) => match of_the_environment.filter(fits) {
                Some(url) if !path.is_prefix() => PublicUrl::configured(url),
                _ => {
                    self.problems.expected(
                        format_args!("{}.url", node.path()),
                        "a url here, or a public_base_url for all webhooks: the filter never \
                         guesses the URL that Twilio signs",
                    );
                    return None;
                }
            },
        };
        Some(WebhookSettings {
            path,
            label,
            public_url,
            methods,
            replay: with_longest(&replay, &timestamp),
            timestamp,
            rate_limits,
        })
    }

    fn exempt_paths(&self, root: &Object<'_>, webhooks: &[WebhookSettings]) -> Vec<PathPattern> {
        let nodes = root.field("exempt_paths").and_then(|node| node.list());
        let pattern = |node: &Node<'_>| {
            let pattern = path_pattern(node)?;
            let text = pattern.as_configured();
            let plain = spell_plainly(text.as_bytes());
            if !pattern.is_prefix() && webhooks.iter().any(|webhook| webhook.path.means(&plain)) {
                return node.expected("a path that is not a webhook's, however it is spelled");
            }
            Some(pattern)
        };
        nodes
            .unwrap_or_default()
            .iter()
            .filter_map(pattern)
            .collect()
    }

    fn check_store(&self, root: &Object<'_>) {
        let object = root.field("store").and_then(|node| node.object(&["type"]));
        if let Some(node) = object.and_then(|object| object.required("type")) {
            node.one_of(&[("shared_data", ())]);
        }
    }

    fn log(&self, root: &Object<'_>) -> LogSettings {
        let object = root
            .field("log")
            .and_then(|node| node.object(&["accepted", "max_per_second"]));
        let lines = object
            .as_ref()
            .and_then(|object| number(object, "max_per_second", 0, MOST_LOG_LINES));
        LogSettings {
            accepted: object.is_some_and(|object| flag(&object, "accepted")),
            max_per_second: lines.unwrap_or(defaults::LOG_MAX_PER_SECOND),
        }
    }
}

const ACCOUNT_SID: &str = "an account SID (AC followed by 32 hex digits)";

/// Only the form is checked: test accounts do not always have 32 digits.
fn is_account_sid(text: &str) -> bool {
    text.starts_with("AC") && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The longest that any request has to be remembered: a timestamp from as far ahead
/// as is allowed goes stale that much later.
fn with_longest(
    replay: &Option<ReplaySettings>,
    timestamp: &TimestampSettings,
) -> Option<ReplaySettings> {
    let mut replay = replay.clone()?;
    let freshness = timestamp.freshness;
    let signed = Span(freshness.max_age.0.saturating_add(freshness.clock_skew.0));
    replay.rules.longest = replay.rules.window.max(signed);
    Some(replay)
}

fn default_methods() -> Vec<String> {
    vec!["POST".to_owned()]
}

fn methods(node: &Node<'_>) -> Vec<String> {
    let names = node.list().unwrap_or_default();
    if names.is_empty() {
        node.expected::<()>("at least one method, such as \"POST\"");
    }
    let name = |node: &Node<'_>| {
        let what = "a method in upper case, such as \"POST\"";
        let name = node.text(what)?;
        if !name.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return node.expected(what);
        }
        Some(name.to_owned())
    };
    names.iter().filter_map(name).collect()
}

fn rule_key(node: &Node<'_>) -> Option<RuleKey> {
    let what = "\"client_ip\", \"account\", \"webhook\" or \"param:NAME\"";
    match node.text(what)? {
        "client_ip" => Some(RuleKey::ClientIp),
        "account" => Some(RuleKey::Account),
        "webhook" => Some(RuleKey::Webhook),
        other => match other.strip_prefix("param:") {
            Some(name) if !name.is_empty() => Some(RuleKey::Param(name.to_owned())),
            _ => node.expected(what),
        },
    }
}

fn url(node: &Node<'_>) -> Option<ConfiguredUrl> {
    let what = "a URL such as https://orders.example.com/webhook";
    ConfiguredUrl::parse(node.text(what)?)
        .map_err(|what| node.expected::<()>(what))
        .ok()
}

fn path_pattern(node: &Node<'_>) -> Option<PathPattern> {
    let what = "a path such as /webhook or /webhooks/*";
    PathPattern::parse(node.text(what)?)
        .map_err(|what| node.expected::<()>(what))
        .ok()
}

/// The path of a webhook that only has a URL.
fn path_of(url: &ConfiguredUrl, place: &str, problems: &Problems) -> Option<PathPattern> {
    let path = if url.path().is_empty() {
        "/"
    } else {
        url.path()
    };
    match PathPattern::parse(path) {
        Ok(pattern) if !pattern.is_prefix() => Some(pattern),
        _ => {
            problems.expected(
                place,
                "a path beside this URL, since the URL's own is not one as it arrives here",
            );
            None
        }
    }
}

/// A name for metrics: the path in `[a-z0-9_-]`, and no two alike.
fn label(path: &PathPattern, before: &[WebhookSettings]) -> String {
    let text = path
        .as_configured()
        .to_ascii_lowercase()
        .replace('*', "all");
    let mut plain = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => plain.push(char::from(byte)),
            _ if plain.ends_with('-') || plain.is_empty() => {}
            _ => plain.push('-'),
        }
    }
    let plain = match plain.trim_end_matches('-') {
        "" => "root",
        text => text,
    };
    let taken = |label: &str| before.iter().any(|webhook| webhook.label == label);
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    std::iter::once(plain.to_owned())
        .chain(numbered.take(MOST_WEBHOOKS))
        .find(|label| !taken(label))
        .unwrap_or_default()
}

fn number<T: TryFrom<u64>>(object: &Object<'_>, name: &str, least: u64, most: u64) -> Option<T> {
    let number = object.field(name)?.number(least, most)?;
    T::try_from(number).ok()
}

fn flag(object: &Object<'_>, name: &str) -> bool {
    object
        .field(name)
        .and_then(|node| node.flag())
        .unwrap_or(false)
}

#[cfg(test)]
mod tests;
