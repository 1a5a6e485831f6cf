//! Sorting that is small instead of fast.

use std::collections::BinaryHeap;

/// Returns the items in ascending order.
///
/// It sorts by a heap: the standard library's sorts would take 10 KB of the module for each type
/// of item, and nothing in a diagnosis is hot.
pub(super) fn sorted<T: Ord>(items: Vec<T>) -> Vec<T> {
    BinaryHeap::from(items).into_sorted_vec()
}
