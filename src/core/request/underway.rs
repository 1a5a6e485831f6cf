//! A request to a webhook, between two steps: how it goes on, or ends.

use std::borrow::Cow;
use std::rc::Rc;

use crate::core::diagnosis::Suspect;
use crate::core::redis::reply::Failure;
use crate::core::refusal::Reason;
use crate::core::request::asking::{Asking, Then, Waiting};
use crate::core::request::filter::{Filter, Surroundings};
use crate::core::request::rules::{Authenticated, Due, Subject};
use crate::core::request::state::Next;
use crate::core::request::verdict::{Accepted, Facts, Outcome, Refusal, Verdict};
use crate::core::signature::key::Nonce;
use crate::core::table::nonces::{Claim, NonceTable};
use crate::core::table::store::SharedStore;

/// A request to a webhook, between two steps.
pub(super) struct Underway {
    pub(super) filter: Rc<Filter>,
    /// Its place in the settings.
    pub(super) webhook: usize,
    pub(super) facts: Facts,
}

/// A refusal, and what explains it to the operator.
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) hint: Option<Cow<'static, str>>,
    pub(super) suspect: Option<Box<Suspect>>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused {
            refusal,
            hint: None,
            suspect: None,
        }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Refused {
        Refused::from(Refusal::from(reason))
    }
}

impl Underway {
    /// It has passed every check.
    pub(super) fn accept(self, nonce: Nonce, claim: Option<Claim>) -> Next {
        let outcome = Outcome::Accepted(Accepted { nonce, claim });
        Next::Decided(Verdict::new(outcome, self.facts))
    }

    /// It is refused, and counted by the rules that count refusals. What those know of it
    /// besides the client is `authenticated`.
    pub(super) fn refuse<S: SharedStore>(
        self,
        refused: Refused,
        authenticated: Option<Authenticated<'_>>,
        around: Surroundings<'_, S>,
    ) -> Next {
        let filter = Rc::clone(&self.filter);
        let Ok((_, tables)) = filter.webhook(self.webhook) else {
            return self.end(Refused::from(Reason::Internal));
        };
        let subject = Subject {
            client: &self.facts.client,
            webhook: self.webhook,
            authenticated,
        };
        let rules = &tables.rules;
        let due = rules.due_for(&refused.refusal, subject, filter.hash_key);
        if filter.redis.is_some() {
            let due = due.collect();
            return self.refuse_counted_by(due, refused, around);
        }
        let Surroundings { store, now } = around;
        match rules.count_refusal(due, store, now) {
            Some(limited) => self.end(limited.into()),
            None => self.end(refused),
        }
    }

    /// The same, where it is known which rules count it.
    pub(super) fn refuse_counted_by<S: SharedStore>(
        self,
        due: Vec<Due>,
        refused: Refused,
        around: Surroundings<'_, S>,
    ) -> Next {
        if refused.refusal.is_counted() && !due.is_empty() {
            self.ask(due, Then::Refused(refused), around)
        } else {
            self.end(refused)
        }
    }

    /// The refusal stands.
    pub(super) fn end(mut self, refused: Refused) -> Next {
        self.facts.hint = refused.hint;
        Next::Decided(Verdict {
            suspect: refused.suspect,
            ..Verdict::new(Outcome::Refused(refused.refusal), self.facts)
        })
    }

    /// Redis has to say how it goes on, unless that is known already: then no question is made.
    pub(super) fn ask<S: SharedStore>(
        self,
        due: Vec<Due>,
        then: Then,
        around: Surroundings<'_, S>,
    ) -> Next {
        let filter = Rc::clone(&self.filter);
        let (Some(redis), Ok((_, tables))) = (&filter.redis, filter.webhook(self.webhook)) else {
            return self.end(Refused::from(Reason::Internal));
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
