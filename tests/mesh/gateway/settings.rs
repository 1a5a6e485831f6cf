use serde_json::json;
use support::http2::Framing;
use support::messages::{
    ACCOUNT, ORIGIN, WEBHOOK, forged, form, message, pairs, sid, unsigned, whatsapp,
};
use support::tap::Behaviour;

use super::control_plane::{EnvoyGateway, Running};
use crate::manifests::file;
use crate::proxy::{Module, ask, assert_shows, large, modules, outcome, passed, rejected};

#[test]
fn with_envoy_gateways_own_buffers_a_long_body_fails_and_with_the_policy_it_passes() {
    let framing = || Framing {
        piece: 16 * 1024,
        ..Framing::default()
    };
    let running = EnvoyGateway::overlay(Module::Wasm)
        .without("ClientTrafficPolicy")
        .start();
    running.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        // Envoy's own answer, which gives no reason.
        assert_eq!(
            ask(t, "webhooks", &large(48 * 1024)).await,
            (413, String::new())
        );
        assert_eq!(ask(t, "webhooks", &message()).await, passed());
    });
    let running = EnvoyGateway::overlay(Module::Wasm).start();
    running.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        assert_eq!(ask(t, "webhooks", &large(60_000)).await, passed());
        let answer = t.http2().await.send(&large(60_000), framing()).await;
        assert_eq!(outcome(&answer), passed());
        assert_eq!(
            ask(t, "webhooks", &large(70_000)).await,
            rejected(413, "body_too_large")
        );
    });
}

/// Paths that Envoy Gateway changes by itself and the policy keeps, and one that only the component keeps.
const SLASHES: [&str; 2] = ["/callbacks/a//b", "/callbacks/a%2Fb"];
const NORMALISED: &str = "/callbacks/%7Euser";

/// A route for all paths, with a webhook at each of these.
fn with_unusual_webhooks(mut gateway: EnvoyGateway) -> Running {
    let webhooks: Vec<_> = SLASHES
        .into_iter()
        .chain([NORMALISED])
        .map(|path| json!({"path": path}))
        .collect();
    *gateway.configuration() = json!({"public_base_url": ORIGIN, "webhooks": webhooks});
    let (mut generated, not_found) = gateway.generate();
    let hosts = &mut generated.listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
        ["virtual_hosts"];
    assert_eq!(hosts[0]["routes"][0]["match"], json!({"path": WEBHOOK}));
    hosts[0]["routes"][0]["match"] = json!({"prefix": "/callbacks/"});
    Running::new(generated.start(), not_found)
}

fn callback(path: &str) -> support::wire::Request {
    form(
        path,
        &pairs([("MessageSid", &sid("SM")), ("AccountSid", ACCOUNT)]),
    )
}

#[test]
fn the_path_arrives_as_twilio_has_signed_it_with_the_policy_and_the_component() {
    let running =
        with_unusual_webhooks(EnvoyGateway::overlay(Module::Wasm).without("ClientTrafficPolicy"));
    running.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        assert_eq!(
            ask(t, "webhooks", &callback(SLASHES[0])).await,
            rejected(404, "unknown_webhook")
        );
        // A redirect, which Twilio does not follow with a signature for the new path.
        assert_eq!(
            ask(t, "webhooks", &callback(SLASHES[1])).await,
            (307, String::new())
        );
    });
    let running = with_unusual_webhooks(EnvoyGateway::overlay(Module::Wasm));
    running.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for path in SLASHES {
            assert_eq!(
                ask(t, "webhooks", &callback(path)).await,
                passed(),
                "{path}"
            );
        }
        assert_eq!(
            ask(t, "webhooks", &callback(NORMALISED)).await,
            rejected(404, "unknown_webhook")
        );
    });
    let running =
        with_unusual_webhooks(EnvoyGateway::with_components(Module::Wasm, &["keep-path"]));
    running.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        assert_eq!(ask(t, "webhooks", &callback(NORMALISED)).await, passed());
        assert_eq!(t.received_one().target, NORMALISED);
    });
}

#[test]
fn the_number_of_trusted_proxies_decides_whose_address_is_limited() {
    for (hops, expected) in [(0, None), (1, Some("203.0.113.9"))] {
        let mut gateway = EnvoyGateway::overlay(Module::Wasm);
        let policy = gateway
            .manifests
            .named_mut("ClientTrafficPolicy", "twilio-webhooks");
        let number = &mut policy["spec"]["clientIPDetection"]["xForwardedFor"]["numTrustedHops"];
        assert_eq!(*number, json!(0));
        *number = json!(hops);
        let running = gateway.start();
        running.envoy.run(async |t| {
            let request =
                unsigned("POST", WEBHOOK).header("x-forwarded-for", "192.0.2.66, 203.0.113.9");
            let id = t.send_to("webhooks", &request).await.json()["request_id"].clone();
            let lines = t.log_lines(1, |line| line["request_id"] == id).await;
            let expected = expected.map_or(t.address.to_string(), str::to_owned);
            assert_eq!(lines[0]["client_ip"], expected);
        });
    }
}

#[test]
fn metrics_have_their_labels() {
    for &module in modules() {
        let running = EnvoyGateway::overlay(module).start();
        running.envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            for request in [message(), forged(&whatsapp())] {
                ask(t, "webhooks", &request).await;
            }
        });
        let line =
            r#"twilio_webhook_requests{verdict="accepted",webhook="api-v1-whatsapp-webhook"} 1"#;
        assert_shows(&running.envoy, line, &format!("{module:?}"));
    }
}

#[test]
fn the_labels_are_those_of_the_envoy_without_a_gateway() {
    let tags = file("envoy.yaml")["stats_config"]["stats_tags"].clone();
    let proxy = file("gateway/overlays/wasm/proxy.yaml");
    let patches = proxy["spec"]["bootstrap"]["jsonPatches"]
        .as_array()
        .expect("patches");
    let added: Vec<_> = patches.iter().map(|patch| patch["value"].clone()).collect();
    assert_eq!(json!(added), tags);
}
