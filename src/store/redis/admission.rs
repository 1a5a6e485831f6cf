//! A request's limits and claim: checked in the local table, then asked for in Redis.

use crate::store::local::nonces::{Claim, PriorDelivery};
use crate::store::port::{Decision, LimitCheck, Query, UpstreamOutcome};
use crate::store::redis::keyspace::counter;
use crate::store::redis::script_call::{Attempt, ScriptCall};
use crate::store::redis::script_reply::{Failure, ScriptReply};
use crate::store::redis::shared::Shared;
use crate::time::{Millis, Timestamp};

/// A request whose limits and claim Redis is asked for.
pub struct Admission {
    webhook: usize,
    limits: Vec<LimitCheck>,
    /// How many of them are early: those that were deferred from the request's headers.
    early: usize,
    claim: Option<PendingClaim>,
}

/// A claim that Redis is asked for.
#[derive(Clone, Copy)]
struct PendingClaim {
    claim: Claim,
    /// Whether it stands in the local table; if not, what that would decide.
    local: Result<(), LocalProblem>,
}

/// Why a claim does not stand in the local table. Redis may have room for it.
#[derive(Clone, Copy)]
enum LocalProblem {
    Full,
    Unavailable,
}

impl From<LocalProblem> for Decision {
    fn from(problem: LocalProblem) -> Decision {
        match problem {
            LocalProblem::Full => Decision::Full,
            LocalProblem::Unavailable => Decision::Unavailable,
        }
    }
}

/// Returns the claim as it is known after this attempt to get it.
fn of_attempt(claim: Claim, attempt: Attempt) -> Claim {
    match attempt {
        Attempt::First => claim,
        Attempt::Another => claim.asked_again(),
    }
}

impl Admission {
    /// Claims a request's nonce in the local table, which is to stand when Redis is asked.
    ///
    /// # Errors
    /// The decision, where Redis need not be asked, and what stays deferred.
    pub fn begin(
        shared: &Shared,
        query: Query,
        now: Timestamp,
    ) -> Result<Admission, (Decision, Vec<LimitCheck>)> {
        let Query {
            webhook,
            deferred,
            limits: late,
            claim: request,
        } = query;
        if let Some((check, wait)) = shared.known_limit(webhook, &deferred, now) {
            return Err((Decision::Limited { check, wait }, Vec::new()));
        }
        let prepared = request.and_then(|request| shared.local.prepare(webhook, request, now));
        let claim = match prepared {
            None if late.is_empty() && deferred.is_empty() => {
                return Err((Decision::Admitted(None), deferred));
            }
            None => None,
            Some(claim) => Some(PendingClaim {
                claim,
                local: match shared.local.insert(webhook, claim, now) {
                    Ok(duplicate @ Decision::Duplicate(_)) => return Err((duplicate, deferred)),
                    Ok(Decision::Admitted(_)) => Ok(()),
                    Ok(Decision::Full) => Err(LocalProblem::Full),
                    Ok(Decision::Limited { .. } | Decision::Unavailable) | Err(_) => {
                        Err(LocalProblem::Unavailable)
                    }
                },
            }),
        };
        let early = deferred.len();
        let mut limits = deferred;
        limits.extend(late);
        let admission = Admission {
            webhook,
            limits,
            early,
            claim,
        };
        // Where an early limit has to count the request, Redis is asked in any case.
        if early == 0
            && let Some((check, wait)) = shared.known_limit(webhook, &admission.limits, now)
        {
            admission.release_locally(shared, now);
            return Err((Decision::Limited { check, wait }, Vec::new()));
        }
        Ok(admission)
    }

    /// Returns whether it asks for a claim, which is granted again to whoever asks again.
    pub fn has_claim(&self) -> bool {
        self.claim.is_some()
    }

    /// Returns the limits that it is about.
    pub fn into_limits(self) -> Vec<LimitCheck> {
        self.limits
    }

    /// Returns the script that asks for it.
    pub fn script(&self, shared: &Shared, now: Timestamp) -> ScriptCall {
        let limiter = |check: &LimitCheck| shared.local.limiter(self.webhook, *check);
        let limits = self.limits.iter();
        let limits: Vec<_> = limits
            .filter_map(|check| Some((*check, limiter(check)?)))
            .collect();
        let claim = self.claim.as_ref().map(|pending| &pending.claim);
        let claim = claim.zip(shared.rules(self.webhook));
        shared.keyspace.decide(self.early, &limits, claim, now)
    }

    /// Decides by what Redis has replied to this attempt.
    pub fn finish(
        &self,
        shared: &Shared,
        reply: Result<ScriptReply, Failure>,
        attempt: Attempt,
        now: Timestamp,
    ) -> Decision {
        let decided = reply
            .ok()
            .and_then(|reply| self.decide_by(reply, shared, now));
        let is_in_doubt = match reply {
            Ok(_) => decided.is_none(),
            Err(failure) => failure.may_have_run(),
        };
        match decided.unwrap_or_else(|| self.decide_without_redis(shared, now)) {
            Decision::Admitted(claim) => {
                Decision::Admitted(claim.map(|claim| of_attempt(claim, attempt)))
            }
            decision => {
                if is_in_doubt || attempt == Attempt::Another {
                    self.release_remotely(shared, attempt, now);
                }
                decision
            }
        }
    }

