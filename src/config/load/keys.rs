//! The keys: `accounts`, `shared_keys`, and the account of the environment.

use crate::config::load::loader::{Loader, variable};
use crate::config::reader::secrets::SecretKind;
use crate::config::reader::{Node, Object};
use crate::copied::{A_KEY, Alphabet, Place, remnant};
use crate::secret::Secret;
use crate::signature::key::SigningKey;
use crate::signature::keyring::{Key, Keyring, MAX_KEYS};

impl Loader<'_> {
    pub(super) fn keyring(&self, root: &Object<'_>) -> Keyring {
        let mut keys = Vec::new();
        match root.field("accounts") {
            Some(accounts) => {
                for account in accounts.list().unwrap_or_default() {
                    self.account(&account, &mut keys);
                }
            }
            None => self.account_of_the_environment(&mut keys),
        }
        if let Some(shared) = root.field("shared_keys") {
            for node in shared.list().unwrap_or_default() {
                self.shared_key(&node, &mut keys);
            }
        }
        if keys.len() > MAX_KEYS {
            self.problems.expected(
                "accounts",
                format_args!("at most {MAX_KEYS} auth tokens and shared keys in all"),
            );
        }
        Keyring::new(keys)
    }

    fn account_of_the_environment(&self, keys: &mut Vec<Key>) {
        let account = self.variable(variable::ACCOUNT_SID);
        if let Some(account) = &account {
            match is_account_sid(account) {
                true => self.warn_of_account_sid(variable::ACCOUNT_SID, account),
                false => self.wrong_variable(variable::ACCOUNT_SID, account, ACCOUNT_SID),
            }
        }
        let token = self.variable(variable::AUTH_TOKEN).map(Secret::new);
        if let Some(token) = &token {
            match remnant(token.expose(), Place::Environment, Alphabet::Ascii) {
                Some(left) => self
                    .problems
                    .expected(variable::AUTH_TOKEN, format_args!("{A_KEY}: it {left}")),
                None => self.warn_of_token(variable::AUTH_TOKEN, token),
            }
        }
        let label = variable::AUTH_TOKEN.to_owned();
        keys.extend(token.and_then(|token| Key::auth_token(&token, account, label)));
    }

    fn account(&self, node: &Node<'_>, keys: &mut Vec<Key>) {
        let Some(account) = node.object("account_sid, auth_tokens") else {
            return;
        };
        let sid = account.field("account_sid").and_then(|node| {
            let sid = node.plain_text(ACCOUNT_SID)?;
            if !is_account_sid(sid) {
                return node.expected(ACCOUNT_SID);
            }
            self.warn_of_account_sid(node.path(), sid);
            Some(sid)
        });
        let tokens = account.required("auth_tokens").and_then(|node| node.list());
        for node in tokens.unwrap_or_default() {
            let Some((token, label)) = node.secret(self.environment, SecretKind::KEY) else {
                continue;
            };
            self.warn_of_token(node.path(), &token);
            keys.extend(Key::auth_token(&token, sid.map(str::to_owned), label));
        }
    }

    fn shared_key(&self, node: &Node<'_>, keys: &mut Vec<Key>) {
        let Some(object) = node.object("id, secret") else {
            return;
        };
        let id = object.required("id");
        let id = id.and_then(|node| node.plain_text("the key's id"));
        let secret = object.required("secret");
        let secret = secret.and_then(|node| node.secret(self.environment, SecretKind::KEY));
        let (Some(id), Some((secret, label))) = (id, secret) else {
            return;
        };
        if keys.iter().any(|key| key.shared_id.as_deref() == Some(id)) {
            self.problems.expected(
                format_args!("{}.id", node.path()),
                "an id that no other key has",
            );
        }
        keys.extend(SigningKey::shared_key(&secret).map(|signing| Key {
            signing,
            account: None,
            label,
            shared_id: Some(id.to_owned()),
        }));
    }

    /// Warns of an account SID that is not `AC` and 32 hex digits. It is accepted: tests have
    /// shorter ones.
    fn warn_of_account_sid(&self, path: &str, sid: &str) {
        if !sid.strip_prefix("AC").is_some_and(is_32_hex_digits) {
            self.warn(
                path,
                "this is not AC followed by 32 hex digits, as every account SID of Twilio's is; \
                 requests that name another account are rejected with account_mismatch",
            );
        }
    }

    /// Warns of a token that is not 32 hex digits. It is accepted: Twilio may have other forms
    /// one day, and tests have shorter ones.
    fn warn_of_token(&self, path: &str, token: &Secret) {
        let is_hex = is_32_hex_digits;
        let token = token.expose();
        let what = if is_hex(token) {
            return;
        } else if token.strip_prefix("AC").is_some_and(is_hex) {
            "this is an account SID in the place of an auth token, which stands below it in \
             Twilio's console"
        } else if token.strip_prefix("SK").is_some_and(is_hex) {
            "this is the SID of an API key, which signs no webhook; the auth token does"
        } else if token.contains('_') && !token.bytes().any(|byte| byte.is_ascii_lowercase()) {
            "this looks like the name of a variable, which would be {\"env\": \"NAME\"}"
        } else {
            "this is not 32 hex digits, as every auth token of Twilio's is (the secret of an API \
             key signs no webhook)"
        };
        self.warn(path, what);
    }
}

const ACCOUNT_SID: &str = "an account SID (AC followed by 32 hex digits)";

fn is_32_hex_digits(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns whether the text looks like an account SID; those of tests may be shorter.
fn is_account_sid(text: &str) -> bool {
    text.starts_with("AC") && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
