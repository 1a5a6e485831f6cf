//! What Twilio signs and what the filter takes, written down a second time and as plainly as it can be.
//!
//! After the contract's words, not after the filter's code. Slow, and of the standard library but for the hashes.

use std::collections::BTreeSet;
use std::fmt;

use crate::signing::{hmac_sha1, hmac_sha256, sha256_hex};

/// A decoded name and value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A plus is a space, `%` and two hex digits are a byte, everything else is itself.
pub fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let escaped = escape_at(text, at);
        out.push(escaped.unwrap_or(if text[at] == b'+' { b' ' } else { text[at] }));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}

/// The byte that `%` and two hex digits spell.
pub fn escape_at(text: &[u8], at: usize) -> Option<u8> {
    let digits = text.get(at..at + 3)?.strip_prefix(b"%")?;
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
    u8::from_str_radix(digits, 16).ok()
}

/// Every parameter of a form or a query as it was sent: only `&` separates, only the first `=` splits, and an empty
/// piece is none.
pub fn pairs(text: &[u8]) -> Vec<Pair> {
    let pieces = text
        .split(|byte| *byte == b'&')
        .filter(|piece| !piece.is_empty());
    let pair = |piece: &[u8]| {
        let equals = piece.iter().position(|byte| *byte == b'=');
        let (name, value) = piece.split_at(equals.unwrap_or(piece.len()));
        (
            decode(name),
            decode(value.strip_prefix(b"=").unwrap_or_default()),
        )
    };
    pieces.map(pair).collect()
}

/// What is signed of parameters: each once, by name and then by value.
pub fn signed(pairs: &[Pair]) -> Vec<u8> {
    let distinct: BTreeSet<&Pair> = pairs.iter().collect();
    distinct
        .into_iter()
        .flat_map(|(name, value)| [&name[..], value].concat())
        .collect()
}

/// What signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// An auth token.
    Token(&'a str),
    /// A shared key's secret.
    Shared(&'a str),
}

/// The MAC of a message.
pub fn mac(key: Key<'_>, message: &[u8]) -> Vec<u8> {
    match key {
        Key::Token(key) => hmac_sha1(key.as_bytes(), message).into(),
        Key::Shared(key) => hmac_sha256(key.as_bytes(), message).into(),
    }
}

/// Whether every framework reads this form alike, and it has no more than so many pieces.
pub fn is_strict(form: &[u8], most: usize) -> bool {
    let pieces: Vec<&[u8]> = form.split(|byte| *byte == b'&').collect();
    let one_equals = |piece: &&[u8]| piece.iter().filter(|byte| **byte == b'=').count() == 1;
    pieces.len() <= most
        && pieces.iter().all(one_equals)
        && form
            .iter()
            .all(|byte| byte.is_ascii_graphic() && *byte != b';')
        && (0..form.len()).all(|at| form[at] != b'%' || escape_at(form, at).is_some())
}

/// Whether a message holds an identifier of Twilio's that none of its parameters put there: surely, if it holds more
/// than there are parameters whose name is, or ends in, the one before it.
pub fn has_moved_boundaries(message: &[u8], pairs: &[Pair]) -> Must {
    // Those of the contract, and what else they may begin with, which it does not name.
    const IDENTIFIERS: [(&str, &str, bool); 7] = [
        ("AccountSid", "AC", true),
        ("MessageSid", "SM", true),
        ("SmsSid", "SM", true),
        ("SmsMessageSid", "SM", true),
        ("CallSid", "CA", true),
        ("MessageSid", "MM", false),
        ("SmsSid", "MM", false),
    ];
    let distinct: BTreeSet<&Pair> = pairs.iter().collect();
    let is_sid = |text: &[u8], prefix: &str| {
        let digits = text
            .strip_prefix(prefix.as_bytes())
            .and_then(|rest| rest.get(..32));
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let verdict = |(name, prefix, is_named): &(&str, &str, bool)| {
        let after = |at: usize| message[at..].strip_prefix(name.as_bytes());
        let stands_at = |at: usize| after(at).is_some_and(|rest| is_sid(rest, prefix));
        let written = (0..message.len()).filter(|at| stands_at(*at)).count();
        let named = distinct
            .iter()
            .filter(|(own, _)| own.ends_with(name.as_bytes()));
        let is_in_place = |(own, value): &&&Pair| {
            let before = own.strip_suffix(name.as_bytes()).unwrap_or_default();
            let is_a_name = before.iter().all(u8::is_ascii_alphabetic);
            is_a_name && is_sid(value, prefix) && value.len() == 34
        };
        let in_place = named.clone().filter(is_in_place).count();
        match written {
            written if *is_named && written > named.count() => Must::BeRejected,
            written if written > in_place => Must::NotFail,
            _ => Must::Pass,
        }
    };
    IDENTIFIERS.iter().map(verdict).max().unwrap_or(Must::Pass)
}

/// A webhook as it is configured.
#[derive(Debug)]
pub struct Webhook {
    /// Its path; where that ends in a slash, everything below.
    pub path: &'static str,
    /// Scheme and authority in all forms that are tried.
    pub origins: &'static [&'static str],
    /// The same for a handshake.
    pub handshake_origins: &'static [&'static str],
    /// The query of the configured URL.
    pub own_query: Option<&'static str>,
    /// Its methods.
    pub methods: &'static [&'static str],
    /// Whether its forms may be spelled as the signature allows.
    pub lenient: bool,
    /// The most pieces of a form.
    pub most: usize,
}

