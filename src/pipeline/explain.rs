//! What would have made the signature of a rejected request fit.

use crate::diagnosis::Context;
use crate::pipeline::filter::Filter;
use crate::pipeline::verdict::{Outcome, Verdict};
use crate::request::headers::Headers;
use crate::time::Timestamp;

impl Filter {
    /// Puts into a verdict what would have made the signature fit, if it has one that did not.
    /// Bounded in work, and in how often a second it is done at all.
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
        let (Some(failed), Some(webhook)) = (&rejection.failed_signature, &verdict.record.webhook)
        else {
            return;
        };
        if !self.diagnoses.take(now) {
            return;
        }
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
