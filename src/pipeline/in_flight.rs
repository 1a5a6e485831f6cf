//! What becomes of a request that is under way: all that needs nothing but the request.

use std::mem;

use crate::config::settings::{OnDuplicate, ReplaySettings};
use crate::pipeline::hints;
use crate::pipeline::limits::{Authenticated, Subject};
use crate::pipeline::rejection::{Limited, Rejection};
use crate::pipeline::step::{AwaitingStore, Continuation, InFlight, Step};
use crate::pipeline::verdict::{Accepted, Outcome};
use crate::reason::Reason;
use crate::signature::key::Nonce;
use crate::store::local::nonces::{Claim, PriorDelivery};
use crate::store::port::{ClaimRequest, Decision, LimitCheck, Progress, Query, StoreCall};
use crate::time::Millis;

impl InFlight {
    /// Ends the request: it goes on to the upstream.
    pub(super) fn accept(self, nonce: Nonce, claim: Option<Claim>) -> Step {
        let accepted = Accepted { nonce, claim };
        Step::decided(Outcome::Accepted(accepted), self.record)
    }

    /// Ends the request with a rejection.
    pub(super) fn end(self, rejection: Rejection) -> Step {
        Step::decided(Outcome::Rejected(rejection), self.record)
    }

    /// Ends the request with a rejection that the store has counted; or, if it was one request
    /// or rejection too many, with the limit's. It is a rejection in any case: a store that
    /// fails changes nothing about that, unless it was to say first whether the request is
    /// looked at.
    pub(super) fn after_counting(
        self,
        decision: Decision,
        rejection: Rejection,
        with_early: bool,
    ) -> Step {
        let is_the_answer = match decision {
            Decision::Limited { .. } => true,
            Decision::Unavailable => with_early,
            _ => false,
        };
        match self.admitted(decision) {
            Err(limited) if is_the_answer => self.end(limited),
            _ => self.end(rejection),
        }
    }

    /// Keeps the request until the store's call is answered.
    pub(super) fn await_store(self, call: StoreCall, continuation: Continuation) -> Step {
        let StoreCall { http, pending } = call;
        let awaiting = AwaitingStore {
            request: self,
            pending,
            continuation,
        };
        Step::AwaitStore(Box::new(awaiting), http)
    }

    /// Returns what the store is asked, with what it has deferred.
    pub(super) fn query(&mut self, limits: Vec<LimitCheck>, claim: Option<ClaimRequest>) -> Query {
        Query {
            webhook: self.webhook.index,
            deferred: mem::take(&mut self.deferred),
            limits,
            claim,
        }
    }

    /// Returns what the store has decided, and keeps what it has deferred.
    ///
    /// # Errors
    /// The call that it needs first.
    #[inline(never)]
    pub(super) fn progress(&mut self, progress: Progress) -> Result<Decision, StoreCall> {
        match progress {
            Progress::Done(decision) => Ok(decision),
            Progress::Deferred(decision, deferred) => {
                self.deferred = deferred;
                Ok(decision)
            }
            Progress::Call(call) => Err(call),
        }
    }

    /// Returns what a decision of the store means for the request.
    pub(super) fn admitted(&self, decision: Decision) -> Result<Option<Claim>, Rejection> {
        match decision {
            Decision::Admitted(claim) => Ok(claim),
            Decision::Limited { check, wait } => Err(self.limited(check, wait)),
            Decision::Duplicate(prior) => {
                Err(duplicate(self.webhook.settings.replay.as_ref(), prior))
            }
            Decision::Full => Err(Reason::StoreFull.into()),
            Decision::Unavailable => Err(Reason::StoreUnavailable.into()),
        }
    }

    /// Returns the rejection by a limit.
    fn limited(&self, check: LimitCheck, wait: Millis) -> Rejection {
        match self.webhook.limits.limit(check) {
            Some(limit) => Limited { limit, wait }.into(),
            None => Reason::Internal.into(),
        }
    }

    /// Returns what limits count the request by.
    pub(super) fn subject<'a>(&'a self, authenticated: Option<Authenticated<'a>>) -> Subject<'a> {
        Subject {
            client: &self.record.client,
            webhook: &self.webhook.settings.label,
            authenticated,
        }
    }
}

/// Returns the rejection of a repeat, by what is known of the first delivery.
///
/// To acknowledge a repeat says that the upstream has taken the request. While that is not
/// known, the sender is to ask again: told otherwise, it would not send a request any more
/// whose first delivery then fails.
fn duplicate(replay: Option<&ReplaySettings>, prior: PriorDelivery) -> Rejection {
    let acknowledges = replay.is_some_and(|own| own.on_duplicate == OnDuplicate::Acknowledge);
    let is_undecided = prior == PriorDelivery::InFlight;
    let rejection = Rejection {
        acknowledge: acknowledges && matches!(prior, PriorDelivery::Accepted(_)),
        retry_after: (acknowledges && is_undecided).then_some(UNTIL_DECIDED),
        ..Rejection::from(Reason::Duplicate)
    };
    rejection.with_hint(Some(hints::of_duplicate(prior)))
}

/// After this time a repeat may be tried again of a request that is on its way to the upstream.
const UNTIL_DECIDED: Millis = Millis::seconds(1);
