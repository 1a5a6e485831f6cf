//! The functions of Envoy's dynamic-module ABI that this filter calls, each with its contract.
//!
//! The declarations follow `source/extensions/dynamic_modules/abi/abi.h` of Envoy 1.40. What
//! Envoy hands over by pointer is its own and stays valid until the hook returns or the next
//! setter is called, so everything here is copied at once. The modules below make them safe to call.

pub(super) mod config;
pub(super) mod filter;
pub(super) mod metric;

use std::ffi::{CStr, c_void};
use std::ptr;

use crate::store::port::HttpCall;
use crate::stream::host::{HostError, Level};

/// The version of the ABI that these declarations are of. Envoy compares it with its own when
/// it loads the module, and warns in its log if they differ.
pub(super) const VERSION: &CStr = c"v0.2.0";

/// `envoy_dynamic_module_type_module_buffer` and `…_envoy_buffer`, which look the same: bytes
/// of whoever hands them over.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Buffer {
    ptr: *const u8,
    length: usize,
}

impl Buffer {
    const NULL: Buffer = Buffer {
        ptr: ptr::null(),
        length: 0,
    };

    fn of(bytes: &[u8]) -> Buffer {
        Buffer {
            ptr: bytes.as_ptr(),
            length: bytes.len(),
        }
    }

    /// Returns the bytes.
    ///
    /// # Safety
    /// They must be valid for `'a`, as what Envoy hands to a hook is until that returns.
    pub(super) unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.ptr.is_null() || self.length == 0 {
            return &[];
        }
        // SAFETY: the caller says so.
        unsafe { std::slice::from_raw_parts(self.ptr, self.length) }
    }
}

/// `envoy_dynamic_module_type_module_http_header` and `…_envoy_http_header`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) name: Buffer,
    pub(super) value: Buffer,
}

impl Header {
    fn of(name: &str, value: &str) -> Header {
        Header {
            name: Buffer::of(name.as_bytes()),
            value: Buffer::of(value.as_bytes()),
        }
    }
}

/// `envoy_dynamic_module_type_http_header_type`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) enum Map {
    Request = 0,
    RequestTrailers = 1,
    Response = 2,
}

/// `envoy_dynamic_module_type_http_body_type`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// What has come with this event. Only during a body's hook.
    Received = 0,
    /// What has come before and was held.
    Buffered = 1,
}

/// `envoy_dynamic_module_type_attribute_id`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) enum Attribute {
    /// `response.code_details`
    ResponseCodeDetails = 16,
    /// `source.address`
    SourceAddress = 24,
}

/// `envoy_dynamic_module_type_on_http_filter_request_headers_status`, and the same of the
/// response.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) enum HeadersStatus {
    Continue = 0,
    /// The headers are held; the body's events still come.
    StopIteration = 1,
    /// All is held, and no more events come until it is resumed.
    StopAllIterationAndWatermark = 4,
}

/// `envoy_dynamic_module_type_on_http_filter_request_body_status`, and the same of the response.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) enum BodyStatus {
    Continue = 0,
    /// The data are added to what is held.
    StopIterationAndBuffer = 1,
    /// The data are dropped.
    StopIterationNoBuffer = 3,
}

/// `envoy_dynamic_module_type_on_http_filter_request_trailers_status`, and the same of the
/// response.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) enum TrailersStatus {
    Continue = 0,
    StopIteration = 1,
}

const SUCCESS: u32 = 0;

