//! Moments and spans, in milliseconds. The core never reads a clock: time is an argument.

use std::time::Duration;

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// A span of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub u64);

impl Moment {
    /// This moment, `span` later. Stays at the last moment there is.
    pub const fn after(self, span: Span) -> Moment {
        Moment(self.0.saturating_add(span.0))
    }

    /// This moment, `span` earlier. Stays at 1970.
    pub const fn before(self, span: Span) -> Moment {
        Moment(self.0.saturating_sub(span.0))
    }

    /// How long it has been since `earlier`; nothing where that lies ahead.
    pub const fn since(self, earlier: Moment) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Span {
        Span(seconds.saturating_mul(1000))
    }

    /// Whole seconds, rounded up, so that whoever waits that long has waited long enough.
    pub const fn whole_seconds_up(self) -> u64 {
        self.0.div_ceil(1000)
    }
}

impl From<Duration> for Moment {
    /// From the time since the Unix epoch.
    fn from(since_epoch: Duration) -> Moment {
        Moment(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}
