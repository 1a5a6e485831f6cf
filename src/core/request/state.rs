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
//! A state is a value that the next step consumes: a request that has its verdict
//! cannot be driven on. Whatever is in doubt refuses.

use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::core::clock::Moment;
use crate::core::config::settings::{
    Mode, OnDuplicate, ReplaySettings, TimestampSettings, WebhookSettings,
};
use crate::core::diagnosis::Suspect;
use crate::core::freshness::age;
use crate::core::refusal::Reason;
use crate::core::request::client::Client;
pub use crate::core::request::filter::{Filter, Surroundings};
use crate::core::request::filter::{Route, Tables};
use crate::core::request::headers::{BodyInHandshake, Headers};
use crate::core::request::rules::{Authenticated, Stage, Subject, unavailable};
use crate::core::request::verdict::{Accepted, Facts, Outcome, Refusal, Verdict};
use crate::core::signature::coverage::{Coverage, DeclaredBody};
use crate::core::signature::form::Form;
use crate::core::signature::key::{ClaimedMac, Nonce};
use crate::core::signature::url::Target;
use crate::core::signature::verify::{ACCOUNT_PARAMETER, Signed, Verified, verify};
use crate::core::table::nonces::{Change, Claimed};
use crate::core::table::store::SharedStore;

/// What a request's headers lead to.
pub enum Arrival {
    /// It is decided already.
    Decided(Verdict),
    /// Its body has to be seen.
    Held(Held),
}

