//! A rejection, and what its response has to say.

use std::borrow::Cow;

use crate::diagnosis::FailedSignature;
use crate::reason::Reason;
use crate::store::local::limiter::Limit;
use crate::time::Millis;

/// A rejection, and what its response has to say.
#[derive(Debug)]
pub struct Rejection {
    /// Why the request is rejected.
    pub reason: Reason,
    /// For a rate limit: which, and for how long.
    pub limited: Option<Limited>,
    /// Whether it is a repeat that is to be answered 200, as if it had been taken again.
    pub acknowledge: bool,
    /// What the response says in place of the reason's sentence. Nothing of the request.
    pub detail: Option<Cow<'static, str>>,
    /// After this time a repeat may be taken, or acknowledged.
    pub retry_after: Option<Millis>,
    /// For the operator: what may be the cause.
    pub hint: Option<Cow<'static, str>>,
    /// For a signature that does not fit: what a diagnosis needs.
    pub failed_signature: Option<Box<FailedSignature>>,
}

/// A limit that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The limit.
    pub limit: Limit,
    /// After this time the next request passes.
    pub wait: Millis,
}

impl Rejection {
    /// Returns the rejection with a hint for the operator.
    pub fn with_hint(self, hint: Option<impl Into<Cow<'static, str>>>) -> Rejection {
        Rejection {
            hint: hint.map(Into::into),
            ..self
        }
    }

    /// Returns the status of the response.
    pub fn status(&self) -> u16 {
        if self.acknowledge {
            200
        } else {
            self.reason.status()
        }
    }

    /// Returns whether limits that count rejections count it. A sender who rightly repeats
    /// what may have been lost is not counted.
    pub fn is_counted(&self) -> bool {
        let is_a_retry = self.acknowledge || self.retry_after.is_some();
        self.reason.is_the_senders_doing() && !is_a_retry
    }

    /// Returns whether a client with one captured request can have any number of such
    /// rejections: they say nothing against the account or the sender that it names, and
    /// must not use up a limit of theirs.
    pub fn comes_with_a_replay(&self) -> bool {
        matches!(
            self.reason,
            Reason::Duplicate | Reason::StaleTimestamp | Reason::FutureTimestamp
        )
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Rejection {
        Rejection {
            reason,
            limited: None,
            acknowledge: false,
            detail: None,
            retry_after: None,
            hint: None,
            failed_signature: None,
        }
    }
}

impl From<Limited> for Rejection {
    fn from(limited: Limited) -> Rejection {
        Rejection {
            limited: Some(limited),
            ..Rejection::from(Reason::RateLimited)
        }
    }
}
