//! What the filter makes of a captured request, by the filter itself.

use std::cell::Cell;
use std::mem;
use std::rc::Rc;

use serde::Serialize;

use crate::cas_map::CasMap;
use crate::cas_map::memory::MemoryMap;
use crate::companion::advice;
use crate::companion::captured::{Captured, CapturedRequest, LogLine};
use crate::companion::mask::Shown;
use crate::companion::parts::{Part, Row, compare, parts};
use crate::config::load::load;
use crate::config::settings::{Mode, Settings};
use crate::pipeline::checks::signed_target;
use crate::pipeline::filter::Filter;
use crate::pipeline::step::Step;
use crate::pipeline::verdict::{Outcome, Verdict};
use crate::pipeline::webhook::Webhook;
use crate::reason::Reason;
use crate::request::client_address::ClientAddress;
use crate::request::headers::{Headers, SETTINGS_HEADER, SIGNATURE_HEADER};
use crate::signature::coverage::{Coverage, DeclaredBody, Method, MethodKind};
use crate::signature::form::Form;
use crate::signature::key::ClaimedMac;
use crate::signature::url::{Behind, Target};
use crate::signature::verify::{Signed, verify};
use crate::store::local::store::LocalStore;
use crate::store::port::HashKey;
use crate::time::{Millis, Timestamp};

/// What the filter makes of a captured request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether the filter lets it through.
    pub passes: bool,
    /// Whether it does so only because the mode is monitor. What follows is then what the filter
    /// logs, and what it would answer.
    pub monitored: bool,
    /// The verdict: `accepted`, `exempt`, `unchecked`, or the reason of the rejection.
    pub verdict: String,
    /// The status of the response.
    pub status: u16,
    /// The sentence of the response.
    pub message: String,
    /// The hint in the filter's log line, word for word.
    pub hint: Option<String>,
    /// What to do, by the documentation.
    pub advice: Option<String>,
    /// The method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The webhook, by its name in metrics and log.
    pub webhook: Option<String>,
    /// The account, once the signature is right.
    pub account_sid: Option<String>,
    /// The key that signed it.
    pub key: Option<String>,
    /// What had to be assumed, and what the filter would say besides.
    pub notes: Vec<String>,
    /// What was signed, part by part.
    pub signed: Vec<Row>,
}

impl Explanation {
    /// Returns whether it passes, and would in any mode.
    pub fn is_good(&self) -> bool {
        self.passes && !self.monitored
    }
}

/// The filter of a configuration, which explains requests in their order: one that repeats an
/// accepted one is a duplicate, as it is to Envoy.
pub struct Explainer {
    filter: Filter,
    /// The same without a bound on the age of timestamps, for requests that say not when they came.
    ageless: Filter,
    claims: Cell<u64>,
    warnings: Vec<String>,
}

