//! `check-config`: what the loader says of a configuration, and what is risky around it.

mod document;
mod envoy;
mod finding;
mod limits;

use std::cell::RefCell;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use twilio_webhook_filter::{MemoryMap, Settings, load};

use crate::check_config::finding::{Finding, Findings, Level};
use crate::failure::{Ended, Failure};
use crate::input;
use crate::manifest::{self, Kind, Plugin};
use crate::output::{Output, Style};

/// Say what the filter's loader says of a configuration, and what is risky around it.
///
/// A file is the filter's JSON, or an envoy.yaml or Kubernetes manifest that holds it, at any depth.
/// A secret that is not set here is replaced by a stand-in and noted. Warnings do not fail the
/// check, unless --strict is given.
#[derive(Args)]
pub struct Arguments {
    /// The files; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Fail on warnings, too.
    #[arg(long)]
    strict: bool,
}

pub fn run(arguments: &Arguments, out: &mut Output) -> Result<Ended, Failure> {
    let mut is_good = true;
    let mut values = Vec::new();
    for path in &arguments.files {
        let bytes = input::read(path)?;
        let manifest = manifest::read(&bytes)
            .map_err(|failure| Failure::Said(format!("{}: {failure}", path.display())))?;
        for plugin in &manifest.plugins {
            let mut findings = Findings::default();
            let settings = check_plugin(plugin, &mut findings);
            envoy::check(
                &manifest.documents,
                plugin,
                settings.as_ref(),
                &mut findings,
            );
            let fails = |finding: &Finding| match finding.level {
                Level::Error => true,
                Level::Warning => arguments.strict,
                Level::Note => false,
            };
            let findings = findings.sorted();
            is_good &= !findings.iter().any(fails);
            if out.json {
                values.push(json!({
                    "file": path, "place": plugin.place, "kind": kind(plugin.kind), "findings": findings,
                }));
            } else {
                show(path, plugin, &findings, out)?;
            }
        }
    }
    if out.json {
        out.value(&json!({"good": is_good, "configurations": values}))?;
    }
    Ok(if is_good { Ended::Well } else { Ended::Badly })
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Json => "the filter's JSON",
        Kind::Wasm => "a wasm plugin of Envoy",
        Kind::Native => "a dynamic module of Envoy",
        Kind::WasmPlugin => "a WasmPlugin of Istio",
        Kind::ExtensionPolicy => "an EnvoyExtensionPolicy of Envoy Gateway",
    }
}

/// What stands in for a secret that is not set here.
const STAND_IN: &str = "00000000000000000000000000000000";

/// Loads a configuration as the filter does, and returns it if it is valid.
fn check_plugin(plugin: &Plugin, findings: &mut Findings) -> Option<Settings> {
    let json = match &plugin.json {
        Ok(json) => json,
        Err(what) => {
            findings.error("configuration", what);
            return None;
        }
    };
    let missing = RefCell::new(Vec::new());
    let secrets = names_of_secrets(json);
    let environment = |name: &str| {
        let found = plugin.variable(name);
        if found.is_some() {
            return found;
        }
        let reaches_it = plugin
            .host_variables
            .as_ref()
            .is_none_or(|names| names.iter().any(|own| own == name));
        let is_token = name == "TWILIO_AUTH_TOKEN" && has_no_accounts(json);
        let is_url = name == "WEBHOOK_URL" && has_no_webhooks(json);
        let is_missing =
            reaches_it && (secrets.iter().any(|own| own == name) || is_token || is_url);
        if !is_missing {
            return None;
        }
        let mut missing = missing.borrow_mut();
        if !missing.iter().any(|own| own == name) {
            missing.push(name.to_owned());
        }
        Some(match name {
            "WEBHOOK_URL" => "https://webhook.invalid/".to_owned(),
            _ => STAND_IN.to_owned(),
        })
    };
    let settings = load(json, &environment);
    for name in missing.borrow().iter() {
        let what = "is not set here, so that its value is not checked";
        findings.note(name, what);
    }
    let settings = match settings {
        Ok(settings) => settings,
        Err(problems) => {
            for problem in problems.each() {
                let (place, what) = problem.split_once(": ").unwrap_or(("", &problem));
                findings.error(place, what);
            }
            return None;
        }
    };
    for warning in &settings.warnings {
        let (place, what) = warning.split_once(": ").unwrap_or(("", warning));
        findings.warning(place, what);
    }
    note_literal_secrets(json, plugin, findings);
    limits::check(&settings, findings);
    // What it takes to run, as in Envoy: the memory of an empty store.
    let probe = load(json, &environment).ok()?;
    let memory = std::rc::Rc::new(MemoryMap::new());
    if let Err(error) = twilio_webhook_filter::Filter::new(probe, memory, [0; 16]) {
        findings.error(
            "configuration",
            format!("the filter does not start: {error:?}"),
        );
    }
    Some(settings)
}

/// Returns the variables that the configuration refers to by `{"env": NAME}`.
fn names_of_secrets(json: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    document::each_object(&value, "", &mut |object, _| {
        if object.len() == 1
            && let Some(Value::String(name)) = object.get("env")
        {
            names.push(name.clone());
        }
    });
    names
}

fn has_no_accounts(json: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    value.get("accounts").is_none() && value.get("shared_keys").is_none()
}

fn has_no_webhooks(json: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    value
        .get("webhooks")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
}

/// Warns of secrets that stand in the configuration themselves.
fn note_literal_secrets(json: &[u8], plugin: &Plugin, findings: &mut Findings) {
    const ADVICE: &str = "stands in the configuration itself, which /config_dump and whoever reads the file shows: use \
                          {\"env\": \"NAME\"}";
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    document::each_object(&value, "", &mut |object, place| {
        for name in ["secret", "password", "token"] {
            if object.get(name).is_some_and(Value::is_string) {
                findings.warning(&document::below(place, name), ADVICE);
            }
        }
        let tokens = object.get("auth_tokens").and_then(Value::as_array);
        for (index, token) in tokens.into_iter().flatten().enumerate() {
            if token.is_string() {
                let place = document::below(place, &format!("auth_tokens[{index}]"));
                findings.warning(&place, ADVICE);
            }
        }
    });
    for name in plugin.variables.keys() {
        if name.contains("TOKEN") || name.contains("SECRET") || name.contains("PASSWORD") {
            findings.warning(
                &format!("environment_variables.key_values.{name}"),
                "stands in Envoy's configuration, which /config_dump shows: name it in host_env_keys",
            );
        }
    }
}

fn show(
    path: &std::path::Path,
    plugin: &Plugin,
    findings: &[Finding],
    out: &mut Output,
) -> Result<(), Failure> {
    let place = match plugin.place.as_str() {
        "" => String::new(),
        place => format!(" at {place}"),
    };
    let head = format!("{}: {}{place}", path.display(), kind(plugin.kind));
    out.line(out.styled(Style::Strong, &head))?;
    for finding in findings {
        let style = match finding.level {
            Level::Error => Style::Bad,
            Level::Warning => Style::Warn,
            Level::Note => Style::Faint,
        };
        let level = out.styled(style, &format!("{:7}", finding.level.name()));
        let place = match finding.place.as_str() {
            "" => String::new(),
            place => format!("{place}: "),
        };
        out.line(format!("  {level}  {place}{}", finding.what))?;
    }
    if findings.is_empty() {
        let good = out.styled(
            Style::Good,
            "  good: the loader takes it, and nothing is risky",
        );
        out.line(good)?;
    }
    Ok(())
}
