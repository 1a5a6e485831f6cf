//! The answer to a call, as Envoy hands it over.

use crate::host::native::abi::{Buffer, Header};
use crate::host::process::to_status;
use crate::store::port::{CallError, HttpResponse};

/// An answer, or why there is none.
pub(super) type Answer = Result<HttpResponse, CallError>;

/// Copies an answer.
///
/// # Safety
/// Headers and chunks are as many as is said, and valid.
pub(super) unsafe fn answer(
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
