//! A request to a webhook, between two steps: how it goes on, or ends.

use std::borrow::Cow;
use std::rc::Rc;

use crate::cas_map::CasMap;
use crate::diagnosis::FailedSignature;
use crate::pipeline::asking::{Asking, Then, Waiting};
use crate::pipeline::filter::{Filter, Surroundings};
use crate::pipeline::limits::{Authenticated, LimitCheck, Subject};
use crate::pipeline::state::Next;
use crate::pipeline::verdict::{Accepted, Outcome, Rejection, RequestRecord, Verdict};
use crate::reason::Reason;
use crate::signature::key::Nonce;
use crate::store::local::nonces::{Claim, NonceTable};
use crate::store::redis::script_reply::Failure;

/// A request to a webhook, between two steps.
pub(super) struct InFlight {
    pub(super) filter: Rc<Filter>,
    /// Its place in the settings.
    pub(super) webhook: usize,
    pub(super) facts: RequestRecord,
}

/// A rejection, and what explains it to the operator.
pub(super) struct Rejected {
    pub(super) rejection: Rejection,
    pub(super) hint: Option<Cow<'static, str>>,
    pub(super) failed_signature: Option<Box<FailedSignature>>,
}

impl From<Rejection> for Rejected {
    fn from(rejection: Rejection) -> Rejected {
        Rejected {
            rejection,
            hint: None,
            failed_signature: None,
        }
    }
}

impl From<Reason> for Rejected {
    fn from(reason: Reason) -> Rejected {
        Rejected::from(Rejection::from(reason))
    }
}

impl InFlight {
    /// It has passed every check.
    pub(super) fn accept(self, nonce: Nonce, claim: Option<Claim>) -> Next {
        let outcome = Outcome::Accepted(Accepted { nonce, claim });
        Next::Decided(Verdict::new(outcome, self.facts))
    }

    /// It is rejected, and counted by the rules that count rejections. What those know of it
    /// besides the client is `authenticated`.
    pub(super) fn reject<S: CasMap>(
        self,
        rejected: Rejected,
        authenticated: Option<Authenticated<'_>>,
        around: Surroundings<'_, S>,
    ) -> Next {
        let filter = Rc::clone(&self.filter);
        let Ok((_, tables)) = filter.webhook(self.webhook) else {
            return self.end(Rejected::from(Reason::Internal));
        };
        let subject = Subject {
            client: &self.facts.client,
            webhook: self.webhook,
            authenticated,
        };
        let rules = &tables.rules;
        let due = rules.due_for(&rejected.rejection, subject, filter.hash_key);
        if filter.redis.is_some() {
            let due = due.collect();
            return self.reject_counted_by(due, rejected, around);
        }
        let Surroundings { store, now } = around;
        match rules.count_rejection(due, store, now) {
            Some(limited) => self.end(limited.into()),
            None => self.end(rejected),
        }
    }

    /// The same, where it is known which rules count it.
    pub(super) fn reject_counted_by<S: CasMap>(
        self,
        due: Vec<LimitCheck>,
        rejected: Rejected,
        around: Surroundings<'_, S>,
    ) -> Next {
        if rejected.rejection.is_counted() && !due.is_empty() {
            self.ask(due, Then::Rejected(rejected), around)
        } else {
            self.end(rejected)
        }
    }

    /// The rejection stands.
    pub(super) fn end(mut self, rejected: Rejected) -> Next {
        self.facts.hint = rejected.hint;
        Next::Decided(Verdict {
            failed_signature: rejected.failed_signature,
            ..Verdict::new(Outcome::Rejected(rejected.rejection), self.facts)
        })
    }

    /// Redis has to say how it goes on, unless that is known already: then no question is made.
    pub(super) fn ask<S: CasMap>(
        self,
        due: Vec<LimitCheck>,
        then: Then,
        around: Surroundings<'_, S>,
    ) -> Next {
        let filter = Rc::clone(&self.filter);
        let (Some(redis), Ok((_, tables))) = (&filter.redis, filter.webhook(self.webhook)) else {
            return self.end(Rejected::from(Reason::Internal));
        };
        let waiting = Waiting {
            underway: self,
            due,
            then,
        };
        let rules = &tables.rules;
        if let Some(limited) = redis.known_limited(rules, &waiting.due, around.now) {
            return waiting.answered(Ok(limited), around);
        }
        if !redis.circuit.allows(around.now) {
            return waiting.answered(Err(Failure::CircuitOpen), around);
        }
        let nonces = tables.nonces.as_ref().map(NonceTable::rules);
        let claim = waiting.then.claim().zip(nonces);
        let question = redis.decide(rules, &waiting.due, claim, around.now);
        Next::Asking(Box::new(Asking { waiting, question }))
    }
}
