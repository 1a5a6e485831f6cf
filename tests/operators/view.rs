//! What several of these tests look at.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use support::envoy::Envoy;
use support::filter_host::filter_host;
use support::http1::PATIENCE;
use support::messages::{OTHER_TOKENS, PHONE, TOKEN};
use support::process::repository;
use support::signing;

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    let file = repository().join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Waits until `found` finds something, however busy the machine is.
pub(crate) fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One line of the filter in Envoy's log.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) level: String,
    /// Of the worker that wrote it.
    pub(crate) thread: String,
    /// Whole seconds and milliseconds of the day.
    pub(crate) at: Duration,
    pub(crate) json: Value,
}

/// The filter's lines about requests. Whatever stands in Envoy's log must be a line that Envoy began; every line of
/// the filter must be JSON, but for the few sentences about the configuration.
pub(crate) fn lines(log: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let begun = log
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    for line in begun.map(|line| line.trim_end_matches('\n')) {
        let Some(fields) = prefix(line) else {
            panic!("a line that Envoy did not begin: {line:?}");
        };
        let [at, thread, level, _] = fields;
        // Envoy's own lines about a module have the same mark.
        let ours = line.split_once(filter_host().log_marker());
        let ours = ours.and_then(|(_, rest)| rest.split_once("twilio_webhook_filter: "));
        let Some((_, text)) = ours else {
            assert!(!line.contains("\"event\""), "not the filter's line: {line}");
            continue;
        };
        if text.starts_with("twilio_webhook ") {
            continue;
        }
        let json = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {line}"));
        lines.push(Line {
            level: level.to_owned(),
            thread: thread.to_owned(),
            at: time_of_day(at).unwrap_or_else(|| panic!("a time: {line}")),
            json,
        });
    }
    lines
}

/// `[time][thread][level][component] `
fn prefix(line: &str) -> Option<[&str; 4]> {
    let mut rest = line;
    let mut fields = [""; 4];
    for field in &mut fields {
        (*field, rest) = rest.strip_prefix('[')?.split_once(']')?;
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(fields[1]) && rest.starts_with(' ')).then_some(fields)
}

/// The time in `2026-01-31 23:59:59.999`.
fn time_of_day(text: &str) -> Option<Duration> {
    let (_, time) = text.split_once(' ')?;
    let mut parts = time.split([':', '.']).map(|part| part.parse::<u64>().ok());
    let mut next = || parts.next().flatten();
    let (hours, minutes, seconds, millis) = (next()?, next()?, next()?, next()?);
    Some(Duration::from_millis(
        ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis,
    ))
}

/// A sample of Envoy's metrics in Prometheus text.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// All samples, and the type of each metric.
pub(crate) struct Metrics {
    pub(crate) samples: Vec<Sample>,
    pub(crate) types: BTreeMap<String, String>,
}

impl Metrics {
    /// What a running Envoy shows.
    pub(crate) fn of(envoy: &Envoy) -> Metrics {
        let text = envoy.admin("/stats/prometheus");
        let mut metrics = Metrics {
            samples: Vec::new(),
            types: BTreeMap::new(),
        };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                metrics.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                metrics
                    .samples
                    .push(sample(line).unwrap_or_else(|| panic!("a sample: {line}")));
            }
        }
        metrics
    }

    /// The sum of all samples of `name` that have these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|own| own == value))
        };
        self.samples
            .iter()
            .filter(fits)
            .map(|sample| sample.value)
            .sum()
    }

    /// How many requests ended with a verdict.
    pub(crate) fn verdict(&self, verdict: &str) -> f64 {
        self.sum("twilio_webhook_requests", &[("verdict", verdict)])
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}')?;
    let pair = |pair: &str| {
        let (label, value) = pair.split_once("=\"")?;
        Some((label.to_owned(), value.strip_suffix('"')?.to_owned()))
    };
    let labels: Option<_> = labels
        .split_inclusive("\",")
        .map(|text| pair(text.trim_end_matches(',')))
        .collect();
    Some(Sample {
        name: name.to_owned(),
        labels: if series.ends_with("{}") || !series.contains('{') {
            BTreeMap::new()
        } else {
            labels?
        },
        value: value.parse().ok()?,
    })
}

/// Where an Envoy's own files are: its log `envoy.log`, its standard output `envoy.out` with the access log of
/// `envoy.yaml`, and `access.log`.
fn directory(envoy: &Envoy) -> PathBuf {
    let info: Value = serde_json::from_str(&envoy.admin("/server_info")).expect("JSON");
    let config = info["command_line_options"]["config_path"].as_str();
    let config = PathBuf::from(config.expect("a path"));
    config.parent().expect("a directory").to_owned()
}

/// The lines of the shipped access log, each a JSON object, once there are `count`.
pub(crate) fn access_log(envoy: &Envoy, count: usize) -> Vec<Value> {
    let file = directory(envoy).join("envoy.out");
    wait_for(&format!("{count} lines in the access log"), || {
        let bytes = std::fs::read(&file).expect("Envoy's standard output");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let json = |line: &str| {
            let line: Result<Value, _> = serde_json::from_str(line);
            line.unwrap_or_else(|error| panic!("{error} in the access log:\n{whole}"))
        };
        let lines: Vec<_> = whole.lines().map(json).collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// No token, telephone number, text or signature in anything that an Envoy has written.
pub(crate) fn assert_discreet(envoy: &Envoy, more: &[&str]) {
    let directory = directory(envoy);
    for name in ["envoy.log", "envoy.out", "access.log"] {
        let bytes = std::fs::read(directory.join(name)).expect(name);
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.is_empty(), "nothing in {name}");
        let secrets = [
            TOKEN,
            OTHER_TOKENS[0],
            OTHER_TOKENS[1],
            PHONE,
            "Margherita",
            "rg+%F0%9F",
        ];
        for secret in secrets.iter().chain(more) {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{name} tells {secret:?}");
        }
        for line in text.lines() {
            assert_eq!(
                signing::leaked(line),
                None,
                "{name} tells a signature: {line}"
            );
        }
    }
}
