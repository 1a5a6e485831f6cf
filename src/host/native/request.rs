//! One request: what stands between Envoy's hooks and the driver.
//!
//! Envoy may call a hook while another of the same filter is at work: what `send_response` or
//! `continue_decoding` does may reach the response, or destroy the filter, before it returns.
//! So a request is counted, not owned, and the driver is entered once at a time.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use crate::host::native::abi::filter::Filter;
use crate::host::native::abi::{BodyStatus, HeadersStatus, TrailersStatus};
use crate::host::native::answer::Answer;
use crate::host::native::config::Config;
use crate::host::native::host::NativeHost;
use crate::host::native::local::Local;
use crate::stream::host::{Action, CallId, Direction};
use crate::stream::http_stream::HttpStream;

/// One request.
pub(super) struct Request {
    host: NativeHost,
    local: Rc<Local>,
    stream: RefCell<HttpStream<NativeHost>>,
    has_ended: Cell<bool>,
}

/// Runs what may panic. A panic ends here: it must not reach Envoy.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    // What a panic leaves behind is not used again, but for what is changed by single steps.
    catch_unwind(AssertUnwindSafe(work)).ok()
}

type Stream = HttpStream<NativeHost>;

impl Request {
    /// Returns a request of which nothing has come yet.
    pub(super) fn new(config: &Arc<Config>, filter: Filter) -> Request {
        let host = NativeHost::of_filter(config, filter);
        let local = Local::of(&host);
        let number = local.open_stream();
        let stream = HttpStream::new(host.clone(), local.worker.clone(), number);
        Request {
            host,
            local,
            stream: RefCell::new(stream),
            has_ended: Cell::new(false),
        }
    }

    /// Hands an event to the driver, and does what that leaves to be done. `None` if the driver
    /// is at work, in which case the event is one of its own making.
    fn event(&self, event: impl FnOnce(&mut Stream) -> Action) -> Option<Action> {
        let mut stream = self.stream.try_borrow_mut().ok()?;
        let action = caught(|| event(&mut stream));
        let action = action.unwrap_or_else(|| {
            let rejected = caught(|| stream.on_panic());
            rejected.unwrap_or(Action::Pause)
        });
        drop(stream);
        let _ = caught(|| self.local.hand_over(&self.host.config));
        let handle = &self.host.handle;
        if let Some(direction) = handle.resumed.take()
            && let Some(filter) = handle.filter.get()
        {
            match direction {
                Direction::Request => filter.continue_request(),
                Direction::Response => filter.continue_response(),
            }
        }
        Some(action)
    }

    /// The request's headers have come.
    pub(super) fn on_request_headers(&self, end_of_stream: bool) -> HeadersStatus {
        let action = self.event(|stream| {
            #[cfg(feature = "trap")]
            trap(&self.host, crate::host::native::abi::Map::Request);
            stream.on_request_headers(end_of_stream)
        });
        match action {
            Some(Action::Continue) => HeadersStatus::Continue,
            Some(Action::Pause) | None => HeadersStatus::StopIteration,
        }
    }

    /// More of the request's body has come.
    pub(super) fn on_request_body(&self, end_of_stream: bool) -> BodyStatus {
        let handle = &self.host.handle;
        handle.in_body_hook.set(true);
        let size = handle.body_size();
        let action = self.event(|stream| stream.on_request_body(size, end_of_stream));
        handle.in_body_hook.set(false);
        match action {
            Some(Action::Continue) => BodyStatus::Continue,
            _ if handle.is_answered.get() => BodyStatus::StopIterationNoBuffer,
            Some(Action::Pause) | None => BodyStatus::StopIterationAndBuffer,
        }
    }

    /// The request's trailers have come.
    pub(super) fn on_request_trailers(&self) -> TrailersStatus {
        match self.event(HttpStream::on_request_trailers) {
            Some(Action::Continue) => TrailersStatus::Continue,
            Some(Action::Pause) | None => TrailersStatus::StopIteration,
        }
    }

    /// The response's headers have come. Where they are held, Envoy holds the rest as well, and
    /// asks no more.
    pub(super) fn on_response_headers(&self) -> HeadersStatus {
        // The driver is at work where this is its own response.
        match self.event(|stream| {
            #[cfg(feature = "trap")]
            trap(&self.host, crate::host::native::abi::Map::Response);
            stream.on_response_headers()
        }) {
            Some(Action::Pause) if !self.host.handle.is_answered.get() => {
                HeadersStatus::StopAllIterationAndWatermark
            }
            _ => HeadersStatus::Continue,
        }
    }

    /// A call was answered.
    pub(super) fn on_call_answer(&self, id: u64, answer: Answer) {
        let Ok(id) = u32::try_from(id) else { return };
        let entered = self.event(|stream| {
            stream.on_call_answer(CallId(id), answer);
            Action::Continue
        });
        if entered.is_none() {
            self.host.handle.has_inline_answer.set(true);
        }
    }

    /// Nothing more comes of the request.
    pub(super) fn on_end(&self) {
        if self.has_ended.replace(true) {
            return;
        }
        // Where the driver is at work it has just answered, and there is nothing to settle.
        self.event(|stream| {
            stream.on_end();
            Action::Continue
        });
    }

    /// Envoy's filter is gone.
    pub(super) fn on_destroy(&self) {
        self.on_end();
        self.host.handle.filter.set(None);
    }
}

/// Panics where a test asks for it. Not in any build that is used.
#[cfg(feature = "trap")]
#[allow(clippy::panic)]
fn trap(host: &NativeHost, map: crate::host::native::abi::Map) {
    let filter = host.handle.filter.get();
    if filter
        .and_then(|filter| filter.header(map, "x-trap"))
        .is_some()
    {
        panic!("a test asks for it");
    }
}
