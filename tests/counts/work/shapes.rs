//! Shapes of requests that are dear to reject.

use support::decide::Driver;
use support::message::{PATH, TOKEN, URL, message};
use support::request::Request;
use support::signing::{base64, hmac_sha1};

/// A request and the filter that it is sent to.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) driver: Driver,
    pub(crate) request: Request,
}

/// What all others are compared with.
pub(crate) const USUAL: &str = "the usual message";

/// The longest body that any of several keys may have signed.
const EIGHT_KEYS: &str = "8 tokens, and one value of 64 kB";
const SIXTY_FOUR_KEYS: &str = "64 tokens, and one value of 64 kB";

/// The shapes in which eight keys are tried with a body of 64 kB.
pub(crate) const OF_EIGHT_KEYS: [&str; 2] = [EIGHT_KEYS, SIXTY_FOUR_KEYS];

/// One account, one webhook.
const PLAIN: &str = r#"{"rate_limits": []}"#;
/// Whatever a signature can mean is read.
const LENIENT: &str = r#"{"rate_limits": [], "form": "lenient"}"#;

/// Every shape.
pub(crate) fn shapes() -> Vec<Shape> {
    let mut shapes = forms();
    shapes.extend(urls());
    shapes.extend(keys());
    shapes.extend(bodies());
    shapes
}

fn shape(name: &'static str, json: &str, request: Request) -> Shape {
    Shape {
        name,
        driver: Driver::new(json),
        request,
    }
}

/// A form under a signature that does not fit, sent to the filter with one account and one webhook.
fn plain(name: &'static str, body: &str) -> Shape {
    shape(name, PLAIN, forged(body))
}

/// The message of the usual kind under a signature that does not fit.
pub(crate) fn usual() -> Shape {
    plain(USUAL, message())
}

/// A form under a signature that does not fit.
fn forged(body: &str) -> Request {
    Request::form(b"")
        .with_body(body.as_bytes())
        .with("x-twilio-signature", FORGED)
}

const FORGED: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Pieces with numbers in place of `#`.
fn many(count: usize, piece: &str) -> String {
    let piece = |number: usize| piece.replace('#', &number.to_string());
    (0..count).map(piece).collect::<Vec<_>>().join("&")
}

/// Names of two letters, all different.
fn two_letters(count: usize) -> String {
    let letters = || b'A'..=b'z';
    let names = letters().flat_map(|first| letters().map(move |second| [first, second]));
    let names = names.filter(|name| name.iter().all(u8::is_ascii_alphabetic));
    let pieces = names
        .take(count)
        .map(|[first, second]| format!("{}{}=", char::from(second), char::from(first)));
    pieces.collect::<Vec<_>>().join("&")
}

fn forms() -> Vec<Shape> {
    let text = "%E0%A4%A8%E0%A4%AE%E0%A4%B8%E0%A5%8D%E0%A4%A4%E0%A5%87+".repeat(200);
    let everything = "n#=+%C3%A9%0D%0A%2541%E9+x";
    vec![
        usual(),
        plain("an empty form", "a="),
        shape(
            "2,600 names of two letters",
            LENIENT,
            forged(&two_letters(2600)),
        ),
        plain("500 names of two letters", &two_letters(500)),
        plain("100 names of two letters", &two_letters(100)),
        plain(
            "100 names, sorted backwards",
            &many(100, "n#=")
                .split('&')
                .rev()
                .collect::<Vec<_>>()
                .join("&"),
        ),
        plain("100 values with a blank at each end", &many(100, "n#=+x+")),
        plain("100 values with all that is tried", &many(100, everything)),
        plain("20 values with all that is tried", &many(20, everything)),
        plain(
            "a call of 60 parameters",
            &format!("CallSid=CA1&{}", many(60, "p#=value")),
        ),
        plain("one value of 1 kB", &format!("Body={}", "x".repeat(1000))),
        plain("one value of 8 kB", &format!("Body={}", "x".repeat(8000))),
        plain(
            "one value of 64 kB",
            &format!("Body={}", "x".repeat(65_000)),
        ),
        plain("4,000 escapes", &format!("Body={}", "%2541".repeat(4000))),
        plain("1,200 letters of three bytes", &format!("Body={text}")),
        shape("12,500 pieces", LENIENT, forged(&"a&".repeat(12_500))),
        shape(
            "12,500 empty pieces",
            LENIENT,
            forged(&format!("a=1{}", "&".repeat(12_500))),
        ),
    ]
}

