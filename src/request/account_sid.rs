//! An account SID that is safe to put into a header and the log.

use std::fmt;

/// An account SID: 1 to 64 ASCII letters and digits, whatever else a parameter may contain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccountSid {
    text: [u8; MAX_LEN],
    length: usize,
}

const MAX_LEN: usize = 64;

impl AccountSid {
    /// Parses a SID; `None` for anything else.
    pub fn new(account: &[u8]) -> Option<AccountSid> {
        let is_sid = !account.is_empty() && account.iter().all(u8::is_ascii_alphanumeric);
        let mut text = [0; MAX_LEN];
        text.get_mut(..account.len())?.copy_from_slice(account);
        is_sid.then_some(AccountSid {
            text,
            length: account.len(),
        })
    }

    /// Returns the SID as text.
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..self.length).unwrap_or_default();
        // It is ASCII.
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Debug for AccountSid {
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
            let sid = AccountSid::new(text.as_bytes());
            assert_eq!(sid.as_ref().map(AccountSid::as_str), Some(text));
        }
        let longer = "a".repeat(65);
        for text in ["", "AC 1", "AC\n1", "AC\u{e9}", "AC-1", &longer] {
            assert_eq!(AccountSid::new(text.as_bytes()), None, "{text:?}");
        }
    }
}
