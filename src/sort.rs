//! Sorting in little code: the standard library's sorts take 5 to 30 KB of the module for each
//! type of item.

use std::collections::BinaryHeap;
use std::mem;

/// Returns the items in ascending order, off the hot path: a heap has the least code.
pub fn sorted<T: Ord>(items: Vec<T>) -> Vec<T> {
    BinaryHeap::from(items).into_sorted_vec()
}

/// How many items are sorted by insertion, which is the fastest for a few.
const RUN: usize = 20;

/// Sorts items, of which one usually has some twenty. Equal ones stay in their order.
///
/// More than [`RUN`] are merged from runs of so many.
pub fn sort_by<T: Copy>(items: &mut Vec<T>, is_less: impl Fn(&T, &T) -> bool) {
    for run in items.chunks_mut(RUN) {
        for end in 1..run.len() {
            insert(run, end, &is_less);
        }
    }
    if items.len() > RUN {
        merge_runs(items, &is_less);
    }
}

/// Moves the item at `end` to its place among those before it, which are sorted.
#[inline(always)]
fn insert<T: Copy>(items: &mut [T], end: usize, is_less: impl Fn(&T, &T) -> bool) {
    let Some((sorted, [hole, ..])) = items.split_at_mut_checked(end) else {
        return;
    };
    let item = *hole;
    let mut hole = hole;
    for other in sorted.iter_mut().rev() {
        if !is_less(&item, other) {
            break;
        }
        *hole = *other;
        hole = other;
    }
    *hole = item;
}

/// Merges sorted runs, two and two, until they are one.
#[inline(never)]
fn merge_runs<T: Copy>(items: &mut Vec<T>, is_less: impl Fn(&T, &T) -> bool) {
    let mut merged = Vec::with_capacity(items.len());
    let mut size = RUN;
    while size < items.len() {
        for two in items.chunks(2 * size) {
            let (mut left, mut right) = two.split_at_checked(size).unwrap_or((two, &[]));
            while let ([first, left_rest @ ..], [second, right_rest @ ..]) = (left, right) {
                if is_less(second, first) {
                    merged.push(*second);
                    right = right_rest;
                } else {
                    merged.push(*first);
                    left = left_rest;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        mem::swap(items, &mut merged);
        merged.clear();
        size *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn items_of_any_number_are_sorted_and_equal_ones_stay_in_their_order() {
        for count in (0..130).chain([499, 500, 1000]) {
            for range in [1_u32, 7, 100_000] {
                // A walk through a few numbers, through many, and through one.
                let key = |at: u32| (at * 7919 + 13) % 9973 % range;
                let mut items: Vec<_> = (0..count).map(|at| (key(at), at)).collect();
                sort_by(&mut items, |left, right| left.0 < right.0);
                // By key, then by where they stood.
                let mut expected: Vec<_> = (0..count).map(|at| (key(at), at)).collect();
                expected.sort_unstable();
                assert_eq!(items, expected, "{count} of {range}");
            }
        }
    }

    #[test]
    fn sorted_items_are_in_ascending_order() {
        assert_eq!(sorted(vec![3, 1, 2, 1]), [1, 1, 2, 3]);
        assert_eq!(sorted(Vec::<u8>::new()), Vec::<u8>::new());
    }
}
