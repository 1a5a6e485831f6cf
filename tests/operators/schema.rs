//! `envoy/configuration.schema.json` and the filter's own reading of the configuration agree on every field, right and
//! wrong. `agreement` has the documents that nobody wrote.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use twilio_webhook_filter::load;

use crate::view::read;
use support::messages::ACCOUNT;

pub(crate) fn schema() -> Value {
    serde_json::from_str(&read("envoy/configuration.schema.json")).expect("JSON")
}

pub(crate) fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap_or_else(|error| panic!("the schema: {error}"))
}

/// Everything that a schema finds wrong, each with its place.
pub(crate) fn complaints(validator: &Validator, document: &Value) -> Vec<String> {
    let errors = validator.iter_errors(document);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

pub(crate) fn environment(name: &str) -> Option<String> {
    match name {
        "TWILIO_AUTH_TOKEN" => Some("12345".into()),
        "TWILIO_ACCOUNT_SID" => Some(ACCOUNT.into()),
        "WEBHOOK_URL" => Some("https://orders.example.com/hook".into()),
        "twilio.token-2" => Some("a-token".into()),
        "EMPTY" => Some(String::new()),
        "QUOTED" => Some("'8f1c0de5'".into()),
        "COLON" => Some("a:b".into()),
        _ => None,
    }
}

/// What the filter says: nothing, or all that is wrong.
pub(crate) fn rejection(document: &Value) -> Option<String> {
    let loaded = load(document.to_string().as_bytes(), &environment);
    loaded.err().map(|problems| problems.to_string())
}

/// Every field, with a value that is not its default.
pub(crate) fn everything() -> Value {
    json!({
        "mode": "monitor",
        "accounts": [{"account_sid": ACCOUNT, "auth_tokens": ["current", {"env": "TWILIO_AUTH_TOKEN"}]}],
        "shared_keys": [{"id": "WK1", "secret": {"env": "TWILIO_AUTH_TOKEN"}}, {"id": "WK2", "secret": "x"}],
        "webhooks": [
            {"path": "/a", "url": "https://orders.example.com:8443/hooks/a?shop=1#rc=3", "methods": ["GET", "POST"],
             "timestamp": {"params": ["SentAt"], "header": "x-sent-at", "max_age": "10s", "clock_skew": "0s",
                           "required": true},
             "replay": {"window": "10s", "keep": "0s", "capacity": 1, "on_full": "evict_oldest",
                        "on_duplicate": "acknowledge", "handshakes": true},
             "form": "lenient", "max_parameters": 1,
             "rate_limits": [{"key": "param:From", "count": "authenticated", "requests": 1, "window": "0.25s"}]},
            {"path": "/b/*", "replay": "off", "rate_limits": []},
        ],
        "public_base_url": "https://orders.example.com/base",
        "exempt_paths": ["/healthz", "/public/*"],
        "max_body_bytes": 1,
        "max_target_bytes": 1_048_576,
        "form": "lenient",
        "max_parameters": 100_000,
        "trust_original_path": true,
        "timestamp": {"params": [], "header": null, "max_age": "0.001s", "clock_skew": "31622400s", "required": true},
        "replay": {"window": "31622400s", "keep": "1.500000000s", "capacity": 4194304, "on_full": "evict_oldest",
                   "on_duplicate": "acknowledge", "handshakes": true},
        "rate_limits": [{"key": "account", "count": "rejected", "requests": 1_000_000, "window": "1s"},
                        {"key": "webhook", "requests": 1.0, "window": "366s"}],
        "rate_limit_capacity": 1,
        "store": {"type": "redis", "cluster": "redis_over_http", "api": "webdis", "authority": "redis.example.com:7379",
                  "username": "envoy", "password": {"env": "TWILIO_AUTH_TOKEN"}, "key_prefix": "shop-1:test",
                  "timeout": "0.25s", "on_error": "local"},
        "log": {"accepted": true, "max_per_second": 0},
    })
}

/// A store in Redis, with these fields besides.
fn redis(api: &str, more: Value) -> Value {
    let mut store = json!({"type": "redis", "cluster": "c", "api": api});
    let fields = store.as_object_mut().expect("an object");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    json!({"store": store})
}

pub(crate) fn right() -> Vec<Value> {
    let url = |url: &str| json!({"webhooks": [{"path": "/a", "url": url}]});
    let path = |path: &str| json!({"public_base_url": "https://h", "webhooks": [{"path": path}]});
    let mut right = vec![
        everything(),
        json!({}),
        json!({"webhooks": []}),
        json!({"webhooks": [{"url": "https://h/a"}]}),
        json!({"webhooks": [{"path": "/hook"}]}),
        json!({"mode": "off"}),
        json!({"mode": "enforce"}),
        json!({"accounts": []}),
        json!({"accounts": [{"auth_tokens": []}]}),
        json!({"accounts": [{"auth_tokens": ["x"]}]}),
        json!({"replay": "off"}),
        json!({"replay": {}, "timestamp": {}, "log": {}}),
        json!({"timestamp": {"header": "X-Sent-At"}}),
        json!({"rate_limits": []}),
        json!({"rate_limits": [{"key": "client_ip", "count": "all", "requests": 60, "window": "60s"}]}),
        json!({"rate_limits": [{"key": "param:\n", "requests": 1, "window": "060.010s"}]}),
        json!({"store": {"type": "shared_data"}}),
        redis("webdis", json!({})),
        redis(
            "webdis",
            json!({"username": {"env": "TWILIO_ACCOUNT_SID"}, "password": "p:w"}),
        ),
        redis(
            "webdis",
            json!({"timeout": "10s", "on_error": "reject", "authority": "[::1]:7379"}),
        ),
        redis("upstash", json!({"token": "AXy-_=="})),
        redis(
            "upstash",
            json!({"token": {"env": "TWILIO_AUTH_TOKEN"}, "key_prefix": "A.b_c:d-1"}),
        ),
        redis(
            "webdis",
            json!({"username": "küche", "password": "pässwörd$%"}),
        ),
        json!({"accounts": [{"auth_tokens": ["a$b", "$5", "%%", "<>", "{{"]}]}),
        json!({"accounts": [{"auth_tokens": [{"env": "twilio.token-2"}]}]}),
        json!({"form": "strict", "max_parameters": 1, "max_target_bytes": 1}),
        json!({"timestamp": {"max_age": "031622400.000s", "clock_skew": "31622399.999s"}}),
        json!({"public_base_url": "http://h:80/"}),
        json!({"public_base_url": "https://user:pass@h"}),
    ];
    right.extend(
        [
            "https://h",
            "HTTPS://h/a",
            "http://h:8080/a/b?c=d&e",
            "wss://h/a",
            "https://[::1]:443/a",
            "https://u:p@h/a",
            "https://h/a#rc=3&rp=all",
            "https://h/a?b=it's",
            "https://h/a?b=c d",
            "https://h/ü",
            "https://bücher.example:65535",
            "https://h:00443/a",
            "https://https:1/a",
            "https://h/https://h",
            "https://h/a?b=https://c,https://d\"2\"<e>",
            "https://h/o'clock,[1];",
            "https://h/$a?$b",
        ]
        .map(url),
    );
    right.extend(["/", "/*", "/a/*", "/a//b", "/a%2Fb", "/a;b", "/.a"].map(path));
    right
}

/// No token, no secret, no password is like this.
const WHAT_COPYING_LEAVES: [&str; 24] = [
    "8f1c0de5\n",
    "8f1c0de5\r\n",
    " 8f1c0de5",
    "8f1c 0de5",
    "8f1c0de5\t",
    "8f1c0de5\u{a0}",
    "8f1c\u{200b}0de5",
    "\u{feff}8f1c0de5",
    "8f1c0de5\u{2060}",
    "8f1c\u{0}0de5",
    "8f1c\u{7f}0de5",
    "8f1c\u{fffd}0de5",
    "\"8f1c0de5\"",
    "'8f1c0de5'",
    "`8f1c0de5`",
    "“8f1c0de5”",
    "$TOKEN",
    "$$TOKEN",
    "${TOKEN}",
    "${TOKEN:-none}",
    "$(TOKEN)",
    "%TOKEN%",
    "{{token}}",
    "<your-token>",
];

/// What is wrong: the field that must be named, and the document.
const WRONG: &str = r##"
configuration []
configuration null
configuration "enforce"
moed {"moed": "off"}
mode {"mode": "on"}
mode {"mode": null}
accounts {"accounts": {}}
accounts[0] {"accounts": ["x"]}
accounts[0].auth_tokens {"accounts": [{"account_sid": "AC1"}]}
accounts[0].auth_tokens {"accounts": [{"auth_tokens": "x"}]}
accounts[0].auth_tokens[0] {"accounts": [{"auth_tokens": [""]}]}
accounts[0].auth_tokens[1] {"accounts": [{"auth_tokens": ["x", 7]}]}
accounts[0].auth_tokens[0].env {"accounts": [{"auth_tokens": [{"env": ""}]}]}
accounts[0].auth_tokens[0].env {"accounts": [{"auth_tokens": [{}]}]}
accounts[0].auth_tokens[0].file {"accounts": [{"auth_tokens": [{"file": "x"}]}]}
accounts[0].account_sid {"accounts": [{"account_sid": "12", "auth_tokens": []}]}
accounts[0].account_sid {"accounts": [{"account_sid": "AC-1", "auth_tokens": []}]}
accounts[0].account_sid {"accounts": [{"account_sid": null, "auth_tokens": []}]}
accounts[0].sid {"accounts": [{"sid": "AC1", "auth_tokens": []}]}
shared_keys {"shared_keys": "x"}
shared_keys[0] {"shared_keys": ["x"]}
shared_keys[0].secret {"shared_keys": [{"id": "a"}]}
shared_keys[0].secret {"shared_keys": [{"id": "a", "secret": ""}]}
shared_keys[0].secret.env {"shared_keys": [{"id": "a", "secret": {"env": 1}}]}
shared_keys[0].id {"shared_keys": [{"secret": "x"}]}
shared_keys[0].id {"shared_keys": [{"id": "", "secret": "x"}]}
webhooks {"webhooks": {}}
webhooks[0] {"webhooks": ["/a"]}
webhooks[0].path {"webhooks": [{}]}
webhooks[0].path {"webhooks": [{"path": "a", "url": "https://h/a"}]}
webhooks[0].path {"webhooks": [{"path": "", "url": "https://h/a"}]}
webhooks[0].path {"webhooks": [{"path": "/a?b", "url": "https://h/a"}]}
webhooks[0].path {"webhooks": [{"path": "/a#b", "url": "https://h/a"}]}
webhooks[0].path {"webhooks": [{"path": "/a b", "url": "https://h/a"}]}
webhooks[0].path {"webhooks": [{"path": "/ü", "url": "https://h/a"}]}
webhooks[0].path {"webhooks": [{"path": "/a*", "url": "https://h/a"}]}
webhooks[0].path {"webhooks": [{"path": "/*/a", "url": "https://h/a"}]}
webhooks[0].url {"webhooks": [{"path": "/a/*", "url": "https://h/a"}]}
webhooks[0].methods {"webhooks": [{"url": "https://h/a", "methods": []}]}
webhooks[0].methods[0] {"webhooks": [{"url": "https://h/a", "methods": ["post"]}]}
webhooks[0].methods {"webhooks": [{"url": "https://h/a", "methods": "POST"}]}
webhooks[0].metods {"webhooks": [{"url": "https://h/a", "metods": ["POST"]}]}
public_base_url {"public_base_url": "https://h?x"}
public_base_url {"public_base_url": "https://h/a?"}
public_base_url {"public_base_url": "orders.example.com"}
public_base_url {"public_base_url": null}
exempt_paths {"exempt_paths": "/healthz"}
exempt_paths[1] {"exempt_paths": ["/ok", "healthz"]}
max_body_bytes {"max_body_bytes": 0}
max_body_bytes {"max_body_bytes": 16777217}
max_body_bytes {"max_body_bytes": 1.5}
max_body_bytes {"max_body_bytes": "64k"}
max_target_bytes {"max_target_bytes": 0}
max_target_bytes {"max_target_bytes": 1048577}
max_parameters {"max_parameters": 0}
max_parameters {"max_parameters": 100001}
form {"form": "loose"}
form {"form": true}
trust_original_path {"trust_original_path": 1}
timestamp {"timestamp": []}
timestamp.maxage {"timestamp": {"maxage": "1s"}}
timestamp.params {"timestamp": {"params": "Timestamp"}}
timestamp.params[0] {"timestamp": {"params": [""]}}
timestamp.header {"timestamp": {"header": "x y"}}
timestamp.header {"timestamp": {"header": ""}}
timestamp.header {"timestamp": {"header": false}}
timestamp.max_age {"timestamp": {"max_age": 300}}
timestamp.max_age {"timestamp": {"max_age": "5m"}}
timestamp.max_age {"timestamp": {"max_age": "-5s"}}
timestamp.max_age {"timestamp": {"max_age": "0.000s"}}
timestamp.max_age {"timestamp": {"max_age": "0.0005s"}}
timestamp.max_age {"timestamp": {"max_age": "1e3s"}}
timestamp.clock_skew {"timestamp": {"clock_skew": "s"}}
timestamp.clock_skew {"timestamp": {"clock_skew": "1.s"}}
timestamp.clock_skew {"timestamp": {"clock_skew": ".5s"}}
timestamp.required {"timestamp": {"required": "yes"}}
replay {"replay": "on"}
replay {"replay": null}
replay {"replay": false}
replay.windows {"replay": {"windows": "1s"}}
replay.window {"replay": {"window": "0s"}}
replay.window {"replay": {"window": "300"}}
replay.keep {"replay": {"keep": "1d"}}
replay.capacity {"replay": {"capacity": 0}}
replay.capacity {"replay": {"capacity": 4194305}}
replay.on_full {"replay": {"on_full": "drop"}}
replay.on_duplicate {"replay": {"on_duplicate": "pass"}}
replay.handshakes {"replay": {"handshakes": "no"}}
replay.window {"replay": {"window": "31622400.001s"}}
replay.keep {"replay": {"keep": "99999999s"}}
replay.keep {"replay": {"keep": "31622401s"}}
rate_limits {"rate_limits": {}}
rate_limits[0] {"rate_limits": [1]}
rate_limits[0].key {"rate_limits": [{"requests": 1, "window": "1s"}]}
rate_limits[0].key {"rate_limits": [{"key": "ip", "requests": 1, "window": "1s"}]}
rate_limits[0].key {"rate_limits": [{"key": "param:", "requests": 1, "window": "1s"}]}
rate_limits[0].count {"rate_limits": [{"key": "account", "count": "some", "requests": 1, "window": "1s"}]}
rate_limits[0].requests {"rate_limits": [{"key": "client_ip", "requests": 0, "window": "1s"}]}
rate_limits[0].requests {"rate_limits": [{"key": "client_ip", "window": "1s"}]}
rate_limits[0].requests {"rate_limits": [{"key": "client_ip", "requests": 1000001, "window": "1s"}]}
rate_limits[0].window {"rate_limits": [{"key": "client_ip", "requests": 1, "window": "0s"}]}
rate_limits[0].window {"rate_limits": [{"key": "client_ip", "requests": 1}]}
rate_limits[0].burst {"rate_limits": [{"key": "client_ip", "requests": 1, "window": "1s", "burst": 2}]}
rate_limit_capacity {"rate_limit_capacity": -1}
rate_limit_capacity {"rate_limit_capacity": 1048577}
store {"store": "shared_data"}
store.type {"store": {}}
store.type {"store": {"type": "memcached"}}
store.cluster {"store": {"type": "shared_data", "cluster": "c"}}
store.cluster {"store": {"type": "redis", "api": "webdis"}}
store.api {"store": {"type": "redis", "cluster": "c"}}
log {"log": []}
log.accepted {"log": {"accepted": "yes"}}
log.max_per_second {"log": {"max_per_second": -1}}
log.max_per_second {"log": {"max_per_second": 100001}}
log.level {"log": {"level": "info"}}
"##;

/// The same of stores in Redis: the field, the `api`, and the other fields of the store.
const WRONG_REDIS: &str = r##"
store.api resp {}
store.cluster webdis {"cluster": ""}
store.authority webdis {"authority": "a b"}
store.authority webdis {"authority": "https://h"}
store.password webdis {"username": "u"}
store.username webdis {"password": "p"}
store.username webdis {"username": "u:v", "password": "p"}
store.password webdis {"username": "u", "password": ""}
store.token webdis {"token": "t"}
store.token upstash {}
store.token upstash {"token": "a b"}
store.username upstash {"token": "t", "username": "u"}
store.password upstash {"token": "t", "password": "p"}
store.username.env webdis {"username": {"env": ""}, "password": "p"}
store.password.env webdis {"username": "u", "password": {"env": 1}}
store.token.env upstash {"token": {"env": null}}
store.key_prefix webdis {"key_prefix": "{a}"}
store.key_prefix webdis {"key_prefix": ""}
store.timeout webdis {"timeout": "0s"}
store.timeout webdis {"timeout": "10.001s"}
store.timeout webdis {"timeout": "11s"}
store.timeout webdis {"timeout": 0.1}
store.on_error webdis {"on_error": "pass"}
store.database webdis {"database": 0}
"##;

/// A document, and the field that is wrong in it.
pub(crate) fn wrong() -> Vec<(Value, String)> {
    let mut wrong: Vec<(Value, &str)> = vec![(
        redis("webdis", json!({"key_prefix": "x".repeat(65)})),
        "store.key_prefix",
    )];
    let parsed = |text: &str| serde_json::from_str::<Value>(text).expect(text);
    for line in WRONG.trim().lines() {
        let (field, document) = line.split_once(' ').expect("a field");
        wrong.push((parsed(document), field));
    }
    for line in WRONG_REDIS.trim().lines() {
        let (field, store) = line.split_once(' ').expect("a field");
        let (api, more) = store.split_once(' ').expect("an API");
        wrong.push((redis(api, parsed(more)), field));
    }
    for url in [
        "",
        "orders.example.com/a",
        "ftp://h/a",
        "https:///a",
        "https://u@/a",
        "https://h:x/a",
        "https://h:/a",
        " https://h/a",
        "https://h/a ",
        "https://h/a\n",
        "https://h/a b",
        "https://h/a?b ",
        "https://h/a?b #c",
        "https://h/a?b=1, https://i/a",
        "https://h/a#b c",
        "https:// h/a",
        "https://h. example/a",
        "https://h\u{200b}/a",
        "https://https://h/a",
        "https://http//h/a",
        "https://h/a,https://i/a",
        "https://h/a|'https://i/a",
        "https://h/a,",
        "\"https://h/a\"",
        "https://h/a\"",
        "https://h/“a”",
        "https://h/<a>",
        "https://h\\a",
        "https://$HOST/a",
        "https://h/${A}",
        "https://h/a?{{b}}",
        "https://h/a#${b}",
        "https://*.h/a",
        "https://h:0/a",
        "https://h:65536/a",
        "https://[::1/a",
        "https://[g]/a",
        "https://h,i/a",
        "\u{feff}https://h/a",
        "/a",
    ] {
        wrong.push((
            json!({"webhooks": [{"path": "/a", "url": url}]}),
            "webhooks[0].url",
        ));
        wrong.push((json!({"public_base_url": url}), "public_base_url"));
    }
    for text in WHAT_COPYING_LEAVES {
        wrong.extend([
            (
                json!({"accounts": [{"auth_tokens": [text]}]}),
                "accounts[0].auth_tokens[0]",
            ),
            (
                json!({"accounts": [{"account_sid": text, "auth_tokens": []}]}),
                "accounts[0].account_sid",
            ),
            (
                json!({"shared_keys": [{"id": "a", "secret": text}]}),
                "shared_keys[0].secret",
            ),
            (
                json!({"shared_keys": [{"id": text, "secret": "x"}]}),
                "shared_keys[0].id",
            ),
            (redis("upstash", json!({"token": text})), "store.token"),
            (
                redis("webdis", json!({"username": text, "password": "p"})),
                "store.username",
            ),
            (
                redis("webdis", json!({"username": "u", "password": text})),
                "store.password",
            ),
        ]);
    }
    for name in ["$NAME", "${NAME}", "NAME ", "A=b", "8f1c", "NÄME"] {
        wrong.push((
            json!({"accounts": [{"auth_tokens": [{"env": name}]}]}),
            "accounts[0].auth_tokens[0].env",
        ));
    }
    let mut wrong: Vec<_> = wrong
        .into_iter()
        .map(|(document, field)| (document, field.to_owned()))
        .collect();
    // What is wrong for all webhooks is wrong where one of them overrides it.
    for (document, field) in wrong.clone() {
        for name in [
            "timestamp",
            "replay",
            "rate_limits",
            "form",
            "max_parameters",
        ] {
            if let Some(value) = document.get(name) {
                let webhook = json!({"url": "https://h/a", name: value});
                wrong.push((
                    json!({"webhooks": [webhook]}),
                    format!("webhooks[0].{field}"),
                ));
            }
        }
    }
    wrong
}

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::meta::is_valid(&schema()));
}

