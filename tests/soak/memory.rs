use std::time::Duration;

use support::resident::resident;

/// Memory may rise by less than this after the first minute, in KiB a minute.
const RISE: f64 = 1024.0;

/// Runs shorter than this say nothing of a slope: tables and allocators are still being filled.
const MEANINGFUL: Duration = Duration::from_secs(180);

/// The resident memory of a process over time.
pub(crate) struct Memory {
    name: &'static str,
    process: u32,
    may_rise: bool,
    /// Seconds from the beginning, and bytes.
    samples: Vec<(f64, f64)>,
}

impl Memory {
    pub(crate) fn of(name: &'static str, process: u32) -> Self {
        Self {
            name,
            process,
            may_rise: false,
            samples: Vec::new(),
        }
    }

    /// What it does is shown, and not held against it.
    pub(crate) fn may_rise(self, may_rise: bool) -> Self {
        Self { may_rise, ..self }
    }

    pub(crate) fn sample(&mut self, at: Duration) {
        let sample = (at.as_secs_f64(), resident(self.process) as f64);
        self.samples.push(sample);
    }

    /// In KiB.
    pub(crate) fn last(&self) -> f64 {
        self.samples.last().map_or(0.0, |sample| sample.1 / 1024.0)
    }

    /// By which memory rises in a minute, in KiB, of what was measured after the first minute (or the first half).
    fn slope(&self, length: f64) -> f64 {
        let late = self.late(length);
        let count = late.len().max(1) as f64;
        let (x, y) = (
            late.iter().map(|s| s.0).sum::<f64>() / count,
            late.iter().map(|s| s.1).sum::<f64>() / count,
        );
        let above: f64 = late.iter().map(|s| (s.0 - x) * (s.1 - y)).sum();
        let below: f64 = late.iter().map(|s| (s.0 - x).powi(2)).sum();
        above / below.max(f64::EPSILON) * 60.0 / 1024.0
    }

    fn late(&self, length: f64) -> Vec<&(f64, f64)> {
        let from = 60_f64.min(length / 2.0);
        self.samples.iter().filter(|at| at.0 >= from).collect()
    }

    /// Prints what was measured, and fails if that rises.
    pub(crate) fn check(&self, length: Duration) {
        let slope = self.slope(length.as_secs_f64());
        let late = self.late(length.as_secs_f64());
        let kib = |sample: Option<&(f64, f64)>| sample.map_or(0.0, |sample| sample.1 / 1024.0);
        let most = self.samples.iter().map(|at| at.1).fold(0.0, f64::max) / 1024.0;
        println!(
            "| {} | {:.0} | {:.0} | {:.0} | {most:.0} | {slope:.0} |",
            self.name,
            kib(self.samples.first()),
            kib(late.first().copied()),
            self.last(),
        );
        if length >= MEANINGFUL && !self.may_rise {
            let name = self.name;
            assert!(
                slope < RISE,
                "{name}: memory rises by {slope:.0} KiB a minute"
            );
        }
    }
}
