//! Why a signature does not match, and what would have made it match, in plain words.
//!
//! One wrong byte is enough, in a URL that nobody in the mesh sees or in a body that several
//! proxies have touched. So the known mistakes are tried in the order of their likelihood, and the
//! hint names the first under which the signature matches. This happens off the path of accepted
//! requests, a bounded number of times a second, with a bounded amount of work for any request.
//!
//! A hint never changes a verdict. It names what is configured and what was matched: a part of a
//! URL appears in it only if a configured key has signed that. It contains no parameter's value, no
//! query, and no secret.
//!
//! Nothing here is hot, and it is a large part of the module: `#[inline(never)]` stands where it
//! makes the module smaller by 300 bytes or more.
//!
//! - `context`: what a diagnosis looks at
//! - `explain`: the order in which the mistakes are tried
//! - `found`: the message that was found to be signed, for the companion
//! - `work`: how much work a diagnosis may do, and the messages that it tries
//! - `keys`: the keys to try; `last_verified`: which of them are known to be right
//! - `urls`: another scheme, host, port or path; `queries`: another query
//! - `parameters`: a form changed on the way; `names`: what is known of Twilio's parameters
//! - `body`: a JSON body rewritten, or without its hash
//! - `spellings`, `charsets`: the same text in other bytes
//! - `remains`: the hint if nothing matches
//! - `stale_streak`: a wrong clock
//! - `rate`: how many diagnoses a worker makes

mod body;
mod charsets;
mod context;
mod explain;
mod found;
mod keys;
mod last_verified;
mod names;
mod parameters;
mod queries;
mod rate;
mod remains;
mod spellings;
mod stale_streak;
mod urls;
mod work;

pub use context::{Context, FailedSignature};
pub use last_verified::LastVerified;
#[cfg(feature = "companion")]
pub(crate) use names::is_known as is_known_parameter;
pub use rate::Budget;
pub use stale_streak::{StaleStreak, hint_of_age};

#[cfg(test)]
mod tests;
