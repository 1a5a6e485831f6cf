//! A filter that checks nothing, to measure what a filter costs as a dynamic module before it does anything.
//!
//! It keeps headers and body back until the last byte is there, as the filter has to, and then lets them go unread.

use std::ffi::{CStr, c_char, c_void};

/// The ABI of Envoy 1.40.
const VERSION: &CStr = c"v0.2.0";

/// Go on, for headers, body and trailers alike.
const CONTINUE: u32 = 0;
/// Hold the headers, or buffer the body.
const HOLD: u32 = 1;

/// Both the configuration and each stream: there is nothing to remember.
static NOTHING: u8 = 0;

fn nothing() -> *const c_void {
    (&raw const NOTHING).cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    VERSION.as_ptr()
}

/// Bytes of Envoy's.
#[repr(C)]
struct Buffer {
    bytes: *const u8,
    length: usize,
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    _envoy: *mut c_void,
    _name: Buffer,
    _config: Buffer,
) -> *const c_void {
    nothing()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_new(
    _config: *const c_void,
    _envoy: *mut c_void,
) -> *const c_void {
    nothing()
}

fn until(last: bool) -> u32 {
    if last { CONTINUE } else { HOLD }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    _envoy: *mut c_void,
    _stream: *const c_void,
    last: bool,
) -> u32 {
    until(last)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    _envoy: *mut c_void,
    _stream: *const c_void,
    last: bool,
) -> u32 {
    until(last)
}

type Pointer = *const c_void;

/// Defines hooks that do nothing.
macro_rules! unused {
    ($($hook:ident($($argument:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $hook($(_: $argument),*) {}
    )*};
}

/// Defines hooks that let everything pass.
macro_rules! passing {
    ($($hook:ident($($argument:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $hook($(_: $argument),*) -> u32 {
            CONTINUE
        }
    )*};
}

passing! {
    envoy_dynamic_module_on_http_filter_request_trailers(Pointer, Pointer);
    envoy_dynamic_module_on_http_filter_response_headers(Pointer, Pointer, bool);
    envoy_dynamic_module_on_http_filter_response_body(Pointer, Pointer, bool);
    envoy_dynamic_module_on_http_filter_response_trailers(Pointer, Pointer);
}

unused! {
    envoy_dynamic_module_on_http_filter_config_destroy(Pointer);
    envoy_dynamic_module_on_http_filter_destroy(Pointer);
    envoy_dynamic_module_on_http_filter_stream_complete(Pointer, Pointer);
    envoy_dynamic_module_on_http_filter_config_scheduled(Pointer, Pointer, u64);
    envoy_dynamic_module_on_http_filter_scheduled(Pointer, Pointer, u64);
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(Pointer, Pointer);
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(Pointer, Pointer);
    envoy_dynamic_module_on_http_filter_http_callout_done(Pointer, Pointer, u64, u32, Pointer, usize, Pointer, usize);
    envoy_dynamic_module_on_http_filter_config_http_callout_done(Pointer, Pointer, u64, u32, Pointer, usize, Pointer, usize);
    envoy_dynamic_module_on_http_filter_http_stream_headers(Pointer, Pointer, u64, Pointer, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_data(Pointer, Pointer, u64, Pointer, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_trailers(Pointer, Pointer, u64, Pointer, usize);
    envoy_dynamic_module_on_http_filter_http_stream_complete(Pointer, Pointer, u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(Pointer, Pointer, u64, u32);
}
