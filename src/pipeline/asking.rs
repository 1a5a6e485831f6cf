//! A request that waits for Redis, and how it goes on with the answer.

use std::rc::Rc;

use crate::cas_map::CasMap;
use crate::config::settings::ReplaySettings;
use crate::pipeline::answer::Answer;
use crate::pipeline::authentic::duplicate;
use crate::pipeline::filter::{Filter, Surroundings, Tables};
use crate::pipeline::limits::{LimitCheck, limited};
use crate::pipeline::state::{Next, SignatureHeaders};
use crate::pipeline::underway::{InFlight, Rejected};
use crate::pipeline::verdict::{Rejection, RequestRecord};
use crate::reason::Reason;
use crate::signature::key::Nonce;
use crate::store::local::nonces::{Change, Claim, NonceTable, PriorDelivery};
use crate::store::redis::script_call::ScriptCall;
use crate::store::redis::script_reply::{Failure, ScriptReply};
use crate::store::redis::shared::RedisStore;
use crate::time::Timestamp;

/// A request that waits for Redis, which has to be asked.
pub struct Asking {
    pub(super) waiting: Waiting,
    pub(super) question: ScriptCall,
}

/// A request that waits for an answer of Redis.
pub(super) struct Waiting {
    pub(super) underway: InFlight,
    /// The limits that are asked for, in that order.
    pub(super) due: Vec<LimitCheck>,
    pub(super) then: Then,
}

/// What the answer is for.
pub(super) enum Then {
    /// The limits that count every request; then what else the headers lead to.
    Headers(Result<SignatureHeaders, Rejected>),
    /// The claim, where repeats are rejected, and the limits that count what is signed.
    Claimed {
        nonce: Nonce,
        pending: Option<PendingClaim>,
        /// The rules that count it if it is rejected.
        of_rejection: Vec<LimitCheck>,
    },
    /// The rules that count rejections: one too many, and the limit is the answer.
    Rejected(Rejected),
}

/// A claim that Redis is asked for.
pub(super) struct PendingClaim {
    pub(super) claim: Claim,
    /// Whether it stands in this Envoy's shared data; if not, what the answer is if
    /// that has to decide.
    pub(super) here: Result<(), Reason>,
}

impl Then {
    /// The claim that Redis is asked for.
    pub(super) fn claim(&self) -> Option<&Claim> {
        match self {
            Then::Claimed { pending, .. } => pending.as_ref().map(|pending| &pending.claim),
            Then::Headers(_) | Then::Rejected(_) => None,
        }
    }
}

impl Asking {
    /// What Redis is asked.
    pub fn question(&self) -> &ScriptCall {
        &self.question
    }

    /// The answer is here, or there is none.
    pub fn answered<S: CasMap>(
        self,
        answer: Result<ScriptReply, Failure>,
        around: Surroundings<'_, S>,
    ) -> Next {
        self.waiting.answered(answer, around)
    }

    /// The sender has left, and nobody waits for the answer any more. Answers what its
    /// claim has changed in the table, all in all.
    pub fn abandon<S: CasMap>(self, around: Surroundings<'_, S>) -> Change {
        self.waiting.abandon(around)
    }
}

impl Waiting {
    pub(super) fn answered<S: CasMap>(
        self,
        answer: Result<ScriptReply, Failure>,
        around: Surroundings<'_, S>,
    ) -> Next {
        let Waiting {
            underway,
            due,
            then,
        } = self;
        let filter = Rc::clone(&underway.filter);
        let (Some(redis), Ok((settings, tables))) =
            (&filter.redis, filter.webhook(underway.webhook))
        else {
            return underway.end(Rejected::from(Reason::Internal));
        };
        let limit = match answer {
            Ok(ScriptReply::Limited { which, wait }) => due.get(which).and_then(|due| {
                redis.note_limited(&tables.rules, *due, wait, around.now);
                Some(limited(tables.rules.limiter(*due)?, wait))
            }),
            _ => None,
        };
        match then {
            Then::Headers(checked) => match (limit, answer) {
                (Some(limit), _) => underway.reject(limit.into(), None, around),
                (None, Ok(ScriptReply::Passed)) => underway.after_headers(checked, around),
                (None, _) if redis.falls_back() => underway.headers_here(&due, checked, around),
                (None, _) => underway.reject(Reason::StoreUnavailable.into(), None, around),
            },
            Then::Rejected(rejected) => match limit {
                Some(limit) => underway.end(limit.into()),
                // It is rejected as it is: a store that fails changes nothing about that.
                None => underway.end(rejected),
            },
            Then::Claimed {
                nonce,
                pending,
                of_rejection,
            } => {
                let claiming = Claiming {
                    redis,
                    tables,
                    pending,
                    around,
                };
                let mut underway = underway;
                let replay = settings.replay.as_ref();
                match claiming.outcome(limit, answer, &due, replay, &mut underway.facts) {
                    Ok(claim) => underway.accept(nonce, claim),
                    Err(rejected) => underway.reject_counted_by(of_rejection, rejected, around),
                }
            }
        }
    }

    fn abandon<S: CasMap>(self, around: Surroundings<'_, S>) -> Change {
        let InFlight {
            filter,
            webhook,
            facts: RequestRecord { mut change, .. },
        } = self.underway;
        let (Some(redis), Ok((_, tables))) = (&filter.redis, filter.webhook(webhook)) else {
            return change;
        };
        if let Then::Claimed { pending, .. } = self.then {
            let claiming = Claiming {
                redis,
                tables,
                pending,
                around,
            };
            claiming.take_back(&mut change);
            claiming.take_back_there();
        }
        change
    }
}

