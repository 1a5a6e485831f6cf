//! What keys in Redis are called, and the calls that name them.
//!
//! ```text
//! {twf:1}:n:<nonce>   "p:<claim>:<times>:<until>" in progress | "k@<until>" completed
//!                     | "a:<times>" its client left | "k:<times>@<until>" it left once too often
//! {twf:1}:i:<capacity>   all nonces of a table, by when they may be evicted
//! {twf:1}:v           claims that are void if they arrive: given up, and settled; a bounded number
//! {twf:1}:l:<bucket>  counters, as JSON
//! ```
//!
//! Every key expires by itself. Keys are hashes: no address, number or signature
//! stands in Redis. The part in braces puts all of them into one slot of a Redis
//! Cluster, where a script can work on them together.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::signature::key::Nonce;
use crate::store::local::limiter::Limiter;
use crate::store::local::nonces::{Claim, IN_FLIGHT, MAX_ABANDONED, NonceRules, OnFull};
use crate::store::port::{LimitCheck, UpstreamOutcome};
use crate::store::redis::script_call::{Kind, ScriptCall};
use crate::store::redis::settlement_queue::Settlement;
use crate::time::Timestamp;

/// The version of keys and values. Another version uses other keys, so that it never
/// meets values that it cannot read.
const LAYOUT: u32 = 1;

/// The keys of one configuration.
#[derive(Debug)]
pub struct Keyspace {
    prefix: String,
}

impl Keyspace {
    /// Returns the keys that begin with the configured prefix.
    pub fn new(key_prefix: &str) -> Keyspace {
        Keyspace {
            prefix: format!("{{{key_prefix}:{LAYOUT}}}:"),
        }
    }

    /// Returns what all keys begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the call for limits, and for the claim of a nonce if there is one. So many of
    /// the limits are early; the others do not count a repeat.
    pub fn decide(
        &self,
        early: usize,
        limits: &[(LimitCheck, &Limiter)],
        claim: Option<(&Claim, &NonceRules)>,
        now: Timestamp,
    ) -> ScriptCall {
        let mut call = ScriptCall::new(Kind::Decide);
        call.push(early);
        call.push(limits.len());
        for (check, limiter) in limits {
            call.keys.push(self.bucket_key(limiter, *check));
            call.push(if check.counts { "take" } else { "peek" });
            call.push(format_args!("{:x}", check.key_hash));
            call.push(limiter.limit().requests);
            call.push(limiter.limit().window.0);
            call.push(limiter.resolution().0);
            call.push(limiter.slots());
        }
        if let Some((claim, rules)) = claim {
            let pinned = claim.pinned_until().max(now.after(IN_FLIGHT));
            self.push_nonce(&mut call, claim.nonce(), rules.capacity);
            call.keys.push(self.marks());
            call.push(format_args!("{:x}", claim.id()));
            call.push(pinned.since(now).0);
            call.push(rules.keep.0.max(1));
            call.push(rules.capacity);
            call.push(match rules.on_full {
                OnFull::Reject => "reject",
                OnFull::EvictOldest => "evict_oldest",
            });
            call.push(MAX_ABANDONED);
        }
        call
    }

    /// Returns the call that settles claims.
    pub fn settle(&self, settlements: &[Settlement], now: Timestamp) -> ScriptCall {
        let mut call = ScriptCall::new(Kind::Settle);
        for settlement in settlements {
            let Settlement {
                nonce,
                id,
                outcome,
                capacity,
                may_arrive_again,
                ..
            } = *settlement;
            let (pinned, kept) = settlement.spans(now);
            self.push_nonce(&mut call, nonce, capacity);
            call.push(match outcome {
                UpstreamOutcome::Processed => "keep",
                UpstreamOutcome::Failed => "release",
                UpstreamOutcome::ClientGone => "abandon",
            });
            call.push(format_args!("{id:x}"));
            call.push(pinned.0);
            call.push(kept.0);
            call.push(MAX_ABANDONED);
            call.push(if may_arrive_again { "again" } else { "once" });
        }
        call.keys.push(self.marks());
        call
    }

    fn push_nonce(&self, call: &mut ScriptCall, nonce: Nonce, capacity: usize) {
        let prefix = &self.prefix;
        call.keys.extend([
            format!("{prefix}n:{}", nonce.to_hex()),
            format!("{prefix}i:{capacity}"),
        ]);
    }

    /// Returns the key of the marks of claims that were given up.
    fn marks(&self) -> String {
        self.prefix.clone() + "v"
    }

    fn bucket_key(&self, limiter: &Limiter, check: LimitCheck) -> String {
        let mut hasher = SipHasher24::new();
        hasher.write(limiter.bucket_key(check.key_hash).as_bytes());
        format!("{}l:{:016x}", self.prefix, hasher.finish())
    }
}

/// Returns what tells one counter from all others of this worker, and a check that counts
/// from one that only looks: what is used up for one, by inherited counts, is not for the other.
pub fn counter(limiter: &Limiter, check: LimitCheck) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(limiter.bucket_key(check.key_hash).as_bytes());
    hasher.write_u64(check.key_hash);
    hasher.write_u8(u8::from(check.counts));
    hasher.finish()
}
