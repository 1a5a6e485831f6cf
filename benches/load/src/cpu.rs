//! How much processor time other processes have used.

use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// The clocks of some processes: user and system time of all their threads, those that have ended included, to the
/// nanosecond. `/proc/<pid>/stat` has the same in hundredths of a second, which is more than what is measured here.
pub(crate) struct Clocks(Vec<ClockId>);

impl Clocks {
    pub(crate) fn of(pids: &[i32]) -> Result<Self, String> {
        let clock = |pid: &i32| {
            clock_getcpuclockid(Pid::from_raw(*pid))
                .map_err(|error| format!("process {pid}: {error}"))
        };
        pids.iter().map(clock).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn nanoseconds(&self) -> Result<i64, String> {
        let now = |clock: &ClockId| clock.now().map(|time| time.num_nanoseconds());
        self.0
            .iter()
            .map(now)
            .sum::<Result<_, _>>()
            .map_err(|error| error.to_string())
    }
}