#[test]
fn schema_and_filter_accept_the_same() {
    let validator = validator();
    let right = right();
    for document in &right {
        assert_eq!(rejection(document), None, "{document}");
        assert_eq!(complaints(&validator, document), [""; 0], "{document}");
    }
    assert!(right.len() >= 30, "{}", right.len());
}

#[test]
fn schema_and_filter_reject_the_same() {
    let validator = validator();
    let wrong = wrong();
    for (document, field) in &wrong {
        let said = rejection(document).unwrap_or_else(|| panic!("the filter takes {document}"));
        assert!(
            said.contains(&format!("{field}: ")),
            "{field} is not named for {document}: {said}"
        );
        assert!(
            !validator.is_valid(document),
            "the schema takes {document}; the filter: {said}"
        );
    }
    assert!(wrong.len() >= 60, "{}", wrong.len());
}

/// What only the filter can find wrong, and the words in which it does.
pub(crate) fn beyond_a_schema() -> Vec<(Value, &'static str)> {
    let tokens = |number: usize| vec![json!("x"); number];
    vec![
        (
            json!({"webhooks": [{"url": "https://h/a"}, {"path": "/a", "url": "https://other/a"}]}),
            "a path that no other webhook has",
        ),
        (
            json!({"shared_keys": [{"id": "a", "secret": "x"}, {"id": "a", "secret": "y"}]}),
            "an id that no other key has",
        ),
        (
            json!({"accounts": [{"auth_tokens": tokens(40)}, {"auth_tokens": tokens(40)}]}),
            "at most 64 auth tokens and shared keys in all",
        ),
        (
            json!({"accounts": [{"auth_tokens": [{"env": "NOT_SET"}]}]}),
            "which is not set for the VM",
        ),
        (
            json!({"webhooks": [{"path": "/other"}]}),
            "a url here, or a public_base_url",
        ),
        (
            json!({"webhooks": [{"path": "/prefix/*"}]}),
            "a url here, or a public_base_url",
        ),
        (
            json!({"webhooks": [{"url": "https://h/a*b"}]}),
            "a path beside this URL",
        ),
        (
            json!({"exempt_paths": ["//HOOK/"]}),
            "a path that is not a webhook's",
        ),
        (
            json!({"accounts": [{"auth_tokens": [{"env": "EMPTY"}]}]}),
            "which is empty",
        ),
        (
            json!({"shared_keys": [{"id": "a", "secret": {"env": "QUOTED"}}]}),
            "the environment variable QUOTED has quotes around it",
        ),
        (
            redis(
                "webdis",
                json!({"username": {"env": "COLON"}, "password": "p"}),
            ),
            "a name without \":\"",
        ),
    ]
}

