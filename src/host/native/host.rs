//! The driver's `Host` by the functions of Envoy.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::host::native::abi::filter::Filter;
use crate::host::native::abi::{self, Attribute, Body, Map};
use crate::host::native::config::Config;
use crate::host::process::{self, to_status};
use crate::store::port::HttpCall;
use crate::stream::host::{
    CallId, Direction, HeaderBlock, Host, HostError, Level, LocalResponse, Metric, MetricKind,
};

/// Envoy, as seen by one stream, or by the main thread where there is none.
#[derive(Clone)]
pub(super) struct NativeHost {
    pub(super) config: Arc<Config>,
    pub(super) handle: Rc<Handle>,
}

/// What a stream's host knows of its filter.
#[derive(Default)]
pub(super) struct Handle {
    /// `None` once it is destroyed, and where there is no stream.
    pub(super) filter: Cell<Option<Filter>>,
    /// Whether this is the main thread, and there never was a stream.
    is_config: Cell<bool>,
    /// Whether this is a hook for the request's body, which alone shows what was received.
    pub(super) in_body_hook: Cell<bool>,
    /// Whether the request was answered here.
    pub(super) is_answered: Cell<bool>,
    /// Whether a call was answered while it was being sent.
    pub(super) has_inline_answer: Cell<bool>,
    /// What is to be resumed when the driver has returned.
    pub(super) resumed: Cell<Option<Direction>>,
}

/// On whose behalf Envoy is asked.
enum Scope {
    Stream(Filter),
    /// The main thread's.
    Config,
}

impl Handle {
    fn scope(&self) -> Result<Scope, HostError> {
        if self.is_config.get() {
            Ok(Scope::Config)
        } else {
            self.filter().map(Scope::Stream)
        }
    }

    fn filter(&self) -> Result<Filter, HostError> {
        self.filter.get().ok_or(GONE)
    }

    /// Returns the parts of the request's body that there are, in their order.
    fn body_parts(&self, filter: Filter) -> &'static [Body] {
        match self.in_body_hook.get() {
            false => &[Body::Buffered],
            true if filter.receives_buffered_body() => &[Body::Received],
            true => &[Body::Buffered, Body::Received],
        }
    }

    /// Returns how much of the request's body has come.
    pub(super) fn body_size(&self) -> usize {
        self.filter().map_or(0, |filter| {
            let parts = self.body_parts(filter).iter();
            parts.map(|part| filter.body_size(*part)).sum()
        })
    }
}

/// There is no stream, or none any more.
const GONE: HostError = HostError(u32::MAX);

impl HeaderBlock for abi::filter::Headers {
    fn pairs(&self) -> Option<Vec<(&[u8], &[u8])>> {
        abi::filter::Headers::pairs(self)
    }
}

impl NativeHost {
    /// Returns the host of the main thread.
    pub(super) fn of_config(config: &Arc<Config>) -> NativeHost {
        let host = NativeHost {
            config: Arc::clone(config),
            handle: Rc::default(),
        };
        host.handle.is_config.set(true);
        host
    }

    /// Returns the host of a stream.
    pub(super) fn of_filter(config: &Arc<Config>, filter: Filter) -> NativeHost {
        let host = NativeHost {
            config: Arc::clone(config),
            handle: Rc::default(),
        };
        host.handle.filter.set(Some(filter));
        host
    }
}

impl Host for NativeHost {
    type Headers = abi::filter::Headers;

    const NAME: &'static str = "native";

