//! Ratios of short runs that alternate, so that whatever else the machine does slows all
//! of them; each the median over the rounds, so that a hiccup in one does not count.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;

/// Short: the default run of all benchmarks together is to take two minutes.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700))
        .configure_from_args()
}

/// Something that does its work once and says how long that took.
pub type Run<'a> = Box<dyn FnMut() -> Duration + 'a>;

/// The seconds that each run took, round by round.
pub struct Rounds(Vec<Vec<f64>>);

const ROUNDS: usize = 101;

/// A run that does something so many times.
pub fn repeat<'a, T>(times: usize, mut work: impl FnMut() -> T + 'a) -> Run<'a> {
    Box::new(move || {
        let start = Instant::now();
        for _ in 0..times {
            black_box(work());
        }
        start.elapsed() / u32::try_from(times).unwrap_or(u32::MAX)
    })
}

/// All runs, one after the other, again and again. The first round does not count.
pub fn alternate(runs: &mut [Run<'_>]) -> Rounds {
    let mut round = || -> Vec<f64> { runs.iter_mut().map(|run| run().as_secs_f64()).collect() };
    round();
    Rounds((0..ROUNDS).map(|_| round()).collect())
}

impl Rounds {
    /// The median of what can be computed from the seconds of one round.
    pub fn median(&self, of: impl Fn(&[f64]) -> f64) -> f64 {
        let mut values: Vec<f64> = self.0.iter().map(|seconds| of(seconds)).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    /// How many times as long as the first run each of the runs takes.
    pub fn times_the_first(&self) -> Vec<f64> {
        let runs = self.0.first().map_or(0, Vec::len);
        let ratio = |run: usize| self.median(|seconds| seconds[run] / seconds[0]);
        (0..runs).map(ratio).collect()
    }

    /// Whether time grows in proportion to what grows from run to run: what one more of it
    /// costs between the last two runs, against what it costs between the two before.
    pub fn last_step(&self, sizes: &[usize]) -> f64 {
        let each = |seconds: &[f64], to: usize| {
            (seconds[to] - seconds[to - 1]) / (sizes[to] - sizes[to - 1]) as f64
        };
        let last = sizes.len() - 1;
        self.median(|seconds| each(seconds, last) / each(seconds, last - 1))
    }
}

/// A line of a table in Markdown.
pub fn print_row(name: &str, numbers: &[f64]) {
    let cells: Vec<_> = numbers.iter().map(|number| written(*number)).collect();
    println!("| {name} | {} |", cells.join(" | "));
}

/// Three digits that count.
fn written(number: f64) -> String {
    match number {
        ..10.0 => format!("{number:.2}"),
        10.0..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}
