//! What Envoy calls: the hooks of a dynamic module with an HTTP filter.
//!
//! Envoy looks each of them up by its name when it loads the module. None lets a panic out.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use crate::host::native::abi::config::FilterConfig;
use crate::host::native::abi::filter::Filter;
use crate::host::native::abi::{self, BodyStatus, Buffer, Header, HeadersStatus, TrailersStatus};
use crate::host::native::answer::answer;
use crate::host::native::config::Config;
use crate::host::native::host::NativeHost;
use crate::host::native::local::Local;
use crate::host::native::request::{Request, caught};
use crate::stream::host::{CallId, Level};

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
    let host = NativeHost::of_config(&config);
    let loaded = Local::load(&host).and_then(|local| {
        config.loaded();
        local.publish_build(&host);
        config.start_timer(local.needs_flush(), local.place())
    });
    if let Err(problem) = loaded {
        let line = format!("twilio_webhook configuration rejected: {problem}");
        config.log(Level::Error, &line);
        return None;
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
    // SAFETY: Envoy hands over what `config_new` returned.
    let config = unsafe { counted_config(config) };
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

/// Counts a configuration once more.
///
/// # Safety
/// It came from `Arc::into_raw` in `config_new`, and is not destroyed yet.
unsafe fn counted_config(config: *const Config) -> Arc<Config> {
    // SAFETY: the caller says so.
    unsafe {
        Arc::increment_strong_count(config);
        Arc::from_raw(config)
    }
}

/// The timer has woken the main thread.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(
    _envoy: *mut c_void,
    config: *const Config,
    _event: u64,
) {
    // SAFETY: Envoy hands over what `config_new` returned.
    let config = unsafe { counted_config(config) };
    let _ = caught(|| {
        let host = NativeHost::of_config(&config);
        Local::of(&host).on_tick(&host);
        config.tell_metrics();
    });
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
    // SAFETY: Envoy hands over what `config_new` returned, and an answer that is valid during
    // this hook.
    let (config, answer) = unsafe {
        let answer = answer(result, headers, header_count, chunks, chunk_count);
        (counted_config(config), answer)
    };
    let _ = caught(|| {
        let host = NativeHost::of_config(&config);
        if let Ok(id) = u32::try_from(id) {
            Local::of(&host).on_answer(&host, CallId(id), answer);
        }
    });
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
