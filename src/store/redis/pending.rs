//! A script that was sent to Redis, and what goes on with its reply.

use std::rc::Rc;

use crate::store::port::{
    CallError, Decision, HttpCall, HttpResponse, PendingCall, Progress, Query, StoreCall,
};
use crate::store::redis::admission::Admission;
use crate::store::redis::correlation::Correlation;
use crate::store::redis::gone_queue::GONE_IN_A_ROW;
use crate::store::redis::script_call::{Attempt, ScriptCall, ScriptRef};
use crate::store::redis::script_reply::{Failure, ScriptReply};
use crate::store::redis::settlement_queue::Settlement;
use crate::store::redis::shared::Shared;
use crate::time::{Millis, Timestamp};

/// How often a call is made again whose reply was another one's. Where that happens once,
/// it hardly ever happens twice: the connection gets in step, or Envoy closes it.
const MAX_MISDELIVERED: u32 = 2;

/// What a script was sent for.
pub enum Purpose {
    /// A request's limits and claim.
    Admission(Admission, Moment),
    /// The release of one claim, which a response waits for.
    Release(Settlement),
    /// The settlements that were queued.
    Flush,
}

/// When a request is asked for.
#[derive(Clone, Copy)]
pub enum Moment {
    /// At its headers: what needs a call is deferred.
    Headers,
    /// When nothing else is to be checked.
    End,
    /// After its client has left. So many more such may be asked for in a row.
    Gone(usize),
}

/// A script that was sent.
struct Pending {
    shared: Rc<Shared>,
    script: ScriptCall,
    by: ScriptRef,
    correlation: Correlation,
    /// How often the reply was another call's.
    misdelivered: u32,
    /// Whether it was asked again since its connection broke.
    broken: bool,
    /// Whether it is the try of a circuit that is open.
    is_try: bool,
    sent: Timestamp,
    purpose: Purpose,
}

/// Returns the call that runs a script by its hash.
pub fn call(shared: Rc<Shared>, script: ScriptCall, purpose: Purpose, now: Timestamp) -> StoreCall {
    let timeout = shared.settings.timeout;
    let pending = Pending {
        correlation: shared.correlations.next(),
        is_try: shared.circuit.is_open(),
        shared,
        script,
        by: ScriptRef::Sha,
        misdelivered: 0,
        broken: false,
        sent: now,
        purpose,
    };
    pending.call(timeout)
}

/// Decides a query, or returns the call that it needs.
pub fn admit(shared: &Rc<Shared>, query: Query, moment: Moment, now: Timestamp) -> Progress {
    let admission = match Admission::begin(shared, query, now) {
        Ok(admission) => admission,
        Err((decision, deferred)) => return Progress::Deferred(decision, deferred),
    };
    let is_asked = match moment {
        Moment::Headers => shared.circuit.is_due(now),
        Moment::End | Moment::Gone(_) => shared.circuit.try_acquire(now),
    };
    if !is_asked {
        return Progress::Done(admission.finish(
            shared,
            Err(Failure::CircuitOpen),
            Attempt::First,
            now,
        ));
    }
    if let Moment::Headers = moment {
        return Progress::Deferred(Decision::Admitted(None), admission.into_limits());
    }
    let script = admission.script(shared, now);
    let purpose = Purpose::Admission(admission, moment);
    Progress::Call(call(Rc::clone(shared), script, purpose, now))
}

/// Returns the call that settles the next claims, if there are any to be settled. Without, it is the
/// try of a circuit that is open: one that no client can end. Not while another is on its way.
pub fn call_for_settlements(shared: &Rc<Shared>, now: Timestamp) -> Option<StoreCall> {
    let is_open = shared.circuit.is_open();
    if !(shared.queue.is_due() || is_open) || !shared.circuit.try_acquire(now) {
        return None;
    }
    let settlements = shared.queue.send(now);
    if settlements.is_empty() && !is_open {
        shared.queue.arrived();
        return None;
    }
    let script = shared.keyspace.settle(&settlements, now);
    Some(call(Rc::clone(shared), script, Purpose::Flush, now))
}

/// Returns the call that counts the next request whose client has left, if there is one. Of
/// no more than so many in a row.
pub fn call_for_gone(shared: &Rc<Shared>, in_a_row: usize, now: Timestamp) -> Option<StoreCall> {
    for left in (0..in_a_row).rev() {
        let query = shared.gone.pop()?;
        if let Progress::Call(call) = admit(shared, query, Moment::Gone(left), now) {
            return Some(call);
        }
    }
    None
}

impl Pending {
    fn call(self, timeout: Millis) -> StoreCall {
        let settings = &self.shared.settings;
        let mut headers = vec![
            (":method", "POST".to_owned()),
            (":path", "/".to_owned()),
            (":authority", settings.authority.clone()),
            ("content-type", settings.api.content_type().to_owned()),
        ];
        if let Some(authorization) = &settings.authorization {
            headers.push(("authorization", authorization.expose().to_owned()));
        }
        let numbers = self.script.numbers(self.correlation);
        let scripts = &self.shared.scripts;
        let command = self.script.command(scripts, self.by, &numbers);
        let http = HttpCall {
            cluster: settings.cluster.clone(),
            headers,
            body: settings.api.write(&command),
            timeout,
        };
        StoreCall {
            http,
            pending: Box::new(self),
        }
    }

