//! Text that must never be shown.

use std::fmt;

/// A token or password.
///
/// It has no `Display`, no `Clone` and no `==`, and its `Debug` shows nothing, so that it
/// cannot end up in a log or be compared in variable time by accident.
pub struct Secret(String);

impl Secret {
    /// Wraps a secret from the configuration or the environment.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// Returns the secret itself, to compute with.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}