/// Every place in a document, as a path of names and numbers.
pub(crate) fn pointers(document: &Value) -> Vec<String> {
    let mut pointers = vec![String::new()];
    let mut below = |name: &str, value: &Value| {
        let name = name.replace('~', "~0").replace('/', "~1");
        pointers.extend(
            self::pointers(value)
                .iter()
                .map(|rest| format!("/{name}{rest}")),
        );
    };
    match document {
        Value::Object(map) => map.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(index, value)| below(&index.to_string(), value)),
        _ => {}
    }
    pointers
}

/// A schema with what it refers to.
fn resolved(root: &Value, node: &Value) -> Map<String, Value> {
    let own = node.as_object().expect("a schema is an object").clone();
    let Some(reference) = own.get("$ref").and_then(Value::as_str) else {
        return own;
    };
    let target = root
        .pointer(reference.trim_start_matches('#'))
        .expect("what $ref names");
    let mut merged = resolved(root, target);
    merged.extend(own);
    merged
}

/// Every field of the schema: its path (`webhooks[].url`) and its own schema.
fn fields(
    root: &Value,
    node: &Value,
    path: &str,
    found: &mut BTreeMap<String, Map<String, Value>>,
) {
    let node = resolved(root, node);
    for alternative in node
        .get("anyOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        fields(root, alternative, path, found);
    }
    if let Some(items) = node.get("items") {
        fields(root, items, &format!("{path}[]"), found);
    }
    for (name, below) in node
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        fields(root, below, &path, found);
        found.insert(path, resolved(root, below));
    }
}

