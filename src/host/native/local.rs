//! What one thread knows of a configuration. Envoy makes a configuration on its main thread
//! and its filters on the workers; what the driver shares is not made for several threads, so
//! each makes its own when the first request comes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};

use crate::cas_map::sharded::ShardedMap;
use crate::cas_map::{CasError, CasMap, Entry, Version};
use crate::host::native::answer::Answer;
use crate::host::native::config::Config;
use crate::host::native::host::NativeHost;
use crate::host::process::{random, variable};
use crate::store::port::Place;
use crate::stream::flush::Flush;
use crate::stream::host::{CallId, Host, Level};
use crate::stream::startup::start;
use crate::stream::worker::Worker;

/// What one thread knows of a configuration.
pub(super) struct Local {
    /// `None` where it could not be made: then every request is rejected.
    pub(super) worker: Option<Rc<Worker>>,
    /// What the store is being told, on the main thread.
    flush: RefCell<Flush>,
    /// How many streams there were.
    last_stream: Cell<u64>,
}

/// The memory of a configuration, as the driver holds it.
struct Memory(Arc<ShardedMap>);

impl CasMap for Memory {
    fn get(&self, key: &str) -> Result<Option<Entry>, CasError> {
        self.0.get(key)
    }

    fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<Version>,
        value: &[u8],
    ) -> Result<bool, CasError> {
        self.0.compare_and_swap(key, expected, value)
    }
}

type Known = (u64, Weak<Config>, Rc<Local>);

thread_local! {
    static ALL: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
}

/// Makes a configuration's worker.
fn start_worker(host: &NativeHost) -> Result<Worker, String> {
    let config = &host.config;
    let memory = Rc::new(Memory(Arc::clone(&config.memory)));
    start(host, &config.json, &variable, memory, random())
}

impl Local {
    /// Loads a configuration, on the main thread.
    pub(super) fn load(host: &NativeHost) -> Result<Rc<Local>, String> {
        Ok(Local::keep(host, Some(start_worker(host)?)))
    }

    /// Returns what this thread knows of a configuration that is loaded.
    pub(super) fn of(host: &NativeHost) -> Rc<Local> {
        let number = host.config.number;
        let known = ALL.with_borrow(|all| {
            let mut all = all.iter();
            let found = all.find(|(own, ..)| *own == number);
            found.map(|(.., local)| Rc::clone(local))
        });
        known.unwrap_or_else(|| {
            let worker = start_worker(host).inspect_err(|problem| {
                // It was good on the main thread.
                let line = format!("twilio_webhook internal: no worker can be made: {problem}");
                host.config.log(Level::Error, &line);
            });
            Local::keep(host, worker.ok())
        })
    }

    fn keep(host: &NativeHost, worker: Option<Worker>) -> Rc<Local> {
        let local = Rc::new(Local {
            worker: worker.map(Rc::new),
            flush: RefCell::default(),
            last_stream: Cell::new(0),
        });
        let config = Arc::downgrade(&host.config);
        Local::inherit(host);
        ALL.with_borrow_mut(|all| all.push((host.config.number, config, Rc::clone(&local))));
        local
    }

    /// Shows in the metrics what runs, once all of them are defined.
    pub(super) fn publish_build(&self, host: &NativeHost) {
        if let Some(worker) = &self.worker {
            worker.publish_build(host);
        }
    }

    /// Returns whether the store has to be told anything later.
    pub(super) fn needs_flush(&self) -> bool {
        let worker = self.worker.as_ref();
        worker.is_some_and(|worker| worker.filter.store().needs_flush())
    }

    /// Returns the place that the store tells what became of requests.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        self.worker.as_ref()?.filter.store().place()
    }

    /// A stream begins. Returns a number that no other stream of this thread has.
    pub(super) fn open_stream(&self) -> u64 {
        self.last_stream.set(self.last_stream.get().wrapping_add(1));
        self.last_stream.get()
    }

    /// Leaves what the store has not been told yet for the main thread.
    pub(super) fn hand_over(&self, config: &Config) {
        let worker = self.worker.as_ref();
        if let Some(untold) = worker.and_then(|worker| worker.filter.store().hand_over()) {
            config.leave_untold(untold);
        }
    }

    /// Takes what the main thread was still to tell when a configuration ended.
    fn inherit(host: &NativeHost) {
        let ended = ALL.with_borrow_mut(|all| {
            let ended = all.extract_if(.., |(_, config, _)| config.strong_count() == 0);
            ended.collect::<Vec<_>>()
        });
        for (.., ended) in ended {
            if let Some(worker) = &ended.worker {
                ended.flush.borrow_mut().end(host.now().into());
                let store = worker.filter.store();
                let place = store.place();
                let place = place.map(|(cluster, prefix)| (cluster.to_owned(), prefix.to_owned()));
                if let Some(untold) = store.hand_over() {
                    host.config.leave_to_another(place.as_ref(), untold);
                }
            }
        }
    }

    /// Tells the store what no worker has told it yet. On the main thread.
    pub(super) fn on_tick(&self, host: &NativeHost) {
        Local::inherit(host);
        if let Some(worker) = &self.worker
            && let Ok(mut flush) = self.flush.try_borrow_mut()
        {
            for untold in host.config.take_untold() {
                worker.filter.store().take_over(untold);
            }
            flush.on_tick(host, worker);
        }
    }

    /// A call of the main thread was answered. It cannot be while it is being sent, since
    /// Envoy then says at once that it was not.
    pub(super) fn on_answer(&self, host: &NativeHost, id: CallId, answer: Answer) {
        if let Some(worker) = &self.worker
            && let Ok(mut flush) = self.flush.try_borrow_mut()
        {
            flush.on_answer(host, worker, id, answer);
        }
    }
}
