//! Tells the store, on a timer, what it has not been told yet.

use std::time::Duration;

use crate::store::port::{CallError, HttpResponse, PendingCall, Progress, StoreCall};
use crate::stream::host::{CallId, Host};
use crate::stream::worker::Worker;
use crate::time::Timestamp;

/// How often [`Flush::on_tick`] is to be called. Until the store has been told of an
/// upstream's response, its request counts as in flight, which rejects repeats just the same.
pub const PERIOD: Duration = Duration::from_millis(50);

/// What the store is being told.
#[derive(Default)]
pub struct Flush {
    sent: Option<SentCall>,
}

struct SentCall {
    pending: Box<dyn PendingCall>,
    id: CallId,
    sent: Duration,
}

impl Flush {
    /// Tells the store what it has not been told yet, unless that is on its way.
    pub fn on_tick(&mut self, host: &impl Host, worker: &Worker) {
        if self.sent.is_none() {
            let call = worker.filter.store().flush(host.now().into());
            self.send(host, worker, call);
        }
        worker.report(host);
    }

    /// Goes on with the answer to a call.
    pub fn on_answer(
        &mut self,
        host: &impl Host,
        worker: &Worker,
        id: CallId,
        answer: Result<HttpResponse, CallError>,
    ) {
        let Some(flush) = self.sent.take_if(|flush| flush.id == id) else {
            return;
        };
        let now = host.now();
        worker
            .metrics
            .record_call(host, now.saturating_sub(flush.sent));
        let next = flush.pending.resume(answer, now.into());
        self.send(host, worker, needed(next));
        worker.report(host);
    }

    /// Ends: no answer comes any more. What was on its way is to be told again.
    pub fn end(&mut self, now: Timestamp) {
        if let Some(flush) = self.sent.take() {
            flush.pending.abandon(now);
        }
    }

    /// Sends a call. One that cannot be sent may lead to another, of a request that waits to be
    /// counted; the store ends that, as it makes so many in a row at the most.
    fn send(&mut self, host: &impl Host, worker: &Worker, mut call: Option<StoreCall>) {
        while let Some(StoreCall { http, pending }) = call {
            worker.metrics.count_call(host);
            let sent = host.now();
            call = match host.call(&http) {
                Ok(id) => {
                    self.sent = Some(SentCall { pending, id, sent });
                    return;
                }
                Err(_) => needed(pending.resume(Err(CallError::NotSent), sent.into())),
            };
        }
    }
}

/// Returns the call that the store needs next, if it needs one.
fn needed(progress: Progress) -> Option<StoreCall> {
    match progress {
        Progress::Call(call) => Some(call),
        Progress::Done(_) | Progress::Deferred(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::store::port::Decision;
    use crate::stream::tests::{Broken, World, host, store_call};
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// A call that needs so many others when it could not be sent.
    struct Chain {
        others: u32,
        resumed: Rc<Cell<u32>>,
    }

    fn call(others: u32, resumed: &Rc<Cell<u32>>) -> StoreCall {
        store_call(Chain {
            others,
            resumed: Rc::clone(resumed),
        })
    }

    impl PendingCall for Chain {
        fn resume(
            self: Box<Self>,
            answer: Result<HttpResponse, CallError>,
            _: Timestamp,
        ) -> Progress {
            assert!(matches!(answer, Err(CallError::NotSent)));
            self.resumed.set(self.resumed.get() + 1);
            match self.others {
                0 => Progress::Done(Decision::Unavailable),
                left => Progress::Call(call(left - 1, &self.resumed)),
            }
        }

        fn abandon(self: Box<Self>, _: Timestamp) {}
    }

    #[test]
    fn a_call_that_cannot_be_sent_takes_no_other_with_it() {
        let world = World::new(true);
        let resumed = Rc::default();
        let mut flush = Flush::default();
        flush.send(
            &host(Broken::Call, ""),
            &world.worker,
            Some(call(2, &resumed)),
        );
        assert_eq!(resumed.get(), 3);
        assert!(flush.sent.is_none());
    }
}
