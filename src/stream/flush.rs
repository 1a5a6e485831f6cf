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
    in_flight: Option<InFlight>,
}

struct InFlight {
    pending: Box<dyn PendingCall>,
    id: CallId,
    sent: Duration,
}

impl Flush {
    /// Tells the store what it has not been told yet, unless that is on its way.
    pub fn on_tick(&mut self, host: &impl Host, worker: &Worker) {
        if self.in_flight.is_none() {
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
        let Some(flush) = self.in_flight.take_if(|flush| flush.id == id) else {
            return;
        };
        let now = host.now();
        worker
            .metrics
            .record_call(host, now.saturating_sub(flush.sent));
        let next = match flush.pending.resume(answer, now.into()) {
            Progress::Call(call) => Some(call),
            Progress::Done(_) | Progress::Deferred(..) => None,
        };
        self.send(host, worker, next);
        worker.report(host);
    }

    /// Ends: no answer comes any more. What was on its way is to be told again.
    pub fn end(&mut self, now: Timestamp) {
        if let Some(flush) = self.in_flight.take() {
            flush.pending.abandon(now);
        }
    }

    fn send(&mut self, host: &impl Host, worker: &Worker, call: Option<StoreCall>) {
        let Some(StoreCall { http, pending }) = call else {
            return;
        };
        worker.metrics.count_call(host);
        let sent = host.now();
        match host.call(&http) {
            Ok(id) => self.in_flight = Some(InFlight { pending, id, sent }),
            Err(_) => {
                // What was not sent is not sent again at once.
                let _ = pending.resume(Err(CallError::NotSent), Timestamp::from(sent));
            }
        }
    }
}
