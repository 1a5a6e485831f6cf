use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::others::{Others, Seen};
use super::outcome::Outcome;
use super::{CALM, lock};
use crate::client::{Answer, Client};
use crate::kinds::{self, Order};
use crate::upstream::Upstream;
use support::filter_host::filter_host;
use support::http1::PATIENCE;

/// Connections that send orders at the same time, one after the other each.
const SENDERS: u64 = 8;
/// Connections that send everything else.
const OTHERS: u64 = 6;
/// As many orders can be on their way at once: those of the others, too.
pub(super) const ON_THEIR_WAY: u64 = SENDERS + OTHERS;
/// How long the last orders are sent again when no new ones come.
const LAST: Duration = Duration::from_secs(6);

/// What becomes of requests under way at a fault.
pub(super) struct Load<'a> {
    /// Where the Envoys take requests: each is asked in turn, also with what another one has failed.
    pub(super) to: Vec<SocketAddr>,
    pub(super) upstream: &'a Upstream,
    stopped: AtomicBool,
    /// When each was accepted.
    accepted: Mutex<Vec<(Instant, Order)>>,
    /// Requests that were answered neither 2xx nor 409, or not at all.
    failures: AtomicU64,
    /// Orders that the upstream took although the sender was not told so. It is told 409 when it sends them again.
    untold: AtomicU64,
    /// Orders that were still answered 409 in the end although the upstream has not taken them.
    held: AtomicU64,
    lost: AtomicU64,
    /// What became of everything that is no order.
    pub(super) seen: Seen,
    /// Whether Envoy's clock may be so far ahead that tomorrow is long ago.
    pub(super) is_ahead: AtomicBool,
    begin: Mutex<Option<Instant>>,
    end: Mutex<Option<Instant>>,
}

