//! For any JSON: the schema says yes if and only if the filter does, but for what [`EXCEPTIONS`] names.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use twilio_webhook_filter::load;

use crate::schema;
use support::random::Random;

/// What a schema cannot say, so that only the filter rejects it; and words of the rejection. There is no exception the
/// other way round: what the schema rejects, the filter rejects.
pub(crate) const EXCEPTIONS: [(&str, &str); 14] = [
    (
        "two webhooks with one path",
        "a path that no other webhook has",
    ),
    ("two shared keys with one id", "an id that no other key has"),
    (
        "too many keys in all lists together",
        "at most 64 auth tokens and shared keys in all",
    ),
    (
        "a webhook whose URL is nowhere",
        "a url here, or a public_base_url for all webhooks",
    ),
    (
        "a webhook whose URL has no path that could arrive here",
        "a path beside this URL",
    ),
    (
        "an exempt path that is a webhook's in another spelling",
        "a path that is not a webhook's",
    ),
    (
        "no webhook in the JSON, nor in the environment",
        "at least one webhook, here or as the environment variable",
    ),
    ("a variable that is not set", "which is not set for the VM"),
    ("a variable that is empty", "which is empty"),
    (
        "a variable with what copying leaves",
        ": the environment variable ",
    ),
    (
        "a variable with a user name that ends where the password begins",
        "a name without \":\"",
    ),
    (
        "a variable that the JSON does not name, with what copying leaves",
        "TWILIO_AUTH_TOKEN: expected a secret",
    ),
    (
        "a variable that is no number",
        "TWILIO_CLOCK_SKEW_MS: expected milliseconds",
    ),
    (
        "a field that occurs twice in the text",
        "this field occurs twice",
    ),
];

/// What the filter reads besides the JSON.
#[derive(Clone, Copy, PartialEq)]
enum Surroundings {
    Complete,
    WithoutWebhook,
    WithWrongValues,
}

impl Surroundings {
    fn variable(self, name: &str) -> Option<String> {
        match (self, name) {
            (Surroundings::WithoutWebhook, "WEBHOOK_URL") => None,
            (Surroundings::WithWrongValues, "TWILIO_AUTH_TOKEN") => Some("8f1c0de5\n".into()),
            (Surroundings::WithWrongValues, "TWILIO_CLOCK_SKEW_MS") => Some("30s".into()),
            _ => schema::environment(name),
        }
    }
}

/// Asks both, and counts what came of it.
struct Comparison {
    validator: Validator,
    taken: usize,
    rejected: usize,
    excepted: BTreeMap<&'static str, usize>,
}

impl Comparison {
    fn new() -> Self {
        Self {
            validator: schema::validator(),
            taken: 0,
            rejected: 0,
            excepted: BTreeMap::new(),
        }
    }

    fn tried(&self) -> usize {
        self.taken + self.rejected + self.excepted.values().sum::<usize>()
    }

    fn of_document(&mut self, document: &Value) {
        self.of_text(&document.to_string(), document, Surroundings::Complete);
    }

    /// A text, and the document that a reader makes of it who does not mind a field that occurs twice.
    fn of_text(&mut self, text: &str, document: &Value, surroundings: Surroundings) {
        let environment = |name: &str| surroundings.variable(name);
        let problems = match load(text.as_bytes(), &environment) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.each(),
        };
        let by_schema = self.validator.is_valid(document);
        match (by_schema, problems.is_empty()) {
            (true, true) => self.taken += 1,
            (false, false) => self.rejected += 1,
            (false, true) => panic!(
                "the filter takes {text}\n  the schema: {:?}",
                schema::complaints(&self.validator, document)
            ),
            (true, false) => {
                for problem in &problems {
                    let excepted = EXCEPTIONS.iter().find(|(_, words)| problem.contains(words));
                    let Some((what, _)) = excepted else {
                        panic!("the schema takes {text}\n  the filter: {problem}");
                    };
                    *self.excepted.entry(what).or_default() += 1;
                }
            }
        }
    }
}

