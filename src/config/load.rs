//! From JSON and environment to [`Settings`], or to the list of all mistakes.
//!
//! - `loader`: what the other parts share
//! - `keys`: `accounts` and `shared_keys`
//! - `policies`: `timestamp`, `replay` and `rate_limits`, global or a webhook's
//! - `webhooks`: `webhooks` and `exempt_paths`
//! - `store`: `store`

mod keys;
mod loader;
mod policies;
mod store;
mod webhooks;

use std::cell::RefCell;

use crate::config::document;
use crate::config::load::loader::{
    A_MILLISECOND, Given, Globals, Loader, NOTHING, flag, form_reading, max_parameters, number,
    variable,
};
use crate::config::load::webhooks::url;
use crate::config::reader::{Environment, Node, Object, Problems};
use crate::config::settings::{
    Count, LogSettings, Mode, OnDuplicate, ReplaySettings, RuleKey, RuleSettings, Settings,
    TimestampSettings, defaults,
};
use crate::request::timestamp::Freshness;
use crate::signature::form::FormReading;
use crate::signature::url::PublicUrl;
use crate::store::local::limiter::Limit;
use crate::store::local::nonces::{NonceRules, OnFull};

const MAX_COUNTED: u64 = 1_048_576;
/// The body is copied into the VM's memory whole.
const MAX_BODY_BYTES: u64 = 16_777_216;
const MAX_LOG_LINES: u64 = 100_000;
const MAX_TARGET_BYTES: u64 = 1_048_576;

/// Reads a configuration. An empty one is `{}`: everything comes from the environment.
///
/// # Errors
/// All mistakes at once, each with the path of its field and what was expected. None shows a
/// configured value, which may be a secret.
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

impl Loader<'_> {
    fn settings(&self, root: &Node<'_>) -> Option<Settings> {
        let root = root.object(
            "mode, accounts, shared_keys, webhooks, public_base_url, exempt_paths, max_body_bytes, \
             max_target_bytes, form, max_parameters, trust_original_path, timestamp, replay, \
             rate_limits, rate_limit_capacity, store, log",
        )?;
        // Every part is read before a missing one returns, so that all mistakes are found.
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

    fn globals(&self, root: &Object<'_>) -> Globals {
        let base = |node: &Node<'_>| {
            let url = url(node)?;
            if url.query().is_some() {
                return node.expected("a URL without a query, such as https://orders.example.com");
            }
            Some(PublicUrl::base(&url))
        };
        let base = root.field("public_base_url").map(|node| base(&node));
        let base = base.map_or(Given::Nothing, Given::read);
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
            .and_then(|node| node.object("accepted, max_per_second"));
        let lines = object
            .as_ref()
            .and_then(|object| number(object, "max_per_second", 0, MAX_LOG_LINES));
        LogSettings {
            accepted: object.is_some_and(|object| flag(&object, "accepted")),
            max_per_second: lines.unwrap_or(defaults::LOG_MAX_PER_SECOND),
        }
    }
}

#[cfg(test)]
mod tests;
