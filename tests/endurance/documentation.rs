//! The tables of docs/memory.md, so that they cannot go stale.

use crate::support::process::repository;

/// The rows of the first table under a heading, without its head; a cell as it is written.
pub(crate) fn table(heading: &str) -> Vec<Vec<String>> {
    let file = repository().join("docs/memory.md");
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let is_heading =
        |line: &&str| line.starts_with('#') && line.trim_start_matches('#').trim() == heading;
    let rows: Vec<Vec<String>> = text
        .lines()
        .skip_while(|line| !is_heading(line))
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let inner = line.trim().trim_matches('|');
            inner
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect();
    assert!(!rows.is_empty(), "docs/memory.md: no table at {heading:?}");
    rows
}

/// A number as the tables have it, `4,096` say.
pub(crate) fn number(cell: &str) -> u64 {
    let digits: String = cell.chars().filter(|char| *char != ',').collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("docs/memory.md: {cell:?} is no number"))
}
