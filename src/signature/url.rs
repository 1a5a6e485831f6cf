//! The URLs that Twilio may have signed.
//!
//! A mesh does not see the URL that Twilio called: TLS ends in front of it, ports appear and
//! vanish, paths are rewritten. So it is configured, never guessed, and tried in the few forms
//! that Twilio is known to sign: as it is, without its port, with the default port; with and
//! without user and password; for WebSockets, with and without a slash at the end.

use crate::signature::body_hash::{ends_in_hash, is_body_hash};
use crate::signature::configured_url::ConfiguredUrl;
use crate::signature::form::{Form, FormReading};
use crate::signature::urlencoded::{decode, split_at_first_equals};

/// The public URL of a webhook, in every form that Twilio signs.
#[derive(Clone, Debug)]
pub struct PublicUrl {
    url: ConfiguredUrl,
    /// Everything in front of the path (or of the query, for a configured URL), in every form.
    prefixes: Vec<String>,
    /// The prefixes for a WebSocket handshake, whose scheme is `wss`.
    websocket_prefixes: Vec<String>,
    /// Whether the request's path follows the prefix.
    path_from_request: bool,
    own_query: Option<OwnQuery>,
}

/// The query of a configured URL.
#[derive(Clone, Debug)]
struct OwnQuery {
    text: String,
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The maximum number of URLs that are tried for one request and key.
///
/// For `wss` there are four port forms (its own, none, 443, 80), with and without user and
/// password, each with and without a slash in two spellings of the query, and once with the
/// query's parameters as a form's. Any other request has at most three port forms, with and
/// without user and password, in two spellings.
pub const MAX_URLS: usize = 40;

impl PublicUrl {
    /// Returns the URL of one webhook, as it is entered at Twilio.
    pub fn configured(url: &ConfiguredUrl) -> PublicUrl {
        let own_query = url.query().map(|text| OwnQuery {
            text: text.to_owned(),
            parameters: pairs_without_body_hash(text.as_bytes()),
        });
        PublicUrl {
            own_query,
            ..PublicUrl::with_path(url, url.path())
        }
    }

    /// Returns a base that the path of each request is appended to.
    pub fn base(url: &ConfiguredUrl) -> PublicUrl {
        PublicUrl {
            path_from_request: true,
            ..PublicUrl::with_path(url, url.path().trim_end_matches('/'))
        }
    }

    fn with_path(url: &ConfiguredUrl, path: &str) -> PublicUrl {
        let prefixes = |scheme| {
            let origins = url.origins(scheme).into_iter();
            origins.map(|origin| origin + path).collect()
        };
        PublicUrl {
            url: url.clone(),
            prefixes: prefixes(url.scheme()),
            websocket_prefixes: prefixes("wss"),
            path_from_request: false,
            own_query: None,
        }
    }

    /// Returns the URL or base as it is configured.
    pub fn url(&self) -> &ConfiguredUrl {
        &self.url
    }

    /// Returns whether the request's path is appended to a base.
    pub fn takes_path_from_request(&self) -> bool {
        self.path_from_request
    }

    /// Returns every URL that may have been signed for a request, the likeliest first, at most
    /// [`MAX_URLS`].
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
        // One counter for query, prefix and slash: nested adapters would take 2 KB of code at each
        // caller.
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

    /// Returns the query in every spelling that may have been signed, the likeliest first.
    fn queries<'a>(&'a self, target: Target<'a>) -> [Option<SignedQuery<'a>>; 3] {
        let text = target.query.unwrap_or_default();
        let may_be_signed_as_received = match target.behind {
            Behind::Nothing => true,
            // A form is posted to the configured URL. Into another query, an attacker may have
            // moved parameters of the form.
            Behind::Form => self.own_query.as_ref().is_none_or(|own| own.fits(target)),
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

    /// Returns the configured spelling of the query, if the request's has the same parameters in
    /// another order or escaping: Twilio sometimes sends another spelling than it signs
    /// (twilio-php#790, twilio-node#1183).
    fn own_spelling<'a>(&'a self, target: Target<'a>) -> Option<SignedQuery<'a>> {
        let own = self.own_query.as_ref()?;
        let text = target.query.unwrap_or_default();
        let is_as_received = target.query.is_some() && own.text.as_bytes() == text;
        if is_as_received || !own.fits(target) {
            return None;
        }
        let body_hash = body_hash_piece(text);
        // Followed by the body hash, it may be what was received.
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
    /// Returns whether a received query holds exactly these parameters, besides a body's hash. A
    /// form has none: a hash in its query is the beginning of one that goes on in the form.
    fn fits(&self, target: Target<'_>) -> bool {
        let received = target.query.unwrap_or_default();
        // Counted first: an attacker's query may have thousands.
        pieces_without_body_hash(received).count() == self.parameters.len()
            && (target.behind != Behind::Form || body_hash_piece(received).is_none())
            && are_the_same(&self.parameters, &pairs_without_body_hash(received))
    }
}

/// Returns the query as Twilio's SDKs for Agent Connect sign it in a handshake: the URL without
/// it, then its parameters as a form's (`signed_url` in their `webhooks`).
///
/// It has to be a strict form, since only its parameters are signed in this way.
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

/// The maximum number of parameters of a handshake's query; ConversationRelay's have a handful.
const MAX_QUERY_PARAMETERS: usize = 100;

/// Returns whether both have the same parameters, each as often, in any order. They are counted,
/// not sorted: there are as many as the configured query has, which is a handful.
fn are_the_same(own: &[(Vec<u8>, Vec<u8>)], received: &[(Vec<u8>, Vec<u8>)]) -> bool {
    let count = |pairs: &[_], wanted| pairs.iter().filter(|pair| *pair == wanted).count();
    own.len() == received.len()
        && own
            .iter()
            .all(|pair| count(own, pair) == count(received, pair))
}

/// Returns all parameters of a query except the body hash, decoded, including repeats.
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

/// Returns the first `bodySHA256=…` of a query as received.
fn body_hash_piece(query: &[u8]) -> Option<&[u8]> {
    let mut pieces = query.split(|byte| *byte == b'&');
    pieces.find(|piece| is_body_hash(piece))
}

/// What is signed after the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Nothing, since there is no body.
    Nothing,
    /// The parameters of a form.
    Form,
    /// Nothing, but the URL holds the hash of a body.
    HashedBody,
}

/// What the request says about its URL.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The path as received.
    pub path: &'a [u8],
    /// The query as received; `None` if there is no `?`.
    pub query: Option<&'a [u8]>,
    /// Whether this is a WebSocket handshake.
    pub websocket: bool,
    /// What is signed after it.
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

    /// Returns this target with `behind` signed after it.
    pub fn with(self, behind: Behind) -> Target<'a> {
        Target { behind, ..self }
    }
}