/// Values of every type, at the bounds of every field, and with everything in them that a pattern could overlook.
fn values() -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(false),
        json!([]),
        json!([""]),
        json!(["/c"]),
        json!([[]]),
        json!({}),
        json!({"env": "TWILIO_AUTH_TOKEN"}),
        json!({"env": "NOT_SET"}),
        json!({"env": "EMPTY"}),
        json!({"env": "QUOTED"}),
        json!({"env": "COLON"}),
        json!({"env": "$NAME"}),
        json!({"env": null}),
        json!({"type": "redis"}),
        json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "{}"}),
    ];
    let whole: [i64; 20] = [
        -1,
        0,
        1,
        2,
        64,
        256,
        999_999,
        1_000_000,
        1_000_001,
        99_999,
        100_000,
        100_001,
        1_048_576,
        1_048_577,
        4_194_304,
        4_194_305,
        16_777_216,
        16_777_217,
        i64::MIN,
        i64::MAX,
    ];
    values.extend(whole.map(Value::from));
    let double = [
        -0.0,
        0.5,
        1.0,
        1.5,
        2.0,
        65_536.0,
        16_777_217.0,
        1e300,
        -1e300,
        5e-324,
    ];
    values.extend(double.map(Value::from));
    values.push(json!(u64::MAX));
    let texts = [
        "",
        " ",
        "x",
        "ü",
        "\0",
        "\n",
        "off",
        "all",
        "strict",
        "reject",
        "redis",
        "webdis",
        "upstash",
        "300s",
        "0s",
        "0.000s",
        "0.001s",
        "0.0001s",
        "1.000000000s",
        "1.0000000000s",
        "10s",
        "10.001s",
        "31622400s",
        "31622400.0s",
        "31622400.001s",
        "31622401s",
        "999999999999s",
        "0000000000001s",
        "000000000001s",
        "-1s",
        "1e3s",
        "1 s",
        "１s",
        "s",
        ".5s",
        "1.s",
        "POST",
        "post",
        "AC",
        "AC12",
        "AC12\n",
        "/",
        "/a",
        "/c/*",
        "/a*",
        "/hook",
        "//HOOK/",
        "//h",
        "/a b",
        "https://h",
        "https://h/a",
        "https://h/a?b",
        "https://h/a?",
        "https://h/a*b",
        "wss://h/a",
        "https://h:443/a",
        "https://h:65536/a",
        "https://https://h",
        "https://h/a,https://i",
        "https://u:p@h/a",
        "https://u p@h/a",
        "https://h/\u{a0}",
        "https://[::1]/a",
        "param:x",
        "param:",
        "param:\n",
        "client_ip",
        "webhook",
        "$NAME",
        "${NAME}",
        "%NAME%",
        "{{NAME}}",
        "{{ NAME }}",
        "<name>",
        "\"x\"",
        "x\n",
        "\u{feff}x",
        "x\u{200b}",
        "a:b",
        "QUOTED",
    ];
    values.extend(texts.map(Value::from));
    values
}

/// What may be put into a text, anywhere in it.
const SPLICES: [&str; 40] = [
    " ",
    "\n",
    "\t",
    "\0",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{ad}",
    "\u{180e}",
    "\u{200b}",
    "\u{2018}",
    "\u{2019}",
    "\u{201f}",
    "\u{2028}",
    "\u{2060}",
    "\u{2065}",
    "\u{3000}",
    "\u{feff}",
    "\u{fffd}",
    "ü",
    "\u{1f32e}",
    "\"",
    "'",
    "`",
    "$",
    "${",
    "{{",
    "}",
    "%",
    "<",
    "\\",
    ",",
    ",https://",
    ";",
    "://",
    "/",
    "*",
    ":",
    "0",
    "s",
];

/// Every field that any document of [`schema`] has, with all values that it has there.
fn values_by_field() -> BTreeMap<String, Vec<Value>> {
    let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let wrong = schema::wrong().into_iter().map(|(document, _)| document);
    for document in schema::right().into_iter().chain(wrong) {
        for pointer in schema::pointers(&document) {
            let value = document.pointer(&pointer).expect("a place").clone();
            values
                .entry(schema::as_field(&pointer))
                .or_default()
                .push(value);
        }
    }
    values
}

/// Makes documents that are almost right.
struct Maker {
    bases: Vec<Value>,
    values: Vec<Value>,
    by_field: BTreeMap<String, Vec<Value>>,
}

impl Maker {
    fn new() -> Self {
        let beyond = schema::beyond_a_schema().into_iter();
        let mut bases = schema::right();
        bases.extend(beyond.map(|(document, _)| document));
        Self {
            bases,
            values: values(),
            by_field: values_by_field(),
        }
    }

