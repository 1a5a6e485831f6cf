//! What each request gets.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use crate::harness::{Shop, TWIML, WEBHOOK, form, nonce, request, request_with, send};

#[test]
fn a_message_is_answered_with_empty_twiml_and_is_stored_by_then() {
    for shop in Shop::on_each() {
        let service = shop.start();
        let answer = service.post(&nonce(1), &form("SM1", "2 tacos 🌮"));
        let stored = shop.count("messages WHERE message_sid = 'SM1' AND body = '2 tacos 🌮'");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/xml"));
        assert_eq!(answer.body, TWIML);
        assert_eq!(stored, 1);
    }
}

#[test]
fn the_same_nonce_again_gets_the_same_answer_and_is_not_stored_again() {
    for shop in Shop::on_each() {
        let service = shop.start();
        let first = service.post(&nonce(1), &form("SM1", "2 tacos"));
        let again = service.post(&nonce(1), &form("SM1", "2 tacos"));
        assert_eq!((again.status, again.body), (first.status, first.body));
        assert_eq!(shop.count("messages"), 1);
    }
}

#[test]
fn status_callbacks_of_one_message_are_messages_of_their_own() {
    for shop in Shop::on_each() {
        let service = shop.start();
        for (number, status) in ["sent", "delivered", "read"].iter().enumerate() {
            let body = format!("MessageSid=SM1&MessageStatus={status}&SmsStatus={status}");
            let answer = service.post(&nonce(number as u64), &body);
            assert_eq!(answer.status, 200);
        }
        shop.wait_until_all_is_processed();
        assert_eq!(shop.count("messages WHERE message_sid = 'SM1'"), 3);
        assert_eq!(shop.count("events WHERE outcome = 'status_callback'"), 3);
    }
}

#[test]
fn a_request_that_did_not_come_through_the_filter_gets_403_and_is_not_stored() {
    for shop in Shop::on_each() {
        let service = shop.start();
        let digits = nonce(1);
        let nonce = format!("x-twilio-webhook-nonce: {digits}\r\n");
        for headers in [
            String::new(),
            nonce.clone(),
            format!("x-twilio-webhook-verified: false\r\n{nonce}"),
            format!("x-twilio-webhook-verified: invalid_signature\r\n{nonce}"),
            "x-twilio-webhook-verified: true\r\n".to_owned(),
            "x-twilio-webhook-verified: true\r\nx-twilio-webhook-nonce: 1\r\n".to_owned(),
        ] {
            let request = request_with(&headers, "MessageSid=SM1");
            let answer = send(service.address, request.as_bytes()).unwrap();
            assert_eq!(answer.status, 403, "{headers}");
            assert_eq!(answer.json()["error"], "not_verified");
        }
        assert_eq!(shop.count("messages"), 0);
    }
}

#[test]
fn a_body_that_cannot_be_read_is_stored_byte_for_byte() {
    for shop in Shop::on_each() {
        let service = shop.start();
        let mut request = request(&nonce(1), "%%=\x00&;").into_bytes();
        let body_at = request.len() - 6;
        request[body_at] = 0xff;
        assert_eq!(send(service.address, &request).unwrap().status, 200);
        assert_eq!(service.post(&nonce(2), "").status, 200);
        let json = format!(
            "x-twilio-webhook-verified: true\r\nx-twilio-webhook-nonce: {}\r\n\
         content-type: application/json\r\n",
            nonce(3)
        );
        let request = request_with(&json, "[{\"type\":\"x\"}]");
        assert_eq!(
            send(service.address, request.as_bytes()).unwrap().status,
            200
        );

        shop.wait_until_all_is_processed();
        assert_eq!(
            shop.rows("SELECT raw_body FROM messages ORDER BY id"),
            [
                ["\\xff253d00263b"],
                ["\\x"],
                ["\\x5b7b2274797065223a2278227d5d"]
            ]
        );
        assert_eq!(shop.count("events WHERE outcome = 'other'"), 3);
    }
}

#[test]
fn a_message_that_cannot_be_stored_gets_500_and_its_retry_is_stored() {
    for shop in Shop::on_each() {
        let service = shop.start();
        shop.block("messages");
        let answer = service.post(&nonce(1), &form("SM1", "2 tacos"));
        assert_eq!(answer.status, 500);
        assert_eq!(answer.json()["error"], "not_stored");
        assert!(!answer.body.contains("no room"), "{}", answer.body);

        shop.unblock("messages");
        assert_eq!(service.post(&nonce(1), &form("SM1", "2 tacos")).status, 200);
        assert_eq!(shop.count("messages"), 1);
    }
}

