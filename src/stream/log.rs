//! Log lines: one JSON object each, so that nothing in it can look like another line.
//!
//! Never the body, a phone number, a token or a signature.

use std::cell::Cell;

use serde::Serialize;

use crate::config::settings::LogSettings;
use crate::pipeline::filter::Filter;
use crate::pipeline::verdict::{Outcome, Verdict};
use crate::request::account_sid::AccountSid;
use crate::stream::host::{Host, Level};
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

    /// Returns whether a verdict is to be logged: then this second had room for one more
    /// line, and that is taken.
    pub(super) fn take_room(&self, host: &impl Host, outcome: &Outcome, now: Timestamp) -> bool {
        self.begin_second(host, now);
        match outcome {
            Outcome::Rejected(_) => self.has_room(&self.of_others),
            Outcome::Accepted(_) => self.settings.accepted && self.has_room(&self.of_accepted),
            Outcome::Exempt | Outcome::Unchecked => false,
        }
    }

    /// Writes a request's line.
    pub(super) fn request(host: &impl Host, filter: &Filter, verdict: &Verdict, request_id: &str) {
        let Verdict { outcome, record } = verdict;
        let key = record
            .key
            .and_then(|key| filter.settings().keyring.get(key));
        let nonce = record.nonce.map(|nonce| nonce.to_hex());
        let (level, status, message) = match outcome {
            Outcome::Rejected(rejection) => {
                (Level::Warn, rejection.status(), rejection.reason.sentence())
            }
            _ => (Level::Info, 200, "The request passed every check."),
        };
        let target = record.target.as_ref();
        let webhook = record.webhook.as_ref();
        let line = Line {
            event: EVENT,
            verdict: outcome.name(),
            status,
            message,
            request_id,
            client_ip: &record.client.shown(),
            method: target.map(|target| target.method.as_str()),
            path: target.map(|target| target.path.as_str()),
            webhook: webhook.map(|webhook| webhook.settings.label.as_str()),
            account_sid: record.account.as_ref().map(AccountSid::as_str),
            key: key.map(|key| key.label.as_str()),
            nonce: nonce.as_deref().and_then(|nonce| nonce.get(..8)),
            hint: verdict.hint(),
        };
        write(host, level, &line);
    }

    /// Writes what an operator should know of a request that got no verdict, if this second
    /// has room for it.
    pub(super) fn note(
        &self,
        host: &impl Host,
        message: &'static str,
        request_id: &str,
        now: Timestamp,
    ) {
        self.begin_second(host, now);
        if self.has_room(&self.of_others) {
            let line = Note {
                event: EVENT,
                message,
                request_id,
            };
            write(host, Level::Warn, &line);
        }
    }

    /// Begins another second where the last one is over, and says what that left out. The first
    /// request of any kind does, so that the count of a flood does not wait for the next one.
    fn begin_second(&self, host: &impl Host, now: Timestamp) {
        let second = self.second.get();
        if now >= second && now.since(second) < Millis::seconds(1) {
            return;
        }
        self.second.set(now);
        self.of_accepted.set(0);
        self.of_others.set(0);
        let suppressed = self.suppressed.take();
        if suppressed > 0 {
            let line = Suppressed {
                event: "twilio_webhook_log",
                suppressed,
            };
            write(host, Level::Warn, &line);
        }
    }

    /// Returns whether this second has room for one more line of this budget, and takes it.
    fn has_room(&self, budget: &Cell<u32>) -> bool {
        if budget.get() >= self.settings.max_per_second {
            self.suppressed.set(self.suppressed.get().saturating_add(1));
            return false;
        }
        budget.set(budget.get().saturating_add(1));
        true
    }
}

fn write(host: &impl Host, level: Level, line: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(line) {
        host.log(level, &line);
    }
}
