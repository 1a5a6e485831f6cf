use crate::replicas::{Replicas, plugin};
use serde_json::json;
use support::burst::{CONNECTIONS, WORKERS, assert_one_passed, burst, identical, spread};
use support::envoy::new_address;
use support::size;

#[test]
fn of_identical_requests_to_all_envoys_at_once_one_passes_in_each_of_500_rounds() {
    const AT_A_TIME: u64 = 100;
    let plugin = plugin(json!({}));
    let replicas = Replicas::of(2, |setup| setup.workers(WORKERS), &plugin);
    replicas.run(async |replicas| {
        let mut left = size("REPLICAS_ROUNDS", 500);
        while left > 0 {
            let rounds = left.min(AT_A_TIME);
            left -= rounds;
            let before = replicas.accepted();
            let mut connections = Vec::new();
            for envoy in &replicas.envoys {
                connections.extend(spread(envoy, new_address()).await);
            }
            assert_eq!(connections.len(), 2 * CONNECTIONS);
            let (requests, bursts) = identical(rounds as usize, connections.len());
            for answers in burst(connections, &bursts) {
                assert_one_passed(&answers);
            }
            // By what has arrived, and not by the answers alone.
            assert_eq!(replicas.accepted() - before, requests.len());
        }
        crate::traffic::assert_none_twice(replicas);
        let shares: Vec<_> = replicas
            .envoys
            .iter()
            .map(|envoy| envoy.tap.count())
            .collect();
        println!("accepted by each Envoy: {shares:?}");
        assert!(
            shares.iter().all(|share| *share > 0),
            "each Envoy wins now and then: {shares:?}"
        );
    });
}
