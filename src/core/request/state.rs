//! The path of a request, from its headers to the verdict.
//!
//! ```text
//!            headers                      end of body
//!  arrive ──────────────▶ Held ─────────────────────────▶ Verdict
//!     │  0 which webhook        5 body within the limit
//!     │  1 early rate limits    6 a body that can be signed
//!     │  2 is there a key       7 signature
//!     │  3 signature header     8 account
//!     │  4 unsigned timestamp   9 signed timestamp
//!     │                        10 authenticated rate limits
//!     └─▶ Verdict              11 nonce: claimed here, and only here
//! ```
//!
//! Where nonces and limits live in Redis, the checks 1, 10 and 11 need its answer: the
//! request is then [`Asking`], and goes on from there.
//!
//! A state is a value that the next step consumes: a request that has its verdict
//! cannot be driven on. Whatever is in doubt refuses.

use std::rc::Rc;

use crate::core::clock::Moment;
use crate::core::config::settings::{
    Mode, OnDuplicate, ReplaySettings, TimestampSettings, WebhookSettings,
};
use crate::core::diagnosis::Suspect;
use crate::core::freshness::age;
use crate::core::refusal::Reason;
pub use crate::core::request::asking::Asking;
use crate::core::request::asking::{PendingClaim, Then};
use crate::core::request::client::Client;
pub use crate::core::request::filter::{Filter, Surroundings};
use crate::core::request::filter::{Route, Tables};
use crate::core::request::headers::{BodyInHandshake, Headers};
use crate::core::request::rules::{Authenticated, Due, Stage, Subject, unavailable};
use crate::core::request::sid::Sid;
use crate::core::request::underway::{Refused, Underway};
use crate::core::request::verdict::{Facts, Outcome, Refusal, Verdict};
use crate::core::signature::coverage::{Coverage, DeclaredBody};
use crate::core::signature::form::Form;
use crate::core::signature::key::{ClaimedMac, Nonce, sha256};
use crate::core::signature::url::Target;
use crate::core::signature::verify::{ACCOUNT_PARAMETER, Signed, Verified, verify};
use crate::core::table::nonces::{Change, Claim, Claimed};
use crate::core::table::store::SharedStore;

/// What a step of a request leads to.
pub enum Next {
    /// It is decided.
    Decided(Verdict),
    /// Its body has to be seen.
    Held(Held),
    /// Redis has to be asked.
    Asking(Box<Asking>),
}

/// A request whose headers have passed their checks and that is held for its body.
pub struct Held {
    underway: Underway,
    seen: Seen,
}

/// What is needed of the headers once the body is complete.
pub(super) struct Seen {
    claimed: ClaimedMac,
    settings_header: Option<Vec<u8>>,
    /// Path and query as they are signed.
    target: Vec<u8>,
    declared: DeclaredBody,
    websocket: bool,
}

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "x-twilio-signature";
/// The header that selects a shared key.
pub const SETTINGS_HEADER: &str = "x-twilio-webhooks-signature-settings";
/// Where an Envoy in front puts the path before it rewrites it.
pub const ORIGINAL_PATH_HEADER: &str = "x-envoy-original-path";

