//! Where a parser reads a strict form otherwise than it is signed, and why. `docs/signatures.md` has the same table for
//! people; a test compares the two.
//!
//! Each exception says exactly what the parser makes of it. Only where names are taken for paths of a tree are they left
//! out of the comparison, with all that falls under them.

use std::collections::BTreeSet;

use crate::readers::{Read, Reading};
use support::reference::{Reader, decode, pairs};
use support::strictness::MAX_PIECES;

/// A parameter as it was sent.
#[derive(Clone, PartialEq, Eq)]
struct Sent {
    name: Vec<u8>,
    value: Vec<u8>,
    /// Still escaped.
    raw_name: Vec<u8>,
    raw_value: Vec<u8>,
}

/// What a parser is expected to read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    parameters: Vec<Sent>,
    /// Names whose values are not compared, with all that stands in brackets behind them.
    trees: BTreeSet<Vec<u8>>,
    /// How many bytes of a name are compared, where not all are.
    compared_of_names: Option<usize>,
    fails: Failing,
}

/// Whether a parser is to fail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failing {
    No,
    Perhaps,
    Yes,
}

/// A kind of difference.
pub(crate) struct Exception {
    pub(crate) name: &'static str,
    pub(crate) why: &'static str,
    /// Which parsers; each of them has to show it.
    pub(crate) readers: &'static [&'static str],
    /// Changes what is expected.
    apply: fn(&str, &[Sent], &mut Expected),
}

