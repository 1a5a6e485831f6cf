//! What goes wrong on the way and at the desk, kind by kind.

use crate::signing::sha256_hex;

use crate::random_requests::{Case, Random, encode, form, query};

/// A mistake: what is done, and the words of which a true hint has one. `None` where it makes
/// no difference to this request.
pub type Mistake = fn(&mut Case, &mut Random) -> Option<Vec<&'static str>>;

/// Each kind by itself. Where a row has several mistakes, all are made.
pub const ALONE: &[(&str, &[Mistake])] = &[
    ("another scheme", &[scheme]),
    ("another host, in Host", &[host_in_host]),
    (
        "another host, in a list of X-Forwarded-Host",
        &[host_in_list],
    ),
    ("another host, in Forwarded", &[host_in_forwarded]),
    ("with or without www", &[www]),
    ("another port, a usual one", &[usual_port]),
    ("another port, in a header", &[port_in_header]),
    ("a slash at the end", &[slash]),
    (
        "the configured path is not the one that was signed",
        &[configured_path],
    ),
    (
        "a path rewritten, in one of seven headers",
        &[path_in_header],
    ),
    ("a prefix taken off", &[prefix]),
    ("an escape in the path undone", &[path_unescaped]),
    ("an escape in the path added", &[path_escaped]),
    ("slashes merged", &[slashes]),
    ("the query's order", &[order]),
    ("the query's escaping", &[escaping]),
    ("an empty parameter added to the query", &[empty_in_query]),
    ("a parameter added to the query", &[added_to_query]),
    ("a whole query added", &[query_added]),
    ("the configured query lost", &[own_query_lost]),
    ("empty values dropped", &[empty_dropped]),
    ("one empty value dropped", &[one_empty_dropped]),
    ("white space trimmed", &[trimmed]),
    ("white space added", &[padded]),
    ("names in lower case", &[lower_case]),
    ("a plus not escaped", &[plus]),
    ("encoded twice", &[twice]),
    ("line ends changed", &[line_ends]),
    ("written as Latin-1", &[latin1]),
    ("written as Windows-1252", &[windows]),
    ("taken for Latin-1", &[taken_for_latin1]),
    ("taken for Windows-1252", &[taken_for_windows]),
    ("a parameter added", &[added]),
    ("a parameter dropped", &[dropped]),
    ("an account that is not configured", &[account]),
    ("JSON written anew", &[json_written_anew]),
    ("JSON without its line end", &[json_line_end]),
    ("JSON without its hash", &[hash_dropped]),
    ("JSON, and something behind its hash", &[behind_hash]),
    ("JSON, its query sorted", &[hash_sorted]),
    ("JSON without its body", &[body_dropped]),
    ("a form under another content type", &[content_type]),
    ("a long message under another scheme", &[long, scheme]),
    ("signed without parameters", &[url_alone]),
];

/// Two that go together.
pub const PAIRS: &[(&str, &[Mistake])] = &[
    ("order and escaping", &[order_and_escaping]),
    ("host and path: slash", &[host_in_host, slash]),
    (
        "host and path: configured",
        &[host_in_list, configured_path],
    ),
    ("host and path: rewritten", &[host_in_host, path_in_header]),
    ("host and path: prefix", &[host_in_forwarded, prefix]),
    ("scheme and port", &[scheme, usual_port]),
    ("scheme and port in a header", &[scheme, port_in_header]),
    ("scheme and host", &[scheme, host_in_host]),
];

/// What no look at the request can tell.
pub const UNKNOWABLE: &[(&str, &[Mistake])] = &[
    ("another token", &[token]),
    ("another path", &[unknown_path]),
    ("another host that nothing names", &[unknown_host]),
    ("a value changed", &[changed]),
];

fn scheme(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    case.signed.scheme = "http".into();
    Some(vec!["the scheme that was signed is http"])
}

const HOST: &[&str] = &["the host that was signed is"];

fn other_host(case: &mut Case, random: &mut Random) -> String {
    let host = format!("h{}.tunnel.example.net", random.below(1000));
    case.signed.host.clone_from(&host);
    host
}

fn host_in_host(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let host = other_host(case, random);
    case.headers.push((":authority", host));
    Some(HOST.into())
}

fn host_in_list(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let host = other_host(case, random);
    let mut list = [host.as_str(), "alb.internal.example", "10.0.0.7:8080"];
    random.shuffle(&mut list);
    let list = list[..].join(random.of(&[",", ", "]));
    case.headers.push(("x-forwarded-host", list));
    Some(HOST.into())
}

