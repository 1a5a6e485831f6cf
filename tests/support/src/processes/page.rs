//! The tables of `docs/signatures.md`.

const PAGE: &str = include_str!("../../../../docs/signatures.md");

/// The rows of the table under a heading, each with its cells, without what Markdown adds.
pub fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, section) = PAGE
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("docs/signatures.md has no section {heading:?}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        let cells = line.trim().trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    // Without the head and the line under it.
    rows.skip(2).map(cells).collect()
}