impl Filter {
    /// A request's headers have arrived: checks 0 to 4.
    pub fn arrive<S: SharedStore>(
        self: &Rc<Self>,
        headers: Headers<'_>,
        client: Client,
        around: Surroundings<'_, S>,
    ) -> Next {
        let mut facts = Facts::new(client);
        if self.settings.mode == Mode::Off {
            return Next::Decided(Verdict::new(Outcome::Unchecked, facts));
        }
        let received = headers.pseudo(":path");
        let webhook = match self.route(Target::new(received, false).path) {
            Route::Webhook(webhook) => webhook,
            Route::Exempt => return Next::Decided(Verdict::new(Outcome::Exempt, facts)),
            Route::Unknown => {
                let outcome = Outcome::Refused(Reason::UnknownWebhook.into());
                return Next::Decided(Verdict::new(outcome, facts));
            }
        };
        facts.webhook = Some(webhook);
        let underway = Underway {
            filter: Rc::clone(self),
            webhook,
            facts,
        };
        let (settings, tables) = match self.webhook(webhook) {
            Ok(found) => found,
            Err(internal) => return underway.refuse(internal.into(), None, around),
        };

        // 0: the method.
        let method = headers.pseudo(":method");
        let takes = |own: &String| own.as_bytes() == method;
        if !settings.methods.iter().any(takes) {
            return underway.refuse(Reason::MethodNotAllowed.into(), None, around);
        }

        // 1: rate limits that count every request. What Redis has to be asked for is asked
        // for first, and what follows is looked at meanwhile: the headers cannot be read later.
        let check = || self.check_headers(webhook, settings, headers, around.now);
        let subject = Subject {
            client: &underway.facts.client,
            webhook,
            authenticated: None,
        };
        let due = tables.rules.due(Stage::Headers, subject, self.hash_key);
        if self.redis.is_some() {
            let due: Vec<_> = due.collect();
            if !due.is_empty() {
                return underway.ask(due, Then::Headers(check()), around);
            }
        } else if let Err(refusal) = tables.rules.admit(due, around.store, around.now) {
            return underway.refuse(refusal.into(), None, around);
        }
        underway.after_headers(check(), around)
    }

    /// Checks 2 to 4.
    fn check_headers(
        &self,
        webhook: usize,
        settings: &WebhookSettings,
        headers: Headers<'_>,
        now: Moment,
    ) -> Result<Seen, Refused> {
        self.see(settings, headers, now).map_err(|reason| Refused {
            hint: self.hint_of_headers(reason, webhook, headers, now),
            ..Refused::from(reason)
        })
    }

    fn see(
        &self,
        settings: &WebhookSettings,
        headers: Headers<'_>,
        now: Moment,
    ) -> Result<Seen, Reason> {
        // 2: is there anything to verify with?
        if self.settings.keyring.is_empty() {
            return Err(Reason::NotConfigured);
        }

        // 3: exactly one signature, in its one spelling.
        let signature = headers.once(SIGNATURE_HEADER);
        let signature = signature.map_err(|_| Reason::MalformedSignature)?;
        let signature = signature.ok_or(Reason::MissingSignature)?;
        let claimed = ClaimedMac::parse(signature).ok_or(Reason::MalformedSignature)?;
        let settings_header = headers.once(SETTINGS_HEADER);
        let settings_header = settings_header.map_err(|_| Reason::MalformedSignature)?;

        // 4: an unsigned timestamp can only refuse.
        let timestamp = &settings.timestamp;
        if let Some(name) = &timestamp.header {
            let value = headers.once(name);
            let value = value.map_err(|_| Reason::MalformedTimestamp)?;
            if let Some(value) = value {
                timestamp.freshness.check(value, now)?;
            }
        }
        let websocket = headers.websocket();
        let websocket = websocket.map_err(|BodyInHandshake| Reason::MalformedBody)?;
        let received = headers.pseudo(":path");
        Ok(Seen {
            claimed,
            settings_header: settings_header.map(<[u8]>::to_vec),
            target: self.signed_target(headers, received).to_vec(),
            declared: DeclaredBody::new(
                headers.once("content-type"),
                headers.once("content-encoding"),
            ),
            websocket,
        })
    }

    /// Path and query as they were before a trusted Envoy in front rewrote them.
    fn signed_target<'a>(&self, headers: Headers<'a>, received: &'a [u8]) -> &'a [u8] {
        if !self.settings.trust_original_path {
            return received;
        }
        // Repeated, it is not what an Envoy in front has set: then the path counts,
        // and with a path that was rewritten no signature fits.
        match headers.once(ORIGINAL_PATH_HEADER) {
            Ok(Some(original)) => original,
            _ => received,
        }
    }
}

