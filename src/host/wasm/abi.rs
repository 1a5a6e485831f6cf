//! The host functions of proxy-wasm 0.2.1 that this filter calls.
//!
//! The SDK's own wrappers panic on any status but `Ok` and `NotFound`, and a panic
//! takes the worker's VM and every request in it down
//! (<https://github.com/envoyproxy/envoy/issues/26485>). Here a call that fails is
//! a value, and the caller rejects the request. The wrappers also copy what the
//! host returns only once.

use std::ptr;

use crate::stream::host::{Direction, HostError, Level, LocalResponse, Metric, MetricKind};

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const CAS_MISMATCH: u32 = 8;

/// `proxy_map_type_t`
#[derive(Clone, Copy)]
pub(super) enum Map {
    Request = 0,
    RequestTrailers = 1,
    Response = 2,
    CallResponse = 6,
}

/// `proxy_buffer_type_t`
#[derive(Clone, Copy)]
pub(super) enum Buffer {
    RequestBody = 0,
    CallResponseBody = 4,
    PluginConfiguration = 7,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_continue_stream(direction: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
}

fn done(status: u32) -> Result<(), HostError> {
    match status {
        OK => Ok(()),
        status => Err(HostError(status)),
    }
}

/// What the host hands over.
struct Returned {
    data: *mut u8,
    size: usize,
}

impl Returned {
    const fn nothing() -> Returned {
        Returned {
            data: ptr::null_mut(),
            size: 0,
        }
    }

    /// The bytes, if `status` says that there are any; `None` for `NotFound`.
    fn bytes(self, status: u32) -> Result<Option<Vec<u8>>, HostError> {
        match status {
            OK if self.data.is_null() => Ok(Some(Vec::new())),
            // SAFETY: the host has filled memory that it got from this module's
            // `proxy_on_memory_allocate` (in the SDK), which gives out a box of just
            // `size` bytes and leaves it to the callee.
            OK => Ok(Some(unsafe {
                Vec::from_raw_parts(self.data, self.size, self.size)
            })),
            NOT_FOUND => Ok(None),
            status => Err(HostError(status)),
        }
    }
}

/// `proxy_log_level_t`
fn log_level(level: Level) -> u32 {
    match level {
        Level::Info => 2,
        Level::Warn => 3,
        Level::Error => 4,
    }
}

/// Writes a line to Envoy's log. There is nobody to tell if that fails.
pub(super) fn log(level: Level, message: &str) {
    // SAFETY: pointer and length are those of a slice that outlives the call.
    unsafe { proxy_log(log_level(level), message.as_ptr(), message.len()) };
}

/// A buffer's bytes from its start, `most` at the most.
pub(super) fn buffer(kind: Buffer, most: usize) -> Result<Vec<u8>, HostError> {
    let mut returned = Returned::nothing();
    // SAFETY: the host writes to the two places, both of which outlive the call.
    let status = unsafe {
        proxy_get_buffer_bytes(
            kind as u32,
            0,
            most,
            &raw mut returned.data,
            &raw mut returned.size,
        )
    };
    Ok(returned.bytes(status)?.unwrap_or_default())
}

/// A buffer of just this size.
///
/// # Errors
/// Also if there is less of it.
pub(super) fn whole_buffer(kind: Buffer, size: usize) -> Result<Vec<u8>, HostError> {
    if size == 0 {
        return Ok(Vec::new());
    }
    let bytes = buffer(kind, size)?;
    if bytes.len() == size {
        Ok(bytes)
    } else {
        Err(HostError(NOT_FOUND))
    }
}

/// All headers, serialised: see [`pairs`].
pub(super) fn headers(map: Map) -> Result<Vec<u8>, HostError> {
    let mut returned = Returned::nothing();
    // SAFETY: as in `buffer`.
    let status = unsafe {
        proxy_get_header_map_pairs(map as u32, &raw mut returned.data, &raw mut returned.size)
    };
    Ok(returned.bytes(status)?.unwrap_or_default())
}

/// Takes serialised headers apart: a count, the sizes of each name and value, then
/// names and values, each with a zero byte behind it. `None` if they are cut short.
pub(super) fn pairs(serialised: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if serialised.is_empty() {
        return Some(Vec::new());
    }
    let (count, rest) = serialised.split_first_chunk::<4>()?;
    let count = u32::from_le_bytes(*count) as usize;
    let (sizes, mut rest) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut take = |size: &[u8; 4]| {
        let size = u32::from_le_bytes(*size) as usize;
        let (text, after) = rest.split_at_checked(size)?;
        rest = after.split_first()?.1;
        Some(text)
    };
    let mut pairs = Vec::with_capacity(count);
    let (sizes, _) = sizes.as_chunks::<4>();
    for size in sizes.chunks_exact(2) {
        let [name, value] = size else { return None };
        pairs.push((take(name)?, take(value)?));
    }
    Some(pairs)
}

/// One header's value; of a repeated one the first.
pub(super) fn header(map: Map, name: &str) -> Result<Option<Vec<u8>>, HostError> {
    let mut returned = Returned::nothing();
    // SAFETY: as in `log` and `buffer`.
    let status = unsafe {
        proxy_get_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            &raw mut returned.data,
            &raw mut returned.size,
        )
    };
    returned.bytes(status)
}

