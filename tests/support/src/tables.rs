//! The tables of the documentation, so that they cannot go stale.

/// The rows of the first table under a heading, without its head; a cell as it is written.
pub fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let file = crate::repository().join(page);
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
            let cells = inner.split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "{page}: no table at {heading:?}");
    rows
}

/// A number as the tables have it, `4,096` say.
pub fn number(cell: &str) -> u64 {
    let digits: String = cell.chars().filter(|char| *char != ',').collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("the documentation has {cell:?} for a number"))
}

/// The same the other way round.
pub fn in_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut written = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}

/// Rows to be pasted.
pub fn rows(cells: &[Vec<String>]) -> String {
    let row = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
    cells.iter().map(row).collect()
}
