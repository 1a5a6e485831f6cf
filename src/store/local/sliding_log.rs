//! A sliding window log: the moments at which a limiter has counted something.

use crate::store::local::buckets::{pack, unpack};
use crate::time::{Millis, Timestamp};

/// Moments, newest first, each with how many events it had.
///
/// Stored as one word for each run: 48 bits of milliseconds, 16 bits of count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlidingLog {
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    at: Timestamp,
    events: u16,
}

impl SlidingLog {
    /// Makes a log of so many events at one moment.
    pub fn of(at: Timestamp, events: u64) -> SlidingLog {
        let mut log = SlidingLog::default();
        log.push_older(at, events);
        log
    }

    /// Reads a log from stored words, newest first.
    pub fn read(words: impl ExactSizeIterator<Item = u64>) -> SlidingLog {
        let run = |word| {
            let (at, events) = unpack(word);
            Run {
                at: Timestamp(at),
                events,
            }
        };
        // With room for one more, which most are about to get; those that are empty stay so.
        let mut runs = match words.len() {
            0 => Vec::new(),
            length => Vec::with_capacity(length + 1),
        };
        runs.extend(words.map(run));
        SlidingLog { runs }
    }

    /// Returns the words to be stored.
    pub fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs.iter().map(|run| pack(run.at.0, run.events))
    }

    /// Returns how many words it takes.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Returns how many events there are.
    pub fn events(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.events)).sum()
    }

    /// Drops what lies a window back or further.
    pub fn trim(&mut self, now: Timestamp, window: Millis) {
        self.runs.retain(|run| run.at.after(window) > now);
    }

    /// Moves every event to `latest` or before, and keeps only the `max_events` newest.
    pub fn clip(&mut self, latest: Timestamp, max_events: u64) {
        let mut left = max_events;
        let mut clipped = SlidingLog::default();
        for run in &self.runs {
            let events = u64::from(run.events).min(left);
            left -= events;
            clipped.push_older(run.at.min(latest), events);
        }
        *self = clipped;
    }

    /// Returns when the `count`-th newest event was; `None` if there are fewer.
    pub fn nth_newest(&self, count: u64) -> Option<Timestamp> {
        let mut seen = 0;
        self.runs.iter().find_map(|run| {
            seen += u64::from(run.events);
            (seen >= count).then_some(run.at)
        })
    }

    /// Counts an event that is not older than the newest.
    pub fn record(&mut self, at: Timestamp) {
        match self.runs.first_mut() {
            Some(run) if run.at >= at && run.events < u16::MAX => run.events += 1,
            Some(run) => {
                let at = at.max(run.at);
                self.runs.insert(0, Run { at, events: 1 });
            }
            None => self.runs.push(Run { at, events: 1 }),
        }
    }

    /// Removes an event that was recorded at `at`, or, if the moment was clipped
    /// meanwhile, the newest before.
    pub fn remove(&mut self, at: Timestamp) {
        if let Some(run) = self.runs.iter_mut().find(|run| run.at <= at) {
            run.events = run.events.saturating_sub(1);
        }
        self.runs.retain(|run| run.events > 0);
    }

    /// Returns this log followed by an older one.
    pub fn followed_by(&self, older: &SlidingLog) -> SlidingLog {
        let mut joined = self.clone();
        for run in &older.runs {
            joined.push_older(run.at, u64::from(run.events));
        }
        joined
    }

    /// Returns the log that is at least as bad as either: its n-th newest event is the
    /// newer one of theirs.
    pub fn pointwise_max(&self, other: &SlidingLog) -> SlidingLog {
        let mut max = SlidingLog::default();
        let (mut left, mut right) = (Remaining::of(self), Remaining::of(other));
        while let Some(events) = left.shared_with(&right) {
            let at = left.at().max(right.at());
            max.push_older(at, events);
            left.skip(events);
            right.skip(events);
        }
        max
    }

    /// Appends events that are no newer than any before them.
    fn push_older(&mut self, at: Timestamp, mut events: u64) {
        if let Some(run) = self.runs.last_mut()
            && run.at == at
        {
            let room = u64::from(u16::MAX - run.events).min(events);
            run.events += room as u16;
            events -= room;
        }
        while events > 0 {
            let part = events.min(u64::from(u16::MAX));
            self.runs.push(Run {
                at,
                events: part as u16,
            });
            events -= part;
        }
    }
}