unsafe extern "C" {
    /// Writes a line to Envoy's log under `dynamic_modules`, if `level` (0 trace to 5 critical)
    /// is switched on. From any thread.
    fn envoy_dynamic_module_callback_log(level: u32, message: Buffer);

    /// Defines a counter by its name and the names of its labels, of which there may be none.
    /// Only from within `on_http_filter_config_new`; later it is refused. 0 is success.
    fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        config: *mut c_void,
        name: Buffer,
        labels: *const Buffer,
        count: usize,
        id: *mut usize,
    ) -> u32;
    /// Defines a gauge, likewise.
    fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
        config: *mut c_void,
        name: Buffer,
        labels: *const Buffer,
        count: usize,
        id: *mut usize,
    ) -> u32;
    /// Defines a histogram, likewise.
    fn envoy_dynamic_module_callback_http_filter_config_define_histogram(
        config: *mut c_void,
        name: Buffer,
        labels: *const Buffer,
        count: usize,
        id: *mut usize,
    ) -> u32;
    /// Adds to a counter outside of a request, on the main thread. There must be as many
    /// values as it has labels. 0 is success.
    fn envoy_dynamic_module_callback_http_filter_config_increment_counter(
        config: *mut c_void,
        id: usize,
        values: *const Buffer,
        count: usize,
        by: u64,
    ) -> u32;
    /// Adds to a gauge outside of a request, likewise.
    fn envoy_dynamic_module_callback_http_filter_config_increment_gauge(
        config: *mut c_void,
        id: usize,
        values: *const Buffer,
        count: usize,
        by: u64,
    ) -> u32;
    /// Takes from a gauge, likewise.
    fn envoy_dynamic_module_callback_http_filter_config_decrement_gauge(
        config: *mut c_void,
        id: usize,
        values: *const Buffer,
        count: usize,
        by: u64,
    ) -> u32;
    /// Sets a gauge, likewise.
    fn envoy_dynamic_module_callback_http_filter_config_set_gauge(
        config: *mut c_void,
        id: usize,
        values: *const Buffer,
        count: usize,
        value: u64,
    ) -> u32;
    /// Adds a sample to a histogram, likewise.
    fn envoy_dynamic_module_callback_http_filter_config_record_histogram_value(
        config: *mut c_void,
        id: usize,
        values: *const Buffer,
        count: usize,
        value: u64,
    ) -> u32;
    /// Sets a gauge, on the request's own thread. There must be as many values as it has
    /// labels. 0 is success.
    fn envoy_dynamic_module_callback_http_filter_set_gauge(
        filter: *mut c_void,
        id: usize,
        values: *const Buffer,
        count: usize,
        value: u64,
    ) -> u32;
    /// Adds a sample to a histogram, likewise.
    fn envoy_dynamic_module_callback_http_filter_record_histogram_value(
        filter: *mut c_void,
        id: usize,
        values: *const Buffer,
        count: usize,
        value: u64,
    ) -> u32;

    /// Returns the number of headers; 0 also where that map is not there.
    fn envoy_dynamic_module_callback_http_get_headers_size(filter: *mut c_void, map: Map) -> usize;
    /// Writes as many headers to `out` as `…_get_headers_size` says, and returns whether it did.
    fn envoy_dynamic_module_callback_http_get_headers(
        filter: *mut c_void,
        map: Map,
        out: *mut Header,
    ) -> bool;
    /// Writes the `index`-th value of a header to `out`, and to `count`, which may be null, how
    /// many there are. Returns whether there is one.
    fn envoy_dynamic_module_callback_http_get_header(
        filter: *mut c_void,
        map: Map,
        name: Buffer,
        out: *mut Buffer,
        index: usize,
        count: *mut usize,
    ) -> bool;
    /// Adds a header, beside any of the same name. Returns whether it did.
    fn envoy_dynamic_module_callback_http_add_header(
        filter: *mut c_void,
        map: Map,
        name: Buffer,
        value: Buffer,
    ) -> bool;
    /// Sets a header in place of all of the same name; with a null value it removes these.
    /// Returns false where that map is not there.
    fn envoy_dynamic_module_callback_http_set_header(
        filter: *mut c_void,
        map: Map,
        name: Buffer,
        value: Buffer,
    ) -> bool;

    /// Returns the size of a body in bytes; 0 if there is none.
    fn envoy_dynamic_module_callback_http_get_body_size(filter: *mut c_void, body: Body) -> usize;
    /// Returns in how many pieces a body lies; 0 if there is none.
    fn envoy_dynamic_module_callback_http_get_body_chunks_size(
        filter: *mut c_void,
        body: Body,
    ) -> usize;
    /// Writes as many pieces to `out` as `…_chunks_size` says, and returns whether there is a
    /// body.
    fn envoy_dynamic_module_callback_http_get_body_chunks(
        filter: *mut c_void,
        body: Body,
        out: *mut Buffer,
    ) -> bool;
    /// Returns whether the body received now is what a filter in front has buffered, so that
    /// both are the same bytes.
    fn envoy_dynamic_module_callback_http_received_buffered_request_body(
        filter: *mut c_void,
    ) -> bool;

    /// Writes an attribute to `out`, and returns whether there is one and it is text.
    fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
        filter: *mut c_void,
        attribute: Attribute,
        out: *mut Buffer,
    ) -> bool;
    /// Sets what `%FILTER_STATE(key:PLAIN)%` shows, and returns whether it could be set.
    fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
        filter: *mut c_void,
        key: Buffer,
        value: Buffer,
    ) -> bool;
    /// Sets what `%DYNAMIC_METADATA(namespace:key)%` shows, and what other filters see there. Key
    /// and value are copied.
    fn envoy_dynamic_module_callback_http_set_dynamic_metadata_string(
        filter: *mut c_void,
        namespace: Buffer,
        key: Buffer,
        value: Buffer,
    );

    /// Answers the request. The response passes the filter's own response hooks, and may end
    /// and destroy the filter, before this returns.
    fn envoy_dynamic_module_callback_http_send_response(
        filter: *mut c_void,
        status: u32,
        headers: *const Header,
        count: usize,
        body: Buffer,
        details: Buffer,
    );
    /// Lets a request go on that was stopped. What follows, up to the response, may happen
    /// before this returns.
    fn envoy_dynamic_module_callback_http_filter_continue_decoding(filter: *mut c_void);
    /// Lets a response go on that was stopped, likewise.
    fn envoy_dynamic_module_callback_http_filter_continue_encoding(filter: *mut c_void);

    /// Sends an HTTP request to a cluster and writes its number to `id`. 0 is success; then
    /// `on_http_filter_http_callout_done` is called once, unless the filter is destroyed
    /// before, which ends the call.
    fn envoy_dynamic_module_callback_http_filter_http_callout(
        filter: *mut c_void,
        id: *mut u64,
        cluster: Buffer,
        headers: *const Header,
        count: usize,
        body: Buffer,
        timeout_milliseconds: u64,
    ) -> u32;
    /// Sends an HTTP request that belongs to no stream, on the main thread, and is answered by
    /// `on_http_filter_config_http_callout_done`. Likewise.
    fn envoy_dynamic_module_callback_http_filter_config_http_callout(
        config: *mut c_void,
        id: *mut u64,
        cluster: Buffer,
        headers: *const Header,
        count: usize,
        body: Buffer,
        timeout_milliseconds: u64,
    ) -> u32;

    /// Makes what wakes the main thread. It is the module's, until it deletes it.
    fn envoy_dynamic_module_callback_http_filter_config_scheduler_new(
        config: *mut c_void,
    ) -> *mut c_void;
    /// Deletes it.
    fn envoy_dynamic_module_callback_http_filter_config_scheduler_delete(scheduler: *mut c_void);
    /// Has `on_http_filter_config_scheduled` called on the main thread. From any thread.
    fn envoy_dynamic_module_callback_http_filter_config_scheduler_commit(
        scheduler: *mut c_void,
        event: u64,
    );
}

fn success(status: u32) -> Result<(), HostError> {
    if status == SUCCESS {
        Ok(())
    } else {
        Err(HostError(status))
    }
}

/// Writes a line to Envoy's log.
pub(super) fn log(level: Level, message: &str) {
    // `envoy_dynamic_module_type_log_level`
    let level = match level {
        Level::Info => 2,
        Level::Warn => 3,
        Level::Error => 4,
    };
    // SAFETY: the buffer is a slice that outlives the call, which copies it.
    unsafe { envoy_dynamic_module_callback_log(level, Buffer::of(message.as_bytes())) };
}

fn call_headers(call: &HttpCall) -> Vec<Header> {
    let headers = call.headers.iter();
    headers
        .map(|(name, value)| Header::of(name, value))
        .collect()
}
