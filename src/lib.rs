#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented
    )
)]

// The layout is the architecture: imports point downwards in this list, and
// `scripts/imports` holds that.
mod host;
mod pipeline;

mod config;
mod diagnosis;
mod request;
mod signature;
mod store;

mod cas_map;
mod copied;
mod reason;
mod secret;
mod time;

pub use cas_map::memory::MemoryMap;
pub use cas_map::{CasError, CasMap, Entry, Version};
pub use config::load::load;
pub use config::settings::{Count, OnStoreError, RedisSettings, RuleKey, RuleSettings, Settings};
pub use pipeline::answer::Answer;
pub use pipeline::limits::{HashKey, LimitCheck, Rules};
pub use pipeline::state::{Filter, Next, SETTINGS_HEADER, SIGNATURE_HEADER, Surroundings};
pub use pipeline::verdict::{ACCEPTED, Outcome, Verdict};
pub use reason::Reason;
pub use request::client_address::ClientAddress;
pub use request::headers::Headers;
pub use request::path::PathPattern;
pub use request::timestamp::Freshness;
pub use secret::Secret;
pub use signature::configured_url::ConfiguredUrl;
pub use signature::coverage::{Coverage, DeclaredBody, Method, MethodKind, Repeated};
pub use signature::form::{Form, FormReading};
pub use signature::key::{ClaimedMac, ComputedMac, Nonce, SigningKey};
pub use signature::keyring::{Key, Keyring};
pub use signature::url::{MAX_URLS, PublicUrl, Target};
pub use signature::verify::{Signed, verify};
pub use store::local::limiter::{Limit, Limiter, MAX_MOMENTS, Taken};
pub use store::local::nonces::{
    Change, Claim, Claimed, First, IN_FLIGHT, MAX_ABANDONED, NonceRules, NonceTable, OnFull,
};
pub use store::redis::script_call::{ScriptCall, ScriptRef};
pub use store::redis::script_reply::{Failure, ScriptReply};
pub use store::redis::scripts::Scripts;
pub use store::redis::settlement_queue::Settlement;
pub use store::redis::shared::RedisStore;
pub use store::redis::wire::Api;
pub use time::{Millis, Timestamp};
