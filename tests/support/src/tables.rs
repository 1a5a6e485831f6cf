//! The tables of the documentation: those that tests compare with, and those that measurements are written into.

use std::fs;
use std::sync::Mutex;

use crate::repository;

/// The rows of the first table under a heading, without its head; a cell as it is written.
pub fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(page);
    let is_heading =
        |line: &&str| line.starts_with('#') && line.trim_start_matches('#').trim() == heading;
    let rows: Vec<_> = text
        .lines()
        .skip_while(|line| !is_heading(line))
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(cells)
        .collect();
    assert!(!rows.is_empty(), "{page}: no table at {heading:?}");
    rows
}

fn read(page: &str) -> String {
    fs::read_to_string(repository().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// A `|` within backticks separates nothing.
fn cells(row: &str) -> Vec<String> {
    let mut is_code = false;
    let separates = |char: char| {
        is_code ^= char == '`';
        char == '|' && !is_code
    };
    let inner = row.trim().trim_start_matches('|').trim_end_matches('|');
    inner
        .split(separates)
        .map(|cell| cell.trim().to_owned())
        .collect()
}

/// Prints the rows of a table of measurements. `scripts/figures` also has them written into the page, behind the
/// marker `<!-- figures: NAME -->`: no test fails because a page is a little behind.
pub fn publish(page: &str, name: &str, rows: &[Vec<String>]) {
    static WRITING: Mutex<()> = Mutex::new(());
    let row = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rows: String = rows.iter().map(row).collect();
    println!("{page}, {name}:\n{rows}");
    if std::env::var_os("WRITE_FIGURES").is_none() {
        return;
    }
    let _writing = WRITING.lock();
    let text = read(page);
    let marker = format!("<!-- figures: {name} -->\n");
    let (before, behind) = text
        .split_once(&marker)
        .unwrap_or_else(|| panic!("{page} has no {marker}"));
    let lines: Vec<_> = behind.split_inclusive('\n').collect();
    let from = lines.iter().take_while(|line| !line.starts_with('|'));
    let head = from.count() + 2;
    let old = lines[head..]
        .iter()
        .take_while(|line| line.starts_with('|'));
    let rest = head + old.count();
    let text = [
        before,
        &marker,
        &lines[..head].concat(),
        &rows,
        &lines[rest..].concat(),
    ]
    .concat();
    fs::write(repository().join(page), text).expect("a page that can be written");
}

/// A number as the tables have it, `4,096` say.
pub fn number(cell: &str) -> u64 {
    let digits = cell.replace(',', "");
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
