use std::net::IpAddr;

use serde_json::json;
use support::http2::Framing;
use support::messages::{
    ACCOUNT, ORIGIN, TOKEN, WEBHOOK, form, form_for, message, pairs, sid, unsigned, whatsapp,
};
use support::tap::Behaviour;

use super::control_plane::{Istio, Mesh};
use crate::proxy::{ask, large, outcome, passed, rejected};

/// A signed callback to a path that Envoy would write otherwise.
fn with_unusual_path(path: &str) -> support::wire::Request {
    form(
        path,
        &pairs([("MessageSid", &sid("SM")), ("AccountSid", ACCOUNT)]),
    )
}

/// Paths that Istio passes on as they are, and paths that it normalises.
const KEPT: [&str; 2] = ["/callbacks/a//b", "/callbacks/a%2Fb"];
const NORMALISED: [&str; 3] = [
    "/callbacks/%7Euser",
    "/callbacks/a/./b",
    "/callbacks/a/../b",
];

/// A gateway with a webhook at each of these paths.
fn with_unusual_webhooks(mut istio: Istio) -> Mesh {
    let paths = KEPT.into_iter().chain(NORMALISED);
    let webhooks: Vec<_> = paths.map(|path| json!({"path": path})).collect();
    istio.configure(json!({"public_base_url": ORIGIN, "webhooks": webhooks}));
    istio.start()
}

#[test]
fn with_istios_own_normalisation_an_unusual_path_fails_and_with_the_mesh_values_it_passes() {
    let mesh = with_unusual_webhooks(Istio::overlay("shared-gateway"));
    mesh.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for path in KEPT {
            assert_eq!(
                ask(t, "webhooks", &with_unusual_path(path)).await,
                passed(),
                "{path}"
            );
        }
        for path in NORMALISED {
            let outcome = ask(t, "webhooks", &with_unusual_path(path)).await;
            assert_eq!(outcome, rejected(404, "unknown_webhook"), "{path}");
        }
    });
    let mesh = with_unusual_webhooks(Istio::overlay("shared-gateway").mesh_values());
    mesh.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        for path in KEPT.into_iter().chain(NORMALISED) {
            assert_eq!(
                ask(t, "webhooks", &with_unusual_path(path)).await,
                passed(),
                "{path}"
            );
        }
        let targets: Vec<_> = t.received().into_iter().map(|one| one.target).collect();
        assert_eq!(
            targets,
            [&KEPT[..], &NORMALISED].concat(),
            "as they were sent"
        );
    });
}

#[test]
fn with_the_profile_edge_a_long_body_fails_and_with_the_buffers_it_passes() {
    let body = || large(48 * 1024);
    let framing = || Framing {
        piece: 16 * 1024,
        ..Framing::default()
    };
    let mesh = Istio::overlay("shared-gateway").edge().start();
    mesh.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        // Envoy's own answer, which gives no reason.
        assert_eq!(ask(t, "webhooks", &body()).await, (413, String::new()));
        assert_eq!(ask(t, "webhooks", &message()).await, passed());
    });
    let mesh = Istio::with_components("shared-gateway", &["buffers"])
        .edge()
        .start();
    mesh.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        assert_eq!(ask(t, "webhooks", &body()).await, passed());
        let answer = t.http2().await.send(&body(), framing()).await;
        assert_eq!(outcome(&answer), passed());
    });
}

#[test]
fn istios_own_buffers_hold_what_the_filter_accepts_by_default() {
    for name in ["shared-gateway", "gateway", "sidecar", "waypoint"] {
        let mesh = Istio::overlay(name).start();
        mesh.envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            assert_eq!(ask(t, "webhooks", &large(60_000)).await, passed(), "{name}");
            let answer = t
                .http2()
                .await
                .send(&large(60_000), Framing::default())
                .await;
            assert_eq!(outcome(&answer), passed(), "{name}");
            let outcome = ask(t, "webhooks", &large(70_000)).await;
            assert_eq!(outcome, rejected(413, "body_too_large"), "{name}");
        });
    }
}

/// The client's address in the filter's line about a forged request.
async fn client_ip(t: &support::envoy::Test<'_>, forwarded: &str) -> IpAddr {
    let request = unsigned("POST", WEBHOOK).header("x-forwarded-for", forwarded);
    let answer = t.send_to("webhooks", &request).await;
    let id = answer.json()["request_id"].clone();
    let lines = t.log_lines(1, |line| line["request_id"] == id).await;
    lines[0]["client_ip"]
        .as_str()
        .expect("an address")
        .parse()
        .expect("an address")
}

#[test]
fn the_number_of_trusted_proxies_decides_whose_address_is_limited() {
    for (hops, expected) in [
        (0, None),
        (1, Some("203.0.113.9")),
        (2, Some("198.51.100.7")),
    ] {
        let mesh = Istio::overlay("gateway").trusted_hops(hops).start();
        mesh.envoy.run(async |t| {
            let seen = client_ip(t, "192.0.2.66, 198.51.100.7, 203.0.113.9").await;
            let expected = expected.map_or(t.address, |address: &str| {
                address.parse().expect("an address")
            });
            assert_eq!(seen, expected, "{hops}");
        });
    }
    // Behind a gateway of the mesh the last address is the one that the gateway saw.
    let mesh = Istio::overlay("sidecar").start();
    mesh.envoy.run(async |t| {
        let seen = client_ip(t, "192.0.2.66, 203.0.113.9").await;
        assert_eq!(seen, "203.0.113.9".parse::<IpAddr>().expect("an address"));
    });
}

#[test]
fn a_rotation_accepts_both_tokens_and_then_the_new_one() {
    const NEXT: &str = "28d6e4f2a0b8c6d4e2f0a8b6c4d2e0f8";
    // docs/mesh.md, the state after step 2 and after step 4.
    for (secret, accepted) in [
        (&[("TWILIO_AUTH_TOKEN_NEXT", NEXT)][..], &[TOKEN, NEXT][..]),
        (
            &[
                ("TWILIO_AUTH_TOKEN", NEXT),
                ("TWILIO_AUTH_TOKEN_NEXT", NEXT),
            ],
            &[NEXT],
        ),
    ] {
        let mut istio = Istio::overlay("shared-gateway");
        istio.configure(
            json!({"accounts": [{"account_sid": ACCOUNT, "auth_tokens": [
                {"env": "TWILIO_AUTH_TOKEN"}, {"env": "TWILIO_AUTH_TOKEN_NEXT"},
            ]}]}),
        );
        istio.secret = secret.to_vec();
        let mesh = istio.start();
        mesh.envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            let url = format!("{ORIGIN}{WEBHOOK}");
            for token in [TOKEN, NEXT] {
                let request = form_for(token, &url, WEBHOOK, &whatsapp());
                let expected = match accepted.contains(&token) {
                    true => passed(),
                    false => rejected(403, "invalid_signature"),
                };
                assert_eq!(ask(t, "webhooks", &request).await, expected);
            }
        });
    }
}

#[test]
fn no_client_can_have_the_proxy_send_a_request_twice() {
    let mesh = Istio::overlay("shared-gateway").start();
    mesh.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(500));
        // What Envoy takes from addresses that it counts as internal: none, since Istio names none.
        let request = message().header("x-envoy-retry-on", "5xx");
        assert_eq!(ask(t, "webhooks", &request).await, (500, String::new()));
        assert_eq!(t.received_count(), 1);
        // The service has failed, so that Twilio's own retry passes.
        t.upstream(Behaviour::Answer(200));
        assert_eq!(ask(t, "webhooks", &request).await, passed());
    });
}
