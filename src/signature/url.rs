//! The URL as Twilio signed it.
//!
//! A mesh does not see that URL: TLS ends in front of it, ports appear and
//! vanish, paths are rewritten. So it is configured, never guessed, and the few
//! forms that Twilio is known to sign are tried: as it is, without its port, with
//! the default port added; without its user and password and with them; for WebSockets
//! with and without a slash at the end.
//!
//! ```text
//! url       = scheme "://" authority [ path ] [ "?" query ] [ "#" fragment ]
//! authority = [ userinfo "@" ] host [ ":" port ]
//! ```

use crate::config::settings::FormReading;
use crate::copied::{has, is_blank, is_quote, is_variable, trim};
use crate::signature::coverage::{ends_in_hash, is_body_hash};
use crate::signature::form::{Form, decode, split_at_first_equals};

/// A configured URL, or the part of one in front of a path, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredUrl {
    scheme: String,
    /// Userinfo and host, without the port.
    host: String,
    port: Option<String>,
    /// From the first slash to the query; may be empty.
    path: String,
    /// Without the `?`.
    query: Option<String>,
}

impl ConfiguredUrl {
    /// Takes a URL apart, byte for byte. The fragment is dropped: Twilio's
    /// `#rc=5&rp=all` overrides are neither sent nor signed.
    ///
    /// # Errors
    /// One sentence that says what a URL has to look like.
    pub fn parse(text: &str) -> Result<ConfiguredUrl, &'static str> {
        as_it_was_meant(text)?;
        let text = text.split('#').next().unwrap_or_default();
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("an absolute URL such as https://orders.example.com/webhook")?;
        if !matches!(lower(scheme).as_str(), "https" | "http" | "wss" | "ws") {
            return Err("a URL whose scheme is https, http or wss");
        }
        let (before_query, query) = match rest.split_once('?') {
            Some((before, query)) => (before, Some(query.to_owned())),
            None => (rest, None),
        };
        let authority_end = before_query.find('/').unwrap_or(before_query.len());
        let (authority, path) = before_query.split_at(authority_end);
        let is_foreign = |character| matches!(character, '"' | '`' | '<' | '>' | '\\');
        if has(before_query, is_foreign) {
            return Err(PLAIN);
        }
        if has(authority, |character| matches!(character, '$' | '{' | '}')) {
            return Err(EXPANDED);
        }
        let (host, port) = split_port(authority).ok_or("a URL whose port is a number")?;
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        if !port.is_none_or(is_port) {
            return Err("a URL whose port is a number from 1 to 65535");
        }
        let name = host.rsplit('@').next().unwrap_or_default();
        if name.is_empty() {
            return Err("a URL with a host, such as https://orders.example.com/webhook");
        }
        if !is_host(name) {
            return Err(
                "a URL whose host has letters, digits, dots and hyphens alone, or is an IPv6 \
                 address in brackets",
            );
        }
        Ok(ConfiguredUrl {
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            port: port.map(str::to_owned),
            path: path.to_owned(),
            query,
        })
    }

    /// As it is spelled.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Userinfo and host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if the URL has one.
    pub fn port(&self) -> Option<&str> {
        self.port.as_deref()
    }

    /// The path, empty where the URL has none.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query, without the `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Scheme and authority in every form that Twilio signs, the likeliest first.
    fn origins(&self, scheme: &str) -> Vec<String> {
        // For wss the libraries add 443 or 80, depending on the library.
        let defaults: &[&str] = match lower(scheme).as_str() {
            "http" | "ws" => &["80"],
            "wss" => &["443", "80"],
            _ => &["443"],
        };
        // Twilio drops user and password before it signs; its libraries' vectors keep them.
        let without_user = self.host.rsplit_once('@').map(|(_, host)| host);
        let mut forms = Vec::with_capacity(4);
        for host in without_user.into_iter().chain([self.host.as_str()]) {
            let plain = format!("{scheme}://{host}");
            let own = self.port.as_deref();
            let ports = own.into_iter().map(Some).chain([None]);
            for port in ports.chain(defaults.iter().copied().map(Some)) {
                let form = match port {
                    Some(port) => format!("{plain}:{port}"),
                    None => plain.clone(),
                };
                if !forms.contains(&form) {
                    forms.push(form);
                }
            }
        }
        forms
    }
}