impl Underway {
    /// The limits that count every request have room.
    pub(super) fn after_headers<S: SharedStore>(
        self,
        checked: Result<Seen, Refused>,
        around: Surroundings<'_, S>,
    ) -> Next {
        match checked {
            Ok(seen) => Next::Held(Held {
                underway: self,
                seen,
            }),
            Err(refused) => self.refuse(refused, None, around),
        }
    }
}

impl Held {
    /// Whether the body has to be awaited. Envoy never says that the body of a
    /// WebSocket handshake has ended: it is decided by its headers.
    pub fn needs_body(&self) -> bool {
        !self.seen.websocket
    }

    /// Whether a body that has grown to this size can still be accepted. One that
    /// cannot is refused at once, not when it is complete.
    pub fn fits(&self, body_size: usize) -> bool {
        body_size <= self.underway.filter.settings.max_body_bytes
    }

    /// The body is too large: check 5, without its end.
    pub fn overflow<S: SharedStore>(self, around: Surroundings<'_, S>) -> Next {
        self.refuse(Reason::BodyTooLarge, around)
    }

    /// Something failed that never should; nothing passes on a doubt.
    pub fn fail<S: SharedStore>(self, around: Surroundings<'_, S>) -> Next {
        self.refuse(Reason::Internal, around)
    }

    fn refuse<S: SharedStore>(self, reason: Reason, around: Surroundings<'_, S>) -> Next {
        self.refuse_suspect(reason, None, around)
    }

    /// Refuses a request whose signature may be explained to the operator.
    fn refuse_suspect<S: SharedStore>(
        self,
        reason: Reason,
        form: Option<Form>,
        around: Surroundings<'_, S>,
    ) -> Next {
        let Held { underway, seen } = self;
        let suspect = Suspect::can_be_explained(reason).then(|| {
            Box::new(Suspect {
                reason,
                claimed: seen.claimed,
                target: seen.target,
                websocket: seen.websocket,
                form,
            })
        });
        let refused = Refused {
            suspect,
            ..Refused::from(reason)
        };
        underway.refuse(refused, None, around)
    }

    /// The request is complete: checks 5 to 11. `claim_id` is one that no other
    /// request has, in any worker.
    pub fn complete<S: SharedStore>(
        self,
        body: &[u8],
        claim_id: u64,
        around: Surroundings<'_, S>,
    ) -> Next {
        let seen = &self.seen;
        // 5
        if !self.fits(body.len()) {
            return self.overflow(around);
        }
        // 6
        let target = Target::new(&seen.target, seen.websocket);
        let coverage = Coverage::of(seen.declared, body, target.query.unwrap_or_default());
        let coverage = match coverage {
            Ok(coverage) => coverage,
            Err(reason) => return self.refuse(reason, around),
        };
        let form = (coverage == Coverage::Form).then(|| Form::parse(body));
        if form.as_ref().is_some_and(Form::signs_nothing) {
            // A body of nothing but `&` and `=` would pass under the signature of the URL
            // alone, in the place of the JSON that was signed with it.
            return self.refuse(Reason::UnsignedBody, around);
        }
        // 7
        let filter = Rc::clone(&self.underway.filter);
        let Ok((settings, tables)) = filter.webhook(self.underway.webhook) else {
            return self.refuse(Reason::Internal, around);
        };
        let signed = Signed {
            target,
            form: form.as_ref(),
            claimed: &seen.claimed,
            settings: seen.settings_header.as_deref(),
        };
        let found = verify(&filter.settings.keyring, &settings.public_url, signed);
        let Some(verified) = found else {
            return self.refuse_suspect(Reason::InvalidSignature, form, around);
        };
        if let Coverage::Hash(hash) = coverage
            && sha256(&[body]) != hash
        {
            return self.refuse(Reason::BodyHashMismatch, around);
        }
        let mut underway = self.underway;
        let nonce = verified.mac.nonce();
        underway.facts.key = Some(verified.key_place);
        underway.facts.nonce = Some(nonce);
        // From here on, account and parameters are known to be Twilio's.
        let query = verified.url.query_parameters();
        let authentic = Authentic {
            filter: &filter,
            settings,
            tables,
            form: form.as_ref(),
            query: &query,
            verified: &verified,
            nonce,
        };
        let authenticated = authentic.for_rules();
        underway.facts.account = Sid::new(authenticated.account);
        match authentic.check(around.now) {
            Ok(signed_until) => authentic.claim(underway, claim_id, signed_until, around),
            Err(reason) => {
                let refused = Refused {
                    hint: authentic.hint(reason, around.now).map(Into::into),
                    ..Refused::from(reason)
                };
                underway.refuse(refused, Some(authenticated), around)
            }
        }
    }
}

