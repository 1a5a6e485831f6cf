//! An account as it may stand in a header and in the log.

use std::fmt;

/// A SID, and nothing that a parameter could be made to hold: letters and digits, 64 at the most.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sid {
    text: [u8; LONGEST],
    length: usize,
}

const LONGEST: usize = 64;

impl Sid {
    /// `None` for anything else.
    pub fn new(account: &[u8]) -> Option<Sid> {
        let is_sid = !account.is_empty() && account.iter().all(u8::is_ascii_alphanumeric);
        let mut text = [0; LONGEST];
        let place = text.get_mut(..account.len())?;
        place.copy_from_slice(account);
        is_sid.then_some(Sid {
            text,
            length: account.len(),
        })
    }

    /// As a text.
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..self.length).unwrap_or_default();
        // It is ASCII.
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn only_letters_and_digits_are_a_sid() {
        let longest = "a".repeat(64);
        for text in ["AC0123", "x", &longest] {
            let sid = Sid::new(text.as_bytes());
            assert_eq!(sid.as_ref().map(Sid::as_str), Some(text));
        }
        let longer = "a".repeat(65);
        for text in ["", "AC 1", "AC\n1", "AC\u{e9}", "AC-1", &longer] {
            assert_eq!(Sid::new(text.as_bytes()), None, "{text:?}");
        }
    }
}
