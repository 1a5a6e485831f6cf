//! A request whose signature is right: checks 8 to 11.

use std::borrow::Cow;

use crate::cas_map::CasMap;
use crate::config::settings::{OnDuplicate, ReplaySettings, TimestampSettings, WebhookSettings};
use crate::pipeline::asking::{PendingClaim, Then};
use crate::pipeline::filter::{Filter, Surroundings, Tables};
use crate::pipeline::limits::{Authenticated, LimitCheck, Stage, Subject, unavailable};
use crate::pipeline::state::Next;
use crate::pipeline::underway::{InFlight, Rejected};
use crate::pipeline::verdict::Rejection;
use crate::reason::Reason;
use crate::request::account_sid::AccountSid;
use crate::request::timestamp::age;
use crate::signature::form::Form;
use crate::signature::key::Nonce;
use crate::signature::verify::{ACCOUNT_PARAMETER, Verified};
use crate::store::local::nonces::{Change, Claim, Claimed, NonceTable, PriorDelivery};
use crate::time::{Millis, Timestamp};

/// A request whose signature is right.
pub(super) struct VerifiedRequest<'a> {
    pub(super) filter: &'a Filter,
    pub(super) settings: &'a WebhookSettings,
    pub(super) tables: &'a Tables,
    pub(super) form: Option<&'a Form>,
    pub(super) query: &'a Form,
    pub(super) verified: &'a Verified<'a>,
    pub(super) nonce: Nonce,
    /// Whether it is a WebSocket handshake.
    pub(super) websocket: bool,
}

impl<'a> VerifiedRequest<'a> {
    /// Checks 8 to 11.
    pub(super) fn decide<S: CasMap>(
        &self,
        mut underway: InFlight,
        claim_id: u64,
        around: Surroundings<'_, S>,
    ) -> Next {
        let authenticated = self.for_rules();
        underway.facts.account = AccountSid::new(authenticated.account);
        match self.check(around.now) {
            Ok(signed_until) => self.claim(underway, claim_id, signed_until, around),
            Err(reason) => {
                let rejected = Rejected {
                    hint: self.hint(reason, around.now).map(Into::into),
                    ..Rejected::from(reason)
                };
                underway.reject(rejected, Some(authenticated), around)
            }
        }
    }

    /// Checks 8 and 9. Answers until when its timestamp is fresh, if it has one.
    fn check(&self, now: Timestamp) -> Result<Option<Timestamp>, Reason> {
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
    fn claim<S: CasMap>(
        &self,
        mut underway: InFlight,
        claim_id: u64,
        signed_until: Option<Timestamp>,
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
            Err(rejected) => underway.reject(rejected, Some(self.for_rules()), around),
        }
    }

    /// Where its nonce is to be claimed, if it is. That of a WebSocket handshake is not,
    /// unless that is asked for: its URL is all that is signed of it, and is the same for
    /// every call.
    fn replay(&self) -> Option<(&'a NonceTable, &'a ReplaySettings)> {
        let replay = self.settings.replay.as_ref()?;
        let nonces = self.tables.nonces.as_ref()?;
        (replay.handshakes || !self.websocket).then_some((nonces, replay))
    }

