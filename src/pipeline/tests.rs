//! The path of requests, against tables in memory.

mod checks;
/// What one changed operator would break.
mod edges;
/// What an attacker found, and what holds since.
mod findings;
mod limits;
mod replay;
pub(crate) mod world;

use std::rc::Rc;

use crate::cas_map::memory::MemoryMap;
use crate::cas_map::{self, CasError, CasMap, Entry, Version};
use crate::pipeline::filter::Filter;
use crate::pipeline::rejection::Rejection;
use crate::pipeline::tests::world::{
    FORM, NOW, Request, SID, URL, World, after, form, handshake, settings, signature,
    signed_target, taking,
};
use crate::pipeline::verdict::{Outcome, Verdict};
use crate::request::account_sid::AccountSid;
use crate::signature::key::{Nonce, sha256};
use crate::store::local::store::LocalStore;
use crate::store::port::{HashKey, Store, UpstreamOutcome};
use crate::time::Millis;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn account(verdict: &Verdict) -> Option<&str> {
    verdict.record.account.as_ref().map(AccountSid::as_str)
}

/// Returns how a request is rejected.
fn rejection(world: &World, request: &Request) -> Rejection {
    match world.send(request).outcome {
        Outcome::Rejected(rejection) => rejection,
        outcome => panic!("it must not pass: {outcome:?}"),
    }
}

fn limited(key: &str, count: &str) -> World {
    World::new(&format!(
        r#"{{"accounts": [{{"account_sid": "ACa", "auth_tokens": ["a"]}},
                          {{"account_sid": "ACb", "auth_tokens": ["b"]}}],
            "webhooks": [{{"url": "https://orders.example.com/hook"}},
                         {{"url": "https://orders.example.com/other"}}],
            "rate_limits": [{{"key": "{key}", "count": "{count}", "requests": 2, "window": "60s"}}]}}"#
    ))
}

fn of(token: &str, body: &str) -> Request {
    form(body).signed(token, URL, body)
}

#[test]
fn with_the_mode_off_everything_passes_unchecked() {
    let world = World::new(r#"{"mode": "off"}"#);
    world.expect(&form("").to("/anything"), "unchecked");
}

#[test]
fn a_store_that_fails_lets_nothing_through() {
    struct Broken;
    impl CasMap for Broken {
        fn get(&self, _: &str) -> cas_map::Result<Option<Entry>> {
            Err(CasError::Unavailable)
        }
        fn compare_and_swap(&self, _: &str, _: Option<Version>, _: &[u8]) -> cas_map::Result<bool> {
            Err(CasError::Unavailable)
        }
    }
    for json in ["{}", r#"{"rate_limits": []}"#] {
        let memory = Rc::new(MemoryMap::new());
        let shared: Rc<dyn CasMap> = Rc::clone(&memory) as _;
        let filter = Filter::with_store(settings(json), shared, |tables, _| {
            let store = LocalStore::new(tables, Rc::new(Broken), HashKey([7; 16]));
            Ok::<Box<dyn Store>, CasError>(Box::new(store))
        });
        let world = World::with_filter(&memory, filter.expect("a store"));
        world.expect(&form("a=1"), "store_unavailable");
    }
}
