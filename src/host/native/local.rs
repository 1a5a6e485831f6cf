//! What one thread knows of a configuration. Envoy makes a configuration on its main thread
//! and its filters on the workers; what the driver shares is not made for several threads, so
//! each makes its own when the first request comes.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::{Arc, Weak};

use crate::cas_map::sharded::ShardedMap;
use crate::cas_map::{CasError, CasMap, Entry, Version};
use crate::host::native::calls::Mailbox;
use crate::host::native::config::Config;
use crate::host::native::host::NativeHost;
use crate::stream::flush::Flush;
use crate::stream::host::Level;
use crate::stream::startup::start;
use crate::stream::worker::Worker;

/// What one thread knows of a configuration.
pub(super) struct Local {
    /// `None` where it could not be made: then every request is rejected.
    pub(super) worker: Option<Rc<Worker>>,
    needs_flush: bool,
    /// What the store is being told: several things at once, if the last stream of this thread
    /// ends while it is being told of others. Nothing else would wake this thread.
    flushes: RefCell<Vec<Flush>>,
    mailbox: Arc<Mailbox>,
    /// How many streams there were, and how many there are.
    last_stream: Cell<u64>,
    open_streams: Cell<usize>,
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

/// Makes a configuration's worker.
pub(super) fn start_worker(host: &NativeHost) -> Result<Worker, String> {
    // A variable that is not UTF-8 is not the same as none: the loader says what it is.
    let environment =
        |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let config = &host.config;
    let memory = Rc::new(Memory(Arc::clone(&config.memory)));
    start(host, &config.json, &environment, memory, random())
}

/// Returns random bytes.
fn random() -> [u8; 24] {
    let mut bytes = [0; 24];
    for word in bytes.as_chunks_mut::<8>().0 {
        *word = RandomState::new().hash_one(0_u8).to_le_bytes();
    }
    bytes
}

impl Local {
    /// Returns what this thread knows of a configuration.
    pub(super) fn of(host: &NativeHost) -> Rc<Local> {
        type Known = (u64, Weak<Config>, Rc<Local>);
        thread_local! {
            static ALL: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
        }
        let number = host.config.number;
        let known = ALL.with_borrow(|all| {
            let mut all = all.iter();
            let found = all.find(|(own, ..)| *own == number);
            found.map(|(.., local)| Rc::clone(local))
        });
        known.unwrap_or_else(|| {
            let local = Rc::new(Local::start(host));
            ALL.with_borrow_mut(|all| {
                // Those of configurations that are gone.
                all.retain(|(_, config, _)| config.strong_count() > 0);
                all.push((number, Arc::downgrade(&host.config), Rc::clone(&local)));
            });
            local
        })
    }

    fn start(host: &NativeHost) -> Local {
        let worker = start_worker(host).inspect_err(|problem| {
            // It was good on the main thread.
            let line = format!("twilio_webhook internal: no worker can be made: {problem}");
            host.config.log(Level::Error, &line);
        });
        let worker = worker.ok().map(Rc::new);
        Local {
            needs_flush: worker
                .as_ref()
                .is_some_and(|worker| worker.filter.store().needs_flush()),
            worker,
            flushes: RefCell::default(),
            mailbox: Arc::default(),
            last_stream: Cell::new(0),
            open_streams: Cell::new(0),
        }
    }

    /// A stream begins. Returns a number that no other stream of this thread has.
    pub(super) fn open_stream(&self) -> u64 {
        self.open_streams
            .set(self.open_streams.get().saturating_add(1));
        self.last_stream.set(self.last_stream.get().wrapping_add(1));
        self.last_stream.get()
    }

    /// A stream has ended.
    pub(super) fn close_stream(&self) {
        self.open_streams
            .set(self.open_streams.get().saturating_sub(1));
    }

    /// Tells the store what it has not been told yet. There is no timer, so this rides on the
    /// events of streams.
    pub(super) fn flush(&self, host: &NativeHost) {
        let (true, Some(worker)) = (self.needs_flush, &self.worker) else {
            return;
        };
        let host = host.with_mailbox(&self.mailbox);
        let Ok(mut flushes) = self.flushes.try_borrow_mut() else {
            return;
        };
        for (id, answer) in self.mailbox.take() {
            for flush in flushes.iter_mut() {
                if flush.is_waiting_for(id) {
                    flush.on_answer(&host, worker, id, answer);
                    break;
                }
            }
        }
        let is_last = self.open_streams.get() == 0;
        if flushes.iter().any(Flush::is_waiting) && !is_last {
            // What comes meanwhile is told together, by a later event.
            return;
        }
        let idle = flushes.iter_mut().find(|flush| !flush.is_waiting());
        if let Some(flush) = idle {
            flush.on_tick(&host, worker);
        } else if flushes.len() < MAX_FLUSHES {
            let mut flush = Flush::default();
            flush.on_tick(&host, worker);
            flushes.push(flush);
        }
    }
}

/// A store that answers is told of everything long before.
const MAX_FLUSHES: usize = 16;