/// In the order in which they apply.
pub(crate) const EXCEPTIONS: [Exception; 12] = [
    Exception {
        name: "a pair twice",
        why: "The signature counts it once. Who keeps all values of a name has it twice, JavaScript a list in the place \
              of a text; who keeps the last value may have another last one.",
        readers: &[
            "querystring",
            "URLSearchParams",
            "qs",
            "Express simple",
            "Express extended",
            "busboy",
            "fast-querystring",
            "urllib",
            "Django",
            "Werkzeug",
            "Starlette",
            "Go",
            "PHP",
            "Rack",
            "Ruby",
            "CGI",
            "Rust",
        ],
        apply: |_, sent, expected| expected.parameters = sent.to_vec(),
    },
    Exception {
        name: "not UTF-8, replaced",
        why: "Bytes that are not UTF-8 are signed as they are; as text each of them is U+FFFD.",
        readers: &[
            "querystring",
            "URLSearchParams",
            "busboy",
            "urllib",
            "Django",
            "Starlette",
            "Ruby",
            "Rust",
        ],
        apply: |_, _, expected| {
            let lossy = |text: &[u8]| String::from_utf8_lossy(text).into_owned().into_bytes();
            for parameter in &mut expected.parameters {
                parameter.name = lossy(&parameter.name);
                parameter.value = lossy(&parameter.value);
            }
        },
    },
    Exception {
        name: "not UTF-8, left escaped",
        why: "A name or value that is not UTF-8 keeps its escapes, all of them or (Werkzeug) those of the bytes \
              that are not.",
        readers: &[
            "qs",
            "Express simple",
            "Express extended",
            "fast-querystring",
            "Werkzeug",
        ],
        apply: |reader, _, expected| {
            let kept = |text: &mut Vec<u8>, raw: &[u8]| {
                if std::str::from_utf8(text).is_err() {
                    *text = match reader {
                        "Werkzeug" => escaped_where_not_text(text),
                        "fast-querystring" => without_plus(raw),
                        _ => without_plus(&with_brackets(raw)),
                    };
                }
            };
            for Sent {
                name,
                value,
                raw_name,
                raw_value,
            } in &mut expected.parameters
            {
                kept(name, raw_name);
                kept(value, raw_value);
            }
        },
    },
    Exception {
        name: "not UTF-8, rejected",
        why: "Rack fails with an `InvalidParameterError` on a name that is not UTF-8.",
        readers: &["Rack"],
        apply: |_, sent, expected| {
            if sent
                .iter()
                .any(|parameter| std::str::from_utf8(&parameter.name).is_err())
            {
                expected.fails = Failing::Yes;
            }
        },
    },
    Exception {
        name: "names in PHP",
        why: "A name ends at a NUL, and begins after its blanks; a dot or a blank in it, or a `[` that is not closed, \
              is an `_`.",
        readers: &["PHP"],
        apply: |_, _, expected| {
            for parameter in &mut expected.parameters {
                parameter.name = name_in_php(&parameter.name);
            }
        },
    },
    Exception {
        name: "empty name",
        why: "A parameter without a name is dropped; by busboy if it has no value either and is not the last.",
        readers: &[
            "qs",
            "Express simple",
            "Express extended",
            "busboy",
            "PHP",
            "Rack",
        ],
        apply: |reader, _, expected| {
            let last = expected.parameters.len();
            let kept = expected
                .parameters
                .iter()
                .zip(1..)
                .filter(|(parameter, number)| {
                    let by_busboy = !parameter.value.is_empty() || *number == last;
                    !parameter.name.is_empty() || reader == "busboy" && by_busboy
                });
            expected.parameters = kept.map(|(parameter, _)| parameter.clone()).collect();
        },
    },
    Exception {
        name: "names of prototypes",
        why: "`qs` drops names that every JavaScript object has (`constructor`, `toString`), Express `__proto__` only.",
        readers: &["qs", "Express simple", "Express extended"],
        apply: |reader, _, expected| {
            let is_dropped = |name: &[u8]| match reader {
                "qs" => PROTOTYPE.iter().any(|method| method.as_bytes() == name),
                _ => name == b"__proto__",
            };
            expected
                .parameters
                .retain(|parameter| !is_dropped(&parameter.name));
        },
    },
    Exception {
        name: "names in CGI",
        why: "Perl's CGI keeps `.submit` and `.cgifields` for itself, and forgets everything where there is a \
              `.defaults`.",
        readers: &["CGI"],
        apply: |_, _, expected| {
            let is_true = |value: &[u8]| !matches!(value, b"" | b"0");
            let first = expected
                .parameters
                .iter()
                .find(|parameter| parameter.name == b".defaults");
            // It takes names that begin with a hyphen for options of its own.
            let names = expected.parameters.first();
            let is_option = names.is_some_and(|one| one.name.starts_with(b"-"));
            if first.is_some_and(|first| is_true(&first.value)) && !is_option {
                expected.parameters.clear();
            }
            expected.parameters.retain(|parameter| {
                !matches!(parameter.name.as_slice(), b".submit" | b".cgifields")
            });
        },
    },
    Exception {
        name: "leading question mark",
        why: "`new URLSearchParams(text)` takes a raw `?` at the beginning for that of a URL.",
        readers: &["URLSearchParams"],
        apply: |_, _, expected| {
            if let Some(first) = expected.parameters.first_mut()
                && first.raw_name.starts_with(b"?")
            {
                first.name.remove(0);
            }
        },
    },
    Exception {
        name: "long names",
        why: "busboy cuts a name after 100 bytes, unless it is told otherwise.",
        readers: &["busboy"],
        apply: |_, sent, expected| {
            // It may cut a character in half, and counts escapes in its own way.
            let is_long = |parameter: &Sent| parameter.name.len() >= 97;
            expected.compared_of_names = sent.iter().any(is_long).then_some(97);
        },
    },
    Exception {
        name: "brackets in names",
        why: "`a[b]` is a tree of parameters, each with rules of its own; where they contradict each other, Rack, and \
              Express where they are deep, reject the form. Express with `extended: false` takes brackets away that are \
              around a whole name.",
        readers: &["qs", "Express simple", "Express extended", "PHP", "Rack"],
        apply: |reader, _, expected| {
            let names = expected.parameters.iter().map(|parameter| &parameter.name);
            let is_tree = |name: &&Vec<u8>| match reader {
                "Express simple" => name.starts_with(b"[") && name.ends_with(b"]"),
                _ => name.iter().any(|byte| matches!(byte, b'[' | b']')),
            };
            let trees: BTreeSet<_> = names.filter(is_tree).flat_map(|name| roots(name)).collect();
            let may_fail = matches!(reader, "Rack" | "Express extended");
            if may_fail && !trees.is_empty() && expected.fails == Failing::No {
                expected.fails = Failing::Perhaps;
            }
            expected.trees.extend(trees);
        },
    },
    Exception {
        name: "one value of a name",
        why: "PHP and Rack keep the last value of a name; `qs` alone makes of more than 20 an object.",
        readers: &["PHP", "Rack", "qs"],
        apply: |reader, _, expected| {
            let parameters = expected.parameters.clone();
            let last = |(at, parameter): &(usize, &Sent)| {
                !parameters[at + 1..]
                    .iter()
                    .any(|later| later.name == parameter.name)
            };
            if reader == "qs" {
                let count = |name: &[u8]| parameters.iter().filter(|one| one.name == name).count();
                let many = parameters
                    .iter()
                    .filter(|parameter| count(&parameter.name) > 20);
                expected
                    .trees
                    .extend(many.map(|parameter| parameter.name.clone()));
            } else {
                let kept = parameters.iter().enumerate().filter(last);
                expected.parameters = kept.map(|(_, parameter)| parameter.clone()).collect();
            }
        },
    },
];

/// What `qs` asks `Object.prototype` for.
const PROTOTYPE: [&str; 12] = [
    "__proto__",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
];

