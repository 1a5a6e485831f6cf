use serde_json::json;

use support::burst::{
    CONNECTIONS, WORKERS, assert_arrived_once, assert_one_passed, burst, identical, spread,
};
use support::envoy::Setup;
use support::size;
use support::tap::Behaviour;

#[test]
fn of_16_identical_requests_at_once_one_reaches_the_upstream_in_each_of_1000_rounds() {
    /// A test with an Envoy has a time limit of its own; this many rounds are well within it.
    const AT_A_TIME: u64 = 250;
    let envoy = Setup::changed(json!({"rate_limits": []}))
        .workers(WORKERS)
        .start();
    let mut left = size("ENDURANCE_ROUNDS", 1000);
    while left > 0 {
        let rounds = left.min(AT_A_TIME);
        left -= rounds;
        envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            let connections = spread(t.envoy, t.address).await;
            let (requests, bursts) = identical(rounds as usize, CONNECTIONS);
            for answers in burst(connections, &bursts) {
                assert_one_passed(&answers);
            }
            assert_arrived_once(t, &requests);
        });
    }
}
