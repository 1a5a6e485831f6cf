//! What the requests of one worker share when nonces and limits live in Redis.
//!
//! A request asks at most twice: once at its headers, where limits count all requests,
//! and once when it is known to be Twilio's, for the claim of its nonce and the limits
//! that count what is signed, together. The upstream's answer then settles the claim.
//! All of it is decided by scripts that Redis runs as a whole, so that of any number of
//! identical requests at any number of Envoys one is accepted.
//!
//! ```text
//! {twf:1}:n:<nonce>   "p:<claim>:<times>:<until>" on its way | "k" kept
//!                     | "a:<times>" its sender left | "k:<times>" it left once too often
//! {twf:1}:i:<capacity>   all nonces of a table, by when they may be forgotten
//! {twf:1}:v:<claim>   given up before it arrived
//! {twf:1}:l:<bucket>  counters, as JSON
//! ```
//!
//! Every key expires by itself. Keys are hashes: no address, number or signature
//! stands in Redis. The part in braces puts all of them into one slot of a Redis
//! Cluster, where a script can work on them together.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::config::settings::{OnStoreError, RedisSettings};
use crate::pipeline::answer::Answer;
use crate::pipeline::limits::{HashKey, LimitCheck, Rules};
use crate::signature::key::{Nonce, sha256};
use crate::signature::keyring::Keyring;
use crate::store::local::nonces::{Claim, IN_FLIGHT, MAX_ABANDONED, NonceRules, OnFull};
use crate::store::redis::circuit_breaker::CircuitBreaker;
use crate::store::redis::over_limit_cache::OverLimitCache;
use crate::store::redis::script_call::{Kind, ScriptCall, ScriptRef};
use crate::store::redis::script_reply::{Failure, ScriptReply};
use crate::store::redis::scripts::Scripts;
use crate::store::redis::settlement_queue::{Outcome, Settlement, SettlementQueue};
use crate::time::{Millis, Timestamp};

/// Redis, as one worker knows it.
#[derive(Debug)]
pub struct RedisStore {
    settings: RedisSettings,
    scripts: Scripts,
    /// What all keys begin with.
    prefix: String,
    /// Whether it is asked at all.
    pub circuit: CircuitBreaker,
    /// What it need not be asked.
    exhausted: OverLimitCache,
    /// What it is still to be told.
    pub unsettled: SettlementQueue,
}

/// The version of keys and values. Another version uses other keys, so that it never
/// meets values that it cannot read.
const LAYOUT: u32 = 1;

impl RedisStore {
    /// Redis, not asked yet.
    pub fn new(settings: RedisSettings) -> RedisStore {
        RedisStore {
            prefix: format!("{{{}:{LAYOUT}}}:", settings.key_prefix),
            settings,
            scripts: Scripts::new(),
            circuit: CircuitBreaker::default(),
            exhausted: OverLimitCache::default(),
            unsettled: SettlementQueue::default(),
        }
    }

    /// How it is reached.
    pub fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// Whether this Envoy decides by itself while there is no answer.
    pub fn falls_back(&self) -> bool {
        self.settings.on_error == OnStoreError::Local
    }

    /// The key for hashing, the same at all Envoys that share this Redis, and unknown
    /// to strangers: or else they could choose addresses that fall into the bucket of
    /// another, and use up his limit. It is made from what is needed to get into Redis;
    /// where that is nothing, from the keys that sign, so that all Envoys with the same
    /// keys agree. (Who exchanges one begins the counters anew, once.)
    pub fn hash_key(&self, keyring: &Keyring) -> HashKey {
        let label = b"twilio-webhook-filter: whom limits count\0";
        let prefix = self.prefix.as_bytes();
        let hash = match &self.settings.authorization {
            Some(secret) => sha256(&[label, prefix, secret.expose().as_bytes()]),
            None => sha256(&[label, prefix, &keyring.derive(label)]),
        };
        let [first, _] = *hash.as_chunks().0 else {
            return HashKey([0; 16]);
        };
        HashKey(first)
    }

