//! PostgreSQL gone in the middle of everything, and back. Requests get 5xx meanwhile, so that the filter gives up the
//! nonce and Twilio's repeat passes; nothing that was answered 200 is lost, and no order is there twice.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Service, Shop, form, form_of, nonce, post, program, wait_for_exit};
use crate::postgres::Server;
use crate::twilio::Twilio;

const ROUNDS: u32 = 4;
const SENDERS: u64 = 4;
const SCRIPT: [&str; 3] = ["2 margherita", "deliver to Elm Street 5", "yes"];

/// What the README says of a server that does not answer. Envoy waits for ten seconds.
const LONGEST_ANSWER: Duration = Duration::from_secs(7);

/// Customers order all the while that the server is disturbed; then everything is counted. Returns how long the longest
/// answer took.
fn order_while(shop: &Shop, service: &Service, disturb: impl FnOnce()) -> Duration {
    let address = service.address;
    let over = AtomicBool::new(false);
    let (customers, failures, longest) = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|first| {
                let over = &over;
                scope.spawn(move || {
                    let (mut customer, mut failures, mut longest) = (first, 0, Duration::ZERO);
                    // The last customer's script is always finished.
                    while !over.load(Ordering::SeqCst) {
                        for (step, text) in SCRIPT.iter().enumerate() {
                            let number = customer * 3 + step as u64;
                            let wa_id = (15_550_000_000 + customer).to_string();
                            let sid = format!("SM{number}");
                            let form = form_of(&sid, &wa_id, "", &[("Body", text)]);
                            let deadline = Instant::now() + PATIENCE;
                            // As Twilio behind the filter: the same message again until it is taken.
                            loop {
                                let asked = Instant::now();
                                let status = post(address, &nonce(number), &form).unwrap().status;
                                longest = longest.max(asked.elapsed());
                                if status == 200 {
                                    break;
                                }
                                assert_eq!(status, 500);
                                failures += 1;
                                assert!(Instant::now() < deadline, "never taken: {number}");
                                std::thread::sleep(Duration::from_millis(50));
                            }
                        }
                        customer += SENDERS;
                    }
                    (customer / SENDERS, failures, longest)
                })
            })
            .collect();
        // In any case the senders end, also when the disturbance fails.
        let end = End(&over);
        disturb();
        drop(end);
        senders
            .into_iter()
            .map(|sender| sender.join().unwrap())
            .fold((0, 0, Duration::ZERO), |sum, one| {
                (sum.0 + one.0, sum.1 + one.1, sum.2.max(one.2))
            })
    });
    shop.wait_until_all_is_processed();
    println!(
        "{customers} orders, {failures} requests were answered 500, the longest took {longest:?}"
    );
    assert!(failures > 0, "no request came during the disturbance");
    assert_eq!(shop.count("messages"), customers as i64 * 3);
    assert_eq!(shop.count("events"), customers as i64 * 3);
    assert_eq!(shop.count("replies"), customers as i64 * 3);
    assert_eq!(shop.count("orders"), customers as i64);
    assert_eq!(shop.count("orders WHERE total_cents <> 1700"), 0);
    let buyers = "(SELECT DISTINCT customer_id FROM orders)";
    assert_eq!(shop.count(buyers), customers as i64);
    assert_eq!(service.get("/healthz").status, 200);
    longest
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn while_postgresql_is_stopped_and_started_no_order_is_lost_or_doubled() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let shop = Shop::at(server.database());
    let service = shop.start();
    order_while(&shop, &service, || {
        for _ in 0..ROUNDS {
            std::thread::sleep(Duration::from_millis(400));
            server.stop();
            assert_eq!(service.get("/healthz").status, 503);
            server.start_again();
        }
        std::thread::sleep(Duration::from_millis(1500));
    });
}

