//! The port: what a store is asked, what it answers, and what it needs of its caller.

use std::any::Any;

use crate::cas_map::{CasError, CasMap, NAMESPACE};
use crate::signature::key::Nonce;
use crate::store::local::limiter::Limit;
use crate::store::local::nonces::{Claim, NonceRules, PriorDelivery};
use crate::time::{Millis, Timestamp};

/// Where nonces and rate limits live.
pub trait Store {
    /// Returns the key that hides what limits count by. It is the same for all who share
    /// the store, and unknown to clients.
    fn hash_key(&self) -> HashKey;

    /// Counts a request by its early limits: its headers have arrived, and nothing else is
    /// known of it. A store may leave this to the next query about the request, or to
    /// [`Store::count_gone`]: see [`Progress::Deferred`].
    fn admit_early(&self, query: Query, now: Timestamp) -> Progress {
        self.admit(query, now)
    }

    /// Counts a request by its limits and claims its nonce: all of it, or nothing.
    ///
    /// What was deferred comes first: a request that an early limit rejects is counted by no
    /// other, and claims nothing; one that they let pass stays counted, whatever follows.
    ///
    /// A request whose nonce is known already is not counted: who replays it must not use
    /// up the limits of its account.
    fn admit(&self, query: Query, now: Timestamp) -> Progress;

    /// Returns whether there is nothing to settle: the store has the usual outcome already.
    fn is_settled(&self, claim: &Claim, outcome: UpstreamOutcome) -> bool;

    /// Counts a request by the limits that were deferred, though it has ended: its client has
    /// left. Nobody waits for the answer.
    fn count_gone(&self, _query: Query) {}

    /// Settles a claim by what became of its request. The upstream's response is to wait
    /// for the call, if there is one.
    fn settle(
        &self,
        webhook: usize,
        claim: &Claim,
        outcome: UpstreamOutcome,
        now: Timestamp,
    ) -> Option<StoreCall>;

    /// Returns a call for what the store has not been told yet. To be called on a timer.
    fn flush(&self, now: Timestamp) -> Option<StoreCall>;

    /// Returns whether [`Store::flush`] ever has anything to do.
    fn needs_flush(&self) -> bool;

    /// Takes out what the store has not been told yet, where another is to
    /// [`flush`](Store::flush) it: that of another thread, or of another configuration.
    fn hand_over(&self) -> Option<Untold> {
        None
    }

    /// Takes in what another store has handed over: one of the same configuration, or of the
    /// same [`Store::place`].
    fn take_over(&self, _untold: Untold) {}

    /// Returns what tells the place that [`Store::flush`] tells from all others; `None` if there
    /// is none.
    fn place(&self) -> Option<Place<'_>> {
        None
    }

    /// Takes back what gauges show of this store, which is no longer used.
    fn close(&self) {}

    /// Returns what has happened since the last report, for metrics and log.
    fn take_report(&self) -> Report;
}

/// What tells the places apart that stores tell: the cluster, and what all keys begin with.
pub type Place<'a> = (&'a str, &'a str);

/// What a store has not been told yet.
pub struct Untold {
    /// How many settlements are among it.
    pub settlements: u64,
    /// Whether it is of a configuration that has ended. Only settlements outlive that.
    pub is_inherited: bool,
    /// In a form of the store's own.
    pub content: Box<dyn Any + Send>,
}

/// The key of the hash that spreads addresses and parameter values over buckets. Without
/// it, nobody can choose values that fall into the bucket of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKey(pub [u8; 16]);

impl HashKey {
    /// Returns the key that all who share `memory` use: `random`, if this is the first to ask.
    ///
    /// # Errors
    /// Those of `memory`.
    pub fn shared(memory: &dyn CasMap, random: [u8; 16]) -> Result<HashKey, CasError> {
        let name = format!("{NAMESPACE}:hash-key");
        memory.compare_and_swap(&name, None, &random)?;
        let entry = memory.get(&name)?.ok_or(CasError::Unavailable)?;
        let key = entry.value.try_into();
        key.map(HashKey).map_err(|_| CasError::Unavailable)
    }
}

