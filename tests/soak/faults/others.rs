use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use super::load::{Envoys, Load};
use crate::client::{Answer, Client};
use crate::kinds::{self, LIMITED};
use crate::upstream::{ASK, KIND, Upstream};
use support::messages::unsigned;
use support::random::Random;

/// What became of everything that is no order.
#[derive(Default)]
pub(super) struct Seen {
    /// Rejected, each for its own reason.
    rejected: AtomicU64,
    /// Of the flood, what the limit rejected.
    limited: AtomicU64,
    /// Opened or exempt.
    passed: AtomicU64,
    /// Left by their client in the middle of the body.
    left: AtomicU64,
    /// Without an answer, or with a 5xx. A fault may do that to anything.
    failed: AtomicU64,
}

impl Seen {
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    /// What holds whatever breaks.
    #[track_caller]
    pub(super) fn assert_right(&self, upstream: &Upstream) {
        for kind in ["rejected", "left"] {
            let arrived = upstream.arrived(kind);
            assert_eq!(arrived, 0, "what must be {kind} is at the upstream");
        }
        // So that the above says something.
        for (kind, counter) in [
            ("rejected", &self.rejected),
            ("limited", &self.limited),
            ("passed", &self.passed),
            ("left", &self.left),
        ] {
            assert!(counter.load(Ordering::SeqCst) > 0, "nothing was {kind}");
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let (rejected, limited) = (count(&self.rejected), count(&self.limited));
        let (passed, left, failed) = (count(&self.passed), count(&self.left), count(&self.failed));
        let all = rejected + limited + passed + left + failed;
        write!(
            f,
            "others {all}: rejected {rejected}, limited {limited}, passed {passed}, left {left}, failed {failed}"
        )
    }
}

/// One connection's worth of everything that is no order, a request after the other; and of orders in odd shapes.
pub(super) struct Others<'a> {
    load: &'a Load<'a>,
    random: Random,
    envoys: Envoys,
}

impl<'a> Others<'a> {
    pub(super) fn new(load: &'a Load<'a>, number: u64) -> Self {
        Self {
            load,
            random: Random::new(u64::from(std::process::id()), number),
            envoys: Envoys::new(&load.to),
        }
    }