/// A request whose signature is right.
struct Authentic<'a> {
    filter: &'a Filter,
    settings: &'a WebhookSettings,
    tables: &'a Tables,
    form: Option<&'a Form>,
    query: &'a Form,
    verified: &'a Verified<'a>,
    nonce: Nonce,
}

impl<'a> Authentic<'a> {
    /// Checks 8 and 9. Answers until when its timestamp is fresh, if it has one.
    fn check(&self, now: Moment) -> Result<Option<Moment>, Reason> {
        // 8: whoever signs for one account does not speak for another.
        if let Some(account) = &self.verified.key.account {
            let mut named = self.values(ACCOUNT_PARAMETER);
            if named.any(|named| named != account.as_bytes()) {
                return Err(Reason::AccountMismatch);
            }
        }
        // 9: every signed timestamp is recent.
        self.check_timestamps(&self.settings.timestamp, now)
    }

    /// Checks 10 and 11.
    fn claim<S: SharedStore>(
        &self,
        mut underway: Underway,
        claim_id: u64,
        signed_until: Option<Moment>,
        around: Surroundings<'_, S>,
    ) -> Next {
        if self.filter.redis.is_some() {
            return self.claim_in_redis(underway, claim_id, signed_until, around);
        }
        match self.claim_here(&underway, claim_id, signed_until, around) {
            Ok((claim, change)) => {
                underway.facts.change = change;
                underway.accept(self.nonce, claim)
            }
            Err(refusal) => underway.refuse(refusal.into(), Some(self.for_rules()), around),
        }
    }

    /// Checks 10 and 11 in this Envoy's shared data.
    fn claim_here<S: SharedStore>(
        &self,
        underway: &Underway,
        claim_id: u64,
        signed_until: Option<Moment>,
        around: Surroundings<'_, S>,
    ) -> Result<(Option<Claim>, Change), Refusal> {
        let Surroundings { store, now } = around;
        let replay = self
            .tables
            .nonces
            .as_ref()
            .zip(self.settings.replay.as_ref());

        // 10: limits that count what Twilio signed. A known repeat is not counted:
        // whoever replays a request must not use up the limit of its account.
        let rules = &self.tables.rules;
        if rules.act_at(Stage::Authenticated) {
            if let Some((nonces, replay)) = replay
                && nonces.knows(store, self.nonce, now).map_err(unavailable)?
            {
                return Err(duplicate(replay));
            }
            rules.admit(self.due_late(underway), store, now)?;
        }

        // 11: never accepted before, and nobody else is accepting it just now.
        let Some((nonces, replay)) = replay else {
            return Ok((None, Change::default()));
        };
        let claimed = nonces.claim(store, self.nonce, claim_id, signed_until, now);
        match claimed.map_err(unavailable)? {
            Claimed::Yes(claim, change) => Ok((Some(claim), change)),
            Claimed::Duplicate => Err(duplicate(replay)),
            Claimed::Full => Err(Reason::StoreFull.into()),
            Claimed::Damaged => Err(Reason::StoreUnavailable.into()),
        }
    }