/// The tables of one webhook.
#[derive(Clone, Debug)]
pub struct Tables {
    /// How its nonces are kept; `None` where repeats are allowed.
    pub nonces: Option<NonceTableSettings>,
    /// Its limits, in the order in which [`LimitCheck::rule`] counts them.
    pub limits: Vec<LimitSettings>,
    /// How many keys each limit counts.
    pub limit_capacity: usize,
}

/// How the nonces of one webhook are kept.
#[derive(Clone, Debug)]
pub struct NonceTableSettings {
    /// How long, and how many.
    pub rules: NonceRules,
    /// Whether nobody may take a request for processed before its upstream has answered.
    pub awaits_outcome: bool,
}

/// One limit of a webhook.
#[derive(Clone, Debug)]
pub struct LimitSettings {
    /// The name of its counters. Limits of one name share them.
    pub table: String,
    /// How many requests in which time.
    pub limit: Limit,
}

/// What a store is asked about one request.
#[derive(Debug)]
pub struct Query {
    /// The index of its webhook.
    pub webhook: usize,
    /// The early limits, if this store has deferred them.
    pub deferred: Vec<LimitCheck>,
    /// The limits that it is checked against.
    pub limits: Vec<LimitCheck>,
    /// The nonce that it claims, if it does.
    pub claim: Option<ClaimRequest>,
}

/// One limit that a request is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitCheck {
    /// The limit's index among those of the webhook.
    pub rule: usize,
    /// A keyed hash of what the limit counts by.
    pub key_hash: u64,
    /// Whether the request is counted, or is only rejected if the limit is used up.
    pub counts: bool,
}

/// A nonce that a request claims.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRequest {
    /// The nonce.
    pub nonce: Nonce,
    /// What tells this request from all others, in any worker.
    pub id: u64,
    /// Until when the request's own signed timestamp is fresh: until then its nonce is stored.
    pub signed_until: Option<Timestamp>,
}

/// How a query went on.
pub enum Progress {
    /// It is decided. (For the call of a settlement this says nothing.)
    Done(Decision),
    /// It is decided without a call, and these limits were not asked for yet: the next query
    /// about the request is to bring them along as [`Query::deferred`]. So it is with early
    /// limits at the headers, and with a request that is known to be a repeat.
    Deferred(Decision, Vec<LimitCheck>),
    /// A call has to be made.
    Call(StoreCall),
}

/// What a store has decided.
#[derive(Clone, Copy, Debug)]
pub enum Decision {
    /// Every limit has room, and the nonce, if one was asked for, is claimed.
    Admitted(Option<Claim>),
    /// A limit is used up.
    Limited {
        /// The check that found it so.
        check: LimitCheck,
        /// After this time, one more request passes.
        wait: Millis,
    },
    /// The nonce was claimed before.
    Duplicate(PriorDelivery),
    /// There is no room for the nonce.
    Full,
    /// The store failed.
    Unavailable,
}

/// What became of an accepted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamOutcome {
    /// The upstream took the request, or turned it down for good: a repeat is a duplicate.
    Processed,
    /// It failed, or never saw the request: the sender's retry is to pass.
    Failed,
    /// The client left before there was a response.
    ClientGone,
}

impl UpstreamOutcome {
    /// Returns what a response says.
    ///
    /// A 5xx is a failure, the upstream's own or Envoy's for an upstream that was
    /// reset, timed out or refused the connection. A 401 is one because
    /// Twilio sends a request twice where the URL has HTTP authentication, first
    /// without it. 408, 425 and 429 say that the same request is welcome later: it came
    /// too slowly, too early, or among too many. Any other response counts as processed
    /// if it came from the upstream (`from_upstream`): what Envoy itself answers (no
    /// route, another filter's rejection), the upstream has not seen.
    pub fn of_response(
        status: Option<u16>,
        from_upstream: impl FnOnce() -> bool,
    ) -> UpstreamOutcome {
        match status {
            None | Some(401 | 408 | 425 | 429 | 500..) => UpstreamOutcome::Failed,
            Some(200..=299) => UpstreamOutcome::Processed,
            Some(_) if from_upstream() => UpstreamOutcome::Processed,
            Some(_) => UpstreamOutcome::Failed,
        }
    }
}

