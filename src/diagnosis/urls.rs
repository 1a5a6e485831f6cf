//! The URL: another scheme, host, port or path than configured, or no query.
//!
//! Each part has variants with a rank: variants that the request names rank before those that are
//! merely common. URLs are tried in the order of the sum of their ranks, so that one likely mistake
//! comes before two, and two likely ones before one that is rare. At most one part besides the
//! scheme is a guess that nothing in the request suggests.

use crate::diagnosis::context::Context;
use crate::diagnosis::spellings;
use crate::diagnosis::work::Search;
use crate::signature::body_hash::BODY_HASH_PARAMETER;
use crate::signature::configured_url::ConfiguredUrl;
use crate::signature::url::Target;
use crate::signature::urlencoded::split_at_first_equals;

/// A variant of a part of the URL.
struct Variant {
    text: Vec<u8>,
    /// How unlikely it is; 0 is as configured.
    rank: u8,
    /// Whether nothing in the request suggests it.
    is_guess: bool,
    mistake: Mistake,
}

/// The mistake if a variant matches, to be put into words only then.
#[derive(Clone, Copy)]
enum Mistake {
    None,
    Scheme,
    /// The host, the port, or both.
    Authority,
    Said(&'static str),
    /// The path is in this header.
    Header(&'static str),
}

/// The maximum length of a header's value that is used, in bytes.
const MAX_VALUE: usize = 1024;

/// The maximum length of a path that is tried in other spellings.
const MAX_SPELLED: usize = 512;

/// The variants of a part, in the order of their ranks.
struct Part(Vec<Variant>);

impl Part {
    fn new(right: impl Into<Vec<u8>>) -> Part {
        Part(vec![Variant {
            text: right.into(),
            rank: 0,
            is_guess: false,
            mistake: Mistake::None,
        }])
    }

    /// Adds a variant.
    fn add(&mut self, rank: u8, text: Vec<u8>, mistake: Mistake) {
        self.insert(rank, false, text, mistake);
    }

    /// Adds a guess.
    fn guess(&mut self, rank: u8, text: Vec<u8>, mistake: Mistake) {
        self.insert(rank, true, text, mistake);
    }

    /// Inserts a variant after those of its rank, unless its text is there already.
    #[inline(never)]
    fn insert(&mut self, rank: u8, is_guess: bool, text: Vec<u8>, mistake: Mistake) {
        if self.0.iter().any(|variant| variant.text == text) {
            return;
        }
        let index = self.up_to(rank).count();
        let variant = Variant {
            text,
            rank,
            is_guess,
            mistake,
        };
        self.0.insert(index, variant);
    }

    /// Adds a variant whose mistake is a fixed text.
    fn say(&mut self, rank: u8, text: Vec<u8>, mistake: &'static str) {
        self.add(rank, text, Mistake::Said(mistake));
    }

    /// Returns the variants of at most this rank.
    fn up_to(&self, rank: u8) -> impl Iterator<Item = &Variant> {
        self.0
            .iter()
            .take_while(move |variant| variant.rank <= rank)
    }
}

/// Which part is a guess that nothing in the request suggests.
#[derive(Clone, Copy)]
pub(super) enum Guess {
    None,
    PathOrQuery,
    Authority,
}

/// The variants of each part.
pub(super) struct Urls {
    own: [Vec<u8>; 2],
    schemes: Part,
    authorities: Part,
    paths: Part,
    queries: Part,
}

impl Urls {
    /// Collects the variants; `None` if no work is left.
    pub(super) fn new(
        search: &mut Search<'_>,
        context: &Context<'_>,
        target: Target<'_>,
    ) -> Option<Urls> {
        let url = context.public.url();
        let path = own_path(context, target);
        let query = target.query.unwrap_or_default();
        // About 40 texts.
        let bytes = 8 * path.len() + 4 * query.len();
        if !search.work.take_copies(80, bytes) {
            return None;
        }
        let named = Named::new(context);
        let mut in_headers = Vec::new();
        for name in HEADERS_WITH_A_PATH {
            let Some(target) = target_in(context, name) else {
                continue;
            };
            let length = target.path.len() + target.query.unwrap_or_default().len();
            if !search.work.take_copies(4, 3 * length) {
                return None;
            }
            in_headers.push((name, target));
        }
        let own_scheme = own_scheme(url, target);
        Some(Urls {
            schemes: schemes(own_scheme, target.websocket),
            authorities: authorities(&named, url),
            paths: paths(context, path, target, &in_headers),
            queries: queries(url, target, &in_headers),
            own: [own_scheme.into(), authority(url.host(), url.port())],
        })
    }

    /// Returns scheme, authority and path as configured.
    pub(super) fn origin_and_path(&self) -> Vec<u8> {
        let parts = [&self.schemes, &self.authorities, &self.paths];
        let right = parts.iter().filter_map(|part| part.0.first());
        right
            .flat_map(|variant| variant.text.iter().copied())
            .collect()
    }

    /// Tries all URLs of a rank and with a guess. `signed` is what is signed after the URL.
    pub(super) fn explain(
        &self,
        search: &mut Search<'_>,
        (rank, guess): (u8, Guess),
        signed: &[u8],
    ) -> Option<String> {
        for query in self.queries.up_to(rank) {
            for path in self.paths.up_to(rank - query.rank) {
                if search.work.is_used_up() {
                    return None;
                }
                let left = rank - query.rank - path.rank;
                for authority in self.authorities.up_to(left) {
                    let left = left - authority.rank;
                    for scheme in self.schemes.up_to(left) {
                        let parts = [scheme, authority, path, query];
                        let guesses = (authority.is_guess, path.is_guess, query.is_guess);
                        let is_of_kind = match guess {
                            Guess::None => guesses == (false, false, false),
                            Guess::Authority => guesses == (true, false, false),
                            Guess::PathOrQuery => {
                                matches!(guesses, (false, true, false) | (false, false, true))
                            }
                        };
                        if scheme.rank != left || !is_of_kind {
                            continue;
                        }
                        let texts = parts.map(|part| part.text.as_slice());
                        let [scheme, authority, path, query] = texts;
                        if search.fits(&[scheme, authority, path, query, signed]) {
                            return Some(self.describe(parts));
                        }
                    }
                }
            }
        }
        None
    }

    /// Puts all mistakes into words.
    fn describe(&self, parts: [&Variant; 4]) -> String {
        let [own_scheme, own_authority] = &self.own;
        let mut mistakes = Vec::new();
        for part in parts {
            let text = shown(&part.text);
            match part.mistake {
                Mistake::None => {}
                Mistake::Scheme => mistakes.push(format!(
                    "the scheme that was signed is {}, not {}",
                    text.trim_end_matches("://"),
                    shown(own_scheme)
                )),
                Mistake::Authority => {
                    describe_authority(&text, &shown(own_authority), &mut mistakes)
                }
                Mistake::Said(mistake) => mistakes.push(mistake.into()),
                Mistake::Header(name) => mistakes.push(format!(
                    "the path was rewritten on the way: the one that was signed is in the header \
                     {name}"
                )),
            }
        }
        mistakes.join("; and ")
    }
}

/// Describes a wrong host or port. The signature matches, so that the holder of the key chose them.
fn describe_authority(signed: &str, own: &str, mistakes: &mut Vec<String>) {
    let (host, port) = split_host(signed);
    let (own_host, own_port) = split_host(own);
    if host != own_host {
        let without_user = host.rsplit('@').next().unwrap_or_default();
        mistakes.push(format!(
            "the host that was signed is {without_user}, not the configured one"
        ));
    }
    if port != own_port {
        mistakes.push(match port {
            Some(port) => format!("the URL that was signed has the port {port}"),
            None => "the URL that was signed has no port".into(),
        });
    }
}

/// The maximum number of characters of a part that a hint shows.
const MAX_SHOWN: usize = 255;

/// Returns the printable characters of a part.
fn shown(text: &[u8]) -> String {
    let printable = |byte: &u8| match byte {
        0x21..=0x7E => char::from(*byte),
        _ => '?',
    };
    text.iter().map(printable).take(MAX_SHOWN).collect()
}

/// Returns the scheme that should have been signed.
fn own_scheme<'a>(url: &'a ConfiguredUrl, target: Target<'_>) -> &'a str {
    match target.websocket {
        true => "wss",
        false => url.scheme(),
    }
}

fn schemes(own: &str, websocket: bool) -> Part {
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
fn authority(host: &str, port: Option<&str>) -> Vec<u8> {
    match port {
        Some(port) => format!("{host}:{port}").into_bytes(),
        None => host.as_bytes().to_vec(),
    }
}

fn split_host(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}

/// The maximum number of hosts from headers.
const MAX_HOSTS: usize = 6;

/// The maximum length of a host and port.
const MAX_AUTHORITY: usize = 253 + 6;

/// The hosts and ports that headers name.
#[derive(Default)]
struct Named<'a> {
    /// Hosts, with or without a port, the nearest to this filter first.
    authorities: Vec<&'a str>,
    ports: Vec<&'a str>,
}

impl<'a> Named<'a> {
    fn new(context: &Context<'a>) -> Named<'a> {
        let mut named = Named::default();
        for name in [
            ":authority",
            "host",
            "x-forwarded-host",
            "x-original-host",
            "x-host",
        ] {
            for element in elements(context, name) {
                named.add(element);
            }
        }
        for element in elements(context, "forwarded") {
            for pair in element.split(';') {
                if let Some((name, value)) = pair.split_once('=')
                    && name.trim().eq_ignore_ascii_case("host")
                {
                    named.add(value.trim().trim_matches('"'));
                }
            }
        }
        for name in HEADERS_WITH_A_PATH {
            for element in elements(context, name) {
                let rest = element.split_once("://");
                if let Some((authority, _)) = rest.and_then(|(_, rest)| rest.split_once('/')) {
                    named.add(authority);
                }
            }
        }
        for port in elements(context, "x-forwarded-port") {
            let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
            if is_port && named.ports.len() < 2 && !named.ports.contains(&port) {
                named.ports.push(port);
            }
        }
        named
    }

    fn add(&mut self, authority: &'a str) {
        let is_host_like = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if (1..=MAX_AUTHORITY).contains(&authority.len())
            && self.authorities.len() < MAX_HOSTS
            && authority.bytes().all(is_host_like)
            && !self.authorities.contains(&authority)
        {
            self.authorities.push(authority);
        }
    }
}

/// Returns the first elements of a header that is a list.
fn elements<'a>(
    context: &Context<'a>,
    name: &'static str,
) -> impl Iterator<Item = &'a str> + use<'a> {
    context
        .headers
        .all(name)
        .take(2)
        .filter(|value| value.len() <= MAX_VALUE)
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(',').take(MAX_HOSTS))
        .map(str::trim)
}

fn authorities(named: &Named<'_>, url: &ConfiguredUrl) -> Part {
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
fn own_path(context: &Context<'_>, target: Target<'_>) -> Vec<u8> {
    let url = context.public.url();
    if context.public.takes_path_from_request() {
        [url.path().trim_end_matches('/').as_bytes(), target.path].concat()
    } else {
        url.path().as_bytes().to_vec()
    }
}

/// Headers in which proxies keep the path, or the whole URL, before they rewrite it.
const HEADERS_WITH_A_PATH: [&str; 7] = [
    "x-envoy-original-path",
    "x-original-uri",
    "x-forwarded-uri",
    "x-replaced-path",
    "x-forwarded-path",
    "x-original-url",
    "x-rewrite-url",
];

/// Returns path and query of a header, which may be a whole URL.
fn target_in<'a>(context: &Context<'a>, name: &'static str) -> Option<Target<'a>> {
    let mut values = context.headers.all(name);
    let value = values.next().filter(|value| value.len() <= MAX_VALUE)?;
    let rest = [&b"https://"[..], b"http://"];
    let rest = rest.iter().find_map(|scheme| value.strip_prefix(*scheme));
    let path_and_query = match rest {
        Some(rest) => rest.get(rest.iter().position(|byte| *byte == b'/')?..)?,
        None => value,
    };
    Some(Target::new(path_and_query, false))
}

fn paths(
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
fn queries(
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
