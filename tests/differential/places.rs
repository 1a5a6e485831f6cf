//! The webhooks that all requests go to, and the filter's configuration with them: the same for the core in this
//! process and for the one in Envoy.

use serde_json::{Value, json};

use crate::contract::Spelling;
use support::random::Random;
use support::reference::Parts;

/// How many: fewer than a configuration may have, more than enough for every kind of URL.
pub(crate) const PLACES: u64 = 200;

pub(crate) const ACCOUNT: &str = "AC5ef872f6da5a21de157d80997a64bd33";
pub(crate) const TOKEN: &str = "1c892n40nd03kdnc0112slzkl3091j20";
/// Nobody has configured it.
pub(crate) const OTHER_TOKEN: &str = "e5c0ffee2d1a4b7f9083c6aa17d2be44";
pub(crate) const SHARED_KEY: &str = "webhooks_sharedkey_01";
pub(crate) const SHARED_SECRET: &str = "s3cr3t-of-the-shared-key,longer-than-20-bytes";

/// A webhook and how its URL is configured.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// As the request has it.
    pub(crate) path: String,
    /// The URL without its query: the libraries are given this and the query as received.
    pub(crate) base: String,
    /// The query of the configured URL.
    pub(crate) own_query: Option<String>,
    pub(crate) websocket: bool,
}

impl Place {
    /// The URL as the libraries have it.
    pub(crate) fn url(&self, query: Option<&str>) -> String {
        match query {
            Some(query) => format!("{}?{query}", self.base),
            None => self.base.clone(),
        }
    }

    /// What the operator wrote: for half of the WebSockets the `https` URL that their page is served from.
    fn configured(&self) -> String {
        let url = self.url(self.own_query.as_deref());
        match url.strip_prefix("wss://") {
            Some(rest) if url.len().is_multiple_of(2) => format!("https://{rest}"),
            _ => url,
        }
    }
}

pub(crate) fn places(seed: u64) -> Vec<Place> {
    (0..PLACES)
        .map(|index| place(&mut Random::new(!seed, index), index))
        .collect()
}

fn place(random: &mut Random, index: u64) -> Place {
    let websocket = random.chance(12);
    let scheme = if websocket {
        "wss"
    } else {
        random.weighted(&[(70, "https"), (26, "http"), (4, "HTTPS")])
    };
    let host = random.weighted(&[
        (50, "orders.example.com"),
        (14, "Orders.Example.COM"),
        (8, "192.0.2.7"),
        (14, "[2001:db8::7]"),
        (5, "[2001:DB8:0:0::7]"),
        (9, "xn--caf-dma.example"),
    ]);
    let port = random.weighted(&[
        (50, None),
        (12, Some("443")),
        (12, Some("80")),
        (20, Some("8443")),
        (6, Some("65535")),
    ]);
    let userinfo = random.weighted(&[(82, ""), (12, "user:pass@"), (6, "user@")]);
    // The number makes the path this webhook's own.
    let url_path = match random.weighted(&[
        (44, 0),
        (8, 1),
        (8, 2),
        (8, 3),
        (8, 4),
        (8, 5),
        (8, 6),
        (8, 7),
    ]) {
        _ if index == 0 => String::new(),
        0 => format!("/v{index}/webhook"),
        1 => format!("/v{index}/"),
        2 => format!("//v{index}//webhook"),
        3 => format!("/v{index}/../webhook{index}"),
        4 => format!("/v{index}/%7Euser/caf%c3%A9"),
        5 => format!("/v{index}/web;hook;"),
        6 => format!("/v{index}/o'clock,[1]"),
        _ => format!("/v{index}/a:b@c;"),
    };
    let path = match index {
        0 => "/".to_owned(),
        // Rewritten on the way.
        1..=8 => format!("/rewritten/{index}"),
        _ => url_path.clone(),
    };
    let own_query = random.chance(25).then(|| {
        let own = random.pick(&[
            "b='2'&a=x+y",
            "to=%2B49&to=%2B44",
            "q=%C3%B1",
            "z=1&y=2&x=3",
            "rc=5:@&e=",
        ]);
        own.to_owned()
    });
    let parts = Parts {
        scheme: scheme.to_owned(),
        userinfo: userinfo.to_owned(),
        host: host.to_owned(),
        port: port.map(str::to_owned),
        path: url_path,
        query: None,
    };
    let base = parts.url();
    Place {
        path,
        base,
        own_query,
        websocket,
    }
}

/// The filter's configuration: nothing but signatures decides.
pub(crate) fn configuration(places: &[Place], spelling: Spelling) -> Value {
    let webhook = |place: &Place| json!({"path": place.path, "url": place.configured(), "methods": ["GET", "POST"]});
    json!({
        "accounts": [{"account_sid": ACCOUNT, "auth_tokens": [TOKEN]}],
        "shared_keys": [{"id": SHARED_KEY, "secret": SHARED_SECRET}],
        "webhooks": places.iter().map(webhook).collect::<Vec<_>>(),
        "form": spelling.name(),
        "max_body_bytes": 1_048_576,
        "timestamp": {"params": [], "header": null},
        "replay": "off",
        "rate_limits": [],
        "log": {"max_per_second": 0},
    })
}