impl Load<'_> {
    /// The fault begins now.
    pub(super) fn begins(&self) {
        *lock(&self.begin) = Some(Instant::now());
    }

    /// The fault is over now.
    pub(super) fn ends(&self) {
        *lock(&self.end) = Some(Instant::now());
    }

    /// The fault is one moment.
    pub(super) fn now(&self) {
        self.begins();
        self.ends();
    }

    /// Whether nothing has been broken yet.
    pub(super) fn is_calm(&self) -> bool {
        lock(&self.begin).is_none()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn send(&self, number: u64) {
        let mut envoys = Envoys::new(&self.to);
        for round in number.. {
            if self.is_stopped() {
                return;
            }
            let order = match round % 10 {
                0 => kinds::status(),
                1 => kinds::json(),
                _ => kinds::message(),
            };
            let bytes = order.request.bytes();
            if !self.order(&order, || envoys.next().send(&bytes)) {
                continue;
            }
            if round % 5 == 0 {
                // Whatever the answer: the upstream counts.
                let _ = envoys.next().send(&bytes);
            }
            if round % 8 == 0 {
                envoys.next().close();
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Sends an order until the upstream has taken it. Returns whether that was so.
    pub(super) fn order(
        &self,
        order: &Order,
        mut send: impl FnMut() -> io::Result<Answer>,
    ) -> bool {
        let mut given_up = None;
        loop {
            let is_held = match send() {
                Ok(Answer { status: 200, .. }) => break,
                Ok(Answer { status: 409, .. }) if self.upstream.has_taken(order.nonce) => {
                    self.untold.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Ok(Answer { status: 409, .. }) => true,
                Ok(Answer {
                    status: 400..500,
                    reason,
                }) => panic!("an order is rejected: {reason}"),
                Ok(_) | Err(_) => {
                    self.failures.fetch_add(1, Ordering::SeqCst);
                    false
                }
            };
            if self.is_stopped() && given_up.get_or_insert_with(Instant::now).elapsed() > LAST {
                let what = if is_held { &self.held } else { &self.lost };
                what.fetch_add(1, Ordering::SeqCst);
                return false;
            }
            sleep(Duration::from_millis(20));
        }
        lock(&self.accepted).push((Instant::now(), order.clone()));
        true
    }
}

/// A connection to each Envoy.
pub(super) struct Envoys {
    clients: Vec<Client>,
    turn: usize,
}

impl Envoys {
    pub(super) fn new(to: &[SocketAddr]) -> Self {
        Self {
            clients: to.iter().map(|to| Client::new(*to)).collect(),
            turn: 0,
        }
    }

    /// The next one's turn.
    pub(super) fn next(&mut self) -> &mut Client {
        self.turn = (self.turn + 1) % self.clients.len();
        &mut self.clients[self.turn]
    }
}

/// Breaks something under load, and prints the row.
pub(super) fn under_load(
    fault: &str,
    to: &[SocketAddr],
    upstream: &Upstream,
    act: impl FnOnce(&Load<'_>),
) -> Outcome {
    let load = Load {
        to: to.to_vec(),
        upstream,
        stopped: AtomicBool::new(false),
        accepted: Mutex::default(),
        failures: AtomicU64::new(0),
        untold: AtomicU64::new(0),
        held: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        seen: Seen::default(),
        is_ahead: AtomicBool::new(false),
        begin: Mutex::default(),
        end: Mutex::default(),
    };
    std::thread::scope(|scope| {
        let load = &load;
        for number in 0..SENDERS {
            scope.spawn(move || load.send(number));
        }
        for number in 0..OTHERS {
            scope.spawn(move || Others::new(load, number).run());
        }
        // Lets the threads end if the fault cannot be made.
        let _stop = Stop(&load.stopped);
        sleep(CALM);
        act(load);
        sleep(CALM);
    });
    let begin = lock(&load.begin).expect("the fault has begun");
    let end = lock(&load.end).expect("the fault is over");
    let mut accepted = std::mem::take(&mut *lock(&load.accepted));
    accepted.sort_by_key(|(at, _)| *at);
    let taken = upstream.nonces().into_values().map(|seen| seen.taken);
    let taken_again: u64 = taken.map(|times| u64::from(times.saturating_sub(1))).sum();
    // Two at once are no delivery after another; one that fails then is not taken again.
    let twice = upstream.again().max(taken_again);
    let well = accepted.iter().find(|(at, _)| *at >= end);
    let well = well.expect("an order after the fault").0 - end;
    let around = accepted.windows(2).filter(|pair| pair[1].0 >= begin);
    let gap = around.map(|pair| pair[1].0 - pair[0].0).max();
    let gap = gap.expect("orders after the fault");

    let before = accepted.iter().filter(|(at, _)| *at < begin);
    let before: Vec<_> = before.map(|(_, order)| order).collect();
    let latest = before.iter().rev().skip(ON_THEIR_WAY as usize).take(50);
    let answers: Vec<_> = latest.map(|order| again(&load.to, order)).collect();
    let replayed = answers.iter().filter(|status| **status == 200).count();

    load.seen.assert_right(upstream);
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let outcome = Outcome {
        held: count(&load.held),
        lost: count(&load.lost),
        failed: count(&load.failures) + load.seen.failed(),
        twice,
        replayed,
        tried: answers.len(),
        flood: upstream.arrived("flood"),
    };
    println!(
        "row | {host} | {fault} | orders {orders} | failed requests {failures} | {others} | untold {untold} | too late {late} | \
         held {held} | lost {lost} | twice {twice} | repeats from before {replayed} of {tried} | flood {flood} | \
         well after {well} ms | longest gap {gap} ms",
        host = filter_host().name(),
        orders = accepted.len(),
        failures = count(&load.failures),
        others = load.seen,
        untold = count(&load.untold),
        late = upstream.late(),
        held = outcome.held,
        lost = outcome.lost,
        tried = outcome.tried,
        flood = outcome.flood,
        well = well.as_millis(),
        gap = gap.as_millis(),
    );
    outcome
}

/// The answer to an order that was accepted before; with Redis, once all workers have found that again.
fn again(to: &[SocketAddr], order: &Order) -> u16 {
    let mut envoys = Envoys::new(to);
    let start = Instant::now();
    loop {
        let answer = envoys.next().send(&order.request.bytes());
        let answer = answer.expect("an answer");
        match answer.status {
            200 | 409 => return answer.status,
            503 if start.elapsed() < PATIENCE => sleep(Duration::from_millis(50)),
            _ => panic!("{answer:?}"),
        }
    }
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
