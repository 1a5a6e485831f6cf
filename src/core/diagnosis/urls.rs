//! Is it the URL? Another scheme, host, port, path or query than is configured.

use std::collections::BinaryHeap;

use crate::core::diagnosis::{Evidence, Search};
use crate::core::signature::form::{hex_digit, split_at_first_equals};
use crate::core::signature::url::{ConfiguredUrl, Target};

/// One way to write a part of the URL, and what is wrong if it is the right one.
struct Variant {
    text: Vec<u8>,
    /// `None`: as configured.
    mistake: Option<String>,
}

impl Variant {
    fn right(text: impl Into<Vec<u8>>) -> Variant {
        Variant {
            text: text.into(),
            mistake: None,
        }
    }

    fn wrong(text: impl Into<Vec<u8>>, mistake: impl Into<String>) -> Variant {
        Variant {
            text: text.into(),
            mistake: Some(mistake.into()),
        }
    }
}

/// Adds a way to write a part, unless it is there already. Not inlined: it is called two
/// dozen times.
#[inline(never)]
fn add_wrong(variants: &mut Vec<Variant>, text: Vec<u8>, mistake: &str) {
    if !variants.iter().any(|variant| variant.text == text) {
        variants.push(Variant::wrong(text, mistake));
    }
}

/// The ways to write each part: the first of each is the right one.
struct Parts {
    schemes: Vec<Variant>,
    hosts: Vec<Variant>,
    ports: Vec<Variant>,
    paths: Vec<Variant>,
    queries: Vec<Variant>,
}

/// Tries URLs that differ from the configured one in one part.
pub(super) fn explain_one_part(
    search: &mut Search<'_>,
    evidence: &Evidence<'_>,
    target: Target<'_>,
    signed: &[u8],
) -> Option<String> {
    let parts = Parts::new(evidence, target);
    let all = parts.in_order();
    let right: Option<Vec<&Variant>> = all.iter().map(|variants| variants.first()).collect();
    let right = right?;
    all.iter().enumerate().find_map(|(place, variants)| {
        variants.iter().skip(1).find_map(|variant| {
            let mut url = right.clone();
            *url.get_mut(place)? = variant;
            try_url(search, &url, signed)
        })
    })
}