/// A walk over the events of a log, run by run.
struct Remaining<'a> {
    runs: std::slice::Iter<'a, Run>,
    run: Option<Run>,
}

impl<'a> Remaining<'a> {
    fn of(log: &'a SlidingLog) -> Remaining<'a> {
        let mut runs = log.runs.iter();
        let run = runs.next().copied();
        Remaining { runs, run }
    }

    fn at(&self) -> Timestamp {
        self.run.map_or(Timestamp(0), |run| run.at)
    }

    /// Returns how many events both have ahead of them without a change, or the one that still
    /// has any.
    fn shared_with(&self, other: &Remaining<'_>) -> Option<u64> {
        let events = |side: &Remaining<'_>| side.run.map(|run| u64::from(run.events));
        match (events(self), events(other)) {
            (Some(left), Some(right)) => Some(left.min(right)),
            (one, None) | (None, one) => one,
        }
    }

    fn skip(&mut self, events: u64) {
        let Some(run) = &mut self.run else { return };
        run.events = u16::try_from(u64::from(run.events).saturating_sub(events)).unwrap_or(0);
        if run.events == 0 {
            self.run = self.runs.next().copied();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn log(runs: &[(u64, u16)]) -> SlidingLog {
        SlidingLog::read(runs.iter().map(|(at, events)| pack(*at, *events)))
    }

    #[test]
    fn events_are_counted_from_the_newest() {
        let log = log(&[(30, 1), (20, 2), (10, 1)]);
        assert_eq!((log.events(), log.len()), (4, 3));
        let nth: Vec<_> = (1..=5).map(|count| log.nth_newest(count)).collect();
        let at = |moment| Some(Timestamp(moment));
        assert_eq!(nth, [at(30), at(20), at(20), at(10), None]);
    }

    #[test]
    fn the_pointwise_maximum_is_the_newer_event_at_every_index() {
        let left = log(&[(30, 1), (10, 3)]);
        let right = log(&[(20, 2), (5, 1)]);
        let max = left.pointwise_max(&right);
        assert_eq!(max, log(&[(30, 1), (20, 1), (10, 2)]));
        assert_eq!(max, right.pointwise_max(&left));
        assert_eq!(left.pointwise_max(&SlidingLog::default()), left);
    }

    #[test]
    fn a_window_later_an_event_no_longer_counts() {
        let mut log = log(&[(30, 1), (20, 2)]);
        log.trim(Timestamp(119), Millis(100));
        assert_eq!(log.events(), 3);
        log.trim(Timestamp(120), Millis(100));
        assert_eq!(log.events(), 1);
    }

    #[test]
    fn clipping_moves_events_and_loses_none_but_the_oldest() {
        let mut log = log(&[(9000, 2), (20, 1)]);
        log.clip(Timestamp(50), u64::MAX);
        assert_eq!(log.nth_newest(2), Some(Timestamp(50)));
        assert_eq!(log.events(), 3);
        log.clip(Timestamp(50), 2);
        assert_eq!((log.events(), log.len()), (2, 1));
    }

    #[test]
    fn recording_keeps_the_order_when_the_clock_goes_back() {
        let mut log = log(&[(30, 1)]);
        log.record(Timestamp(20));
        log.record(Timestamp(40));
        assert_eq!(log.events(), 3);
        assert_eq!(log.nth_newest(2), Some(Timestamp(30)));
        log.remove(Timestamp(40));
        assert_eq!(log.nth_newest(1), Some(Timestamp(30)));
    }

    #[test]
    fn many_events_in_one_moment_are_all_counted() {
        let mut full = log(&[(30, u16::MAX)]);
        full.record(Timestamp(30));
        assert_eq!(full.events(), 65_536);
        assert_eq!(full.followed_by(&full).events(), 131_072);
        assert_eq!(full.pointwise_max(&full).events(), 65_536);
    }
}