impl Webhook {
    /// One by which nothing is tried yet, with the defaults.
    pub const PLAIN: Self = Self {
        path: "/",
        origins: &[],
        handshake_origins: &[],
        own_query: None,
        methods: &[],
        lenient: false,
        most: 500,
    };

    /// One at the usual port of `https://h.example`.
    pub const USUAL: Self = Self {
        origins: &["https://h.example", "https://h.example:443"],
        handshake_origins: &[
            "wss://h.example",
            "wss://h.example:443",
            "wss://h.example:80",
        ],
        ..Self::PLAIN
    };

    /// One at another port of it.
    pub const AT_8443: Self = Self {
        origins: &[
            "https://h.example:8443",
            "https://h.example",
            "https://h.example:443",
        ],
        handshake_origins: &[
            "wss://h.example:8443",
            "wss://h.example",
            "wss://h.example:443",
            "wss://h.example:80",
        ],
        ..Self::PLAIN
    };
}

/// How a body is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// As a form.
    Form,
    /// As something else.
    Other,
}

/// A request as it arrives.
#[derive(Clone)]
pub struct Sent {
    /// Its method.
    pub method: &'static str,
    /// Path and query.
    pub target: Vec<u8>,
    /// Whether it is a WebSocket handshake.
    pub handshake: bool,
    /// What its content type says.
    pub declared: Declared,
    /// Its body.
    pub body: Vec<u8>,
    /// Its signature.
    pub mac: Vec<u8>,
    /// The shared key that it names.
    pub names: Option<&'static str>,
}

/// Bytes as a text, so that what a target finds can be read.
impl fmt::Debug for Sent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sent { method, target, .. } = self;
        let what = if self.handshake {
            "handshake"
        } else {
            "request"
        };
        write!(out, "{what} {method} {} ", target.escape_ascii())?;
        write!(out, "{:?} \"{}\" ", self.declared, self.body.escape_ascii())?;
        write!(out, "mac {:02x?} of {:?}", self.mac, self.names)
    }
}

/// What must become of a request, if it is no repeat.
///
/// Of several demands the greatest holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Must {
    /// It passes.
    Pass,
    /// The contract leaves it open.
    NotFail,
    /// It does not.
    BeRejected,
}

/// Who may sign, and for which account.
pub struct Signer {
    /// What signs.
    pub key: Key<'static>,
    /// The id by which a request selects a shared key.
    pub id: Option<&'static str>,
    /// The account that it signs for.
    pub account: Option<&'static str>,
}

const BODY_HASH: &[u8] = b"bodySHA256";

