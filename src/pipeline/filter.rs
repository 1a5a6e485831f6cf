//! The filter: settings and tables, and what needs no step of a request.

use std::borrow::Cow;
use std::mem;

use crate::cas_map::{CasError, CasMap};
use crate::config::settings::{OnDuplicate, Settings, StoreSettings, WebhookSettings};
use crate::diagnosis::{Budget, Context, LastVerified, StaleStreak};
use crate::pipeline::answer::Answer;
use crate::pipeline::limits::{HashKey, Rules};
use crate::pipeline::state::SIGNATURE_HEADER;
use crate::pipeline::verdict::{Rejection, Verdict};
use crate::reason::Reason;
use crate::request::headers::Headers;
use crate::request::path::normalize_leniently;
use crate::request::timestamp::age;
use crate::store::local::nonces::{Change, Claim, NonceTable};
use crate::store::redis::settlement_queue::Settlement;
use crate::store::redis::shared::RedisStore;
use crate::time::Timestamp;

/// The filter: settings and tables. One for each configuration and worker; what
/// the workers share is in the store.
pub struct Filter {
    pub(super) settings: Settings,
    webhooks: Vec<Tables>,
    pub(super) hash_key: HashKey,
    /// Where nonces and counters live that several Envoys share.
    pub(super) redis: Option<RedisStore>,
    pub(super) stale_streak: StaleStreak,
    /// Which keys are known to be right.
    pub(super) verified: LastVerified,
    diagnoses: Budget,
}

/// Where one webhook's nonces and counters are.
pub(super) struct Tables {
    pub(super) nonces: Option<NonceTable>,
    pub(super) rules: Rules,
}

/// What a step works with, besides the request.
pub struct Surroundings<'a, S> {
    /// Where nonces and counters are.
    pub store: &'a S,
    /// The time at this step.
    pub now: Timestamp,
}

// Derived, these would ask the same of the store itself.
impl<S> Clone for Surroundings<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Surroundings<'_, S> {}

impl Filter {
    /// A filter by these settings. `hash_key` is the same for all workers.
    pub fn new(mut settings: Settings, hash_key: HashKey) -> Filter {
        let redis = match mem::replace(&mut settings.store, StoreSettings::SharedData) {
            StoreSettings::SharedData => None,
            StoreSettings::Redis(redis) => Some(RedisStore::new(redis)),
        };
        let tables = |webhook: &WebhookSettings| {
            let replay = webhook.replay.as_ref();
            Tables {
                nonces: replay.map(|replay| {
                    let acknowledges = replay.on_duplicate == OnDuplicate::Acknowledge;
                    NonceTable::new(replay.rules.clone()).awaiting_answers(acknowledges)
                }),
                rules: Rules::new(&webhook.rate_limits, settings.rate_limit_capacity),
            }
        };
        let hash_key_of = |redis: &RedisStore| redis.hash_key(&settings.keyring);
        Filter {
            hash_key: redis.as_ref().map_or(hash_key, hash_key_of),
            webhooks: settings.webhooks.iter().map(tables).collect(),
            verified: LastVerified::new(settings.keyring.len()),
            settings,
            redis,
            stale_streak: StaleStreak::default(),
            diagnoses: Budget::default(),
        }
    }

    /// Redis, where that is configured.
    pub fn redis(&self) -> Option<&RedisStore> {
        self.redis.as_ref()
    }

    /// Finds what earlier configurations have left in the store. To be called once,
    /// before the first request. `generation` differs from one configuration to another.
    ///
    /// # Errors
    /// What the store says.
    pub fn join<S: CasMap>(
        &mut self,
        generation: u64,
        around: Surroundings<'_, S>,
    ) -> Result<(), CasError> {
        let tables = self.webhooks.iter();
        let nonces = tables.filter_map(|tables| tables.nonces.as_ref());
        let counts: Vec<u64> = nonces.map(NonceTable::own_keys).collect();
        // Twice, since the first to join does not find those that join after it.
        for _ in 0..2 {
            let tables = self.webhooks.iter_mut();
            for nonces in tables.filter_map(|tables| tables.nonces.as_mut()) {
                nonces.join(around.store, generation, &counts, around.now)?;
            }
        }
        Ok(())
    }

