//! The hint if nothing matches: what was tried, and the remaining causes in the order of their
//! likelihood. It blames the token only if something suggests that.

use crate::diagnosis::context::Context;
use crate::diagnosis::keys::Suspected;
use crate::signature::form::Form;
use crate::signature::keyring::Key;
use crate::signature::url::Target;
use crate::time::Millis;

/// The maximum length of a URL that is shown.
const MAX_SHOWN: usize = 200;
/// The maximum number of keys that are named.
const MAX_KEYS_SHOWN: usize = 3;

pub(super) fn no_match(
    context: &Context<'_>,
    target: Target<'_>,
    form: Option<&Form>,
    keys: &Suspected<'_>,
    unknown_id: Option<&str>,
    used_up: bool,
) -> String {
    let mut hint = format!(
        "nothing that is known to go wrong makes it fit. Tried: {}, {}, {}",
        url(context, target),
        parameters(form),
        names_of(&keys.selected),
    );
    if used_up {
        hint.push_str(", and of the known mistakes the likelier ones: all would take too long");
    }
    let query = match target.query {
        Some(query) if !query.is_empty() => {
            ", another query than the one that arrived, in order, escaping or parameters,"
        }
        _ => ", a query",
    };
    hint.push_str(". What is left, the likeliest first: ");
    if let Some(id) = unknown_id {
        hint.push_str(&format!(
            "the request asks for the shared key {id}, which is not configured (shared_keys); "
        ));
    }
    hint.push_str(&format!(
        "the URL at Twilio is another one (a path or a \
         prefix of it{query} or a host that this filter cannot see)"
    ));
    if form.is_some() {
        hint.push_str("; a parameter was added, dropped or changed on the way");
    }
    hint.push_str(&match verified(context, &keys.selected) {
        Some((key, ago)) => format!(
            "; the key is right: {} has verified another request {} s ago",
            key.label,
            ago.0 / 1000
        ),
        None if keys.selected.iter().all(|(_, key)| key.shared_id.is_some()) => {
            "; the secret is another one than Twilio has for that id; or it is forged".into()
        }
        None => "; the token is another account's or an old one; or it is forged".into(),
    });
    hint
}

/// Returns the key that verified a request most recently, if one did so lately.
fn verified<'a>(context: &Context<'_>, keys: &[(usize, &'a Key)]) -> Option<(&'a Key, Millis)> {
    let now = context.now;
    let lately = |(index, key): &(usize, &'a Key)| {
        let ago = context.verified.lately(*index, now)?;
        Some((*key, ago))
    };
    keys.iter().filter_map(lately).min_by_key(|(_, ago)| *ago)
}

/// Returns the URL as configured; what the request says is unsigned, and not shown.
fn url(context: &Context<'_>, target: Target<'_>) -> String {
    let url = context.public.url();
    let scheme = if target.websocket {
        "wss"
    } else {
        url.scheme()
    };
    let host = url.host().rsplit('@').next().unwrap_or_default();
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let path = url.path();
    let text = format!("{scheme}://{host}{port}{path}");
    let is_long = text.chars().nth(MAX_SHOWN).is_some();
    let mut shown: String = text.chars().take(MAX_SHOWN).collect();
    if is_long {
        shown.push('…');
    }
    if context.public.takes_path_from_request() {
        shown.push_str(" followed by the path that arrived");
    }
    match target.query {
        None => shown + " without a query",
        Some(query) => {
            let pieces = query.split(|byte| *byte == b'&');
            let count = pieces.filter(|piece| !piece.is_empty()).count();
            format!("{shown} with a query of {}", counted(count))
        }
    }
}

fn parameters(form: Option<&Form>) -> String {
    match form {
        None => "no form".into(),
        Some(form) => format!("a form of {}", counted(form.pairs().count())),
    }
}

fn counted(count: usize) -> String {
    match count {
        1 => "1 parameter".into(),
        count => format!("{count} parameters"),
    }
}

fn names_of(keys: &[(usize, &Key)]) -> String {
    let name = |(_, key): &(usize, &Key)| match &key.shared_id {
        // The request selects it by the id.
        Some(id) => format!("{} (id {id})", key.label),
        None => key.label.clone(),
    };
    let shown: Vec<String> = keys.iter().take(MAX_KEYS_SHOWN).map(name).collect();
    let more = keys.len().saturating_sub(shown.len());
    let word = if keys.len() == 1 {
        "the key"
    } else {
        "the keys"
    };
    match more {
        0 => format!("{word} {}", shown.join(", ")),
        more => format!("{word} {} and {more} more", shown.join(", ")),
    }
}
