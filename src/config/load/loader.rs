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
/// Longer than any sensible duration, and far from overflow.
pub(super) const A_YEAR: Millis = Millis::seconds(366 * 86_400);
const MAX_PARAMETERS: u64 = 100_000;

/// What the parts of a configuration are read with.
///
/// The environment is `dyn`, so that its readers are compiled once.
pub(super) struct Loader<'a> {
    pub(super) environment: &'a dyn Environment,
    pub(super) problems: &'a Problems,
    /// What is valid but probably a mistake.
    pub(super) warnings: RefCell<Vec<String>>,
}

/// A value that may be given, and may be wrong: then that was said, and nothing more is to be said
/// of it.
pub(super) enum Given<T> {
    Nothing,
    Wrong,
    Right(T),
}

impl<T> Given<T> {
    /// Returns what came of reading a value that was given.
    pub(super) fn read(value: Option<T>) -> Given<T> {
        value.map_or(Given::Wrong, Given::Right)
    }
}

/// What holds for each webhook that does not override it.
pub(super) struct Globals {
    pub(super) base: Given<PublicUrl>,
    pub(super) timestamp: TimestampSettings,
    pub(super) replay: Option<ReplaySettings>,
    /// What a webhook's own `replay` object starts from, also where the global one is off.
    pub(super) replay_basis: ReplaySettings,
    pub(super) rate_limits: Vec<RuleSettings>,
    pub(super) form: FormReading,
    pub(super) max_parameters: usize,
}

impl Loader<'_> {
    /// Returns a variable of the environment. An empty one counts as unset, since compose files
    /// and charts make that of an unset one.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let value = self.environment.variable(name);
        value.filter(|value| !value.is_empty())
    }

    /// Returns a variable that holds milliseconds, at least `min`.
    pub(super) fn milliseconds(&self, name: &str, min: Millis) -> Option<Millis> {
        let text = self.variable(name)?;
        let span = text.parse().ok().map(Millis);
        let valid = span.filter(|span| (min..=A_YEAR).contains(span));
        if valid.is_none() {
            let what = format!("milliseconds in the environment, {} at least", min.0);
            self.wrong_variable(name, &text, &what);
        }
        valid
    }

    /// Adds the mistake that a variable holds something else than `what`.
    pub(super) fn wrong_variable(&self, name: &str, value: &str, what: &str) {
        match remnant(value, Place::Environment, Alphabet::Ascii) {
            Some(left) => self
                .problems
                .expected(name, format_args!("{what}: it {left}")),
            None => self.problems.expected(name, what),
        }
    }

    /// Adds a warning of what is valid but probably a mistake.
    pub(super) fn warn(&self, path: impl fmt::Display, what: impl fmt::Display) {
        self.warnings.borrow_mut().push(format!("{path}: {what}"));
    }
}

/// Reads the field `form`, global or a webhook's.
pub(super) fn form_reading(object: &Object<'_>) -> Option<FormReading> {
    let words = [
        ("strict", FormReading::Strict),
        ("lenient", FormReading::Lenient),
    ];
    object.field("form")?.one_of(&words)
}

/// Reads the field `max_parameters`, global or a webhook's.
pub(super) fn max_parameters(object: &Object<'_>) -> Option<usize> {
    number(object, "max_parameters", 1, MAX_PARAMETERS)
}

/// Reads a field that is a whole number within bounds, if it is there.
pub(super) fn number<T: TryFrom<u64>>(
    object: &Object<'_>,
    name: &str,
    min: u64,
    max: u64,
) -> Option<T> {
    let number = object.field(name)?.number(min, max)?;
    T::try_from(number).ok()
}

/// Reads a field that is a duration of at least `min` into `value`, if it is there.
pub(super) fn duration(object: &Object<'_>, name: &str, min: Millis, value: &mut Millis) {
    if let Some(node) = object.field(name) {
        *value = node.duration(min, A_YEAR).unwrap_or(min);
    }
}

/// Reads a field that is `true` or `false`; absent, it is `false`.
pub(super) fn flag(object: &Object<'_>, name: &str) -> bool {
    let flag = object.field(name).and_then(|node| node.flag());
    flag.unwrap_or(false)
}