    /// What the filter was configured with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Check 0, the path. A path that only *means* a webhook is none, and is not
    /// exempt either: an upstream may be more lenient than this filter.
    pub(super) fn route(&self, path: &[u8]) -> Route {
        let webhooks = || self.settings.webhooks.iter().enumerate();
        let exact =
            webhooks().find(|(_, webhook)| !webhook.path.is_prefix() && webhook.path.matches(path));
        let longest_prefix = || {
            webhooks()
                .filter(|(_, webhook)| webhook.path.is_prefix() && webhook.path.matches(path))
                .max_by_key(|(_, webhook)| webhook.path.as_configured().len())
        };
        if let Some((index, _)) = exact.or_else(longest_prefix) {
            return Route::Webhook(index);
        }
        let exempt = || self.settings.exempt_paths.iter();
        // Loading has seen to it that this is no webhook, however it is read.
        if exempt().any(|pattern| !pattern.is_prefix() && pattern.matches(path)) {
            return Route::Exempt;
        }
        if !exempt().any(|pattern| pattern.matches(path)) {
            return Route::Unknown;
        }
        // What an escape that is not UTF-8 means is anybody's guess (`%c0%ae` is a dot to some).
        let plain = normalize_leniently(path);
        let may_be_a_webhook = |(_, webhook): (usize, &WebhookSettings)| {
            webhook.path.could_reach(&plain) || webhook.path.begins(&plain)
        };
        if std::str::from_utf8(&plain).is_err() || webhooks().any(may_be_a_webhook) {
            return Route::Unknown;
        }
        Route::Exempt
    }

    /// Which webhook's path an unknown path nearly is, and what is different.
    pub(super) fn near_miss(&self, path: &[u8]) -> Option<String> {
        // Paths that are entered by hand are shorter; a stranger's may be very long.
        if path.len() > MAX_NEAR_MISS {
            return None;
        }
        let plain = normalize_leniently(path);
        let mut webhooks = self.settings.webhooks.iter();
        webhooks.find_map(|webhook| {
            let difference = webhook.path.difference(path, &plain)?;
            Some(format!(
                "it differs from the webhook {} only {difference}: the path has to be the same to \
                 the letter at Twilio, here and wherever it is rewritten on the way",
                webhook.path.as_configured()
            ))
        })
    }

    pub(super) fn webhook(&self, index: usize) -> Result<(&WebhookSettings, &Tables), Rejection> {
        let settings = self.settings.webhooks.get(index);
        settings
            .zip(self.webhooks.get(index))
            .ok_or(Rejection::from(Reason::Internal))
    }

    /// 13: the upstream's answer keeps the nonce or releases it.
    ///
    /// # Errors
    /// What the store says. The claim then lapses by itself (see
    /// [`crate::store::local::nonces::IN_FLIGHT`]).
    pub fn settle<S: CasMap>(
        &self,
        webhook: usize,
        claim: &Claim,
        answer: Answer,
        around: Surroundings<'_, S>,
    ) -> Result<Change, CasError> {
        let tables = self.webhooks.get(webhook);
        let Some(nonces) = tables.and_then(|tables| tables.nonces.as_ref()) else {
            return Ok(Change::default());
        };
        let Surroundings { store, now } = around;
        match answer {
            Answer::Taken => nonces.keep(store, claim, now),
            Answer::Failed => nonces.release(store, claim, now),
            Answer::SenderLeft => nonces.abandon(store, claim, now),
        }
    }

