//! What a request is between two events: a value that the next event consumes, so that a
//! request that has its verdict cannot be driven on.

use std::rc::Rc;

use crate::pipeline::checks::SignatureHeaders;
use crate::pipeline::rejection::Rejection;
use crate::pipeline::verdict::{Outcome, RequestRecord, Verdict};
use crate::pipeline::webhook::Webhook;
use crate::signature::key::Nonce;
use crate::store::port::{HttpCall, LimitCheck, PendingCall};
use crate::time::Timestamp;

/// What an event leads to.
pub enum Step {
    /// The request has its verdict.
    Decided(Verdict),
    /// Its body has to be complete.
    AwaitBody(AwaitingBody),
    /// The store has to answer a call.
    AwaitStore(Box<AwaitingStore>, HttpCall),
}

/// A request to a webhook.
pub struct InFlight {
    pub(super) webhook: Rc<Webhook>,
    pub(super) record: RequestRecord,
    /// The early limits that the store answers with its next question.
    pub(super) deferred: Vec<LimitCheck>,
}

/// A request whose headers have passed their checks.
pub struct AwaitingBody {
    pub(super) request: InFlight,
    pub(super) headers: SignatureHeaders,
}

/// A request that waits for the answer to a call of the store.
pub struct AwaitingStore {
    pub(super) request: InFlight,
    pub(super) pending: Box<dyn PendingCall>,
    pub(super) continuation: Continuation,
}

/// What the store was asked for, and so how the request goes on.
pub(super) enum Continuation {
    /// The limits that count every request; then what else its headers lead to, since they
    /// cannot be read any more.
    Headers(Result<SignatureHeaders, Rejection>),
    /// The claim, and the limits that count what is signed.
    Claim {
        nonce: Nonce,
        /// What counts the request if it is a repeat.
        if_duplicate: Vec<LimitCheck>,
    },
    /// The limits that count rejections: if one is used up, that is the answer.
    Rejection {
        rejection: Rejection,
        /// Whether early limits were asked for, too.
        with_early: bool,
    },
}

impl AwaitingBody {
    /// Returns whether the body has to be awaited. Envoy never says that the body of a
    /// WebSocket handshake has ended: it is decided by its headers.
    pub fn needs_body(&self) -> bool {
        !self.headers.websocket
    }
}

impl AwaitingStore {
    /// Ends a request whose client has left: nobody waits for the answer any more.
    pub fn on_client_gone(self, now: Timestamp) {
        self.pending.abandon(now);
    }
}

impl Step {
    /// Returns the step that ends a request.
    pub(super) fn decided(outcome: Outcome, record: RequestRecord) -> Step {
        Step::Decided(Verdict { outcome, record })
    }
}
