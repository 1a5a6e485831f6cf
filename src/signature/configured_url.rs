//! A URL of the configuration, split byte for byte, or what is wrong with it.
//!
//! ```text
//! url       = scheme "://" authority [ path ] [ "?" query ] [ "#" fragment ]
//! authority = [ userinfo "@" ] host [ ":" port ]
//! ```

use crate::copied::{has, is_blank, is_quote, is_variable, trim};

/// A configured URL, or a base URL, split into its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredUrl {
    scheme: String,
    /// The userinfo and host, without the port.
    host: String,
    port: Option<String>,
    /// The path from its first slash to the query; may be empty.
    path: String,
    /// The query without the `?`.
    query: Option<String>,
}

impl ConfiguredUrl {
    /// Splits a URL byte for byte. The fragment is dropped: Twilio's `#rc=5&rp=all` overrides are
    /// neither sent nor signed.
    ///
    /// # Errors
    /// A phrase that says what was expected.
    pub fn parse(text: &str) -> Result<ConfiguredUrl, &'static str> {
        check_remnants(text)?;
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

    /// Returns the scheme as it is spelled.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the userinfo and host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, if the URL has one.
    pub fn port(&self) -> Option<&str> {
        self.port.as_deref()
    }

    /// Returns the path, empty if the URL has none.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the query without the `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Returns scheme and authority in every form that Twilio signs, the likeliest first.
    pub(super) fn origins(&self, scheme: &str) -> Vec<String> {
        // For wss, Twilio's libraries add 443 or 80.
        let defaults: &[&str] = match lower(scheme).as_str() {
            "http" | "ws" => &["80"],
            "wss" => &["443", "80"],
            _ => &["443"],
        };
        // Twilio drops user and password before it signs; the test vectors of its libraries keep
        // them.
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

/// Rejects remnants of copying, and several URLs in one field.
fn check_remnants(text: &str) -> Result<(), &'static str> {
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
    // A blank in the query is accepted: Twilio may sign it as it was entered.
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

/// Returns whether a character is white space, or a control character beyond ASCII.
fn is_space(character: char) -> bool {
    is_blank(character) || matches!(character, '\u{80}'..='\u{9F}')
}

/// Returns whether a separator is followed by another URL. In a query, only a blank separates.
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

/// Returns what follows a scheme in lower case.
fn after_scheme(folded: &str) -> Option<&str> {
    let rest = folded
        .strip_prefix("http")
        .or_else(|| folded.strip_prefix("ws"))?;
    Some(rest.strip_prefix('s').unwrap_or(rest))
}

/// Returns whether a name is a host, or an IPv6 address in brackets.
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

/// Returns a scheme in lower case, for comparison; it is signed as it is spelled.
fn lower(scheme: &str) -> String {
    scheme.to_ascii_lowercase()
}

/// Splits `host:port`, with regard to userinfo and IPv6 literals; `None` if the port is no number.
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

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn url(text: &str) -> ConfiguredUrl {
        ConfiguredUrl::parse(text).expect(text)
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
            ("\u{201C}https://h.com/a\u{201D}", "quotes around it"),
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
}
