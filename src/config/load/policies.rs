//! `timestamp`, `replay` and `rate_limits`: global, or one webhook's.

use crate::config::load::loader::{A_MILLISECOND, A_YEAR, Loader, NOTHING, duration, flag, number};
use crate::config::reader::Node;
use crate::config::settings::{
    Count, OnDuplicate, ReplaySettings, RuleKey, RuleSettings, TimestampSettings,
};
use crate::store::local::limiter::Limit;
use crate::store::local::nonces::OnFull;
use crate::time::Millis;

/// As many nonces take 128 MiB; the slots of their table, all of them used, 323 MiB.
const MAX_NONCES: u64 = 4_194_304;
const MAX_REQUESTS: u64 = 1_000_000;

impl Loader<'_> {
    /// Reads a `timestamp` object; what it leaves out is as in `basis`.
    pub(super) fn timestamp(
        &self,
        node: Option<Node<'_>>,
        basis: &TimestampSettings,
    ) -> TimestampSettings {
        let mut timestamp = basis.clone();
        let fields = "params, header, max_age, clock_skew, required";
        let object = node.as_ref().and_then(|node| node.object(fields));
        let (Some(node), Some(object)) = (node, object) else {
            return timestamp;
        };
        if let Some(params) = object.field("params").and_then(|node| node.list()) {
            let name = |node: &Node<'_>| Some(node.text("a parameter's name")?.to_owned());
            timestamp.params = params.iter().filter_map(name).collect();
        }
        if let Some(header) = object.field("header") {
            timestamp.header = match header.is_null() {
                true => None,
                false => header_name(&header),
            };
        }
        let freshness = &mut timestamp.freshness;
        duration(&object, "max_age", A_MILLISECOND, &mut freshness.max_age);
        duration(&object, "clock_skew", NOTHING, &mut freshness.clock_skew);
        if object.field("required").is_some() {
            timestamp.required = flag(&object, "required");
        }
        if timestamp.required && timestamp.params.is_empty() {
            self.warn(
                node.path(),
                "a signed timestamp is required, and params names no parameter that may hold one: \
                 every request is rejected with missing_timestamp",
            );
        }
        timestamp
    }

    /// Reads a `replay` object or `"off"`: `absent` where there is none; what an object leaves
    /// out is as in `basis`.
    pub(super) fn replay(
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
        let object = node.object("window, keep, capacity, on_full, on_duplicate, handshakes")?;
        duration(&object, "window", A_MILLISECOND, &mut replay.rules.window);
        duration(&object, "keep", NOTHING, &mut replay.rules.keep);
        if let Some(capacity) = number(&object, "capacity", 1, MAX_NONCES) {
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
        if object.field("handshakes").is_some() {
            replay.handshakes = flag(&object, "handshakes");
        }
        Some(replay)
    }

    pub(super) fn rate_limits(&self, node: &Node<'_>, scope: &str) -> Vec<RuleSettings> {
        let rules = node.list().unwrap_or_default();
        let rule = |node: &Node<'_>| self.rate_limit(node, scope);
        rules.iter().filter_map(rule).collect()
    }

    fn rate_limit(&self, node: &Node<'_>, scope: &str) -> Option<RuleSettings> {
        let object = node.object("key, count, requests, window")?;
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
            .and_then(|node| node.number(1, MAX_REQUESTS));
        let window = object
            .required("window")
            .and_then(|node| node.duration(A_MILLISECOND, A_YEAR));
        let (key, count) = (key?, count?);
        if key == RuleKey::Webhook && count != Count::Authenticated {
            self.warn(
                node.path(),
                "a rule by \"webhook\" that counts more than \"authenticated\" can be exhausted by \
                 unauthenticated clients, who then lock Twilio out; limit them by \"client_ip\"",
            );
        }
        Some(RuleSettings {
            key,
            count,
            limit: Limit {
                requests: u32::try_from(requests?).ok()?,
                window: window?,
            },
            scope: scope.to_owned(),
        })
    }
}

/// Returns the settings with `max_pinned`, the longest minimum retention of any nonce: a timestamp
/// from as far ahead as is allowed goes stale that much later.
pub(super) fn with_max_pinned(
    replay: &Option<ReplaySettings>,
    timestamp: &TimestampSettings,
) -> Option<ReplaySettings> {
    let mut replay = replay.clone()?;
    let freshness = timestamp.freshness;
    let signed = Millis(freshness.max_age.0.saturating_add(freshness.clock_skew.0));
    replay.rules.max_pinned = replay.rules.window.max(signed);
    Some(replay)
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

fn header_name(node: &Node<'_>) -> Option<String> {
    let what = "a header's name, or null for none";
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    Some(node.text_of(what, is_token)?.to_ascii_lowercase())
}
