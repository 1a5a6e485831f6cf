use std::collections::BTreeMap;

use serde_json::json;

use crate::load::size;
use support::burst::{CONNECTIONS, WORKERS, burst, spread};
use support::envoy::{Setup, Test, plugin_with};
use support::messages::message;
use support::tap::Behaviour;
use support::wire::Request;

/// Of the answers to one request, sent many times at once, one is the upstream's.
#[track_caller]
pub(crate) fn assert_one_passed(answers: &[(u16, String)]) {
    let passed = (200, String::new());
    let duplicate = (409, "duplicate".to_owned());
    let count = |wanted| answers.iter().filter(|answer| *answer == wanted).count();
    let counts = (count(&passed), count(&duplicate));
    assert_eq!(counts, (1, answers.len() - 1), "{answers:?}");
}

/// Each of these, and nothing else but what a test asks by GET: by what has arrived, and not by the answers alone.
pub(crate) fn assert_arrived_once(t: &Test<'_>, requests: &[Request]) {
    let mut arrived: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let received = t.received().into_iter();
    for received in received.filter(|received| received.method == "POST") {
        *arrived.entry(received.body).or_default() += 1;
    }
    assert_eq!(arrived.len(), requests.len());
    for request in requests {
        assert_eq!(arrived.get(&request.body), Some(&1));
    }
}

#[test]
fn of_16_identical_requests_at_once_one_reaches_the_upstream_in_each_of_1000_rounds() {
    /// A test with an Envoy has a time limit of its own; this many rounds are well within it.
    const AT_A_TIME: u64 = 250;
    let plugin = plugin_with(json!({"rate_limits": []}));
    let envoy = Setup::with(&plugin).workers(WORKERS).start();
    let mut left = size("ENDURANCE_ROUNDS", 1000);
    while left > 0 {
        let rounds = left.min(AT_A_TIME);
        left -= rounds;
        envoy.run(async |t| {
            t.upstream(Behaviour::Answer(200));
            let connections = spread(t.envoy, t.address).await;
            let requests: Vec<_> = (0..rounds).map(|_| message()).collect();
            let bursts: Vec<_> = requests
                .iter()
                .map(|request| vec![request.clone(); CONNECTIONS])
                .collect();
            for answers in burst(connections, &bursts) {
                assert_one_passed(&answers);
            }
            assert_arrived_once(t, &requests);
        });
    }
}