fn host_in_forwarded(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let host = other_host(case, random);
    let value = match random.one_in(2) {
        true => format!("for=192.0.2.1;host={host};proto=https"),
        false => format!("for=192.0.2.1;proto=https;Host=\"{host}\", for=10.0.0.1"),
    };
    case.headers.push(("forwarded", value));
    Some(HOST.into())
}

fn www(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    case.signed.host = match case.signed.host.strip_prefix("www.") {
        Some(bare) => bare.to_owned(),
        None => format!("www.{}", case.signed.host),
    };
    Some(HOST.into())
}

fn usual_port(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let port = random.of(&["8443", "8080", "5000", "3000", "8000"]);
    if case.configured.port.is_some() {
        return None;
    }
    case.signed.port = Some(port.into());
    Some(vec!["the URL that was signed has the port"])
}

fn port_in_header(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let port = (1024 + random.below(60_000)).to_string();
    let header = match random.one_in(2) {
        true => ("x-forwarded-port", port.clone()),
        false => (":authority", format!("{}:{port}", case.signed.host)),
    };
    case.headers.push(header);
    case.signed.port = Some(port);
    Some(vec!["the URL that was signed has the port"])
}

fn slash(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    case.signed.path.push('/');
    Some(vec!["has a slash at its end"])
}

fn configured_path(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    case.configured.path = "/another/path".into();
    Some(vec![
        "the path that was signed is the one that arrived here",
    ])
}

fn path_in_header(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    case.signed.path = random
        .of(&["/twilio/sms", "/v1/in", "/shop/hooks/7"])
        .into();
    let name = random.of(&[
        "x-envoy-original-path",
        "x-original-uri",
        "x-forwarded-uri",
        "x-replaced-path",
        "x-forwarded-path",
        "x-original-url",
        "x-rewrite-url",
    ]);
    let query = case.query.as_ref().map(|query| format!("?{query}"));
    let mut value = format!("{}{}", case.signed.path, query.unwrap_or_default());
    if name == "x-original-url" && random.one_in(2) {
        value = format!("https://{}{value}", case.signed.host);
    }
    case.headers.push((name, value));
    Some(vec!["the path was rewritten on the way"])
}

fn prefix(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let prefix = random.of(&["/shop", "/api/v2", "/t"]);
    case.signed.path = format!("{prefix}{}", case.signed.path);
    case.headers.push(("x-forwarded-prefix", prefix.into()));
    Some(vec!["a proxy in front took a prefix off the path"])
}

fn by_base(case: &mut Case, signed: &str, arrives: &str) {
    case.is_base = true;
    case.configured.path = String::new();
    case.signed.path = format!("/hooks/{signed}");
    case.path = format!("/hooks/{arrives}");
}

fn path_unescaped(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let (signed, arrives) = random.of(&[
        ("a%40b", "a@b"),
        ("%7Eana", "~ana"),
        ("a%2Bb", "a+b"),
        ("x%3Ay%2Cz", "x:y,z"),
        ("it%27s", "it's"),
    ]);
    by_base(case, signed, arrives);
    Some(vec!["an escape in the path was undone or added"])
}

fn path_escaped(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let (signed, arrives) = random.of(&[
        ("a@b", "a%40b"),
        ("~ana", "%7Eana"),
        ("a+b", "a%2Bb"),
        ("x:y,z", "x%3Ay%2Cz"),
        ("%c3%a9", "%C3%A9"),
    ]);
    by_base(case, signed, arrives);
    Some(vec!["an escape in the path was undone or added"])
}

fn slashes(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    by_base(case, "a/b", "a/b");
    case.signed.path = random
        .of(&["//hooks/a/b", "/hooks//a/b", "/hooks/a//b"])
        .into();
    Some(vec!["slashes in the path were merged"])
}

/// A query of two to four parameters, in the order of Twilio.
fn with_query(case: &mut Case, random: &mut Random) -> Option<String> {
    if case.method == "GET" || case.json.is_some() {
        return None;
    }
    let query = query(2 + random.below(3), random);
    case.signed.query = Some(query.clone());
    case.query = Some(query.clone());
    Some(query)
}

const ORDER: &[&str] = &["the query that was signed is in another order"];