const PLAIN: &str = "a URL without quotes, angle brackets and backslashes";
const EXPANDED: &str = "a URL whose variables are expanded: one still stands there by its name, as \
                        in ${NAME}; write the value itself";

/// What copying leaves in or around a URL, and what becomes of several of them in one field.
#[inline(never)]
fn as_it_was_meant(text: &str) -> Result<(), &'static str> {
    let trimmed = trim(text, is_blank);
    let opens_a_variable = |pair: &[u8]| matches!(pair, b"${" | b"{{");
    if is_variable(trim(trimmed, is_quote)) || text.as_bytes().windows(2).any(opens_a_variable) {
        return Err(EXPANDED);
    }
    let folded = lower(trimmed);
    if is_list(&folded) {
        return Err("one URL and not a list of them; each webhook has its own");
    }
    if text.starts_with('\u{FEFF}') {
        return Err("a URL without a byte order mark in front of it");
    }
    if text.chars().next().is_some_and(is_quote) || text.ends_with(['"', '`']) {
        return Err("a URL without quotes around it (docker --env-file keeps them)");
    }
    if trimmed != text || has(text, |character| character.is_ascii_control()) {
        return Err("a URL without spaces around it and without control characters");
    }
    // In the query a blank stands for itself: Twilio may sign it as it was entered.
    let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (before, query) = before.split_once('?').unwrap_or((before, ""));
    if has(before, is_space)
        || has(fragment, is_space)
        || has(query, |character| character != ' ' && is_space(character))
        || trim(query, is_blank) != query
    {
        return Err("a URL without white space in it (in a path a blank is %20)");
    }
    if has(text, |character| {
        is_quote(character) && !character.is_ascii()
    }) {
        return Err(PLAIN);
    }
    let behind = after_scheme(&folded).and_then(|rest| after_scheme(rest.strip_prefix("://")?));
    if behind.is_some_and(|rest| rest.starts_with("://") || rest.starts_with("//")) {
        return Err("a URL with one scheme: here a second one follows the first");
    }
    Ok(())
}

/// White space, and control characters beyond ASCII.
fn is_space(character: char) -> bool {
    is_blank(character) || matches!(character, '\u{80}'..='\u{9F}')
}

/// Whether another URL follows on a separator. In a query only a blank is one.
fn is_list(folded: &str) -> bool {
    let mut may_begin = false;
    let mut in_query = false;
    for (at, character) in folded.char_indices() {
        let rest = folded.get(at..).unwrap_or_default();
        let begins = || after_scheme(rest).is_some_and(|rest| rest.starts_with("://"));
        match character {
            ',' | ';' | '|' if !in_query => may_begin = true,
            _ if is_blank(character) => may_begin = true,
            _ if is_quote(character) => {}
            _ if may_begin && begins() => return true,
            _ => {
                may_begin = false;
                in_query |= matches!(character, '?' | '#');
            }
        }
    }
    folded.ends_with(',')
}

/// What follows a scheme in lower case.
fn after_scheme(folded: &str) -> Option<&str> {
    let rest = folded
        .strip_prefix("http")
        .or_else(|| folded.strip_prefix("ws"))?;
    Some(rest.strip_prefix('s').unwrap_or(rest))
}

fn is_host(name: &str) -> bool {
    if let Some(address) = name.strip_prefix('[') {
        let may_stand = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
        return address
            .strip_suffix(']')
            .is_some_and(|address| !address.is_empty() && address.bytes().all(may_stand));
    }
    let may_stand = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') || !byte.is_ascii()
    };
    !name.is_empty() && name.bytes().all(may_stand)
}

/// A scheme to compare by; it is signed as it is spelled.
fn lower(scheme: &str) -> String {
    scheme.to_ascii_lowercase()
}

