//! What was signed, part by part, beside what the filter signs.
//!
//! The string that is signed has no separators. What the filter signs is known in its parts; what
//! Twilio signed, if the diagnosis has found it, is laid beside them: where a part occurs in it,
//! both agree.

use serde::Serialize;

use crate::companion::mask::{self, Shown};
use crate::diagnosis::is_known_parameter;
use crate::signature::form::Form;

/// A part of the string that is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    kind: Kind,
    name: Vec<u8>,
    value: Vec<u8>,
    /// What is signed of it.
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Origin,
    Path,
    Query,
    Parameter,
}

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `scheme and host`, `path`, `query NAME` or a parameter's name; empty for what has no place.
    pub part: String,
    /// What the filter signs there.
    pub filter: Option<String>,
    /// What Twilio signed there, if that is known.
    pub twilio: Option<String>,
    /// Whether both are the same; true where only one of them is known.
    pub same: bool,
}

/// Returns the parts of a signed string: a URL, then the parameters of a form.
pub fn parts(url: &[u8], form: Option<&Form>) -> Vec<Part> {
    let mut parts = Vec::new();
    let authority = url
        .windows(3)
        .position(|part| part == b"://")
        .map_or(0, |at| at + 3);
    let behind = url.get(authority..).unwrap_or_default();
    let slash = behind.iter().position(|byte| b"/?".contains(byte));
    let path_at = authority + slash.unwrap_or(behind.len());
    let (origin, rest) = url.split_at_checked(path_at).unwrap_or((url, b""));
    parts.push(Part::new(Kind::Origin, b"", origin, origin));
    let query_at = rest
        .iter()
        .position(|byte| *byte == b'?')
        .unwrap_or(rest.len());
    let (path, query) = rest.split_at_checked(query_at).unwrap_or((rest, b""));
    if !path.is_empty() {
        parts.push(Part::new(Kind::Path, b"", path, path));
    }
    if let Some(query) = query.strip_prefix(b"?") {
        for (index, piece) in query.split(|byte| *byte == b'&').enumerate() {
            let text = [if index == 0 { b"?" } else { b"&" }, piece].concat();
            let equals = piece.iter().position(|byte| *byte == b'=');
            let (name, value) = equals
                .and_then(|at| piece.split_at_checked(at))
                .unwrap_or((piece, b""));
            let value = value.strip_prefix(b"=").unwrap_or(value);
            parts.push(Part::new(Kind::Query, name, value, &text));
        }
    }
    for (name, value) in form.into_iter().flat_map(Form::pairs) {
        let text = [name, value].concat();
        parts.push(Part::new(Kind::Parameter, name, value, &text));
    }
    parts
}

impl Part {
    fn new(kind: Kind, name: &[u8], value: &[u8], text: &[u8]) -> Part {
        Part {
            kind,
            name: name.to_owned(),
            value: value.to_owned(),
            text: text.to_owned(),
        }
    }

    fn label(&self, shown: Shown) -> String {
        match self.kind {
            Kind::Origin => "scheme and host".into(),
            Kind::Path => "path".into(),
            Kind::Query => format!("query {}", mask::name(&self.name, shown)),
            Kind::Parameter => mask::name(&self.name, shown),
        }
    }

    fn show(&self, shown: Shown) -> String {
        match self.kind {
            Kind::Origin => origin(&self.value, shown),
            Kind::Path => mask::visible(&self.value),
            Kind::Query | Kind::Parameter => mask::value(&self.name, &self.value, shown),
        }
    }

    /// Returns what stands in the place of this part in the other string.
    fn show_other(&self, other: &[u8], shown: Shown) -> String {
        let beginning = match self.kind {
            Kind::Origin => return origin(other, shown),
            Kind::Path => return path_and_query(other, shown),
            Kind::Query => [self.text.get(..1).unwrap_or_default(), &self.name, b"="].concat(),
            Kind::Parameter => self.name.clone(),
        };
        match other.strip_prefix(beginning.as_slice()) {
            Some(value) => mask::value(&self.name, value, shown),
            None if self.kind == Kind::Query => query(other, shown),
            None => unplaced(other, shown),
        }
    }
}

/// Returns scheme and host, without user and password.
fn origin(text: &[u8], shown: Shown) -> String {
    let text = mask::visible(text);
    match (shown, text.split_once("://")) {
        (Shown::Masked, Some((scheme, rest))) if rest.contains('@') => {
            let host = rest.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://…@{host}")
        }
        _ => text,
    }
}

