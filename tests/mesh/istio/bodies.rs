use serde_json::json;
use support::http1::Http1;
use support::http2::Framing;
use support::tap::Behaviour;
use support::wire::Request;

use super::control_plane::{Istio, Mesh};
use crate::ext_proc::Processor;
use crate::proxy::{Module, PAUSE, ask, large, modules, outcome, passed, readers, rejected};

const MEGABYTE: usize = 1 << 20;

/// A shared gateway for large bodies.
fn for_large_bodies(module: Module, store: bool) -> Istio {
    let name = Istio::name(module, "shared-gateway");
    let redis = match module {
        Module::Wasm => "redis",
        Module::Native => "redis-native",
    };
    let mut components = vec!["buffers"];
    if store {
        components.push(redis);
    }
    let mut istio = Istio::with_components(&name, &components);
    if store {
        istio = istio.redis();
    }
    istio.configure(json!({"max_body_bytes": 2 * MEGABYTE, "rate_limits": []}));
    if store {
        let mut configuration: serde_json::Value =
            serde_json::from_str(istio.configuration().as_str().expect("a text")).expect("JSON");
        // This machine is busy, and this test is not about time.
        configuration["store"]["timeout"] = json!("5s");
        *istio.configuration() = json!(configuration.to_string());
    }
    // As docs/mesh.md says of max_body_bytes: both limits above it.
    for (path, value) in [
        (
            "/spec/configPatches/3/patch/value/per_connection_buffer_limit_bytes",
            4 * MEGABYTE,
        ),
        (
            "/spec/configPatches/4/patch/value/typed_config/http2_protocol_options/initial_stream_window_size",
            4 * MEGABYTE,
        ),
        (
            "/spec/configPatches/4/patch/value/typed_config/http2_protocol_options/initial_connection_window_size",
            8 * MEGABYTE,
        ),
    ] {
        *istio.filter().pointer_mut(path).expect("a limit") = json!(value);
    }
    istio
}

/// `counted`: whether a filter behind tells how long the body was that it read.
///
/// Large signed bodies in pieces arrive whole behind filters that read them, one after the other and at once.
fn assert_bodies_arrive_whole(mesh: &Mesh, counted: bool) {
    mesh.envoy.run(async |t| {
        t.upstream(Behaviour::Answer(200));
        let request = large(MEGABYTE);
        let to = t.envoy.address();
        for (round, size) in [16 * 1024, 100_000, MEGABYTE].into_iter().enumerate() {
            let request = large(MEGABYTE);
            let pieces = request.chunks(size);
            let answer = Http1::connect(to, t.address)
                .await
                .send_pieces(&pieces, PAUSE)
                .await;
            assert_eq!(outcome(&answer), passed(), "pieces of {size}");
            let received = t.received().remove(round);
            assert!(
                received.body == request.body,
                "{} of {} bytes",
                received.body.len(),
                request.body.len()
            );
            let length = request.body.len().to_string();
            assert_eq!(received.header("x-length"), counted.then_some(&*length));
        }
        let before = t.received_count();
        let mut client = t.http2().await;
        let framing = Framing {
            piece: 16 * 1024,
            pause: PAUSE,
            trailers: None,
        };
        let answer = client.send(&request, framing).await;
        assert_eq!(outcome(&answer), passed(), "HTTP/2");
        assert!(t.received().remove(before).body == request.body);
        // Several at once, over all workers.
        let before = t.received_count();
        let requests: [_; 4] = std::array::from_fn(|_| large(MEGABYTE));
        let send = async |request: &Request| {
            let pieces = request.chunks(16 * 1024);
            let mut client = Http1::connect(to, t.address).await;
            outcome(&client.send_pieces(&pieces, PAUSE).await)
        };
        let [a, b, c, d] = &requests;
        let outcomes = tokio::join!(send(a), send(b), send(c), send(d));
        assert_eq!(
            <[_; 4]>::from(outcomes),
            [passed(), passed(), passed(), passed()]
        );
        let mut received: Vec<_> = t
            .received()
            .split_off(before)
            .into_iter()
            .map(|one| one.body)
            .collect();
        let mut sent: Vec<_> = requests.into_iter().map(|one| one.body).collect();
        received.sort();
        sent.sort();
        assert!(received == sent);
        // And none passes twice.
        assert_eq!(
            ask(t, "webhooks", &request).await,
            rejected(409, "duplicate")
        );
    });
}

#[test]
fn a_megabyte_in_pieces_arrives_whole_behind_filters_that_read_it_with_redis_and_without() {
    for &module in modules() {
        for store in [false, true] {
            let mut istio = for_large_bodies(module, store);
            istio.behind = readers();
            let mesh = istio.start();
            assert_bodies_arrive_whole(&mesh, true);
            assert_eq!(mesh.istio.keys_in_redis() > 0, store);
        }
    }
}

#[test]
fn a_megabyte_in_pieces_arrives_whole_behind_a_processor_that_streams_it_with_redis_and_without() {
    for &module in modules() {
        for store in [false, true] {
            let processor = Processor::start();
            let mut istio = for_large_bodies(module, store);
            istio.behind = vec![processor.filter()];
            istio.called = vec![processor.cluster()];
            let mesh = istio.start();
            assert_bodies_arrive_whole(&mesh, false);
            assert!(
                processor.bytes() > 8 * MEGABYTE,
                "eight bodies did not go through it"
            );
        }
    }
}
