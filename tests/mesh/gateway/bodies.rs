use serde_json::{Value, json};
use support::tap::Behaviour;

use super::control_plane::{EnvoyGateway, Running};
use crate::proxy::{Module, PAUSE, large, modules, outcome, passed, readers};

const MEGABYTE: usize = 1 << 20;

/// A gateway for large bodies, with Lua of other policies, which reads them.
fn with_readers(module: Module, store: bool) -> Running {
    let mut gateway = match (store, module) {
        (false, _) => EnvoyGateway::overlay(module),
        (true, Module::Wasm) => EnvoyGateway::with_components(module, &["redis"]).redis(),
        (true, Module::Native) => EnvoyGateway::with_components(module, &["redis-native"]).redis(),
    };
    let configuration = gateway.configuration();
    configuration["max_body_bytes"] = json!(2 * MEGABYTE);
    if store {
        // This machine is busy, and this test is not about time.
        configuration["store"]["timeout"] = json!("5s");
    }
    let policy = &mut gateway
        .manifests
        .named_mut("ClientTrafficPolicy", "twilio-webhooks")["spec"];
    policy["connection"]["bufferLimit"] = json!("4Mi");
    policy["http2"]["initialStreamWindowSize"] = json!("4Mi");
    let named = |(index, mut filter): (usize, Value)| {
        filter["name"] = json!(format!(
            "envoy.filters.http.lua/envoyextensionpolicy/shop/other/lua/{index}"
        ));
        filter
    };
    gateway.others = readers().into_iter().enumerate().map(named).collect();
    gateway.start()
}

#[test]
fn a_megabyte_in_pieces_arrives_whole_behind_filters_that_read_it_with_redis_and_without() {
    for &module in modules() {
        for store in [false, true] {
            let running = with_readers(module, store);
            running.envoy.run(async |t| {
                t.upstream(Behaviour::Answer(200));
                for (round, size) in [16 * 1024, 100_000].into_iter().enumerate() {
                    let request = large(MEGABYTE);
                    let answer = t
                        .http1()
                        .await
                        .send_pieces(&request.chunks(size), PAUSE)
                        .await;
                    assert_eq!(outcome(&answer), passed(), "{module:?} {store}");
                    let received = t.received().remove(round);
                    assert!(
                        received.body == request.body,
                        "{} bytes",
                        received.body.len()
                    );
                    assert_eq!(
                        received.header("x-length"),
                        Some(&*request.body.len().to_string())
                    );
                }
            });
            assert_eq!(running.keys_in_redis() > 0, store);
        }
    }
}

#[test]
fn the_filter_is_in_front_of_what_changes_bodies() {
    for &module in modules() {
        let mut gateway = EnvoyGateway::overlay(module);
        gateway.others = ["ext_authz", "buffer", "lua", "ext_proc", "cors"]
            .map(|kind| json!({"name": format!("envoy.filters.http.{kind}/of/another/policy")}))
            .into();
        let (generated, _) = gateway.generate();
        let filters = &generated.listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
        let names: Vec<_> = filters
            .as_array()
            .expect("filters")
            .iter()
            .map(|filter| {
                let name = filter["name"].as_str().expect("a name");
                name.split('/')
                    .next()
                    .expect("a kind")
                    .rsplit('.')
                    .next()
                    .expect("a kind")
                    .to_owned()
            })
            .collect();
        let own = if module == Module::Wasm {
            "wasm"
        } else {
            "dynamic_modules"
        };
        assert_eq!(
            names,
            [
                "cors",
                own,
                "ext_authz",
                "buffer",
                "lua",
                "ext_proc",
                "router"
            ]
        );
    }
}
