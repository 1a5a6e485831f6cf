//! Which rate limits look at a request, and what they count it by.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::config::settings::{Count, RuleKey, RuleSettings};
use crate::pipeline::rejection::Rejection;
use crate::request::client_address::ClientAddress;
use crate::signature::form::Form;
use crate::store::local::limiter::Limit;
use crate::store::port::{HashKey, LimitCheck, LimitSettings};

/// The rate limits of one webhook.
#[derive(Debug)]
pub struct Rules(Vec<RuleSettings>);

/// When a rule looks at a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// At its headers: only the client's address and the webhook are known.
    Headers,
    /// After the signature has been checked: account and parameters can be trusted.
    Authenticated,
}

/// What rules count by.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Who sent the request.
    pub client: &'a ClientAddress,
    /// The label of the webhook that it is for: not its index, so that configurations with
    /// other webhooks before it share its counters.
    pub webhook: &'a str,
    /// What the signature vouches for.
    pub authenticated: Option<Authenticated<'a>>,
}

/// What the signature vouches for.
#[derive(Clone, Copy)]
pub struct Authenticated<'a> {
    /// The account: of the key, or else as the parameters have it.
    pub account: &'a [u8],
    /// The parameters of the form.
    pub form: Option<&'a Form>,
    /// The parameters of the query.
    pub query: &'a Form,
}

impl Rules {
    /// Returns the rules that are configured.
    pub fn new(rules: Vec<RuleSettings>) -> Rules {
        Rules(rules)
    }

    /// Returns what a store has to keep for them.
    pub fn tables(&self) -> Vec<LimitSettings> {
        let table = |rule: &RuleSettings| LimitSettings {
            table: table_name(rule),
            limit: rule.limit,
        };
        self.0.iter().map(table).collect()
    }

    /// Returns the limit that a check was about.
    pub fn limit(&self, check: LimitCheck) -> Option<Limit> {
        self.0.get(check.rule).map(|rule| rule.limit)
    }

    /// Returns the checks of a stage. Limits of rejections are only looked at.
    pub fn matching(
        &self,
        stage: Stage,
        subject: Subject<'_>,
        hash_key: HashKey,
    ) -> Vec<LimitCheck> {
        self.checks(subject, hash_key, |rule| {
            (stage_of(rule) == stage).then_some(rule.count != Count::Rejected)
        })
    }

    /// Returns the checks that count a rejection: the limits of rejections, and for a replay
    /// only those by what its sender cannot choose.
    pub fn matching_rejection(
        &self,
        rejection: &Rejection,
        subject: Subject<'_>,
        hash_key: HashKey,
    ) -> Vec<LimitCheck> {
        if !rejection.is_counted() {
            return Vec::new();
        }
        let is_replay = rejection.comes_with_a_replay();
        self.checks(subject, hash_key, |rule| {
            let counts = rule.count == Count::Rejected && (rule.key.is_known_early() || !is_replay);
            counts.then_some(true)
        })
    }

    fn checks(
        &self,
        subject: Subject<'_>,
        hash_key: HashKey,
        counts: impl Fn(&RuleSettings) -> Option<bool>,
    ) -> Vec<LimitCheck> {
        let rules = self.0.iter().enumerate();
        let checks = rules.filter_map(|(index, rule)| {
            let counts = counts(rule)?;
            Some(LimitCheck {
                rule: index,
                key_hash: key_hash(&rule.key, subject, hash_key)?,
                counts,
            })
        });
        checks.collect()
    }
}

/// Returns when a rule looks at a request.
fn stage_of(rule: &RuleSettings) -> Stage {
    match rule.count {
        Count::Authenticated => Stage::Authenticated,
        Count::All | Count::Rejected if rule.key.is_known_early() => Stage::Headers,
        // Before the signature is checked anybody could use up another's limit.
        Count::All | Count::Rejected => Stage::Authenticated,
    }
}

/// Returns a keyed hash of what the rule counts by; `None` while that cannot be known.
/// Numbers have one width, so that hosts of any word size share counters in one store.
fn key_hash(key: &RuleKey, subject: Subject<'_>, hash_key: HashKey) -> Option<u64> {
    let mut hasher = SipHasher24::new_with_key(&hash_key.0);
    match key {
        RuleKey::ClientIp => hasher.write(&subject.client.counted),
        RuleKey::Webhook => hasher.write(subject.webhook.as_bytes()),
        RuleKey::Account => hasher.write(subject.authenticated?.account),
        RuleKey::Param(name) => {
            let authenticated = subject.authenticated?;
            let form = authenticated.form.into_iter();
            let of_form = form.flat_map(|form| form.values(name.as_bytes()));
            let of_query = authenticated.query.values(name.as_bytes());
            // All values, with their lengths: those without any are counted together.
            for value in of_form.chain(of_query) {
                hasher.write_u64(value.len() as u64);
                hasher.write(value);
            }
        }
    }
    Some(hasher.finish())
}

/// Counters belong to a rule as it is configured: a changed rule begins anew.
fn table_name(settings: &RuleSettings) -> String {
    let RuleSettings {
        key,
        count,
        limit,
        scope,
    } = settings;
    format!(
        "limit:{scope}:{}:{}:{}:{}",
        key.as_configured(),
        count.as_configured(),
        limit.requests,
        limit.window.0
    )
}