/// Tries URLs that differ in several parts: what a wrong URL in the configuration
/// looks like. Of the query only whether there is one: the rest would be too many.
pub(super) fn explain_several_parts(
    search: &mut Search<'_>,
    evidence: &Evidence<'_>,
    target: Target<'_>,
    signed: &[u8],
) -> Option<String> {
    let parts = Parts::new(evidence, target);
    let [schemes, hosts, ports, paths, queries] = parts.in_order();
    for query in queries.iter().take(2) {
        for path in paths {
            for (host, port) in hosts
                .iter()
                .flat_map(|host| ports.iter().map(move |port| (host, port)))
            {
                for scheme in schemes {
                    let found = try_url(search, &[scheme, host, port, path, query], signed);
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
    }
    None
}

/// What is wrong with the configured URL, if this one is right.
fn try_url(search: &mut Search<'_>, url: &[&Variant], signed: &[u8]) -> Option<String> {
    let mut message = Vec::with_capacity(256 + signed.len());
    for part in url {
        message.extend_from_slice(&part.text);
    }
    message.extend_from_slice(signed);
    search.key_for(&message)?;
    let mistakes = url.iter().filter_map(|part| part.mistake.as_deref());
    Some(mistakes.collect::<Vec<_>>().join("; and "))
}

impl Parts {
    fn new(evidence: &Evidence<'_>, target: Target<'_>) -> Parts {
        let url = evidence.public.url();
        let named = named_hosts(evidence);
        Parts {
            schemes: schemes(url, target),
            hosts: hosts(&named, url),
            ports: ports(&named, evidence, url),
            paths: paths(evidence, url, target),
            queries: queries(target.query),
        }
    }

    fn in_order(&self) -> [&[Variant]; 5] {
        [
            &self.schemes,
            &self.hosts,
            &self.ports,
            &self.paths,
            &self.queries,
        ]
    }
}

fn schemes(url: &ConfiguredUrl, target: Target<'_>) -> Vec<Variant> {
    let own = if target.websocket {
        "wss"
    } else {
        url.scheme()
    };
    let mut variants = vec![Variant::right(format!("{own}://"))];
    for other in ["https", "http", "wss"] {
        if other != own {
            variants.push(Variant::wrong(
                format!("{other}://"),
                format!("the scheme that was signed is {other}, not {own}"),
            ));
        }
    }
    variants
}

/// The hosts that the request itself names.
fn named_hosts(evidence: &Evidence<'_>) -> Vec<String> {
    [":authority", "host", "x-forwarded-host", "x-original-host"]
        .iter()
        .flat_map(|name| evidence.headers.all(name))
        .filter_map(|value| std::str::from_utf8(value).ok())
        .map(str::to_owned)
        .take(4)
        .collect()
}

fn split_host(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    }
}

fn hosts(named: &[String], url: &ConfiguredUrl) -> Vec<Variant> {
    let own = url.host();
    let mut names = Vec::new();
    for named in named {
        names.push(split_host(named).0.to_owned());
    }
    names.push(own.to_ascii_lowercase());
    match own.strip_prefix("www.") {
        Some(bare) => names.push(bare.to_owned()),
        None => names.push(format!("www.{own}")),
    }
    if let Some((_, without_user)) = own.rsplit_once('@') {
        names.push(without_user.to_owned());
    }
    let mut variants = vec![Variant::right(own)];
    for name in names {
        // The signature fits, so this name was chosen by who holds the key.
        let shown = name.rsplit('@').next().unwrap_or_default();
        let mistake = format!("the host that was signed is {shown}, not the configured one");
        add_wrong(&mut variants, name.into_bytes(), &mistake);
    }
    variants
}

fn ports(named: &[String], evidence: &Evidence<'_>, url: &ConfiguredUrl) -> Vec<Variant> {
    let own = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let mut ports: Vec<String> = vec![String::new()];
    for named in named {
        ports.extend(split_host(named).1.map(|port| format!(":{port}")));
    }
    for value in evidence.headers.all("x-forwarded-port").take(1) {
        if !value.is_empty() && value.len() <= 5 && value.iter().all(u8::is_ascii_digit) {
            ports.push(format!(":{}", String::from_utf8_lossy(value)));
        }
    }
    for usual in ["443", "80", "8443", "8080", "5000", "3000", "10000"] {
        ports.push(format!(":{usual}"));
    }
    let mut variants = vec![Variant::right(own)];
    for port in ports {
        let mistake = match port.strip_prefix(':') {
            Some(port) => format!("the URL that was signed has the port {port}"),
            None => "the URL that was signed has no port".to_owned(),
        };
        add_wrong(&mut variants, port.into_bytes(), &mistake);
    }
    variants
}

fn paths(evidence: &Evidence<'_>, url: &ConfiguredUrl, target: Target<'_>) -> Vec<Variant> {
    let received = target.path.to_vec();
    let own = if evidence.public.takes_path_from_request() {
        [url.path().trim_end_matches('/').as_bytes(), &received].concat()
    } else {
        url.path().as_bytes().to_vec()
    };
    let mut variants = vec![Variant::right(own.clone())];
    let mut add = |text, mistake| add_wrong(&mut variants, text, mistake);
    match own.strip_suffix(b"/") {
        Some(without) => add(
            without.to_vec(),
            "the path that was signed has no slash at its end",
        ),
        None => add(
            [&own, &b"/"[..]].concat(),
            "the path that was signed has a slash at its end",
        ),
    }
    const AS_RECEIVED: &str = "the path that was signed is the one that arrived here, not the one \
                               in the configured url";
    add(received.clone(), AS_RECEIVED);
    for name in ["x-envoy-original-path", "x-original-uri", "x-forwarded-uri"] {
        for value in evidence.headers.all(name).take(1) {
            let path = Target::new(value, false).path.to_vec();
            add(
                path,
                "the path was rewritten on the way: the one that was signed is in a header of the \
                 proxy in front",
            );
        }
    }
    for prefix in evidence.headers.all("x-forwarded-prefix").take(1) {
        add(
            [prefix.strip_suffix(b"/").unwrap_or(prefix), &received].concat(),
            "a proxy in front took a prefix off the path that was signed",
        );
    }
    let collapsed = spelled_simply(&own);
    add(
        collapsed,
        "the path that was signed is spelled without double slashes",
    );
    let lower = own.to_ascii_lowercase();
    add(lower, "the path that was signed is in lower case");
    variants
}

fn spelled_simply(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for byte in path {
        if !(*byte == b'/' && out.last() == Some(&b'/')) {
            out.push(*byte);
        }
    }
    out
}

/// Up to this many parameters every order of them is tried.
const MOST_PERMUTED: usize = 5;

fn queries(query: Option<&[u8]>) -> Vec<Variant> {
    let with_mark = |query: &[u8]| [b"?", query].concat();
    let Some(query) = query else {
        return vec![
            Variant::right(""),
            Variant::wrong("?", "the URL that was signed ends in a question mark"),
        ];
    };
    let mut variants = vec![
        Variant::right(with_mark(query)),
        Variant::wrong("", "the URL that was signed has no query"),
    ];
    let mut add = |text: Vec<u8>, mistake| add_wrong(&mut variants, with_mark(&text), mistake);
    const ESCAPING: &str = "the query that was signed is escaped in another way: put the url with \
                            its query, as it is at Twilio, into webhooks[].url";
    const ORDER: &str = "the query that was signed is in another order: put the url with its query, \
                         as it is at Twilio, into webhooks[].url";
    add(unescaped(query), ESCAPING);
    add(escaped(query), ESCAPING);
    add(replaced(query, b"+", b"%20"), ESCAPING);
    add(replaced(query, b"%20", b"+"), ESCAPING);
    add(hex_case(query, u8::to_ascii_lowercase), ESCAPING);
    add(hex_case(query, u8::to_ascii_uppercase), ESCAPING);
    let pieces: Vec<&[u8]> = query.split(|byte| *byte == b'&').collect();
    let is_named = |piece: &&&[u8]| !split_at_first_equals(piece).1.is_empty();
    let filled: Vec<&[u8]> = pieces.iter().filter(is_named).copied().collect();
    add(
        filled.join(&b'&'),
        "the query that was signed lacks the parameters without a value",
    );
    let mut sorted = BinaryHeap::from(pieces.clone()).into_sorted_vec();
    add(sorted.join(&b'&'), ORDER);
    sorted.reverse();
    add(sorted.join(&b'&'), ORDER);
    if pieces.len() <= MOST_PERMUTED {
        permute(&pieces, &mut Vec::new(), &mut |order| {
            add(order.join(&b'&'), ORDER)
        });
    }
    variants
}

fn permute<'a>(left: &[&'a [u8]], chosen: &mut Vec<&'a [u8]>, visit: &mut dyn FnMut(&[&[u8]])) {
    if left.is_empty() {
        visit(chosen);
    }
    for (place, piece) in left.iter().enumerate() {
        let mut rest = left.to_vec();
        rest.remove(place);
        chosen.push(piece);
        permute(&rest, chosen, visit);
        chosen.pop();
    }
}

/// Escapes of visible characters undone, but for those that would change the parameters.
fn unescaped(query: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(query.len());
    let mut rest = query;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if let (b'%', [high, low, after @ ..]) = (*first, rest)
            && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
            && let byte = high << 4 | low
            && byte.is_ascii_graphic()
            && !b"&=%+#".contains(&byte)
        {
            out.push(byte);
            rest = after;
        } else {
            out.push(*first);
        }
    }
    out
}

/// Every character escaped that is not unreserved, delimiters apart.
fn escaped(query: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(query.len());
    for byte in query {
        if byte.is_ascii_alphanumeric() || b"-._~&=%+".contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

fn hex_case(query: &[u8], change: fn(&u8) -> u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(query.len());
    let mut digits = 0;
    for byte in query {
        match byte {
            b'%' => {
                digits = 2;
                out.push(*byte);
            }
            byte if digits > 0 => {
                digits -= 1;
                out.push(change(byte));
            }
            byte => out.push(*byte),
        }
    }
    out
}

pub(super) fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        match rest.strip_prefix(from) {
            Some(after) if !from.is_empty() => {
                out.extend_from_slice(to);
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}
