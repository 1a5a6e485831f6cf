//! A script with its keys and arguments: what Redis is asked.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::store::redis::scripts::{Script, Scripts};
use crate::time::Timestamp;

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
    /// What its answer begins with, and no other. Webdis before 0.1.20 may send an answer to
    /// another connection than the one that asked, if that has been closed meanwhile and the
    /// other one opened.
    pub tag: String,
}

/// How the script is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptRef {
    /// By its hash, which Redis knows if it has run the script since it started.
    Sha,
    /// By its text.
    Source,
}

impl ScriptCall {
    /// A question without keys and arguments yet.
    pub fn new(kind: Kind) -> ScriptCall {
        ScriptCall {
            kind,
            keys: Vec::new(),
            arguments: Vec::new(),
            tag: String::new(),
        }
    }

    /// Returns the call with a tag, which no other call has: one for each `number` of a worker,
    /// and in what is asked are the ids of claims.
    pub(super) fn tagged(mut self, number: u64, now: Timestamp) -> ScriptCall {
        let mut hasher = SipHasher24::new();
        hasher.write_u64(number);
        hasher.write_u64(now.0);
        for word in self.keys.iter().chain(&self.arguments) {
            hasher.write(word.as_bytes());
        }
        self.tag = format!("{:x}", hasher.finish());
        self
    }

    pub(super) fn push(&mut self, argument: impl ToString) {
        self.arguments.push(argument.to_string());
    }

    /// The words of the command: `EVALSHA hash keys key… argument… tag`, or `EVAL` with the text.
    pub fn command<'a>(
        &'a self,
        scripts: &'a Scripts,
        by: ScriptRef,
        count: &'a mut String,
    ) -> Vec<&'a str> {
        let script: &Script = match self.kind {
            Kind::Decide => &scripts.decide,
            Kind::Settle => &scripts.settle,
        };
        *count = self.keys.len().to_string();
        let (verb, name) = match by {
            ScriptRef::Sha => ("EVALSHA", script.hash.as_str()),
            ScriptRef::Source => ("EVAL", script.source),
        };
        let rest = self.keys.iter().chain(&self.arguments);
        let rest = rest.chain([&self.tag]).map(String::as_str);
        [verb, name, count].into_iter().chain(rest).collect()
    }
}
