//! The URLs that are tried: few, all documented, none twice.

use proptest::prelude::*;
use twilio_webhook_filter::{ConfiguredUrl, MAX_URLS, PublicUrl, Target};

use crate::generators::{cases, telling_bytes};

/// A URL by its parts.
#[derive(Clone, Debug)]
struct Parts {
    scheme: String,
    userinfo: String,
    host: String,
    port: Option<u16>,
    path: String,
    query: Option<String>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let scheme = prop::sample::select(vec!["https", "http", "wss", "HTTPS"]);
    let userinfo = prop::sample::select(vec!["", "u:p@", "u@"]);
    let host = prop::sample::select(vec!["h.example", "127.0.0.1", "[::1]", "H.Example"]);
    let port = prop::option::of(prop::sample::select(vec![80_u16, 443, 8443, 1]));
    let path = prop::sample::select(vec!["", "/", "/hook", "/hook/", "/a/b%20c"]);
    let query = prop::option::of(query());
    (scheme, userinfo, host, port, path, query).prop_map(
        |(scheme, userinfo, host, port, path, query)| Parts {
            scheme: scheme.into(),
            userinfo: userinfo.into(),
            host: host.into(),
            port,
            path: path.into(),
            query,
        },
    )
}

/// Queries that are often the same parameters in another spelling.
fn query() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a=1",
        "%61=1",
        "b='2",
        "b=%272",
        "c=x+y",
        "c=x%20y",
        "d",
        "d=",
        "",
        "bodySHA256=00",
        "body%53HA256=00",
    ]);
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.join("&"))
}

impl Parts {
    fn text(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let query = self
            .query
            .as_ref()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let Parts {
            scheme,
            userinfo,
            host,
            path,
            ..
        } = self;
        format!("{scheme}://{userinfo}{host}{port}{path}{query}")
    }

    /// Every URL that contract section 2 lists, with the query in front of which it stands.
    fn documented(&self, path: &str, websocket: bool, queries: &[String]) -> Vec<String> {
        let scheme = if websocket { "wss" } else { &self.scheme };
        let defaults: &[u16] = match scheme.to_ascii_lowercase().as_str() {
            "http" => &[80],
            "wss" => &[443, 80],
            _ => &[443],
        };
        let mut ports = vec![String::new()];
        ports.extend(
            self.port
                .iter()
                .chain(defaults)
                .map(|port| format!(":{port}")),
        );
        let slashes: &[&str] = if websocket { &["", "/"] } else { &[""] };
        let mut forms = Vec::new();
        for userinfo in ["", self.userinfo.as_str()] {
            let origin = format!("{scheme}://{userinfo}{}", self.host);
            for port in &ports {
                for slash in slashes {
                    for query in queries {
                        forms.push(format!("{origin}{port}{path}{slash}{query}"));
                    }
                }
                // A handshake's query may be signed as a form.
                if websocket && let Some(query) = queries.first() {
                    let query = query.strip_prefix('?').unwrap_or_default();
                    let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
                    pairs.sort();
                    pairs.dedup();
                    let form: String = pairs
                        .into_iter()
                        .map(|(name, value)| format!("{name}{value}"))
                        .collect();
                    forms.push(format!("{origin}{port}{path}{form}"));
                }
            }
        }
        forms
    }
}

fn tried(public: &PublicUrl, target: &str, websocket: bool) -> Vec<String> {
    let candidates = public.candidates(Target::new(target.as_bytes(), websocket));
    let written = candidates.map(|candidate| {
        let mut out = Vec::new();
        candidate.write(&mut out);
        String::from_utf8(out).expect("all parts were UTF-8")
    });
    written.collect()
}

