use support::envoy::Test;
use support::messages::{forged, form, unsigned, whatsapp};
use support::tap::Behaviour;

use super::control_plane::Istio;
use crate::proxy::{ask, assert_webhook_is_checked, for_host, modules, passed, rejected};

/// A request that the filter has not seen: whatever it would reject or remove arrives as it was sent.
async fn assert_not_touched(t: &Test<'_>, listener: &str, host: &str) {
    let before = t.received_count();
    let request = forged(&whatsapp()).header("x-twilio-webhook-verified", "by the client");
    let request = for_host(request, host);
    assert_eq!(ask(t, listener, &request).await, passed());
    let received = t.received().remove(before);
    assert_eq!(
        received.header("x-twilio-webhook-verified"),
        Some("by the client")
    );
    assert_eq!(received.body, request.body);
    let page = for_host(unsigned("GET", "/menu"), host);
    assert_eq!(ask(t, listener, &page).await, passed());
}

#[test]
fn on_a_shared_gateway_the_webhooks_host_is_checked_and_other_hosts_are_not_touched() {
    for &module in modules() {
        let mesh = Istio::overlay(&Istio::name(module, "shared-gateway")).start();
        mesh.envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            assert_webhook_is_checked(t).await;
            let other = unsigned("GET", "/menu");
            assert_eq!(
                ask(t, "webhooks", &other).await,
                rejected(404, "unknown_webhook")
            );
            assert_not_touched(t, "webhooks", "shop.example.com").await;
        });
    }
}

#[test]
fn with_one_route_the_other_routes_of_the_host_are_not_touched_either() {
    for &module in modules() {
        let name = Istio::name(module, "shared-gateway");
        let mesh = Istio::with_components(&name, &["one-route"]).start();
        mesh.envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            assert_webhook_is_checked(t).await;
            assert_eq!(
                ask(t, "webhooks", &unsigned("GET", "/menu")).await,
                passed()
            );
            assert_not_touched(t, "webhooks", "shop.example.com").await;
            // What the component warns of: another spelling takes another route, where there is no filter.
            let around =
                form("/api/v1//whatsapp/webhook", &whatsapp()).without("x-twilio-signature");
            assert_eq!(ask(t, "webhooks", &around).await, passed());
        });
    }
}

#[test]
fn on_a_gateway_of_its_own_every_request_is_checked() {
    for &module in modules() {
        let mesh = Istio::overlay(&Istio::name(module, "gateway")).start();
        mesh.envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            assert_webhook_is_checked(t).await;
            for host in ["orders.example.com", "shop.example.com"] {
                let other = for_host(unsigned("GET", "/menu"), host);
                assert_eq!(
                    ask(t, "webhooks", &other).await,
                    rejected(404, "unknown_webhook")
                );
            }
        });
    }
}

#[test]
fn in_a_sidecar_the_port_is_checked_and_another_port_is_not_touched() {
    for &module in modules() {
        let mesh = Istio::overlay(&Istio::name(module, "sidecar")).start();
        mesh.envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            assert_webhook_is_checked(t).await;
            assert_not_touched(t, "other", "ordering:9090").await;
        });
    }
}

#[test]
fn in_a_sidecar_exempt_paths_are_for_other_services() {
    let mut istio = Istio::overlay("sidecar");
    istio.configure(serde_json::json!({"exempt_paths": ["/internal/*"]}));
    let mesh = istio.start();
    mesh.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        assert_webhook_is_checked(t).await;
        assert_eq!(
            ask(t, "webhooks", &unsigned("GET", "/internal/orders")).await,
            passed()
        );
    });
}

#[test]
fn on_a_waypoint_the_service_is_checked_and_another_service_is_not_touched() {
    for &module in modules() {
        let mesh = Istio::overlay(&Istio::name(module, "waypoint")).start();
        mesh.envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            assert_webhook_is_checked(t).await;
            assert_not_touched(t, "other", "menu").await;
        });
    }
}

#[test]
fn a_host_that_matches_nothing_leaves_the_filter_off() {
    // Why docs/mesh.md asks for an unsigned request after each change.
    let mut istio = Istio::overlay("shared-gateway");
    let path = "/spec/configPatches/2/match/routeConfiguration/vhost/domainName";
    let domain = istio.filter().pointer_mut(path).expect("a host");
    assert_eq!(*domain, "orders.example.com");
    *domain = "order.example.com".into();
    let mesh = istio.start();
    mesh.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        assert_not_touched(t, "webhooks", "orders.example.com").await;
    });
}
