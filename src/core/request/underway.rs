//! A request to a webhook, between two steps: how it goes on, or ends.

use std::borrow::Cow;
use std::rc::Rc;

use crate::core::diagnosis::Suspect;
use crate::core::redis::question::Question;
use crate::core::redis::reply::Failure;
use crate::core::refusal::Reason;
use crate::core::request::asking::{Asking, Then};
use crate::core::request::filter::{Filter, Surroundings};
use crate::core::request::rules::{Authenticated, Due, Subject};
use crate::core::request::state::Next;
use crate::core::request::verdict::{Accepted, Facts, Outcome, Refusal, Verdict};
use crate::core::signature::key::Nonce;
use crate::core::table::nonces::Claim;
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
        let filter = Rc::clone(&self.filter);
        match (&filter.redis, filter.webhook(self.webhook)) {
            (Some(redis), Ok((_, tables))) if refused.refusal.is_counted() && !due.is_empty() => {
                let question = redis.decide(&tables.rules, &due, None, around.now);
                self.ask(question, due, Then::Refused(refused), around)
            }
            _ => self.end(refused),
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

    /// Redis has to say how it goes on, unless that is known already.
    pub(super) fn ask<S: SharedStore>(
        self,
        question: Question,
        due: Vec<Due>,
        then: Then,
        around: Surroundings<'_, S>,
    ) -> Next {
        let filter = Rc::clone(&self.filter);
        let known = match (&filter.redis, filter.webhook(self.webhook)) {
            (Some(redis), Ok((_, tables))) => {
                match redis.known_limited(&tables.rules, &due, around.now) {
                    Some(limited) => Some(Ok(limited)),
                    None if redis.circuit.allows(around.now) => None,
                    None => Some(Err(Failure::CircuitOpen)),
                }
            }
            _ => Some(Err(Failure::NotSent)),
        };
        let asking = Asking {
            underway: self,
            question,
            due,
            then,
        };
        match known {
            Some(answer) => asking.answered(answer, around),
            None => Next::Asking(Box::new(asking)),
        }
    }
}