    /// What Redis is to be told of the upstream's answer.
    pub fn settlement(
        &self,
        webhook: usize,
        claim: &Claim,
        answer: Answer,
        now: Timestamp,
    ) -> Option<(&RedisStore, Settlement)> {
        let redis = self.redis.as_ref()?;
        let nonces = self.webhooks.get(webhook)?.nonces.as_ref()?;
        let settlement = RedisStore::settlement(claim, nonces.rules(), answer, now);
        Some((redis, settlement))
    }

    /// What the headers of a rejected request tell an operator.
    pub(super) fn hint_of_headers(
        &self,
        reason: Reason,
        webhook: usize,
        headers: Headers<'_>,
        now: Timestamp,
    ) -> Option<Cow<'static, str>> {
        match reason {
            Reason::MissingSignature => {
                let agent = headers.all("user-agent").next().unwrap_or_default();
                // The second is that of Media Streams and ConversationRelay.
                let is_twilios =
                    agent.starts_with(b"TwilioProxy/") || agent.starts_with(b"Twilio.TmeWs/");
                let hint = if is_twilios {
                    "it looks like Twilio's: a proxy in front may strip X-Twilio-Signature"
                } else {
                    "either it is not Twilio's, or a proxy in front strips X-Twilio-Signature"
                };
                Some(hint.into())
            }
            Reason::MalformedSignature => Some(hint_of_signature(headers)?.into()),
            Reason::StaleTimestamp => {
                let (settings, _) = self.webhook(webhook).ok()?;
                let name = settings.timestamp.header.as_ref()?;
                let value = headers.once(name).ok().flatten()?;
                Some(self.stale_streak.stale(age(value, now)?).into())
            }
            _ => None,
        }
    }

    /// What would have made the signature of a rejected request fit. Bounded in work,
    /// and in how often a second it is done at all: then the answer is `None`.
    pub fn diagnose<S: CasMap>(
        &self,
        verdict: &Verdict,
        headers: Headers<'_>,
        body: &[u8],
        around: Surroundings<'_, S>,
    ) -> Option<Cow<'static, str>> {
        let Surroundings { store, now } = around;
        let failed_signature = verdict.failed_signature.as_ref()?;
        let (settings, _) = self.webhook(verdict.facts.webhook?).ok()?;
        if !self.diagnoses.take(now) {
            return None;
        }
        self.verified.learn(&self.settings.keyring, store);
        let explained = failed_signature.explain(&Context {
            keyring: &self.settings.keyring,
            verified: &self.verified,
            public: &settings.public_url,
            headers,
            body,
            now,
        })?;
        Some(explained.into())
    }
}

/// What is wrong with a signature header that is no signature.
fn hint_of_signature(headers: Headers<'_>) -> Option<&'static str> {
    let mut values = headers.all(SIGNATURE_HEADER);
    let (first, second) = (values.next()?, values.next());
    if second.is_some() {
        return Some(
            "X-Twilio-Signature is there twice: a proxy in front adds the header to those that it \
             passes on, or somebody sends two",
        );
    }
    if first.contains(&b',') {
        return Some(
            "X-Twilio-Signature holds a list: the header was there twice, and a gateway in front has \
             joined both with a comma",
        );
    }
    let is_hex = matches!(first.len(), 40 | 64) && first.iter().all(u8::is_ascii_hexdigit);
    let is_url_safe = first.contains(&b'-') || first.contains(&b'_');
    if is_hex {
        Some("X-Twilio-Signature is in hexadecimal digits: a signature is in base64")
    } else if is_url_safe {
        Some("X-Twilio-Signature is in the base64 of URLs (- and _): a signature has + and /")
    } else if first.trim_ascii() != first || first.iter().any(|byte| b"\"'".contains(byte)) {
        Some("X-Twilio-Signature has quotes or white space around it")
    } else {
        None
    }
}

/// Whose request it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Webhook(usize),
    Exempt,
    Unknown,
    /// Nobody's: too long to be looked at.
    TooLong,
}

/// The longest path, in bytes, that is compared with those of webhooks for a hint.
const MAX_NEAR_MISS: usize = 512;
