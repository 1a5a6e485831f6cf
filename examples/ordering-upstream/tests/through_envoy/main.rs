//! Everything together: a stand-in for Twilio sends signed webhooks to Envoy with the filter, behind it the service,
//! which replies to the stand-in.
//!
//! Without an Envoy or the filter's module the tests are skipped, and say so; with REQUIRE_ENVOY=1, as in scripts/test,
//! they fail instead.

// Helpers are not test functions, so clippy.toml does not reach them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

#[path = "../support/envoy.rs"]
mod envoy;
#[path = "../support/harness.rs"]
mod harness;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/twilio.rs"]
mod twilio;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::envoy::{Envoy, signature};
use crate::harness::{PATIENCE, Service, Shop, callback, form, form_of, free_port};
use crate::postgres::Server;
use crate::twilio::Twilio;

/// All of it, on ports of its own.
struct Everything {
    shop: Shop,
    twilio: Twilio,
    upstream: String,
    envoy: Envoy,
}

impl Everything {
    fn start() -> Option<Self> {
        Self::start_for(Shop::new())
    }

    fn start_for(shop: Shop) -> Option<Self> {
        let port = free_port();
        match Envoy::start(port) {
            Ok(envoy) => Some(Self {
                shop,
                twilio: Twilio::start(),
                upstream: format!("127.0.0.1:{port}"),
                envoy,
            }),
            Err(missing) if std::env::var_os("REQUIRE_ENVOY").is_none() => {
                eprintln!("SKIPPED: {missing}");
                None
            }
            Err(missing) => panic!("{missing}"),
        }
    }

    fn start_service(&self) -> Service {
        let listen = [("LISTEN_ADDR", self.upstream.as_str())];
        self.shop
            .start_with(&[&self.twilio.variables()[..], &listen].concat())
    }
}

#[test]
fn a_whole_conversation_goes_through_the_filter_and_nothing_else_does() {
    let Some(all) = Everything::start() else {
        return;
    };
    let service = all.start_service();
    let mut number = 0;
    let mut say = |content: &[(&str, &str)]| {
        number += 1;
        let form = form_of(
            &format!("SM{number:032x}"),
            "15550001111",
            "Ana 🌮",
            content,
        );
        let answer = all.envoy.post(&form);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(
            answer.body.contains("<Response></Response>"),
            "{}",
            answer.body
        );
        // The same once more, as a replayer would: nobody hears of it.
        assert_eq!(all.envoy.post(&form).status, 409);
        // And with a word changed, or signed by somebody else.
        let altered = form.replace("ProfileName", "profilename");
        assert_eq!(
            all.envoy
                .try_post(&altered, &signature(&form))
                .unwrap()
                .status,
            403
        );
        all.twilio.wait_for_calls(number)[number - 1].body.clone()
    };
    assert!(say(&[("Body", "2 margherita and a coke")]).contains("Total € 19.80"));
    assert!(say(&[("Body", "no coke")]).contains("Total € 17.00"));
    let place = [
        ("Body", ""),
        ("Latitude", "52.52"),
        ("Longitude", "13.405"),
        ("Address", "Elm Street 5"),
        ("Label", ""),
    ];
    assert!(say(&place).contains("To: Elm Street 5"));
    let tap = [
        ("Body", "Yes"),
        ("ButtonText", "Yes"),
        ("ButtonPayload", "confirm"),
    ];
    assert!(say(&tap).contains("Order #1 is received: € 17.00"));

    assert_eq!(service.tap(1, "received", "confirmed").status, 200);
    let told = all.twilio.wait_for_calls(5).pop().unwrap();
    assert_eq!(told.body, "The kitchen has confirmed your order #1.");
    all.shop.wait_until_all_is_sent();
    let sid = told.sid.unwrap();
    for status in ["sent", "delivered"] {
        assert_eq!(all.envoy.post(&callback(&sid, status)).status, 200);
    }
    all.shop.wait_until_all_is_processed();
    assert_eq!(
        all.shop.value::<String>("SELECT status FROM deliveries"),
        "delivered"
    );
    assert_eq!(all.shop.count("messages"), 6);
    assert_eq!(all.twilio.calls().len(), 5);

    // What the service shows to the kitchen, it does not show to the world.
    for path in ["/orders", "/orders.json", "/messages", "/orders/1/state"] {
        let answer = all
            .envoy
            .get(path, "x-twilio-webhook-verified: true\r\nx-kitchen: 1\r\n");
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (404, Some("unknown_webhook")),
            "{path}"
        );
    }
    assert_eq!(all.envoy.get("/healthz", "").status, 200);
}

