use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use support::http1::Http1;
use support::messages::message;
use support::tap::Behaviour;

use super::control_plane::{Istio, Mesh};
use crate::proxy::{modules, outcome, passed, rejected};

/// How often the configuration changes while requests come.
const UPDATES: usize = 12;

#[test]
fn an_update_under_traffic_loses_nothing_and_accepts_nothing_twice() {
    for &module in modules() {
        let mut istio = Istio::overlay(&Istio::name(module, "shared-gateway"));
        istio.configure(json!({"rate_limits": []}));
        let mut mesh = istio.start();
        let Mesh {
            envoy,
            istio,
            directory,
        } = &mut mesh;
        let envoy = &*envoy;
        let (pushed, done) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let traffic = scope.spawn(|| {
                envoy.run(async |t| {
                    t.upstream(Behaviour::Answer(200));
                    let first = message();
                    assert_eq!(outcome(&t.send(&first).await), passed());
                    let sender = async |_: usize| {
                        let mut client = Http1::connect(t.envoy.address(), t.address).await;
                        let mut accepted = 0;
                        while !done.load(Ordering::SeqCst) {
                            let request = message();
                            assert_eq!(outcome(&client.send(&request).await), passed());
                            // At once, and on another connection, so by another worker, with luck.
                            let again = t.send(&request).await;
                            assert_eq!(outcome(&again), rejected(409, "duplicate"));
                            accepted += 1;
                            pushed.store(true, Ordering::SeqCst);
                        }
                        accepted
                    };
                    let (a, b, c, d) = tokio::join!(sender(0), sender(1), sender(2), sender(3));
                    let accepted = a + b + c + d;
                    assert!(accepted > UPDATES, "{accepted} requests are no traffic");
                    assert_eq!(outcome(&t.send(&first).await), rejected(409, "duplicate"));
                    assert_eq!(t.received_count(), accepted + 1);
                });
            });
            // The scope would wait for ever for senders that nobody stops.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                while !pushed.load(Ordering::SeqCst) {
                    assert!(!traffic.is_finished(), "no traffic");
                    std::thread::sleep(Duration::from_millis(10));
                }
                for update in 0..UPDATES {
                    istio.configure(json!({"max_parameters": 400 + update}));
                    istio.push(directory.path());
                    std::thread::sleep(Duration::from_millis(150));
                }
            }));
            done.store(true, Ordering::SeqCst);
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        });
        let taken = mesh.envoy.admin("/config_dump?resource=ecds_filters");
        let last = format!("\\\"max_parameters\\\":{}", 400 + UPDATES - 1);
        assert!(
            taken.contains(&last),
            "the last update was not taken: {taken}"
        );
    }
}