impl Explainer {
    /// Returns the explainer of a configuration: the filter's JSON, and its environment.
    ///
    /// # Errors
    /// Every mistake in the configuration, in the loader's words.
    pub fn new(
        json: &[u8],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Explainer, String> {
        let load = || load(json, &environment).map_err(|problems| problems.to_string());
        let mut settings = load()?;
        let warnings = mem::take(&mut settings.warnings);
        let mut ageless = load()?;
        for webhook in &mut ageless.webhooks {
            let freshness = &mut webhook.timestamp.freshness;
            (freshness.max_age, freshness.clock_skew) = (FOR_EVER, FOR_EVER);
        }
        Ok(Explainer {
            filter: filter(settings)?,
            ageless: filter(ageless)?,
            claims: Cell::new(0),
            warnings,
        })
    }

    /// Returns the warnings of the loader.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Explains all that was captured, in its order. Lines of the log say for themselves what the
    /// filter said; where there is nothing else, no explainer is needed.
    pub fn explain_all(
        explainer: Option<&Explainer>,
        captured: &[Captured],
        now: Timestamp,
        shown: Shown,
    ) -> Vec<Explanation> {
        let each = captured.iter().filter_map(|one| match one {
            Captured::Request(request) => Some(explainer?.explain(request, now, shown)),
            Captured::LogLine(line) => Some(of_log_line(line)),
        });
        each.collect()
    }

    /// Explains a request that came when its capture says, or else now.
    pub fn explain(&self, request: &CapturedRequest, now: Timestamp, shown: Shown) -> Explanation {
        let headers = headers(request);
        let pairs: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), *value))
            .collect();
        let headers = Headers::new(&pairs);
        let at = request.at.unwrap_or(now);
        let mut notes = request.notes.clone();
        let mut verdict = self.verdict(&self.filter, headers, request, at);
        if request.at.is_none()
            && let Some(reason) = reason(&verdict)
            && matches!(reason, Reason::StaleTimestamp | Reason::FutureTimestamp)
        {
            let said = verdict.hint().unwrap_or(reason.sentence()).to_owned();
            notes.push(format!(
                "the capture does not say when the request came, so that its timestamp is not \
                 held against it; if it came now, the filter would answer {} {} ({said})",
                reason.status(),
                reason.name(),
            ));
            verdict = self.verdict(&self.ageless, headers, request, at);
        }
        self.describe(request, headers, &verdict, notes, shown)
    }

    /// Sends a request through a filter, as a host does.
    fn verdict(
        &self,
        filter: &Filter,
        headers: Headers<'_>,
        request: &CapturedRequest,
        at: Timestamp,
    ) -> Verdict {
        let client = request.client.as_deref().unwrap_or_default();
        let client = ClientAddress::from_source_address(client.as_bytes());
        let step = match filter.on_headers(headers, client, at) {
            Step::AwaitBody(awaiting) if !filter.fits(request.body.len()) => {
                filter.on_body_too_large(awaiting, at)
            }
            Step::AwaitBody(awaiting) => {
                // Envoy shows no body of a handshake.
                let body = match awaiting.needs_body() {
                    true => request.body.as_slice(),
                    false => b"",
                };
                let claim = self.claims.get() + 1;
                self.claims.set(claim);
                filter.on_body(awaiting, body, claim, at)
            }
            step => step,
        };
        match step {
            Step::Decided(mut verdict) => {
                // Envoy's filter makes two diagnoses a second; here nobody floods.
                filter.explain(&mut verdict, headers, &request.body, at);
                if let (Outcome::Accepted(accepted), Some(webhook)) =
                    (&verdict.outcome, &verdict.record.webhook)
                    && let Some(claim) = &accepted.claim
                {
                    // As if the upstream had answered 200.
                    let outcome = crate::store::port::UpstreamOutcome::Processed;
                    let _ = filter.store().settle(webhook.index, claim, outcome, at);
                }
                verdict
            }
            // The local store decides at once.
            Step::AwaitBody(_) | Step::AwaitStore(..) => Verdict {
                outcome: Outcome::Rejected(Reason::Internal.into()),
                record: crate::pipeline::verdict::RequestRecord::new(
                    ClientAddress::from_source_address(b""),
                ),
            },
        }
    }

    fn describe(
        &self,
        request: &CapturedRequest,
        headers: Headers<'_>,
        verdict: &Verdict,
        notes: Vec<String>,
        shown: Shown,
    ) -> Explanation {
        let record = &verdict.record;
        let (passes, status, message) = match &verdict.outcome {
            Outcome::Rejected(rejection) => {
                let sentence = rejection.detail.as_deref();
                let sentence = sentence.unwrap_or(rejection.reason.sentence());
                (false, rejection.status(), sentence)
            }
            Outcome::Accepted(_) => (true, 200, "The request passed every check."),
            Outcome::Exempt => (true, 200, "The path is exempt, and passes unchecked."),
            Outcome::Unchecked => (
                true,
                200,
                "The mode is off: every request passes unchecked.",
            ),
        };
        let monitored = !passes && self.filter.settings().mode == Mode::Monitor;
        let hint = verdict.hint().map(str::to_owned);
        let name = verdict.outcome.name();
        let advice = hint.as_deref().and_then(advice::for_hint);
        let key = record
            .key
            .and_then(|key| self.filter.settings().keyring.get(key));
        let webhook = record.webhook.as_deref();
        let (parts, own) = match webhook {
            Some(webhook) => self.signed_parts(webhook, headers, &request.body),
            None => (Vec::new(), None),
        };
        let found = match &verdict.outcome {
            Outcome::Rejected(rejection) => {
                let failed = rejection.failed_signature.as_ref();
                failed.and_then(|failed| failed.claimed.message())
            }
            _ => None,
        };
        Explanation {
            passes: passes || monitored,
            monitored,
            verdict: name.into(),
            status,
            message: message.into(),
            advice: advice.or_else(|| advice::for_verdict(name)),
            hint,
            method: request.method.clone(),
            path: String::from_utf8_lossy(request.path()).into_owned(),
            webhook: webhook.map(|webhook| webhook.settings.label.clone()),
            account_sid: record.account.as_ref().map(|sid| sid.as_str().to_owned()),
            key: key.map(|key| key.label.clone()),
            notes,
            signed: compare(&parts, found.or(own.as_deref()), shown),
        }
    }

    /// Returns the parts of what the filter signs for a request: with the form of the URL that its
    /// signature fits or, if none does, the first that is tried. And the string that fits.
    fn signed_parts(
        &self,
        webhook: &Webhook,
        headers: Headers<'_>,
        body: &[u8],
    ) -> (Vec<Part>, Option<Vec<u8>>) {
        let settings = self.filter.settings();
        let websocket = headers.websocket().unwrap_or(false);
        let target = signed_target(settings, headers);
        let target = Target::new(target, websocket);
        let declared = DeclaredBody::new(
            headers.once("content-type"),
            headers.once("content-encoding"),
        );
        let method = Method {
            kind: MethodKind::of(headers.pseudo(":method")),
            webhook_takes_bodies: webhook.settings.takes_bodies(),
        };
        let query = target.query.unwrap_or_default();
        let (behind, form) = match Coverage::of(method, declared, body, query) {
            Ok(Coverage::Form) => (Behind::Form, Some(Form::parse(body))),
            Ok(Coverage::Hash(_)) => (Behind::HashedBody, None),
            _ => (Behind::Nothing, None),
        };
        let public = &webhook.settings.public_url;
        let target = target.with(behind);
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut text = Vec::new();
            write(&mut text);
            text
        };
        let fits = headers.once(SIGNATURE_HEADER).ok().flatten();
        let fits = fits.and_then(ClaimedMac::parse).and_then(|claimed| {
            let signed = Signed {
                target,
                form: form.as_ref(),
                claimed: &claimed,
                settings: headers.once(SETTINGS_HEADER).ok().flatten(),
            };
            let verified = verify(&settings.keyring, public, signed).ok()?;
            Some(written(&|text| verified.url.write(text)))
        });
        let first = || {
            let target = match public.candidates(target).next() {
                Some(_) => target,
                None => target.with(Behind::Nothing),
            };
            let first = public.candidates(target).next();
            first.map(|url| written(&|text| url.write(text)))
        };
        let url = fits.clone().or_else(first).unwrap_or_default();
        let message = fits.map(|mut message| {
            if let Some(form) = &form {
                form.write_signed(&mut message);
            }
            message
        });
        (parts(&url, form.as_ref()), message)
    }
}

