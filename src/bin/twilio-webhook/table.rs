//! Columns of text.

/// How wide a column gets before its cells are cut.
const WIDEST: usize = 64;

/// Returns rows in columns as wide as they need to be, the last one ragged.
pub fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
            .min(WIDEST)
    };
    let widths: Vec<_> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            let is_last = index + 1 == row.len();
            let width = widths.get(index).copied().unwrap_or_default();
            line.push_str(cell);
            if !is_last {
                let length = cell.chars().count();
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(length) + 2));
            }
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
