//! Chance with a seed, and the stores that the tables are tried on.

use std::cell::RefCell;

use twilio_webhook_filter::{CasError, CasMap, Entry, MemoryMap, Millis, Nonce, Version};

pub(crate) use ::support::random::{Chance, spread};
pub(crate) use ::support::stores::{START, limiter, nonce, wait};

/// One of those in the first `buckets` of a table that has 16,384.
pub(crate) fn crowded(number: u64, buckets: u64) -> Nonce {
    let Nonce(mut bytes) = nonce(number);
    bytes[8..16].copy_from_slice(&((number % buckets) << 50).to_be_bytes());
    Nonce(bytes)
}

pub(crate) fn span(millis: u64) -> Millis {
    Millis(millis)
}

/// How many times the usual number of operations.
pub(crate) fn rounds() -> u64 {
    ::support::size("MODEL_ROUNDS", 1)
}

/// How a store may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is right.
    None,
    /// A write that expects the key to be absent is done whatever is there: what
    /// Envoy does with a write without a version.
    AbsentIsUnconditional,
    /// Every write is done.
    AlwaysWrites,
    /// A write that was done is reported as one that was not.
    DeniesWrites,
}

/// What another worker does in the middle of this one's step.
type Interloper<'a> = Box<dyn FnOnce(&Interleaved<'a>) + 'a>;

/// A store in which other workers act between a look and the write that follows it:
/// every interleaving that threads can come to, and in the same order in every run.
pub(crate) struct Interleaved<'a> {
    store: &'a MemoryMap,
    fault: Fault,
    waiting: RefCell<Vec<Interloper<'a>>>,
}

impl<'a> Interleaved<'a> {
    pub(crate) fn new(store: &'a MemoryMap, fault: Fault) -> Interleaved<'a> {
        Interleaved {
            store,
            fault,
            waiting: RefCell::default(),
        }
    }

    /// Lets another worker act after one of the next looks at the store.
    pub(crate) fn let_in(&self, interloper: impl FnOnce(&Interleaved<'a>) + 'a) {
        self.waiting.borrow_mut().push(Box::new(interloper));
    }

    /// Lets in whoever is still waiting.
    pub(crate) fn let_all_in(&self) {
        while let Some(next) = self.next() {
            next(self);
        }
    }

    fn next(&self) -> Option<Interloper<'a>> {
        self.waiting.borrow_mut().pop()
    }
}

impl CasMap for Interleaved<'_> {
    fn get(&self, key: &str) -> Result<Option<Entry>, CasError> {
        let seen = self.store.get(key);
        if let Some(interloper) = self.next() {
            interloper(self);
        }
        seen
    }

    fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<Version>,
        value: &[u8],
    ) -> Result<bool, CasError> {
        let unconditional = || Ok(self.store.host_set(key, value, 0));
        match self.fault {
            Fault::AbsentIsUnconditional if expected.is_none() => unconditional(),
            Fault::AlwaysWrites => unconditional(),
            Fault::DeniesWrites => {
                self.store.compare_and_swap(key, expected, value)?;
                Ok(false)
            }
            _ => self.store.compare_and_swap(key, expected, value),
        }
    }
}
