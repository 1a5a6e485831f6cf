//! Which webhook a request's path belongs to.

use std::rc::Rc;

use crate::config::settings::Settings;
use crate::pipeline::webhook::Webhook;
use crate::reason::Reason;
use crate::request::path::{normalize_leniently, normalize_trimmed};

/// What a path belongs to.
pub enum Route {
    /// A webhook.
    Webhook(Rc<Webhook>),
    /// No webhook, and it passes unchecked.
    Exempt,
    /// Nothing: the request is rejected for this reason.
    Rejected(Reason),
}

/// The longest path, in bytes, that is compared with those of webhooks for a hint: paths
/// that are entered by hand are shorter.
const MAX_NEAR_MISS: usize = 512;

/// Returns what a path belongs to. One that could only be *read* as a webhook's is none, and
/// is not exempt either: an upstream may be more lenient than this filter.
pub fn route(settings: &Settings, webhooks: &[Rc<Webhook>], path: &[u8]) -> Route {
    if path.len() > settings.max_target_bytes {
        return Route::Rejected(Reason::TargetTooLong);
    }
    let pattern = |webhook: &&Rc<Webhook>| webhook.settings.path.matches(path);
    let is_prefix = |webhook: &&Rc<Webhook>| webhook.settings.path.is_prefix();
    let mut matching = webhooks.iter().filter(pattern);
    let exact = matching.find(|webhook| !is_prefix(webhook));
    let longest_prefix = || {
        let matching = webhooks.iter().filter(pattern).filter(is_prefix);
        matching.max_by_key(|webhook| webhook.settings.path.as_configured().len())
    };
    if let Some(webhook) = exact.or_else(longest_prefix) {
        return Route::Webhook(Rc::clone(webhook));
    }
    let exempt = || settings.exempt_paths.iter();
    // Loading has seen to it that this is no webhook, however it is read.
    if exempt().any(|pattern| !pattern.is_prefix() && pattern.matches(path)) {
        return Route::Exempt;
    }
    if !exempt().any(|pattern| pattern.matches(path)) {
        return Route::Rejected(Reason::UnknownWebhook);
    }
    let could_be_a_webhook = |plain: &[u8]| {
        webhooks.iter().any(|webhook| {
            let pattern = &webhook.settings.path;
            pattern.could_reach(plain) || pattern.begins(plain)
        })
    };
    let plain = normalize_leniently(path);
    // What an escape that is not UTF-8 means is anybody's guess (`%c0%ae` is a dot to some).
    if std::str::from_utf8(&plain).is_err()
        || could_be_a_webhook(&plain)
        || could_be_a_webhook(&normalize_trimmed(path))
    {
        return Route::Rejected(Reason::UnknownWebhook);
    }
    Route::Exempt
}

/// Returns which webhook's path an unknown path nearly is, and what is different.
pub fn near_miss(webhooks: &[Rc<Webhook>], path: &[u8]) -> Option<String> {
    if path.len() > MAX_NEAR_MISS {
        return None;
    }
    let normalized = normalize_leniently(path);
    webhooks.iter().find_map(|webhook| {
        let pattern = &webhook.settings.path;
        let difference = pattern.difference(path, &normalized)?;
        Some(format!(
            "it differs from the webhook {} only {difference}: the path has to be the same to \
             the letter at Twilio, here and wherever it is rewritten on the way",
            pattern.as_configured()
        ))
    })
}