#[test]
fn the_command_in_the_readme_has_a_conversation() {
    let Some(all) = Everything::start() else {
        return;
    };
    // Without an API to send to, as with scripts/run.
    let service = all
        .shop
        .start_with(&[("LISTEN_ADDR", all.upstream.as_str())]);
    let said = std::process::Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/try"))
        .args(["--to", &format!("http://{}", all.envoy.address)])
        .args(["--service", &format!("http://{}", service.address)])
        .env("TWILIO_AUTH_TOKEN", twilio::TOKEN)
        .env("TWILIO_ACCOUNT_SID", twilio::ACCOUNT)
        .env_remove("WEBHOOK_URL")
        .env("PYTHONIOENCODING", "utf-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&said.stdout);
    assert!(
        said.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&said.stderr)
    );
    for piece in [
        "> 2 margherita and a coke",
        "Total € 19.80",
        "Order #1 is received: € 25.50",
        "not confirmed it yet",
    ] {
        assert!(printed.contains(piece), "{piece:?} is missing: {printed}");
    }
    assert_eq!(all.shop.count("orders"), 1);
}

#[test]
fn what_a_full_database_refused_is_accepted_when_twilio_sends_it_again() {
    let Some(all) = Everything::start() else {
        return;
    };
    let _service = all.start_service();
    let refuse = "CREATE TRIGGER full BEFORE INSERT ON messages
                  BEGIN SELECT RAISE(ABORT, 'no room'); END";
    all.shop.look_inside().execute_batch(refuse).unwrap();
    let form = form("SM00000000000000000000000000000001", "a coke");
    for _ in 0..2 {
        let answer = all.envoy.post(&form);
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (500, Some("not_stored"))
        );
    }
    all.shop
        .look_inside()
        .execute_batch("DROP TRIGGER full")
        .unwrap();
    assert_eq!(all.envoy.post(&form).status, 200);
    assert_eq!(all.envoy.post(&form).status, 409);
    let calls = all.twilio.wait_for_calls(1);
    assert!(calls[0].body.contains("1 × Coke"));
    all.shop.wait_until_all_is_sent();
    assert_eq!(all.shop.count("messages"), 1);
}

#[test]
fn a_locked_database_answers_before_twilio_gives_up_and_the_repeat_is_accepted() {
    let Some(all) = Everything::start() else {
        return;
    };
    let _service = all.start_service();
    let lock = all.shop.look_inside();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let form = form("SM00000000000000000000000000000001", "a coke");
    let start = Instant::now();
    assert_eq!(all.envoy.post(&form).status, 500);
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    lock.execute_batch("COMMIT").unwrap();
    assert_eq!(all.envoy.post(&form).status, 200);
    all.shop.wait_until_all_is_sent();
    assert_eq!(all.twilio.calls().len(), 1);
}

