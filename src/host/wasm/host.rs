//! The driver's `Host` by the functions of proxy-wasm.

use std::time::Duration;

use proxy_wasm::hostcalls::dispatch_http_call;

use crate::host::process::{self, to_status};
use crate::host::wasm::abi::{self, Buffer, Map};
use crate::store::port::{CallError, HttpCall, HttpResponse};
use crate::stream::host::{
    CallId, Direction, HeaderBlock, Host, HostError, Level, LocalResponse, Metric, MetricKind,
};

/// The context whose callback this is, and the root context of its worker.
///
/// Calls are sent on behalf of the root context, whichever context asks. Envoy ends the calls of a
/// stream with the stream, and then never calls back: a client who hangs up again and again
/// would close a connection to the store each time, and leave an entry in the SDK's list of
/// calls each time, for ever. A call of the root context always ends with an answer, which
/// the SDK hands to the context that asked, if that is still there.
#[derive(Clone, Copy)]
pub(super) struct WasmHost {
    pub(super) root: u32,
    pub(super) context: u32,
}

impl WasmHost {
    /// Returns the answer to a call. `headers` and `body_size` are what Envoy says of it;
    /// without headers there is none.
    pub(super) fn answer(
        self,
        headers: usize,
        body_size: usize,
    ) -> Result<HttpResponse, CallError> {
        if headers == 0 {
            return Err(CallError::NoResponse);
        }
        // The answer belongs to the context on whose behalf it was asked for.
        let answer = abi::set_effective_context(self.root)
            .ok()
            .and_then(|()| read_answer(body_size));
        // If that fails, what follows would be done to another stream.
        let is_back = abi::set_effective_context(self.context);
        answer
            .filter(|_| is_back.is_ok())
            .ok_or(CallError::NoResponse)
    }
}

fn read_answer(body_size: usize) -> Option<HttpResponse> {
    let status = abi::header(Map::CallResponse, ":status").ok().flatten();
    let status = status.as_deref().and_then(to_status);
    let body = if body_size <= HttpResponse::MAX_BODY_BYTES {
        Some(abi::whole_buffer(Buffer::CallResponseBody, body_size).ok()?)
    } else {
        None
    };
    Some(HttpResponse {
        status: status.unwrap_or(0),
        body,
    })
}

/// Headers as the host serialises them.
pub(super) struct Serialised(Vec<u8>);

impl HeaderBlock for Serialised {
    fn pairs(&self) -> Option<Vec<(&[u8], &[u8])>> {
        abi::pairs(&self.0)
    }
}

impl Host for WasmHost {
    type Headers = Serialised;

    const NAME: &'static str = "wasm";

    const ABI: &'static str = "0.2.1";

    fn now(&self) -> Duration {
        process::now()
    }

    fn log(&self, level: Level, line: &str) {
        abi::log(level, line);
    }

    /// Envoy gives a metric of a wasm filter labels only by a pattern in its name
    /// (`stats_tags` in the bootstrap; see `envoy/envoy.yaml`), so they are part of the name.
    fn define_metric(
        &self,
        kind: MetricKind,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<Metric, HostError> {
        let mut name = name.to_owned();
        for (label, value) in labels {
            name.extend([".", *label, ".", *value]);
        }
        abi::define_metric(kind, &name)
    }

    fn increment(&self, metric: Metric, by: i64) {
        abi::increment(metric, by);
    }

    fn record(&self, metric: Metric, value: u64) {
        abi::record(metric, value);
    }

    fn call(&self, call: &HttpCall) -> Result<CallId, HostError> {
        let headers = call.headers.iter();
        let headers = headers
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let timeout = Duration::from_millis(call.timeout.0);
        abi::set_effective_context(self.root)?;
        let id = dispatch_http_call(&call.cluster, headers, Some(&call.body), vec![], timeout);
        abi::set_effective_context(self.context)?;
        id.map(CallId).map_err(|status| HostError(status as u32))
    }

    fn request_headers(&self) -> Result<Serialised, HostError> {
        abi::headers(Map::Request).map(Serialised)
    }

    fn request_trailers(&self) -> Result<Serialised, HostError> {
        abi::headers(Map::RequestTrailers).map(Serialised)
    }

    fn request_header(&self, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        abi::header(Map::Request, name)
    }

    fn add_request_header(&self, name: &str, value: &str) -> Result<(), HostError> {
        abi::add(Map::Request, name, value)
    }

    fn remove_request_header(&self, name: &[u8]) -> Result<(), HostError> {
        abi::remove(Map::Request, name)
    }

    fn remove_request_trailer(&self, name: &[u8]) -> Result<(), HostError> {
        abi::remove(Map::RequestTrailers, name)
    }

    fn client_address(&self) -> Result<Vec<u8>, HostError> {
        Ok(abi::property("source\0address")?.unwrap_or_default())
    }

    fn request_body(&self, size: usize) -> Result<Vec<u8>, HostError> {
        abi::whole_buffer(Buffer::RequestBody, size)
    }

    /// `request.size` is what the client has announced; this is what came.
    fn received_body_bytes(&self) -> Option<u64> {
        let total = abi::property("request\0total_size").ok().flatten()?;
        let total = u64::from_le_bytes(total.try_into().ok()?);
        let headers = self.request_headers().ok()?;
        let size = |(name, value): &(&[u8], &[u8])| (name.len() + value.len()) as u64;
        Some(total.saturating_sub(headers.pairs()?.iter().map(size).sum()))
    }

    fn response_status(&self) -> Option<u16> {
        let status = abi::header(Map::Response, ":status").ok().flatten();
        status.as_deref().and_then(to_status)
    }

    fn is_upstream_response(&self) -> bool {
        let details = abi::property("response\0code_details").ok().flatten();
        details.is_none_or(|details| details == b"via_upstream")
    }

    /// The access log shows it as filter state `wasm.twilio_webhook_verdict`.
    fn set_verdict(&self, name: &str) -> Result<(), HostError> {
        abi::set_property("twilio_webhook_verdict", name)
    }

    fn send_local_response(&self, response: &LocalResponse<'_>) -> Result<(), HostError> {
        abi::send_local_response(response)
    }

    fn resume(&self, direction: Direction) -> Result<(), HostError> {
        abi::resume(direction)
    }
}
