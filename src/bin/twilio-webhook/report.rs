//! `report`: what the filter's lines in Envoy's log say, in gigabytes of it.

mod lines;
mod tally;
mod top;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use twilio_webhook_filter::companion::advice;
use twilio_webhook_filter::companion::captured::LogLine;
use twilio_webhook_filter::companion::mask;

use crate::failure::{Ended, Failure};
use crate::interrupt::Interrupt;
use crate::output::{Output, Style};
use crate::report::lines::{Chunk, Source};
use crate::report::tally::{Tally, Told};
use crate::table::columns;

/// Say what Envoy's log says: verdicts by webhook and hour, the most frequent hints with what to do,
/// addresses.
///
/// Logs may have any size: memory is bounded. What is rare among very many addresses or hints may
/// be missing from their lists; the counts of verdicts are exact. Times are those of the log.
#[derive(Args)]
pub struct Arguments {
    /// The logs; standard input if there is none.
    files: Vec<PathBuf>,
    /// Go on with what is appended, showing each rejection as it comes, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// How many hours, hints and addresses to show.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
}

pub fn run(arguments: &Arguments, out: &mut Output) -> Result<Ended, Failure> {
    let interrupt = arguments.follow.then(Interrupt::listen).transpose()?;
    let source = Source::open(&arguments.files, arguments.follow)?;
    let bar = progress(&source, arguments.follow);
    let mut tally = Tally::default();
    loop {
        if interrupt.as_ref().is_some_and(Interrupt::is_pressed) {
            break;
        }
        let chunk = match source.next(Duration::from_millis(200)) {
            Chunk::Lines(bytes) => bytes,
            Chunk::Nothing => continue,
            Chunk::End => break,
            Chunk::Failed(failure) => return Err(failure),
        };
        for line in chunk.split(|byte| *byte == b'\n') {
            if let Told::Request(line, hour) = tally.add(line)
                && arguments.follow
                && line.verdict != "accepted"
            {
                show_live(&line, hour.as_deref(), out)?;
            }
        }
        bar.inc(chunk.len() as u64);
        if arguments.follow {
            out.flush()?;
        }
    }
    bar.finish_and_clear();
    if out.json {
        out.value(&value(&tally, arguments.top))?;
    } else {
        show(&tally, arguments.top, out)?;
    }
    Ok(Ended::Well)
}

fn progress(source: &Source, follow: bool) -> ProgressBar {
    let target = match follow {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(source.length, target);
    let template = match source.length {
        Some(_) => "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{spinner} {bytes}, {bytes_per_sec}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn show_live(line: &LogLine, hour: Option<&str>, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        let value = json!({
            "time": hour, "verdict": line.verdict, "status": line.status, "webhook": line.webhook,
            "client_ip": line.client_ip, "request_id": line.request_id, "hint": line.hint,
        });
        return out.line(value.to_string());
    }
    let webhook = line
        .webhook
        .as_deref()
        .or(line.path.as_deref())
        .unwrap_or("-");
    let verdict = format!("{} {}", line.status, line.verdict);
    let verdict = out.styled(Style::Bad, &verdict);
    let text = format!(
        "{verdict}  {}  {}  {}",
        mask::visible(webhook.as_bytes()),
        mask::visible(line.client_ip.as_bytes()),
        mask::visible(line.hint.as_deref().unwrap_or_default().as_bytes())
    );
    out.line(text.trim_end())
}

fn value(tally: &Tally, top: usize) -> serde_json::Value {
    let hours = tally.hours.iter().map(|((hour, webhook), verdicts)| {
        json!({"hour": hour, "webhook": webhook, "verdicts": verdicts})
    });
    let hints = tally.hints.most(top).into_iter().map(|(hint, count, sample)| {
        json!({"hint": sample, "pattern": hint, "count": count, "what_to_do": what_to_do(&sample)})
    });
    let addresses = tally
        .addresses
        .most(top)
        .into_iter()
        .map(|(address, count, _)| json!({"client_ip": address, "rejected": count}));
    json!({
        "bytes": tally.bytes,
        "lines": tally.lines,
        "requests": tally.requests,
        "verdicts": tally.verdicts,
        "suppressed": tally.suppressed,
        "bodies_never_shown": tally.unseen_bodies,
        "configurations_rejected": tally.rejected_configurations,
        "hours": hours.collect::<Vec<_>>(),
        "hints": hints.collect::<Vec<_>>(),
        "addresses": addresses.collect::<Vec<_>>(),
    })
}

