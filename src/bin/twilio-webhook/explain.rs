//! `explain`: whether captured requests verify and, if not, why.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use twilio_webhook_filter::companion::captured::{Captured, CapturedRequest, Format, read};
use twilio_webhook_filter::companion::configuration::{Configuration, assumed_url};
use twilio_webhook_filter::companion::explain::{Explainer, Explanation};
use twilio_webhook_filter::companion::mask::{Shown, visible};
use twilio_webhook_filter::companion::parts::Row;

use crate::failure::{Ended, Failure};
use crate::input;
use crate::key::KeyArguments;
use crate::manifest;
use crate::output::{Output, Style, complain};
use crate::table::columns;

/// Say whether captured requests verify and, if not, why: by the filter's own diagnosis.
///
/// A capture is raw HTTP, a curl command, a HAR file, JSON with a request in it, a copy from
/// Twilio's debugger, or lines of the filter's log. Several requests are explained in their order,
/// as the filter would see them: one that repeats an accepted one is a duplicate.
///
/// --url and a token are enough. With --config the configuration is the filter's own, and so is
/// every word of the hint. Rate limits are not applied: they depend on what else came.
#[derive(Args)]
pub struct Arguments {
    /// The captures; standard input if there is none.
    files: Vec<PathBuf>,
    /// The URL, exactly as it is entered at Twilio.
    #[arg(long, conflicts_with = "config")]
    url: Option<String>,
    /// The filter's configuration: its JSON, or an envoy.yaml or Kubernetes manifest that holds it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What the captures are, in place of finding out.
    #[arg(long, value_parser = PossibleValuesParser::new(Format::ALL.map(|(name, _)| name)))]
    format: Option<String>,
    /// When the requests came that do not say it: RFC 3339, RFC 2822 or Unix seconds. Without it,
    /// old timestamps are not held against them.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Show values of parameters, not only their shapes.
    #[arg(long)]
    show_data: bool,
    #[command(flatten)]
    key: KeyArguments,
}

pub fn run(arguments: &Arguments, out: &mut Output) -> Result<Ended, Failure> {
    let mut captured = captures(arguments)?;
    if let Some(at) = &arguments.at {
        let Some(at) = twilio_webhook_filter::companion::captured::time(at) else {
            return Failure::expected("a time behind --at, such as 2026-11-28T15:00:00Z");
        };
        captured.iter_mut().for_each(|one| one.came_at(at));
    }
    let requests: Vec<_> = captured.iter().filter_map(Captured::request).collect();
    let mut notes = Vec::new();
    let explainer = match requests.first() {
        Some(first) => Some(explainer(arguments, first, &requests, &mut notes)?),
        None => None,
    };
    for warning in explainer.iter().flat_map(Explainer::warnings) {
        notes.push(format!("configuration: {warning}"));
    }
    let shown = Shown::all_if(arguments.show_data);
    let explanations = Explainer::explain_all(explainer.as_ref(), &captured, input::now(), shown);
    let all_pass = explanations.iter().all(Explanation::is_good);
    if out.json {
        out.value(&json!({"notes": notes, "requests": explanations}))?;
    } else {
        out.flush()?;
        for note in &notes {
            complain(&format!("note: {note}"))?;
        }
        for (index, explanation) in explanations.iter().enumerate() {
            if index > 0 {
                out.line("")?;
            }
            show(explanation, out)?;
        }
    }
    Ok(if all_pass { Ended::Well } else { Ended::Badly })
}

fn captures(arguments: &Arguments) -> Result<Vec<Captured>, Failure> {
    let format = arguments.format.as_ref().and_then(|wanted| {
        let mut formats = Format::ALL.iter();
        Some(formats.find(|(name, _)| name == wanted)?.1)
    });
    let stdin = [PathBuf::from("-")];
    let files = match arguments.files.is_empty() {
        true => &stdin[..],
        false => &arguments.files,
    };
    let mut all = Vec::new();
    for path in files {
        let bytes = input::read(path)?;
        let (_, captured) = read(&bytes, format)
            .map_err(|error| Failure::Said(format!("{}: {error}", path.display())))?;
        all.extend(captured);
    }
    Ok(all)
}