/// Returns a path, and behind it the shapes of a query.
fn path_and_query(text: &[u8], shown: Shown) -> String {
    let at = text
        .iter()
        .position(|byte| *byte == b'?')
        .unwrap_or(text.len());
    let (path, rest) = text.split_at_checked(at).unwrap_or((text, b""));
    mask::visible(path) + &query(rest, shown)
}

/// Returns a piece of a query, its values masked.
fn query(text: &[u8], shown: Shown) -> String {
    let mut out = String::new();
    for piece in text.split_inclusive(|byte| b"?&".contains(byte)) {
        let (piece, separator) = match piece.split_last() {
            Some((last, piece)) if b"?&".contains(last) => (piece, Some(char::from(*last))),
            _ => (piece, None),
        };
        let equals = piece.iter().position(|byte| *byte == b'=');
        match equals.and_then(|at| piece.split_at_checked(at)) {
            Some((name, value)) => {
                let value = value.get(1..).unwrap_or_default();
                out.push_str(&mask::name(name, shown));
                out.push('=');
                out.push_str(&mask::value(name, value, shown));
            }
            None => out.push_str(&unplaced(piece, shown)),
        }
        out.extend(separator);
    }
    out
}

fn unplaced(text: &[u8], shown: Shown) -> String {
    match shown {
        Shown::All => mask::visible(text),
        Shown::Masked => mask::shape(text),
    }
}

/// Returns the comparison of what the filter signs with what Twilio signed, if that is known.
pub fn compare(parts: &[Part], twilio: Option<&[u8]>, shown: Shown) -> Vec<Row> {
    let Some(mut rest) = twilio else {
        return parts
            .iter()
            .map(|part| part.row(None, true, shown))
            .collect();
    };
    let mut rows = Vec::new();
    let mut parts = parts;
    while let Some((part, behind)) = parts.split_first() {
        if let Some(after) = rest.strip_prefix(part.text.as_slice()) {
            let more = length_of_more(behind, after);
            let (more, after) = after.split_at_checked(more).unwrap_or_default();
            rows.push(match more {
                b"" => part.row(Some(part.show(shown)), true, shown),
                more => {
                    let other = part.show_other(&[&part.text, more].concat(), shown);
                    part.row(Some(other), false, shown)
                }
            });
            (rest, parts) = (after, behind);
            continue;
        }
        let Some((skipped, at)) = next_common(parts, rest) else {
            break;
        };
        if skipped == 0 && part.kind == Kind::Path {
            // A prefix.
            let (whole, after) = rest
                .split_at_checked(at + part.text.len())
                .unwrap_or_default();
            rows.push(part.row(Some(part.show_other(whole, shown)), false, shown));
            (rest, parts) = (after, behind);
            continue;
        }
        let (gap, after) = rest.split_at_checked(at).unwrap_or_default();
        let (left, behind) = parts.split_at_checked(skipped).unwrap_or_default();
        rows.extend(rows_of_gap(left, gap, shown));
        (rest, parts) = (after, behind);
    }
    rows.extend(rows_of_gap(parts, rest, shown));
    rows
}

/// Returns how much of what follows a part in the other string still belongs to its value: what
/// stands before the next part, unless it looks like a part of its own.
fn length_of_more(behind: &[Part], after: &[u8]) -> usize {
    let is_own = |first: &u8| first.is_ascii_uppercase() || b"?&".contains(first);
    let at = match next_common(behind, after) {
        Some((0, at)) if behind.first().is_some_and(|next| next.kind != Kind::Path) => at,
        None if behind.is_empty() => after.len(),
        _ => 0,
    };
    match after.first() {
        Some(first) if !is_own(first) => at,
        _ => 0,
    }
}

/// Returns how many parts to skip until one occurs in the other string, and where that is.
fn next_common(parts: &[Part], rest: &[u8]) -> Option<(usize, usize)> {
    let is_long = |part: &Part| match part.kind {
        Kind::Path | Kind::Query => part.text.len() >= 2,
        Kind::Origin | Kind::Parameter => part.text.len() >= SHORTEST_ANCHOR,
    };
    let mut candidates = parts.iter().enumerate().filter(|(_, part)| is_long(part));
    candidates.find_map(|(index, part)| {
        let at = rest
            .windows(part.text.len())
            .position(|own| own == part.text)?;
        Some((index, at))
    })
}

/// The shortest parameter that is taken for the same one in the other string, in bytes.
const SHORTEST_ANCHOR: usize = 5;

