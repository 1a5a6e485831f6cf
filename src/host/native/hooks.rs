//! What Envoy calls: the hooks of a dynamic module with an HTTP filter.
//!
//! Envoy looks each of them up by its name when it loads the module. None lets a panic out.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use crate::host::native::abi::{
    self, BodyStatus, Buffer, Filter, FilterConfig, Header, HeadersStatus, TrailersStatus,
};
use crate::host::native::calls::Answer;
use crate::host::native::config::Config;
use crate::host::native::host::{NativeHost, to_status};
use crate::host::native::local::start_worker;
use crate::host::native::request::{Request, caught};
use crate::store::port::{CallError, HttpResponse};
use crate::stream::host::Level;

/// The module was loaded. Returns the ABI's version that it was written for.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    // A panic's message may quote what it was about; where it was is enough.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let line = format!(
            "twilio_webhook internal: a fault at {}; that request is rejected",
            place.unwrap_or_default()
        );
        abi::log(Level::Error, &line);
    }));
    abi::VERSION.as_ptr()
}

/// A configuration is to be loaded, on the main thread. Returns null if it is rejected, which
/// keeps Envoy from starting, or an update from taking effect.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    envoy: *mut c_void,
    name: Buffer,
    config: Buffer,
) -> *const Config {
    // SAFETY: Envoy hands over what is valid during this hook, and its configuration, which is
    // until `config_destroy`.
    let (envoy, name, json) = unsafe { (FilterConfig::new(envoy), name.bytes(), config.bytes()) };
    let loaded = caught(|| load(envoy, name, json));
    loaded.flatten().map_or(ptr::null(), Arc::into_raw)
}

fn load(envoy: FilterConfig, name: &[u8], json: &[u8]) -> Option<Arc<Config>> {
    let config = Arc::new(Config::new(envoy, name, json));
    match start_worker(&NativeHost::of_config(&config)) {
        Ok(worker) => config.loaded(worker.filter.store().needs_flush()),
        Err(problem) => {
            let line = format!("twilio_webhook configuration rejected: {problem}");
            config.log(Level::Error, &line);
            return None;
        }
    }
    Some(config)
}

/// A configuration is no longer used.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(config: *const Config) {
    // SAFETY: it came from `Arc::into_raw` in `config_new`, and is destroyed once.
    let config = unsafe { Arc::from_raw(config) };
    let _ = caught(|| {
        config.closed();
        drop(config);
    });
}

/// A stream begins, on a worker. Returns null if that cannot be, which ends the stream.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_new(
    config: *const Config,
    envoy: *mut c_void,
) -> *const Request {
    // SAFETY: it came from `Arc::into_raw` in `config_new`, and is not destroyed while it has
    // streams.
    let config = unsafe {
        Arc::increment_strong_count(config);
        Arc::from_raw(config)
    };
    // SAFETY: Envoy's filter is alive until `http_filter_destroy`, which has it forgotten.
    let filter = unsafe { Filter::new(envoy) };
    let request = caught(|| Rc::into_raw(Rc::new(Request::new(&config, filter))));
    request.unwrap_or(ptr::null())
}

/// Counts a request once more, so that it stays while a hook is at work, even if it is destroyed.
///
/// # Safety
/// It came from `Rc::into_raw` in `http_filter_new`, and is not destroyed yet.
unsafe fn counted(request: *const Request) -> Rc<Request> {
    // SAFETY: the caller says so; Envoy calls all hooks of a stream on one thread.
    unsafe {
        Rc::increment_strong_count(request);
        Rc::from_raw(request)
    }
}

/// The request's headers have come.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    _envoy: *mut c_void,
    request: *const Request,
    end_of_stream: bool,
) -> HeadersStatus {
    // SAFETY: Envoy hands over what `http_filter_new` returned.
    let request = unsafe { counted(request) };
    request.on_request_headers(end_of_stream)
}

/// More of the request's body has come.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    _envoy: *mut c_void,
    request: *const Request,
    end_of_stream: bool,
) -> BodyStatus {
    // SAFETY: Envoy hands over what `http_filter_new` returned.
    let request = unsafe { counted(request) };
    request.on_request_body(end_of_stream)
}

/// The request's trailers have come.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    _envoy: *mut c_void,
    request: *const Request,
) -> TrailersStatus {
    // SAFETY: Envoy hands over what `http_filter_new` returned.
    let request = unsafe { counted(request) };
    request.on_request_trailers()
}

/// The response's headers have come.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    _envoy: *mut c_void,
    request: *const Request,
    _end_of_stream: bool,
) -> HeadersStatus {
    // SAFETY: Envoy hands over what `http_filter_new` returned.
    let request = unsafe { counted(request) };
    request.on_response_headers()
}