pub(crate) fn all_fields() -> BTreeMap<String, Map<String, Value>> {
    let (schema, mut found) = (schema(), BTreeMap::new());
    fields(&schema, &schema, "", &mut found);
    found
}

/// `webhooks[0].url` or `/webhooks/0/url` as `webhooks[].url`.
pub(crate) fn as_field(path: &str) -> String {
    let mut field = String::new();
    for part in path
        .split(['/', '.', '[', ']'])
        .filter(|part| !part.is_empty())
    {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            field.push_str("[]");
        } else {
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(part);
        }
    }
    field
}

#[test]
fn each_field_is_tried_right_and_wrong_and_is_described() {
    let fields = all_fields();
    assert!(fields.len() >= 50, "{:?}", fields.keys());
    let set: BTreeSet<_> = right()
        .iter()
        .flat_map(pointers)
        .map(|index| as_field(&index))
        .collect();
    let named: BTreeSet<_> = wrong().iter().map(|(_, field)| as_field(field)).collect();
    for (field, schema) in &fields {
        assert!(set.contains(field), "no right document has {field}");
        assert!(
            named.contains(field),
            "no wrong document is wrong at {field}"
        );
        let description = schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        assert!(
            description.ends_with('.') && description.len() > 10,
            "{field}: {description:?}"
        );
        let shown = schema.get("default").is_none_or(|default| match default {
            Value::String(text) => description.contains(text.as_str()),
            Value::Number(number) => description.contains(&number.to_string()),
            _ => true,
        });
        assert!(shown, "{field}: the description does not tell the default");
    }
}

