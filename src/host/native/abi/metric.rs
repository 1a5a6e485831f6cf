//! A metric that Envoy was told of.

use std::ffi::c_void;

use crate::host::native::abi::Buffer;
use crate::stream::host::MetricKind;

type ChangeFunction = unsafe extern "C" fn(*mut c_void, usize, *const Buffer, usize, u64) -> u32;

/// A metric that is defined, and the values of its labels.
pub(crate) struct Metric {
    pub(super) kind: MetricKind,
    pub(super) id: usize,
    pub(super) values: Vec<String>,
}

/// As many labels as any metric has.
const MAX_LABELS: usize = 2;

impl Metric {
    /// Changes it. One that does not count stops nothing.
    pub(super) fn change(&self, of: *mut c_void, function: ChangeFunction, by: u64) {
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