    /// Returns the same call once more, in what is left of the time: nobody waits longer for that.
    ///
    /// It keeps its number. On a connection where every reply belongs to the call before, the
    /// first one's reply comes next.
    fn call_again(self, now: Timestamp) -> Progress {
        let took = now.since(self.sent);
        let left = self.shared.settings.timeout.0.saturating_sub(took.0).max(1);
        Progress::Call(self.call(Millis(left)))
    }

    /// Whether the same call was made before: by a hash that Redis did not know, with a reply that was
    /// another call's, or on a connection that broke.
    fn attempt(&self) -> Attempt {
        match (self.by, self.misdelivered, self.broken) {
            (ScriptRef::Sha, 0, false) => Attempt::First,
            _ => Attempt::Another,
        }
    }

    /// Notes that it is asked again after this failure; returns whether it is.
    fn is_to_be_asked_again(&mut self, failure: Failure, now: Timestamp) -> bool {
        match failure {
            Failure::UnknownScript if self.by == ScriptRef::Sha => self.by = ScriptRef::Source,
            Failure::Misdelivered if self.misdelivered < MAX_MISDELIVERED => {
                self.misdelivered += 1;
                self.shared
                    .local
                    .note(|report| report.calls_misdelivered += 1);
            }
            _ if failure.is_broken_connection() && !self.broken && self.may_be_repeated(now) => {
                self.broken = true;
                self.shared.local.note(|report| report.calls_retried += 1);
            }
            _ => return false,
        }
        true
    }

    /// Whether it may be asked again when its connection has broken, as all that are open do where
    /// Redis or Webdis is replaced. Only if to ask twice is to ask once, and while at least as much
    /// time is left: a Redis that is dead costs no more than that.
    fn may_be_repeated(&self, now: Timestamp) -> bool {
        let is_idempotent = match &self.purpose {
            Purpose::Admission(admission, _) => admission.has_claim(),
            Purpose::Release(_) => true,
            // It is sent again anyway.
            Purpose::Flush => false,
        };
        is_idempotent && now.since(self.sent).0 < self.shared.settings.timeout.0 / 2
    }

    fn reply(&self, answer: Result<HttpResponse, CallError>) -> Result<ScriptReply, Failure> {
        let response = answer.map_err(|error| match error {
            CallError::NotSent => Failure::NotSent,
            CallError::NoResponse => Failure::NoAnswer,
        })?;
        match &response.body {
            Some(body) => {
                let api = self.shared.settings.api;
                api.read(response.status, body, self.correlation)
            }
            None if response.status == 200 => Err(Failure::Malformed),
            None => Err(Failure::Status(response.status)),
        }
    }
}

impl PendingCall for Pending {
    fn resume(
        mut self: Box<Self>,
        answer: Result<HttpResponse, CallError>,
        now: Timestamp,
    ) -> Progress {
        let reply = self.reply(answer);
        if let Err(failure) = reply
            && self.is_to_be_asked_again(failure, now)
        {
            return self.call_again(now);
        }
        let attempt = self.attempt();
        let Pending {
            shared, purpose, ..
        } = *self;
        match reply {
            Ok(_) => shared.record_success(),
            Err(failure) => shared.record_failure(failure, now),
        }
        let mut next = None;
        match purpose {
            Purpose::Admission(admission, moment) => {
                let decision = admission.finish(&shared, reply, attempt, now);
                let Moment::Gone(left) = moment else {
                    return Progress::Done(decision);
                };
                next = call_for_gone(&shared, left, now);
            }
            Purpose::Release(settlement) if reply != Ok(ScriptReply::Settled) => {
                shared.queue.push(settlement);
            }
            Purpose::Release(_) => {}
            Purpose::Flush if reply == Ok(ScriptReply::Settled) => {
                shared.queue.arrived();
                // A full call does not wait for the timer. Where requests are accepted faster
                // than the timer's calls can tell, settlements would be lost.
                if shared.queue.fills_a_call() {
                    next = call_for_settlements(&shared, now);
                }
                next = next.or_else(|| call_for_gone(&shared, GONE_IN_A_ROW, now));
            }
            Purpose::Flush => shared.queue.failed(),
        }
        next.map_or(Progress::Done(Decision::Admitted(None)), Progress::Call)
    }

    fn abandon(self: Box<Self>, now: Timestamp) {
        let attempt = self.attempt();
        if self.is_try {
            self.shared.circuit.give_back(now);
        }
        match self.purpose {
            Purpose::Admission(admission, _) => {
                admission.abandon(&self.shared, attempt, now);
            }
            // It may be on its way. If it fails, nobody hears of that any more; to release
            // twice is to release once.
            Purpose::Release(settlement) => self.shared.queue.push(settlement),
            Purpose::Flush => self.shared.queue.failed(),
        }
    }
}
