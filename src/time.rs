//! Points in time and durations, in milliseconds. Nothing here reads a clock: time is an argument.

use std::time::Duration;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

/// A duration in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Timestamp {
    /// Returns the time `span` later, saturating at the largest.
    pub const fn after(self, span: Millis) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }

    /// Returns the time `span` earlier, saturating at 1970.
    pub const fn before(self, span: Millis) -> Timestamp {
        Timestamp(self.0.saturating_sub(span.0))
    }

    /// Returns the time that has passed since `earlier`: zero if that is in the future.
    pub const fn since(self, earlier: Timestamp) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Millis {
    /// Returns a duration of whole seconds.
    pub const fn seconds(seconds: u64) -> Millis {
        Millis(seconds.saturating_mul(1000))
    }

    /// Returns whole seconds, rounded up, so that a client that waits as long passes.
    pub const fn as_secs_ceil(self) -> u64 {
        self.0.div_ceil(1000)
    }
}

impl From<Duration> for Timestamp {
    /// Converts the time since the Unix epoch.
    fn from(since_epoch: Duration) -> Timestamp {
        Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn moments_and_spans_stay_within_what_there_is() {
        let (early, late) = (Timestamp(1_000), Timestamp(u64::MAX));
        assert_eq!(early.after(Millis(500)), Timestamp(1_500));
        assert_eq!(late.after(Millis(1)), late);
        assert_eq!(early.before(Millis(400)), Timestamp(600));
        assert_eq!(early.before(Millis(1_001)), Timestamp(0));
        assert_eq!(Timestamp(1_700).since(early), Millis(700));
        assert_eq!(early.since(late), Millis(0));
        assert_eq!(Millis::seconds(2), Millis(2_000));
        assert_eq!(Millis::seconds(u64::MAX), Millis(u64::MAX));
    }

    #[test]
    fn whole_seconds_are_rounded_up() {
        for (millis, seconds) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            assert_eq!(Millis(millis).as_secs_ceil(), seconds, "{millis}");
        }
    }

    #[test]
    fn the_time_since_the_epoch_is_a_moment_in_milliseconds() {
        assert_eq!(
            Timestamp::from(Duration::from_micros(1_234_567)),
            Timestamp(1_234)
        );
        assert_eq!(Timestamp::from(Duration::MAX), Timestamp(u64::MAX));
    }
}