fn sorted(query: &str) -> String {
    let mut pieces: Vec<_> = query.split('&').collect();
    pieces.sort_unstable();
    pieces.join("&")
}

fn order(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let query = with_query(case, random)?;
    case.query = Some(sorted(&query));
    Some(ORDER.into())
}

/// As a gateway writes what it has parsed.
fn respelled(query: &str, random: &mut Random) -> String {
    match random.below(4) {
        // RFC 3986, as PHP's http_build_query and most gateways.
        0 => query.replace('+', "%20"),
        // As JavaScript's encodeURIComponent.
        1 => {
            let text = query.replace('+', "%20");
            ["%21!", "%27'", "%28(", "%29)", "%7E~"]
                .iter()
                .fold(text, |text, undone| {
                    let (escape, mark) = undone.split_at(3);
                    text.replace(escape, mark)
                })
        }
        // Whatever may stand in a query, as nginx and Go's own router pass it on.
        2 => ["%27'", "%28(", "%29)", "%2F/", "%40@"].iter().fold(
            query.to_owned(),
            |text, undone| {
                let (escape, mark) = undone.split_at(3);
                text.replace(escape, mark)
            },
        ),
        _ => {
            let mut digits = 0;
            let lower = |char: char| match char {
                '%' => {
                    digits = 2;
                    char
                }
                char if digits > 0 => {
                    digits -= 1;
                    char.to_ascii_lowercase()
                }
                char => char,
            };
            query.chars().map(lower).collect()
        }
    }
}

fn escaping(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let query = with_query(case, random)?;
    let respelled = respelled(&query, random);
    case.query = Some(respelled.clone());
    (respelled != query).then(|| vec!["the query that was signed is escaped in another way"])
}

fn order_and_escaping(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let query = with_query(case, random)?;
    let respelled = respelled(&query, random);
    let sorted = sorted(&respelled);
    let changed = respelled != query && sorted != respelled;
    case.query = Some(sorted);
    changed.then(|| vec!["is in another order and escaped in another way"])
}

fn empty_in_query(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let query = with_query(case, random)?;
    case.query = Some(format!("{query}&utm="));
    Some(vec![
        "lacks the parameters without a value",
        "ends before the last 1",
    ])
}

fn added_to_query(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let query = with_query(case, random)?;
    let mut pieces: Vec<_> = query.split('&').collect();
    pieces.insert(random.below(pieces.len() + 1), "gclid=x7");
    case.query = Some(pieces.join("&"));
    Some(vec!["something on the way has added"])
}

fn query_added(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    with_query(case, random)?;
    case.signed.query = None;
    Some(vec!["the URL that was signed has no query"])
}

fn own_query_lost(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let query = with_query(case, random)?;
    case.configured.query = Some(query);
    case.query = None;
    Some(vec!["the query of the configured url was signed"])
}

/// What arrives of a form, changed.
fn rewrite(case: &mut Case, change: impl Fn(&str, &str) -> Option<(String, String)>) -> Option<()> {
    if !case.is_form() {
        return None;
    }
    let changed = case.parameters.iter();
    let changed: Vec<_> = changed
        .filter_map(|(name, value)| change(name, value))
        .collect();
    let differs = changed != case.parameters;
    case.body = form(&changed).into_bytes();
    differs.then_some(())
}

const EMPTY: &[&str] = &["parameters with empty values were dropped"];

fn empty_dropped(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    rewrite(case, |name, value| {
        (!value.is_empty()).then(|| (name.into(), value.into()))
    })?;
    Some(EMPTY.into())
}

fn one_empty_dropped(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let empty = case.parameters.iter().filter(|(_, value)| value.is_empty());
    let empty: Vec<String> = empty.map(|(name, _)| name.clone()).collect();
    let dropped = empty.get(random.below(empty.len().max(1)))?.clone();
    rewrite(case, |name, value| {
        (name != dropped).then(|| (name.into(), value.into()))
    })?;
    Some(EMPTY.into())
}

/// The text of a message, signed with something around it.
fn set_body(case: &mut Case, change: impl Fn(&str) -> String) -> Option<()> {
    let (_, body) = case
        .parameters
        .iter_mut()
        .find(|(name, _)| name == "Body")?;
    *body = change(body);
    case.body = form(&case.parameters).into_bytes();
    Some(())
}

fn trimmed(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let (front, back) = random.of(&[("", " "), (" ", ""), ("", "\n"), (" ", " ")]);
    set_body(case, |body| format!("{front}{body}{back}"))?;
    rewrite(case, |name, value| Some((name.into(), value.trim().into())))?;
    Some(vec!["white space around a value was cut off"])
}

