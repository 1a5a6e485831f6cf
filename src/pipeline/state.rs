//! The path of a request, from its headers to the verdict.
//!
//! ```text
//!            headers                      end of body
//!  arrive ──────────────▶ AwaitingBody ─────────────────────────▶ Verdict
//!     │  0 which webhook        5 body within the limit
//!     │  1 early rate limits    6 a body that can be signed
//!     │  2 is there a key       7 signature
//!     │  3 signature header     8 account
//!     │  4 unsigned timestamp   9 signed timestamp
//!     │                        10 authenticated rate limits
//!     └─▶ Verdict              11 nonce: claimed here, and only here
//! ```
//!
//! Checks 8 to 11, which look at what Twilio has signed, are in `authentic`.
//!
//! Where nonces and limits live in Redis, the checks 1, 10 and 11 need its answer: the
//! request is then [`Asking`], and goes on from there.
//!
//! A state is a value that the next step consumes: a request that has its verdict
//! cannot be driven on. Whatever is in doubt rejects.

use std::borrow::Cow;
use std::rc::Rc;

use crate::cas_map::CasMap;
use crate::config::settings::{Mode, WebhookSettings};
use crate::diagnosis::FailedSignature;
pub use crate::pipeline::asking::Asking;
use crate::pipeline::asking::Then;
use crate::pipeline::authentic::VerifiedRequest;
use crate::pipeline::filter::Route;
pub use crate::pipeline::filter::{Filter, Surroundings};
use crate::pipeline::limits::{Stage, Subject};
use crate::pipeline::underway::{InFlight, Rejected};
use crate::pipeline::verdict::{Outcome, Rejection, RequestRecord, ShownTarget, Verdict};
use crate::reason::Reason;
use crate::request::client_address::ClientAddress;
use crate::request::headers::{BodyInHandshake, Headers};
use crate::signature::coverage::{Coverage, DeclaredBody, Method, MethodKind};
use crate::signature::form::Form;
use crate::signature::key::{ClaimedMac, sha256};
use crate::signature::spelling::MalformedForm;
use crate::signature::url::{Behind, Target};
use crate::signature::verify::{Signed, Unverified, verify};
use crate::time::Timestamp;

/// What a step of a request leads to.
pub enum Next {
    /// It is decided.
    Decided(Verdict),
    /// Its body has to be seen.
    AwaitingBody(AwaitingBody),
    /// Redis has to be asked.
    Asking(Box<Asking>),
}

/// A request whose headers have passed their checks and that is held for its body.
pub struct AwaitingBody {
    underway: InFlight,
    seen: SignatureHeaders,
}

/// What is needed of the headers once the body is complete.
pub(super) struct SignatureHeaders {
    claimed: ClaimedMac,
    settings_header: Option<Vec<u8>>,
    /// Path and query as they are signed.
    target: Vec<u8>,
    method: MethodKind,
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
    pub fn arrive<S: CasMap>(
        self: &Rc<Self>,
        headers: Headers<'_>,
        client: ClientAddress,
        around: Surroundings<'_, S>,
    ) -> Next {
        let mut facts = RequestRecord::new(client);
        if self.settings.mode == Mode::Off {
            return Next::Decided(Verdict::new(Outcome::Unchecked, facts));
        }
        let received = headers.pseudo(":path");
        let method = headers.pseudo(":method");
        let path = Target::new(received, false).path;
        let longest = self.settings.max_target_bytes;
        let route = if path.len() > longest {
            Route::TooLong
        } else {
            self.route(path)
        };
        let webhook = match route {
            Route::Webhook(webhook) => webhook,
            Route::Exempt => return Next::Decided(Verdict::new(Outcome::Exempt, facts)),
            Route::Unknown | Route::TooLong => {
                let reason = if route == Route::Unknown {
                    facts.hint = self.near_miss(path).map(Into::into);
                    Reason::UnknownWebhook
                } else {
                    Reason::TargetTooLong
                };
                facts.target = Some(ShownTarget::new(method, path));
                let outcome = Outcome::Rejected(reason.into());
                return Next::Decided(Verdict::new(outcome, facts));
            }
        };
        facts.webhook = Some(webhook);
        let underway = InFlight {
            filter: Rc::clone(self),
            webhook,
            facts,
        };
        let (settings, tables) = match self.webhook(webhook) {
            Ok(found) => found,
            Err(internal) => return underway.reject(internal.into(), None, around),
        };

        // 0: the method, and how long path and query are.
        let takes = |own: &String| own.as_bytes() == method;
        let is_taken = settings.methods.iter().any(takes);
        if !is_taken || received.len() > longest {
            let mut underway = underway;
            underway.facts.target = Some(ShownTarget::new(method, path));
            let rejected = if is_taken {
                Rejected::from(Reason::TargetTooLong)
            } else {
                Rejected {
                    hint: hint_of_method(method, &settings.methods),
                    ..Rejected::from(Reason::MethodNotAllowed)
                }
            };
            return underway.reject(rejected, None, around);
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
        } else if let Err(rejection) = tables.rules.admit(due, around.store, around.now) {
            return underway.reject(rejection.into(), None, around);
        }
        underway.after_headers(check(), around)
    }