/// Checks 6 to 9 of the contract. `now` is in milliseconds.
pub fn judge(webhook: &Webhook, signers: &[Signer], sent: &Sent, now: u64) -> Must {
    if !webhook.methods.contains(&sent.method) {
        return Must::BeRejected;
    }
    let (path, query) = split_target(&sent.target);
    let below = path.strip_prefix(webhook.path.as_bytes());
    let is_prefix = webhook.path.ends_with('/');
    let Some(below) = below.filter(|below| is_prefix || below.is_empty()) else {
        return Must::BeRejected;
    };
    let without_body = ["GET", "HEAD", "DELETE"].contains(&sent.method);
    let is_form = !sent.body.is_empty() && sent.declared == Declared::Form;
    if !sent.body.is_empty() && without_body {
        return Must::BeRejected;
    }
    let parameters = if is_form {
        pairs(&sent.body)
    } else {
        Vec::new()
    };
    if is_form {
        let fits = match webhook.lenient {
            true => sent.body.split(|byte| *byte == b'&').count() <= webhook.most,
            false => is_strict(&sent.body, webhook.most),
        };
        // What signs nothing would pass under the signature of the URL alone.
        if !fits || signed(&parameters).is_empty() {
            return Must::BeRejected;
        }
        if let Some(own) = webhook.own_query {
            // Just those parameters: a hash is one more.
            let received = pairs(query.unwrap_or_default());
            let hashed = received.iter().any(|(name, _)| name == BODY_HASH);
            if hashed || !same_parameters(own.as_bytes(), query.unwrap_or_default()) {
                return Must::BeRejected;
            }
        }
    }

    let mut verdict = Must::BeRejected;
    for (message, query, signed_as) in
        messages(webhook, path, query, sent.handshake, &signed(&parameters))
    {
        for signer in signers.iter().filter(|signer| signer.id == sent.names) {
            if mac(signer.key, &message) != sent.mac {
                continue;
            }
            let of_query = pairs(&query);
            // A handshake's query may be signed as a form's.
            let named = if signed_as == SignedAs::Query {
                &parameters
            } else {
                &of_query
            };
            let all: Vec<Pair> = [&parameters[..], &of_query].concat();
            let demands = [
                body_is_covered(webhook, sent, &query, is_form, without_body),
                match is_form && ends_in_a_hash(&message) {
                    true => Must::BeRejected,
                    false => Must::Pass,
                },
                match has_moved_boundaries(&message, named) {
                    // It may stand in the URL itself, and is then the operator's own.
                    Must::BeRejected if !is_form => Must::NotFail,
                    demand => demand,
                },
                account_fits(signer, &all),
                timestamps_are_recent(&all, now),
                // The target `path` is for paths that are spelled in another way.
                if is_plain(below) {
                    Must::Pass
                } else {
                    Must::NotFail
                },
                if signed_as == (SignedAs::Form { is_sure: false }) {
                    Must::NotFail
                } else {
                    Must::Pass
                },
            ];
            verdict = demands.into_iter().max().unwrap_or(verdict);
            if verdict == Must::BeRejected {
                return verdict;
            }
        }
    }
    verdict
}

fn is_plain(below: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_".contains(byte);
    below.iter().all(is_plain) || below == b"A%20b"
}

/// Whether a message ends as Twilio's do whose body is no form. A form under it has taken that body's place.
pub fn ends_in_a_hash(message: &[u8]) -> bool {
    let digits = message.len().saturating_sub(64);
    let (url, digits) = message.split_at(digits);
    let ends = |with: &str| url.ends_with(with.as_bytes());
    (ends("?bodySHA256=") || ends("&bodySHA256="))
        && digits.len() == 64
        && digits.iter().all(u8::is_ascii_hexdigit)
}

/// Path and query of a target.
pub fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}

/// How a query is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedAs {
    /// As it is, behind the URL's `?`.
    Query,
    /// As a form, which some handshakes are. Whether the contract asks for it is not sure everywhere.
    Form {
        /// Whether it does.
        is_sure: bool,
    },
}