fn what_to_do(hint: &str) -> Option<String> {
    advice::for_hint(hint)
}

fn show(tally: &Tally, top: usize, out: &mut Output) -> Result<(), Failure> {
    out.line(format!(
        "{} requests in {} lines ({} bytes)",
        tally.requests, tally.lines, tally.bytes
    ))?;
    let warnings = [
        (
            tally.suppressed,
            "lines were left out by log.max_per_second, and are counted nowhere",
        ),
        (
            tally.unseen_bodies,
            "requests were held because Envoy never showed their body: set allow_on_headers_stop_iteration: true",
        ),
        (
            tally.rejected_configurations,
            "configurations were rejected: twilio-webhook check-config says why",
        ),
        (
            tally.other_hours,
            "requests of earlier hours are in no line of the table",
        ),
    ];
    for (count, what) in warnings {
        if count > 0 {
            let text = format!("{count} {what}");
            out.line(out.styled(Style::Warn, &text))?;
        }
    }
    if tally.requests == 0 {
        return out.line(
            "There is no line of the filter: they begin with {\"event\":\"twilio_webhook\".",
        );
    }
    out.line("")?;
    show_hours(tally, top, out)?;
    out.line("")?;
    let mut verdicts: Vec<_> = tally.verdicts.iter().collect();
    verdicts.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.to_owned()));
    for (name, count) in verdicts {
        let head = format!("{count} {name}");
        out.line(out.styled(Style::Strong, &head))?;
        if let Some(advice) = advice::for_verdict(name) {
            out.line(format!("  {advice}"))?;
        }
    }
    let hints = tally.hints.most(top);
    if !hints.is_empty() {
        out.line("")?;
        out.line(out.styled(Style::Faint, "The most frequent hints"))?;
    }
    for (_, count, hint) in hints {
        let head = format!("{count} {}", mask::visible(hint.as_bytes()));
        out.line(out.styled(Style::Strong, &head))?;
        if let Some(advice) = what_to_do(&hint) {
            out.line(format!("  {advice}"))?;
        }
    }
    let addresses = tally.addresses.most(top);
    if !addresses.is_empty() {
        out.line("")?;
        out.line(out.styled(Style::Faint, "The addresses with the most rejections"))?;
    }
    let rows = addresses.into_iter().map(|(address, count, verdict)| {
        vec![
            count.to_string(),
            mask::visible(address.as_bytes()),
            verdict,
        ]
    });
    for line in columns(&rows.collect::<Vec<_>>()) {
        out.line(line)?;
    }
    Ok(())
}

/// Shows the last hours, by webhook.
fn show_hours(tally: &Tally, top: usize, out: &mut Output) -> Result<(), Failure> {
    let head = ["hour", "webhook", "requests", "accepted", "rejected"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let skipped = tally.hours.len().saturating_sub(top);
    for ((hour, webhook), verdicts) in tally.hours.iter().skip(skipped) {
        let all: u64 = verdicts.values().sum();
        let accepted = verdicts.get("accepted").copied().unwrap_or_default();
        let others = verdicts.iter().filter(|(name, _)| *name != "accepted");
        let others = others.map(|(name, count)| format!("{name} {count}"));
        rows.push(vec![
            hour.clone(),
            webhook.clone(),
            all.to_string(),
            accepted.to_string(),
            others.collect::<Vec<_>>().join(", "),
        ]);
    }
    for (index, line) in columns(&rows).iter().enumerate() {
        let style = if index == 0 {
            Style::Faint
        } else {
            Style::Plain
        };
        out.line(out.styled(style, line))?;
    }
    if skipped > 0 {
        let text = format!("… and {skipped} rows of earlier hours (--top shows more, --json all)");
        out.line(out.styled(Style::Faint, &text))?;
    }
    if !tally.verdicts.contains_key("accepted") {
        let text = "Accepted requests are in the log only with \"log\": {\"accepted\": true}.";
        out.line(out.styled(Style::Faint, text))?;
    }
    Ok(())
}
