//! What the upstream's answer does to the claim of an accepted request.

use crate::host::wasm::abi::{self as host, Map};
use crate::host::wasm::known::Known;
use crate::host::wasm::root::Worker;
use crate::pipeline::answer::Answer;
use crate::store::local::nonces::Claim;
use crate::store::redis::script_call::ScriptCall;
use crate::store::redis::settlement_queue;
use crate::store::redis::shared::RedisStore;

/// A claim that the upstream's answer keeps or releases.
pub(super) struct Settlement {
    pub(super) webhook: usize,
    pub(super) claim: Claim,
}

/// A release that Redis is being told of.
pub(super) struct Releasing {
    pub(super) settlement: settlement_queue::Settlement,
    pub(super) question: ScriptCall,
}

impl Settlement {
    /// Settles the claim in shared data. Answers what Redis has to be told, where there is one.
    pub(super) fn settle<'a>(
        &self,
        worker: &'a Worker,
        answer: Answer,
    ) -> Option<(&'a RedisStore, settlement_queue::Settlement)> {
        let Settlement { webhook, claim } = self;
        if answer == Answer::Taken && claim.is_completed() && worker.filter.redis().is_none() {
            return None;
        }
        let around = Known::default().around(worker);
        match worker.filter.settle(*webhook, claim, answer, around) {
            Ok(change) => worker.metrics.count_change(change),
            Err(_) => worker.metrics.count_store_error(),
        }
        worker
            .metrics
            .count_conflicts(worker.store.take_conflicts());
        if answer != Answer::Taken {
            worker.metrics.count_release();
        }
        worker
            .filter
            .settlement(*webhook, claim, answer, around.now)
    }
}

/// The same, where nobody waits for what Redis says.
pub(super) fn settle_later(worker: &Worker, settlement: Option<Settlement>, answer: Answer) {
    let settled = settlement.and_then(|settlement| settlement.settle(worker, answer));
    if let Some((redis, settlement)) = settled {
        redis.unsettled.push(settlement);
    }
}

/// How the upstream has answered, by the headers of the answer.
pub(super) fn upstreams_answer() -> Answer {
    let status = host::header(Map::Response, ":status").ok().flatten();
    Answer::of_status(status.as_deref().and_then(to_status), is_from_upstream)
}

/// Whether the answer is the upstream's own and not one that Envoy made.
fn is_from_upstream() -> bool {
    let details = host::property("response\0code_details").ok().flatten();
    details.is_none_or(|details| details == b"via_upstream")
}

/// A status as headers have it.
pub(super) fn to_status(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