    /// Decides by a reply; `None` if it does not fit the call.
    fn decide_by(&self, reply: ScriptReply, shared: &Shared, now: Timestamp) -> Option<Decision> {
        let decision = match (reply, &self.claim) {
            (ScriptReply::Limited { which, wait }, _)
                if let Some(check) = self.limits.get(which) =>
            {
                let check = *check;
                if let Some(limiter) = shared.local.limiter(self.webhook, check) {
                    let counter = counter(limiter, check);
                    shared.over_limit.insert(counter, wait, now);
                }
                self.release_locally(shared, now);
                Decision::Limited { check, wait }
            }
            (ScriptReply::Passed, None) => Decision::Admitted(None),
            (
                ScriptReply::Claimed {
                    evicted,
                    evicted_age,
                },
                Some(pending),
            ) => {
                shared.local.note(|report| {
                    if evicted > 0 {
                        report.evicted = report.evicted.saturating_add(evicted);
                        report.evicted_age = evicted_age;
                    }
                });
                Decision::Admitted(Some(pending.claim))
            }
            (ScriptReply::Pending, Some(_)) => {
                // It may fail yet there, and the retry come here.
                self.release_locally(shared, now);
                Decision::Duplicate(PriorDelivery::InFlight)
            }
            (ScriptReply::Kept { left }, Some(pending)) => {
                self.record_remote(shared, pending, true, left, now);
                let age = shared.local.nonces(self.webhook).map(|own| own.age(left));
                Decision::Duplicate(PriorDelivery::Accepted(age.unwrap_or_default()))
            }
            (ScriptReply::NeverAnswered { left }, Some(pending)) => {
                self.record_remote(shared, pending, false, left, now);
                Decision::Duplicate(PriorDelivery::NeverAnswered)
            }
            (ScriptReply::Full, Some(_)) => {
                self.release_locally(shared, now);
                Decision::Full
            }
            _ => return None,
        };
        Some(decision)
    }

    /// Ends the query whose client has left: the claim is released here and in Redis, which
    /// may have it, or may get it yet.
    pub fn abandon(&self, shared: &Shared, attempt: Attempt, now: Timestamp) {
        self.release_locally(shared, now);
        self.release_remotely(shared, attempt, now);
    }

    fn decide_without_redis(&self, shared: &Shared, now: Timestamp) -> Decision {
        let decision = if shared.falls_back() {
            self.decide_locally(shared, now)
        } else {
            Decision::Unavailable
        };
        if !matches!(decision, Decision::Admitted(_)) {
            self.release_locally(shared, now);
        }
        decision
    }

    fn decide_locally(&self, shared: &Shared, now: Timestamp) -> Decision {
        if self.has_claim() {
            // Once for each request, whatever else is asked about it.
            shared.local.note(|report| report.fallbacks += 1);
        }
        let limited = |checks| match shared.local.count(self.webhook, checks, now) {
            Ok(limited) => limited,
            Err(_) => Some(Decision::Unavailable),
        };
        let (early, late) = self.limits.split_at_checked(self.early).unwrap_or_default();
        if let Some(limited) = limited(early) {
            return limited;
        }
        let local = self.claim.map_or(Ok(()), |pending| pending.local);
        if let Err(problem) = local {
            return problem.into();
        }
        let claim = self.claim.map(|pending| pending.claim);
        limited(late).unwrap_or(Decision::Admitted(claim))
    }

    /// Returns the claim, if it stands in the local table.
    fn local_claim(&self) -> Option<&Claim> {
        let pending = self.claim.as_ref()?;
        pending.local.is_ok().then_some(&pending.claim)
    }

    /// Releases the claim in the local table. Where that fails, it expires by itself.
    fn release_locally(&self, shared: &Shared, now: Timestamp) {
        if let Some(claim) = self.local_claim() {
            let _ = shared
                .local
                .settle_claim(self.webhook, claim, UpstreamOutcome::Failed, now);
        }
    }

    fn release_remotely(&self, shared: &Shared, attempt: Attempt, now: Timestamp) {
        let Some(pending) = &self.claim else { return };
        let claim = of_attempt(pending.claim, attempt);
        let settlement = shared.settlement(self.webhook, &claim, UpstreamOutcome::Failed, now);
        if let Some(settlement) = settlement {
            shared.queue.push(settlement.never_admitted());
        }
    }

    /// Stores here what Redis knows, so that the next repeat need not be asked for.
    fn record_remote(
        &self,
        shared: &Shared,
        pending: &PendingClaim,
        is_processed: bool,
        left: Millis,
        now: Timestamp,
    ) {
        if pending.local.is_ok() {
            shared
                .local
                .record_remote(self.webhook, &pending.claim, is_processed, left, now);
        }
    }
}