fn explainer(
    arguments: &Arguments,
    first: &CapturedRequest,
    requests: &[&CapturedRequest],
    notes: &mut Vec<String>,
) -> Result<Explainer, Failure> {
    if let Some(path) = &arguments.config {
        let bytes = input::read(path)?;
        let of_file = |what: String| Failure::Said(format!("{}: {what}", path.display()));
        let manifest = manifest::read(&bytes).map_err(|failure| of_file(failure.to_string()))?;
        if let Some(other) = manifest.plugins.get(1) {
            let place = &other.place;
            notes.push(format!(
                "the configuration at {place} is one of several: the first is used"
            ));
        }
        let Some(plugin) = manifest.plugins.first() else {
            return Failure::expected("a configuration of the filter");
        };
        let json = plugin.json.clone().map_err(of_file)?;
        return Explainer::new(&json, &|name| plugin.variable(name)).map_err(of_file);
    }
    let url = match (&arguments.url, std::env::var("WEBHOOK_URL")) {
        (Some(url), _) => url.clone(),
        (None, Ok(url)) if !url.is_empty() => url,
        (None, _) => {
            let Some(url) = assumed_url(first) else {
                return Failure::expected("--url URL, since the capture names no host");
            };
            notes.push(format!(
                "without --url the URL is taken from the capture: {url}. It has to be the one that \
                 is entered at Twilio"
            ));
            url
        }
    };
    let account = std::env::var("TWILIO_ACCOUNT_SID").ok();
    let account = account.filter(|sid| !sid.is_empty());
    let key = arguments.key.key(account)?;
    let configuration = Configuration::of_url(&url, key, requests);
    let environment = |name: &str| configuration.variable(name);
    Explainer::new(configuration.json.as_bytes(), &environment)
        .map_err(|problems| Failure::Said(problems.replace("webhooks[0].url", "--url")))
}

fn show(explanation: &Explanation, out: &mut Output) -> Result<(), Failure> {
    let (style, word) = match (explanation.is_good(), explanation.passes) {
        (true, _) => (Style::Good, "passes"),
        (false, true) => (
            Style::Bad,
            "passes, since the mode is monitor; else rejected",
        ),
        (false, false) => (Style::Bad, "rejected"),
    };
    // A capture, or a line that somebody else has written, may hold what a terminal acts on.
    let safe = |text: &str| visible(text.as_bytes());
    let what = safe(&format!("{} {}", explanation.method, explanation.path));
    let verdict = format!(
        "{word}: {} {}",
        explanation.status,
        safe(&explanation.verdict)
    );
    let head = format!("{}  {}", what.trim(), out.styled(style, &verdict));
    out.line(head.trim_start())?;
    out.line(format!("  {}", safe(&explanation.message)))?;
    for (name, value) in [
        ("signed by the key", &explanation.key),
        ("of the account", &explanation.account_sid),
    ] {
        if let Some(value) = value {
            out.line(format!("  {name} {}", safe(value)))?;
        }
    }
    for note in &explanation.notes {
        let note = format!("  note: {}", safe(note));
        out.line(out.styled(Style::Faint, &note))?;
    }
    if let Some(hint) = &explanation.hint {
        out.line("")?;
        out.line(out.styled(Style::Faint, "The filter's hint:"))?;
        // Word for word, and alone in its line.
        out.line(out.styled(Style::Strong, &safe(hint)))?;
    }
    if let Some(advice) = &explanation.advice {
        out.line("")?;
        out.line(out.styled(Style::Faint, "What it means:"))?;
        out.line(advice)?;
    }
    if !explanation.signed.is_empty() {
        out.line("")?;
        show_signed(&explanation.signed, out)?;
    }
    Ok(())
}

/// Returns a value, or a word for an empty one.
fn named(value: &str) -> &str {
    if value.is_empty() { "(empty)" } else { value }
}

/// Shows what was signed, part by part. What Twilio signed stands beside it where it differs.
fn show_signed(rows: &[Row], out: &mut Output) -> Result<(), Failure> {
    let is_known = rows.iter().any(|row| row.twilio.is_some());
    let differs = rows.iter().any(|row| !row.same);
    let mut cells = vec![vec![
        String::new(),
        String::new(),
        "the filter signs".into(),
    ]];
    if differs && let Some(head) = cells.first_mut() {
        head.push("what was signed".into());
    }
    for row in rows {
        let mark = if row.same { " " } else { ">" };
        let own = row.filter.as_deref().map_or("(nothing)", named);
        let mut line = vec![mark.to_owned(), row.part.clone(), own.to_owned()];
        if differs {
            line.push(match (&row.twilio, row.same) {
                (_, true) => "=".to_owned(),
                (Some(there), false) => named(there).to_owned(),
                (None, false) => "(nothing)".to_owned(),
            });
        }
        cells.push(line);
    }
    let lines = columns(&cells);
    for (index, line) in lines.iter().enumerate() {
        let style = match (index, line.starts_with('>')) {
            (0, _) => Style::Faint,
            (_, true) => Style::Warn,
            _ => Style::Plain,
        };
        out.line(out.styled(style, line))?;
    }
    if !is_known {
        let note = "What Twilio signed is not known: nothing that was tried makes the signature.";
        out.line(out.styled(Style::Faint, note))?;
    }
    Ok(())
}
