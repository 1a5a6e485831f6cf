//! The functions of Envoy's dynamic-module ABI that this filter calls, each with its contract.
//!
//! The declarations follow `source/extensions/dynamic_modules/abi/abi.h` of Envoy 1.40. What
//! Envoy hands over by pointer is its own and stays valid until the hook returns or the next
//! setter is called, so everything here is copied at once.

use std::ffi::{CStr, c_void};
use std::ptr;

use crate::store::port::HttpCall;
use crate::stream::host::{HostError, Level, LocalResponse, MetricKind};

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

/// As many headers or chunks as there usually are.
const USUAL: usize = 32;

/// Hands room for `count` items to `work`: on the stack, for as many as there usually are.
fn with_room<T: Copy, R>(count: usize, empty: T, work: impl FnOnce(&mut [T]) -> R) -> R {
    let mut usual = [empty; USUAL];
    match usual.get_mut(..count) {
        Some(room) => work(room),
        None => work(&mut vec![empty; count]),
    }
}

fn done(is_done: bool) -> Result<(), HostError> {
    if is_done { Ok(()) } else { Err(HostError(0)) }
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

/// Envoy's filter of one stream.
#[derive(Clone, Copy)]
pub(super) struct Filter(*mut c_void);

/// Headers, copied out of Envoy's memory in one piece.
pub(super) struct Headers {
    bytes: Vec<u8>,
    /// Of each header the sizes of name and value.
    sizes: Vec<(usize, usize)>,
}

impl Headers {
    /// Returns names and values, in their order.
    pub(super) fn pairs(&self) -> Option<Vec<(&[u8], &[u8])>> {
        let mut rest = self.bytes.as_slice();
        let mut take = |size| {
            let (taken, after) = rest.split_at_checked(size)?;
            rest = after;
            Some(taken)
        };
        let mut pairs = Vec::with_capacity(self.sizes.len());
        for (name, value) in &self.sizes {
            pairs.push((take(*name)?, take(*value)?));
        }
        Some(pairs)
    }
}

impl Filter {
    /// Takes the pointer that a hook was handed.
    ///
    /// # Safety
    /// It is Envoy's, of the hook that runs on this thread, and what is made of it is not used
    /// after `on_http_filter_destroy` for that filter.
    pub(super) unsafe fn new(filter: *mut c_void) -> Filter {
        Filter(filter)
    }

    /// Returns all headers.
    pub(super) fn headers(self, map: Map) -> Result<Headers, HostError> {
        // SAFETY: the filter is alive, see `new`.
        let count = unsafe { envoy_dynamic_module_callback_http_get_headers_size(self.0, map) };
        let mut headers = Headers {
            bytes: Vec::new(),
            sizes: Vec::with_capacity(count),
        };
        if count == 0 {
            return Ok(headers);
        }
        let empty = Header {
            name: Buffer::NULL,
            value: Buffer::NULL,
        };
        with_room(count, empty, |found| {
            // SAFETY: there is room for just as many as there are.
            done(unsafe {
                envoy_dynamic_module_callback_http_get_headers(self.0, map, found.as_mut_ptr())
            })?;
            let size = |header: &Header| header.name.length.saturating_add(header.value.length);
            headers.bytes.reserve_exact(found.iter().map(size).sum());
            for Header { name, value } in found {
                // SAFETY: they are valid until the next setter, and copied before.
                let (name, value) = unsafe { (name.bytes(), value.bytes()) };
                headers.bytes.extend_from_slice(name);
                headers.bytes.extend_from_slice(value);
                headers.sizes.push((name.len(), value.len()));
            }
            Ok(headers)
        })
    }

    /// Returns the first value of a header.
    pub(super) fn header(self, map: Map, name: &str) -> Option<Vec<u8>> {
        let mut value = Buffer::NULL;
        // SAFETY: the filter is alive; name and value outlive the call; the count is optional.
        let is_found = unsafe {
            envoy_dynamic_module_callback_http_get_header(
                self.0,
                map,
                Buffer::of(name.as_bytes()),
                &raw mut value,
                0,
                ptr::null_mut(),
            )
        };
        // SAFETY: it is valid until the next setter, and copied before.
        is_found.then(|| unsafe { value.bytes() }.to_vec())
    }

    /// Adds a header.
    pub(super) fn add_header(self, map: Map, name: &str, value: &str) -> Result<(), HostError> {
        let (name, value) = (Buffer::of(name.as_bytes()), Buffer::of(value.as_bytes()));
        // SAFETY: the filter is alive; name and value outlive the call, which copies them.
        done(unsafe { envoy_dynamic_module_callback_http_add_header(self.0, map, name, value) })
    }

    /// Removes a header or trailer, however often it is there.
    pub(super) fn remove_header(self, map: Map, name: &[u8]) -> Result<(), HostError> {
        // SAFETY: as in `add_header`.
        done(unsafe {
            envoy_dynamic_module_callback_http_set_header(
                self.0,
                map,
                Buffer::of(name),
                Buffer::NULL,
            )
        })
    }

    /// Returns the size of a body.
    pub(super) fn body_size(self, body: Body) -> usize {
        // SAFETY: the filter is alive.
        unsafe { envoy_dynamic_module_callback_http_get_body_size(self.0, body) }
    }

    /// Appends a body to `to`.
    pub(super) fn copy_body(self, body: Body, to: &mut Vec<u8>) {
        // SAFETY: the filter is alive.
        let count =
            unsafe { envoy_dynamic_module_callback_http_get_body_chunks_size(self.0, body) };
        if count == 0 {
            return;
        }
        with_room(count, Buffer::NULL, |chunks| {
            // SAFETY: there is room for just as many as there are.
            let is_done = unsafe {
                let out = chunks.as_mut_ptr();
                envoy_dynamic_module_callback_http_get_body_chunks(self.0, body, out)
            };
            for chunk in chunks.iter().filter(|_| is_done) {
                // SAFETY: it is valid until the next setter, and copied before.
                to.extend_from_slice(unsafe { chunk.bytes() });
            }
        });
    }

    /// Returns whether the body received now is the buffered one.
    pub(super) fn receives_buffered_body(self) -> bool {
        // SAFETY: the filter is alive.
        unsafe { envoy_dynamic_module_callback_http_received_buffered_request_body(self.0) }
    }

    /// Returns an attribute, if there is one.
    pub(super) fn attribute(self, attribute: Attribute) -> Option<Vec<u8>> {
        let mut value = Buffer::NULL;
        // SAFETY: the filter is alive, and the value outlives the call.
        let is_found = unsafe {
            envoy_dynamic_module_callback_http_filter_get_attribute_string(
                self.0,
                attribute,
                &raw mut value,
            )
        };
        // SAFETY: it is valid until the next setter, and copied before.
        is_found.then(|| unsafe { value.bytes() }.to_vec())
    }

    /// Sets what the access log shows under a key.
    pub(super) fn set_filter_state(self, key: &str, value: &str) -> Result<(), HostError> {
        // SAFETY: the filter is alive; key and value outlive the call, which copies them.
        done(unsafe {
            envoy_dynamic_module_callback_http_set_filter_state_bytes(
                self.0,
                Buffer::of(key.as_bytes()),
                Buffer::of(value.as_bytes()),
            )
        })
    }

    /// Sets what other filters and the access log find as dynamic metadata.
    pub(super) fn set_dynamic_metadata(self, namespace: &str, key: &str, value: &str) {
        // SAFETY: the filter is alive; all three outlive the call, which copies them.
        unsafe {
            envoy_dynamic_module_callback_http_set_dynamic_metadata_string(
                self.0,
                Buffer::of(namespace.as_bytes()),
                Buffer::of(key.as_bytes()),
                Buffer::of(value.as_bytes()),
            );
        }
    }

    /// Answers the request. The filter may be destroyed when this returns.
    pub(super) fn send_response(self, response: &LocalResponse<'_>) {
        let headers = response.headers.iter();
        let headers: Vec<Header> = headers
            .map(|(name, value)| Header::of(name, value))
            .collect();
        // SAFETY: the filter is alive; all buffers outlive the call, which copies them.
        unsafe {
            envoy_dynamic_module_callback_http_send_response(
                self.0,
                u32::from(response.status),
                headers.as_ptr(),
                headers.len(),
                Buffer::of(response.body.as_bytes()),
                Buffer::of(response.details.as_bytes()),
            );
        }
    }

    /// Lets the request go on.
    pub(super) fn continue_request(self) {
        // SAFETY: the filter is alive.
        unsafe { envoy_dynamic_module_callback_http_filter_continue_decoding(self.0) }
    }

    /// Lets the response go on.
    pub(super) fn continue_response(self) {
        // SAFETY: the filter is alive.
        unsafe { envoy_dynamic_module_callback_http_filter_continue_encoding(self.0) }
    }

    /// Sends an HTTP request; the filter's end ends it.
    pub(super) fn call(self, call: &HttpCall) -> Result<u64, HostError> {
        let headers = call_headers(call);
        let mut id = 0;
        // SAFETY: the filter is alive; all buffers outlive the call, which copies them.
        success(unsafe {
            envoy_dynamic_module_callback_http_filter_http_callout(
                self.0,
                &raw mut id,
                Buffer::of(call.cluster.as_bytes()),
                headers.as_ptr(),
                headers.len(),
                Buffer::of(&call.body),
                call.timeout.0,
            )
        })?;
        Ok(id)
    }

    /// Sets a gauge, or adds a sample to a histogram.
    pub(super) fn record(self, metric: &Metric, value: u64) {
        let function = match metric.kind {
            MetricKind::Counter => return,
            MetricKind::Gauge => envoy_dynamic_module_callback_http_filter_set_gauge,
            MetricKind::Histogram => {
                envoy_dynamic_module_callback_http_filter_record_histogram_value
            }
        };
        metric.change(self.0, function, value);
    }
}

type ChangeFunction = unsafe extern "C" fn(*mut c_void, usize, *const Buffer, usize, u64) -> u32;

/// A metric that is defined, and the values of its labels.
pub(super) struct Metric {
    kind: MetricKind,
    id: usize,
    values: Vec<String>,
}

/// As many labels as any metric has.
const MAX_LABELS: usize = 2;

impl Metric {
    /// Changes it. One that does not count stops nothing.
    fn change(&self, of: *mut c_void, function: ChangeFunction, by: u64) {
        self.with_values(|values, count| {
            // SAFETY: filter or configuration, whichever the function is for, is alive, and the
            // values outlive the call.
            unsafe { function(of, self.id, values, count, by) };
        });
    }

    /// Hands the values of its labels to `work`, and how many there are.
    fn with_values<T>(&self, work: impl FnOnce(*const Buffer, usize) -> T) -> T {
        let mut values = [Buffer::NULL; MAX_LABELS];
        for (to, from) in values.iter_mut().zip(&self.values) {
            *to = Buffer::of(from.as_bytes());
        }
        work(values.as_ptr(), self.values.len().min(MAX_LABELS))
    }
}

fn call_headers(call: &HttpCall) -> Vec<Header> {
    let headers = call.headers.iter();
    headers
        .map(|(name, value)| Header::of(name, value))
        .collect()
}

/// Envoy's configuration of one filter.
#[derive(Clone, Copy)]
pub(super) struct FilterConfig(*mut c_void);

// SAFETY: it is only an address. What is done with it says on which thread.
unsafe impl Send for FilterConfig {}
// SAFETY: likewise.
unsafe impl Sync for FilterConfig {}

impl FilterConfig {
    /// Takes the pointer that `on_http_filter_config_new` was handed.
    ///
    /// # Safety
    /// It is Envoy's, and what is made of it is not used after `on_http_filter_config_destroy`.
    pub(super) unsafe fn new(config: *mut c_void) -> FilterConfig {
        FilterConfig(config)
    }

    /// Defines the metric of a kind, name and labels. On the main thread, with the
    /// configuration.
    pub(super) fn define(
        self,
        kind: MetricKind,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<usize, HostError> {
        let names: Vec<Buffer> = labels
            .iter()
            .map(|(label, _)| Buffer::of(label.as_bytes()))
            .collect();
        let define = match kind {
            MetricKind::Counter => envoy_dynamic_module_callback_http_filter_config_define_counter,
            MetricKind::Gauge => envoy_dynamic_module_callback_http_filter_config_define_gauge,
            MetricKind::Histogram => {
                envoy_dynamic_module_callback_http_filter_config_define_histogram
            }
        };
        let mut id = 0;
        // SAFETY: the configuration is alive; the buffers outlive the call, which copies them.
        success(unsafe {
            define(
                self.0,
                Buffer::of(name.as_bytes()),
                names.as_ptr(),
                names.len(),
                &raw mut id,
            )
        })?;
        Ok(id)
    }

    /// Returns the metric of a definition with these values, and has Envoy show it from now
    /// on: otherwise it would appear with its first change.
    pub(super) fn metric(self, kind: MetricKind, id: usize, labels: &[(&str, &str)]) -> Metric {
        let values = labels.iter().map(|(_, value)| (*value).to_owned());
        let metric = Metric {
            kind,
            id,
            values: values.collect(),
        };
        self.add(&metric, 0);
        metric
    }

    /// Sends an HTTP request that no stream's end ends. On the main thread.
    pub(super) fn call(self, call: &HttpCall) -> Result<u64, HostError> {
        let headers = call_headers(call);
        let mut id = 0;
        // SAFETY: the configuration is alive; all buffers outlive the call, which copies them.
        success(unsafe {
            envoy_dynamic_module_callback_http_filter_config_http_callout(
                self.0,
                &raw mut id,
                Buffer::of(call.cluster.as_bytes()),
                headers.as_ptr(),
                headers.len(),
                Buffer::of(&call.body),
                call.timeout.0,
            )
        })?;
        Ok(id)
    }

    /// Adds to a counter or gauge, on the main thread.
    pub(super) fn add(self, metric: &Metric, by: i64) {
        let function = match metric.kind {
            MetricKind::Histogram => return,
            MetricKind::Counter => {
                envoy_dynamic_module_callback_http_filter_config_increment_counter
            }
            MetricKind::Gauge if by < 0 => {
                envoy_dynamic_module_callback_http_filter_config_decrement_gauge
            }
            MetricKind::Gauge => envoy_dynamic_module_callback_http_filter_config_increment_gauge,
        };
        metric.change(self.0, function, by.unsigned_abs());
    }

    /// Sets a gauge, or adds a sample to a histogram, on the main thread.
    pub(super) fn record(self, metric: &Metric, value: u64) {
        let function = match metric.kind {
            MetricKind::Counter => return,
            MetricKind::Gauge => envoy_dynamic_module_callback_http_filter_config_set_gauge,
            MetricKind::Histogram => {
                envoy_dynamic_module_callback_http_filter_config_record_histogram_value
            }
        };
        metric.change(self.0, function, value);
    }

    /// Returns what wakes the main thread.
    pub(super) fn scheduler(self) -> Scheduler {
        // SAFETY: the configuration is alive.
        Scheduler(unsafe { envoy_dynamic_module_callback_http_filter_config_scheduler_new(self.0) })
    }
}

/// What wakes the main thread.
pub(super) struct Scheduler(*mut c_void);

// SAFETY: Envoy's scheduler may be used and deleted from any thread.
unsafe impl Send for Scheduler {}
// SAFETY: likewise.
unsafe impl Sync for Scheduler {}

impl Scheduler {
    /// Has the configuration's `scheduled` hook called on the main thread.
    pub(super) fn wake(&self) {
        // SAFETY: it is deleted when it is dropped, and not before.
        unsafe { envoy_dynamic_module_callback_http_filter_config_scheduler_commit(self.0, 0) };
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: it is the module's own, and dropped once.
        unsafe { envoy_dynamic_module_callback_http_filter_config_scheduler_delete(self.0) };
    }
}
