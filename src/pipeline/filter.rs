//! The path of a request, from its headers to the verdict.
//!
//! ```text
//!          headers                                body is complete
//! on_headers ─────────────▶ AwaitingBody ─────────────────────────▶ verdict
//!     │ 0 which webhook          5 body within the limit
//!     │ 1 early rate limits ┄┄┄▶ 6 a body that can be signed
//!     │ 2 is there a key         7 signature
//!     │ 3 signature header       8 account
//!     │ 4 unsigned timestamp     9 signed timestamp
//!     │                         10 authenticated rate limits
//!     └─▶ verdict               11 nonce: claimed here, and only here
//! ```
//!
//! The checks 1, 10 and 11 and the counting of rejections ask the store, which may answer
//! later: the request is then [`AwaitingStore`], and goes on in [`Filter::on_answer`].
//! A store may defer check 1 to its next question, so that it is asked once. What it says
//! then is the same: an early limit that is used up is the answer, whatever else was found.
//! Any doubt rejects the request.

use std::mem;
use std::rc::Rc;

use crate::cas_map::{CasError, CasMap};
use crate::config::settings::{Mode, Settings};
use crate::diagnosis::{Budget, LastVerified, StaleStreak, hint_of_age};
use crate::pipeline::checks::{
    SignatureHeaders, VerifiedRequest, check_target, parse_signature_headers, read_content,
    verify_signature,
};
use crate::pipeline::hints;
use crate::pipeline::limits::{Authenticated, Stage};
use crate::pipeline::rejection::Rejection;
use crate::pipeline::routes::{Route, near_miss, route};
use crate::pipeline::step::{AwaitingBody, AwaitingStore, Continuation, InFlight, Step};
use crate::pipeline::verdict::{Outcome, RequestRecord, ShownTarget};
use crate::pipeline::webhook::Webhook;
use crate::reason::Reason;
use crate::request::account_sid::AccountSid;
use crate::request::client_address::ClientAddress;
use crate::request::headers::Headers;
use crate::request::path::path_of;
use crate::request::timestamp::age;
use crate::signature::keyring::Keyring;
use crate::store;
use crate::store::port::{
    CallError, ClaimRequest, HashKey, HttpResponse, LimitCheck, Store, Tables,
};
use crate::time::Timestamp;

/// One configuration at work in one worker.
pub struct Filter {
    pub(super) settings: Settings,
    webhooks: Vec<Rc<Webhook>>,
    store: Box<dyn Store>,
    hash_key: HashKey,
    stale_streak: StaleStreak,
    pub(super) verified: LastVerified,
    pub(super) diagnoses: Budget,
}

impl Filter {
    /// Returns the filter of a configuration. `memory` is what all workers share, and
    /// `random` are bytes that no client knows.
    ///
    /// # Errors
    /// Those of `memory`.
    pub fn new(
        mut settings: Settings,
        memory: Rc<dyn CasMap>,
        random: [u8; 16],
    ) -> Result<Filter, CasError> {
        let kind = mem::take(&mut settings.store);
        let shared = Rc::clone(&memory);
        Filter::with_store(settings, memory, |tables, keyring| {
            store::open(kind, tables, shared, random, |label| keyring.derive(label))
        })
    }