/// Returns the rows of what differs: these parts here, this text there.
fn rows_of_gap(parts: &[Part], gap: &[u8], shown: Shown) -> Vec<Row> {
    let Some((first, behind)) = parts.split_first() else {
        return rows_of_more(gap, shown);
    };
    let there = (!gap.is_empty()).then(|| first.show_other(gap, shown));
    let mut rows = vec![first.row(there, false, shown)];
    rows.extend(behind.iter().map(|part| part.row(None, false, shown)));
    rows
}

/// Returns the rows of what is signed besides: by the names of Twilio's parameters, where it
/// begins with one.
fn rows_of_more(gap: &[u8], shown: Shown) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut rest = gap;
    while !rest.is_empty() {
        let name = known_name(rest);
        let (name, behind) = rest.split_at_checked(name).unwrap_or_default();
        // Where another name follows at once, the value is empty.
        let is_empty = !name.is_empty() && known_name(behind) > 0;
        let (value, behind) = match is_empty {
            true => (&b""[..], behind),
            false => (behind, &b""[..]),
        };
        let twilio = match (name, value.first()) {
            (b"", Some(b'?' | b'&')) => query(value, shown),
            (b"", _) => unplaced(value, shown),
            (name, _) => mask::value(name, value, shown),
        };
        rows.push(Row {
            part: mask::visible(name),
            filter: None,
            twilio: Some(twilio),
            same: false,
        });
        rest = behind;
    }
    rows
}

/// Returns the length of the longest name of a parameter of Twilio's that a text begins with.
fn known_name(text: &[u8]) -> usize {
    let mut lengths = (2..=text.len().min(LONGEST_NAME)).rev();
    let is_name = |length: &usize| text.get(..*length).is_some_and(is_known_parameter);
    lengths.find(is_name).unwrap_or_default()
}

/// No name of Twilio's is longer, in bytes.
const LONGEST_NAME: usize = 40;

impl Part {
    fn row(&self, twilio: Option<String>, same: bool, shown: Shown) -> Row {
        Row {
            part: self.label(shown),
            filter: Some(self.show(shown)),
            twilio,
            same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn rows(url: &str, form: &str, twilio: &str) -> Vec<String> {
        let form = Form::parse(form.as_bytes());
        let parts = parts(url.as_bytes(), Some(&form));
        let rows = compare(&parts, Some(twilio.as_bytes()), Shown::All);
        let line = |row: &Row| {
            let text = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".into());
            let mark = if row.same { '=' } else { '!' };
            format!(
                "{} {mark} {} | {}",
                row.part,
                text(&row.filter),
                text(&row.twilio)
            )
        };
        rows.iter().map(line).collect()
    }

    #[test]
    fn what_differs_is_in_its_place_and_the_rest_agrees() {
        let found = rows(
            "https://h.example/p?a=1",
            "Body=2+tacos&From=whatsapp%3A1",
            "http://h.example/p?a=1Body2 tacos Fromwhatsapp:1",
        );
        assert_eq!(
            found,
            [
                "scheme and host ! https://h.example | http://h.example",
                "path = /p | /p",
                "query a = 1 | 1",
                "Body ! 2 tacos | 2 tacos ",
                "From = whatsapp:1 | whatsapp:1",
            ]
        );
    }

    #[test]
    fn what_one_of_them_lacks_stands_alone() {
        let url = "https://h.example/hook";
        let found = rows(
            url,
            "Body=hello&From=12345",
            "https://h.example/hookBodyhello",
        );
        assert_eq!(found.last().map(String::as_str), Some("From ! 12345 | -"));
        let found = rows(
            url,
            "From=12345",
            "https://h.example/hookBodyhelloFrom12345",
        );
        assert_eq!(found.get(2).map(String::as_str), Some("Body ! - | hello"));
        let found = rows(
            url,
            "From=12345",
            "https://h.example/hookErrorCodeErrorMessageFrom12345",
        );
        let expected = ["ErrorCode ! - | ", "ErrorMessage ! - | "];
        assert_eq!(found.get(2..4), Some(&expected.map(str::to_owned)[..]));
    }

    #[test]
    fn a_path_with_a_prefix_or_a_slash_differs_as_a_path() {
        let url = "https://h.example/hook";
        for (other, path) in [
            ("https://h.example/shop/hookFrom12345", "/shop/hook"),
            ("https://h.example/hook/From12345", "/hook/"),
            ("https://h.example/otherFrom12345", "/other"),
        ] {
            let expected = format!("path ! /hook | {path}");
            assert_eq!(rows(url, "From=12345", other).get(1), Some(&expected));
        }
    }
}
