//! The promise of the whole service: killed at any moment, it loses no accepted message and no order, makes none twice,
//! and sends no reply twice beyond what src/sending.rs documents: one for each kill.
//!
//! A false pass would be a service that is killed when it has nothing in hand. So the stand-in takes a message some
//! milliseconds before it answers, which makes the documented window wide, and the test fails if no kill came
//! in the middle of anything.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use crate::harness::{Shop, form_of, nonce, post};
use crate::twilio::{Behaviour, Twilio};

const ROUNDS: u64 = 25;
const SENDERS: usize = 4;
/// The third message orders.
const SCRIPT: [&str; 3] = ["2 margherita", "deliver to Elm Street 5", "yes"];

const ANSWERS: [&str; 3] = ["what else you would like", "Reply *yes*", "is received"];

/// One customer after another, each with the whole script. What was cut off is sent again first.
struct Sender {
    customer: u64,
    step: usize,
    stride: u64,
    retries: u32,
}

impl Sender {
    fn run_until_cut_off(&mut self, address: SocketAddr) {
        loop {
            let wa_id = (15_550_000_000 + self.customer).to_string();
            let number = self.customer * SCRIPT.len() as u64 + self.step as u64;
            let form = form_of(
                &format!("SM{number}"),
                &wa_id,
                "",
                &[("Body", SCRIPT[self.step])],
            );
            match post(address, &nonce(number), &form) {
                Ok(answer) => assert_eq!(answer.status, 200, "{}", answer.body),
                Err(_) => {
                    self.retries += 1;
                    return;
                }
            }
            self.step += 1;
            if self.step == SCRIPT.len() {
                self.step = 0;
                self.customer += self.stride;
            }
        }
    }
}

#[test]
fn killed_at_any_moment_no_order_is_lost_or_doubled_and_a_kill_doubles_one_reply_at_most() {
    for shop in Shop::on_each() {
        let twilio = Twilio::start();
        twilio.otherwise(Behaviour::AcceptAfter(Duration::from_millis(4)));
        let mut senders: Vec<Sender> = (0..SENDERS)
            .map(|first| Sender {
                customer: first as u64,
                step: 0,
                stride: SENDERS as u64,
                retries: 0,
            })
            .collect();
        let (mut unprocessed, mut sending) = (0, 0);
        for _ in 0..ROUNDS {
            let service = shop.start_with(&twilio.variables());
            let address = service.address;
            let delay = 2 + RandomState::new().hash_one("delay") % 150;
            std::thread::scope(|scope| {
                for sender in &mut senders {
                    scope.spawn(move || sender.run_until_cut_off(address));
                }
                std::thread::sleep(Duration::from_millis(delay));
                service.kill();
            });
            unprocessed += shop.count("messages WHERE processed_at IS NULL");
            sending += shop.count("replies WHERE state = 'sending'");
        }

        let _service = shop.start_with(&twilio.variables());
        shop.wait_until_all_is_sent();

        // Every customer whose whole script was accepted has one order, and nobody has two.
        let ordered: u64 = senders
            .iter()
            .map(|sender| sender.customer / SENDERS as u64)
            .sum();
        let orders = shop.count("orders") as u64;
        assert!(ordered > 0, "no customer got to the end of the script");
        // A sender may have been cut off after its "yes" was stored and before the answer.
        assert!(
            (ordered..=ordered + SENDERS as u64).contains(&orders),
            "{orders} orders, {ordered} answered"
        );
        assert_eq!(
            shop.count("(SELECT DISTINCT customer_id FROM orders)") as u64,
            orders
        );
        assert_eq!(shop.count("orders WHERE total_cents <> 1700"), 0);
        assert_eq!(
            shop.count(
                "(SELECT order_id FROM order_lines GROUP BY order_id HAVING sum(quantity) <> 2)"
            ),
            0
        );

        // One reply for each message, each sent, and the stand-in saw each.
        assert_eq!(shop.count("replies"), shop.count("messages"));
        assert_eq!(shop.count("replies WHERE state <> 'sent'"), 0);
        let mut seen: HashMap<(String, String), u32> = HashMap::new();
        let mut last: HashMap<String, usize> = HashMap::new();
        for call in twilio.calls() {
            // Each customer hears the answers in the order of the questions, doubled ones included.
            let step = ANSWERS.iter().position(|answer| call.body.contains(answer));
            let step = step.unwrap_or_else(|| panic!("unexpected: {}", call.body));
            let before = last.insert(call.to.clone(), step).unwrap_or(0);
            assert!(
                before <= step,
                "{} after {}",
                ANSWERS[step],
                ANSWERS[before]
            );
            *seen.entry((call.to, call.body)).or_default() += 1;
        }
        let mut doubled = 0;
        for row in shop.rows("SELECT recipient, body, attempts FROM replies") {
            let reply = (row[0].clone(), row[1].clone());
            let attempts: u32 = row[2].parse().unwrap();
            let calls = seen.remove(&reply).unwrap_or(0);
            assert!(calls >= 1, "never sent: {reply:?}");
            assert!(
                calls <= attempts,
                "{calls} calls in {attempts} attempts: {reply:?}"
            );
            doubled += i64::from(calls - 1);
        }
        assert!(seen.is_empty(), "sent and not in the outbox: {seen:?}");
        println!(
            "{ROUNDS} kills: {orders} orders, {} replies; cut off were {} requests, {unprocessed} unprocessed messages \
         (counted at each kill), {sending} replies being sent, of which {doubled} came twice",
            shop.count("replies"),
            senders.iter().map(|sender| sender.retries).sum::<u32>()
        );
        assert!(
            doubled <= sending,
            "{doubled} doubled, {sending} were being sent at a kill"
        );
        assert!(sending <= ROUNDS as i64, "one reply is sent at a time");
        assert!(sending > 0, "no kill came while a reply was being sent");
    }
}