/// Headers with hosts, paths and ports, as long as they are looked at.
fn forwarded(request: Request) -> Request {
    let hosts = |host: &str| -> String {
        let hosts = (0..6).map(|number| format!("{host}{number}.example.com:{}", 9000 + number));
        hosts.collect::<Vec<_>>().join(", ")
    };
    let path = |name: &str| format!("/{name}{}", "/x%2Fy".repeat(150));
    request
        .with(":authority", "inner.example.com:1234")
        .with("x-forwarded-host", &hosts("a"))
        .with("x-original-host", &hosts("b"))
        .with("forwarded", &"host=c.example.com;proto=https, ".repeat(30))
        .with("x-forwarded-port", "1,2,3,4,5,6,7")
        .with("x-forwarded-prefix", &path("a"))
        .with("x-original-uri", &path("b"))
        .with("x-forwarded-uri", &path("c"))
        .with("x-replaced-path", &path("d"))
        .with("x-forwarded-path", &path("e"))
        .with("x-original-url", &format!("https://h{}?x=1", path("f")))
        .with("x-rewrite-url", &path("g"))
}

fn to(request: Request, query: &str) -> Request {
    request.with(":path", &format!("{PATH}?{query}"))
}

const PREFIX: &str = r#"{"rate_limits": [], "public_base_url": "https://orders.example.com/base",
    "webhooks": [{"path": "/hooks/*"}]}"#;

fn urls() -> Vec<Shape> {
    let get = r#"{"rate_limits": [], "webhooks": [{"path": "/api/v1/whatsapp/webhook",
        "url": "https://orders.example.com/api/v1/whatsapp/webhook", "methods": ["GET"]}]}"#;
    let own = r#"{"rate_limits": [], "webhooks": [{"path": "/api/v1/whatsapp/webhook",
        "url": "https://orders.example.com/api/v1/whatsapp/webhook?a=1&b=2&c=3"}]}"#;
    let by_get = |query: &str| {
        to(forged(""), query)
            .with(":method", "GET")
            .without("content-type")
    };
    let handshake = by_get(&many(5, "p#=it%27s%20+"))
        .with("connection", "upgrade")
        .with("upgrade", "websocket")
        .without("content-length");
    vec![
        shape("forwarding headers", PLAIN, forwarded(forged(message()))),
        shape(
            "forwarding headers, nothing else",
            PLAIN,
            forwarded(forged("a=")),
        ),
        shape(
            "a query of 16 kB, forwarding headers",
            PLAIN,
            forwarded(to(forged(message()), &"q".repeat(16_000))),
        ),
        shape(
            "a query of 2 kB, forwarding headers",
            PLAIN,
            forwarded(to(
                forged("a="),
                &many(30, "name#=it%27s+a%20value%2Fof+fifty%C3%A9+bytes+or+more"),
            )),
        ),
        shape(
            "a query of 2,000 pieces",
            PLAIN,
            to(forged("a="), &many(2000, "q#")),
        ),
        shape(
            "a query of 40 short pieces",
            PLAIN,
            to(forged("a="), &many(40, "q#=")),
        ),
        shape(
            "a query of 5 parameters",
            PLAIN,
            to(forged("a="), &many(5, "p#=it%27s+a%20b")),
        ),
        shape(
            "a query of 5 parameters, by GET",
            get,
            by_get(&many(5, "p#=it%27s+a%20b")),
        ),
        shape(
            "a query of 5 parameters, and the message",
            PLAIN,
            to(forged(message()), &many(5, "p#=it%27s+a%20b")),
        ),
        shape(
            "a query of 4 parameters, 100 in the form",
            PLAIN,
            to(forged(&many(100, "n#=")), &many(4, "p#=it%27s")),
        ),
        shape(
            "another query than the configured one",
            own,
            to(forged(message()), &many(5, "p#=it%27s")),
        ),
        shape("a handshake with a query", get, handshake),
        shape(
            "a path of 8 kB of slashes",
            PREFIX,
            forged("a=").with(":path", &format!("/hooks/{}", "/".repeat(8000))),
        ),
        shape(
            "a path of 300 escapes",
            PREFIX,
            forged("a=").with(":path", &format!("/hooks/{}", "%2B/".repeat(300))),
        ),
        shape(
            "a short path with escapes",
            PREFIX,
            forwarded(forged("a=")).with(":path", "/hooks/a%2Bb+c//d/"),
        ),
    ]
}