/// Longer than any timestamp is old.
const FOR_EVER: Millis = Millis(1 << 50);

fn reason(verdict: &Verdict) -> Option<Reason> {
    match &verdict.outcome {
        Outcome::Rejected(rejection) => Some(rejection.reason),
        _ => None,
    }
}

/// Returns a filter without rate limits, since those depend on what else came, and with its nonces
/// in this process.
fn filter(mut settings: Settings) -> Result<Filter, String> {
    for webhook in &mut settings.webhooks {
        webhook.rate_limits.clear();
    }
    let memory: Rc<dyn CasMap> = Rc::new(MemoryMap::new());
    let shared = Rc::clone(&memory);
    Filter::with_store(settings, memory, |tables, _| {
        let hash_key = HashKey::shared(&*shared, [0; 16]);
        let hash_key = hash_key.map_err(|error| format!("memory fails: {error:?}"))?;
        Ok::<_, String>(Box::new(LocalStore::new(tables, shared, hash_key)) as _)
    })
}

/// Returns the headers as Envoy shows them to the filter.
fn headers(request: &CapturedRequest) -> Vec<(&str, &[u8])> {
    let host = request.header("host").next().unwrap_or_default();
    let mut headers: Vec<(&str, &[u8])> = vec![
        (":authority", host),
        (":path", &request.target),
        (":method", request.method.as_bytes()),
        (":scheme", b"https"),
    ];
    let others = request.headers.iter().filter(|(name, _)| name != "host");
    headers.extend(others.map(|(name, value)| (name.as_str(), value.as_slice())));
    headers
}

/// Returns what a line of the filter's log says of a request that is not here.
fn of_log_line(line: &LogLine) -> Explanation {
    let by_hint = line.hint.as_deref().and_then(advice::for_hint);
    let note = "this is a line of the filter's log, which holds no request: what is said here is \
                what it says";
    Explanation {
        passes: line.verdict == "accepted",
        monitored: false,
        verdict: line.verdict.clone(),
        status: line.status,
        message: line.message.clone(),
        advice: by_hint.or_else(|| advice::for_verdict(&line.verdict)),
        hint: line.hint.clone(),
        method: line.method.clone().unwrap_or_default(),
        path: line.path.clone().unwrap_or_default(),
        webhook: line.webhook.clone(),
        account_sid: line.account_sid.clone(),
        key: line.key.clone(),
        notes: vec![note.into()],
        signed: Vec::new(),
    }
}
