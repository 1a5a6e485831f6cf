//! Scheme, authority, path and query as configured, and their variants.

use crate::diagnosis::context::Context;
use crate::diagnosis::spellings;
use crate::diagnosis::urls::named::{MAX_VALUE, Named};
use crate::diagnosis::urls::variants::{Mistake, Part};
use crate::signature::body_hash::BODY_HASH_PARAMETER;
use crate::signature::configured_url::ConfiguredUrl;
use crate::signature::url::Target;
use crate::signature::urlencoded::split_at_first_equals;

/// The maximum length of a path that is tried in other spellings.
const MAX_SPELLED: usize = 512;

/// Returns the scheme that should have been signed.
pub(super) fn own_scheme<'a>(url: &'a ConfiguredUrl, target: Target<'_>) -> &'a str {
    match target.websocket {
        true => "wss",
        false => url.scheme(),
    }
}

pub(super) fn schemes(own: &str, websocket: bool) -> Part {
    let mut schemes = Part::new(format!("{own}://"));
    for other in ["https", "http", "wss", "ws"] {
        if other == own {
            continue;
        }
        let is_usual = match websocket {
            true => other != "ws",
            false => other.starts_with("http"),
        };
        let rank = if is_usual { 1 } else { 5 };
        schemes.add(rank, format!("{other}://").into_bytes(), Mistake::Scheme);
    }
    schemes
}

/// Returns `host:port`, or the host alone.
#[inline(never)]
pub(super) fn authority(host: &str, port: Option<&str>) -> Vec<u8> {
    match port {
        Some(port) => format!("{host}:{port}").into_bytes(),
        None => host.as_bytes().to_vec(),
    }
}

pub(super) fn split_host(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}

pub(super) fn authorities(named: &Named<'_>, url: &ConfiguredUrl) -> Part {
    let (own, own_port) = (url.host(), url.port());
    let mut part = Part::new(authority(own, own_port));
    let mut add = |rank, host: &str, port: Option<&str>| {
        part.add(rank, authority(host, port), Mistake::Authority);
    };
    // Without a port this is as configured, and not added.
    add(1, own, None);
    for name in &named.authorities {
        let (host, port) = split_host(name);
        add(1, host, port);
        add(1, host, None);
        add(1, own, port);
        add(2, host, own_port);
        for port in &named.ports {
            add(2, host, Some(port));
        }
    }
    for port in &named.ports {
        // Most load balancers send one of these.
        let rank = if matches!(*port, "443" | "80") { 3 } else { 1 };
        add(rank, own, Some(port));
    }
    let lower = own.to_ascii_lowercase();
    add(1, &lower, own_port);
    if let Some((_, without_user)) = own.rsplit_once('@') {
        add(1, without_user, own_port);
    }
    let mut guess = |rank, host: &str, port: Option<&str>| {
        part.guess(rank, authority(host, port), Mistake::Authority);
    };
    match own.strip_prefix("www.") {
        Some(bare) => guess(3, bare, own_port),
        None => guess(3, &format!("www.{own}"), own_port),
    }
    // Common ports in development and behind a proxy.
    for port in ["8443", "8080", "5000", "3000", "8000"] {
        guess(3, own, Some(port));
    }
    for port in ["10000", "80", "443"] {
        guess(5, own, Some(port));
    }
    part
}

/// Returns the path that should have been signed.
pub(super) fn own_path(context: &Context<'_>, target: Target<'_>) -> Vec<u8> {
    let url = context.public.url();
    if context.public.takes_path_from_request() {
        [url.path().trim_end_matches('/').as_bytes(), target.path].concat()
    } else {
        url.path().as_bytes().to_vec()
    }
}