    fn document(&self, random: &mut Random) -> Value {
        let mut document = if random.chance(30) {
            schema::everything()
        } else {
            self.bases[random.below(self.bases.len())].clone()
        };
        // Two that are right make another, most often.
        if random.chance(40) {
            let other = &self.bases[random.below(self.bases.len())];
            if let (Value::Object(fields), Value::Object(others)) = (&mut document, other) {
                fields.extend(others.clone());
            }
        }
        for _ in 0..random.below(4) {
            self.change(&mut document, random);
        }
        document
    }

    fn change(&self, document: &mut Value, random: &mut Random) {
        let pointers = schema::pointers(document);
        let pointer = &pointers[random.below(pointers.len())];
        let field = schema::as_field(pointer);
        let value = document.pointer_mut(pointer).expect("a place");
        let likely = self.by_field.get(&field).filter(|_| random.chance(60));
        match (random.below(6), &mut *value) {
            (0, _) => *value = self.any_value(random),
            (1, _) if likely.is_some() => *value = pick(likely.expect("some"), random),
            (_, Value::Object(fields)) => self.change_fields(&field, fields, random),
            (_, Value::Array(list)) => match random.below(4) {
                0 if !list.is_empty() => drop(list.remove(random.below(list.len()))),
                1 => list.push(self.any_value(random)),
                2 => list.extend(list.clone()),
                _ => {
                    let many = list.iter().cycle().take(list.len() * 40).cloned().collect();
                    *list = many;
                }
            },
            (_, Value::String(text)) => splice(text, random),
            (_, Value::Number(number)) => {
                let steps = [-1.0, 1.0, 0.5, -0.0, 1e6];
                let next = number.as_f64().unwrap_or_default() + steps[random.below(steps.len())];
                *value = if next.fract() == 0.0 && random.chance(50) && next.abs() < 1e15 {
                    json!(next as i64)
                } else {
                    json!(next)
                };
            }
            _ => *value = self.any_value(random),
        }
    }

    fn change_fields(&self, path: &str, fields: &mut Map<String, Value>, random: &mut Random) {
        let names: Vec<String> = fields.keys().cloned().collect();
        if random.chance(30) && !names.is_empty() {
            fields.remove(&names[random.below(names.len())]);
            return;
        }
        // A field that belongs here, or somewhere else.
        let known: Vec<_> = self
            .by_field
            .keys()
            .filter(|field| !field.is_empty())
            .collect();
        let of_this: Vec<_> = known
            .iter()
            .copied()
            .filter(|field| {
                let name = field.strip_prefix(path).unwrap_or_default();
                let name = name.strip_prefix('.').unwrap_or(name);
                !name.is_empty() && !name.contains(['.', '['])
            })
            .collect();
        let from = if of_this.is_empty() || random.chance(10) {
            &known
        } else {
            &of_this
        };
        let field = from[random.below(from.len())];
        let name = field.rsplit(['.', ']']).next().unwrap_or_default();
        let value = if random.chance(80) {
            pick(&self.by_field[field], random)
        } else {
            self.any_value(random)
        };
        fields.insert(name.to_owned(), value);
    }

    fn any_value(&self, random: &mut Random) -> Value {
        let mut value = pick(&self.values, random);
        while random.chance(10) {
            value = if random.chance(50) {
                json!([value])
            } else {
                json!({"env": value})
            };
        }
        value
    }
}

fn pick(of: &[Value], random: &mut Random) -> Value {
    of[random.below(of.len())].clone()
}

fn splice(text: &mut String, random: &mut Random) {
    let count = text.chars().count();
    let nth = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
    let at = match random.below(3) {
        0 => 0,
        1 => text.len(),
        _ => nth(random.below(count + 1)),
    };
    match random.below(5) {
        0 if count > 0 => {
            let at = nth(random.below(count));
            text.remove(at);
        }
        1 => {
            let (open, close) = [
                ("\"", "\""),
                ("${", "}"),
                ("$", ""),
                ("%", "%"),
                ("<", ">"),
                ("{{", "}}"),
            ][random.below(6)];
            *text = format!("{open}{text}{close}");
        }
        _ => text.insert_str(at, SPLICES[random.below(SPLICES.len())]),
    }
}

