//! One for each worker: takes the configuration and makes a context for each request.

use std::hash::Hasher;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use siphasher::sip::SipHasher24;

use crate::core::config::load::load;
use crate::core::config::settings::{Mode, Settings};
use crate::core::request::state::Filter;
use crate::envoy::host::{self, Buffer, Level};
use crate::envoy::log::Log;
use crate::envoy::metrics::Metrics;
use crate::envoy::shared_data::{SharedData, random_word};
use crate::envoy::stream::{Stream, around};

/// What all requests of one worker and configuration share.
pub(super) struct Worker {
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
#[derive(Default)]
pub(super) struct Root {
    worker: Option<Rc<Worker>>,
}

impl Root {
    fn configure(&mut self) -> Result<(), String> {
        let json = host::buffer(Buffer::PluginConfiguration, usize::MAX)
            .map_err(|error| format!("the configuration cannot be read ({error:?})"))?;
        let environment = |name: &str| std::env::var(name).ok();
        let settings = load(&json, &environment).map_err(|problems| problems.to_string())?;
        let store = SharedData::default();
        let unusable = |error| format!("shared data does not work ({error:?})");
        let hash_key = store.hash_key().map_err(unusable)?;
        let metrics = Metrics::define(&settings)
            .map_err(|error| format!("the metrics cannot be defined ({error:?})"))?;
        say_what_is_unusual(&settings, &store, &json);
        let log = Log::new(settings.log);
        let mut filter = Filter::new(settings, hash_key);
        filter
            .join(fingerprint(&json), around(&store))
            .map_err(unusable)?;
        // Workers that start at once race for who is first; that is no sign of load.
        store.take_conflicts();
        self.worker = Some(Rc::new(Worker {
            log,
            filter: Rc::new(filter),
            store,
            metrics,
            claims: random_word(),
        }));
        Ok(())
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
    let said = match settings.mode {
        Mode::Enforce => return,
        Mode::Monitor => "twilio_webhook mode is monitor: requests are checked and never refused",
        Mode::Off => "twilio_webhook mode is off: every request passes unchecked",
    };
    if first("mode") {
        host::log(Level::Warn, said);
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match self.configure() {
            Ok(()) => true,
            Err(problem) => {
                host::log(
                    Level::Error,
                    &format!("twilio_webhook configuration refused: {problem}"),
                );
                false
            }
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        // Without a configuration every request is refused, by a context that has none.
        Some(Box::new(Stream::new(self.worker.clone(), context_id)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
