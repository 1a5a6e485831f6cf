//! What the driver needs of Envoy.
//!
//! Every call may fail, and none panics: a call that fails is a value, and the driver then
//! rejects the request.

use std::time::Duration;

use crate::store::port::{HttpCall, NoticeLevel};

/// Envoy, as seen by one request, or by one worker where no request is there.
pub trait Host {
    /// The headers of a request or its trailers, as the host hands them over.
    type Headers: HeaderBlock;

    /// What the operator calls this host.
    const NAME: &'static str;

    /// The version of the ABI by which it talks with Envoy.
    const ABI: &'static str;

    /// Returns the time since 1970-01-01T00:00:00Z.
    fn now(&self) -> Duration;

    /// Writes a line to Envoy's log.
    fn log(&self, level: Level, line: &str);

    /// Defines a metric with the names and values of its labels. To define it again gives the
    /// same one.
    fn define_metric(
        &self,
        kind: MetricKind,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<Metric, HostError>;

    /// Adds to a counter or gauge.
    fn increment(&self, metric: Metric, by: i64);

    /// Sets a gauge, or adds a sample to a histogram.
    fn record(&self, metric: Metric, value: u64);

    /// Sends an HTTP request whose answer comes as an event of its own.
    fn call(&self, call: &HttpCall) -> Result<CallId, HostError>;

    /// Returns the request's headers.
    fn request_headers(&self) -> Result<Self::Headers, HostError>;

    /// Returns the request's trailers.
    fn request_trailers(&self) -> Result<Self::Headers, HostError>;

    /// Returns one request header; of a repeated one the first.
    fn request_header(&self, name: &str) -> Result<Option<Vec<u8>>, HostError>;

    /// Adds a request header.
    fn add_request_header(&self, name: &str, value: &str) -> Result<(), HostError>;

    /// Removes a request header, however often it is there.
    fn remove_request_header(&self, name: &[u8]) -> Result<(), HostError>;

    /// Removes a request trailer, however often it is there.
    fn remove_request_trailer(&self, name: &[u8]) -> Result<(), HostError>;

    /// Returns the address of the client, as Envoy found it by its own settings for proxies
    /// in front.
    fn client_address(&self) -> Result<Vec<u8>, HostError>;

    /// Returns the request's body as far as it was received, which is of this size in bytes.
    fn request_body(&self, size: usize) -> Result<Vec<u8>, HostError>;

    /// Returns how many bytes of the request's body Envoy has received, shown or not.
    fn received_body_bytes(&self) -> Option<u64>;

    /// Returns the status of the response.
    fn response_status(&self) -> Option<u16>;

    /// Returns whether the response is the upstream's own and not one that Envoy made.
    fn is_upstream_response(&self) -> bool;

    /// Sets what the access log shows of the verdict.
    fn set_verdict(&self, name: &str) -> Result<(), HostError>;

    /// Answers the request; the upstream never sees it. To be called once at the most.
    fn send_local_response(&self, response: &LocalResponse<'_>) -> Result<(), HostError>;

    /// Lets a request or response that was paused go on.
    fn resume(&self, direction: Direction) -> Result<(), HostError>;
}

/// Headers or trailers in the memory of the host.
pub trait HeaderBlock {
    /// Returns names and values, in their order; `None` if they are damaged.
    fn pairs(&self) -> Option<Vec<(&[u8], &[u8])>>;
}

/// The host did not do what it was asked for: its own code for why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostError(pub u32);

/// What a request or response does after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Continue,
    /// It waits until it is resumed.
    Pause,
}

/// What is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The request.
    Request,
    /// The response.
    Response,
}

/// The host's number of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(pub u32);

/// How bad a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// All is well.
    Info,
    /// Something was rejected, or is unusual.
    Warn,
    /// Something does not work.
    Error,
}

impl From<NoticeLevel> for Level {
    fn from(level: NoticeLevel) -> Level {
        match level {
            NoticeLevel::Info => Level::Info,
            NoticeLevel::Error => Level::Error,
        }
    }
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// A number that changes.
    Gauge,
    /// Samples.
    Histogram,
}

/// The host's number of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric(pub u32);

/// A response that the filter gives itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse<'a> {
    /// The status.
    pub status: u16,
    /// What Envoy's access log shows as the reason (`%RESPONSE_CODE_DETAILS%`).
    pub details: &'a str,
    /// The headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a str,
}