/// The document that the defaults of the schema make.
fn defaults(root: &Value, node: &Value) -> Option<Value> {
    let node = resolved(root, node);
    if let Some(default) = node.get("default") {
        return Some(default.clone());
    }
    let own = |node: &Map<String, Value>| {
        let properties = node.get("properties")?.as_object()?;
        let filled = properties
            .iter()
            .filter_map(|(name, below)| Some((name.clone(), defaults(root, below)?)));
        Some(Value::Object(filled.collect()))
    };
    let alternatives = node
        .get("anyOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    own(&node).or_else(|| alternatives.filter_map(Value::as_object).find_map(own))
}

#[test]
fn the_defaults_in_the_schema_are_those_of_the_filter() {
    let schema = schema();
    let document = defaults(&schema, &schema).expect("an object");
    for name in [
        "mode",
        "timestamp",
        "replay",
        "rate_limits",
        "log",
        "max_body_bytes",
    ] {
        assert!(document.get(name).is_some(), "{document}");
    }
    let load = |document: &Value| {
        let loaded = load(document.to_string().as_bytes(), &environment);
        loaded.unwrap_or_else(|problems| panic!("{document}: {problems}"))
    };
    assert_eq!(
        format!("{:#?}", load(&document)),
        format!("{:#?}", load(&json!({})))
    );
    // Those of the store are in one of several alternatives.
    let mut filled = json!({});
    for (field, own) in all_fields() {
        if let (Some(name), Some(default)) = (field.strip_prefix("store."), own.get("default")) {
            filled[name] = default.clone();
        }
    }
    assert_eq!(filled.as_object().map(Map::len), Some(3), "{filled}");
    assert_eq!(
        format!("{:?}", load(&redis("webdis", filled))),
        format!("{:?}", load(&redis("webdis", json!({}))))
    );
    // A webhook's methods have a default of their own.
    let webhook = |extra: Value| {
        let mut webhook = json!({"url": "https://h/a"});
        webhook
            .as_object_mut()
            .expect("an object")
            .extend(extra.as_object().cloned().unwrap_or_default());
        json!({"webhooks": [webhook]})
    };
    let methods = all_fields()["webhooks[].methods"]["default"].clone();
    assert_eq!(
        format!("{:?}", load(&webhook(json!({"methods": methods})))),
        format!("{:?}", load(&webhook(json!({}))))
    );
}
