//! The configured keys, and those that a request may have been signed with.

use crate::secret::Secret;
use crate::signature::key::{SigningKey, sha256};
use crate::sort::sorted;

/// A configured key.
#[derive(Debug)]
pub struct Key {
    /// The key itself.
    pub signing: SigningKey,
    /// The account that the key belongs to (`AC…`), if that is configured.
    pub account: Option<String>,
    /// Its name in log and metrics: its path in the configuration or its environment variable,
    /// never its value.
    pub label: String,
    /// The id by which requests select it, for a shared key.
    pub shared_id: Option<String>,
}

impl Key {
    /// Returns the key of an auth token; `None` if that is empty.
    pub fn auth_token(token: &Secret, account: Option<String>, label: String) -> Option<Key> {
        Some(Key {
            signing: SigningKey::auth_token(token)?,
            account,
            label,
            shared_id: None,
        })
    }
}

/// All configured keys.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: Vec<Key>,
}

/// The maximum number of keys, with which [`MAX_HMACS`] allows at least two URL forms for every
/// key.
///
/// [`MAX_HMACS`]: super::verify::MAX_HMACS
pub const MAX_KEYS: usize = 64;

impl Keyring {
    /// Returns a keyring of keys in the order in which they are tried.
    pub fn new(keys: Vec<Key>) -> Keyring {
        Keyring { keys }
    }

    /// Returns whether there is no key, so that nothing can be verified.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns the key at an index of [`Keyring::candidates`].
    pub fn get(&self, index: usize) -> Option<&Key> {
        self.keys.get(index)
    }

    /// Returns all keys whose MACs have this length, whatever a request selects.
    pub fn of_mac_length(&self, length: usize) -> impl Iterator<Item = &Key> {
        let keys = self.keys.iter();
        keys.filter(move |key| key.signing.mac_length() == length)
    }

    /// Derives a secret from all keys, independent of their order. `label` names its purpose, and
    /// is no text that Twilio signs.
    pub fn derive(&self, label: &[u8]) -> [u8; 32] {
        let of = |key: &Key| key.signing.mac(label).nonce().0;
        let mut parts: Vec<[u8; 32]> = sorted(self.keys.iter().map(of).collect());
        parts.dedup();
        sha256(&[label, parts.as_flattened()])
    }

    /// Returns the accounts that have a key.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.account.as_deref())
    }

    /// Returns the keys that may have made a MAC of `mac_length` bytes, each with its index.
    ///
    /// A `settings` header (`key=<id>,algorithm=…`) that names a configured shared key selects
    /// only that key. The algorithm is a property of the key: the header is not signed, so its
    /// algorithm is ignored.
    pub fn candidates<'a>(
        &'a self,
        settings: Option<&[u8]>,
        mac_length: usize,
    ) -> impl Iterator<Item = (usize, &'a Key)> + Clone {
        let selected = settings.and_then(selected_id);
        let selected = selected.and_then(|id| self.position_of_shared(id));
        self.keys.iter().enumerate().filter(move |(index, key)| {
            let chosen = match selected {
                Some(selected) => *index == selected,
                None => key.shared_id.is_none(),
            };
            chosen && key.signing.mac_length() == mac_length
        })
    }

    /// Returns the index of the shared key with this id.
    pub(crate) fn position_of_shared(&self, id: &[u8]) -> Option<usize> {
        let ids = self.keys.iter().map(|key| key.shared_id.as_ref());
        let mut ids = ids.map(|known| known.map(String::as_bytes));
        ids.position(|known| known == Some(id))
    }
}

/// Returns the `<id>` of `key=<id>,algorithm=…`.
pub(crate) fn selected_id(settings: &[u8]) -> Option<&[u8]> {
    settings
        .split(|byte| *byte == b',')
        .find_map(|part| part.trim_ascii().strip_prefix(b"key="))
        .map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// The key of an auth token, which is its label as well.
    fn token(text: &&str) -> Key {
        let token = Secret::new((*text).into());
        Key::auth_token(&token, None, (*text).into()).expect("a token")
    }

    fn keyring() -> Keyring {
        let signing = SigningKey::shared_key(&Secret::new("s".into())).expect("a secret");
        let shared = Key {
            signing,
            shared_id: Some("wsk_1".into()),
            ..token(&"shared")
        };
        Keyring::new(vec![token(&"one"), token(&"two"), shared])
    }

    fn chosen(settings: Option<&str>, length: usize) -> Vec<String> {
        let keyring = keyring();
        let keys = keyring.candidates(settings.map(str::as_bytes), length);
        keys.map(|(_, key)| key.label.clone()).collect()
    }

    #[test]
    fn without_settings_the_auth_tokens_are_tried() {
        assert_eq!(chosen(None, 20), ["one", "two"]);
        assert_eq!(chosen(None, 32), [""; 0]);
    }

    #[test]
    fn settings_select_a_shared_key_and_nothing_else() {
        let settings = Some("key=wsk_1,algorithm=HMAC_SHA256");
        assert_eq!(chosen(settings, 32), ["shared"]);
        assert_eq!(chosen(settings, 20), [""; 0]);
        let settings = Some("algorithm=HMAC_SHA1, key=wsk_1");
        assert_eq!(chosen(settings, 32), ["shared"]);
    }

    #[test]
    fn what_is_derived_from_the_keys_is_theirs_alone_and_not_of_their_order() {
        let of = |tokens: &[&str]| Keyring::new(tokens.iter().map(token).collect());
        let derived = of(&["one", "two"]).derive(b"label");
        assert_eq!(of(&["two", "one"]).derive(b"label"), derived);
        assert_eq!(of(&["two", "one", "two"]).derive(b"label"), derived);
        for tokens in [&["one"][..], &["two"], &["one", "two", "three"], &[]] {
            assert_ne!(of(tokens).derive(b"label"), derived, "{tokens:?}");
        }
        assert_ne!(of(&["one", "two"]).derive(b"other"), derived);
    }

    #[test]
    fn settings_that_name_no_configured_key_change_nothing() {
        for settings in ["key=other,algorithm=HMAC_SHA256", "", "key=", "wsk_1"] {
            assert_eq!(chosen(Some(settings), 20), ["one", "two"], "{settings}");
            assert_eq!(chosen(Some(settings), 32), [""; 0], "{settings}");
        }
    }
}
