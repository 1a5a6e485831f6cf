//! One for each request: the SDK's callbacks.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types;

use crate::host::wasm::host::WasmHost;
use crate::stream::host::{Action, CallId};
use crate::stream::http_stream::HttpStream;

/// One request.
pub(super) struct Http {
    pub(super) host: WasmHost,
    pub(super) stream: HttpStream<WasmHost>,
}

fn to_sdk(action: Action) -> types::Action {
    match action {
        Action::Continue => types::Action::Continue,
        Action::Pause => types::Action::Pause,
    }
}

/// Ends this worker's VM where a test asks for it. Not in any build that is used.
#[cfg(feature = "trap")]
fn trap(map: crate::host::wasm::abi::Map) {
    let header = crate::host::wasm::abi::header(map, "x-trap");
    if header.ok().flatten().is_some() {
        std::process::abort();
    }
}

impl Context for Http {
    fn on_http_call_response(
        &mut self,
        token: u32,
        headers: usize,
        body_size: usize,
        _trailers: usize,
    ) {
        let answer = self.host.answer(headers, body_size);
        self.stream.on_call_answer(CallId(token), answer);
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> types::Action {
        #[cfg(feature = "trap")]
        trap(crate::host::wasm::abi::Map::Request);
        to_sdk(self.stream.on_request_headers(end_of_stream))
    }

    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> types::Action {
        to_sdk(self.stream.on_request_body(body_size, end_of_stream))
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> types::Action {
        to_sdk(self.stream.on_request_trailers())
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> types::Action {
        #[cfg(feature = "trap")]
        trap(crate::host::wasm::abi::Map::Response);
        to_sdk(self.stream.on_response_headers())
    }

    fn on_http_response_body(&mut self, _size: usize, _end_of_stream: bool) -> types::Action {
        to_sdk(self.stream.on_response_data())
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> types::Action {
        to_sdk(self.stream.on_response_data())
    }
}

/// The SDK has no callback for the end of a stream but `on_log`, which would cost Envoy an entry
/// into the module for each request. It drops the stream when Envoy deletes it.
impl Drop for Http {
    fn drop(&mut self) {
        self.stream.on_end();
    }
}

unsafe extern "C" {
    /// The SDK's callback, which calls [`Http::on_http_response_headers`].
    #[link_name = "proxy_on_response_headers"]
    fn sdk_on_response_headers(context: u32, count: usize, end_of_stream: bool) -> u32;
}

/// Envoy's `StopAllIterationAndBuffer`, which [`types::Action`] does not have. Of a response that
/// is longer than what Envoy may hold it does what it does where each part is held.
const STOP_ALL: u32 = 3;

/// Does what the SDK's callback does, but holds all of a response at once, so that Envoy need not
/// ask for each part. `scripts/finish` exports it in that callback's place; it is not called in a
/// module that was built without.
#[unsafe(no_mangle)]
extern "C" fn finished_on_response_headers(context: u32, count: usize, end_of_stream: bool) -> u32 {
    // SAFETY: the SDK defines it with this signature, but for the result, an enum of this size,
    // and it has no conditions.
    match unsafe { sdk_on_response_headers(context, count, end_of_stream) } {
        0 => 0,
        _ => STOP_ALL,
    }
}
