//! The tables of `docs/signatures.md`, held against the code that they describe.

use crate::exceptions::EXCEPTIONS;
use crate::readers::READERS;
use support::strictness::Rule;
use support::tables::table;

fn assert_same(heading: &str, in_code: &[Vec<String>]) {
    let documented = table("docs/signatures.md", heading);
    assert_eq!(documented, in_code, "{heading}");
}

/// All of them, or their names.
fn names(readers: &[&str]) -> String {
    if readers.len() == READERS.len() {
        "all".to_owned()
    } else {
        readers.join(", ")
    }
}

#[test]
fn the_documentation_says_which_parser_reads_which_spelling_otherwise() {
    let rows = Rule::ALL.map(|rule| {
        vec![
            rule.name().to_owned(),
            names(rule.readers()),
            rule.what().to_owned(),
        ]
    });
    assert_same("Strict forms", &rows);
}

#[test]
fn the_documentation_says_where_parsers_differ_on_strict_forms() {
    let rows: Vec<Vec<String>> = EXCEPTIONS
        .iter()
        .map(|exception| {
            vec![
                exception.name.to_owned(),
                names(exception.readers),
                exception.why.to_owned(),
            ]
        })
        .collect();
    assert_same("Where parsers differ on strict forms", &rows);
}

#[test]
fn the_documentation_names_the_parsers() {
    let rows: Vec<Vec<String>> = READERS
        .iter()
        .map(|reader| vec![reader.name.to_owned(), reader.of.to_owned()])
        .collect();
    assert_same("The parsers that are asked", &rows);
}
