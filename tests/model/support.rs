//! Chance with a seed, and the stores that the tables are tried on.

use std::cell::{Cell, RefCell};

use twilio_webhook_filter::{
    CasError, CasMap, Entry, MemoryMap, Millis, Nonce, Timestamp, Version,
};

/// When all models begin.
pub(crate) const START: Timestamp = Timestamp(1_800_000_000_000);

/// The same in every run, on every machine.
pub(crate) struct Chance(Cell<u64>);

impl Chance {
    pub(crate) fn seeded(seed: u64) -> Chance {
        Chance(Cell::new(seed))
    }

    /// SplitMix64.
    pub(crate) fn word(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        spread(self.0.get())
    }

    /// One of `0..of`.
    pub(crate) fn below(&self, of: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(of)) >> 64) as u64
    }

    /// Once in `times`.
    pub(crate) fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// As evenly as a keyed hash spreads.
pub(crate) fn spread(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

pub(crate) fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 32];
    for (index, chunk) in (1..).zip(bytes.chunks_exact_mut(8)) {
        chunk.copy_from_slice(&spread(number * 4 + index).to_be_bytes());
    }
    Nonce(bytes)
}

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
    let rounds = std::env::var("MODEL_ROUNDS").ok();
    rounds.map_or(1, |rounds| {
        rounds.parse().expect("MODEL_ROUNDS is a number")
    })
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