    /// Checks 10 and 11 in this Envoy's shared data.
    fn claim_here<S: CasMap>(
        &self,
        underway: &InFlight,
        claim_id: u64,
        signed_until: Option<Timestamp>,
        around: Surroundings<'_, S>,
    ) -> Result<(Option<Claim>, Change), Rejected> {
        let Surroundings { store, now } = around;
        let replay = self.replay();

        // 10: limits that count what Twilio signed. A known repeat is not counted:
        // whoever replays a request must not use up the limit of its account.
        let rules = &self.tables.rules;
        if rules.act_at(Stage::Authenticated) {
            if let Some((nonces, replay)) = replay
                && let Some(first) = nonces
                    .find_prior(store, self.nonce, now)
                    .map_err(unavailable)?
            {
                return Err(duplicate(replay, first));
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
            Claimed::Duplicate(first) => Err(duplicate(replay, first)),
            Claimed::Full => Err(Reason::StoreFull.into()),
            Claimed::Damaged => Err(Reason::StoreUnavailable.into()),
        }
    }

    /// Checks 10 and 11 in Redis, both in one question. The table in shared data stands
    /// in front: what it knows to be a repeat is not asked for.
    fn claim_in_redis<S: CasMap>(
        &self,
        mut underway: InFlight,
        claim_id: u64,
        signed_until: Option<Timestamp>,
        around: Surroundings<'_, S>,
    ) -> Next {
        let Surroundings { store, now } = around;
        let rules = &self.tables.rules;
        let due: Vec<LimitCheck> = self.due_late(&underway).collect();
        let mut pending = None;
        if let Some((nonces, replay)) = self.replay() {
            let claim = nonces.prepare(self.nonce, claim_id, signed_until, now);
            let here = match nonces.insert(store, claim, now) {
                Ok(Claimed::Duplicate(first)) => {
                    let rejected = duplicate(replay, first);
                    return underway.reject(rejected, Some(self.for_rules()), around);
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
        let rejections = Rejection::from(Reason::Duplicate);
        let subject = self.subject(&underway);
        let of_rejection = rules
            .due_for(&rejections, subject, self.filter.hash_key)
            .collect();
        let then = Then::Claimed {
            nonce: self.nonce,
            pending,
            of_rejection,
        };
        underway.ask(due, then, around)
    }

    fn subject<'s>(&'s self, underway: &'s InFlight) -> Subject<'s> {
        Subject {
            client: &underway.facts.client,
            webhook: underway.webhook,
            authenticated: Some(self.for_rules()),
        }
    }

    fn due_late<'s>(
        &'s self,
        underway: &'s InFlight,
    ) -> impl Iterator<Item = LimitCheck> + Clone + 's {
        let subject = self.subject(underway);
        let rules = &self.tables.rules;
        rules.due(Stage::Authenticated, subject, self.filter.hash_key)
    }

    /// Until when the youngest of the timestamps is fresh; `None` if there is none.
    fn check_timestamps(
        &self,
        settings: &TimestampSettings,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Reason> {
        let mut until = None;
        for name in &settings.params {
            for value in self.values(name.as_bytes()) {
                let moment = settings.freshness.check(value, now)?;
                until = until.max(Some(moment.after(settings.freshness.max_age)));
            }
        }
        if until.is_some() {
            self.filter.stale_streak.fresh();
        }
        if until.is_none() && settings.required {
            return Err(Reason::MissingTimestamp);
        }
        Ok(until)
    }

    /// What a rejected request tells an operator, its signature being right.
    fn hint(&self, reason: Reason, now: Timestamp) -> Option<String> {
        if reason != Reason::StaleTimestamp {
            return None;
        }
        let mut oldest = None;
        for name in &self.settings.timestamp.params {
            for value in self.values(name.as_bytes()) {
                oldest = oldest.max(age(value, now));
            }
        }
        Some(self.filter.stale_streak.stale(oldest?))
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

/// A repeat, by what is known of the first delivery.
///
/// Who acknowledges repeats says that the upstream has taken the request. While nobody
/// knows that, the sender is to ask again; were he told so and the first delivery then
/// failed, nobody would send it any more.
pub(super) fn duplicate(replay: &ReplaySettings, first: PriorDelivery) -> Rejected {
    let acknowledges = replay.on_duplicate == OnDuplicate::Acknowledge;
    let is_undecided = first == PriorDelivery::InFlight;
    let rejection = Rejection {
        acknowledge: acknowledges && matches!(first, PriorDelivery::Accepted(_)),
        retry_after: (acknowledges && is_undecided).then_some(UNTIL_DECIDED),
        ..Rejection::from(Reason::Duplicate)
    };
    Rejected {
        hint: Some(about(first)),
        ..Rejected::from(rejection)
    }
}

/// When a repeat of a request may be tried again that is on its way to the upstream.
const UNTIL_DECIDED: Millis = Millis::seconds(1);

/// What an operator should know who wonders about a 409.
fn about(first: PriorDelivery) -> Cow<'static, str> {
    match first {
        PriorDelivery::Accepted(age) => {
            let (number, unit) = match age.0 / 1000 {
                seconds @ ..120 => (seconds, "s"),
                seconds @ ..7200 => (seconds / 60, "minutes"),
                seconds => (seconds / 3600, "hours"),
            };
            format!(
                "the same request was accepted {number} {unit} ago; if Twilio repeats it on purpose \
                 (a <Redirect> to the same URL, a waitUrl), set replay: \"off\" for this webhook or \
                 give it a distinguishing parameter"
            )
            .into()
        }
        PriorDelivery::InFlight => {
            "the same request is still on its way to the upstream: an early retry, \
                            or a replay"
                .into()
        }
        PriorDelivery::NeverAnswered => {
            "the upstream has had the same request four times, and each time \
                                 its sender left before the answer: the upstream is too slow, or \
                                 it is a replay"
                .into()
        }
    }
}
