//! What would have made the signature of a rejected request fit.

use crate::diagnosis::Context;
use crate::pipeline::filter::Filter;
use crate::pipeline::verdict::{Outcome, Verdict};
use crate::request::headers::Headers;
use crate::time::Timestamp;

impl Filter {
    /// Returns whether a verdict is one that [`Filter::explain`] is to be asked about, which
    /// is bounded in how often a second it is.
    pub fn may_explain(&self, verdict: &Verdict, now: Timestamp) -> bool {
        let Outcome::Rejected(rejection) = &verdict.outcome else {
            return false;
        };
        rejection.failed_signature.is_some() && self.diagnoses.take(now)
    }

    /// Puts into a verdict what would have made the signature fit. Bounded in work.
    pub fn explain(
        &self,
        verdict: &mut Verdict,
        headers: Headers<'_>,
        body: &[u8],
        now: Timestamp,
    ) {
        let Outcome::Rejected(rejection) = &mut verdict.outcome else {
            return;
        };
        if let (Some(failed), Some(webhook)) =
            (&rejection.failed_signature, &verdict.record.webhook)
        {
            let context = Context {
                keyring: &self.settings.keyring,
                verified: &self.verified,
                public: &webhook.settings.public_url,
                headers,
                body,
                now,
            };
            rejection.hint = failed.explain(&context).map(Into::into);
        }
    }
}
