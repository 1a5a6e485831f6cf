//! How Redis is reached.

use crate::secret::Secret;
use crate::store::redis::wire::Api;
use crate::time::Millis;

/// How Redis is reached.
#[derive(Debug)]
pub struct RedisSettings {
    /// The cluster of Envoy's configuration.
    pub cluster: String,
    /// The HTTP form of the service there.
    pub api: Api,
    /// The `Host` header.
    pub authority: String,
    /// The `Authorization` header, if the service wants one.
    pub authorization: Option<Secret>,
    /// What all keys begin with, in the braces that keep them in one slot of a cluster.
    pub key_prefix: String,
    /// For how long a response is awaited.
    pub timeout: Millis,
    /// What happens without one.
    pub on_error: OnStoreError,
}

/// What happens to a request when Redis does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreError {
    /// It is rejected.
    Reject,
    /// This Envoy's own tables decide.
    Local,
}
