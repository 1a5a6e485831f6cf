//! The tables of docs/memory.md, so that they cannot go stale.

use support::tables;
pub(crate) use support::tables::number;

/// The rows of the first table under a heading, without its head; a cell as it is written.
pub(crate) fn table(heading: &str) -> Vec<Vec<String>> {
    tables::table("docs/memory.md", heading)
}
