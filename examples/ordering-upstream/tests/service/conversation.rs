//! A whole conversation over HTTP: customer, service, kitchen, and the stand-in for Twilio.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Shop, callback, form, form_of, nonce};
use crate::twilio::{ACCOUNT, TOKEN, Twilio};

#[test]
fn a_customer_orders_the_kitchen_delivers_and_everybody_hears_of_it() {
    for shop in Shop::on_each() {
        let twilio = Twilio::start();
        let callback_url = (
            "STATUS_CALLBACK_URL",
            "https://orders.example.com/api/v1/whatsapp/webhook",
        );
        let service = shop.start_with(&[&twilio.variables()[..], &[callback_url]].concat());
        let mut number = 0;
        let mut say = |content: &[(&str, &str)]| {
            number += 1;
            let form = form_of(&format!("SM{number}"), "15550001111", "Ana", content);
            let answer = service.post(&nonce(number), &form);
            assert_eq!(answer.status, 200);
            let calls = twilio.wait_for_calls(number as usize);
            calls[number as usize - 1].body.clone()
        };

        assert!(say(&[("Body", "Hola!")]).contains("this is Aurora"));
        assert!(say(&[("Body", "menu")]).contains("Margherita  € 8.50"));
        assert!(say(&[("Body", "2 margherita and a coke")]).contains("Total € 19.80"));
        assert!(say(&[("Body", "no coke")]).contains("Total € 17.00"));
        assert!(say(&[("Body", "make it 3")]).contains("3 × Margherita  € 25.50"));
        assert!(say(&[("Body", "note: ring twice")]).contains("Note: ring twice"));
        assert!(say(&[("Body", "done")]).contains("Where shall we deliver?"));
        let place = [
            ("Body", ""),
            ("Latitude", "52.52"),
            ("Longitude", "13.405"),
            ("Address", "Elm Street 5"),
            ("Label", "Home"),
        ];
        assert!(say(&place).contains("To: Home, Elm Street 5"));
        let tap = [
            ("Body", "Yes"),
            ("ButtonText", "Yes"),
            ("ButtonPayload", "confirm_order"),
        ];
        assert!(say(&tap).contains("Order #1 is received: € 25.50, to Home, Elm Street 5"));
        assert!(say(&[("Body", "status?")]).contains("Order #1 (€ 25.50): received"));

        let calls = twilio.calls();
        for call in &calls {
            assert_eq!(
                call.line,
                format!("POST /2010-04-01/Accounts/{ACCOUNT}/Messages.json HTTP/1.1")
            );
            let credentials = STANDARD.encode(format!("{ACCOUNT}:{TOKEN}"));
            assert_eq!(call.authorization, format!("Basic {credentials}"));
            assert_eq!(call.from, "whatsapp:+14155238886");
            assert_eq!(call.to, "whatsapp:+15550001111");
            assert_eq!(call.status_callback.as_deref(), Some(callback_url.1));
        }

        let list = service.get("/orders.json").json();
        let order = &list["orders"][0];
        assert_eq!(order["number"], 1);
        assert_eq!(order["state"], "received");
        assert_eq!(order["total"], "€ 25.50");
        assert_eq!(order["note"], "ring twice");
        assert_eq!(order["phone"], "+15550001111");
        assert_eq!(order["lines"][0]["quantity"], 3);
        assert_eq!(order["location"], serde_json::json!([52.52, 13.405]));

        let steps = [
            "received",
            "confirmed",
            "preparing",
            "out_for_delivery",
            "delivered",
        ];
        let before = calls.len();
        for (done, step) in steps.windows(2).enumerate() {
            assert_eq!(service.tap(1, step[0], step[1]).status, 200);
            let told = twilio.wait_for_calls(before + done + 1);
            assert!(told[before + done].body.contains("#1"));
            assert_eq!(told[before + done].to, "whatsapp:+15550001111");
        }
        shop.wait_until_all_is_sent();
        assert_eq!(
            shop.value::<String>("SELECT state FROM orders"),
            "delivered"
        );
        assert_eq!(
            shop.count("replies WHERE state = 'sent' AND sid IS NOT NULL"),
            14
        );
        assert_eq!(shop.count("cart_lines"), 0);

        let last = twilio.calls().pop().unwrap().sid.unwrap();
        for (offset, status) in ["sent", "delivered", "sent"].iter().enumerate() {
            service.post(&nonce(1000 + offset as u64), &callback(&last, status));
        }
        shop.wait_until_all_is_processed();
        let status =
            format!("SELECT status FROM replies JOIN deliveries USING (sid) WHERE sid = '{last}'");
        assert_eq!(shop.value::<String>(&status), "delivered");
        assert_eq!(twilio.calls().len(), 14, "callbacks are not answered");
    }
}