    /// Asks for limits, and for the claim of a nonce if there is one.
    pub fn decide(
        &self,
        rules: &Rules,
        due: &[LimitCheck],
        claim: Option<(&Claim, &NonceRules)>,
        now: Timestamp,
    ) -> ScriptCall {
        let mut question = ScriptCall::new(Kind::Decide);
        question.push(due.len());
        for due in due {
            let Some(limiter) = rules.limiter(*due) else {
                continue;
            };
            question.keys.push(self.bucket_key(rules, *due));
            question.push(if due.counts { "take" } else { "peek" });
            question.push(format_args!("{:x}", due.key_hash));
            question.push(limiter.limit().requests);
            question.push(limiter.limit().window.0);
            question.push(limiter.resolution().0);
            question.push(limiter.slots());
        }
        if let Some((claim, rules)) = claim {
            let must = claim.pinned_until().max(now.after(IN_FLIGHT));
            self.push_keys(&mut question, claim.nonce(), claim.id(), rules.capacity);
            question.push(format_args!("{:x}", claim.id()));
            question.push(must.since(now).0);
            question.push(rules.keep.0.max(1));
            question.push(rules.capacity);
            question.push(match rules.on_full {
                OnFull::Reject => "reject",
                OnFull::EvictOldest => "evict_oldest",
            });
            question.push(MAX_ABANDONED);
        }
        question
    }

    /// Tells what became of claims.
    pub fn settle(&self, settlements: &[Settlement], now: Timestamp) -> ScriptCall {
        let mut question = ScriptCall::new(Kind::Settle);
        for settlement in settlements {
            let Settlement {
                nonce,
                id,
                outcome,
                capacity,
                ..
            } = *settlement;
            let (must, keep) = settlement.spans(now);
            self.push_keys(&mut question, nonce, id, capacity);
            question.push(match outcome {
                Outcome::Keep => "keep",
                Outcome::Release => "release",
                Outcome::Abandon => "abandon",
            });
            question.push(format_args!("{id:x}"));
            question.push(must.0);
            question.push(keep.0);
            question.push(MAX_ABANDONED);
        }
        question
    }

    fn push_keys(&self, question: &mut ScriptCall, nonce: Nonce, id: u64, capacity: usize) {
        let prefix = &self.prefix;
        question.keys.extend([
            format!("{prefix}n:{}", nonce.to_hex()),
            format!("{prefix}i:{capacity}"),
            format!("{prefix}v:{id:x}"),
        ]);
    }

    fn bucket_key(&self, rules: &Rules, due: LimitCheck) -> String {
        let mut hasher = SipHasher24::new();
        if let Some(limiter) = rules.limiter(due) {
            hasher.write(limiter.bucket_key(due.key_hash).as_bytes());
        }
        format!("{}l:{:016x}", self.prefix, hasher.finish())
    }

    /// What becomes of a claim by the upstream's answer.
    pub fn settlement(
        claim: &Claim,
        rules: &NonceRules,
        answer: Answer,
        now: Timestamp,
    ) -> Settlement {
        // Acceptance is the upstream's answer, so the window starts here.
        let remember_until = claim.pinned_until().max(now.after(rules.window));
        Settlement {
            nonce: claim.nonce(),
            id: claim.id(),
            outcome: match answer {
                Answer::Taken => Outcome::Keep,
                Answer::Failed => Outcome::Release,
                Answer::SenderLeft => Outcome::Abandon,
            },
            remember_until,
            keep_until: now.after(rules.keep).max(remember_until),
            capacity: rules.capacity,
        }
    }

    /// The first limit that is known to be used up, without a question.
    pub fn known_limited(
        &self,
        rules: &Rules,
        due: &[LimitCheck],
        now: Timestamp,
    ) -> Option<ScriptReply> {
        due.iter().enumerate().find_map(|(which, due)| {
            let wait = self.exhausted.wait(counter(rules, *due), now)?;
            Some(ScriptReply::Limited { which, wait })
        })
    }

    /// Remembers a limit that is used up.
    pub fn note_limited(&self, rules: &Rules, due: LimitCheck, wait: Millis, now: Timestamp) {
        self.exhausted.note(counter(rules, due), wait, now);
    }

    /// The body that asks a question.
    pub fn write(&self, question: &ScriptCall, by: ScriptRef) -> Vec<u8> {
        let mut count = String::new();
        let command = question.command(&self.scripts, by, &mut count);
        self.settings.api.write(&command)
    }

    /// What the answer to a question says.
    ///
    /// # Errors
    /// Why it says nothing.
    pub fn read(&self, status: u16, body: &[u8]) -> Result<ScriptReply, Failure> {
        self.settings.api.read(status, body)
    }
}

/// What tells one counter from all others of this worker, and who counts from who only
/// looks: what is used up for one, by what was inherited, is not for the other.
fn counter(rules: &Rules, due: LimitCheck) -> u64 {
    let mut hasher = SipHasher24::new();
    if let Some(limiter) = rules.limiter(due) {
        hasher.write(limiter.bucket_key(due.key_hash).as_bytes());
    }
    hasher.write_u64(due.key_hash);
    hasher.write_u8(u8::from(due.counts));
    hasher.finish()
}
