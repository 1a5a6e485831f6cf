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
#[cfg(feature = "companion")]
pub mod companion;
mod host;
mod pipeline;
mod stream;

mod config;
mod diagnosis;
mod request;
mod signature;
mod store;

mod cas_map;
mod copied;
mod reason;
mod secret;
mod sort;
mod time;

#[cfg(test)]
mod tests;

pub use cas_map::memory::MemoryMap;
pub use cas_map::sharded::ShardedMap;
pub use cas_map::{CasError, CasMap, Entry, Version};
pub use config::load::load;
pub use config::settings::{Count, Mode, RuleKey, RuleSettings, Settings};
pub use pipeline::filter::Filter;
pub use pipeline::limits::Rules;
pub use pipeline::rejection::{Limited, Rejection};
pub use pipeline::step::{AwaitingBody, AwaitingStore, Step};
pub use pipeline::verdict::{ACCEPTED, Accepted, Outcome, RequestRecord, Verdict};
pub use pipeline::webhook::Webhook;
pub use reason::Reason;
pub use request::client_address::ClientAddress;
pub use request::headers::{Headers, SETTINGS_HEADER, SIGNATURE_HEADER};
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
pub use store::StoreSettings;
pub use store::local::limiter::{CheckResult, Limit, Limiter, MAX_MOMENTS};
pub use store::local::nonces::{
    Change, Claim, Claimed, IN_FLIGHT, MAX_ABANDONED, NonceRules, NonceTable, OnFull, PriorDelivery,
};
pub use store::local::store::LocalStore;
pub use store::port::{
    CallError, ClaimRequest, Decision, HashKey, HttpCall, HttpResponse, LimitCheck, LimitSettings,
    NonceTableSettings, Notice, NoticeLevel, PendingCall, Progress, Query, Report, Store,
    StoreCall, Tables, Untold, UpstreamOutcome,
};
pub use store::redis::correlation::Correlation;
pub use store::redis::keyspace::Keyspace;
pub use store::redis::script_call::{ScriptCall, ScriptRef};
pub use store::redis::script_reply::{Failure, ScriptReply};
pub use store::redis::scripts::Scripts;
pub use store::redis::settings::{OnStoreError, RedisSettings};
pub use store::redis::settlement_queue::Settlement;
pub use store::redis::store::RedisStore;
pub use store::redis::wire::Api;
pub use stream::flush::{Flush, PERIOD};
pub use stream::host::{
    Action, CallId, Direction, HeaderBlock, Host, HostError, Level, LocalResponse, Metric,
    MetricKind,
};
pub use stream::http_stream::HttpStream;
pub use stream::startup::start;
pub use stream::worker::Worker;
pub use time::{Millis, Timestamp};
