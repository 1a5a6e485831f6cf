//! One for each worker: configuration, timer, and a context for each request.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::host::process::{random, variable};
use crate::host::wasm::abi::{self, Buffer};
use crate::host::wasm::host::WasmHost;
use crate::host::wasm::http::Http;
use crate::host::wasm::shared_data::SharedData;
use crate::stream::flush::{Flush, PERIOD};
use crate::stream::host::{CallId, Host, Level};
use crate::stream::http_stream::HttpStream;
use crate::stream::startup::start;
use crate::stream::worker::Worker;

thread_local! {
    /// The configurations of this VM.
    static WORKERS: RefCell<Vec<Rc<Worker>>> = const { RefCell::new(Vec::new()) };
}

/// The root context of a worker.
pub(super) struct Root {
    host: WasmHost,
    /// What its requests share, once it is configured.
    worker: Option<Rc<Worker>>,
    flush: Flush,
}

impl Root {
    pub(super) fn new(context: u32) -> Root {
        Root {
            host: WasmHost {
                root: context,
                context,
            },
            worker: None,
            flush: Flush::default(),
        }
    }

    /// Ends a configuration. What its store has not been told yet is left to that of another one
    /// in this VM with the same place, or counted as lost.
    #[inline(never)]
    fn end(&mut self) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        self.flush.end(self.host.now().into());
        let store = worker.filter.store();
        let untold = store.hand_over();
        WORKERS.with_borrow_mut(|workers| {
            let is_own = |other: &Rc<Worker>| Rc::ptr_eq(other, &worker);
            if let Some(own) = workers.iter().position(is_own) {
                workers.swap_remove(own);
            }
            let Some(mut untold) = untold else { return };
            untold.is_inherited = true;
            let mut others = workers.iter().map(|other| other.filter.store());
            match others.find(|other| other.place() == store.place()) {
                Some(heir) => heir.take_over(untold),
                None => worker.count_lost(&self.host, &untold),
            }
        });
        store.close();
        worker.report(&self.host);
    }

    fn configure(&self) -> Result<Worker, String> {
        let json = abi::buffer(Buffer::PluginConfiguration, usize::MAX)
            .map_err(|error| format!("the configuration cannot be read ({error:?})"))?;
        let memory = Rc::new(SharedData);
        let worker = start(&self.host, &json, &variable, memory, random())?;
        worker.publish_build(&self.host);
        if worker.filter.store().needs_flush() {
            let period = u32::try_from(PERIOD.as_millis()).unwrap_or(u32::MAX);
            abi::set_tick_period(period)
                .map_err(|error| format!("there is no timer ({error:?})"))?;
        }
        Ok(worker)
    }
}

/// The configuration is no longer used, and all its requests have ended. (The SDK has a callback for
/// that, which Envoy would enter for each request, too.)
impl Drop for Root {
    fn drop(&mut self) {
        self.end();
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
        if let Some(worker) = &self.worker {
            let answer = self.host.answer(headers, body_size);
            self.flush
                .on_answer(&self.host, worker, CallId(token), answer);
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match self.configure() {
            Ok(worker) => {
                self.end();
                let worker = Rc::new(worker);
                WORKERS.with_borrow_mut(|workers| workers.push(Rc::clone(&worker)));
                self.worker = Some(worker);
            }
            Err(problem) => {
                let line = format!("twilio_webhook configuration rejected: {problem}");
                abi::log(Level::Error, &line);
                return false;
            }
        }
        true
    }

    fn on_tick(&mut self) {
        if let Some(worker) = &self.worker {
            self.flush.on_tick(&self.host, worker);
        }
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        let host = WasmHost {
            context,
            ..self.host
        };
        // Without a configuration every request is rejected.
        let worker = self.worker.clone();
        Some(Box::new(Http {
            host,
            stream: HttpStream::new(host, worker, u64::from(context)),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