/// Adds a header.
pub(super) fn add(map: Map, name: &str, value: &str) -> Result<(), HostError> {
    // SAFETY: as in `log`.
    done(unsafe {
        proxy_add_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes a header or trailer, however often it is there.
pub(super) fn remove(map: Map, name: &[u8]) -> Result<(), HostError> {
    // SAFETY: as in `log`.
    done(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// A property of the request; the parts of `path` are separated by zero bytes.
pub(super) fn property(path: &str) -> Result<Option<Vec<u8>>, HostError> {
    let mut returned = Returned::nothing();
    // SAFETY: as in `log` and `buffer`.
    let status = unsafe {
        proxy_get_property(
            path.as_ptr(),
            path.len(),
            &raw mut returned.data,
            &raw mut returned.size,
        )
    };
    returned.bytes(status)
}

/// Sets a property, which the access log shows as filter state `wasm.<name>`.
pub(super) fn set_property(name: &str, value: &str) -> Result<(), HostError> {
    // SAFETY: as in `log`.
    done(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// A value in shared data and its version.
pub(super) fn shared_data(key: &str) -> Result<Option<(Vec<u8>, u32)>, HostError> {
    let mut returned = Returned::nothing();
    let mut cas = 0;
    // SAFETY: as in `log` and `buffer`.
    let status = unsafe {
        proxy_get_shared_data(
            key.as_ptr(),
            key.len(),
            &raw mut returned.data,
            &raw mut returned.size,
            &raw mut cas,
        )
    };
    Ok(returned.bytes(status)?.map(|value| (value, cas)))
}

/// Writes to shared data if the key has this version, and returns whether it did.
/// The host ignores the version of a key that does not exist, and takes 0 for
/// "whatever the version".
pub(super) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> Result<bool, HostError> {
    // SAFETY: as in `log`.
    let status =
        unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) };
    match status {
        OK => Ok(true),
        CAS_MISMATCH => Ok(false),
        status => Err(HostError(status)),
    }
}

/// Answers the request itself; the upstream never sees it. To be called once for a
/// request at the most (<https://github.com/envoyproxy/envoy/issues/28826>).
pub(super) fn send_local_response(response: &LocalResponse<'_>) -> Result<(), HostError> {
    let LocalResponse {
        status,
        details,
        headers,
        body,
    } = *response;
    let headers = serialise(headers);
    const NO_GRPC: i32 = -1;
    // SAFETY: as in `log`.
    done(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC,
        )
    })
}

/// Lets a stream that was paused go on.
pub(super) fn resume(direction: Direction) -> Result<(), HostError> {
    // `proxy_stream_type_t`
    let stream = match direction {
        Direction::Request => 0,
        Direction::Response => 1,
    };
    // SAFETY: no memory is passed.
    done(unsafe { proxy_continue_stream(stream) })
}

/// Has the host functions work on another context, until the end of this callback or
/// the next call.
pub(super) fn set_effective_context(context: u32) -> Result<(), HostError> {
    // SAFETY: no memory is passed.
    done(unsafe { proxy_set_effective_context(context) })
}

/// Has the root context called back every so many milliseconds.
pub(super) fn set_tick_period(milliseconds: u32) -> Result<(), HostError> {
    // SAFETY: no memory is passed.
    done(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}

/// The reverse of [`pairs`].
fn serialise(headers: &[(&str, &str)]) -> Vec<u8> {
    let size = |text: &str| u32::try_from(text.len()).unwrap_or(0).to_le_bytes();
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&u32::try_from(headers.len()).unwrap_or(0).to_le_bytes());
    for (name, value) in headers {
        out.extend_from_slice(&size(name));
        out.extend_from_slice(&size(value));
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    }
    out
}

/// Defines a metric. Defining it again gives the same one.
pub(super) fn define_metric(kind: MetricKind, name: &str) -> Result<Metric, HostError> {
    // `proxy_metric_type_t`
    let kind = match kind {
        MetricKind::Counter => 0,
        MetricKind::Gauge => 1,
        MetricKind::Histogram => 2,
    };
    let mut id = 0;
    // SAFETY: as in `log` and `buffer`.
    let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) };
    done(status).map(|()| Metric(id))
}

/// Sets a gauge, or adds to a histogram.
pub(super) fn record(metric: Metric, value: u64) {
    // SAFETY: no memory is passed. A metric that does not count stops nothing.
    unsafe { proxy_record_metric(metric.0, value) };
}

/// Adds to a metric. To add nothing is an error to the host.
pub(super) fn increment(metric: Metric, by: i64) {
    // SAFETY: no memory is passed. A metric that does not count stops nothing.
    unsafe { proxy_increment_metric(metric.0, by) };
}
