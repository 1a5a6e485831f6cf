use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::bytes;
use crate::client::{Answer, Client};
use crate::kinds::{self, Captured, Order};
use crate::ledger::Ledger;
use crate::upstream::{ASK, Upstream};
use support::http2::Http2;
use support::random::Random;

/// The filter's reason where its store has not answered.
pub(crate) const STORE_FAILED: &str = "store_unavailable";

/// How long a client waits before it sends something again.
const PAUSE: Duration = Duration::from_millis(25);

/// One client: a request after the other, of all kinds, each to any of the Envoys.
pub(crate) struct Sender<'a> {
    random: Random,
    clients: Vec<Client>,
    runtime: Runtime,
    /// Connections of HTTP/2, one for each Envoy, once there was a request for it.
    streams: Vec<Option<Http2>>,
    captured: &'a Captured,
    upstream: &'a Upstream,
    pub(crate) ledger: Ledger,
}

impl<'a> Sender<'a> {
    pub(crate) fn new(
        random: Random,
        to: &[SocketAddr],
        captured: &'a Captured,
        upstream: &'a Upstream,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Self {
            random,
            clients: to.iter().copied().map(Client::new).collect(),
            runtime: runtime.expect("a runtime"),
            streams: to.iter().map(|_| None).collect(),
            captured,
            upstream,
            ledger: Ledger::default(),
        }
    }

    pub(crate) fn step(&mut self) {
        match self.random.below(100) {
            0..26 => self.accepted("accepted", &kinds::message()),
            26..30 => self.accepted("status callback by GET", &kinds::status()),
            30..34 => self.accepted("JSON", &kinds::json()),
            34..38 => self.streams(),
            38..42 => self.slow(),
            42..52 => self.repeated(),
            52..55 => self.twins(),
            55..62 => self.flood(),
            62..65 => self.leaves(),
            65..67 => self.leaves_after_all_of_it(),
            67..69 => self.websocket(),
            69..71 => self.failed("fail", 500),
            71..73 => self.failed("reset", 503),
            73..76 => self.exempt(),
            76..78 => self.odd_bytes(),
            _ => self.rejected(),
        }
    }

    /// Sends a request, and again where the store has failed.
    fn send(&mut self, bytes: &[u8]) -> (u16, String) {
        for _ in 0..200 {
            let answer = self.send_once(bytes);
            if !self.store_has_failed(answer.status, &answer.reason) {
                return (answer.status, answer.reason);
            }
            std::thread::sleep(PAUSE);
        }
        panic!("the store fails for ever");
    }

    /// A connection to Webdis can end with an answer on its way, and with it the order is doubtful.
    fn store_has_failed(&mut self, status: u16, reason: &str) -> bool {
        let has_failed = (status, reason) == (503, STORE_FAILED);
        if has_failed {
            self.ledger.count("the store fails", STORE_FAILED);
        }
        has_failed
    }

    /// Sends an order until it is accepted, or for as long as it is a duplicate although nobody has it: where the
    /// store has failed, it may still have the claim.
    fn until_accepted(&mut self, kind: &'static str, order: &Order, bytes: &[u8]) {
        for _ in 0..200 {
            match self.send(bytes) {
                (409, reason) => self.ledger.count(kind, &reason),
                answer => return self.took(kind, order, answer),
            }
            if self.ledger.left.contains(&order.nonce) && self.upstream.has_taken(order.nonce) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("lost: {kind} is never accepted");
    }

    /// What has become of an order that nobody else has sent.
    fn answered(&mut self, kind: &'static str, order: &Order, answer: Answer) {
        if self.store_has_failed(answer.status, &answer.reason) {
            self.until_accepted("after the store failed", order, &order.request.bytes());
        } else {
            self.took(kind, order, (answer.status, answer.reason));
        }
    }

    fn send_once(&mut self, bytes: &[u8]) -> Answer {
        let which = self.random.below(self.clients.len());
        let answer = self.clients[which].send(bytes);
        answer.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// A connection of its own.
    fn another(&mut self) -> Client {
        let which = self.random.below(self.clients.len());
        Client::new(self.clients[which].to())
    }

    fn took(&mut self, kind: &'static str, order: &Order, answer: (u16, String)) {
        assert_eq!(answer, (200, String::new()), "{kind}");
        self.ledger.took(kind, order.nonce);
    }

    fn accepted(&mut self, kind: &'static str, order: &Order) {
        let answer = self.send_once(&order.request.bytes());
        self.answered(kind, order, answer);
        let draw = self.random.below(usize::MAX);
        self.captured.add(order.clone(), draw);
    }

    /// Chunked, and piece by piece.
    fn slow(&mut self) {
        let order = kinds::message();
        let which = self.random.below(self.clients.len());
        for chunk in order.request.chunks(200) {
            self.clients[which].write(&chunk).expect("Envoy reads");
            std::thread::sleep(Duration::from_millis(10));
        }
        let answer = self.clients[which].answer().expect("an answer");
        self.answered("slow body, chunked", &order, answer);
    }

    /// Six at once on one connection of HTTP/2, and a seventh whose sender resets its stream.
    fn streams(&mut self) {
        let which = self.random.below(self.clients.len());
        let to = self.clients[which].to();
        let orders: [Order; 6] = std::array::from_fn(|_| kinds::message());
        let left = kinds::message();
        let answers = self.runtime.block_on(async {
            let connection = match &mut self.streams[which] {
                Some(open) => open,
                none => none.insert(Http2::connect(to, IpAddr::V4(Ipv4Addr::LOCALHOST)).await),
            };
            connection.leave(&left.request).await;
            let requests = orders.each_ref().map(|order| order.request.clone());
            connection.send_all(&requests).await
        });
        for (order, answer) in orders.iter().zip(answers) {
            self.answered("HTTP/2, six streams at once", order, answer.into());
        }
        self.comes_back("HTTP/2, after its stream was reset", &left);
        if self.random.below(16) == 0 {
            self.streams[which] = None;
        }
    }

    fn repeated(&mut self) {
        let draw = self.random.below(usize::MAX);
        if let Some(order) = self.captured.any(draw) {
            let answer = self.send(&order.request.bytes());
            assert_eq!(answer, (409, "duplicate".to_owned()), "a repeat");
            self.ledger.count("repeated", "duplicate");
        }
    }

    /// The same on two connections at once.
    fn twins(&mut self) {
        let order = kinds::message();
        let bytes = order.request.bytes();
        let mut other = self.another();
        let first = self.random.below(self.clients.len());
        self.clients[first].write(&bytes).expect("Envoy reads");
        other.write(&bytes).expect("Envoy reads");
        let answers = [self.clients[first].answer(), other.answer()];
        let mut answers = answers.map(|answer| answer.expect("an answer"));
        answers.sort_by_key(|answer| answer.status);
        let mut passed = 0;
        for answer in answers {
            if self.store_has_failed(answer.status, &answer.reason) {
                continue;
            }
            match (answer.status, answer.reason.as_str()) {
                (409, "duplicate") => self.ledger.count("twice at once", "duplicate"),
                (status, reason) => {
                    passed += 1;
                    self.took("twice at once", &order, (status, reason.to_owned()));
                }
            }
        }
        assert!(passed < 2, "both of two");
        if passed == 0 {
            self.until_accepted("after the store failed", &order, &bytes);
        }
    }

    fn flood(&mut self) {
        let order = kinds::flood();
        let answer = self.send_once(&order.request.bytes());
        match answer.status {
            429 => self.ledger.count("flood", &answer.reason),
            // Counted or not, it is not sent again.
            503 if self.store_has_failed(503, &answer.reason) => {}
            status => self.took("flood", &order, (status, answer.reason)),
        }
    }

    /// In the middle of the body.
    fn leaves(&mut self) {
        let bytes = kinds::message().request.bytes();
        let mut client = self.another();
        client
            .write(&bytes[..bytes.len() - 100])
            .expect("Envoy reads");
        self.ledger
            .without_verdict("left in the middle of the body");
    }

    fn leaves_after_all_of_it(&mut self) {
        let order = kinds::message();
        let mut client = self.another();
        client.write(&order.request.bytes()).expect("Envoy reads");
        client.close();
        self.comes_back("retry after its sender left", &order);
    }

    /// Its first sender has left when it had sent everything. The retry passes, unless the upstream has answered the
    /// first all the same.
    fn comes_back(&mut self, kind: &'static str, order: &Order) {
        self.ledger.left.insert(order.nonce);
        self.until_accepted(kind, order, &order.request.bytes());
    }

    fn websocket(&mut self) {
        let order = kinds::handshake();
        let mut client = self.another();
        let answer = client.send(&order.request.bytes()).expect("an answer");
        if self.store_has_failed(answer.status, &answer.reason) {
            return;
        }
        assert_eq!(answer.status, 101, "{answer:?}");
        client.write(b"hello").expect("Envoy reads");
        let echo = client.read_exactly(5).expect("an echo");
        assert_eq!(echo, b"hello");
        self.ledger.took("WebSocket", order.nonce);
    }

    /// The upstream fails at first; the retry must be accepted.
    fn failed(&mut self, how: &'static str, status: u16) {
        let order = kinds::message();
        let bytes = order.request.clone().header(ASK, how).bytes();
        let answer = self.send_once(&bytes);
        if self.store_has_failed(answer.status, &answer.reason) {
            let plain = order.request.bytes();
            return self.until_accepted("after the store failed", &order, &plain);
        }
        assert_eq!(
            (answer.status, answer.reason.as_str()),
            (status, ""),
            "{how}"
        );
        self.ledger.count("the upstream fails", "accepted");
        // With Redis it may be a duplicate for a moment yet, until that is told.
        self.until_accepted("retry", &order, &bytes);
    }

    fn exempt(&mut self) {
        let request = support::messages::unsigned("GET", "/public/menu");
        let answer = self.send(&request.bytes());
        assert_eq!(answer, (200, String::new()), "exempt");
        self.ledger.count("exempt", "exempt");
    }

    fn odd_bytes(&mut self) {
        let (kind, bytes, status) = bytes::odd(self.random.below(usize::MAX));
        let answer = self.another().send(&bytes).expect("Envoy's answer");
        assert_eq!(
            (answer.status, answer.reason),
            (status, String::new()),
            "{kind}"
        );
        self.ledger.without_verdict(kind);
    }

    fn rejected(&mut self) {
        let (reason, status, request) = kinds::rejected(self.random.below(usize::MAX));
        let answer = self.send(&request.bytes());
        assert_eq!(answer, (status, reason.to_owned()), "{reason}");
        self.ledger.count("to be rejected", reason);
    }
}