/// A call that a store needs, and what goes on with its answer.
pub struct StoreCall {
    /// The request to send.
    pub http: HttpCall,
    /// What goes on with the response.
    pub pending: Box<dyn PendingCall>,
}

/// What goes on with the answer to a call.
pub trait PendingCall {
    /// Goes on with the answer.
    fn resume(self: Box<Self>, answer: Result<HttpResponse, CallError>, now: Timestamp)
    -> Progress;

    /// Ends the query: nobody waits for the answer any more.
    fn abandon(self: Box<Self>, now: Timestamp);
}

/// An HTTP request to a cluster of Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// The cluster.
    pub cluster: String,
    /// All headers, pseudo-headers included.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// After this time there is no response.
    pub timeout: Millis,
}

/// The response to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status; 0 if there is none that is a number.
    pub status: u16,
    /// The body, or `None` if it is longer than [`HttpResponse::MAX_BODY_BYTES`].
    pub body: Option<Vec<u8>>,
}

impl HttpResponse {
    /// The longest body that is read, in bytes. Those that stores send are shorter by far.
    pub const MAX_BODY_BYTES: usize = 4096;
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Envoy does not know the cluster, or could not send to it.
    NotSent,
    /// No response within the timeout, or the connection broke.
    NoResponse,
}

/// What has happened in a store, for metrics and log.
#[derive(Debug, Default)]
pub struct Report {
    /// By how much the number of stored nonces has grown.
    pub nonces: i64,
    /// How many nonces were released for a retry.
    pub released: u64,
    /// How many nonces were evicted before their time, to make room.
    pub evicted: u64,
    /// For how long the last of them had been stored.
    pub evicted_age: Millis,
    /// How many compare-and-swaps another worker made fail.
    pub conflicts: u64,
    /// How many settlements failed.
    pub errors: u64,
    /// How many calls failed.
    pub call_failures: u64,
    /// How many calls got the answer to another one, and were made once more.
    pub calls_misdelivered: u64,
    /// How many calls broke off, and were made once more.
    pub calls_retried: u64,
    /// By how much the number of open circuit breakers has grown.
    pub open_circuits: i64,
    /// How many requests were admitted or rejected locally, by their nonce and what is signed of
    /// them, because the store did not answer.
    pub fallbacks: u64,
    /// How many settlements were dropped untold.
    pub settlements_lost: u64,
    /// What an operator should know, in order.
    pub notices: Vec<Notice>,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How bad it is.
    pub level: NoticeLevel,
    /// What happened.
    pub text: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeLevel {
    /// All is well again.
    Info,
    /// Requests are affected.
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_failed_upstream_is_told_from_one_that_has_processed_the_request() {
        use UpstreamOutcome::{Failed, Processed};
        for (status, from_upstream, outcome) in [
            (200, true, Processed),
            (204, false, Processed),
            (101, true, Processed),
            (302, true, Processed),
            (400, true, Processed),
            (401, true, Failed),
            (404, true, Processed),
            (407, true, Processed),
            (408, true, Failed),
            (409, true, Processed),
            (424, true, Processed),
            (425, true, Failed),
            (426, true, Processed),
            (428, true, Processed),
            (429, true, Failed),
            (429, false, Failed),
            (431, true, Processed),
            (404, false, Failed),
            (500, true, Failed),
            (503, false, Failed),
            (599, true, Failed),
        ] {
            let judged = UpstreamOutcome::of_response(Some(status), || from_upstream);
            assert_eq!(judged, outcome, "{status}");
        }
        assert_eq!(
            UpstreamOutcome::of_response(None, || true),
            UpstreamOutcome::Failed
        );
    }
}
