//! The keys that a diagnosis tries, and what is wrong if none can match.

use std::cmp::Reverse;

use crate::diagnosis::context::{Context, FailedSignature};
use crate::diagnosis::last_verified::LastVerified;
use crate::signature::form::Form;
use crate::signature::keyring::{Key, Keyring, selected_id};
use crate::signature::verify::ACCOUNT_PARAMETER;

/// The maximum number of keys with which each mistake is tried.
const MAX_KEYS: usize = 4;

/// The keys to try, each with its index in the keyring.
pub(super) struct Suspected<'a> {
    /// The keys that the request selects, the likeliest first, at most [`MAX_KEYS`].
    pub(super) selected: Vec<(usize, &'a Key)>,
    /// Other keys whose MACs are as long.
    pub(super) unselected: Vec<(usize, &'a Key)>,
}

impl<'a> Suspected<'a> {
    pub(super) fn new(
        failed_signature: &FailedSignature,
        context: &Context<'a>,
        query: &Form,
    ) -> Suspected<'a> {
        let named: Vec<&[u8]> = named_accounts(failed_signature.form.as_ref(), query).collect();
        let length = failed_signature.claimed.length();
        let settings = failed_signature.settings.as_deref();
        let likely = |keys: Vec<(usize, &'a Key)>| likely(keys, &named, context.verified);
        let selected: Vec<_> = context.keyring.candidates(settings, length).collect();
        let unselected: Vec<_> = (0..context.keyring.len())
            .filter_map(|index| Some((index, context.keyring.get(index)?)))
            .filter(|(index, key)| {
                key.signing.mac_length() == length
                    && selected.iter().all(|(other, _)| other != index)
            })
            .collect();
        Suspected {
            selected: likely(selected),
            unselected: likely(unselected),
        }
    }
}

/// Returns the keys of the named accounts and of no account, or all if there are none. Keys that
/// verified something lately come first.
fn likely<'a>(
    mut keys: Vec<(usize, &'a Key)>,
    named: &[&[u8]],
    verified: &LastVerified,
) -> Vec<(usize, &'a Key)> {
    let belongs = |key: &Key| {
        let account = key.account.as_ref().map(String::as_bytes);
        account.is_none_or(|account| named.contains(&account))
    };
    if !named.is_empty() && keys.iter().any(|(_, key)| belongs(key)) {
        keys.retain(|(_, key)| belongs(key));
    }
    let last = |index: usize| Reverse(verified.of(index));
    let mut chosen = Vec::new();
    while chosen.len() < MAX_KEYS
        && let Some(likeliest) = keys.iter().map(|(index, _)| (last(*index), *index)).min()
        && let Some(found) = keys.iter().position(|(index, _)| *index == likeliest.1)
    {
        chosen.push(keys.remove(found));
    }
    chosen
}

/// Returns the accounts that form and query name.
pub(super) fn named_accounts<'f>(
    form: Option<&'f Form>,
    query: &'f Form,
) -> impl Iterator<Item = &'f [u8]> {
    let form = form.into_iter();
    form.flat_map(|form| form.values(ACCOUNT_PARAMETER))
        .chain(query.values(ACCOUNT_PARAMETER))
}

/// Explains that no configured key can have made the signature, before any is tried.
pub(super) fn explain_none(
    failed_signature: &FailedSignature,
    context: &Context<'_>,
) -> Option<String> {
    let keyring = context.keyring;
    let length = failed_signature.claimed.length();
    let settings = failed_signature.settings.as_deref();
    let algorithm = match length {
        32 => "by a shared key (HMAC-SHA256)",
        _ => "by an auth token (HMAC-SHA1)",
    };
    if keyring.of_mac_length(length).next().is_none() {
        let setting = match length {
            32 => "shared_keys",
            _ => "accounts",
        };
        return Some(format!(
            "it is a signature {algorithm}, and none is configured ({setting})"
        ));
    }
    if keyring.candidates(settings, length).next().is_some() {
        return None;
    }
    let Some(id) = settings.and_then(selected_id) else {
        return Some(format!(
            "it is a signature {algorithm}, and the request does not say by which: the header \
             x-twilio-webhooks-signature-settings is missing"
        ));
    };
    Some(match keyring.position_of_shared(id).is_some() {
        true => format!(
            "the request selects the shared key {}, which is configured, and its signature is \
             one {algorithm}",
            shown_id(id)
        ),
        false => format!(
            "the request selects the shared key {}, which is not configured (shared_keys)",
            shown_id(id)
        ),
    })
}

/// Returns the id of the shared key that the request selects, if none with it is configured.
pub(super) fn unknown_id(failed_signature: &FailedSignature, keyring: &Keyring) -> Option<String> {
    let id = failed_signature.settings.as_deref().and_then(selected_id)?;
    let is_unknown = keyring.position_of_shared(id).is_none();
    is_unknown.then(|| shown_id(id))
}

/// The maximum length of an id that is shown.
const MAX_ID: usize = 64;

/// Returns an id as the log may show it, since it is unsigned.
fn shown_id(id: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    match std::str::from_utf8(id) {
        Ok("") => "with no id".into(),
        Ok(text) if text.len() <= MAX_ID && text.bytes().all(|byte| is_plain(&byte)) => text.into(),
        _ => "with an id that is too long or not printable".into(),
    }
}

/// Explains that the request names an account that is not configured.
pub(super) fn explain_account(
    failed_signature: &FailedSignature,
    query: &Form,
    keyring: &Keyring,
) -> Option<String> {
    let mut named = named_accounts(failed_signature.form.as_ref(), query);
    let is_configured = |named: &[u8]| keyring.accounts().any(|own| own.as_bytes() == named);
    let is_unknown =
        keyring.accounts().next().is_some() && named.any(|named| !is_configured(named));
    is_unknown.then(|| {
        "the parameters name an account that is not configured (accounts): its token is not known \
         here"
            .into()
    })
}
