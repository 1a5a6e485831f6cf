//! A configuration becomes a worker, or a message that says what is wrong with it.

use std::hash::Hasher;
use std::rc::Rc;

use siphasher::sip::SipHasher24;

use crate::cas_map::{CasMap, NAMESPACE};
use crate::config::load::load;
use crate::config::settings::{Mode, Settings};
use crate::pipeline::filter::Filter;
use crate::stream::host::{Host, Level};
use crate::stream::log::Log;
use crate::stream::metrics::{Metrics, VERSION};
use crate::stream::worker::Worker;

/// Returns the worker of a configuration. `environment` are the variables of the process,
/// `memory` is what its workers share, and `random` are bytes that no client knows.
///
/// # Errors
/// What is wrong, in words for the operator: every mistake in the configuration at once.
pub fn start(
    host: &impl Host,
    json: &[u8],
    environment: &dyn Fn(&str) -> Option<String>,
    memory: Rc<dyn CasMap>,
    random: [u8; 24],
) -> Result<Worker, String> {
    let settings = load(json, &environment).map_err(|problems| problems.to_string())?;
    log_startup_lines(host, &settings, &*memory, json);
    let log = Log::new(settings.log);
    let [claims, first, second] = *random.as_chunks().0 else {
        return Err("there are no random bytes".into());
    };
    let mut hash_key = [0; 16];
    for (to, from) in hash_key.iter_mut().zip(first.into_iter().chain(second)) {
        *to = from;
    }
    let filter = Filter::new(settings, memory, hash_key)
        .map_err(|error| format!("shared data does not work ({error:?})"))?;
    let metrics = Metrics::define(host, &filter)
        .map_err(|error| format!("the metrics cannot be defined ({error:?})"))?;
    Ok(Worker {
        filter,
        metrics,
        log,
        claims,
    })
}

/// Logs what an operator should know of a configuration: once, not once for each worker. The
/// first line says what runs.
fn log_startup_lines<H: Host>(host: &H, settings: &Settings, memory: &dyn CasMap, json: &[u8]) {
    let mut hasher = SipHasher24::new();
    hasher.write(json);
    let fingerprint = hasher.finish();
    let once = |what: &str| {
        let key = format!("{NAMESPACE}:first:{what}:{fingerprint:x}");
        memory.compare_and_swap(&key, None, b"1").unwrap_or(true)
    };
    if once(VERSION) {
        let line = format!(
            "twilio_webhook version {VERSION}, host {}, ABI {}",
            H::NAME,
            H::ABI
        );
        host.log(Level::Info, &line);
    }
    if settings.keyring.is_empty() && once("not-configured") {
        host.log(
            Level::Error,
            "twilio_webhook not_configured: there is no auth token and no shared key, so every \
             webhook answers 500; set TWILIO_AUTH_TOKEN or accounts",
        );
    }
    if !settings.warnings.is_empty() && once("warnings") {
        for warning in &settings.warnings {
            let line = format!("twilio_webhook configuration: {warning}");
            host.log(Level::Warn, &line);
        }
    }
    let line = match settings.mode {
        Mode::Enforce => return,
        Mode::Monitor => "twilio_webhook mode is monitor: requests are checked and never rejected",
        Mode::Off => "twilio_webhook mode is off: every request passes unchecked",
    };
    if once("mode") {
        host.log(Level::Warn, line);
    }
}
