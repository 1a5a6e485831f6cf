//! A script with its keys and arguments: what Redis is asked.

use crate::store::redis::correlation::Correlation;
use crate::store::redis::scripts::{Script, Scripts};

/// Which script is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Limits and claim of one request.
    Decide,
    /// What upstreams' answers do to claims.
    Settle,
}

/// What Redis is asked.
#[derive(Debug)]
pub struct ScriptCall {
    /// Which script is run.
    pub kind: Kind,
    /// The keys that it works on, all in one slot of a Redis Cluster.
    pub keys: Vec<String>,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// How the script is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptRef {
    /// By its hash, which Redis knows if it has run the script since it started.
    Sha,
    /// By its text.
    Source,
}

/// Whether the script was asked for before, under the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It was not.
    First,
    /// It was, and may have run, or may run yet.
    Another,
}

/// Numbers of a command, as the words that they are there.
#[derive(Debug)]
pub struct CommandNumbers {
    keys: String,
    correlation: String,
}

impl ScriptCall {
    /// A question without keys and arguments yet.
    pub fn new(kind: Kind) -> ScriptCall {
        ScriptCall {
            kind,
            keys: Vec::new(),
            arguments: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, argument: impl ToString) {
        self.arguments.push(argument.to_string());
    }

    /// The words of the command: `EVALSHA hash keys key… argument… attempt correlation`, or
    /// `EVAL` with the text.
    pub fn command<'a>(
        &'a self,
        scripts: &'a Scripts,
        by: ScriptRef,
        attempt: Attempt,
        numbers: &'a CommandNumbers,
    ) -> Vec<&'a str> {
        let script: &Script = match self.kind {
            Kind::Decide => &scripts.decide,
            Kind::Settle => &scripts.settle,
        };
        let (verb, name) = match by {
            ScriptRef::Sha => ("EVALSHA", script.hash.as_str()),
            ScriptRef::Source => ("EVAL", script.source),
        };
        let rest = self.keys.iter().chain(&self.arguments);
        let attempt = match attempt {
            Attempt::First => "first",
            Attempt::Another => "another",
        };
        let mut words = vec![verb, name, &numbers.keys];
        words.extend(rest.map(String::as_str));
        words.extend([attempt, &numbers.correlation]);
        words
    }

    /// The numbers in the command, where the question has this one.
    pub fn numbers(&self, correlation: Correlation) -> CommandNumbers {
        CommandNumbers {
            keys: self.keys.len().to_string(),
            correlation: correlation.to_string(),
        }
    }
}
