//! PostgreSQL gone in the middle of everything, and back. Requests get 5xx meanwhile, so that the filter gives up the
//! nonce and Twilio's repeat passes; nothing that was answered 200 is lost, and no order is there twice.

use std::io::Read;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Shop, form, form_of, nonce, post, program, wait_for_exit};
use crate::postgres::Server;

const ROUNDS: u32 = 4;
const SENDERS: u64 = 4;
const SCRIPT: [&str; 3] = ["2 margherita", "deliver to Elm Street 5", "yes"];

#[test]
fn while_postgresql_is_stopped_and_started_no_order_is_lost_or_doubled() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let shop = Shop::at(server.database());
    let service = shop.start();
    let address = service.address;
    let over = AtomicBool::new(false);
    let (customers, failures) = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|first| {
                let over = &over;
                scope.spawn(move || {
                    let (mut customer, mut failures) = (first, 0);
                    // The last customer's script is always finished.
                    while !over.load(Ordering::SeqCst) {
                        for (step, text) in SCRIPT.iter().enumerate() {
                            let number = customer * 3 + step as u64;
                            let wa_id = (15_550_000_000 + customer).to_string();
                            let sid = format!("SM{number}");
                            let form = form_of(&sid, &wa_id, "", &[("Body", text)]);
                            let deadline = Instant::now() + PATIENCE;
                            // As Twilio behind the filter: the same message again until it is taken.
                            while post(address, &nonce(number), &form).unwrap().status != 200 {
                                failures += 1;
                                assert!(Instant::now() < deadline, "never taken: {number}");
                                std::thread::sleep(Duration::from_millis(50));
                            }
                        }
                        customer += SENDERS;
                    }
                    (customer / SENDERS, failures)
                })
            })
            .collect();
        for _ in 0..ROUNDS {
            std::thread::sleep(Duration::from_millis(400));
            server.stop();
            assert_eq!(service.get("/healthz").status, 503);
            server.start_again();
        }
        std::thread::sleep(Duration::from_millis(1500));
        over.store(true, Ordering::SeqCst);
        senders
            .into_iter()
            .map(|sender| sender.join().unwrap())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    shop.wait_until_all_is_processed();
    println!("{ROUNDS} stops: {customers} orders, {failures} requests were answered 5xx");
    assert!(failures > 0, "no request came while the server was stopped");
    assert_eq!(shop.count("messages"), customers as i64 * 3);
    assert_eq!(shop.count("events"), customers as i64 * 3);
    assert_eq!(shop.count("replies"), customers as i64 * 3);
    assert_eq!(shop.count("orders"), customers as i64);
    assert_eq!(shop.count("orders WHERE total_cents <> 1700"), 0);
    let buyers = "(SELECT DISTINCT customer_id FROM orders)";
    assert_eq!(shop.count(buyers), customers as i64);
    assert_eq!(service.get("/healthz").status, 200);
}

#[test]
fn a_connection_that_the_server_ends_while_nothing_happens_costs_no_request() {
    let Some(url) = crate::postgres::database() else {
        return;
    };
    let shop = Shop::at(url);
    let service = shop.start();
    shop.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'ordering-upstream'",
    );
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(service.post(&nonce(1), &form("SM1", "x")).status, 200);
    shop.wait_until_all_is_processed();
}

/// Starts the program, which must exit by itself, and returns what it said.
fn fails(url: &str) -> String {
    let mut command = program("127.0.0.1:0", std::path::Path::new(""));
    command.env_remove("DATABASE_PATH").env("DATABASE_URL", url);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(wait_for_exit(&mut child).code(), Some(1));
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    said
}

#[test]
fn a_database_url_that_leads_nowhere_is_a_clear_error_without_the_password() {
    let port = crate::harness::free_port();
    let mut cases = vec![
        (
            format!("postgres://shop:s3cret@127.0.0.1:{port}/orders"),
            format!("error: cannot open database orders at 127.0.0.1:{port}: "),
        ),
        (
            "postgres://shop:s3cret@127.0.0.1:x/orders".to_owned(),
            "error: DATABASE_URL: expected postgres://USER:PASSWORD@".to_owned(),
        ),
    ];
    if let Some(url) = crate::postgres::database() {
        let url = url.replace("shop@", "nobody:s3cret@");
        cases.push((url, "error: cannot open database orders".to_owned()));
    }
    for (url, expected) in cases {
        let said = fails(&url);
        assert!(said.starts_with(&expected), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_second_service_on_one_database_does_not_start() {
    let Some(url) = crate::postgres::database() else {
        return;
    };
    let shop = Shop::at(url.clone());
    let _service = shop.start();
    let said = fails(&url);
    assert!(
        said.contains("another process works on this database"),
        "{said}"
    );
}