/// A URL that may have been signed.
#[derive(Clone, Copy, Debug)]
pub struct CandidateUrl<'a> {
    prefix: &'a [u8],
    path: &'a [u8],
    slash: bool,
    query: SignedQuery<'a>,
}

/// A query in a spelling that may have been signed.
#[derive(Clone, Copy, Debug)]
struct SignedQuery<'a> {
    text: Option<&'a [u8]>,
    /// The parameter that Twilio appends to a configured query when it sends JSON.
    body_hash: Option<&'a [u8]>,
    /// Whether the parameters are signed as a form's, instead of the text.
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

    /// Returns whether it ends with the query's parameters, signed as a form's.
    pub fn ends_in_form(&self) -> bool {
        self.query.as_form
    }

    /// Returns the parameters of the query in this spelling.
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
    use crate::signature::body_hash::BODY_HASH_PARAMETER;
    use crate::tests::rows;
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
    fn a_url_is_tried_as_it_is_and_without_a_port_and_with_the_default_port() {
        let cases = "
            https://h.com/p => https://h.com/p https://h.com:443/p
            http://h.com/p => http://h.com/p http://h.com:80/p
            https://h.com:443/p => https://h.com:443/p https://h.com/p
            https://[::1]:8443/p => https://[::1]:8443/p https://[::1]/p https://[::1]:443/p
            https://u:p@h.com:1/p => https://h.com:1/p https://h.com/p https://h.com:443/p https://u:p@h.com:1/p https://u:p@h.com/p https://u:p@h.com:443/p
        ";
        for [configured, expected] in rows(cases) {
            let public = PublicUrl::configured(&url(configured));
            let tried = candidates(&public, "/rewritten", false);
            assert_eq!(tried.join(" "), expected);
        }
        let public = PublicUrl::configured(&url("https://h.com/p"));
        let tried = candidates(&public, "/rewritten?x=1", false);
        assert_eq!(tried, ["https://h.com/p?x=1", "https://h.com:443/p?x=1"]);
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
        for other in "/ws?= /ws?=&= /ws /ws? /ws?a /ws?a=1& /ws?a=1;b".split(' ') {
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
        let others = "/pay /pay? /pay?shop=1&amount=1 /pay?shop=1&shop=1 /pay?shop=2 \
            /pay?shop=1&bodySHA256=00 /pay?bodySHA256=00&shop=1 /pay?%73hop=1&body%53HA256=";
        for other in others.split(' ') {
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
    fn the_configured_spelling_of_a_query_is_tried_if_its_parameters_are_the_same() {
        let public = PublicUrl::configured(&url("https://h.com/p?b='2&a=x+y"));
        let tried = candidates(&public, "/p?a=x%20y&b=%272&bodySHA256=00", false);
        assert!(tried.contains(&"https://h.com/p?b='2&a=x+y&bodySHA256=00".to_owned()));
        for other in "/p?a=x%20y /p?a=x%20y&b='2&c=3 /p?a=x%20y&b='2&b='2 /p".split(' ') {
            assert_eq!(candidates(&public, other, false).len(), 2, "{other}");
        }
    }

    #[test]
    fn the_base_url_takes_the_path_as_received() {
        let public = PublicUrl::base(&url("https://h.com/"));
        let tried = candidates(&public, "/a/../b?", false);
        let expected = ["https://h.com/a/../b?", "https://h.com:443/a/../b?"];
        assert_eq!(tried, expected);
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
            let public = PublicUrl::configured(&url);
            assert_eq!(public.url(), &url);
            assert!(!public.takes_path_from_request());
            assert!(PublicUrl::base(&url).takes_path_from_request());
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let whole = format!("{}://{host}{port}/p", url.scheme());
            assert!(candidates(&public, "/p", false).contains(&whole));
        }
        for text in ["https://[h]/p", "https://1]/p"] {
            assert!(ConfiguredUrl::parse(text).is_err(), "{text}");
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