    pub(super) fn run(mut self) {
        while !self.load.is_stopped() {
            match self.random.below(100) {
                0..50 => self.rejected(),
                50..65 => self.flood(),
                65..72 => self.leaves(),
                72..77 => self.websocket(),
                77..83 => self.exempt(),
                83..88 => self.slow(),
                88..94 => self.twins(),
                _ => self.failed(),
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Sends something and looks at what comes back. Returns `None` where a fault may have eaten the answer, and there
    /// was one. The filter's own failures are 503 `store_unavailable` and 500 `internal`; those without a reason are
    /// Envoy's and the upstream's.
    fn answer(&self, answer: io::Result<Answer>, was_calm: bool) -> Option<Answer> {
        let failed = match &answer {
            Ok(answer) => match (answer.status, answer.reason.as_str()) {
                (500..600, "") | (503, "store_unavailable") | (500, "internal") => true,
                (500..600, reason) => panic!("{} {reason}", answer.status),
                _ => return Some(answer.clone()),
            },
            Err(_) => true,
        };
        // A store may be slow on a busy machine.
        let is_slow = matches!(&answer, Ok(answer) if answer.reason == "store_unavailable");
        let is_calm = was_calm && self.load.is_calm();
        assert!(
            !(failed && is_calm && !is_slow),
            "before the fault: {answer:?}"
        );
        self.load.seen.failed.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(15));
        None
    }

    fn send(&mut self, bytes: &[u8]) -> Option<Answer> {
        let was_calm = self.load.is_calm();
        let answer = self.envoys.next().send(bytes);
        self.answer(answer, was_calm)
    }

    /// What is always rejected, and that for its own reason.
    fn rejected(&mut self) {
        let (reason, status, request) = kinds::rejected(self.random.below(usize::MAX));
        let request = request.header(KIND, "rejected");
        let Some(answer) = self.send(&request.bytes()) else {
            return;
        };
        // With a clock that is a week ahead.
        let is_past = reason == "future_timestamp"
            && answer.reason == "stale_timestamp"
            && self.load.is_ahead.load(Ordering::SeqCst);
        assert!(
            is_past || (answer.status, answer.reason.as_str()) == (status, reason),
            "{reason}: {answer:?}"
        );
        self.load.seen.rejected.fetch_add(1, Ordering::SeqCst);
    }

    /// From one address. How many pass is asserted of all.
    fn flood(&mut self) {
        let request = kinds::flood().request.header(KIND, "flood");
        let counter = match self.send(&request.bytes()) {
            None => return,
            Some(Answer { status: 200, .. }) => &self.load.seen.passed,
            Some(answer) => {
                let expected = (429, "rate_limited");
                let (status, reason) = (answer.status, answer.reason.as_str());
                assert_eq!((status, reason), expected, "{LIMITED}");
                &self.load.seen.limited
            }
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }

    /// Before its body is complete, so that nothing of it may go on.
    fn leaves(&mut self) {
        let bytes = kinds::message().request.header(KIND, "left").bytes();
        let mut client = Client::new(self.envoys.next().to());
        if client.write(&bytes[..bytes.len() - 100]).is_ok() {
            sleep(Duration::from_millis(2));
            self.load.seen.left.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn websocket(&mut self) {
        let was_calm = self.load.is_calm();
        let mut client = Client::new(self.envoys.next().to());
        let answer = client.send(&kinds::handshake().request.bytes());
        let Some(answer) = self.answer(answer, was_calm) else {
            return;
        };
        assert_eq!(answer.status, 101, "{answer:?}");
        let echo = client.write(b"hello").and_then(|()| client.read_exactly(5));
        match echo {
            Ok(bytes) => {
                assert_eq!(bytes, b"hello");
                self.load.seen.passed.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                self.answer(Err(error), was_calm);
            }
        }
    }

    fn exempt(&mut self) {
        let request = unsigned("GET", "/public/menu");
        if let Some(answer) = self.send(&request.bytes()) {
            assert_eq!((answer.status, answer.reason.as_str()), (200, ""), "exempt");
            self.load.seen.passed.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// An order that comes chunked, and piece by piece.
    fn slow(&mut self) {
        let order = kinds::message();
        let chunks = order.request.chunks(200);
        let load = self.load;
        load.order(&order, || {
            let client = self.envoys.next();
            for chunk in &chunks {
                if let Err(error) = client.write(chunk) {
                    client.close();
                    return Err(error);
                }
                sleep(Duration::from_millis(10));
            }
            client.answer()
        });
    }

    /// An order that comes on two connections at once, and then until it is taken.
    fn twins(&mut self) {
        let order = kinds::message();
        let bytes = order.request.bytes();
        let mut pair = [(); 2].map(|()| Client::new(self.envoys.next().to()));
        let wrote = pair.each_mut().map(|client| client.write(&bytes));
        let answers = pair.iter_mut().zip(wrote);
        let mut answers: Vec<_> = answers
            .map(|(client, wrote)| wrote.and_then(|()| client.answer()))
            .collect();
        answers.sort_by_key(|answer| !matches!(answer, Ok(Answer { status: 200, .. })));
        // Whatever the other answer: the upstream counts.
        let mut first = Some(answers.swap_remove(0));
        let load = self.load;
        load.order(&order, || match first.take() {
            Some(answer) => answer,
            None => self.envoys.next().send(&bytes),
        });
    }

    /// An order that the upstream fails at first.
    fn failed(&mut self) {
        let order = kinds::message();
        let how = if self.random.one_in(2) {
            "fail"
        } else {
            "reset"
        };
        let bytes = order.request.clone().header(ASK, how).bytes();
        // That is no failure to count.
        let _ = self.envoys.next().send(&bytes);
        let load = self.load;
        load.order(&order, || self.envoys.next().send(&bytes));
    }
}
