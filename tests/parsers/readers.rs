//! The parsers, those of one language in one process: it gets the bodies, one a line in hexadecimal digits, and answers
//! with a line that names its parsers and their versions, then with one line for each body:
//! `{"parser": [["name", "value"], …]}`, in hexadecimal digits too, or `{"parser": "what it fails with"}`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::go;
use support::process::{installed, node, python, repository, tool};
use support::signing::hex;

/// A parser, and who uses it.
pub(crate) struct Reader {
    pub(crate) name: &'static str,
    pub(crate) of: &'static str,
}

const fn reader(name: &'static str, of: &'static str) -> Reader {
    Reader { name, of }
}

/// All of them.
pub(crate) const READERS: [Reader; 17] = [
    reader("querystring", "Node.js; Express 4 with `extended: false`"),
    reader(
        "URLSearchParams",
        "Node.js and the web's standard; Remix, Hono, Next.js",
    ),
    reader("qs", "npm `qs` alone; Koa"),
    reader(
        "Express simple",
        "npm `body-parser` with `extended: false`, which has `qs` under it; Express 5",
    ),
    reader(
        "Express extended",
        "the same with `extended: true`; Express 4 and 5",
    ),
    reader("busboy", "npm `busboy`"),
    reader("fast-querystring", "npm `fast-querystring`; Fastify"),
    reader(
        "urllib",
        "Python's `urllib.parse.parse_qsl`, with blank values kept; aiohttp",
    ),
    reader("Django", "`request.POST`"),
    reader("Werkzeug", "`request.form`; Flask"),
    reader(
        "Starlette",
        "`request.form()`, which has `python-multipart` under it; FastAPI",
    ),
    reader(
        "Go",
        "`net/url`'s `ParseQuery`, which `http.Request.ParseForm` has under it",
    ),
    reader(
        "PHP",
        "`parse_str`, which fills arrays as `$_POST` is filled; Laravel, Symfony",
    ),
    reader("Rack", "Ruby's `Rack::Request#POST`; Rails, Sinatra"),
    reader("Ruby", "`URI.decode_www_form`"),
    reader("CGI", "Perl's `CGI`"),
    reader(
        "Rust",
        "`form_urlencoded`; axum and Actix by `serde_urlencoded`",
    ),
];

/// What a parser makes of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Names and values, in the order in which it hands over the values of one name.
    Form(Vec<Read>),
    /// It rejects it all.
    Fails(String),
    /// The body cannot be shown to it.
    NotAsked,
}

/// A name, and a value where it has one.
pub(crate) type Read = (Vec<u8>, Option<Vec<u8>>);

/// What all make of all bodies.
pub(crate) struct Readings {
    /// By parser.
    pub(crate) versions: BTreeMap<String, String>,
    /// By parser, one for each body.
    pub(crate) by: BTreeMap<String, Vec<Reading>>,
}

impl Readings {
    pub(crate) fn of(bodies: &[Vec<u8>]) -> Self {
        let mut readings = Self {
            versions: BTreeMap::new(),
            by: BTreeMap::new(),
        };
        std::thread::scope(|scope| {
            let languages = languages();
            let started: Vec<_> = languages
                .into_iter()
                .map(|command| scope.spawn(|| ask(command, bodies)))
                .collect();
            readings.insert("Go", go::version(), go::read(bodies));
            let by_rust = bodies.iter().map(|body| by_rust(body)).collect();
            readings.insert("Rust", "in this process".to_owned(), by_rust);
            for language in started {
                readings.take(&language.join().expect("a language answers"), bodies.len());
            }
        });
        readings
    }

    fn insert(&mut self, reader: &str, version: String, readings: Vec<Reading>) {
        self.versions.insert(reader.to_owned(), version);
        self.by.insert(reader.to_owned(), readings);
    }

    /// The output of a language's process.
    fn take(&mut self, output: &str, bodies: usize) {
        let mut lines = output.lines();
        let parse = |line: &str| -> Value {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        let versions = parse(lines.next().expect("a line of versions"));
        let answers: Vec<Value> = lines.map(parse).collect();
        for (reader, version) in versions.as_object().expect("parsers and versions") {
            assert_eq!(answers.len(), bodies, "{reader} has ended too early");
            let readings = answers.iter().map(|answer| reading(&answer[reader]));
            let version = version.as_str().expect("a version").to_owned();
            self.insert(reader, version, readings.collect());
        }
    }
}

fn reading(answer: &Value) -> Reading {
    let bytes = |text: &Value| text.as_str().map(unhex);
    match answer {
        Value::String(error) => Reading::Fails(error.clone()),
        Value::Array(pairs) => Reading::Form(
            pairs
                .iter()
                .map(|pair| (bytes(&pair[0]).expect("a name"), bytes(&pair[1])))
                .collect(),
        ),
        other => panic!("no answer: {other}"),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|digits| {
            let digits = std::str::from_utf8(digits).expect("ASCII");
            u8::from_str_radix(digits, 16).expect("hexadecimal digits")
        })
        .collect()
}

fn languages() -> Vec<Command> {
    let home = installed("FORM_PARSERS", "parsers");
    let found = |variable, name: &str| {
        tool(variable, &format!("target/tools/{name}")).unwrap_or_else(|error| panic!("{error}"))
    };
    let node = node("tests/parsers/readers/node.mjs", &home);
    let python = python("tests/parsers/readers/python.py", &home);
    let by = |variable, name: &str, script: &str| {
        let mut command = Command::new(found(variable, name));
        command.arg(repository().join("tests/parsers/readers").join(script));
        command
    };
    let php = by("PHP_BIN", "php", "php.php");
    let ruby = by("RUBY_BIN", "ruby", "ruby.rb");
    let perl = by("PERL_BIN", "perl", "perl.pl");
    vec![node, python, php, ruby, perl]
}

/// All bodies at once; the answers come while the rest is still being asked.
fn ask(mut command: Command, bodies: &[Vec<u8>]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            for body in bodies {
                // A process that has died shows at the other end, where an answer is missing.
                if writeln!(stdin, "{}", hex(body)).is_err() {
                    return;
                }
            }
        });
        child.wait_with_output().expect("its output")
    });
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

fn by_rust(body: &[u8]) -> Reading {
    let bytes = |text: std::borrow::Cow<'_, str>| text.into_owned().into_bytes();
    let pairs = form_urlencoded::parse(body);
    Reading::Form(
        pairs
            .map(|(name, value)| (bytes(name), Some(bytes(value))))
            .collect(),
    )
}