/// Whether a parser reads this form as it is signed, or as the exceptions say that it does; with the names of those that
/// apply.
pub(crate) fn alike(
    reader: &str,
    body: &[u8],
    reading: &Reading,
) -> Result<Vec<&'static str>, Vec<&'static str>> {
    let sent: Vec<Sent> = pairs(body)
        .map(|(name, value)| Sent {
            name: decode(Reader::Contract, name),
            value: decode(Reader::Contract, value),
            raw_name: name.to_vec(),
            raw_value: value.to_vec(),
        })
        .collect();
    let mut expected = Expected {
        parameters: distinct(&sent),
        trees: BTreeSet::new(),
        compared_of_names: None,
        fails: Failing::No,
    };
    if expected.is(reading) {
        return Ok(Vec::new());
    }
    let mut needed = Vec::new();
    for exception in &EXCEPTIONS {
        if !exception.readers.contains(&reader) {
            continue;
        }
        let before = expected.clone();
        (exception.apply)(reader, &sent, &mut expected);
        if expected != before {
            needed.push(exception.name);
        }
    }
    if expected.is(reading) {
        Ok(needed)
    } else {
        Err(needed)
    }
}

/// Each pair once, as it is signed.
fn distinct(sent: &[Sent]) -> Vec<Sent> {
    let mut seen = BTreeSet::new();
    let is_new = |parameter: &&Sent| seen.insert((parameter.name.clone(), parameter.value.clone()));
    sent.iter().filter(is_new).cloned().collect()
}

impl Expected {
    fn is(&self, reading: &Reading) -> bool {
        match reading {
            Reading::Fails(_) => self.fails != Failing::No,
            Reading::NotAsked => true,
            Reading::Form(read) => {
                let expected = self.parameters.iter();
                let expected = expected.map(|sent| (sent.name.clone(), Some(sent.value.clone())));
                self.fails != Failing::Yes
                    && self.compared(expected) == self.compared(read.iter().cloned())
            }
        }
    }

    /// By name; the values of one name in their order.
    fn compared(&self, read: impl Iterator<Item = Read>) -> Vec<Read> {
        let in_a_tree = |name: &[u8]| {
            let root = name.split(|byte| *byte == b'[').next().unwrap_or_default();
            self.trees.contains(root) || self.trees.contains(name)
        };
        let mut compared: Vec<Read> = read.filter(|(name, _)| !in_a_tree(name)).collect();
        if let Some(length) = self.compared_of_names {
            for (name, _) in &mut compared {
                name.truncate(length);
            }
        }
        compared.sort_by(|left, right| left.0.cmp(&right.0));
        compared
    }
}

/// What a name with brackets may be put under: `a` for `a[b]`, `b` for `[b]`, a number for `[]`, what is between the
/// brackets, or all of it where they do not match.
fn roots(name: &[u8]) -> Vec<Vec<u8>> {
    let parts = name.split(|byte| matches!(byte, b'[' | b']'));
    let mut roots: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
    roots.push(name.to_vec());
    let inner = name
        .strip_prefix(b"[")
        .and_then(|name| name.strip_suffix(b"]"));
    roots.extend(inner.map(<[u8]>::to_vec));
    roots.push(
        name.split(|byte| *byte == b'[')
            .next()
            .unwrap_or_default()
            .to_vec(),
    );
    if name.starts_with(b"[]") {
        roots.extend((0..MAX_PIECES).map(|number| number.to_string().into_bytes()));
    }
    roots
}

/// `php_register_variable_ex`.
fn name_in_php(name: &[u8]) -> Vec<u8> {
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let blanks = name.iter().take_while(|byte| **byte == b' ').count();
    let mut name = name[blanks..].to_vec();
    let open = name.iter().position(|byte| *byte == b'[');
    let is_closed = |open: usize| name[open..].contains(&b']');
    let end = match open {
        Some(0) => return Vec::new(),
        Some(open) if is_closed(open) => open,
        _ => name.len(),
    };
    for byte in &mut name[..end] {
        if matches!(byte, b'.' | b' ' | b'[') {
            *byte = b'_';
        }
    }
    name
}

fn without_plus(raw: &[u8]) -> Vec<u8> {
    let spaces = raw
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte });
    spaces.collect()
}

/// `qs` decodes brackets before everything else.
fn with_brackets(raw: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(raw).into_owned();
    let text = text.replace("%5B", "[").replace("%5b", "[");
    text.replace("%5D", "]").replace("%5d", "]").into_bytes()
}

fn escaped_where_not_text(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in text.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            out.extend(format!("%{byte:02X}").into_bytes());
        }
    }
    out
}
