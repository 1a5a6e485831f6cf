//! What is found in a configuration.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The filter does not work, or does not protect.
    Error,
    /// It may fail or be got around.
    Warning,
    /// Worth knowing.
    Note,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// The field that it is about.
    pub place: String,
    /// What is wrong, and what is right.
    pub what: String,
}

/// All findings, in the order in which they were made.
#[derive(Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn error(&mut self, place: &str, what: impl Into<String>) {
        self.add(Level::Error, place, what.into());
    }

    pub fn warning(&mut self, place: &str, what: impl Into<String>) {
        self.add(Level::Warning, place, what.into());
    }

    pub fn note(&mut self, place: &str, what: impl Into<String>) {
        self.add(Level::Note, place, what.into());
    }

    fn add(&mut self, level: Level, place: &str, what: String) {
        let finding = Finding {
            level,
            place: place.to_owned(),
            what,
        };
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    /// Returns the findings, the worst first.
    pub fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| finding.level);
        self.0
    }
}