#[test]
fn while_postgresql_hangs_answers_come_in_time_and_no_order_is_lost_or_doubled() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let shop = Shop::at(server.database());
    let service = shop.start();
    let longest = order_while(&shop, &service, || {
        std::thread::sleep(Duration::from_millis(400));
        server.hang();
        let start = Instant::now();
        assert_eq!(service.get("/healthz").status, 503);
        assert!(start.elapsed() < LONGEST_ANSWER, "{:?}", start.elapsed());
        // As long as it takes until attempts to connect hang, too, and more than one of them.
        std::thread::sleep(Duration::from_secs(8).saturating_sub(start.elapsed()));
        server.resume();
        std::thread::sleep(Duration::from_millis(1500));
    });
    assert!(longest < LONGEST_ANSWER, "{longest:?}");
}

/// The server commits that the reply is being sent, and the service never hears of it: the answer of a commit waits for a
/// standby that does not exist, and the connection is ended meanwhile.
#[test]
fn a_reply_that_was_marked_by_a_commit_without_an_answer_is_sent_once_the_database_is_back() {
    let Some(server) = Server::start() else {
        return;
    };
    let shop = Shop::at(server.database());
    let twilio = Twilio::start();
    let mut command = shop.program();
    command.envs(twilio.variables());
    let (service, stderr) = Service::start_and_hear(command);
    // All other commits that write do not wait for it.
    shop.rows(
        "CREATE FUNCTION at_once() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM set_config('synchronous_commit', 'local', true); RETURN NEW; END $$;
         CREATE TRIGGER at_once BEFORE INSERT OR UPDATE ON messages
         FOR EACH ROW EXECUTE FUNCTION at_once();
         CREATE TRIGGER at_once BEFORE INSERT OR UPDATE ON replies
         FOR EACH ROW WHEN (NEW.state <> 'sending') EXECUTE FUNCTION at_once()",
    );
    shop.rows("ALTER SYSTEM SET synchronous_standby_names = '*'");
    shop.rows("SELECT pg_reload_conf()");
    let waiting = "pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep'";
    let mut messages = 0;
    // The server takes up its configuration when it gets to it, so the first reply may be too early.
    while shop.count(waiting) == 0 {
        messages += 1;
        assert!(messages < 20, "no commit waits for a standby");
        let number = messages as u64;
        let form = form(&format!("SM{number}"), "hello");
        assert_eq!(service.post(&nonce(number), &form).status, 200);
        let deadline = Instant::now() + Duration::from_secs(1);
        while shop.count(waiting) == 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    assert_eq!(twilio.calls().len(), messages - 1);
    shop.rows(&format!("SELECT pg_terminate_backend(pid) FROM {waiting}"));
    shop.rows("ALTER SYSTEM RESET synchronous_standby_names");
    shop.rows("SELECT pg_reload_conf()");
    twilio.wait_for_calls(messages);
    shop.wait_until_all_is_sent();
    // The two attempts are the proof that the commit without an answer was one.
    let stuck = shop.rows("SELECT attempts, state FROM replies ORDER BY id DESC LIMIT 1");
    assert_eq!(stuck, [["2", "sent"]]);
    assert_eq!(
        shop.count("replies WHERE attempts = 1"),
        messages as i64 - 1
    );
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(twilio.calls().len(), messages);
    service.kill();
    let said = std::io::read_to_string(stderr).unwrap();
    assert!(said.contains("sending will be tried again: "), "{said}");
    assert!(
        said.contains("1 replies were cut off while being sent"),
        "{said}"
    );
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
    fails_with(url, &[])
}

/// The same with further variables.
pub(crate) fn fails_with(url: &str, variables: &[(&str, &str)]) -> String {
    let mut command = program("127.0.0.1:0", std::path::Path::new(""));
    command.env_remove("DATABASE_PATH").env("DATABASE_URL", url);
    command.envs(variables.iter().copied());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(wait_for_exit(&mut child).code(), Some(1));
    std::io::read_to_string(child.stderr.take().unwrap()).unwrap()
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