/// A configuration with so many accounts, or shared keys.
fn with_keys(accounts: usize, tokens: usize, shared: usize) -> String {
    let list = |count: usize, item: &dyn Fn(usize) -> String| {
        (0..count).map(item).collect::<Vec<_>>().join(",")
    };
    let account = |number: usize| {
        let tokens = list(tokens, &|token| {
            format!("\"{:032x}\"", 1000 * number + token)
        });
        format!(r#"{{"account_sid": "AC{number:032x}", "auth_tokens": [{tokens}]}}"#)
    };
    let shared_key = |number: usize| format!(r#"{{"id": "k{number}", "secret": "s{number}"}}"#);
    format!(
        r#"{{"rate_limits": [], "accounts": [{}], "shared_keys": [{}]}}"#,
        list(accounts, &account),
        list(shared, &shared_key)
    )
}

fn keys() -> Vec<Shape> {
    let named = format!("AccountSid=AC{:032x}&Body=x", 5);
    let long = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let settings = "x-twilio-webhooks-signature-settings";
    vec![
        shape(
            "64 accounts, one of them named",
            &with_keys(64, 1, 0),
            forged(&named),
        ),
        shape(
            "64 accounts, none named",
            &with_keys(64, 1, 0),
            forged("Body=x"),
        ),
        shape(
            "64 accounts, and the message",
            &with_keys(64, 1, 0),
            forged(message()),
        ),
        shape(
            "64 tokens of one account",
            &with_keys(1, 64, 0),
            forged("Body=x"),
        ),
        shape(
            EIGHT_KEYS,
            &with_keys(1, 8, 0),
            forged(&format!("Body={}", "x".repeat(65_000))),
        ),
        shape(
            SIXTY_FOUR_KEYS,
            &with_keys(1, 64, 0),
            forged(&format!("Body={}", "x".repeat(65_000))),
        ),
        shape(
            "64 shared keys, none selected",
            &with_keys(0, 0, 64),
            forged(message()).with("x-twilio-signature", long),
        ),
        shape(
            "64 shared keys, one selected",
            &with_keys(0, 0, 64),
            forged(message())
                .with("x-twilio-signature", long)
                .with(settings, "key=k7,algorithm=HMAC_SHA256"),
        ),
        shape(
            "64 accounts, a shared key selected",
            &with_keys(63, 1, 1),
            forged(message()).with(settings, "key=k0"),
        ),
    ]
}

/// JSON whose URL was signed by Twilio, for another body.
fn captured(body: &str) -> Request {
    let path = format!("{PATH}?bodySHA256={}", "ab".repeat(32));
    let url = format!("{URL}?bodySHA256={}", "ab".repeat(32));
    let signature = base64(&hmac_sha1(TOKEN.as_bytes(), url.as_bytes()));
    forged(body)
        .with(":path", &path)
        .with("content-type", "application/json")
        .with("x-twilio-signature", &signature)
}

fn bodies() -> Vec<Shape> {
    let json = |count| {
        format!(
            "[{}]",
            many(count, r#"{"a": "\u00e9\/é", "b": [1, 2]}"#).replace('&', ",")
        )
    };
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let text = |body: &str| forged(body).with("content-type", "text/plain");
    vec![
        shape(
            "captured JSON of 0.5 kB, changed",
            PLAIN,
            captured(&json(15)),
        ),
        shape("captured JSON of 2 kB, changed", PLAIN, captured(&json(60))),
        shape(
            "captured JSON of 60 kB, changed",
            PLAIN,
            captured(&json(1700)),
        ),
        shape("captured JSON, 30,000 deep", PLAIN, captured(&deep(30_000))),
        shape("captured JSON without its body", PLAIN, captured("")),
        shape("a text of 60 kB", PLAIN, text(&"x".repeat(60_000))),
        shape(
            "a text like 100 parameters",
            PLAIN,
            text(&many(100, "n#=x%41")),
        ),
        shape(
            "a text like 12,500 parameters",
            PLAIN,
            text(&"a&".repeat(12_500)),
        ),
        shape(
            "a text with two hashes",
            PLAIN,
            to(text(&many(100, "n#=x%41")), &many(200, "bodySHA256=#")),
        ),
    ]
}
