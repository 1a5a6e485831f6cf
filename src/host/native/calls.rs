//! Calls that belong to no stream. Envoy makes them for a configuration, on the main thread
//! only, so a worker leaves them here, and finds the answer in its mailbox.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::host::native::abi::FilterConfig;
use crate::host::native::lock::lock;
use crate::store::port::{CallError, HttpCall, HttpResponse};
use crate::stream::host::CallId;

/// An answer, or why there is none.
pub(super) type Answer = Result<HttpResponse, CallError>;

/// The answers to a worker's calls that it has not seen yet.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<Vec<(CallId, Answer)>>);

impl Mailbox {
    fn put(&self, id: CallId, answer: Answer) {
        lock(&self.0).push((id, answer));
    }

    /// Takes what has come.
    pub(super) fn take(&self) -> Vec<(CallId, Answer)> {
        mem::take(&mut *lock(&self.0))
    }
}

/// Who is to have an answer.
struct Caller {
    id: CallId,
    mailbox: Arc<Mailbox>,
}

/// The calls of one configuration.
#[derive(Default)]
pub(super) struct Calls {
    last: AtomicU32,
    waiting: Mutex<VecDeque<(HttpCall, Caller)>>,
    /// By Envoy's number.
    sent: Mutex<HashMap<u64, Caller>>,
}

impl Calls {
    /// Leaves a call for the main thread.
    pub(super) fn leave(&self, call: &HttpCall, mailbox: &Arc<Mailbox>) -> CallId {
        let id = CallId(self.last.fetch_add(1, Ordering::Relaxed));
        let mailbox = Arc::clone(mailbox);
        lock(&self.waiting).push_back((call.clone(), Caller { id, mailbox }));
        id
    }

    /// Sends what waits, on the main thread.
    pub(super) fn send(&self, envoy: FilterConfig) {
        let waiting = mem::take(&mut *lock(&self.waiting));
        for (call, caller) in waiting {
            match envoy.call(&call) {
                Ok(number) => {
                    lock(&self.sent).insert(number, caller);
                }
                Err(_) => caller.mailbox.put(caller.id, Err(CallError::NotSent)),
            }
        }
    }

    /// Hands an answer to whoever waits for it.
    pub(super) fn answered(&self, number: u64, answer: Answer) {
        if let Some(caller) = lock(&self.sent).remove(&number) {
            caller.mailbox.put(caller.id, answer);
        }
    }
}
