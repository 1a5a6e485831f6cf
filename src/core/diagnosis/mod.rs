//! Why a signature does not fit: what would have made it match, in plain words.
//!
//! A wrong signature is one wrong byte somewhere in a URL that nobody in the mesh
//! sees and in a body that several hands have touched. So the mistakes that are
//! known to be made are tried one after another, and the first under which the
//! signature fits is told. That happens off the path of accepted requests, with a
//! bounded number of HMACs, and a bounded number of times a second.
//!
//! A hint never changes a verdict. It names what is configured and what was matched;
//! a URL part in it has been signed with a configured key, so whoever holds the key
//! has chosen it. It holds no parameter's value, no query, and no secret.
//!
//! - [`urls`]: another scheme, host, port, path, query
//! - [`parameters`]: parameters changed on the way
//! - [`body`]: a JSON body written anew

pub mod body;
pub mod parameters;
pub mod urls;

use std::cell::Cell;

use crate::core::clock::{Moment, Span};
use crate::core::refusal::Reason;
use crate::core::request::headers::Headers;
use crate::core::signature::form::Form;
use crate::core::signature::key::ClaimedMac;
use crate::core::signature::keyring::{Key, Keyring};
use crate::core::signature::url::{PublicUrl, Target};
use crate::core::signature::verify::ACCOUNT_PARAMETER;

/// The most HMACs that one diagnosis computes.
pub const MOST_HMACS: u32 = 2000;

/// How many diagnoses a worker makes in a second. The rest of a flood is refused without.
pub const MOST_A_SECOND: u32 = 2;

/// The most bytes of URL and parameters that a diagnosis hashes again and again.
const MOST_BYTES: usize = 8192;

/// A refused request whose signature might be explained.
#[derive(Debug)]
pub struct Suspect {
    /// Why it was refused.
    pub reason: Reason,
    /// The signature that it carries.
    pub claimed: ClaimedMac,
    /// Path and query as they were to be signed.
    pub target: Vec<u8>,
    /// Whether it is a WebSocket handshake.
    pub websocket: bool,
    /// The parameters, for a form.
    pub form: Option<Form>,
}

/// What a diagnosis may look at besides the suspect.
pub struct Evidence<'a> {
    /// All keys.
    pub keyring: &'a Keyring,
    /// The webhook's URL.
    pub public: &'a PublicUrl,
    /// All headers.
    pub headers: Headers<'a>,
    /// The body as it was received.
    pub body: &'a [u8],
}

impl Suspect {
    /// Whether a refusal for this reason has a cause that can be looked for.
    pub fn can_be_explained(reason: Reason) -> bool {
        matches!(
            reason,
            Reason::InvalidSignature | Reason::BodyHashMismatch | Reason::UnsignedBody
        )
    }

    /// What would have made the signature fit, or what can be said if nothing would.
    pub fn explain(&self, evidence: &Evidence<'_>) -> Option<String> {
        match self.reason {
            Reason::InvalidSignature => Some(self.explain_signature(evidence)),
            Reason::BodyHashMismatch => {
                let target = Target::new(&self.target, self.websocket);
                Some(body::explain(
                    evidence.body,
                    target.query.unwrap_or_default(),
                ))
            }
            Reason::UnsignedBody => Some(self.explain_unsigned_body(evidence)),
            _ => None,
        }
    }

    fn explain_signature(&self, evidence: &Evidence<'_>) -> String {
        if self.target.len() + evidence.body.len() > MOST_BYTES {
            return "URL and body are too long for a diagnosis".into();
        }
        let mut search = Search {
            keyring: evidence.keyring,
            claimed: &self.claimed,
            left: MOST_HMACS,
        };
        let target = Target::new(&self.target, self.websocket);
        let mut signed = Vec::new();
        if let Some(form) = &self.form {
            form.write_signed(&mut signed);
        }
        let found = self
            .explain_key(&mut search, evidence, target, &signed)
            .or_else(|| urls::explain_one_part(&mut search, evidence, target, &signed))
            .or_else(|| parameters::explain(&mut search, evidence, target, self.form.as_ref()))
            .or_else(|| urls::explain_several_parts(&mut search, evidence, target, &signed));
        found.unwrap_or_else(|| self.nothing_fits(evidence))
    }

    /// A key that the request did not select.
    fn explain_key(
        &self,
        search: &mut Search<'_>,
        evidence: &Evidence<'_>,
        target: Target<'_>,
        signed: &[u8],
    ) -> Option<String> {
        for mut message in candidate_urls(evidence, target) {
            message.extend_from_slice(signed);
            if let Some(key) = search.key_for(&message) {
                return Some(format!(
                    "it is signed with the key {}, which the request does not select: the header \
                     x-twilio-webhooks-signature-settings is missing, or names another key",
                    key.label
                ));
            }
        }
        None
    }

