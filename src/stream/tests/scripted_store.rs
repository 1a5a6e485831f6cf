//! A store that admits at once, or makes a call for everything.

use std::cell::RefCell;
use std::rc::Rc;

use crate::store::local::nonces::{Claim, NonceTable, PriorDelivery};
use crate::store::port::{
    CallError, Decision, HashKey, HttpCall, HttpResponse, PendingCall, Progress, Query, Report,
    Store, StoreCall, UpstreamOutcome,
};
use crate::time::{Millis, Timestamp};

/// How the claim of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// By what became of the request.
    By(UpstreamOutcome),
    /// It was being asked for when the client left.
    Abandoned,
}

/// A third kind of store: it admits at once, or makes a call for everything.
pub(super) struct ScriptedStore {
    pub(super) is_remote: bool,
    pub(super) table: NonceTable,
    pub(super) settled: Rc<RefCell<Vec<Settled>>>,
}

struct Pending {
    /// What is admitted by a yes; `None` for the call of a settlement.
    claim: Option<Option<Claim>>,
    settled: Rc<RefCell<Vec<Settled>>>,
}

/// Returns a call that goes on with this.
pub(in crate::stream) fn store_call(pending: impl PendingCall + 'static) -> StoreCall {
    StoreCall {
        http: HttpCall {
            cluster: "a cluster".into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Millis(100),
        },
        pending: Box::new(pending),
    }
}

impl PendingCall for Pending {
    fn resume(self: Box<Self>, answer: Result<HttpResponse, CallError>, _: Timestamp) -> Progress {
        let Some(claim) = self.claim else {
            return match answer.map(|response| response.status) {
                Ok(100) => Progress::Call(store_call(*self)),
                _ => Progress::Done(Decision::Admitted(None)),
            };
        };
        match answer.map(|response| response.status) {
            Ok(100) => Progress::Call(store_call(*self)),
            Ok(200) => Progress::Done(Decision::Admitted(claim)),
            Ok(_) => Progress::Done(Decision::Duplicate(PriorDelivery::InFlight)),
            Err(_) => Progress::Done(Decision::Unavailable),
        }
    }

    fn abandon(self: Box<Self>, _: Timestamp) {
        if let Some(Some(_)) = self.claim {
            self.settled.borrow_mut().push(Settled::Abandoned);
        }
    }
}

impl Store for ScriptedStore {
    fn hash_key(&self) -> HashKey {
        HashKey([7; 16])
    }

    fn admit(&self, query: Query, now: Timestamp) -> Progress {
        let claim = query.claim.map(|request| {
            self.table
                .prepare(request.nonce, request.id, request.signed_until, now)
        });
        if self.is_remote {
            return Progress::Call(store_call(Pending {
                claim: Some(claim),
                settled: Rc::clone(&self.settled),
            }));
        }
        Progress::Done(Decision::Admitted(claim))
    }

    fn is_settled(&self, _: &Claim, _: UpstreamOutcome) -> bool {
        false
    }

    fn settle(
        &self,
        _: usize,
        _: &Claim,
        outcome: UpstreamOutcome,
        _: Timestamp,
    ) -> Option<StoreCall> {
        self.settled.borrow_mut().push(Settled::By(outcome));
        let is_awaited = self.is_remote && outcome == UpstreamOutcome::Failed;
        is_awaited.then(|| {
            store_call(Pending {
                claim: None,
                settled: Rc::clone(&self.settled),
            })
        })
    }

    fn flush(&self, _: Timestamp) -> Option<StoreCall> {
        None
    }

    fn needs_flush(&self) -> bool {
        false
    }

    fn take_report(&self) -> Report {
        Report::default()
    }
}
