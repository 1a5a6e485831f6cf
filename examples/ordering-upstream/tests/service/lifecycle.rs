//! Starting, stopping, and starting again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use ordering_upstream::message::NewMessage;
use ordering_upstream::store::Store;
use ordering_upstream::verified::Verified;

use crate::harness::{Shop, form, nonce, program, read_answer, request, wait_for_exit};

/// Starts the program, which must exit by itself, and returns its status and what it said.
fn fails(listen: &str, database: &std::path::Path) -> (Option<i32>, String) {
    let mut command = program(listen, database);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let status = wait_for_exit(&mut child);
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    (status.code(), said)
}

#[test]
fn what_was_stored_and_not_processed_is_processed_after_a_restart() {
    for shop in Shop::on_each() {
        // What a process leaves behind that was killed between the answer and the work: it stored, and its
        // worker never came to it.
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = Store::open(shop.location()).await.unwrap();
            for number in 1..=3 {
                let nonce = nonce(number);
                let account = None;
                let message = NewMessage::new(Verified { nonce, account }, None, b"x".to_vec());
                store.save(message).await.unwrap();
            }
            store.close().await;
        });
        assert_eq!(shop.count("messages WHERE processed_at IS NULL"), 3);

        let _service = shop.start();
        shop.wait_until_all_is_processed();
        assert_eq!(shop.count("events"), 3);
    }
}

#[test]
fn what_was_killed_before_processing_is_processed_after_a_restart() {
    for shop in Shop::on_each() {
        let service = shop.start();
        // Processing fails and is tried again for ever; storing works.
        shop.block("events");
        for number in 1..=3 {
            assert_eq!(service.post(&nonce(number), &form("SM1", "x")).status, 200);
        }
        service.kill();
        assert_eq!(shop.count("messages WHERE processed_at IS NULL"), 3);

        shop.unblock("events");
        let _service = shop.start();
        shop.wait_until_all_is_processed();
        assert_eq!(shop.count("events"), 3);
    }
}

#[test]
fn processing_that_fails_is_tried_again_without_a_restart() {
    for shop in Shop::on_each() {
        let service = shop.start();
        shop.block("events");
        service.post(&nonce(1), &form("SM1", "x"));
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(shop.count("messages WHERE processed_at IS NULL"), 1);
        shop.unblock("events");
        shop.wait_until_all_is_processed();
    }
}

#[test]
fn a_request_in_hand_is_answered_before_the_service_stops() {
    for signal in ["TERM", "INT"] {
        let shop = Shop::new();
        let service = shop.start();
        let request = request(&nonce(1), &form("SM1", "2 tacos"));
        let (first, rest) = request.split_at(request.len() - 5);
        let mut stream = TcpStream::connect(service.address).unwrap();
        stream.write_all(first.as_bytes()).unwrap();
        // The head must have been read before the signal, or the connection counts as idle.
        std::thread::sleep(Duration::from_millis(200));
        service.signal(signal);
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(rest.as_bytes()).unwrap();

        assert_eq!(read_answer(stream).unwrap().status, 200, "{signal}");
        assert_eq!(service.wait_for_exit().code(), Some(0), "{signal}");
        assert_eq!(shop.count("messages"), 1);
        // The write-ahead log went into the file, so copying that one file is a backup.
        assert!(!shop.database().with_extension("db-wal").exists());
    }
}

#[test]
fn a_client_that_never_finishes_does_not_keep_the_service_from_stopping() {
    let shop = Shop::new();
    let service = shop.start();
    let mut stream = TcpStream::connect(service.address).unwrap();
    let request = request(&nonce(1), "Body=x");
    stream
        .write_all(&request.as_bytes()[..request.len() - 1])
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    service.signal("TERM");
    assert_eq!(service.wait_for_exit().code(), Some(0));
}

#[test]
fn a_port_in_use_is_a_clear_error() {
    let shop = Shop::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, said) = fails(&address, &shop.database());
    assert_eq!(status, Some(1));
    let expected = format!("error: cannot listen on {address}: Address already in use");
    assert!(said.starts_with(&expected), "{said}");
    assert!(!shop.database().exists());
}

#[test]
fn a_bad_address_is_a_clear_error() {
    let shop = Shop::new();
    let (status, said) = fails("localhost", &shop.database());
    assert_eq!(status, Some(1));
    assert!(said.starts_with("error: LISTEN_ADDR: expected"), "{said}");
}

#[test]
fn a_database_that_cannot_be_opened_is_a_clear_error() {
    let shop = Shop::new();
    let nowhere = shop.database().join("nowhere/orders.db");
    let (status, said) = fails("127.0.0.1:0", &nowhere);
    assert_eq!(status, Some(1));
    let expected = format!("error: cannot open {}: ", nowhere.display());
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn the_log_names_messages_and_holds_nothing_personal() {
    for shop in Shop::on_each() {
        let mut command = shop.program();
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        let address = line.trim_end().trim_start_matches("listening on http://");
        let address = address.parse().unwrap();
        let body = form("SM1", "my door code is 4711");
        for _ in 0..2 {
            crate::harness::post(address, &nonce(0xabcd), &body).unwrap();
        }
        shop.wait_until_all_is_processed();
        child.kill().unwrap();
        child.wait().unwrap();
        let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(
            said.contains("message 1 processed: message (nonce 00000000)"),
            "{said}"
        );
        assert!(said.contains("a repeat of nonce 00000000"), "{said}");
        for personal in ["4711", "15550001111", "SM1", "abcd"] {
            assert!(!said.contains(personal), "{said}");
        }
    }
}
