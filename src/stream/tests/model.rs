//! What must come of a row of events.

use super::scripted_store::Settled;
use super::{BODY, Came, Event, PIECE};
use crate::store::port::UpstreamOutcome;

/// Where a request is, in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    New,
    /// The store is asked for the limits at the headers.
    AskedForLimits,
    AwaitsBody,
    /// The store is asked for the claim.
    AskedForClaim,
    Passed {
        is_settled: bool,
    },
    /// The store is told of a failed upstream.
    Tells,
    Answered,
}

/// What must come of a row of events.
pub(super) fn model(is_remote: bool, is_signed: bool, events: &[Event]) -> Came {
    let mut came = Came::default();
    let (mut at, mut size, mut has_ended) = (At::New, 0, false);
    for (index, event) in events.iter().chain([&Event::End]).enumerate() {
        let is_asking = matches!(at, At::AskedForLimits | At::AskedForClaim);
        match event {
            Event::Headers | Event::HeadersAlone => {
                has_ended = *event == Event::HeadersAlone;
                at = if is_remote {
                    At::AskedForLimits
                } else {
                    At::AwaitsBody
                };
            }
            Event::Piece | Event::Body | Event::Trailers if at != At::New => {
                let of_event = match event {
                    Event::Piece => PIECE,
                    Event::Body => BODY.len(),
                    _ => size,
                };
                if matches!(at, At::AwaitsBody | At::AskedForLimits | At::AskedForClaim) {
                    size = of_event;
                    has_ended |= *event != Event::Piece;
                }
            }
            Event::No if is_asking => {
                came.responses.push(409);
                at = At::Answered;
            }
            Event::NoResponse if is_asking => {
                came.responses.push(503);
                at = At::Answered;
            }
            Event::Yes if at == At::AskedForLimits => at = At::AwaitsBody,
            Event::Yes if at == At::AskedForClaim => {
                came.passed = Some(index);
                at = At::Passed { is_settled: false };
            }
            Event::Yes | Event::No | Event::NoResponse if at == At::Tells => {
                came.responses_resumed += 1;
                at = At::Passed { is_settled: true };
            }
            Event::Processed | Event::Failed if at == (At::Passed { is_settled: false }) => {
                let is_failed = *event == Event::Failed;
                let outcome = if is_failed {
                    UpstreamOutcome::Failed
                } else {
                    UpstreamOutcome::Processed
                };
                came.settled.push(Settled::By(outcome));
                at = if is_failed && is_remote {
                    At::Tells
                } else {
                    At::Passed { is_settled: true }
                };
            }
            Event::End => {
                match at {
                    At::AskedForClaim => came.settled.push(Settled::Abandoned),
                    At::Passed { is_settled: false } => {
                        let gone = Settled::By(UpstreamOutcome::ClientGone);
                        came.settled.push(gone);
                    }
                    _ => {}
                }
                return came;
            }
            _ => {}
        }
        if at == At::AwaitsBody && has_ended {
            at = if !is_signed || size != BODY.len() {
                came.responses.push(403);
                At::Answered
            } else if is_remote {
                At::AskedForClaim
            } else {
                came.passed = Some(index);
                At::Passed { is_settled: false }
            };
        }
    }
    came
}