/// Splits `host:port`, knowing userinfo and IPv6 literals. `None` if the port is not a number.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let host_start = authority.rfind('@').map_or(0, |at| at + 1);
    let host = authority.get(host_start..)?;
    let colon = match host.rfind(']') {
        Some(bracket) => host.get(bracket..)?.find(':').map(|colon| bracket + colon),
        None => host.rfind(':'),
    };
    let Some(colon) = colon.map(|colon| host_start + colon) else {
        return Some((authority, None));
    };
    let (before, port) = (authority.get(..colon)?, authority.get(colon + 1..)?);
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((before, Some(port)))
}

/// Where a webhook's public URL comes from.
#[derive(Clone, Debug)]
pub struct PublicUrl {
    url: ConfiguredUrl,
    /// Everything in front of the path (or, for a configured URL, of the query),
    /// in every form to try.
    prefixes: Vec<String>,
    /// The same for a WebSocket handshake, whose scheme is `wss`.
    websocket_prefixes: Vec<String>,
    /// Whether the request's path follows the prefix.
    path_from_request: bool,
    own_query: Option<OwnQuery>,
}

/// The query that a configured URL spells out itself.
#[derive(Clone, Debug)]
struct OwnQuery {
    text: String,
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The most URLs that are tried for one request and one key: for `wss` four port forms
/// (its own, none, 443, 80), with and without user and password, each with and without a
/// slash in two spellings of the query, and once with the query's parameters as a form's.
/// Any other request has at most three port forms, with and without user and password, in
/// two spellings.
pub const MAX_URLS: usize = 40;

/// The parameter that carries the hash of a body that is not a form.
pub const BODY_HASH_PARAMETER: &[u8] = b"bodySHA256";

impl PublicUrl {
    /// The URL of one webhook, as it is entered at Twilio.
    pub fn configured(url: &ConfiguredUrl) -> PublicUrl {
        let with_path = |origins: Vec<String>| -> Vec<String> {
            let with = |origin| format!("{origin}{}", url.path);
            origins.into_iter().map(with).collect()
        };
        PublicUrl {
            url: url.clone(),
            prefixes: with_path(url.origins(&url.scheme)),
            websocket_prefixes: with_path(url.origins("wss")),
            path_from_request: false,
            own_query: url.query.as_ref().map(|text| OwnQuery {
                text: text.clone(),
                parameters: pairs_without_body_hash(text.as_bytes()),
            }),
        }
    }

    /// A base in front of the path as it is received.
    pub fn base(url: &ConfiguredUrl) -> PublicUrl {
        let path = url.path.trim_end_matches('/');
        let with_path = |origins: Vec<String>| -> Vec<String> {
            let with = |origin| format!("{origin}{path}");
            origins.into_iter().map(with).collect()
        };
        PublicUrl {
            url: url.clone(),
            prefixes: with_path(url.origins(&url.scheme)),
            websocket_prefixes: with_path(url.origins("wss")),
            path_from_request: true,
            own_query: None,
        }
    }

    /// The URL, or the base of it, as it is configured.
    pub fn url(&self) -> &ConfiguredUrl {
        &self.url
    }

    /// Whether the request's path follows the configured base.
    pub fn takes_path_from_request(&self) -> bool {
        self.path_from_request
    }

    /// Every URL that may have been signed for a request, the likeliest first,
    /// [`MAX_URLS`] at the most.
    pub fn candidates<'a>(&'a self, target: Target<'a>) -> impl Iterator<Item = CandidateUrl<'a>> {
        let prefixes = if target.websocket {
            &self.websocket_prefixes
        } else {
            &self.prefixes
        };
        let path = if self.path_from_request {
            target.path
        } else {
            b""
        };
        let queries = self.queries(target);
        // One count for query, prefix and slash: adapters in adapters would be 2 KB of code
        // wherever they are walked.
        let of_one_query = 2 * prefixes.len();
        (0..queries.len() * of_one_query).filter_map(move |index| {
            let query = (*queries.get(index.checked_div(of_one_query)?)?)?;
            let prefix = prefixes.get(index.checked_rem(of_one_query)? / 2)?;
            let slash = index % 2 == 1;
            let ends_in_slash = if path.is_empty() {
                prefix.ends_with('/')
            } else {
                path.ends_with(b"/")
            };
            let may_have_slash = target.websocket && !ends_in_slash && !query.as_form;
            (!slash || may_have_slash).then_some(CandidateUrl {
                prefix: prefix.as_bytes(),
                path,
                slash,
                query,
            })
        })
    }