/// The text of a document. Now and then an object has a field twice, the one that counts for most readers last.
fn write(value: &Value, random: &mut Random, twice: usize, out: &mut String) {
    match value {
        Value::Array(list) => {
            out.push('[');
            for (index, value) in list.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(value, random, twice, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (name, value)) in fields.iter().enumerate() {
                out.push_str(if index > 0 { ",\n " } else { "" });
                let name = Value::from(name.as_str());
                if random.chance(twice) {
                    out.push_str(&format!("{name}:null,"));
                }
                out.push_str(&format!("{name}: "));
                write(value, random, twice, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[test]
fn for_any_json_the_schema_says_yes_if_and_only_if_the_filter_does_but_for_exceptions_by_name() {
    let mut comparison = Comparison::new();
    let maker = Maker::new();
    for index in 0..20_000 {
        let random = &mut Random::new(0x7417_1106_0000_0013, index);
        let document = maker.document(random);
        let twice = if random.chance(5) { 2 } else { 0 };
        let mut text = String::new();
        write(&document, random, twice, &mut text);
        let surroundings = match random.below(20) {
            0 => Surroundings::WithoutWebhook,
            1 => Surroundings::WithWrongValues,
            _ => Surroundings::Complete,
        };
        comparison.of_text(&text, &document, surroundings);
    }
    let Comparison {
        taken,
        rejected,
        excepted,
        ..
    } = comparison;
    println!("both take {taken}, both reject {rejected}; only the filter rejects {excepted:#?}");
    assert!(taken > 4_000 && rejected > 6_000, "{taken}, {rejected}");
    for (what, _) in EXCEPTIONS {
        assert!(excepted.contains_key(what), "no document has {what}");
    }
}

/// Blanks, quotes and what is invisible: the ranges in the patterns are the filter's, to the last character.
#[test]
fn of_every_character_schema_and_filter_think_the_same_in_a_token_a_password_and_a_url() {
    let mut comparison = Comparison::new();
    let below = (0..=0x3100)
        .chain(0xFE00..=0xFFFF)
        .chain(0x1_F300..=0x1_F310);
    for character in below.filter_map(char::from_u32) {
        let text = format!("a{character}b");
        comparison.of_document(&json!({
            "store": {"type": "redis", "cluster": "c", "api": "webdis", "username": "u", "password": text},
        }));
        comparison.of_document(&json!({"shared_keys": [{"id": "a", "secret": text}]}));
        for url in [
            format!("https://{text}/"),
            format!("https://h/{text}"),
            format!("https://h/?{text}"),
            format!("https://{text}@h/"),
        ] {
            comparison.of_document(&json!({"webhooks": [{"path": "/a", "url": url}]}));
        }
    }
    assert!(comparison.excepted.is_empty(), "{:?}", comparison.excepted);
}

#[test]
fn with_any_one_thing_changed_schema_and_filter_still_agree() {
    let mut comparison = Comparison::new();
    let everything = schema::everything();
    for pointer in schema::pointers(&everything) {
        for value in values() {
            let mut changed = everything.clone();
            *changed.pointer_mut(&pointer).expect("a place") = value;
            comparison.of_document(&changed);
        }
        let mut changed = everything.clone();
        match changed.pointer_mut(&pointer).expect("a place") {
            Value::Object(map) => {
                let names: Vec<_> = map.keys().cloned().collect();
                for name in names {
                    let mut less = everything.clone();
                    let map = less.pointer_mut(&pointer).and_then(Value::as_object_mut);
                    map.expect("an object").remove(&name);
                    comparison.of_document(&less);
                }
                map.insert("unknown".into(), json!(1));
                comparison.of_document(&changed);
            }
            Value::Array(list) => {
                list.pop();
                comparison.of_document(&changed);
            }
            _ => {}
        }
    }
    assert!(comparison.tried() > 10_000, "{}", comparison.tried());
}

#[test]
fn each_exception_has_a_document_of_its_own() {
    let validator = schema::validator();
    for (document, words) in schema::beyond_a_schema() {
        assert_eq!(
            schema::complaints(&validator, &document),
            [""; 0],
            "{document}"
        );
        let said =
            schema::rejection(&document).unwrap_or_else(|| panic!("the filter takes {document}"));
        assert!(said.contains(words), "{document}: {said}");
        let named = EXCEPTIONS
            .iter()
            .any(|(_, excepted)| said.contains(excepted));
        assert!(named, "{said} is no exception by name");
    }
}
