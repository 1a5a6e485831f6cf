//! `store`: where nonces and counters live.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::load::loader::{A_MILLISECOND, Loader};
use crate::config::reader::secrets::SecretKind;
use crate::config::reader::{Node, Object};
use crate::config::settings::defaults;
use crate::secret::Secret;
use crate::store::StoreSettings;
use crate::store::redis::settings::{OnStoreError, RedisSettings};
use crate::store::redis::wire::Api;
use crate::time::Millis;

/// The longest timeout. A request is held for it once at its end, and a second time if Redis alone
/// knew it to be a repeat and a limit counts rejections; a failed response once more.
const MAX_TIMEOUT: Millis = Millis::seconds(10);
/// The longest prefix; a key has some 70 characters more.
const MAX_PREFIX: usize = 64;

impl Loader<'_> {
    /// Reads the `store`: `None` if there is none, or a mistake in it.
    pub(super) fn store(&self, root: &Object<'_>) -> Option<StoreSettings> {
        #[derive(Clone, Copy)]
        enum Type {
            SharedData,
            Redis,
        }
        let node = root.field("store")?;
        let fields = "type, cluster, api, authority, username, password, token, key_prefix, \
                      timeout, on_error";
        let object = node.object(fields)?;
        let types = [("shared_data", Type::SharedData), ("redis", Type::Redis)];
        match object.required("type")?.one_of(&types)? {
            Type::Redis => self.redis(&object).map(StoreSettings::Redis),
            Type::SharedData => {
                for name in fields.split(", ").filter(|name| *name != "type") {
                    self.only_for(&object, name, "type \"redis\"");
                }
                Some(StoreSettings::SharedData)
            }
        }
    }

    fn redis(&self, object: &Object<'_>) -> Option<RedisSettings> {
        let cluster = object.required("cluster").and_then(|node| {
            let what = "the name of a cluster in Envoy's configuration";
            node.text(what).map(str::to_owned)
        });
        let apis = [("webdis", Api::Webdis), ("upstash", Api::Upstash)];
        let api = object.required("api").and_then(|node| node.one_of(&apis));
        let authority = object.field("authority").map(|node| authority(&node));
        let authorization = api.map(|api| match api {
            Api::Webdis => self.basic(object),
            Api::Upstash => self.bearer(object),
        });
        let key_prefix = object.field("key_prefix").map(|node| key_prefix(&node));
        let timeout = object
            .field("timeout")
            .map(|node| node.duration(A_MILLISECOND, MAX_TIMEOUT));
        let words = [
            ("reject", OnStoreError::Reject),
            ("local", OnStoreError::Local),
        ];
        let on_error = object.field("on_error").map(|node| node.one_of(&words));
        // Every field is read before a missing one returns, so that all mistakes are found.
        let cluster = cluster?;
        Some(RedisSettings {
            api: api?,
            authority: authority.unwrap_or(Some(cluster.clone()))?,
            authorization: authorization?,
            key_prefix: key_prefix.unwrap_or(Some(defaults::KEY_PREFIX.to_owned()))?,
            timeout: timeout.unwrap_or(Some(defaults::STORE_TIMEOUT))?,
            on_error: on_error.unwrap_or(Some(OnStoreError::Reject))?,
            cluster,
        })
    }

    /// Reads username and password of Webdis (`http_basic_auth` in its ACL): both or neither.
    fn basic(&self, object: &Object<'_>) -> Option<Secret> {
        self.only_for(object, "token", "api \"upstash\"");
        if object.field("username").is_none() && object.field("password").is_none() {
            self.warn(
                "store",
                "there are no username and password, so that anyone who reaches Webdis can read, \
                 change and delete nonces and counters; give it http_basic_auth",
            );
            return None;
        }
        let secret = |name| {
            let node = object.required(name)?;
            let (secret, _) = node.secret(self.environment, SecretKind::PASSWORD)?;
            Some(secret)
        };
        let (username, password) = (secret("username"), secret("password"));
        let (username, password) = (username?, password?);
        if username.expose().contains(':') {
            // It would end there; the rest would belong to the password (RFC 7617).
            object
                .field("username")
                .and_then(|node| node.expected::<()>("a name without \":\""));
        }
        let pair = format!("{}:{}", username.expose(), password.expose());
        Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
    }

    fn bearer(&self, object: &Object<'_>) -> Option<Secret> {
        self.only_for(object, "username", "api \"webdis\"");
        self.only_for(object, "password", "api \"webdis\"");
        let node = object.required("token")?;
        let (token, _) = node.secret(self.environment, SecretKind::BEARER)?;
        Some(Secret::new(format!("Bearer {}", token.expose())))
    }

    fn only_for(&self, object: &Object<'_>, name: &str, what: &str) {
        if let Some(node) = object.field(name) {
            let what = format_args!("this field is only for the {what}");
            self.problems.note(node.path(), what);
        }
    }
}

fn authority(node: &Node<'_>) -> Option<String> {
    let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let text = node.text_of("a host name, with or without a port", may_stand)?;
    Some(text.to_owned())
}

/// Reads a prefix without braces, since a Redis Cluster hashes what stands in the filter's own.
fn key_prefix(node: &Node<'_>) -> Option<String> {
    let what = "up to 64 letters, digits, `-`, `_`, `.` or `:`";
    let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let text = node.text_of(what, may_stand)?;
    if text.len() > MAX_PREFIX {
        return node.expected(what);
    }
    Some(text.to_owned())
}
