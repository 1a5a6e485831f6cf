//! The promise of the service: what was answered 200 is never lost and never there twice.
//!
//! A false pass would be a service that answers before it stores and is killed too rarely in between, so
//! the rounds are many and every sender is in the middle of a request when the kill comes. A killed process
//! keeps what it gave to the operating system; that a commit also survives a power cut rests on
//! `synchronous=FULL`, which a test of the store checks.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::harness::{Shop, form, nonce, post};

const ROUNDS: u64 = 12;
const SENDERS: u64 = 8;

#[test]
fn no_message_that_was_answered_is_lost_or_doubled_when_the_service_is_killed() {
    for shop in Shop::on_each() {
        let next = AtomicU64::new(0);
        let mut answered: Vec<u64> = Vec::new();
        let mut cut_off: Vec<u64> = Vec::new();
        let mut answered_at_once = 0;

        for _ in 0..ROUNDS {
            let service = shop.start();
            // What a kill cut off comes again, as a retry with the same nonce; stored or not, it is accepted.
            for number in cut_off.drain(..) {
                let answer = service.post(&nonce(number), &form(&format!("SM{number}"), "x"));
                assert_eq!(answer.status, 200);
                answered.push(number);
            }
            let address = service.address;
            let delay = 5 + RandomState::new().hash_one("delay") % 120;
            let senders = std::thread::scope(|scope| {
                let senders: Vec<_> = (0..SENDERS)
                    .map(|_| scope.spawn(|| send_until_cut_off(address, &next)))
                    .collect();
                std::thread::sleep(Duration::from_millis(delay));
                service.kill();
                senders
                    .into_iter()
                    .map(|sender| sender.join().unwrap())
                    .collect::<Vec<_>>()
            });
            for (accepted, lost) in senders {
                answered_at_once += accepted.len();
                answered.extend(accepted);
                cut_off.push(lost);
            }
        }
        let unprocessed = shop.count("messages WHERE processed_at IS NULL");
        println!(
            "{answered_at_once} answered at once, {} after a retry; {unprocessed} unprocessed at the last kill",
            answered.len() - answered_at_once
        );
        assert!(
            answered_at_once > 0,
            "every kill came before the first answer"
        );

        let _service = shop.start();
        shop.wait_until_all_is_processed();

        let found = shop.rows(
            "SELECT nonce, message_sid, count(*), count(event.id) FROM messages
         LEFT JOIN events AS event ON event.message_id = messages.id
         WHERE processed_at IS NOT NULL GROUP BY nonce, message_sid",
        );
        let found: HashSet<[String; 4]> = found
            .into_iter()
            .map(|row| row.try_into().unwrap())
            .collect();
        for number in &answered {
            let one = || "1".to_owned();
            let expected = [nonce(*number), format!("SM{number}"), one(), one()];
            assert!(
                found.contains(&expected),
                "message {number}: one row, one event"
            );
        }
        // Besides those, only what was stored and then cut off before its answer.
        let stored = shop.count("messages");
        assert_eq!(stored, shop.count("(SELECT DISTINCT nonce FROM messages)"));
        assert_eq!(stored, shop.count("events"));
        assert!(stored <= (answered.len() + cut_off.len()) as i64);
    }
}

/// Sends one message after another until the service is gone. Returns the numbers that were answered, and
/// the one that was not.
fn send_until_cut_off(address: std::net::SocketAddr, next: &AtomicU64) -> (Vec<u64>, u64) {
    let mut answered = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        match post(address, &nonce(number), &form(&format!("SM{number}"), "x")) {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{}", answer.body);
                answered.push(number);
            }
            Err(_) => return (answered, number),
        }
    }
}