/// A request whose headers have passed their checks and that is held for its body.
pub struct Held {
    filter: Rc<Filter>,
    facts: Facts,
    webhook: usize,
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
    ) -> Arrival {
        let mut facts = Facts {
            client,
            webhook: None,
            key: None,
            account: None,
            nonce: None,
            hint: None,
            change: Change::default(),
        };
        if self.settings.mode == Mode::Off {
            let outcome = Outcome::Unchecked;
            return Arrival::Decided(Verdict::new(outcome, facts));
        }
        let received = headers.pseudo(":path");
        let webhook = match self.route(Target::new(received, false).path) {
            Route::Webhook(webhook) => webhook,
            Route::Exempt => {
                let outcome = Outcome::Exempt;
                return Arrival::Decided(Verdict::new(outcome, facts));
            }
            Route::Unknown => {
                let outcome = Outcome::Refused(Reason::UnknownWebhook.into());
                return Arrival::Decided(Verdict::new(outcome, facts));
            }
        };
        facts.webhook = Some(webhook);
        match self.check_headers(webhook, headers, &facts.client, around) {
            Ok(seen) => Arrival::Held(Held {
                filter: Rc::clone(self),
                facts,
                webhook,
                claimed: seen.claimed,
                settings_header: seen.settings_header.map(<[u8]>::to_vec),
                target: self.signed_target(headers, received).to_vec(),
                declared: DeclaredBody::new(
                    headers.once("content-type"),
                    headers.once("content-encoding"),
                ),
                websocket: seen.websocket,
            }),
            Err(refusal) => {
                let refusal = self.count_refusal(refusal, webhook, &facts.client, None, around);
                facts.hint = self.hint_of_headers(&refusal, webhook, headers, around.now);
                let outcome = Outcome::Refused(refusal);
                Arrival::Decided(Verdict::new(outcome, facts))
            }
        }
    }

    fn check_headers<'a, S: SharedStore>(
        &self,
        webhook: usize,
        headers: Headers<'a>,
        client: &Client,
        around: Surroundings<'_, S>,
    ) -> Result<SeenHeaders<'a>, Refusal> {
        let (settings, tables) = self.webhook(webhook)?;

        // 0: the method.
        let method = headers.pseudo(":method");
        let takes = |own: &String| own.as_bytes() == method;
        if !settings.methods.iter().any(takes) {
            return Err(Reason::MethodNotAllowed.into());
        }

        // 1: rate limits that count every request.
        let subject = Subject {
            client,
            webhook,
            authenticated: None,
        };
        let Surroundings { store, now } = around;
        tables
            .rules
            .admit(Stage::Headers, subject, self.hash_key, store, now)?;

        // 2: is there anything to verify with?
        if self.settings.keyring.is_empty() {
            return Err(Reason::NotConfigured.into());
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
        Ok(SeenHeaders {
            claimed,
            settings_header,
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

struct SeenHeaders<'a> {
    claimed: ClaimedMac,
    settings_header: Option<&'a [u8]>,
    websocket: bool,
}

impl Held {
    /// Whether the body has to be awaited. Envoy never says that the body of a
    /// WebSocket handshake has ended: it is decided by its headers.
    pub fn needs_body(&self) -> bool {
        !self.websocket
    }

    /// Whether a body that has grown to this size can still be accepted. One that
    /// cannot is refused at once, not when it is complete.
    pub fn fits(&self, body_size: usize) -> bool {
        body_size <= self.filter.settings.max_body_bytes
    }

    /// The body is too large: check 5, without its end.
    pub fn overflow<S: SharedStore>(self, around: Surroundings<'_, S>) -> Verdict {
        self.refuse(Reason::BodyTooLarge, around)
    }

    /// Something failed that never should; nothing passes on a doubt.
    pub fn fail<S: SharedStore>(self, around: Surroundings<'_, S>) -> Verdict {
        self.refuse(Reason::Internal, around)
    }

    fn refuse<S: SharedStore>(self, reason: Reason, around: Surroundings<'_, S>) -> Verdict {
        self.refuse_suspect(reason, None, around)
    }

    /// Refuses a request whose signature may be explained to the operator.
    fn refuse_suspect<S: SharedStore>(
        self,
        reason: Reason,
        form: Option<Form>,
        around: Surroundings<'_, S>,
    ) -> Verdict {
        let Held {
            filter,
            facts,
            webhook,
            claimed,
            target,
            websocket,
            ..
        } = self;
        let refusal = filter.count_refusal(reason.into(), webhook, &facts.client, None, around);
        let can_be_explained = refusal.reason == reason && Suspect::can_be_explained(reason);
        let suspect = can_be_explained.then(|| {
            Box::new(Suspect {
                reason,
                claimed,
                target,
                websocket,
                form,
            })
        });
        Verdict {
            suspect,
            ..Verdict::new(Outcome::Refused(refusal), facts)
        }
    }

    /// The request is complete: checks 5 to 11. `claim_id` is one that no other
    /// request has, in any worker.
    pub fn complete<S: SharedStore>(
        mut self,
        body: &[u8],
        claim_id: u64,
        around: Surroundings<'_, S>,
    ) -> Verdict {
        // 5
        if !self.fits(body.len()) {
            return self.overflow(around);
        }
        // 6
        let target = Target::new(&self.target, self.websocket);
        let coverage = Coverage::of(self.declared, body, target.query.unwrap_or_default());
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
        let filter = Rc::clone(&self.filter);
        let Ok((settings, tables)) = filter.webhook(self.webhook) else {
            return self.refuse(Reason::Internal, around);
        };
        let signed = Signed {
            target,
            form: form.as_ref(),
            claimed: &self.claimed,
            settings: self.settings_header.as_deref(),
        };
        let found = verify(&filter.settings.keyring, &settings.public_url, signed);
        let Some(verified) = found else {
            return self.refuse_suspect(Reason::InvalidSignature, form, around);
        };
        if let Coverage::Hash(hash) = coverage
            && Sha256::digest(body).as_slice() != hash
        {
            return self.refuse(Reason::BodyHashMismatch, around);
        }
        let nonce = verified.mac.nonce();
        self.facts.key = Some(verified.key_place);
        self.facts.nonce = Some(nonce);
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
        self.facts.account = sid(authenticated.account);
        match authentic.check(self.webhook, &self.facts.client, claim_id, around) {
            Ok((accepted, change)) => {
                self.facts.change = change;
                Verdict::new(Outcome::Accepted(accepted), self.facts)
            }
            Err(refusal) => {
                let refusal = filter.count_refusal(
                    refusal,
                    self.webhook,
                    &self.facts.client,
                    Some(authenticated),
                    around,
                );
                self.facts.hint = authentic.hint(&refusal, around.now);
                Verdict::new(Outcome::Refused(refusal), self.facts)
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
    /// Checks 8 to 11.
    fn check<S: SharedStore>(
        &self,
        webhook: usize,
        client: &Client,
        claim_id: u64,
        around: Surroundings<'_, S>,
    ) -> Result<(Accepted, Change), Refusal> {
        let Surroundings { store, now } = around;

        // 8: whoever signs for one account does not speak for another.
        if let Some(account) = &self.verified.key.account {
            let mut named = self.values(ACCOUNT_PARAMETER);
            if named.any(|named| named != account.as_bytes()) {
                return Err(Reason::AccountMismatch.into());
            }
        }

        // 9: every signed timestamp is recent.
        let signed_until = self.check_timestamps(&self.settings.timestamp, now)?;

        // 10: limits that count what Twilio signed. A known repeat is not counted:
        // whoever replays a request must not use up the limit of its account.
        let rules = &self.tables.rules;
        if rules.act_at(Stage::Authenticated) {
            if let (Some(nonces), Some(replay)) = (&self.tables.nonces, &self.settings.replay)
                && nonces.knows(store, self.nonce, now).map_err(unavailable)?
            {
                return Err(duplicate(replay));
            }
            let subject = Subject {
                client,
                webhook,
                authenticated: Some(self.for_rules()),
            };
            let hash_key = self.filter.hash_key;
            rules.admit(Stage::Authenticated, subject, hash_key, store, now)?;
        }

        // 11: never accepted before, and nobody else is accepting it just now.
        let accepted = |claim| Accepted {
            nonce: self.nonce,
            claim,
        };
        let (Some(nonces), Some(replay)) = (&self.tables.nonces, &self.settings.replay) else {
            return Ok((accepted(None), Change::default()));
        };
        let claimed = nonces.claim(store, self.nonce, claim_id, signed_until, now);
        match claimed.map_err(unavailable)? {
            Claimed::Yes(claim, change) => Ok((accepted(Some(claim)), change)),
            Claimed::Duplicate => Err(duplicate(replay)),
            Claimed::Full => Err(Reason::StoreFull.into()),
            Claimed::Damaged => Err(Reason::StoreUnavailable.into()),
        }
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
    fn hint(&self, refusal: &Refusal, now: Moment) -> Option<String> {
        if refusal.reason != Reason::StaleTimestamp {
            return None;
        }
        let names = self.settings.timestamp.params.iter();
        let values = names.flat_map(|name| self.values(name.as_bytes()));
        let oldest = values.filter_map(|value| age(value, now)).max()?;
        Some(self.filter.lateness.stale(oldest))
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

/// An account as it may stand in a header and in the log: a SID, and nothing that a
/// parameter could be made to hold.
fn sid(account: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(account).ok()?;
    let is_sid =
        (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_sid.then(|| text.to_owned())
}

fn duplicate(replay: &ReplaySettings) -> Refusal {
    Refusal {
        acknowledge: replay.on_duplicate == OnDuplicate::Acknowledge,
        ..Refusal::from(Reason::Duplicate)
    }
}

#[cfg(test)]
pub(crate) mod tests;
