//! Randomness that can be had again: a seed, and for each request a generator of its own.

use std::cell::Cell;

/// Spreads numbers as evenly as a keyed hash: the mixing of SplitMix64.
pub fn spread(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// Chance for the steps of a model, drawn by several closures at once.
pub struct Chance(Cell<u64>);

impl Chance {
    pub fn seeded(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub fn word(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        spread(self.0.get())
    }

    /// One of `0..of`.
    pub fn below(&self, of: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(of)) >> 64) as u64
    }

    /// Once in `times`.
    pub fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// SplitMix64: small, and the same on every machine and with every version of every library.
pub struct Random(u64);

impl Random {
    /// The generator of request number `index`: it does not depend on what the requests before it drew.
    pub fn new(seed: u64, index: u64) -> Self {
        let mut random = Self(seed ^ index.wrapping_mul(0xA24B_AED4_963E_E407));
        random.word();
        random
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        spread(self.0)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound.max(1) as u64) as usize
    }

    /// True once in so many draws.
    pub fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// One of a list.
    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// An identifier as Twilio makes them, of this kind.
    pub fn sid(&mut self, kind: &str) -> String {
        format!("{kind}{:016x}{:016x}", self.word(), self.word())
    }

    /// True in `percent` of a hundred draws.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Any of them.
    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// One of them, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, of: &[(usize, T)]) -> T {
        let whole = of.iter().map(|(weight, _)| weight).sum();
        let mut draw = self.below(whole);
        for (weight, item) in of {
            if draw < *weight {
                return *item;
            }
            draw -= weight;
        }
        of[0].1
    }

    /// Another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
