//! The kitchen's page as HTTP. What it looks like and does is tested in a browser, in tests/page.

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Service, Shop, form, nonce, program, wait_for_exit};

fn order(shop: &Shop, service: &Service) {
    for (number, text) in [(1, "a coke\ndeliver to Elm Street 5"), (2, "yes")] {
        service.post(&nonce(number), &form(&format!("SM{number}"), text));
    }
    shop.wait_until_all_is_processed();
    assert_eq!(shop.count("orders"), 1);
}

#[test]
fn the_page_runs_nothing_but_its_own_script_and_stays_out_of_caches() {
    for shop in Shop::on_each() {
        let service = shop.start();
        let page = service.get("/orders");
        assert_eq!(page.status, 200);
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    }
}

#[test]
fn an_order_moves_once_however_often_the_button_is_tapped() {
    for shop in Shop::on_each() {
        let service = shop.start();
        order(&shop, &service);
        assert_eq!(service.tap(1, "received", "confirmed").status, 200);
        let again = service.tap(1, "received", "confirmed");
        assert_eq!(
            (again.status, again.json()["error"].as_str()),
            (409, Some("changed"))
        );
        assert_eq!(service.tap(1, "confirmed", "delivered").status, 409);
        assert_eq!(service.tap(2, "received", "confirmed").status, 404);
        assert_eq!(service.tap(1, "confirmed", "eaten").status, 422);
        assert_eq!(
            shop.value::<String>("SELECT state FROM orders"),
            "confirmed"
        );
        // Two answers to the customer, one message from the kitchen.
        assert_eq!(shop.count("replies"), 3);
        assert_eq!(service.tap(1, "confirmed", "cancelled").status, 200);
        assert_eq!(service.tap(1, "cancelled", "confirmed").status, 409);
        let told: String = shop.value("SELECT body FROM replies ORDER BY id DESC LIMIT 1");
        assert!(told.contains("had to cancel your order #1"), "{told}");
    }
}

#[test]
fn a_customer_who_cancels_and_a_kitchen_that_starts_do_not_both_win() {
    for shop in Shop::on_each() {
        let service = shop.start();
        order(&shop, &service);
        service.post(&nonce(3), &form("SM3", "cancel"));
        shop.wait_until_all_is_processed();
        assert_eq!(service.tap(1, "received", "confirmed").status, 409);
        assert_eq!(
            shop.value::<String>("SELECT state FROM orders"),
            "cancelled"
        );
    }
}

#[test]
fn other_sites_can_neither_read_nor_change_orders() {
    for shop in Shop::on_each() {
        let service = shop.start();
        order(&shop, &service);
        let move_it = r#"{"from":"received","to":"confirmed"}"#;
        let json = ("content-type", "application/json");
        for headers in [
            vec![json],
            vec![("content-type", "text/plain")],
            vec![json, ("x-kitchen", "1"), ("origin", "https://evil.example")],
            vec![json, ("x-kitchen", "1"), ("host", "evil.example")],
        ] {
            let answer = service.request("POST", "/orders/1/state", &headers, move_it);
            assert_eq!(answer.status, 403, "{headers:?}");
        }
        assert_eq!(shop.value::<String>("SELECT state FROM orders"), "received");
        for path in ["/orders", "/orders.json", "/messages"] {
            let answer = service.request("GET", path, &[("host", "evil.example")], "");
            assert_eq!(
                (answer.status, answer.json()["error"].as_str()),
                (403, Some("wrong_host"))
            );
        }
        // A page elsewhere that asks first gets no permission.
        let ask = [
            ("origin", "https://evil.example"),
            ("access-control-request-method", "POST"),
        ];
        let answer = service.request("OPTIONS", "/orders/1/state", &ask, "");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[test]
fn with_a_password_nothing_is_shown_without_it() {
    for shop in Shop::on_each() {
        let service = shop.start_with(&[("KITCHEN_PASSWORD", "correct horse")]);
        for path in ["/orders", "/orders.json", "/messages"] {
            let answer = service.get(path);
            assert_eq!(answer.status, 401, "{path}");
            assert!(
                answer
                    .header("www-authenticate")
                    .unwrap()
                    .starts_with("Basic realm=")
            );
            let basic = |password: &str| {
                format!("Basic {}", STANDARD.encode(format!("kitchen:{password}")))
            };
            let wrong =
                service.request("GET", path, &[("authorization", &basic("wrong horse"))], "");
            assert_eq!(wrong.status, 401, "{path}");
            let right = service.request(
                "GET",
                path,
                &[("authorization", &basic("correct horse"))],
                "",
            );
            assert_eq!(right.status, 200, "{path}");
        }
        assert_eq!(service.tap(1, "received", "confirmed").status, 401);
        // The webhook has the filter before it and no password.
        assert_eq!(service.post(&nonce(1), &form("SM1", "hello")).status, 200);
        assert_eq!(service.get("/healthz").status, 200);
    }
}

#[test]
fn an_address_that_others_can_reach_is_refused_without_a_password() {
    for shop in Shop::on_each() {
        let mut child = program("0.0.0.0:0", &shop.database())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(wait_for_exit(&mut child).code(), Some(1));
        let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(
            said.starts_with("error: KITCHEN_PASSWORD: expected a password"),
            "{said}"
        );
        assert!(!shop.database().exists());
    }
}

#[test]
fn the_kitchen_learns_that_a_message_did_not_reach_the_customer() {
    for shop in Shop::on_each() {
        let twilio = crate::twilio::Twilio::start();
        let service = shop.start_with(&twilio.variables());
        order(&shop, &service);
        shop.wait_until_all_is_sent();
        let unreachable = || service.get("/orders.json").json()["orders"][0]["unreachable"].clone();
        assert_eq!(unreachable(), false);
        let sid = twilio.calls().pop().unwrap().sid.unwrap();
        service.post(&nonce(10), &crate::harness::callback(&sid, "undelivered"));
        shop.wait_until_all_is_processed();
        assert_eq!(unreachable(), true);
        service.tap(1, "received", "confirmed");
        shop.wait_until_all_is_sent();
        assert_eq!(unreachable(), false);
        twilio.otherwise(crate::twilio::Behaviour::Status(400, None));
        service.tap(1, "confirmed", "preparing");
        shop.wait_until_all_is_sent();
        assert_eq!(unreachable(), true);
    }
}
