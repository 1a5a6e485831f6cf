//! What every part of the loader works with: the environment, the list of problems, and how
//! a field is read.

use std::cell::RefCell;
use std::fmt;

use crate::config::reader::{Environment, Object, Problems};
use crate::config::settings::{ReplaySettings, RuleSettings, TimestampSettings};
use crate::copied::{Alphabet, Place, remnant};
use crate::signature::form::FormReading;
use crate::signature::url::PublicUrl;
use crate::time::Millis;

/// Names of the environment variables that fill in what the JSON leaves out.
pub(super) mod variable {
    pub(in crate::config::load) const AUTH_TOKEN: &str = "TWILIO_AUTH_TOKEN";
    pub(in crate::config::load) const ACCOUNT_SID: &str = "TWILIO_ACCOUNT_SID";
    pub(in crate::config::load) const WEBHOOK_URL: &str = "WEBHOOK_URL";
    pub(in crate::config::load) const CLOCK_SKEW_MS: &str = "TWILIO_CLOCK_SKEW_MS";
    pub(in crate::config::load) const NONCE_WINDOW_MS: &str = "TWILIO_NONCE_WINDOW_MS";
    pub(in crate::config::load) const FORCE_VERIFY: &str = "FORCE_TWILIO_VERIFY";
}

pub(super) const A_MILLISECOND: Millis = Millis(1);
pub(super) const NOTHING: Millis = Millis(0);
/// Longer than anything that makes sense here, and far from any overflow.
pub(super) const A_YEAR: Millis = Millis::seconds(366 * 86_400);
const MAX_PARAMETERS: u64 = 100_000;

/// The environment is `dyn`, so that reading it is not compiled into each of its readers.
pub(super) struct Loader<'a> {
    pub(super) environment: &'a dyn Environment,
    pub(super) problems: &'a Problems,
    /// What is valid and most likely a mistake all the same.
    pub(super) warnings: RefCell<Vec<String>>,
}

/// What a webhook takes over where it does not say otherwise.
pub(super) struct Globals {
    pub(super) base: Option<PublicUrl>,
    pub(super) timestamp: TimestampSettings,
    pub(super) replay: Option<ReplaySettings>,
    /// What a webhook's own `replay` object starts from, also where the global one is off.
    pub(super) replay_basis: ReplaySettings,
    pub(super) rate_limits: Vec<RuleSettings>,
    pub(super) form: FormReading,
    pub(super) max_parameters: usize,
}

impl Loader<'_> {
    /// A variable of the environment; one that is empty counts as not set, since
    /// that is what compose files and charts make of an unset one.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let value = self.environment.variable(name);
        value.filter(|value| !value.is_empty())
    }

    pub(super) fn milliseconds(&self, name: &str, least: Millis) -> Option<Millis> {
        let text = self.variable(name)?;
        let span = text.parse().ok().map(Millis);
        let valid = span.filter(|span| (least..=A_YEAR).contains(span));
        if valid.is_none() {
            let what = format!("milliseconds in the environment, {} at least", least.0);
            self.wrong_variable(name, &text, &what);
        }
        valid
    }

    /// Notes that a variable holds something else, and what copying has left in it.
    pub(super) fn wrong_variable(&self, name: &str, value: &str, what: &str) {
        match remnant(value, Place::Environment, Alphabet::Ascii) {
            Some(left) => self
                .problems
                .expected(name, format_args!("{what}: it {left}")),
            None => self.problems.expected(name, what),
        }
    }

    /// Notes what an operator should look at, although it is valid.
    pub(super) fn warn(&self, path: impl fmt::Display, what: impl fmt::Display) {
        self.warnings.borrow_mut().push(format!("{path}: {what}"));
    }
}

/// The field `form` of a webhook or of all.
pub(super) fn form_reading(object: &Object<'_>) -> Option<FormReading> {
    let words = [
        ("strict", FormReading::Strict),
        ("lenient", FormReading::Lenient),
    ];
    object.field("form")?.one_of(&words)
}

/// The field `max_parameters` of a webhook or of all.
pub(super) fn max_parameters(object: &Object<'_>) -> Option<usize> {
    number(object, "max_parameters", 1, MAX_PARAMETERS)
}

pub(super) fn number<T: TryFrom<u64>>(
    object: &Object<'_>,
    name: &str,
    least: u64,
    most: u64,
) -> Option<T> {
    let number = object.field(name)?.number(least, most)?;
    T::try_from(number).ok()
}

pub(super) fn flag(object: &Object<'_>, name: &str) -> bool {
    object
        .field(name)
        .and_then(|node| node.flag())
        .unwrap_or(false)
}