    const ABI: &'static str = match abi::VERSION.to_str() {
        Ok(version) => version,
        Err(_) => "",
    };

    fn now(&self) -> Duration {
        process::now()
    }

    fn log(&self, level: Level, line: &str) {
        self.config.log(level, line);
    }

    fn define_metric(
        &self,
        kind: MetricKind,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<Metric, HostError> {
        match self.config.metrics() {
            Some(metrics) => metrics.find(name, labels).ok_or(GONE),
            None => {
                let mut metrics = self.config.new_metrics();
                metrics.define(self.config.envoy, kind, name, labels)
            }
        }
    }

    /// Envoy shows it after [`PERIOD`](crate::stream::flush::PERIOD) at the latest.
    fn increment(&self, metric: Metric, by: i64) {
        if let Some(metrics) = self.config.metrics() {
            metrics.add(metric, by);
        }
    }

    fn record(&self, metric: Metric, value: u64) {
        let Some(metric) = self.config.metrics().and_then(|all| all.get(metric)) else {
            return;
        };
        match self.handle.scope() {
            Ok(Scope::Stream(filter)) => filter.record(metric, value),
            Ok(Scope::Config) => self.config.envoy.record(metric, value),
            Err(_) => {}
        }
    }

    fn call(&self, call: &HttpCall) -> Result<CallId, HostError> {
        self.handle.has_inline_answer.set(false);
        let id = match self.handle.scope()? {
            Scope::Stream(filter) => filter.call(call)?,
            Scope::Config => self.config.envoy.call(call)?,
        };
        if self.handle.has_inline_answer.take() {
            // It is over already, and nothing more comes of it.
            return Err(GONE);
        }
        u32::try_from(id).map(CallId).map_err(|_| GONE)
    }

    fn request_headers(&self) -> Result<abi::filter::Headers, HostError> {
        self.handle.filter()?.headers(Map::Request)
    }

    fn request_trailers(&self) -> Result<abi::filter::Headers, HostError> {
        self.handle.filter()?.headers(Map::RequestTrailers)
    }

    fn request_header(&self, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        Ok(self.handle.filter()?.header(Map::Request, name))
    }

    fn add_request_header(&self, name: &str, value: &str) -> Result<(), HostError> {
        self.handle.filter()?.add_header(Map::Request, name, value)
    }

    fn remove_request_header(&self, name: &[u8]) -> Result<(), HostError> {
        self.handle.filter()?.remove_header(Map::Request, name)
    }

    fn remove_request_trailer(&self, name: &[u8]) -> Result<(), HostError> {
        let filter = self.handle.filter()?;
        filter.remove_header(Map::RequestTrailers, name)
    }

    fn client_address(&self) -> Result<Vec<u8>, HostError> {
        let address = self.handle.filter()?.attribute(Attribute::SourceAddress);
        Ok(address.unwrap_or_default())
    }

    fn request_body(&self, size: usize) -> Result<Vec<u8>, HostError> {
        let filter = self.handle.filter()?;
        let mut body = Vec::with_capacity(size);
        for part in self.handle.body_parts(filter) {
            filter.copy_body(*part, &mut body);
        }
        if body.len() == size {
            Ok(body)
        } else {
            Err(GONE)
        }
    }

    /// Every body is shown to a dynamic module, so there is none that was not.
    fn received_body_bytes(&self) -> Option<u64> {
        None
    }

    fn response_status(&self) -> Option<u16> {
        let filter = self.handle.filter().ok()?;
        to_status(&filter.header(Map::Response, ":status")?)
    }

    fn is_upstream_response(&self) -> bool {
        let filter = self.handle.filter().ok();
        let details = filter.and_then(|filter| filter.attribute(Attribute::ResponseCodeDetails));
        details.is_none_or(|details| details == b"via_upstream")
    }

    /// The access log shows it as filter state `twilio_webhook_verdict`, and as dynamic metadata,
    /// which filters and policies behind this one can decide by.
    fn set_verdict(&self, name: &str) -> Result<(), HostError> {
        let filter = self.handle.filter()?;
        filter.set_dynamic_metadata("twilio_webhook", "verdict", name);
        filter.set_filter_state("twilio_webhook_verdict", name)
    }

    fn send_local_response(&self, response: &LocalResponse<'_>) -> Result<(), HostError> {
        if self.handle.is_answered.replace(true) {
            return Err(GONE);
        }
        self.handle.filter()?.send_response(response);
        Ok(())
    }

    /// Only notes it: what Envoy does then may call the filter again, while the driver is still
    /// at work here.
    fn resume(&self, direction: Direction) -> Result<(), HostError> {
        self.handle.resumed.set(Some(direction));
        Ok(())
    }
}