#[test]
fn a_body_of_1_mib_is_stored_and_a_longer_one_gets_413() {
    for shop in Shop::on_each() {
        let service = shop.start();
        let limit = 1024 * 1024;
        assert_eq!(service.post(&nonce(1), &"a".repeat(limit)).status, 200);
        assert_eq!(
            shop.count("messages WHERE octet_length(raw_body) = 1048576"),
            1
        );

        let answer = service.post(&nonce(2), &"a".repeat(limit + 1));
        assert_eq!(answer.status, 413);
        assert_eq!(answer.json()["error"], "bad_body");
        assert_eq!(shop.count("messages"), 1);
    }
}

#[test]
fn a_body_that_ends_early_is_not_stored() {
    for shop in Shop::on_each() {
        let service = shop.start();
        let request = request(&nonce(1), "Body=2+tacos").replace("Body=2+tacos", "Body=2");
        let mut stream = TcpStream::connect(service.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        drop(stream);
        // Something after it, so that the service has seen the end.
        service.post(&nonce(2), "");
        assert_eq!(
            shop.count(&format!("messages WHERE nonce = '{}'", nonce(1))),
            0
        );
    }
}

#[test]
fn messages_whose_sender_hangs_up_before_the_answer_are_processed_if_they_were_stored() {
    for shop in Shop::on_each() {
        let service = shop.start();
        for number in 0..50 {
            let mut stream = TcpStream::connect(service.address).unwrap();
            let request = request(&nonce(number), &form("SM1", "2 tacos"));
            stream.write_all(request.as_bytes()).unwrap();
        }
        shop.wait_until_all_is_processed();
        // The service has outlived them all.
        assert_eq!(service.get("/healthz").status, 200);
    }
}

#[test]
fn messages_are_processed_in_the_order_in_which_they_were_stored() {
    for shop in Shop::on_each() {
        let service = shop.start();
        std::thread::scope(|scope| {
            for sender in 0..8 {
                let service = &service;
                scope.spawn(move || {
                    for number in 0..20 {
                        let answer =
                            service.post(&nonce(sender * 1000 + number), &form("SM1", "x"));
                        assert_eq!(answer.status, 200);
                    }
                });
            }
        });
        shop.wait_until_all_is_processed();
        assert_eq!(shop.count("events"), 160);
        assert_eq!(
        shop.count(
            "(SELECT message_id, lag(message_id) OVER (ORDER BY id) AS before FROM events) AS pairs
             WHERE message_id <= before"
        ),
        0
    );
    }
}

#[test]
fn healthz_says_ok_while_the_database_answers() {
    let shop = Shop::new();
    let service = shop.start();
    let answer = service.get("/healthz");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    shop.look_inside()
        .execute_batch("ALTER TABLE messages RENAME TO gone")
        .unwrap();
    assert_eq!(service.get("/healthz").status, 503);
}

#[test]
fn messages_lists_the_newest_100_first() {
    for shop in Shop::on_each() {
        let service = shop.start();
        for number in 1..=101 {
            service.post(&nonce(number), &form(&format!("SM{number}"), "2 tacos 🌮"));
        }
        service.post(&nonce(102), "not=a&message");
        shop.wait_until_all_is_processed();
        let answer = service.get("/messages");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let list = answer.json();
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), 100);
        assert_eq!(list[0]["id"], 102);
        assert_eq!(list[0]["message_sid"], serde_json::Value::Null);
        assert_eq!(list[0]["body"], serde_json::Value::Null);
        assert_eq!(list[1]["id"], 101);
        assert_eq!(list[1]["nonce"], nonce(101));
        assert_eq!(list[1]["message_sid"], "SM101");
        assert_eq!(list[1]["body"], "2 tacos 🌮");
        assert_eq!(list[99]["id"], 3);
        for field in ["received_at", "processed_at"] {
            let time = list[1][field].as_str().unwrap();
            let shape = time.replace(|letter: char| letter.is_ascii_digit(), "0");
            assert_eq!(shape, "0000-00-00T00:00:00.000Z");
        }
    }
}

#[test]
fn other_methods_and_other_paths_are_refused() {
    let shop = Shop::new();
    let service = shop.start();
    let answer = service.get(WEBHOOK);
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert_eq!(service.get("/").status, 404);
    assert_eq!(service.get(&format!("{WEBHOOK}/")).status, 404);
}