/// More of the response's body has come, which is none of the filter's business.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    _envoy: *mut c_void,
    _request: *const Request,
    _end_of_stream: bool,
) -> BodyStatus {
    BodyStatus::Continue
}

/// The response's trailers have come, likewise.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
    _envoy: *mut c_void,
    _request: *const Request,
) -> TrailersStatus {
    TrailersStatus::Continue
}

/// Nothing more comes of the stream. Its access log is still to be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(
    _envoy: *mut c_void,
    request: *const Request,
) {
    // SAFETY: Envoy hands over what `http_filter_new` returned.
    let request = unsafe { counted(request) };
    request.on_end();
}

/// Envoy's filter is about to go.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_destroy(request: *const Request) {
    // SAFETY: it came from `Rc::into_raw` in `http_filter_new`, and is destroyed once. A hook
    // that is at work has counted it, too.
    let request = unsafe { Rc::from_raw(request) };
    let _ = caught(|| {
        request.on_destroy();
        drop(request);
    });
}

/// Copies the answer to a call.
///
/// # Safety
/// Headers and chunks are as many as is said, and valid.
unsafe fn answer(
    result: u32,
    headers: *const Header,
    header_count: usize,
    chunks: *const Buffer,
    chunk_count: usize,
) -> Answer {
    // `envoy_dynamic_module_type_http_callout_result`: 0 is success.
    if result != 0 || headers.is_null() {
        return Err(CallError::NoResponse);
    }
    // SAFETY: the caller says so.
    let headers = unsafe { std::slice::from_raw_parts(headers, header_count) };
    // SAFETY: what is in them is valid as well.
    let mut pairs = headers
        .iter()
        .map(|header| unsafe { (header.name.bytes(), header.value.bytes()) });
    let status = pairs.find(|(name, _)| *name == b":status");
    let status = status.and_then(|(_, value)| to_status(value)).unwrap_or(0);
    let mut body = Vec::new();
    if !chunks.is_null() {
        // SAFETY: the caller says so.
        for chunk in unsafe { std::slice::from_raw_parts(chunks, chunk_count) } {
            // SAFETY: what is in it is valid as well.
            let bytes = unsafe { chunk.bytes() };
            if body.len().saturating_add(bytes.len()) > HttpResponse::MAX_BODY_BYTES {
                return Ok(HttpResponse { status, body: None });
            }
            body.extend_from_slice(bytes);
        }
    }
    Ok(HttpResponse {
        status,
        body: Some(body),
    })
}

/// A stream's call was answered.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_http_callout_done(
    _envoy: *mut c_void,
    request: *const Request,
    id: u64,
    result: u32,
    headers: *const Header,
    header_count: usize,
    chunks: *const Buffer,
    chunk_count: usize,
) {
    // SAFETY: Envoy hands over what `http_filter_new` returned, and an answer that is valid
    // during this hook.
    let (request, answer) = unsafe {
        let answer = answer(result, headers, header_count, chunks, chunk_count);
        (counted(request), answer)
    };
    request.on_call_answer(id, answer);
}

/// A worker has left calls for the main thread.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(
    _envoy: *mut c_void,
    config: *const Config,
    _event: u64,
) {
    // SAFETY: Envoy hands over what `config_new` returned, and does not destroy it meanwhile.
    let config = unsafe { &*config };
    let _ = caught(|| config.calls.send(config.envoy));
}

/// A call of the main thread was answered.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_http_callout_done(
    _envoy: *mut c_void,
    config: *const Config,
    id: u64,
    result: u32,
    headers: *const Header,
    header_count: usize,
    chunks: *const Buffer,
    chunk_count: usize,
) {
    // SAFETY: Envoy hands over what `config_new` returned, does not destroy it meanwhile, and
    // an answer that is valid during this hook.
    let (config, answer) = unsafe {
        let answer = answer(result, headers, header_count, chunks, chunk_count);
        (&*config, answer)
    };
    let _ = caught(|| config.calls.answered(id, answer));
}

/// Defines hooks that Envoy looks up and that this filter has no use for.
macro_rules! unused {
    ($($hook:ident($($argument:ty),*);)*) => {$(
        /// Does nothing.
        #[unsafe(no_mangle)]
        extern "C" fn $hook($(_: $argument),*) {}
    )*};
}

unused! {
    envoy_dynamic_module_on_http_filter_scheduled(*mut c_void, *const Request, u64);
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(*mut c_void, *const Request);
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(*mut c_void, *const Request);
    envoy_dynamic_module_on_http_filter_http_stream_headers(*mut c_void, *const Request, u64, *const Header, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_data(*mut c_void, *const Request, u64, *const Buffer, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_trailers(*mut c_void, *const Request, u64, *const Header, usize);
    envoy_dynamic_module_on_http_filter_http_stream_complete(*mut c_void, *const Request, u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(*mut c_void, *const Request, u64, u32);
}
