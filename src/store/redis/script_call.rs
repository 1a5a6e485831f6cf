//! A call of a script: its keys and arguments.

use crate::store::redis::correlation::Correlation;
use crate::store::redis::scripts::{Script, Scripts};

/// Which script is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Limits and claim of one request.
    Decide,
    /// What upstreams' responses do to claims.
    Settle,
}

/// A call of a script.
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

/// Whether the same call was made before, under the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It was not.
    First,
    /// It was, and its script may have run, or may run yet.
    Another,
}

/// Numbers of a command, as the words that they are there.
#[derive(Debug)]
pub struct CommandNumbers {
    keys: String,
    correlation: String,
}

impl ScriptCall {
    /// Returns a call without keys and arguments yet.
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

    /// Returns the words of the command: `EVALSHA hash keys key… argument… correlation`, or
    /// `EVAL` with the text. They are the same for each attempt.
    pub fn command<'a>(
        &'a self,
        scripts: &'a Scripts,
        by: ScriptRef,
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
        let mut words = vec![verb, name, &numbers.keys];
        words.extend(rest.map(String::as_str));
        words.push(&numbers.correlation);
        words
    }

    /// Returns the numbers in the command of the call with this one.
    pub fn numbers(&self, correlation: Correlation) -> CommandNumbers {
        CommandNumbers {
            keys: self.keys.len().to_string(),
            correlation: correlation.to_string(),
        }
    }
}
