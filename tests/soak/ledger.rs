use std::collections::{BTreeMap, HashMap, HashSet};

/// What one client, or all of them, have seen.
#[derive(Default)]
pub(crate) struct Ledger {
    /// By what was sent, and the verdict that came back.
    pub(crate) seen: BTreeMap<(&'static str, String), u64>,
    /// By what was sent and got no answer of the filter's: Envoy has counted it, and the filter has no verdict.
    pub(crate) without_verdict: BTreeMap<&'static str, u64>,
    /// How often each nonce was answered 200.
    pub(crate) accepted: HashMap<u64, u64>,
    /// The nonces whose first sender left when it had sent everything: whether they were accepted, it was not told.
    pub(crate) left: HashSet<u64>,
}

impl Ledger {
    pub(crate) fn count(&mut self, kind: &'static str, verdict: &str) {
        *self.seen.entry((kind, verdict.to_owned())).or_default() += 1;
    }

    pub(crate) fn without_verdict(&mut self, kind: &'static str) {
        *self.without_verdict.entry(kind).or_default() += 1;
    }

    pub(crate) fn took(&mut self, kind: &'static str, nonce: u64) {
        self.count(kind, "accepted");
        *self.accepted.entry(nonce).or_default() += 1;
    }

    pub(crate) fn verdicts(&self) -> BTreeMap<String, u64> {
        let mut verdicts = BTreeMap::new();
        for ((_, verdict), count) in &self.seen {
            *verdicts.entry(verdict.clone()).or_default() += count;
        }
        verdicts
    }

    /// All requests that were sent, with those that got no answer.
    pub(crate) fn sent(&self) -> u64 {
        let answered: u64 = self.seen.values().sum();
        answered + self.without_verdict.values().sum::<u64>() + self.left.len() as u64
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (key, count) in other.seen {
            *self.seen.entry(key).or_default() += count;
        }
        for (kind, count) in other.without_verdict {
            *self.without_verdict.entry(kind).or_default() += count;
        }
        for (nonce, count) in other.accepted {
            *self.accepted.entry(nonce).or_default() += count;
        }
        self.left.extend(other.left);
    }

    pub(crate) fn print(&self) {
        println!("| sent | verdict | requests |\n|---|---|---|");
        for ((kind, verdict), count) in &self.seen {
            println!("| {kind} | {verdict} | {count} |");
        }
        for (kind, count) in &self.without_verdict {
            println!("| {kind} | none | {count} |");
        }
        println!("| left after all of it | not told | {} |", self.left.len());
    }
}