#[test]
fn the_same_message_under_another_nonce_is_answered_once() {
    for shop in Shop::on_each() {
        let service = shop.start();
        for number in 1..=3 {
            service.post(&nonce(number), &form("SM1", "a coke"));
        }
        shop.wait_until_all_is_processed();
        assert_eq!(shop.count("replies"), 1);
        assert_eq!(shop.value::<i64>("SELECT quantity FROM cart_lines"), 1);
        assert_eq!(shop.count("events WHERE outcome = 'repeat'"), 2);
    }
}

#[test]
fn each_customer_has_a_cart_and_orders_of_their_own() {
    for shop in Shop::on_each() {
        let service = shop.start();
        let mut number = 0;
        for text in ["a coke\ndeliver to Elm Street 5", "yes", "status"] {
            for customer in ["15550000001", "15550000002"] {
                number += 1;
                let form = form_of(&format!("SM{number}"), customer, "", &[("Body", text)]);
                service.post(&nonce(number), &form);
            }
        }
        shop.wait_until_all_is_processed();
        assert_eq!(shop.count("orders"), 2);
        assert_eq!(shop.count("(SELECT DISTINCT customer_id FROM orders)"), 2);
        let status =
            "replies WHERE recipient LIKE '%2' AND body LIKE 'Order #2%' AND body NOT LIKE '%#1%'";
        assert_eq!(shop.count(status), 1);
    }
}

#[test]
fn without_an_api_to_send_to_replies_are_recorded_and_shown() {
    for shop in Shop::on_each() {
        let service = shop.start();
        service.post(&nonce(1), &form("SM1", "hello"));
        shop.wait_until_all_is_processed();
        assert_eq!(
            shop.count("replies WHERE state = 'recorded' AND attempts = 0"),
            1
        );
        let listed = service.get("/messages").json();
        let reply = listed[0]["replies"][0].as_str().unwrap();
        assert!(reply.contains("this is Aurora"), "{reply}");
    }
}

#[test]
fn an_order_keeps_its_names_and_prices_when_the_menu_changes() {
    for shop in Shop::on_each() {
        let service = shop.start();
        for (number, text) in [
            (1, "a coke, a water\ndeliver to Elm Street 5"),
            (2, "yes"),
            (3, "2 cokes and a water"),
        ] {
            service.post(&nonce(number), &form(&format!("SM{number}"), text));
        }
        shop.wait_until_all_is_processed();
        service.signal("TERM");
        service.wait_for_exit();

        let menu = shop.database().with_file_name("menu.toml");
        std::fs::write(
            &menu,
            "shop = \"B\"\ncurrency = \"$\"\n[[item]]\nname = \"Coke\"\nprice = 999\n",
        )
        .unwrap();
        let service = shop.start_with(&[("MENU_PATH", menu.to_str().unwrap())]);
        service.post(&nonce(4), &form("SM4", "cart"));
        shop.wait_until_all_is_processed();
        assert_eq!(shop.value::<i64>("SELECT total_cents FROM orders"), 500);
        let cart: String = shop.value("SELECT body FROM replies ORDER BY id DESC LIMIT 1");
        assert!(
            cart.contains("2 × Coke  $ 19.98") && !cart.contains("Water"),
            "{cart}"
        );
    }
}
