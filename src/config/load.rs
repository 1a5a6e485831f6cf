//! From JSON and environment to [`Settings`], or to the list of all that is wrong.

mod keys;
mod policies;
mod store;
mod webhooks;

use std::cell::RefCell;
use std::fmt;

use crate::config::document;
use crate::config::reader::{Environment, Node, Object, Problems};
use crate::config::settings::{
    Count, FormReading, LogSettings, Mode, OnDuplicate, ReplaySettings, RuleKey, RuleSettings,
    Settings, TimestampSettings, defaults,
};
use crate::copied::{Alphabet, Place, remnant};
use crate::request::timestamp::Freshness;
use crate::signature::url::PublicUrl;
use crate::store::local::limiter::Limit;
use crate::store::local::nonces::{NonceRules, OnFull};
use crate::time::Millis;
use webhooks::url;

/// Names of the environment variables that fill in what the JSON leaves out.
mod variable {
    pub(super) const AUTH_TOKEN: &str = "TWILIO_AUTH_TOKEN";
    pub(super) const ACCOUNT_SID: &str = "TWILIO_ACCOUNT_SID";
    pub(super) const WEBHOOK_URL: &str = "WEBHOOK_URL";
    pub(super) const CLOCK_SKEW_MS: &str = "TWILIO_CLOCK_SKEW_MS";
    pub(super) const NONCE_WINDOW_MS: &str = "TWILIO_NONCE_WINDOW_MS";
    pub(super) const FORCE_VERIFY: &str = "FORCE_TWILIO_VERIFY";
}

const A_MILLISECOND: Millis = Millis(1);
const NOTHING: Millis = Millis(0);
/// Longer than anything that makes sense here, and far from any overflow.
const A_YEAR: Millis = Millis::seconds(366 * 86_400);
const MAX_COUNTED: u64 = 1_048_576;
/// The body is copied into the VM's memory whole.
const MAX_BODY_BYTES: u64 = 16_777_216;
const MAX_LOG_LINES: u64 = 100_000;
const MAX_TARGET_BYTES: u64 = 1_048_576;
const MAX_PARAMETERS: u64 = 100_000;

/// Reads a configuration. An empty one is `{}`: all of it comes from the environment.
///
/// # Errors
/// All problems at once, each with the path of its field and what was expected.
/// No problem shows a configured value, which may be a secret.
pub fn load(json: &[u8], environment: &impl Environment) -> Result<Settings, Problems> {
    let problems = Problems::default();
    let Some(document) = document::read(json, &problems) else {
        return Err(problems);
    };
    let loader = Loader {
        environment,
        problems: &problems,
        warnings: RefCell::default(),
    };
    let settings = loader.settings(&Node::root(&document, &problems));
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(problems),
    }
}

/// The environment is `dyn`, so that reading it is not compiled into each of its readers.
struct Loader<'a> {
    environment: &'a dyn Environment,
    problems: &'a Problems,
    /// What is valid and most likely a mistake all the same.
    warnings: RefCell<Vec<String>>,
}

/// What a webhook takes over where it does not say otherwise.
struct Globals {
    base: Option<PublicUrl>,
    timestamp: TimestampSettings,
    replay: Option<ReplaySettings>,
    /// What a webhook's own `replay` object starts from, also where the global one is off.
    replay_basis: ReplaySettings,
    rate_limits: Vec<RuleSettings>,
    form: FormReading,
    max_parameters: usize,
}

impl Loader<'_> {
    fn settings(&self, root: &Node<'_>) -> Option<Settings> {
        let root = root.object(&[
            "mode",
            "accounts",
            "shared_keys",
            "webhooks",
            "public_base_url",
            "exempt_paths",
            "max_body_bytes",
            "max_target_bytes",
            "form",
            "max_parameters",
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
        let max_body_bytes = number(&root, "max_body_bytes", 1, MAX_BODY_BYTES);
        let max_target_bytes = number(&root, "max_target_bytes", 1, MAX_TARGET_BYTES);
        let rate_limit_capacity = number(&root, "rate_limit_capacity", 1, MAX_COUNTED);
        let trust_original_path = flag(&root, "trust_original_path");
        let store = self.store(&root);
        let log = self.log(&root);
        Some(Settings {
            mode,
            keyring,
            webhooks,
            exempt_paths,
            max_body_bytes: max_body_bytes.unwrap_or(defaults::MAX_BODY_BYTES),
            max_target_bytes: max_target_bytes.unwrap_or(defaults::MAX_TARGET_BYTES),
            trust_original_path,
            rate_limit_capacity: rate_limit_capacity.unwrap_or(defaults::RATE_LIMIT_CAPACITY),
            store: store.unwrap_or_default(),
            log,
            warnings: self.warnings.take(),
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
            Some(other) => self.wrong_variable(
                variable::FORCE_VERIFY,
                other,
                "true or false in the environment",
            ),
        }
        configured.unwrap_or(Mode::Enforce)
    }

    /// A variable of the environment; one that is empty counts as not set, since
    /// that is what compose files and charts make of an unset one.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let value = self.environment.variable(name);
        value.filter(|value| !value.is_empty())
    }

    pub(super) fn milliseconds(&self, name: &str, least: Millis) -> Option<Millis> {
        let text = self.variable(name)?;
        let span = text.parse().ok().map(Millis);
        let valid = span.filter(|span| (least..=A_YEAR).contains(span));
        if valid.is_none() {
            let what = format!("milliseconds in the environment, {} at least", least.0);
            self.wrong_variable(name, &text, &what);
        }
        valid
    }

    /// Notes that a variable holds something else, and what copying has left in it.
    fn wrong_variable(&self, name: &str, value: &str, what: &str) {
        match remnant(value, Place::Environment, Alphabet::Ascii) {
            Some(left) => self
                .problems
                .expected(name, format_args!("{what}: it {left}")),
            None => self.problems.expected(name, what),
        }
    }

    /// Notes what an operator should look at, although it is valid.
    fn warn(&self, path: impl fmt::Display, what: impl fmt::Display) {
        self.warnings.borrow_mut().push(format!("{path}: {what}"));
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
                max_pinned: NOTHING,
                capacity: defaults::REPLAY_CAPACITY,
                on_full: OnFull::Reject,
            },
            on_duplicate: OnDuplicate::Reject,
            handshakes: false,
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
            form: form_reading(root).unwrap_or(FormReading::Strict),
            max_parameters: max_parameters(root).unwrap_or(defaults::MAX_PARAMETERS),
        }
    }

    fn log(&self, root: &Object<'_>) -> LogSettings {
        let object = root
            .field("log")
            .and_then(|node| node.object(&["accepted", "max_per_second"]));
        let lines = object
            .as_ref()
            .and_then(|object| number(object, "max_per_second", 0, MAX_LOG_LINES));
        LogSettings {
            accepted: object.is_some_and(|object| flag(&object, "accepted")),
            max_per_second: lines.unwrap_or(defaults::LOG_MAX_PER_SECOND),
        }
    }
}

/// The field `form` of a webhook or of all.
fn form_reading(object: &Object<'_>) -> Option<FormReading> {
    let words = [
        ("strict", FormReading::Strict),
        ("lenient", FormReading::Lenient),
    ];
    object.field("form")?.one_of(&words)
}

/// The field `max_parameters` of a webhook or of all.
fn max_parameters(object: &Object<'_>) -> Option<usize> {
    number(object, "max_parameters", 1, MAX_PARAMETERS)
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