fn padded(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    rewrite(case, |name, value| {
        let pad = if name == "Body" { " " } else { "" };
        Some((name.into(), format!("{value}{pad}")))
    })?;
    Some(vec!["white space around the values removed"])
}

fn lower_case(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    rewrite(case, |name, value| {
        Some((name.to_lowercase(), value.into()))
    })?;
    Some(vec!["the names of the parameters were changed"])
}

fn plus(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    // Where a text has both, no one change makes it right again.
    let mixed = |value: &str| value.contains(' ') && value.contains('+');
    if !case.is_form() || case.parameters.iter().any(|(_, value)| mixed(value)) {
        return None;
    }
    let body = form(&case.parameters).replace("%2B", "+");
    let differs = body.as_bytes() != case.body;
    case.body = body.into_bytes();
    differs.then(|| vec!["was not escaped and became a space"])
}

fn twice(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    rewrite(case, |name, value| {
        Some((name.into(), encode(value.as_bytes())))
    })?;
    Some(vec!["the body was encoded a second time"])
}

fn line_ends(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let (from, to) = random.of(&[("\n", "\r\n"), ("\r\n", "\n")]);
    set_body(case, |body| format!("one{from}{body}{from}three"))?;
    rewrite(case, |name, value| {
        Some((name.into(), value.replace(from, to)))
    })?;
    Some(vec!["line ends in the values were changed"])
}

/// Characters that Latin-1 lacks and Windows-1252 has.
const OF_WINDOWS: [(char, u8); 6] = [
    ('€', 0x80),
    ('’', 0x92),
    ('“', 0x93),
    ('”', 0x94),
    ('–', 0x96),
    ('Ÿ', 0x9F),
];

/// What arrives of a form, in other bytes.
fn recode(case: &mut Case, change: impl Fn(&str) -> Option<Vec<u8>>) -> Option<()> {
    let mut pieces = Vec::new();
    for (name, value) in &case.parameters {
        pieces.push(format!("{name}={}", encode(&change(value)?)));
    }
    let body = pieces.join("&").into_bytes();
    let differs = body != case.body;
    case.body = body;
    differs.then_some(())
}

fn in_windows(text: &str) -> Option<Vec<u8>> {
    let byte = |char: char| {
        let special = OF_WINDOWS.iter().find(|(own, _)| *own == char);
        special
            .map(|(_, byte)| *byte)
            .or_else(|| u8::try_from(u32::from(char)).ok())
    };
    text.chars().map(byte).collect()
}

fn in_latin1(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|char| u8::try_from(u32::from(char)).ok())
        .collect()
}

fn latin1(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    set_body(case, |body| format!("señor {}", body.replace('🌮', "ü")))?;
    recode(case, in_latin1)?;
    Some(vec!["text that was UTF-8 is Latin-1 now"])
}

fn windows(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let (special, _) = random.of(&OF_WINDOWS);
    set_body(case, |body| {
        format!("é{special} {}", body.replace('🌮', "ü"))
    })?;
    recode(case, in_windows)?;
    Some(vec!["text that was UTF-8 is Windows-1252 now"])
}

fn taken_for_latin1(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    set_body(case, |body| format!("señor {body}"))?;
    recode(case, |text| {
        let text: String = text.bytes().map(char::from).collect();
        Some(text.into_bytes())
    })?;
    Some(vec!["has been taken for Latin-1"])
}

fn taken_for_windows(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    // The bytes of this one are F0 9F 8C AE.
    set_body(case, |body| format!("dos {} 🌮", body.replace('🌮', "")))?;
    recode(case, |text| {
        let char = |byte: u8| match byte {
            0x8C => 'Œ',
            0x9F => 'Ÿ',
            byte => char::from(byte),
        };
        let text: String = text.bytes().map(char).collect();
        Some(text.into_bytes())
    })?;
    Some(vec!["has been taken for Windows-1252"])
}

fn added(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let name = random.of(&["_waf_id", "utm_source", "requestId", "tenant"]);
    if !case.is_form() {
        return None;
    }
    let index = random.below(case.parameters.len() + 1);
    let mut arrives = case.parameters.clone();
    arrives.insert(index, (name.into(), "a7".into()));
    case.body = form(&arrives).into_bytes();
    Some(vec!["a parameter was added on the way"])
}

