//! Many different requests, so many a second.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use twilio_webhook_filter::companion::sign::SignedRequest;

use crate::failure::{Ended, Failure};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::send::client::Client;
use crate::table::columns;

/// How much is sent.
pub struct Plan {
    /// Requests a second.
    pub rate: f64,
    /// How long; until Ctrl-C without one.
    pub duration: Option<Duration>,
    /// How many are on their way at once.
    pub connections: u32,
}

/// The largest number of times that is kept: beyond it each new one replaces an old one.
const MAX_TIMES: usize = 100_000;

#[derive(Default)]
struct Results {
    /// How many of each status and reason.
    answers: BTreeMap<String, u64>,
    /// How long answers took, in microseconds.
    times: Vec<u32>,
    count: u64,
    bad: u64,
}

impl Results {
    fn add(&mut self, name: String, is_good: bool, took: Duration) {
        *self.answers.entry(name).or_default() += 1;
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let at = usize::try_from(self.count).unwrap_or_default() % MAX_TIMES;
        match self.times.get_mut(at) {
            Some(own) => *own = micros,
            None => self.times.push(micros),
        }
        self.count += 1;
        self.bad += u64::from(!is_good);
    }

    /// Returns the time that this part of the answers took at the most, in milliseconds.
    fn quantile(&mut self, part: f64) -> f64 {
        self.times.sort_unstable();
        let last = self.times.len().saturating_sub(1) as f64;
        let own = self.times.get((last * part) as usize);
        f64::from(own.copied().unwrap_or_default()) / 1000.0
    }

    fn in_words(&self) -> String {
        let answers = self.answers.iter();
        let answers = answers.map(|(name, count)| format!("{name} {count}"));
        answers.collect::<Vec<_>>().join(", ")
    }
}

pub fn run(
    plan: &Plan,
    client: &Client,
    request: &(dyn Fn() -> Result<SignedRequest, Failure> + Sync),
    out: &mut Output,
) -> Result<Ended, Failure> {
    let interrupt = Interrupt::listen()?;
    let results = Mutex::new(Results::default());
    let next = AtomicU64::new(0);
    let started = Instant::now();
    let is_over = || {
        let late = plan
            .duration
            .is_some_and(|duration| started.elapsed() >= duration);
        late || interrupt.is_pressed()
    };
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise}  {msg}") {
        bar.set_style(style);
    }
    let worker = || -> Result<(), Failure> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let due = Duration::try_from_secs_f64(number as f64 / plan.rate);
            let due = due.unwrap_or(Duration::MAX);
            if plan.duration.is_some_and(|duration| due >= duration) {
                return Ok(());
            }
            while let Some(wait) = due.checked_sub(started.elapsed()) {
                if is_over() {
                    return Ok(());
                }
                std::thread::sleep(wait.min(Duration::from_millis(100)));
            }
            if is_over() {
                return Ok(());
            }
            let sent = Instant::now();
            let (name, is_good) = match client.send(&request()?) {
                Ok(answer) => {
                    let reason = answer.reason().unwrap_or_default();
                    let name = format!("{} {reason}", answer.status);
                    (name.trim_end().to_owned(), answer.is_good())
                }
                Err(_) => ("no answer".to_owned(), false),
            };
            if let Ok(mut results) = results.lock() {
                results.add(name, is_good, sent.elapsed());
                let each = results.count as f64 / started.elapsed().as_secs_f64().max(0.001);
                bar.set_message(format!(
                    "{} requests, {each:.0} a second: {}",
                    results.count,
                    results.in_words()
                ));
            }
        }
    };
    let ended: Vec<Result<(), Failure>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.connections).map(|_| scope.spawn(worker)).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(ended) => ended,
            Err(_) => Failure::said("a sender has failed"),
        });
        joined.collect()
    });
    bar.finish_and_clear();
    ended.into_iter().collect::<Result<(), Failure>>()?;
    let Ok(mut results) = results.into_inner() else {
        return Failure::said("a sender has failed");
    };
    let seconds = started.elapsed().as_secs_f64();
    let quantiles = [0.5, 0.9, 0.99, 1.0].map(|part| results.quantile(part));
    if out.json {
        let [half, ninety, ninety_nine, all] = quantiles;
        out.value(&json!({
            "requests": results.count, "seconds": seconds, "answers": results.answers,
            "milliseconds": {"p50": half, "p90": ninety, "p99": ninety_nine, "max": all},
        }))?;
    } else {
        let each = results.count as f64 / seconds.max(0.001);
        out.line(format!(
            "{} requests in {seconds:.1} s, {each:.0} a second",
            results.count
        ))?;
        let rows = results.answers.iter();
        let rows: Vec<_> = rows
            .map(|(name, count)| vec![format!("  {name}"), count.to_string()])
            .collect();
        for line in columns(&rows) {
            out.line(line)?;
        }
        let [half, ninety, ninety_nine, all] = quantiles;
        out.line(format!(
            "  half within {half:.1} ms, 90 % {ninety:.1} ms, 99 % {ninety_nine:.1} ms, all {all:.1} ms"
        ))?;
    }
    Ok(match results.bad {
        0 => Ended::Well,
        _ => Ended::Badly,
    })
}