pub(super) fn paths(
    context: &Context<'_>,
    own: Vec<u8>,
    target: Target<'_>,
    in_headers: &[(&'static str, Target<'_>)],
) -> Part {
    const AS_RECEIVED: &str = "the path that was signed is the one that arrived here, not the one \
                               in the configured url";
    const PREFIX: &str = "a proxy in front took a prefix off the path that was signed";
    const ESCAPING: &str = "an escape in the path was undone or added on the way: the path that \
                            was signed is escaped in another way";
    const MERGED: &str = "slashes in the path were merged on the way: the path that was signed \
                          has a double slash";
    const NO_SLASH: &str = "the path that was signed has no slash at its end";
    const SLASH: &str = "the path that was signed has a slash at its end";
    const SINGLE: &str = "the path that was signed is spelled without double slashes";
    const LOWER_CASE: &str = "the path that was signed is in lower case";
    let received = target.path;
    let mut part = Part::new(own.clone());
    let (other, mistake) = match own.strip_suffix(b"/") {
        Some(without) => (without.to_vec(), NO_SLASH),
        None => ([&own, &b"/"[..]].concat(), SLASH),
    };
    part.guess(1, other, Mistake::Said(mistake));
    part.say(1, received.to_vec(), AS_RECEIVED);
    for (name, target) in in_headers {
        part.add(1, target.path.to_vec(), Mistake::Header(name));
    }
    let prefixes = context.headers.all("x-forwarded-prefix").take(1);
    for prefix in prefixes.filter(|prefix| prefix.len() <= MAX_VALUE) {
        let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
        part.say(1, [prefix, received].concat(), PREFIX);
        part.say(1, [prefix, &own].concat(), PREFIX);
    }
    if own.len() > MAX_SPELLED {
        return part;
    }
    part.say(2, spellings::without_double_slashes(&own), SINGLE);
    for escaped in spellings::of_path(&own) {
        part.say(2, escaped, ESCAPING);
    }
    for which in spellings::DOUBLED_SLASHES {
        // A configured path is more likely to be right. Who merges slashes merges all of them.
        let rank = match (context.public.takes_path_from_request(), which.count_ones()) {
            (true, 1) => 2,
            (true, _) => 3,
            (false, 1) => 4,
            (false, _) => break,
        };
        if let Some(doubled) = spellings::with_double_slashes(&own, which) {
            part.guess(rank, doubled, Mistake::Said(MERGED));
        }
    }
    part.guess(3, own.to_ascii_lowercase(), Mistake::Said(LOWER_CASE));
    part
}

/// Returns the variants of the query as a whole.
pub(super) fn queries(
    url: &ConfiguredUrl,
    target: Target<'_>,
    in_headers: &[(&'static str, Target<'_>)],
) -> Part {
    const OWN_LOST: &str = "the query of the configured url was signed, and the request came \
                            without it: something on the way drops the query";
    const OWN: &str = "the query of the configured url was signed, and the request came with \
                       another one: something on the way changes the query";
    const IN_A_HEADER: &str = "the query was changed on the way: the one that was signed is in a \
                               header of the proxy in front";
    let with_mark = |query: &[u8]| [b"?", query].concat();
    let mut part = Part::new(target.query.map(with_mark).unwrap_or_default());
    if let Some(own) = url.query() {
        let own = own.as_bytes();
        let mistake = target.query.map_or(OWN_LOST, |_| OWN);
        part.say(1, with_mark(own), mistake);
        let hash = target.query.and_then(body_hash_piece);
        if let Some(hash) = hash {
            part.say(2, with_mark(&[own, hash].join(&b'&')), OWN);
        }
    }
    if target.query.is_some() {
        part.say(1, Vec::new(), "the URL that was signed has no query");
    }
    for (_, target) in in_headers {
        if let Some(query) = target.query {
            part.say(1, with_mark(query), IN_A_HEADER);
        }
    }
    if target.query.is_none() {
        const MARK: &str = "the URL that was signed ends in a question mark";
        part.guess(3, b"?".to_vec(), Mistake::Said(MARK));
    }
    part
}

/// Returns the piece of a query that holds the hash of the body.
fn body_hash_piece(query: &[u8]) -> Option<&[u8]> {
    let mut pieces = query.split(|byte| *byte == b'&');
    pieces.find(|piece| split_at_first_equals(piece).0 == BODY_HASH_PARAMETER)
}