    /// The query in every way in which it may have been signed, the likeliest first.
    fn queries<'a>(&'a self, target: Target<'a>) -> [Option<SignedQuery<'a>>; 3] {
        let text = target.query.unwrap_or_default();
        let may_be_signed_as_received = match target.behind {
            Behind::Nothing => true,
            // What a form is posted to is the configured URL. With another query, parameters
            // of the form may have been moved into it.
            Behind::Form => self.own_query.as_ref().is_none_or(|own| own.is_in(text)),
            Behind::HashedBody => ends_in_hash(text),
        };
        let received = SignedQuery {
            text: target.query,
            body_hash: None,
            as_form: false,
        };
        [
            may_be_signed_as_received.then_some(received),
            self.own_spelling(target),
            query_as_form(target),
        ]
    }

    /// The configured spelling of the query, where the request's holds the same
    /// parameters in another order or escaping: Twilio sometimes sends another
    /// spelling than it signs (twilio-php#790, twilio-node#1183).
    fn own_spelling<'a>(&'a self, target: Target<'a>) -> Option<SignedQuery<'a>> {
        let own = self.own_query.as_ref()?;
        let text = target.query.unwrap_or_default();
        if target.query.is_some() && own.text.as_bytes() == text {
            return None;
        }
        if !own.is_in(text) {
            return None;
        }
        let body_hash = body_hash_piece(text);
        if body_hash.is_some() && target.behind == Behind::Form {
            return None;
        }
        // With the body hash behind it, it may be just what was received.
        let between = if own.text.is_empty() { "" } else { "&" };
        let behind = text
            .strip_prefix(own.text.as_bytes())
            .and_then(|rest| rest.strip_prefix(between.as_bytes()));
        if body_hash.is_some() && behind == body_hash {
            return None;
        }
        Some(SignedQuery {
            text: Some(own.text.as_bytes()),
            body_hash,
            as_form: false,
        })
    }
}

impl OwnQuery {
    /// Whether a received query holds just these parameters, besides a body's hash.
    fn is_in(&self, received: &[u8]) -> bool {
        // Counted first: a stranger's query may have thousands.
        pieces_without_body_hash(received).count() == self.parameters.len()
            && are_the_same(&self.parameters, &pairs_without_body_hash(received))
    }
}

/// How Twilio's SDKs for Agent Connect check a handshake that has a query: the URL
/// without it, then the query's parameters as a form's (`signed_url` in their `webhooks`).
///
/// The query has to be spelled as strictly as a form, since nothing but its parameters is
/// signed in this way.
fn query_as_form(target: Target<'_>) -> Option<SignedQuery<'_>> {
    let text = target
        .query
        .filter(|text| target.websocket && !text.is_empty())?;
    let form = Form::read(text, FormReading::Strict, MAX_QUERY_PARAMETERS).ok()?;
    if form.signs_nothing() {
        // `?=&=` would pass under the signature of a handshake that has no query.
        return None;
    }
    Some(SignedQuery {
        text: Some(text),
        body_hash: None,
        as_form: true,
    })
}

/// Of a handshake. ConversationRelay's have a handful.
const MAX_QUERY_PARAMETERS: usize = 100;

/// Whether both have the same parameters, each as often, in whatever order. They are
/// counted and not sorted: a query has a handful, and its length is the configured one's.
fn are_the_same(own: &[(Vec<u8>, Vec<u8>)], received: &[(Vec<u8>, Vec<u8>)]) -> bool {
    let count = |pairs: &[_], wanted| pairs.iter().filter(|pair| *pair == wanted).count();
    own.len() == received.len()
        && own
            .iter()
            .all(|pair| count(own, pair) == count(received, pair))
}

/// All parameters of a query but the body hash, decoded, repeats included.
fn pairs_without_body_hash(query: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    pieces_without_body_hash(query)
        .map(split_at_first_equals)
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn pieces_without_body_hash(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pieces = query.split(|byte| *byte == b'&');
    pieces.filter(|piece| !piece.is_empty() && !is_body_hash(piece))
}

/// The first `bodySHA256=…` of a query, as it is spelled there.
fn body_hash_piece(query: &[u8]) -> Option<&[u8]> {
    let mut pieces = query.split(|byte| *byte == b'&');
    pieces.find(|piece| is_body_hash(piece))
}

/// What is signed behind the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Nothing: there is no body.
    Nothing,
    /// The parameters of a form.
    Form,
    /// Nothing, and the URL holds the hash of a body.
    HashedBody,
}

/// What the request itself says about its URL.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Up to the query, as received.
    pub path: &'a [u8],
    /// After the `?`, as received; `None` where there is no `?`.
    pub query: Option<&'a [u8]>,
    /// Whether this is a WebSocket handshake.
    pub websocket: bool,
    /// What is signed behind it.
    pub behind: Behind,
}

