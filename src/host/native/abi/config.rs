//! Envoy's configuration of one filter, and what wakes its main thread.

use std::ffi::c_void;

use crate::host::native::abi::metric::Metric;
use crate::host::native::abi::{
    Buffer, call_headers, envoy_dynamic_module_callback_http_filter_config_decrement_gauge,
    envoy_dynamic_module_callback_http_filter_config_define_counter,
    envoy_dynamic_module_callback_http_filter_config_define_gauge,
    envoy_dynamic_module_callback_http_filter_config_define_histogram,
    envoy_dynamic_module_callback_http_filter_config_http_callout,
    envoy_dynamic_module_callback_http_filter_config_increment_counter,
    envoy_dynamic_module_callback_http_filter_config_increment_gauge,
    envoy_dynamic_module_callback_http_filter_config_record_histogram_value,
    envoy_dynamic_module_callback_http_filter_config_scheduler_commit,
    envoy_dynamic_module_callback_http_filter_config_scheduler_delete,
    envoy_dynamic_module_callback_http_filter_config_scheduler_new,
    envoy_dynamic_module_callback_http_filter_config_set_gauge, success,
};
use crate::store::port::HttpCall;
use crate::stream::host::{HostError, MetricKind};

/// Envoy's configuration of one filter.
#[derive(Clone, Copy)]
pub(crate) struct FilterConfig(*mut c_void);

// SAFETY: it is only an address. What is done with it says on which thread.
unsafe impl Send for FilterConfig {}
// SAFETY: likewise.
unsafe impl Sync for FilterConfig {}

impl FilterConfig {
    /// Takes the pointer that `on_http_filter_config_new` was handed.
    ///
    /// # Safety
    /// It is Envoy's, and what is made of it is not used after `on_http_filter_config_destroy`.
    pub(crate) unsafe fn new(config: *mut c_void) -> FilterConfig {
        FilterConfig(config)
    }

    /// Defines the metric of a kind, name and labels. On the main thread, with the
    /// configuration.
    pub(crate) fn define(
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
    pub(crate) fn metric(self, kind: MetricKind, id: usize, labels: &[(&str, &str)]) -> Metric {
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
    pub(crate) fn call(self, call: &HttpCall) -> Result<u64, HostError> {
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
    pub(crate) fn add(self, metric: &Metric, by: i64) {
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
    pub(crate) fn record(self, metric: &Metric, value: u64) {
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
    pub(crate) fn scheduler(self) -> Scheduler {
        // SAFETY: the configuration is alive.
        Scheduler(unsafe { envoy_dynamic_module_callback_http_filter_config_scheduler_new(self.0) })
    }
}

/// What wakes the main thread.
pub(crate) struct Scheduler(*mut c_void);

// SAFETY: Envoy's scheduler may be used and deleted from any thread.
unsafe impl Send for Scheduler {}
// SAFETY: likewise.
unsafe impl Sync for Scheduler {}

impl Scheduler {
    /// Has the configuration's `scheduled` hook called on the main thread.
    pub(crate) fn wake(&self) {
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
