//! What all requests of one worker and configuration share.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::pipeline::filter::Filter;
use crate::store::port::Untold;
use crate::stream::host::Host;
use crate::stream::log::Log;
use crate::stream::metrics::Metrics;

/// What all requests of one worker and configuration share.
pub struct Worker {
    /// The decisions.
    pub filter: Filter,
    /// Counters for the operator.
    pub(super) metrics: Metrics,
    /// Lines for the operator.
    pub(super) log: Log,
    /// Random: what makes this worker's claims differ from all others'.
    pub(super) claims: [u8; 8],
}

impl Worker {
    /// Shows in the metrics what runs. Where a host takes values only of metrics that are all
    /// defined, this waits for that.
    pub fn publish_build(&self, host: &impl Host) {
        self.metrics.publish_build(host);
    }

    /// Returns what no other claim is called: random for the worker, and by the number of
    /// the stream, which no other of this worker has.
    pub(super) fn claim_id(&self, stream: u64) -> u64 {
        let mut hasher = SipHasher24::new();
        hasher.write(&self.claims);
        hasher.write_u64(stream);
        hasher.finish()
    }

    /// Counts settlements that nobody will tell.
    pub fn count_lost(&self, host: &impl Host, untold: &Untold) {
        self.metrics.count_lost(host, untold.settlements);
    }

    /// Counts and logs what has happened in the store.
    #[inline(never)]
    pub fn report(&self, host: &impl Host) {
        let report = self.filter.store().take_report();
        self.metrics.count_report(host, &report);
        for notice in report.notices {
            let line = format!("twilio_webhook store: {}", notice.text);
            host.log(notice.level.into(), &line);
        }
    }
}
