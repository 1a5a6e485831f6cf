//! The most frequent of any number of texts, in bounded memory.

use std::collections::HashMap;

/// Counts texts. When there is no room for another one, the rare half is forgotten; what occurs in
/// more than one of [`Top::ROOM`] texts is never lost.
#[derive(Default)]
pub struct Top {
    counts: HashMap<String, (u64, String)>,
}

impl Top {
    /// How many texts are counted at once.
    pub const ROOM: usize = 20_000;

    /// Counts a text, and keeps a sample of what came with it.
    pub fn add(&mut self, text: &str, sample: &str) {
        if let Some((count, own)) = self.counts.get_mut(text) {
            *count += 1;
            if own != sample {
                sample.clone_into(own);
            }
            return;
        }
        if self.counts.len() >= Top::ROOM {
            self.forget();
        }
        self.counts.insert(text.to_owned(), (1, sample.to_owned()));
    }

    fn forget(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().map(|(count, _)| *count).collect();
        counts.sort_unstable();
        let median = counts.get(counts.len() / 2).copied().unwrap_or_default();
        self.counts.retain(|_, (count, _)| *count > median);
    }

    /// Returns the most frequent texts with their counts and samples.
    pub fn most(&self, number: usize) -> Vec<(String, u64, String)> {
        let own = self.counts.iter();
        let mut all: Vec<_> = own
            .map(|(text, (count, sample))| (text.clone(), *count, sample.clone()))
            .collect();
        all.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        all.truncate(number);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequent_ones_are_kept_among_any_number_of_others() {
        let mut top = Top::default();
        for index in 0..Top::ROOM * 5 {
            top.add(&format!("rare {index}"), "");
            if index % 10 == 0 {
                top.add("frequent", "sample");
            }
        }
        let count = Top::ROOM as u64 / 2;
        assert_eq!(
            top.most(1),
            [("frequent".to_owned(), count, "sample".to_owned())]
        );
        assert!(top.counts.len() <= Top::ROOM);
    }
}