#[test]
fn what_came_while_postgresql_was_away_or_hung_is_accepted_when_twilio_sends_it_again() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let Some(all) = Everything::start_for(Shop::at(server.database())) else {
        return;
    };
    let _service = all.start_service();
    for (hangs, number) in [(false, 1_usize), (true, 2)] {
        let form = form(&format!("SM{number:032x}"), "a coke");
        if hangs {
            server.hang();
        } else {
            server.stop();
        }
        // Were the nonce still held, the second would be 409.
        for _ in 0..2 {
            let start = Instant::now();
            let answer = all.envoy.post(&form);
            // By the service, and not Envoy's own when its ten seconds are over.
            assert_eq!(
                (answer.status, answer.json()["error"].as_str()),
                (500, Some("not_stored"))
            );
            println!("500 after {:?}", start.elapsed());
        }
        if hangs {
            server.resume();
        } else {
            server.start_again();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match all.envoy.post(&form).status {
                200 => break,
                // The service connects anew when it has paused.
                status => assert_eq!(status, 500),
            }
            assert!(Instant::now() < deadline, "never accepted");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(all.envoy.post(&form).status, 409);
        all.twilio.wait_for_calls(number);
        all.shop.wait_until_all_is_sent();
        assert_eq!(all.shop.count("messages"), number as i64);
        assert_eq!(all.twilio.calls().len(), number);
    }
}

#[test]
fn what_a_service_that_is_down_missed_is_accepted_when_it_is_back() {
    let Some(all) = Everything::start() else {
        return;
    };
    let service = all.start_service();
    let say = |number: u32, text| all.envoy.post(&form(&format!("SM{number:032x}"), text));
    assert_eq!(say(1, "a coke").status, 200);
    all.twilio.wait_for_calls(1);
    service.kill();
    for _ in 0..2 {
        assert_eq!(say(2, "deliver to Elm Street 5").status, 503);
    }
    let _service = all.start_service();
    assert_eq!(say(2, "deliver to Elm Street 5").status, 200);
    assert_eq!(say(3, "yes").status, 200);
    let deadline = Instant::now() + PATIENCE;
    while all.shop.count("orders") == 0 {
        assert!(Instant::now() < deadline, "there is no order");
        std::thread::sleep(Duration::from_millis(20));
    }
    all.shop.wait_until_all_is_sent();
    assert_eq!(all.shop.count("orders"), 1);
    assert_eq!(all.shop.count("messages"), 3);
}

#[test]
fn a_flood_of_forgeries_from_elsewhere_neither_reaches_the_service_nor_stops_a_conversation() {
    let Some(all) = Everything::start() else {
        return;
    };
    let _service = all.start_service();
    let stop = AtomicBool::new(false);
    let (sent, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for sender in 0..2_u8 {
            let (all, stop, sent, refused) = (&all, &stop, &sent, &refused);
            scope.spawn(move || {
                // Its own address, as a stranger has, so that its limit is not Twilio's.
                let from = std::net::Ipv4Addr::new(127, 0, 0, 10 + sender);
                for number in 0..20_000_u32 {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let form = form(&format!("SM{number:032x}"), "200 tacos");
                    sent.fetch_add(1, Ordering::Relaxed);
                    let status = all.envoy.forge_from(from, &form).status;
                    assert!(status == 403 || status == 429, "{status}");
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // In any case the flood ends, also when an assertion below fails.
        let _end = EndOfFlood(&stop);
        std::thread::sleep(Duration::from_millis(200));
        let mut slowest = Duration::ZERO;
        for (number, text) in (1..).zip([
            "2 tacos",
            "deliver to Elm Street 5",
            "yes",
            "status",
            "hello",
        ]) {
            let start = Instant::now();
            let answer = all
                .envoy
                .post(&form(&format!("SM{:032x}", 0xf000 + number), text));
            assert_eq!(answer.status, 200, "{}", answer.body);
            slowest = slowest.max(start.elapsed());
            all.twilio.wait_for_calls(number);
        }
        println!("slowest answer beside the flood: {slowest:?}");
        // Twilio waits for 15 s; the rest is for a machine that is busy with other things.
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    });
    println!(
        "{} forgeries, {} refused",
        sent.load(Ordering::Relaxed),
        refused.load(Ordering::Relaxed)
    );
    assert!(refused.load(Ordering::Relaxed) > 100, "that was no flood");
    all.shop.wait_until_all_is_sent();
    assert_eq!(all.shop.count("messages"), 5);
    assert_eq!(all.shop.count("orders"), 1);
}

struct EndOfFlood<'a>(&'a AtomicBool);

impl Drop for EndOfFlood<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