/// The parameters of a query, decoded by another decoder, without the body hash.
fn meaning(query: &str) -> Vec<(String, String)> {
    let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
    let mut pairs: Vec<_> = pairs.filter(|(name, _)| name != "bodySHA256").collect();
    pairs.sort();
    pairs
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn every_url_that_is_tried_for_a_configured_one_is_documented(
        parts in parts(),
        received in prop::option::of(query()),
        websocket in any::<bool>(),
    ) {
        let public = PublicUrl::configured(&ConfiguredUrl::parse(&parts.text()).expect("a URL"));
        let as_received = received.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let tried = tried(&public, &format!("/rewritten{as_received}"), websocket);
        let mut queries = vec![as_received];
        let text = received.clone().unwrap_or_default();
        if let Some(own) = parts.query.as_ref().filter(|own| meaning(own) == meaning(&text)) {
            queries.push(format!("?{own}"));
            let mut pieces = text.split('&');
            let hash = pieces.find(|piece| {
                let mut pairs = form_urlencoded::parse(piece.as_bytes());
                pairs.any(|(name, _)| name == "bodySHA256")
            });
            let between = if own.is_empty() { "" } else { "&" };
            queries.extend(hash.map(|hash| format!("?{own}{between}{hash}")));
        }
        let documented = parts.documented(&parts.path, websocket, &queries);
        for url in &tried {
            prop_assert!(documented.contains(url), "{url} is not in {documented:?}");
        }
        let most = if websocket || parts.scheme == "wss" { MAX_URLS } else { 12 };
        prop_assert!(tried.len() <= most, "{tried:?}");
        let first = tried.first().expect("at least one");
        prop_assert!(first.ends_with(&queries[0]), "the query as received comes first: {tried:?}");
        // A URL twice would be an HMAC in vain.
        let mut distinct = tried.clone();
        distinct.sort();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), tried.len(), "{:?}", tried);
    }

    #[test]
    fn every_url_that_is_tried_for_a_base_has_the_path_as_received(
        mut parts in parts(),
        path in "(/[a-z%.]{0,5}){1,4}",
        received in prop::option::of(query()),
        websocket in any::<bool>(),
    ) {
        parts.query = None;
        let public = PublicUrl::base(&ConfiguredUrl::parse(&parts.text()).expect("a URL"));
        let query = received.map(|query| format!("?{query}")).unwrap_or_default();
        let tried = tried(&public, &format!("{path}{query}"), websocket);
        let whole = format!("{}{path}", parts.path.trim_end_matches('/'));
        let documented = parts.documented(&whole, websocket, &[query]);
        for url in &tried {
            prop_assert!(documented.contains(url), "{url} is not in {documented:?}");
        }
        prop_assert!(!tried.is_empty() && tried.len() <= MAX_URLS);
    }

    #[test]
    fn no_bytes_of_a_target_are_too_strange(
        parts in parts(),
        target in telling_bytes(60),
        websocket in any::<bool>(),
    ) {
        let url = ConfiguredUrl::parse(&parts.text()).expect("a URL");
        for public in [PublicUrl::configured(&url), PublicUrl::base(&url)] {
            let mut written = Vec::new();
            let mut count = 0;
            for candidate in public.candidates(Target::new(&target, websocket)) {
                candidate.write(&mut written);
                let _ = candidate.query_parameters();
                count += 1;
            }
            prop_assert!((1..=MAX_URLS).contains(&count));
        }
    }

    #[test]
    fn no_text_is_too_strange_for_a_url(text in "(https?|wss)://[ -~é]{0,30}", any in ".{0,40}") {
        for text in [&text, &any] {
            if let Ok(url) = ConfiguredUrl::parse(text) {
                let public = PublicUrl::configured(&url);
                let first = tried(&public, "/", false).remove(0);
                let without_fragment = text.split('#').next().expect("at least nothing");
                let without_query = without_fragment.split('?').next().expect("at least nothing");
                // Twilio drops user and password before it signs.
                let (scheme, rest) = without_query.split_once("://").expect("absolute");
                let authority = rest.split('/').next().expect("at least nothing");
                let user = authority.rfind('@').map_or(0, |at| at + 1);
                prop_assert_eq!(first, format!("{scheme}://{}", &rest[user..]));
            }
        }
    }
}