/// Any of them: most values cannot be known.
fn dropped(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let index = random.below(case.parameters.len().max(1));
    let dropped = case.parameters.get(index)?.0.clone();
    rewrite(case, |name, value| {
        (name != dropped).then(|| (name.into(), value.into()))
    })?;
    Some(vec!["a parameter was dropped", "empty values were dropped"])
}

fn account(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let other = random.sid("AC");
    case.token = "00112233445566778899aabbccddeeff";
    if case.is_form() {
        let account = case
            .parameters
            .iter_mut()
            .find(|(name, _)| name == "AccountSid")?;
        account.1 = other;
        case.body = form(&case.parameters).into_bytes();
    } else if case.method == "GET" {
        let query = case
            .query
            .as_ref()?
            .replace(crate::message::ACCOUNT, &other);
        case.signed.query = Some(query.clone());
        case.query = Some(query);
    } else {
        return None;
    }
    Some(vec!["an account that is not configured"])
}

/// JSON with blanks behind `,` and `:`, where those are not in a text.
fn spaced(json: &str) -> String {
    let mut out = String::new();
    let mut in_text = false;
    for char in json.chars() {
        in_text ^= char == '"';
        out.push(char);
        if !in_text && (char == ',' || char == ':') {
            out.push(' ');
        }
    }
    out
}

fn json_written_anew(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let json = case.json.clone()?;
    if random.one_in(2) {
        case.body = spaced(&json).into_bytes();
        return Some(vec!["parsed and written anew"]);
    }
    let spaced = spaced(&json);
    let (old, new) = (sha256_hex(json.as_bytes()), sha256_hex(spaced.as_bytes()));
    let query = case.query.as_ref()?.replace(&old, &new);
    case.signed.query = Some(query.clone());
    case.query = Some(query);
    Some(vec!["parsed and written anew"])
}

fn json_line_end(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    let json = case.json.clone()?;
    let (old, new) = (
        sha256_hex(json.as_bytes()),
        sha256_hex(format!("{json}\n").as_bytes()),
    );
    let query = case.query.as_ref()?.replace(&old, &new);
    case.signed.query = Some(query.clone());
    case.query = Some(query);
    Some(vec!["no line end, which it had when it was signed"])
}

fn hash_dropped(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    case.json.as_ref()?;
    case.query = None;
    Some(vec![
        "there is no usable bodySHA256 in the query: a proxy may have dropped",
    ])
}

fn behind_hash(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    case.json.as_ref()?;
    case.query = Some(format!("{}&gclid=7", case.query.as_ref()?));
    Some(vec!["something on the way has added to it"])
}

fn hash_sorted(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    case.json.as_ref()?;
    let query = format!(
        "zone={}&{}",
        random.below(9),
        case.query.as_ref()?.split('&').next_back()?
    );
    let sorted = sorted(&query);
    case.signed.query = Some(query);
    case.query = Some(sorted);
    Some(vec!["in another order"])
}

fn body_dropped(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    case.json.as_ref()?;
    case.body = Vec::new();
    Some(vec!["there is no body"])
}

fn content_type(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    case.is_form().then_some(())?;
    case.content_type = random.of(&["text/plain", "application/octet-stream"]);
    Some(vec!["something on the way changed its content-type"])
}

/// 1,500 letters of three bytes each: 13 kB to send, 4.5 kB to sign.
fn long(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    set_body(case, |_| "नमस्ते".repeat(250))?;
    Some(Vec::new())
}

fn url_alone(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    case.is_form().then(|| case.parameters.clear())?;
    Some(vec!["it was signed over the URL alone"])
}

fn token(case: &mut Case, _: &mut Random) -> Option<Vec<&'static str>> {
    case.token = "00112233445566778899aabbccddeeff";
    Some(Vec::new())
}

fn unknown_path(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    case.signed.path = format!("/p{}{}", random.below(1000), case.signed.path);
    Some(Vec::new())
}

fn unknown_host(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    other_host(case, random);
    Some(Vec::new())
}

fn changed(case: &mut Case, random: &mut Random) -> Option<Vec<&'static str>> {
    let sid = random.sid("XX");
    rewrite(case, |name, value| {
        let value = if name == "AccountSid" || !name.ends_with("Sid") {
            value
        } else {
            &sid
        };
        Some((name.into(), value.into()))
    })?;
    Some(Vec::new())
}
