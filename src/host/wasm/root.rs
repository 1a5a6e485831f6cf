//! One for each worker: takes the configuration and makes a context for each request.

use std::hash::Hasher;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use siphasher::sip::SipHasher24;

use crate::config::load::load;
use crate::config::settings::{Mode, Settings};
use crate::host::wasm::abi::{self as host, Buffer, Level};
use crate::host::wasm::callout::{Call, Came};
use crate::host::wasm::known::now;
use crate::host::wasm::log::Log;
use crate::host::wasm::metrics::Metrics;
use crate::host::wasm::shared_data::{SharedData, random_word};
use crate::host::wasm::stream::Stream;
use crate::pipeline::state::Filter;
use crate::store::redis::script_call::ScriptCall;
use crate::store::redis::script_reply::ScriptReply;

/// What all requests of one worker and configuration share.
pub(super) struct Worker {
    /// The number of the root context.
    pub(super) context: u32,
    /// The decisions.
    pub(super) filter: Rc<Filter>,
    /// Nonces and counters.
    pub(super) store: SharedData,
    /// Counters for the operator.
    pub(super) metrics: Metrics,
    /// Lines for the operator.
    pub(super) log: Log,
    /// Random: what makes this worker's claims differ from all others'.
    pub(super) claims: [u8; 8],
}

/// The worker, once it is configured.
pub(super) struct Root {
    context: u32,
    worker: Option<Rc<Worker>>,
    /// What Redis is being told.
    telling: Option<(ScriptCall, Call)>,
}

/// How often Redis is told what upstreams have answered. Until then their requests
/// count as on their way, which rejects repeats just the same.
const TELL_EVERY_MS: u32 = 50;

impl Root {
    pub(super) fn new(context: u32) -> Root {
        Root {
            context,
            worker: None,
            telling: None,
        }
    }

    fn configure(&mut self) -> Result<(), String> {
        let json = host::buffer(Buffer::PluginConfiguration, usize::MAX)
            .map_err(|error| format!("the configuration cannot be read ({error:?})"))?;
        // A variable that is not UTF-8 is not the same as none: the loader says what it is.
        let environment =
            |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let settings = load(&json, &environment).map_err(|problems| problems.to_string())?;
        let store = SharedData::default();
        let unusable = |error| format!("shared data does not work ({error:?})");
        let hash_key = store.hash_key().map_err(unusable)?;
        let metrics = Metrics::define(&settings)
            .map_err(|error| format!("the metrics cannot be defined ({error:?})"))?;
        say_what_is_unusual(&settings, &store, &json);
        let log = Log::new(settings.log);
        let filter = Filter::new(settings, hash_key);
        // Workers that start at once race for who is first; that is no sign of load.
        store.take_conflicts();
        if filter.redis().is_some() {
            host::set_tick_period(TELL_EVERY_MS)
                .map_err(|error| format!("there is no timer ({error:?})"))?;
        }
        self.worker = Some(Rc::new(Worker {
            context: self.context,
            log,
            filter: Rc::new(filter),
            store,
            metrics,
            claims: random_word(),
        }));
        Ok(())
    }

    /// Tells Redis what upstreams have answered.
    fn tell(&mut self) {
        let Some(worker) = self.worker.clone() else {
            return;
        };
        let Some(redis) = worker.filter.redis() else {
            return;
        };
        let now = now();
        if redis.unsettled.is_due() && redis.circuit.allows(now) {
            let settlements = redis.unsettled.send(now);
            if settlements.is_empty() {
                redis.unsettled.arrived();
            } else {
                let question = redis.settle(&settlements, now);
                match Call::send(&worker, redis, &question, self.context) {
                    Ok(call) => self.telling = Some((question, call)),
                    Err(_) => redis.unsettled.failed(),
                }
            }
        }
        worker
            .metrics
            .count_lost_settlements(redis.unsettled.take_lost());
    }

    /// Redis has been told, or not.
    fn told(&mut self, token: u32, answer: (usize, usize)) {
        let Some((question, call)) = self.telling.take_if(|(_, call)| call.is(token)) else {
            return;
        };
        let Some(worker) = self.worker.clone() else {
            return;
        };
        let Some(redis) = worker.filter.redis() else {
            return;
        };
        match call.answered(&worker, redis, &question, self.context, answer) {
            Came::SentAgain(call) => self.telling = Some((question, call)),
            Came::Answer(Ok(ScriptReply::Settled)) => redis.unsettled.arrived(),
            Came::Answer(_) => redis.unsettled.failed(),
        }
    }
}

/// Tells one configuration from another.
fn fingerprint(json: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(json);
    hasher.finish()
}

/// Says once, not once for each worker, what an operator should know of this configuration.
fn say_what_is_unusual(settings: &Settings, store: &SharedData, json: &[u8]) {
    let first = |what: &str| store.first(&format!("{what}:{:x}", fingerprint(json)));
    if settings.keyring.is_empty() && first("not-configured") {
        host::log(
            Level::Error,
            "twilio_webhook not_configured: there is no auth token and no shared key, so every \
             webhook answers 500; set TWILIO_AUTH_TOKEN or accounts",
        );
    }
    if !settings.warnings.is_empty() && first("warnings") {
        for warning in &settings.warnings {
            host::log(
                Level::Warn,
                &format!("twilio_webhook configuration: {warning}"),
            );
        }
    }
    let said = match settings.mode {
        Mode::Enforce => return,
        Mode::Monitor => "twilio_webhook mode is monitor: requests are checked and never rejected",
        Mode::Off => "twilio_webhook mode is off: every request passes unchecked",
    };
    if first("mode") {
        host::log(Level::Warn, said);
    }
}

impl Context for Root {
    fn on_http_call_response(
        &mut self,
        token: u32,
        headers: usize,
        body_size: usize,
        _trailers: usize,
    ) {
        self.told(token, (headers, body_size));
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match self.configure() {
            Ok(()) => true,
            Err(problem) => {
                host::log(
                    Level::Error,
                    &format!("twilio_webhook configuration rejected: {problem}"),
                );
                false
            }
        }
    }

    fn on_tick(&mut self) {
        self.tell();
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        // Without a configuration every request is rejected, by a context that has none.
        Some(Box::new(Stream::new(self.worker.clone(), context_id)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