    /// Checks 2 to 4.
    fn check_headers(
        &self,
        webhook: usize,
        settings: &WebhookSettings,
        headers: Headers<'_>,
        now: Timestamp,
    ) -> Result<SignatureHeaders, Rejected> {
        self.see(settings, headers, now).map_err(|reason| Rejected {
            hint: self.hint_of_headers(reason, webhook, headers, now),
            ..Rejected::from(reason)
        })
    }

    fn see(
        &self,
        settings: &WebhookSettings,
        headers: Headers<'_>,
        now: Timestamp,
    ) -> Result<SignatureHeaders, Reason> {
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

        // 4: an unsigned timestamp can only reject.
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
        Ok(SignatureHeaders {
            claimed,
            settings_header: settings_header.map(<[u8]>::to_vec),
            target: self.signed_target(headers, received).to_vec(),
            method: MethodKind::of(headers.pseudo(":method")),
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

impl InFlight {
    /// The limits that count every request have room.
    pub(super) fn after_headers<S: CasMap>(
        self,
        checked: Result<SignatureHeaders, Rejected>,
        around: Surroundings<'_, S>,
    ) -> Next {
        match checked {
            Ok(seen) => Next::AwaitingBody(AwaitingBody {
                underway: self,
                seen,
            }),
            Err(rejected) => self.reject(rejected, None, around),
        }
    }
}

impl AwaitingBody {
    /// Whether the body has to be awaited. Envoy never says that the body of a
    /// WebSocket handshake has ended: it is decided by its headers.
    pub fn needs_body(&self) -> bool {
        !self.seen.websocket
    }

    /// Whether a body that has grown to this size can still be accepted. One that
    /// cannot is rejected at once, not when it is complete.
    pub fn fits(&self, body_size: usize) -> bool {
        body_size <= self.underway.filter.settings.max_body_bytes
    }

    /// The body is too large: check 5, without its end.
    pub fn overflow<S: CasMap>(self, around: Surroundings<'_, S>) -> Next {
        self.reject(Reason::BodyTooLarge, around)
    }

    /// Something failed that never should; nothing passes on a doubt.
    pub fn fail<S: CasMap>(self, around: Surroundings<'_, S>) -> Next {
        self.reject(Reason::Internal, around)
    }

    fn reject<S: CasMap>(self, reason: Reason, around: Surroundings<'_, S>) -> Next {
        self.reject_suspect(reason, None, around)
    }

    /// The form is spelled in a way that not every framework reads alike. Who writes a
    /// test client sees what it is from the answer.
    fn reject_malformed<S: CasMap>(
        self,
        malformed: MalformedForm,
        around: Surroundings<'_, S>,
    ) -> Next {
        let hint = malformed.to_string();
        let sentence = format!("The {}.", hint.strip_prefix("the ").unwrap_or(&hint));
        let rejected = Rejected {
            hint: Some(hint.into()),
            ..Rejected::from(Rejection {
                detail: Some(sentence.into()),
                ..Rejection::from(Reason::MalformedBody)
            })
        };
        self.underway.reject(rejected, None, around)
    }

    /// Text that belongs into one parameter is spread over several, or the other way round.
    fn reject_moved<S: CasMap>(self, around: Surroundings<'_, S>) -> Next {
        let rejected = Rejected {
            hint: Some(
                "an account's, message's or call's SID with its name before it stands inside of \
                 another parameter or the URL, as in no request of Twilio's: somebody has cut \
                 a signed request into other parameters"
                    .into(),
            ),
            ..Rejected::from(Reason::MalformedBody)
        };
        self.underway.reject(rejected, None, around)
    }

    /// Rejects a request whose signature may be explained to the operator.
    fn reject_suspect<S: CasMap>(
        self,
        reason: Reason,
        form: Option<Form>,
        around: Surroundings<'_, S>,
    ) -> Next {
        let AwaitingBody { underway, seen } = self;
        let failed_signature = FailedSignature::can_be_explained(reason).then(|| {
            Box::new(FailedSignature {
                reason,
                claimed: seen.claimed,
                settings: seen.settings_header,
                target: seen.target,
                websocket: seen.websocket,
                form,
            })
        });
        let rejected = Rejected {
            failed_signature,
            ..Rejected::from(reason)
        };
        underway.reject(rejected, None, around)
    }

    /// The request is complete: checks 5 to 11. `claim_id` is one that no other
    /// request has, in any worker.
    pub fn complete<S: CasMap>(
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
        let filter = Rc::clone(&self.underway.filter);
        let Ok((settings, tables)) = filter.webhook(self.underway.webhook) else {
            return self.reject(Reason::Internal, around);
        };
        let target = Target::new(&seen.target, seen.websocket);
        let method = Method {
            kind: seen.method,
            webhook_takes_bodies: settings.takes_bodies(),
        };
        let query = target.query.unwrap_or_default();
        let coverage = match Coverage::of(method, seen.declared, body, query) {
            Ok(coverage) => coverage,
            Err(reason) => return self.reject(reason, around),
        };
        let form = match coverage {
            Coverage::Form => match Form::read(body, settings.form, settings.max_parameters) {
                Ok(form) => Some(form),
                Err(malformed) => return self.reject_malformed(malformed, around),
            },
            _ => None,
        };
        if form.as_ref().is_some_and(Form::signs_nothing) {
            // A body of nothing but `&` and `=` would pass under the signature of the URL
            // alone, in the place of the JSON that was signed with it.
            return self.reject(Reason::UnsignedBody, around);
        }
        let target = target.with(match coverage {
            Coverage::Empty | Coverage::Missing => Behind::Nothing,
            Coverage::Form => Behind::Form,
            Coverage::Hash(_) => Behind::HashedBody,
        });
        if target.behind == Behind::HashedBody
            && settings.public_url.candidates(target).next().is_none()
        {
            // No URL that may have been signed ends in the hash.
            return self.reject(Reason::UnsignedBody, around);
        }
        // 7
        let signed = Signed {
            target,
            form: form.as_ref(),
            claimed: &seen.claimed,
            settings: seen.settings_header.as_deref(),
        };
        let found = verify(&filter.settings.keyring, &settings.public_url, signed);
        let verified = match found {
            Ok(verified) => verified,
            Err(Unverified::NoMatch) => {
                return self.reject_suspect(Reason::InvalidSignature, form, around);
            }
            Err(Unverified::MovedBoundary) => return self.reject_moved(around),
        };
        let is_signed_body = match coverage {
            Coverage::Empty | Coverage::Form => true,
            Coverage::Missing => false,
            Coverage::Hash(hash) => sha256(&[body]) == hash,
        };
        if !is_signed_body {
            return self.reject(Reason::BodyHashMismatch, around);
        }
        let last = &filter.verified;
        last.note(verified.key_index, verified.key, around.store, around.now);
        let mut underway = self.underway;
        let nonce = verified.mac.nonce();
        underway.facts.key = Some(verified.key_index);
        underway.facts.nonce = Some(nonce);
        // From here on, account and parameters are known to be Twilio's.
        let query = verified.url.query_parameters();
        let authentic = VerifiedRequest {
            filter: &filter,
            settings,
            tables,
            form: form.as_ref(),
            query: &query,
            verified: &verified,
            nonce,
            websocket: seen.websocket,
        };
        authentic.decide(underway, claim_id, around)
    }
}

/// Why Twilio may have come with another method than the webhook takes.
fn hint_of_method(method: &[u8], taken: &[String]) -> Option<Cow<'static, str>> {
    let takes = |name: &str| taken.iter().any(|own| own == name);
    match method {
        b"GET" if takes("POST") => Some(
            "a redirect in front of this Envoy, from http to https for instance, turns Twilio's POST \
             into a GET: enter the URL at Twilio to which it leads; or the webhook is set to GET \
             at Twilio: then add GET to methods"
                .into(),
        ),
        b"POST" if takes("GET") => Some(
            "the webhook is set to POST at Twilio: change it there, or add POST to methods".into(),
        ),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
