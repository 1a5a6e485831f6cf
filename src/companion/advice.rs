//! What to do about a verdict or a hint: the tables of `docs/operations.md`, so that they say it once.

const PAGE: &str = include_str!("../../docs/operations.md");

/// Returns what an operator does about a verdict; `None` for one that needs nothing.
pub fn for_verdict(verdict: &str) -> Option<String> {
    let name = format!("`{verdict}`");
    let mut rows = rows("| `verdict` | what to do |");
    let (_, advice) = rows.find(|(own, _)| *own == name)?;
    Some(plain(advice))
}

/// Returns the cause that a hint names, in the words of the page.
pub fn for_hint(hint: &str) -> Option<String> {
    let says = |cell: &str| {
        let parts = cell.split(['…', ';']).flat_map(|part| part.split(" / "));
        let mut parts = parts.map(str::trim).filter(|part| part.len() >= SHORTEST);
        parts.any(|part| hint.contains(plain(part).as_str()))
    };
    let mut rows = rows("| the hint says | the cause |");
    let (_, cause) = rows.find(|(cell, _)| says(cell))?;
    Some(plain(cause)).filter(|cause| cause != "see below")
}

/// The shortest part of a cell that tells one hint from another, in bytes.
const SHORTEST: usize = 12;

/// Returns the rows of the table under a head.
fn rows(head: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let table = PAGE.split_once(head).map_or("", |(_, table)| table);
    let lines = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    lines.filter_map(|line| {
        let line = line.trim_start_matches("| ").trim_end_matches(" |");
        let (first, second) = line.split_once(" | ")?;
        Some((first.trim(), second.trim()))
    })
}

/// Returns Markdown as text: links as their words, code without its marks.
fn plain(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    let mut rest = markdown;
    while let Some((before, behind)) = rest.split_once('[') {
        text.push_str(before);
        match behind.split_once("](") {
            Some((words, behind)) => {
                text.push_str(words);
                rest = behind.split_once(')').map_or("", |(_, rest)| rest);
            }
            None => {
                text.push('[');
                rest = behind;
            }
        }
    }
    text.push_str(rest);
    text.replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn every_reason_has_advice_without_markup() {
        for reason in Reason::ALL {
            let advice = for_verdict(reason.name());
            let advice = advice.unwrap_or_else(|| panic!("{reason:?} has no advice"));
            assert!(!advice.contains("](") && !advice.contains('`'), "{advice}");
        }
        assert_eq!(for_verdict("accepted"), None);
    }

    #[test]
    fn a_hint_leads_to_its_cause() {
        let cause = for_hint("the scheme that was signed is http, not https");
        assert!(cause.is_some_and(|cause| cause.contains("begins with http://")));
        assert_eq!(for_hint("no such hint"), None);
    }

    #[test]
    fn each_cause_is_understood_without_the_row_above() {
        for (hint, cause) in rows("| the hint says | the cause |") {
            assert!(!cause.starts_with("the same"), "{hint}");
        }
    }
}
