//! Where nonces and rate limits live: the store port, and what stands behind it.
//!
//! [`Store`] is all that the rest of the filter knows of a store. A store that has to ask
//! another process does not wait: it hands out a [`StoreCall`](port::StoreCall), which the driver makes,
//! and the call's [`PendingCall`](port::PendingCall) goes on with the answer.
//!
//! - [`local`]: tables in the memory that the workers of one Envoy share; never hands out a call
//! - [`redis`]: Redis over HTTP, for several Envoys, with the local tables in front
//!
//! A third store is a folder here, an arm in [`open`] and a type in the configuration.

pub mod local;
pub mod port;
pub mod redis;

use std::rc::Rc;

use crate::cas_map::{CasError, CasMap};
use local::store::LocalStore;
use port::{HashKey, Store, Tables};
use redis::settings::RedisSettings;
use redis::store::RedisStore;

/// Where the nonces and limits of a configuration live.
#[derive(Debug, Default)]
pub enum StoreSettings {
    /// In this Envoy's shared data.
    #[default]
    SharedData,
    /// In Redis, for several Envoys.
    Redis(RedisSettings),
}

/// Opens the store of a configuration. `memory` is what the workers of this Envoy share,
/// `random` are bytes that no client knows and no other worker has, and `derive` makes a secret
/// of the signing keys.
///
/// # Errors
/// Those of `memory`.
pub fn open(
    settings: StoreSettings,
    webhooks: &[Tables],
    memory: Rc<dyn CasMap>,
    random: [u8; 16],
    derive: impl FnOnce(&[u8]) -> [u8; 32],
) -> Result<Box<dyn Store>, CasError> {
    let hash_key = HashKey::shared(&*memory, random)?;
    let local = LocalStore::new(webhooks, memory, hash_key);
    Ok(match settings {
        StoreSettings::SharedData => Box::new(local),
        StoreSettings::Redis(settings) => {
            Box::new(RedisStore::new(settings, local, random, derive))
        }
    })
}