/// Every message that may have been signed, and the query in it.
pub fn messages(
    webhook: &Webhook,
    path: &[u8],
    query: Option<&[u8]>,
    handshake: bool,
    parameters: &[u8],
) -> Vec<(Vec<u8>, Vec<u8>, SignedAs)> {
    let mut queries = vec![query.map(<[u8]>::to_vec)];
    if let Some(own) = webhook.own_query
        && same_parameters(own.as_bytes(), query.unwrap_or_default())
    {
        let pieces = query.unwrap_or_default().split(|byte| *byte == b'&');
        let mut hashes =
            pieces.filter(|piece| pairs(piece).iter().any(|(name, _)| name == BODY_HASH));
        let hash = hashes
            .next()
            .map(|hash| [if own.is_empty() { b"" } else { &b"&"[..] }, hash].concat())
            .unwrap_or_default();
        queries.push(Some([own.as_bytes(), &hash].concat()));
    }
    let mut messages = Vec::new();
    for origin in if handshake {
        webhook.handshake_origins
    } else {
        webhook.origins
    } {
        for slash in if handshake && !path.ends_with(b"/") {
            &["", "/"][..]
        } else {
            &[""]
        } {
            let url = [origin.as_bytes(), path, slash.as_bytes()].concat();
            for (index, query) in queries.iter().enumerate() {
                let text = query
                    .as_ref()
                    .map(|query| [b"?", &query[..]].concat())
                    .unwrap_or_default();
                let query = query.clone().unwrap_or_default();
                messages.push((
                    [&url[..], &text, parameters].concat(),
                    query.clone(),
                    SignedAs::Query,
                ));
                if handshake && !query.is_empty() {
                    // Named by the contract without the slash, for the query as it came and where everybody reads
                    // it alike. One of empty names and values signs nothing.
                    let as_form = signed(&pairs(&query));
                    let is_sure = slash.is_empty()
                        && !as_form.is_empty()
                        && index == 0
                        && is_strict(&query, usize::MAX);
                    let signed_as = SignedAs::Form { is_sure };
                    messages.push(([&url[..], &as_form].concat(), query, signed_as));
                }
            }
        }
    }
    messages
}

/// Whether two queries hold the same parameters, each as often, but for the hash of a body.
pub fn same_parameters(own: &[u8], received: &[u8]) -> bool {
    let sorted = |query| {
        let mut pairs = pairs(query);
        pairs.retain(|(name, _)| name != BODY_HASH);
        pairs.sort();
        pairs
    };
    sorted(own) == sorted(received)
}

fn body_is_covered(
    webhook: &Webhook,
    sent: &Sent,
    query: &[u8],
    is_form: bool,
    without_body: bool,
) -> Must {
    if is_form {
        return Must::Pass;
    }
    let all = pairs(query);
    let count = all.iter().filter(|(name, _)| name == BODY_HASH).count();
    let last = all
        .last()
        .filter(|(name, _)| name == BODY_HASH)
        .map(|(_, hash)| hash.to_ascii_lowercase());
    let is_hash_of = |body: &[u8]| last.as_deref() == Some(sha256_hex(body).as_bytes());
    let takes_bodies = ["POST", "PUT", "PATCH"]
        .iter()
        .any(|method| webhook.methods.contains(method));
    // An empty piece behind the hash is no parameter; whether it may stand there is left open.
    let is_open = last.is_some() && (query.ends_with(b"&") || count > 1);
    if sent.body.is_empty() {
        return match () {
            () if count == 0 || without_body && !takes_bodies && sent.method != "DELETE" => {
                Must::Pass
            }
            // Where it does not count it is as if it were not there.
            () if last.is_none() || is_open => Must::NotFail,
            () if is_hash_of(b"") || is_hash_of(b"{}") => Must::Pass,
            () => Must::BeRejected,
        };
    }
    match is_hash_of(&sent.body) {
        true if is_open => Must::NotFail,
        true => Must::Pass,
        false => Must::BeRejected,
    }
}

fn account_fits(signer: &Signer, pairs: &[Pair]) -> Must {
    let mut named = pairs.iter().filter(|(name, _)| name == b"AccountSid");
    match signer.account {
        Some(own) if named.any(|(_, account)| account != own.as_bytes()) => Must::BeRejected,
        _ => Must::Pass,
    }
}

fn timestamps_are_recent(pairs: &[Pair], now: u64) -> Must {
    let mut verdict = Must::Pass;
    for (_, text) in pairs.iter().filter(|(name, _)| name == b"Timestamp") {
        let number: Option<u64> = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok());
        let moment = match (number, text.len()) {
            _ if !text.iter().all(u8::is_ascii_digit) && text.len() > 15 => {
                // It may be a date. The target `timestamp` is for these.
                verdict = Must::NotFail;
                continue;
            }
            (Some(seconds), ..=11) if text.iter().all(u8::is_ascii_digit) => seconds * 1_000,
            (Some(millis), 12..=14) if text.iter().all(u8::is_ascii_digit) => millis,
            _ => return Must::BeRejected,
        };
        if moment + 300_000 < now || moment > now + 30_000 {
            return Must::BeRejected;
        }
    }
    verdict
}