impl InFlight {
    /// The limits that count every request, by this Envoy's own counters.
    fn headers_here<S: CasMap>(
        mut self,
        due: &[LimitCheck],
        checked: Result<SignatureHeaders, Rejected>,
        around: Surroundings<'_, S>,
    ) -> Next {
        self.facts.used_local_fallback = true;
        let filter: Rc<Filter> = Rc::clone(&self.filter);
        let Ok((_, tables)) = filter.webhook(self.webhook) else {
            return self.end(Rejected::from(Reason::Internal));
        };
        let due = due.iter().copied();
        match tables.rules.admit(due, around.store, around.now) {
            Ok(()) => self.after_headers(checked, around),
            Err(rejection) => self.reject(rejection.into(), None, around),
        }
    }
}

/// A claim whose answer is here.
struct Claiming<'a, S> {
    redis: &'a RedisStore,
    tables: &'a Tables,
    pending: Option<PendingClaim>,
    around: Surroundings<'a, S>,
}

impl<S: CasMap> Claiming<'_, S> {
    /// Whether the request is accepted, and with which claim.
    fn outcome(
        &self,
        limit: Option<Rejection>,
        answer: Result<ScriptReply, Failure>,
        due: &[LimitCheck],
        replay: Option<&ReplaySettings>,
        facts: &mut RequestRecord,
    ) -> Result<Option<Claim>, Rejected> {
        let change = &mut facts.change;
        if let Some(limit) = limit {
            self.take_back(change);
            return Err(limit.into());
        }
        match (answer, &self.pending) {
            (Ok(ScriptReply::Passed), None) => Ok(None),
            (
                Ok(ScriptReply::Claimed {
                    evicted,
                    evicted_age,
                }),
                Some(pending),
            ) => {
                change.evicted = change.evicted.saturating_add(evicted);
                if evicted > 0 {
                    change.evicted_age = evicted_age;
                }
                Ok(Some(pending.claim))
            }
            (Ok(reply), Some(_)) if let Some(first) = self.first(reply) => {
                self.repeated(reply, change);
                Err(match replay {
                    Some(replay) => duplicate(replay, first),
                    None => Reason::Duplicate.into(),
                })
            }
            (Ok(ScriptReply::Full), Some(_)) => {
                self.take_back(change);
                Err(Reason::StoreFull.into())
            }
            // No answer, or none that fits the question.
            _ => {
                let claim = self.without_redis(answer, due, change)?;
                facts.used_local_fallback = true;
                Ok(claim)
            }
        }
    }

    /// The claim and its table, if it stands in this Envoy's shared data.
    fn here(&self) -> Option<(&NonceTable, &Claim)> {
        let pending = self.pending.as_ref()?;
        let nonces = self.tables.nonces.as_ref()?;
        pending.here.is_ok().then_some((nonces, &pending.claim))
    }

    /// The claim is given up in this Envoy's shared data.
    fn take_back(&self, change: &mut Change) {
        if let Some((nonces, claim)) = self.here() {
            let released = nonces.release(self.around.store, claim, self.around.now);
            // Where that fails, it lapses by itself.
            change.entries += released.unwrap_or_default().entries;
        }
    }

    /// It is given up in Redis, too, which may have it, or may get it yet.
    fn take_back_there(&self) {
        let (Some(pending), Some(nonces)) = (&self.pending, &self.tables.nonces) else {
            return;
        };
        let now: Timestamp = self.around.now;
        let settlement =
            RedisStore::settlement(&pending.claim, nonces.rules(), Answer::Failed, now);
        self.redis.unsettled.push(settlement);
    }

    /// What Redis says of the first delivery, if it was not this one.
    fn first(&self, reply: ScriptReply) -> Option<PriorDelivery> {
        let nonces = self.tables.nonces.as_ref()?;
        match reply {
            ScriptReply::Pending => Some(PriorDelivery::InFlight),
            ScriptReply::Kept { left } => Some(PriorDelivery::Accepted(nonces.age(left))),
            ScriptReply::NeverAnswered { .. } => Some(PriorDelivery::NeverAnswered),
            _ => None,
        }
    }

    /// Another Envoy has had the request, or has it just now.
    fn repeated(&self, reply: ScriptReply, change: &mut Change) {
        let (left, is_taken) = match reply {
            ScriptReply::Kept { left } => (left, true),
            ScriptReply::NeverAnswered { left } => (left, false),
            // On its way there, it may fail yet, and the retry come here.
            _ => return self.take_back(change),
        };
        if let Some((nonces, claim)) = self.here() {
            let Surroundings { store, now } = self.around;
            // Where that fails, the next repeat is asked for again.
            let _ = nonces.record_remote(store, claim, is_taken, left, now);
        }
    }

    /// There is no answer that can be used.
    fn without_redis(
        &self,
        answer: Result<ScriptReply, Failure>,
        due: &[LimitCheck],
        change: &mut Change,
    ) -> Result<Option<Claim>, Rejected> {
        let Surroundings { store, now } = self.around;
        let may_have_run = answer.err().is_none_or(Failure::may_have_run);
        let decided = if self.redis.falls_back() {
            let here = self.pending.as_ref().map_or(Ok(()), |pending| pending.here);
            let admit = || self.tables.rules.admit(due.iter().copied(), store, now);
            here.map_err(Rejection::from).and_then(|()| admit())
        } else {
            Err(Reason::StoreUnavailable.into())
        };
        if decided.is_err() {
            self.take_back(change);
            if may_have_run {
                self.take_back_there();
            }
        }
        decided?;
        Ok(self.pending.as_ref().map(|pending| pending.claim))
    }
}

#[cfg(test)]
mod tests;
