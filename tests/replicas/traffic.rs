use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::replicas::Replicas;
use support::envoy::{Envoy, new_address};
use support::http1::Http1;
use support::messages::message;
use support::wire::Request;

/// One delivery, and its answer.
#[derive(Clone, Debug)]
#[allow(dead_code)] // Which Envoy it was is for messages.
pub(crate) struct Sent {
    pub(crate) request: usize,
    pub(crate) envoy: usize,
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) took: Duration,
}

/// Clients that send until they are stopped: each a message to one Envoy, the same again, then to the next Envoy.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    clients: JoinSet<(Vec<Request>, Vec<Sent>)>,
}

/// What was sent, and what came back.
pub(crate) struct Outcome {
    pub(crate) requests: Vec<Request>,
    pub(crate) sent: Vec<Sent>,
}

impl Traffic {
    pub(crate) fn start(envoys: &[Envoy], clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let addresses: Vec<_> = envoys.iter().map(Envoy::address).collect();
        let mut set = JoinSet::new();
        for client in 0..clients {
            set.spawn(run(client, addresses.clone(), Arc::clone(&stop)));
        }
        Self { stop, clients: set }
    }

    pub(crate) async fn stop(mut self) -> Outcome {
        self.stop.store(true, Ordering::SeqCst);
        let (mut requests, mut sent) = (Vec::new(), Vec::new());
        while let Some(client) = self.clients.join_next().await {
            let (own, answers) = client.expect("a client");
            let first = requests.len();
            requests.extend(own);
            sent.extend(answers.into_iter().map(|answer| Sent {
                request: first + answer.request,
                ..answer
            }));
        }
        Outcome { requests, sent }
    }
}

async fn run(
    client: usize,
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
) -> (Vec<Request>, Vec<Sent>) {
    let from = new_address();
    let (mut requests, mut sent) = (Vec::new(), Vec::new());
    while !stop.load(Ordering::SeqCst) {
        let request = message();
        let number = requests.len();
        let first = (client + number) % addresses.len();
        let others = (0..addresses.len()).map(|step| (first + step) % addresses.len());
        for envoy in std::iter::once(first).chain(others) {
            let start = Instant::now();
            let mut connection = Http1::connect(addresses[envoy], from).await;
            let answer = connection.send(&request).await;
            sent.push(Sent {
                request: number,
                envoy,
                status: answer.status,
                reason: answer.reason(),
                took: start.elapsed(),
            });
        }
        requests.push(request);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (requests, sent)
}

impl Outcome {
    /// How often each answer came.
    pub(crate) fn counts(&self) -> BTreeMap<(u16, &str), usize> {
        let mut counts = BTreeMap::new();
        for sent in &self.sent {
            *counts
                .entry((sent.status, sent.reason.as_str()))
                .or_default() += 1;
        }
        counts
    }

    /// No other answers than these, and none later than `limit`.
    #[track_caller]
    pub(crate) fn assert_answers(&self, allowed: &[(u16, &str)], limit: Duration) {
        for sent in &self.sent {
            let answer = (sent.status, sent.reason.as_str());
            assert!(
                allowed.contains(&answer),
                "{sent:?} among {:?}",
                self.counts()
            );
            assert!(sent.took < limit, "{sent:?}: longer than {limit:?}");
        }
    }

    /// The requests that no Envoy has accepted.
    pub(crate) fn rejected(&self) -> Vec<&Request> {
        let passed = |number: &usize| {
            let mut answers = self.sent.iter().filter(|sent| sent.request == *number);
            answers.any(|sent| sent.status == 200)
        };
        let numbers = (0..self.requests.len()).filter(|number| !passed(number));
        numbers.map(|number| &self.requests[number]).collect()
    }
}

/// How often each body has reached the upstream of each Envoy.
fn arrivals(replicas: &Replicas) -> BTreeMap<Vec<u8>, Vec<usize>> {
    let mut arrivals: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    for (number, envoy) in replicas.envoys.iter().enumerate() {
        for received in envoy.tap.requests_since(0) {
            let counts = arrivals
                .entry(received.body)
                .or_insert_with(|| vec![0; replicas.envoys.len()]);
            counts[number] += 1;
        }
    }
    arrivals
}

/// Nothing has reached two upstreams, or one twice.
#[track_caller]
pub(crate) fn assert_none_twice(replicas: &Replicas) {
    for (body, counts) in arrivals(replicas) {
        let body = String::from_utf8_lossy(&body);
        assert!(
            counts.iter().sum::<usize>() <= 1,
            "{counts:?} times: {body}"
        );
    }
}

/// Nothing has reached the same upstream twice.
#[track_caller]
pub(crate) fn assert_none_twice_at_one(replicas: &Replicas) {
    for (body, counts) in arrivals(replicas) {
        let body = String::from_utf8_lossy(&body);
        assert!(
            counts.iter().all(|count| *count <= 1),
            "{counts:?} times: {body}"
        );
    }
}
