//! Log lines: one JSON object each, so that nothing in it can look like another line.
//!
//! Never the body, a phone number, a token or a signature.

use std::cell::Cell;

use serde::Serialize;

use crate::config::settings::{LogSettings, Settings};
use crate::host::wasm::abi::{self as host, Level};
use crate::pipeline::verdict::{Outcome, RequestRecord};
use crate::request::account_sid::AccountSid;
use crate::time::{Millis, Timestamp};

/// The log of one worker, bounded in lines a second.
pub(super) struct Log {
    settings: LogSettings,
    second: Cell<Timestamp>,
    /// Lines of this second. Those of accepted requests have a budget of their own: a flood
    /// of forged ones must not hide them.
    of_accepted: Cell<u32>,
    of_others: Cell<u32>,
    suppressed: Cell<u64>,
}

/// One request's line.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    verdict: &'static str,
    status: u16,
    message: &'static str,
    request_id: &'a str,
    client_ip: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    webhook: Option<&'a str>,
    account_sid: Option<&'a str>,
    key: Option<&'a str>,
    nonce: Option<&'a str>,
    hint: Option<&'a str>,
}

/// A line that is about no verdict.
#[derive(Serialize)]
struct Note<'a> {
    event: &'static str,
    message: &'static str,
    request_id: &'a str,
}

/// Says how many lines were left out.
#[derive(Serialize)]
struct Suppressed {
    event: &'static str,
    suppressed: u64,
}

const EVENT: &str = "twilio_webhook";

impl Log {
    /// A log that has written nothing yet.
    pub(super) fn new(settings: LogSettings) -> Log {
        Log {
            settings,
            second: Cell::new(Timestamp(0)),
            of_accepted: Cell::new(0),
            of_others: Cell::new(0),
            suppressed: Cell::new(0),
        }
    }

    /// Whether a verdict is logged at all.
    pub(super) fn wants(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Rejected(_) => true,
            Outcome::Accepted(_) => self.settings.accepted,
            Outcome::Exempt | Outcome::Unchecked => false,
        }
    }

    /// Writes a request's line, if this second has room for it.
    pub(super) fn request(
        &self,
        outcome: &Outcome,
        status: u16,
        facts: &RequestRecord,
        request_id: &str,
        settings: &Settings,
        now: Timestamp,
    ) {
        let budget = match outcome {
            Outcome::Accepted(_) => &self.of_accepted,
            _ => &self.of_others,
        };
        if !self.has_room(budget, now) {
            return;
        }
        let webhook = facts.webhook.and_then(|index| settings.webhooks.get(index));
        let key = facts.key.and_then(|index| settings.keyring.get(index));
        let nonce = facts.nonce.map(|nonce| nonce.to_hex());
        let (level, message) = match outcome {
            Outcome::Rejected(rejection) => (Level::Warn, rejection.reason.sentence()),
            _ => (Level::Info, "The request passed every check."),
        };
        let target = facts.target.as_ref();
        let line = Line {
            event: EVENT,
            verdict: outcome.name(),
            status,
            message,
            request_id,
            client_ip: &facts.client.shown(),
            method: target.map(|target| target.method.as_str()),
            path: target.map(|target| target.path.as_str()),
            webhook: webhook.map(|webhook| webhook.label.as_str()),
            account_sid: facts.account.as_ref().map(AccountSid::as_str),
            key: key.map(|key| key.label.as_str()),
            nonce: nonce.as_deref().and_then(|nonce| nonce.get(..8)),
            hint: facts.hint.as_deref(),
        };
        if let Ok(line) = serde_json::to_string(&line) {
            host::log(level, &line);
        }
    }

    /// Writes what an operator should know of a request that got no verdict, if this second
    /// has room for it.
    pub(super) fn note(&self, message: &'static str, request_id: &str, now: Timestamp) {
        if !self.has_room(&self.of_others, now) {
            return;
        }
        let line = Note {
            event: EVENT,
            message,
            request_id,
        };
        if let Ok(line) = serde_json::to_string(&line) {
            host::log(Level::Warn, &line);
        }
    }

    /// Whether this second has room for one more line of this budget.
    fn has_room(&self, budget: &Cell<u32>, now: Timestamp) -> bool {
        if now.since(self.second.get()) >= Millis::seconds(1) || now < self.second.get() {
            self.second.set(now);
            self.of_accepted.set(0);
            self.of_others.set(0);
            let suppressed = self.suppressed.take();
            let line = Suppressed {
                event: "twilio_webhook_log",
                suppressed,
            };
            if suppressed > 0
                && let Ok(line) = serde_json::to_string(&line)
            {
                host::log(Level::Warn, &line);
            }
        }
        if budget.get() >= self.settings.max_per_second {
            self.suppressed.set(self.suppressed.get().saturating_add(1));
            return false;
        }
        budget.set(budget.get().saturating_add(1));
        true
    }
}
