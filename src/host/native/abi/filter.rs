//! Envoy's filter of one stream.

use std::ffi::c_void;
use std::ptr;

use crate::host::native::abi::metric::Metric;
use crate::host::native::abi::{
    Attribute, Body, Buffer, Header, Map, call_headers,
    envoy_dynamic_module_callback_http_add_header,
    envoy_dynamic_module_callback_http_filter_continue_decoding,
    envoy_dynamic_module_callback_http_filter_continue_encoding,
    envoy_dynamic_module_callback_http_filter_get_attribute_string,
    envoy_dynamic_module_callback_http_filter_http_callout,
    envoy_dynamic_module_callback_http_filter_record_histogram_value,
    envoy_dynamic_module_callback_http_filter_set_gauge,
    envoy_dynamic_module_callback_http_get_body_chunks,
    envoy_dynamic_module_callback_http_get_body_chunks_size,
    envoy_dynamic_module_callback_http_get_body_size,
    envoy_dynamic_module_callback_http_get_header, envoy_dynamic_module_callback_http_get_headers,
    envoy_dynamic_module_callback_http_get_headers_size,
    envoy_dynamic_module_callback_http_received_buffered_request_body,
    envoy_dynamic_module_callback_http_send_response,
    envoy_dynamic_module_callback_http_set_dynamic_metadata_string,
    envoy_dynamic_module_callback_http_set_filter_state_bytes,
    envoy_dynamic_module_callback_http_set_header, success,
};
use crate::store::port::HttpCall;
use crate::stream::host::{HostError, LocalResponse, MetricKind};

/// Envoy's filter of one stream.
#[derive(Clone, Copy)]
pub(crate) struct Filter(*mut c_void);

/// Headers, copied out of Envoy's memory in one piece.
pub(crate) struct Headers {
    bytes: Vec<u8>,
    /// Of each header the sizes of name and value.
    sizes: Vec<(usize, usize)>,
}

impl Headers {
    /// Returns names and values, in their order.
    pub(crate) fn pairs(&self) -> Option<Vec<(&[u8], &[u8])>> {
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
    pub(crate) unsafe fn new(filter: *mut c_void) -> Filter {
        Filter(filter)
    }

    /// Returns all headers.
    pub(crate) fn headers(self, map: Map) -> Result<Headers, HostError> {
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
    pub(crate) fn header(self, map: Map, name: &str) -> Option<Vec<u8>> {
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
    pub(crate) fn add_header(self, map: Map, name: &str, value: &str) -> Result<(), HostError> {
        let (name, value) = (Buffer::of(name.as_bytes()), Buffer::of(value.as_bytes()));
        // SAFETY: the filter is alive; name and value outlive the call, which copies them.
        done(unsafe { envoy_dynamic_module_callback_http_add_header(self.0, map, name, value) })
    }

    /// Removes a header or trailer, however often it is there.
    pub(crate) fn remove_header(self, map: Map, name: &[u8]) -> Result<(), HostError> {
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
    pub(crate) fn body_size(self, body: Body) -> usize {
        // SAFETY: the filter is alive.
        unsafe { envoy_dynamic_module_callback_http_get_body_size(self.0, body) }
    }

    /// Appends a body to `to`.
    pub(crate) fn copy_body(self, body: Body, to: &mut Vec<u8>) {
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
    pub(crate) fn receives_buffered_body(self) -> bool {
        // SAFETY: the filter is alive.
        unsafe { envoy_dynamic_module_callback_http_received_buffered_request_body(self.0) }
    }

    /// Returns an attribute, if there is one.
    pub(crate) fn attribute(self, attribute: Attribute) -> Option<Vec<u8>> {
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
    pub(crate) fn set_filter_state(self, key: &str, value: &str) -> Result<(), HostError> {
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
    pub(crate) fn set_dynamic_metadata(self, namespace: &str, key: &str, value: &str) {
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
    pub(crate) fn send_response(self, response: &LocalResponse<'_>) {
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
    pub(crate) fn continue_request(self) {
        // SAFETY: the filter is alive.
        unsafe { envoy_dynamic_module_callback_http_filter_continue_decoding(self.0) }
    }

    /// Lets the response go on.
    pub(crate) fn continue_response(self) {
        // SAFETY: the filter is alive.
        unsafe { envoy_dynamic_module_callback_http_filter_continue_encoding(self.0) }
    }

    /// Sends an HTTP request; the filter's end ends it.
    pub(crate) fn call(self, call: &HttpCall) -> Result<u64, HostError> {
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
    pub(crate) fn record(self, metric: &Metric, value: u64) {
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