    /// Checks 10 and 11 in Redis, both in one question. The table in shared data stands
    /// in front: what it knows to be a repeat is not asked for.
    fn claim_in_redis<S: SharedStore>(
        &self,
        mut underway: Underway,
        claim_id: u64,
        signed_until: Option<Moment>,
        around: Surroundings<'_, S>,
    ) -> Next {
        let Surroundings { store, now } = around;
        let rules = &self.tables.rules;
        let due: Vec<Due> = self.due_late(&underway).collect();
        let mut pending = None;
        if let (Some(nonces), Some(replay)) = (&self.tables.nonces, &self.settings.replay) {
            let claim = nonces.prepare(self.nonce, claim_id, signed_until, now);
            let here = match nonces.enter(store, claim, now) {
                Ok(Claimed::Duplicate) => {
                    let refused = duplicate(replay).into();
                    return underway.refuse(refused, Some(self.for_rules()), around);
                }
                Ok(Claimed::Yes(_, change)) => {
                    underway.facts.change = change;
                    Ok(())
                }
                // What this Envoy has no room for, Redis may have.
                Ok(Claimed::Full) => Err(Reason::StoreFull),
                Ok(Claimed::Damaged) | Err(_) => Err(Reason::StoreUnavailable),
            };
            pending = Some(PendingClaim { claim, here });
        }
        if due.is_empty() && pending.is_none() {
            return underway.accept(self.nonce, None);
        }
        let refusals = Refusal::from(Reason::Duplicate);
        let subject = self.subject(&underway);
        let of_refusal = rules
            .due_for(&refusals, subject, self.filter.hash_key)
            .collect();
        let then = Then::Claimed {
            nonce: self.nonce,
            pending,
            of_refusal,
        };
        underway.ask(due, then, around)
    }

    fn subject<'s>(&'s self, underway: &'s Underway) -> Subject<'s> {
        Subject {
            client: &underway.facts.client,
            webhook: underway.webhook,
            authenticated: Some(self.for_rules()),
        }
    }

    fn due_late<'s>(&'s self, underway: &'s Underway) -> impl Iterator<Item = Due> + Clone + 's {
        let subject = self.subject(underway);
        let rules = &self.tables.rules;
        rules.due(Stage::Authenticated, subject, self.filter.hash_key)
    }

    /// Until when the youngest of the timestamps is fresh; `None` if there is none.
    fn check_timestamps(
        &self,
        settings: &TimestampSettings,
        now: Moment,
    ) -> Result<Option<Moment>, Reason> {
        let mut until = None;
        for name in &settings.params {
            for value in self.values(name.as_bytes()) {
                let moment = settings.freshness.check(value, now)?;
                until = until.max(Some(moment.after(settings.freshness.max_age)));
            }
        }
        if until.is_some() {
            self.filter.lateness.fresh();
        }
        if until.is_none() && settings.required {
            return Err(Reason::MissingTimestamp);
        }
        Ok(until)
    }

    /// What a refused request tells an operator, its signature being right.
    fn hint(&self, reason: Reason, now: Moment) -> Option<String> {
        if reason != Reason::StaleTimestamp {
            return None;
        }
        let mut oldest = None;
        for name in &self.settings.timestamp.params {
            for value in self.values(name.as_bytes()) {
                oldest = oldest.max(age(value, now));
            }
        }
        Some(self.filter.lateness.stale(oldest?))
    }

    fn for_rules(&self) -> Authenticated<'a> {
        let account = match &self.verified.key.account {
            Some(account) => account.as_bytes(),
            None => self.values(ACCOUNT_PARAMETER).next().unwrap_or_default(),
        };
        Authenticated {
            account,
            form: self.form,
            query: self.query,
        }
    }

    /// The values of a parameter, in the form and in the query that was signed.
    fn values(&self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let form = self.form.into_iter();
        form.flat_map(move |form| form.values(name))
            .chain(self.query.values(name))
    }
}

pub(super) fn duplicate(replay: &ReplaySettings) -> Refusal {
    Refusal {
        acknowledge: replay.on_duplicate == OnDuplicate::Acknowledge,
        ..Refusal::from(Reason::Duplicate)
    }
}

#[cfg(test)]
pub(crate) mod tests;
