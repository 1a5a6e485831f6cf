//! What the headers of proxies name: hosts, ports and paths.

use crate::diagnosis::context::Context;
use crate::signature::url::Target;

/// The maximum length of a header's value that is used, in bytes.
pub(super) const MAX_VALUE: usize = 1024;

/// The maximum number of hosts from headers.
const MAX_HOSTS: usize = 6;

/// The maximum length of a host and port.
const MAX_AUTHORITY: usize = 253 + 6;

/// The hosts and ports that headers name.
#[derive(Default)]
pub(super) struct Named<'a> {
    /// Hosts, with or without a port, the nearest to this filter first.
    pub(super) authorities: Vec<&'a str>,
    pub(super) ports: Vec<&'a str>,
}

impl<'a> Named<'a> {
    pub(super) fn new(context: &Context<'a>) -> Named<'a> {
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

/// Headers in which proxies keep the path, or the whole URL, before they rewrite it.
pub(super) const HEADERS_WITH_A_PATH: [&str; 7] = [
    "x-envoy-original-path",
    "x-original-uri",
    "x-forwarded-uri",
    "x-replaced-path",
    "x-forwarded-path",
    "x-original-url",
    "x-rewrite-url",
];

/// Returns path and query of a header, which may be a whole URL.
pub(super) fn target_in<'a>(context: &Context<'a>, name: &'static str) -> Option<Target<'a>> {
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