    fn nothing_fits(&self, evidence: &Evidence<'_>) -> String {
        let of_this_length = evidence.keyring.of_mac_length(self.claimed.length());
        if of_this_length.count() == 0 {
            return match self.claimed.length() {
                32 => {
                    "it is a signature by a shared key (HMAC-SHA256), and none is configured \
                       (shared_keys)"
                }
                _ => {
                    "it is a signature by an auth token (HMAC-SHA1), and none is configured \
                      (accounts)"
                }
            }
            .into();
        }
        let named = self
            .form
            .iter()
            .flat_map(|form| form.values(ACCOUNT_PARAMETER));
        for named in named {
            let accounts = || evidence.keyring.accounts();
            if accounts().next().is_some() && accounts().all(|own| own.as_bytes() != named) {
                return "the parameters name an account that is not configured (accounts): its \
                        token is not known here"
                    .into();
            }
        }
        "no configured key fits, nor any known mistake in URL or parameters: most likely the auth \
         token is another account's or an old one, or the request is forged"
            .into()
    }

    /// A body without `bodySHA256`: is at least the URL signed?
    fn explain_unsigned_body(&self, evidence: &Evidence<'_>) -> String {
        let mut search = Search {
            keyring: evidence.keyring,
            claimed: &self.claimed,
            left: MOST_HMACS,
        };
        let target = Target::new(&self.target, self.websocket);
        let urls = candidate_urls(evidence, target);
        for message in &urls {
            if search.key_for(message).is_some() {
                return "the URL is signed, the body is not: this Twilio product does not send \
                        bodySHA256, and its bodies cannot be verified"
                    .into();
            }
        }
        if evidence.body.len() <= MOST_BYTES {
            let form = Form::parse(evidence.body);
            for mut message in urls {
                form.write_signed(&mut message);
                if search.key_for(&message).is_some() {
                    return "it is signed as a form: something on the way changed its content-type"
                        .into();
                }
            }
        }
        "there is no usable bodySHA256 in the query: a proxy may have dropped or changed the query \
         that Twilio sent"
            .into()
    }
}

/// Every URL that may have been signed, as it is signed: a list, so that only one place walks
/// [`PublicUrl::candidates`] for all that is tried here.
#[inline(never)]
fn candidate_urls(evidence: &Evidence<'_>, target: Target<'_>) -> Vec<Vec<u8>> {
    let mut urls = Vec::new();
    for url in evidence.public.candidates(target) {
        let mut text = Vec::new();
        url.write(&mut text);
        urls.push(text);
    }
    urls
}

/// Tries messages until one fits or the budget is spent.
pub(crate) struct Search<'a> {
    keyring: &'a Keyring,
    claimed: &'a ClaimedMac,
    left: u32,
}

impl<'a> Search<'a> {
    /// The key under which this message has the claimed MAC.
    fn key_for(&mut self, message: &[u8]) -> Option<&'a Key> {
        for key in self.keyring.of_mac_length(self.claimed.length()) {
            if self.left == 0 {
                return None;
            }
            self.left -= 1;
            if bool::from(key.signing.mac(message).equals(self.claimed)) {
                return Some(key);
            }
        }
        None
    }
}

/// How many diagnoses this second still has room for.
#[derive(Default)]
pub struct Budget {
    second: Cell<u64>,
    spent: Cell<u32>,
}

impl Budget {
    /// Takes one, if there is one left.
    pub fn take(&self, now: Moment) -> bool {
        let second = now.0 / 1000;
        if self.second.replace(second) != second {
            self.spent.set(0);
        }
        let spent = self.spent.get();
        self.spent.set(spent.saturating_add(1));
        spent < MOST_A_SECOND
    }
}

/// What stale timestamps have in common. One stale request is a late one; if all
/// are late by the same, a clock is.
#[derive(Default)]
pub struct Lateness {
    run: Cell<Option<Run>>,
}

/// Timestamps one after another that were all stale.
#[derive(Clone, Copy)]
struct Run {
    count: u32,
    least: Span,
    most: Span,
}

/// So many in a row are no coincidence.
const A_RUN: u32 = 3;

impl Lateness {
    /// A fresh timestamp: the clocks are right.
    pub fn fresh(&self) {
        self.run.set(None);
    }

    /// A stale one, of this age: what can be said of it.
    pub fn stale(&self, age: Span) -> String {
        let run = match self.run.get() {
            Some(run) => Run {
                count: run.count.saturating_add(1),
                least: run.least.min(age),
                most: run.most.max(age),
            },
            None => Run {
                count: 1,
                least: age,
                most: age,
            },
        };
        self.run.set(Some(run));
        let seconds = |span: Span| span.0 / 1000;
        if run.count < A_RUN {
            return format!("it is {} s old", seconds(age));
        }
        format!(
            "the last {} requests with a timestamp were all {} to {} s old: this host's clock is \
             ahead, or they wait in a queue",
            run.count,
            seconds(run.least),
            seconds(run.most)
        )
    }
}

#[cfg(test)]
mod tests;
