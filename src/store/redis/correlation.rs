//! What ties a reply to its call.
//!
//! HTTP/1.1 ties them by nothing but their order, and Webdis can give one client's reply to
//! another: where a client leaves while its reply is being written, that is written to the
//! next connection that gets the same file descriptor, and every reply there then belongs
//! to the call before. So the reply to a first delivery could let a repeat pass. Each
//! call therefore carries a number that no other has, and its reply begins with it.

use std::cell::Cell;
use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// The number of one call, at all Envoys that share a Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correlation(pub u64);

/// How many hexadecimal digits it is written with.
const DIGITS: usize = 16;

impl fmt::Display for Correlation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:0DIGITS$x}", self.0)
    }
}

impl Correlation {
    /// Reads the number that a reply begins with. `None` if it is none.
    pub fn read(word: &str) -> Option<Correlation> {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if word.len() != DIGITS || !word.bytes().all(is_digit) {
            return None;
        }
        u64::from_str_radix(word, 16).ok().map(Correlation)
    }
}

/// Numbers for calls: by chance different from those of every other worker.
#[derive(Debug)]
pub struct Correlations {
    random: [u8; 16],
    next: Cell<u64>,
}

impl Correlations {
    /// Returns the numbers of one worker. `random` is its own.
    pub fn new(random: [u8; 16]) -> Correlations {
        Correlations {
            random,
            next: Cell::new(0),
        }
    }

    /// Returns one that was not returned before. It tells nothing about `random`.
    pub fn next(&self) -> Correlation {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let mut hasher = SipHasher24::new_with_key(&self.random);
        hasher.write_u64(number);
        Correlation(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn no_two_calls_of_two_workers_have_the_same_number() {
        let workers = [[1; 16], [2; 16]].map(Correlations::new);
        let numbers = workers.iter().flat_map(|worker| {
            let numbers = (0..1000).map(|_| worker.next().0);
            numbers.collect::<Vec<_>>()
        });
        assert_eq!(numbers.collect::<HashSet<_>>().len(), 2000);
    }

    #[test]
    fn a_number_is_read_as_it_was_written() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let correlation = Correlation(number);
            assert_eq!(
                Correlation::read(&correlation.to_string()),
                Some(correlation)
            );
        }
        for word in [
            "",
            "0",
            "passed",
            "00000000000000000",
            "000000000000000g",
            "+0000000000000ac",
            "00000000000000AC",
        ] {
            assert_eq!(Correlation::read(word), None, "{word}");
        }
    }
}