    /// Returns the filter of a configuration, with another store than the configured one.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn with_store<E>(
        mut settings: Settings,
        memory: Rc<dyn CasMap>,
        open: impl FnOnce(&[Tables], &Keyring) -> Result<Box<dyn Store>, E>,
    ) -> Result<Filter, E> {
        let webhooks = mem::take(&mut settings.webhooks).into_iter().enumerate();
        let webhooks = webhooks.map(|(index, own)| Rc::new(Webhook::new(index, own)));
        let webhooks: Vec<_> = webhooks.collect();
        let capacity = settings.rate_limit_capacity;
        let tables: Vec<_> = webhooks.iter().map(|own| own.tables(capacity)).collect();
        let store = open(&tables, &settings.keyring)?;
        Ok(Filter {
            hash_key: store.hash_key(),
            verified: LastVerified::new(&settings.keyring, memory),
            stale_streak: StaleStreak::default(),
            diagnoses: Budget::default(),
            settings,
            webhooks,
            store,
        })
    }

    /// Returns the configuration, its webhooks aside.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the webhooks of the configuration, in their order.
    pub fn webhooks(&self) -> &[Rc<Webhook>] {
        &self.webhooks
    }

    /// Returns the store.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Makes the checks 0 to 4: a request's headers have arrived.
    pub fn on_headers(&self, headers: Headers<'_>, client: ClientAddress, now: Timestamp) -> Step {
        let mut record = RequestRecord::new(client);
        if self.settings.mode == Mode::Off {
            return Step::decided(Outcome::Unchecked, record);
        }

        // 0: which webhook. Without one, nothing is counted.
        let path = path_of(headers.pseudo(":path"));
        let shown = || ShownTarget::new(headers.pseudo(":method"), path);
        let webhook = match route(&self.settings, &self.webhooks, path) {
            Route::Webhook(webhook) => webhook,
            Route::Exempt => return Step::decided(Outcome::Exempt, record),
            Route::Rejected(reason) => {
                record.target = Some(shown());
                let is_unknown = reason == Reason::UnknownWebhook;
                let hint = is_unknown.then(|| near_miss(&self.webhooks, path));
                let rejection = Rejection::from(reason).with_hint(hint.flatten());
                return Step::decided(Outcome::Rejected(rejection), record);
            }
        };
        record.webhook = Some(Rc::clone(&webhook));
        let mut request = InFlight {
            webhook,
            record,
            deferred: Vec::new(),
        };
        if let Err(rejection) = check_target(&self.settings, &request.webhook.settings, headers) {
            request.record.target = Some(shown());
            return self.reject(request, rejection, None, now);
        }

        // 1: limits that count every request. What follows is looked at before the store
        // answers a call: the headers cannot be read any more then.
        let limits = self.limits_at(Stage::Headers, &request, None);
        let query = request.query(limits, None);
        match request.progress(self.store.admit_early(query, now)) {
            Ok(decision) => match request.admitted(decision) {
                Ok(_) => {
                    let parsed = self.parse_headers(&request.webhook, headers, now);
                    self.after_early_limits(request, parsed, now)
                }
                Err(rejection) => self.reject(request, rejection, None, now),
            },
            Err(call) => {
                let parsed = self.parse_headers(&request.webhook, headers, now);
                request.await_store(call, Continuation::Headers(parsed))
            }
        }
    }

    /// 2 to 4: a key, one signature, an unsigned timestamp that is recent.
    fn parse_headers(
        &self,
        webhook: &Webhook,
        headers: Headers<'_>,
        now: Timestamp,
    ) -> Result<SignatureHeaders, Rejection> {
        let settings = &webhook.settings;
        parse_signature_headers(&self.settings, settings, headers, now).map_err(|reason| {
            let rejection = Rejection::from(reason);
            match reason {
                Reason::MissingSignature => {
                    rejection.with_hint(Some(hints::of_missing_signature(headers)))
                }
                Reason::MalformedSignature => {
                    rejection.with_hint(hints::of_malformed_signature(headers))
                }
                Reason::StaleTimestamp => {
                    let name = settings.timestamp.header.as_ref();
                    let value = name.and_then(|name| headers.once(name).ok().flatten());
                    let age = value.and_then(|value| age(value, now));
                    rejection.with_hint(age.map(hint_of_age))
                }
                _ => rejection,
            }
        })
    }

    fn after_early_limits(
        &self,
        request: InFlight,
        parsed: Result<SignatureHeaders, Rejection>,
        now: Timestamp,
    ) -> Step {
        match parsed {
            Ok(headers) => Step::AwaitBody(AwaitingBody { request, headers }),
            Err(rejection) => self.reject(request, rejection, None, now),
        }
    }

    /// Returns whether a body that has grown to this size, in bytes, can still be accepted.
    /// One that cannot is rejected at once, not when it is complete.
    pub fn fits(&self, body_size: usize) -> bool {
        body_size <= self.settings.max_body_bytes
    }

    /// Rejects a request whose body has grown too large: check 5, without its end.
    pub fn on_body_too_large(&self, awaiting: AwaitingBody, now: Timestamp) -> Step {
        self.reject(awaiting.request, Reason::BodyTooLarge.into(), None, now)
    }

    /// Ends a request whose client has left before its body was complete. Limits that count
    /// every request count this one, too.
    pub fn on_client_gone(&self, mut awaiting: AwaitingBody) {
        if !awaiting.request.deferred.is_empty() {
            let query = awaiting.request.query(Vec::new(), None);
            self.store.count_gone(query);
        }
    }

    /// Rejects a request, since something failed that never should.
    pub fn on_internal_error(&self, awaiting: AwaitingBody, now: Timestamp) -> Step {
        self.reject(awaiting.request, Reason::Internal.into(), None, now)
    }

    /// Makes the checks 5 to 11: a request is complete. `claim_id` is one that no other
    /// request has, in any worker.
    pub fn on_body(
        &self,
        awaiting: AwaitingBody,
        body: &[u8],
        claim_id: u64,
        now: Timestamp,
    ) -> Step {
        // 5
        if !self.fits(body.len()) {
            return self.on_body_too_large(awaiting, now);
        }
        let AwaitingBody {
            mut request,
            headers,
        } = awaiting;
        let webhook = Rc::clone(&request.webhook);
        let settings = &webhook.settings;

        // 6 and 7
        let verified = read_content(settings, &headers, body).and_then(|content| {
            verify_signature(&self.settings, settings, &headers, content, body)
        });
        let verified = match verified {
            Ok(verified) => verified,
            Err(problem) => {
                return self.reject(request, problem.into_rejection(headers), None, now);
            }
        };

        // From here on, what the request says is Twilio's word.
        let authenticated = verified.authenticated();
        self.verified.note(verified.key_index, now);
        request.record.key = Some(verified.key_index);
        request.record.nonce = Some(verified.nonce);
        request.record.account = AccountSid::new(authenticated.account);

        // 8 and 9
        let signed_until = match self.check_signed(&verified, &webhook, now) {
            Ok(signed_until) => signed_until,
            Err(rejection) => return self.reject(request, rejection, Some(authenticated), now),
        };

        // 10 and 11: the limits that count what is signed, and the nonce. A WebSocket handshake
        // claims nothing unless that is asked for: its URL is all that is signed of it, and is
        // the same for every call.
        let limits = self.limits_at(Stage::Authenticated, &request, Some(authenticated));
        let replay = settings.replay.as_ref();
        let claims = replay.is_some_and(|replay| replay.handshakes || !headers.websocket);
        let nonce = verified.nonce;
        let claim = claims.then_some(ClaimRequest {
            nonce,
            id: claim_id,
            signed_until,
        });
        let query = request.query(limits, claim);
        match request.progress(self.store.admit(query, now)) {
            Ok(decision) => match request.admitted(decision) {
                Ok(claim) => request.accept(nonce, claim),
                Err(rejection) => self.reject(request, rejection, Some(authenticated), now),
            },
            Err(call) => {
                // What limits count by is not there any more when the store answers.
                let duplicate = Reason::Duplicate.into();
                let if_duplicate = self.limits_of(&duplicate, &request, Some(authenticated));
                let continuation = Continuation::Claim {
                    nonce,
                    if_duplicate,
                };
                request.await_store(call, continuation)
            }
        }
    }

    /// 8 and 9: the key may sign for the account, and every signed timestamp is recent.
    /// Returns until when the youngest timestamp is.
    fn check_signed(
        &self,
        verified: &VerifiedRequest<'_>,
        webhook: &Webhook,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Rejection> {
        verified.check_account()?;
        let settings = &webhook.settings.timestamp;
        let signed_until = verified.check_timestamps(settings, now).map_err(|reason| {
            let is_stale = reason == Reason::StaleTimestamp;
            let hint = is_stale.then(|| self.hint_of_stale(verified.timestamps(settings), now));
            Rejection::from(reason).with_hint(hint.flatten())
        })?;
        if signed_until.is_some() {
            self.stale_streak.fresh();
        }
        Ok(signed_until)
    }

    /// Goes on with the answer to the store's call.
    pub fn on_answer(
        &self,
        awaiting: AwaitingStore,
        answer: Result<HttpResponse, CallError>,
        now: Timestamp,
    ) -> Step {
        let AwaitingStore {
            mut request,
            pending,
            continuation,
        } = awaiting;
        let decision = match request.progress(pending.resume(answer, now)) {
            Ok(decision) => decision,
            Err(call) => return request.await_store(call, continuation),
        };
        match continuation {
            Continuation::Headers(parsed) => match request.admitted(decision) {
                Ok(_) => self.after_early_limits(request, parsed, now),
                Err(rejection) => self.reject(request, rejection, None, now),
            },
            Continuation::Claim {
                nonce,
                if_duplicate,
            } => match request.admitted(decision) {
                Ok(claim) => request.accept(nonce, claim),
                Err(rejection) => self.reject_by(request, if_duplicate, rejection, now),
            },
            Continuation::Rejection {
                rejection,
                with_early,
            } => request.after_counting(decision, rejection, with_early),
        }
    }

    /// Rejects a request, and counts that by the limits that count rejections. What those may
    /// count by, besides the client, is `authenticated`.
    fn reject(
        &self,
        request: InFlight,
        rejection: Rejection,
        authenticated: Option<Authenticated<'_>>,
        now: Timestamp,
    ) -> Step {
        let limits = self.limits_of(&rejection, &request, authenticated);
        self.reject_by(request, limits, rejection, now)
    }

    /// Rejects a request that these limits count. Deferred limits are asked for also where
    /// nothing counts the rejection: they count every request.
    fn reject_by(
        &self,
        mut request: InFlight,
        mut limits: Vec<LimitCheck>,
        rejection: Rejection,
        now: Timestamp,
    ) -> Step {
        if !rejection.is_counted() {
            limits.clear();
        }
        let with_early = !request.deferred.is_empty();
        if limits.is_empty() && !with_early {
            return request.end(rejection);
        }
        let query = request.query(limits, None);
        match request.progress(self.store.admit(query, now)) {
            Ok(decision) => request.after_counting(decision, rejection, with_early),
            Err(call) => {
                let continuation = Continuation::Rejection {
                    rejection,
                    with_early,
                };
                request.await_store(call, continuation)
            }
        }
    }

    fn limits_at(
        &self,
        stage: Stage,
        request: &InFlight,
        authenticated: Option<Authenticated<'_>>,
    ) -> Vec<LimitCheck> {
        let subject = request.subject(authenticated);
        request
            .webhook
            .limits
            .matching(stage, subject, self.hash_key)
    }

    fn limits_of(
        &self,
        rejection: &Rejection,
        request: &InFlight,
        authenticated: Option<Authenticated<'_>>,
    ) -> Vec<LimitCheck> {
        let subject = request.subject(authenticated);
        let limits = &request.webhook.limits;
        limits.matching_rejection(rejection, subject, self.hash_key)
    }

    /// Returns how old the oldest of these signed timestamps is, and whether all lately were.
    fn hint_of_stale<'a>(
        &self,
        timestamps: impl IntoIterator<Item = &'a [u8]>,
        now: Timestamp,
    ) -> Option<String> {
        let ages = timestamps.into_iter().filter_map(|value| age(value, now));
        Some(self.stale_streak.stale(ages.max()?))
    }
}
