//! Why a signature does not fit: what would have made it match, in plain words.
//!
//! A wrong signature is one wrong byte somewhere in a URL that nobody in the mesh
//! sees and in a body that several hands have touched. So the mistakes that are
//! known to be made are tried one after another, the likely ones first, and the first
//! under which the signature fits is told. That happens off the path of accepted requests,
//! a bounded number of times a second, and ends when a bounded amount of work is done,
//! whatever the request looks like.
//!
//! A hint never changes a verdict. It names what is configured and what was matched;
//! a URL part in it has been signed with a configured key, so whoever holds the key
//! has chosen it. It holds no parameter's value, no query, and no secret.
//!
//! - `context`: what a diagnosis looks at
//! - `explain`: the order in which the mistakes are tried
//! - `work`: how much is done, and the messages that are tried
//! - `keys`: which keys they are tried with
//! - `last_verified`: which keys are known to be right
//! - `urls`: another scheme, host, port or path
//! - `queries`: another order or escaping of the query, more parameters
//! - `parameters`: a form changed on the way; `names`: what is known of its parameters
//! - `spellings`, `charsets`: the same text in other bytes
//! - `body`: a JSON body written anew, or without its hash
//! - `remains`: what is said if nothing fits
//! - `rate`: how often it is done
//! - `stale_streak`: the clock

mod body;
mod charsets;
mod context;
mod explain;
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
pub use rate::Budget;
pub use stale_streak::StaleStreak;

#[cfg(test)]
mod tests;