impl<'a> Target<'a> {
    /// Splits a request target (`:path`) at its first `?`.
    pub fn new(path_and_query: &'a [u8], websocket: bool) -> Target<'a> {
        let mut parts = path_and_query.splitn(2, |byte| *byte == b'?');
        Target {
            path: parts.next().unwrap_or_default(),
            query: parts.next(),
            websocket,
            behind: Behind::Nothing,
        }
    }

    /// The same, with this signed behind it.
    pub fn with(self, behind: Behind) -> Target<'a> {
        Target { behind, ..self }
    }
}

/// One URL that may have been signed.
#[derive(Clone, Copy, Debug)]
pub struct CandidateUrl<'a> {
    prefix: &'a [u8],
    path: &'a [u8],
    slash: bool,
    query: SignedQuery<'a>,
}

/// A query in the spelling that may have been signed.
#[derive(Clone, Copy, Debug)]
struct SignedQuery<'a> {
    text: Option<&'a [u8]>,
    /// What Twilio appends to a configured query when it sends JSON.
    body_hash: Option<&'a [u8]>,
    /// Whether the parameters are signed as a form's are, and not the text.
    as_form: bool,
}

impl CandidateUrl<'_> {
    /// Appends the URL as it is signed.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix);
        out.extend_from_slice(self.path);
        if self.slash {
            out.push(b'/');
        }
        if self.query.as_form {
            self.query_parameters().write_signed(out);
        } else if let Some(text) = self.query.text {
            out.push(b'?');
            out.extend_from_slice(text);
        }
        if let Some(body_hash) = self.query.body_hash {
            match self.query.text {
                None => out.push(b'?'),
                Some(b"") => {}
                Some(_) => out.push(b'&'),
            }
            out.extend_from_slice(body_hash);
        }
    }

    /// Whether it ends with the query's parameters, signed as a form's are.
    pub fn ends_in_form(&self) -> bool {
        self.query.as_form
    }

    /// The parameters of the query, as this URL spells it.
    pub fn query_parameters(&self) -> Form {
        match (self.query.text, self.query.body_hash) {
            (text, None) => Form::parse(text.unwrap_or_default()),
            (text, Some(body_hash)) => {
                let pieces = [text.unwrap_or_default(), body_hash];
                Form::parse(&pieces.join(&b'&'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn url(text: &str) -> ConfiguredUrl {
        ConfiguredUrl::parse(text).expect(text)
    }

    fn candidates(public: &PublicUrl, target: &str, websocket: bool) -> Vec<String> {
        let target = Target::new(target.as_bytes(), websocket);
        let written = |candidate: CandidateUrl<'_>| {
            let mut out = Vec::new();
            candidate.write(&mut out);
            String::from_utf8(out).expect("ASCII")
        };
        public.candidates(target).map(written).collect()
    }

    #[test]
    fn a_url_without_a_port_is_tried_with_the_default_port_too() {
        let public = PublicUrl::configured(&url("https://h.com/p"));
        let tried = candidates(&public, "/rewritten?x=1", false);
        assert_eq!(tried, ["https://h.com/p?x=1", "https://h.com:443/p?x=1"]);
        let public = PublicUrl::configured(&url("http://h.com/p"));
        let tried = candidates(&public, "/p", false);
        assert_eq!(tried, ["http://h.com/p", "http://h.com:80/p"]);
    }

    #[test]
    fn a_url_with_a_port_is_tried_as_it_is_and_without_and_with_the_default_port() {
        let public = PublicUrl::configured(&url("https://u:p@[::1]:8443/p"));
        let tried = candidates(&public, "/p", false);
        assert_eq!(
            tried,
            [
                "https://[::1]:8443/p",
                "https://[::1]/p",
                "https://[::1]:443/p",
                "https://u:p@[::1]:8443/p",
                "https://u:p@[::1]/p",
                "https://u:p@[::1]:443/p"
            ]
        );
        let public = PublicUrl::configured(&url("https://h.com:443/p"));
        let tried = candidates(&public, "/p", false);
        assert_eq!(tried, ["https://h.com:443/p", "https://h.com/p"]);
    }

    #[test]
    fn a_websocket_is_wss_with_and_without_a_slash_and_a_query_stays_behind_it() {
        let public = PublicUrl::configured(&url("https://h.com/s"));
        let tried = candidates(&public, "/s?a=1", true);
        assert_eq!(tried.len(), 9);
        assert_eq!(tried.first().expect("one"), "wss://h.com/s?a=1");
        assert_eq!(tried.get(1).expect("two"), "wss://h.com/s/?a=1");
        assert!(tried.contains(&"wss://h.com:80/s?a=1".to_owned()));
    }

    #[test]
    fn no_request_has_more_candidates_than_promised() {
        let public = PublicUrl::configured(&url("wss://u:p@h.com:8443/s?b=2&a=1"));
        let tried = candidates(&public, "/s?a=1&b=2", true);
        assert_eq!(tried.len(), MAX_URLS);
        let public = PublicUrl::configured(&url("https://u:p@h.com:8443/s?b=2&a=1"));
        assert_eq!(candidates(&public, "/s?a=1&b=2", false).len(), 12);
    }

    #[test]
    fn a_handshakes_query_is_tried_as_a_form_too() {
        let public = PublicUrl::configured(&url("wss://h.com/ws"));
        let tried = candidates(&public, "/ws?token=x%20y&foo=bar", true);
        assert!(tried.contains(&"wss://h.com/wsfoobartokenx y".to_owned()));
        for other in [
            "/ws?=",
            "/ws?=&=",
            "/ws",
            "/ws?",
            "/ws?a",
            "/ws?a=1&",
            "/ws?a=1;b",
        ] {
            let tried = candidates(&public, other, true);
            let has_query = |url: &String| url.contains('?');
            assert!(other == "/ws" || tried.iter().all(has_query), "{other}");
        }
        let tried = candidates(&public, "/ws?token=x&foo=bar", false);
        assert!(tried.iter().all(|url| url.contains('?')));
    }

    #[test]
    fn a_form_is_posted_to_the_configured_query_and_no_other() {
        let public = PublicUrl::configured(&url("https://h.com/pay?shop=1"));
        let tried = |target: &str, behind| {
            let target = Target::new(target.as_bytes(), false).with(behind);
            public.candidates(target).count()
        };
        assert_eq!(tried("/pay?shop=1", Behind::Form), 2);
        assert_eq!(tried("/pay?%73hop=1", Behind::Form), 4);
        for other in [
            "/pay",
            "/pay?",
            "/pay?shop=1&amount=1",
            "/pay?shop=1&shop=1",
            "/pay?shop=2",
        ] {
            assert_eq!(tried(other, Behind::Form), 0, "{other}");
            assert_ne!(tried(other, Behind::Nothing), 0, "{other}");
        }
    }

    #[test]
    fn a_hash_that_is_not_the_last_parameter_is_none() {
        let public = PublicUrl::configured(&url("https://h.com/p?a=1"));
        let tried = |target: &str| {
            let target = Target::new(target.as_bytes(), false).with(Behind::HashedBody);
            public.candidates(target).count()
        };
        assert_eq!(tried("/p?a=1&bodySHA256=00"), 2);
        assert_eq!(tried("/p?bodySHA256=00&z="), 0);
        // The configured spelling has it at the end.
        assert_eq!(tried("/p?bodySHA256=00&a=1"), 2);
    }

    #[test]
    fn the_configured_spelling_of_a_query_is_tried_if_it_means_the_same() {
        let public = PublicUrl::configured(&url("https://h.com/p?b='2&a=x+y"));
        let tried = candidates(&public, "/p?a=x%20y&b=%272&bodySHA256=00", false);
        assert!(tried.contains(&"https://h.com/p?b='2&a=x+y&bodySHA256=00".to_owned()));
        for other in [
            "/p?a=x%20y",
            "/p?a=x%20y&b='2&c=3",
            "/p?a=x%20y&b='2&b='2",
            "/p",
        ] {
            assert_eq!(candidates(&public, other, false).len(), 2, "{other}");
        }
    }

    #[test]
    fn the_base_url_takes_the_path_as_received() {
        let public = PublicUrl::base(&url("https://h.com/"));
        let tried = candidates(&public, "/a/../b?", false);
        assert_eq!(
            tried,
            ["https://h.com/a/../b?", "https://h.com:443/a/../b?"]
        );
    }

    #[test]
    fn the_fragment_is_dropped() {
        assert_eq!(
            url("https://h.com/p?x#rc=5&rp=all"),
            url("https://h.com/p?x")
        );
        assert_eq!(url("https://h.com#rc=5").path(), "");
    }

    #[test]
    fn a_url_is_taken_apart_byte_for_byte() {
        for (text, host, port) in [
            ("https://h.com/p", "h.com", None),
            ("HTTPS://H.com:8443/p", "H.com", Some("8443")),
            ("https://u:@h.com/p", "u:@h.com", None),
            ("https://u:p@h.com:1/p", "u:p@h.com", Some("1")),
            ("https://@h.com/p", "@h.com", None),
            ("https://[::ffff:192.0.2.1]/p", "[::ffff:192.0.2.1]", None),
            ("https://[::1]:443/p", "[::1]", Some("443")),
            ("https://u:p@[::1]/p", "u:p@[::1]", None),
        ] {
            let url = url(text);
            let parts = (url.scheme(), url.path(), url.query());
            assert_eq!(parts, (&text[..5], "/p", None), "{text}");
            assert_eq!(url.port(), port, "{text}");
            let whole = format!("{}://{host}", url.scheme());
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let public = PublicUrl::configured(&url);
            assert_eq!(public.url(), &url);
            assert!(!public.takes_path_from_request());
            assert!(PublicUrl::base(&url).takes_path_from_request());
            assert!(candidates(&public, "/p", false).contains(&format!("{whole}{port}/p")));
        }
        for text in [
            "https://[h]/p",
            "https://[]/p",
            "https://[::1/p",
            "https://[::1]x/p",
            "https://1]/p",
        ] {
            assert!(ConfiguredUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn urls_in_a_list_are_a_list_with_quotes_around_each_too() {
        for text in [
            "https://a.com/p,https://b.com/p",
            "https://a.com/p\",\"https://b.com/p",
            "https://a.com/p','wss://b.com/p",
            "https://a.com/p ; 'http://b.com/p'",
        ] {
            let rejected = ConfiguredUrl::parse(text).expect_err(text);
            assert!(rejected.contains("not a list"), "{text}: {rejected}");
        }
    }

    #[test]
    fn what_is_no_url_is_rejected_in_words_that_say_what_it_is() {
        for (text, words) in [
            ("", "an absolute URL"),
            ("h.com/p", "an absolute URL"),
            ("https:/h.com/p", "an absolute URL"),
            ("ftp://h.com/p", "whose scheme is"),
            ("https:///p", "with a host"),
            ("https://u@/p", "with a host"),
            ("https://h.com:x/p", "whose port is a number"),
            ("https://h.com:/p", "whose port is a number"),
            ("https://h.com:0/p", "from 1 to 65535"),
            ("https://h.com:65536/p", "from 1 to 65535"),
            (" https://h.com/a", "without spaces around it"),
            ("https://h.com/a\n", "without spaces around it"),
            ("https://h.com/a#rc=5\n", "without spaces around it"),
            ("https://h.com/a\u{A0}", "without spaces around it"),
            ("https://h.com/\u{0}a", "without control characters"),
            ("https:// h.com/a", "white space in it"),
            ("https://h. com/a", "white space in it"),
            ("https://h.com/a b", "white space in it"),
            ("https://h\u{200B}.com/a", "white space in it"),
            ("\u{FEFF}https://h.com/a", "byte order mark"),
            ("\"https://h.com/a\"", "without quotes around it"),
            ("'https://h.com/a'", "without quotes around it"),
            ("https://h.com/a\"", "without quotes around it"),
            (
                "\u{201C}https://h.com/a\u{201D}",
                "without quotes around it",
            ),
            ("https://h.com/\u{201C}a", "without quotes"),
            ("https://\"h.com\"/a", "without quotes"),
            ("https://h.com\\a", "backslashes"),
            ("<https://h.com/a>", "whose scheme is"),
            ("https://h.com/<a>", "angle brackets"),
            ("https://https://h.com/a", "one scheme"),
            ("https://HTTP://h.com/a", "one scheme"),
            ("https://https//h.com/a", "one scheme"),
            ("https://a.com/x,https://b.com/y", "not a list"),
            ("https://a.com/x, https://b.com/y", "not a list"),
            ("https://a.com https://b.com", "not a list"),
            ("https://a.com/x?y=1, https://b.com/y", "not a list"),
            ("https://a.com/x?y=1 #rc=5", "white space in it"),
            ("https://a.com/x?y=1\u{A0}2", "white space in it"),
            ("https://a.com/x#rc= 5", "white space in it"),
            ("https://a.com/x\nhttps://b.com/y", "not a list"),
            ("https://a.com/x;HTTPS://b.com/y", "not a list"),
            ("https://a.com/x,", "not a list"),
            ("$WEBHOOK_URL", "${NAME}"),
            ("${WEBHOOK_URL}", "${NAME}"),
            ("%WEBHOOK_URL%", "${NAME}"),
            ("{{ .Values.url }}", "${NAME}"),
            ("https://${HOST}/a", "${NAME}"),
            ("https://$HOST/a", "${NAME}"),
            ("https://{host}/a", "${NAME}"),
            ("https://h.com/{{ path }}", "${NAME}"),
            ("https://*.h.com/a", "letters, digits, dots"),
            ("https://h.com,i.com/a", "letters, digits, dots"),
            ("https://a:b:443/a", "letters, digits, dots"),
            ("https://[::1/a", "letters, digits, dots"),
            ("https://[]/a", "letters, digits, dots"),
            ("https://[::1]x/a", "letters, digits, dots"),
        ] {
            let said = ConfiguredUrl::parse(text).expect_err(text);
            assert!(said.contains(words), "{text:?}: {said}");
        }
    }

    #[test]
    fn what_only_looks_like_a_slip_of_copying_is_taken() {
        for text in [
            "https://h.com/a?next=https://b.com/c",
            "https://h.com/a?list=https://b.com,https://c.com",
            "https://h.com/https://b.com",
            "https://https:443/a",
            "https://https.example/a",
            "https://h.com/o'clock,[1];",
            "https://h.com/a?b='2'",
            "https://h.com/a?b=\"2\"&c=<d>",
            "https://h.com/a?b=c d",
            "https://u:p$w@h.com/a".replace('$', "%24").as_str(),
            "https://h.com/$a/%7Euser?b=$c",
            "https://b\u{fc}cher.example/a",
            "https://under_score/a",
            "https://h.com:0443/a",
        ] {
            assert!(ConfiguredUrl::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_parameters_come_from_the_spelling_that_verified() {
        let public = PublicUrl::configured(&url("https://h.com/p?a=1"));
        let target = Target::new(b"/p?%61=1&bodySHA256=00", false);
        let last = public.candidates(target).last().expect("some");
        let parameters = last.query_parameters();
        assert_eq!(parameters.values(b"a").collect::<Vec<_>>(), [b"1"]);
        assert_eq!(parameters.values(BODY_HASH_PARAMETER).count(), 1);
    }
}
