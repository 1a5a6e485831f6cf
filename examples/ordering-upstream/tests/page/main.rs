//! The kitchen's page in headless Chromium: what a cook sees and taps, and what then stands in the database.
//!
//! Without Chromium and ChromeDriver the tests are skipped, and say so; with REQUIRE_BROWSER=1, as in scripts/test, they
//! fail instead. With ORDERS_SCREENSHOT=<file> the page of a lively evening is written there as a PNG.

// Helpers are not test functions, so clippy.toml does not reach them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used
)]

#[path = "../support/harness.rs"]
mod harness;
#[path = "../support/postgres.rs"]
mod postgres;

use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Service, Shop, form_of, nonce};
use browser::{Browser, ENTER, TAB};

fn browser() -> Option<Browser> {
    match Browser::start() {
        Ok(browser) => Some(browser),
        Err(missing) if std::env::var_os("REQUIRE_BROWSER").is_none() => {
            eprintln!("SKIPPED: {missing}; scripts/setup --tests installs Chromium on Debian");
            None
        }
        Err(missing) => panic!("{missing}"),
    }
}

/// A customer who says all this.
fn says(service: &Service, shop: &Shop, customer: u64, name: &str, texts: &[&[(&str, &str)]]) {
    for (step, content) in texts.iter().enumerate() {
        let number = customer * 100 + step as u64;
        let wa_id = (15_550_001_000 + customer).to_string();
        let form = form_of(&format!("SM{number}"), &wa_id, name, content);
        assert_eq!(service.post(&nonce(number), &form).status, 200);
    }
    shop.wait_until_all_is_processed();
}

fn orders(service: &Service, shop: &Shop, customer: u64, name: &str, text: &str) {
    says(
        service,
        shop,
        customer,
        name,
        &[&[("Body", text)], &[("Body", "yes")]],
    );
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn state(shop: &Shop, order: i64) -> String {
    shop.value(&format!("SELECT state FROM orders WHERE id = {order}"))
}

#[test]
fn a_cook_sees_an_order_and_moves_it_by_mouse_and_by_keyboard() {
    let Some(browser) = browser() else { return };
    let shop = Shop::new();
    let service = shop.start();
    browser.open(&format!("http://{}/orders", service.address));
    wait_until("an empty list says so", || {
        browser.text("#none") == "No open orders."
    });

    // It comes by itself, without a reload.
    orders(
        &service,
        &shop,
        1,
        "Ana",
        "2 margherita and a coke\nnote: ring twice\ndeliver to Elm Street 5",
    );
    let card = browser.text("article[data-number='1']");
    for piece in [
        "#1",
        "New",
        "2 × Margherita",
        "1 × Coke",
        "ring twice",
        "Ana",
        "Elm Street 5",
        "+15550001001",
        "€ 19.80",
    ] {
        assert!(card.contains(piece), "{piece:?} is missing: {card}");
    }
    assert_eq!(browser.run("return document.title"), "(1) Orders");

    browser.click("article[data-number='1'] [data-action=next]");
    wait_until("a click confirms", || state(&shop, 1) == "confirmed");
    wait_until("the card says so", || {
        browser
            .text("article[data-number='1']")
            .contains("Confirmed")
    });

    // By keyboard alone: the focus stays on the button while the card is made anew.
    browser.run("document.querySelector('[data-action=next]').focus()");
    browser.press(&[ENTER]);
    wait_until("Enter goes on", || state(&shop, 1) == "preparing");
    wait_until("the focus stays on the button", || {
        browser.run("return document.activeElement.getAttribute('aria-label')")
            == "Send out, order 1"
    });

    // Tab leads to the other button, which asks before it cancels.
    browser.press(&[TAB, ENTER]);
    wait_until("it asks", || {
        browser.text("[data-action=cancel]") == "Really cancel?"
    });
    assert_eq!(state(&shop, 1), "preparing");
    browser.press(&[ENTER]);
    wait_until("twice cancels", || state(&shop, 1) == "cancelled");
    wait_until("it moves to those that are over", || {
        browser.run("return document.querySelectorAll('#over article').length") == 1
    });
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn what_customers_write_is_shown_and_never_run() {
    let Some(browser) = browser() else { return };
    let shop = Shop::new();
    let service = shop.start();
    let name = "<script>window.hit=1</script>";
    let image = "<img src=x onerror='window.hit=2'>";
    orders(
        &service,
        &shop,
        1,
        name,
        &format!("a coke\nnote: {image}\ndeliver to \"><svg onload=window.hit=3> Street"),
    );
    browser.open(&format!("http://{}/orders", service.address));
    let card = browser.text("article[data-number='1']");
    for piece in [name, image, "\"><svg onload=window.hit=3> Street"] {
        assert!(card.contains(piece), "{piece:?} is missing: {card}");
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        browser.run("return window.hit ?? null"),
        serde_json::Value::Null
    );
    assert_eq!(
        browser.run("return document.querySelectorAll('main script, main img, main svg').length"),
        0
    );
    assert_eq!(browser.complaints(), [""; 0]);
    // The other half of the defence: even a page that failed to escape would run nothing.
    browser.run("const s = document.createElement('script'); s.textContent = 'window.hit=4'; document.body.append(s)");
    assert_eq!(
        browser.run("return window.hit ?? null"),
        serde_json::Value::Null
    );
}

#[test]
fn with_a_password_the_page_works_in_a_browser_that_knows_it() {
    let Some(browser) = browser() else { return };
    let shop = Shop::new();
    let service = shop.start_with(&[("KITCHEN_PASSWORD", "correct-horse")]);
    orders(&service, &shop, 1, "Ana", "a coke\ndeliver to Elm Street 5");
    browser.open(&format!(
        "http://kitchen:correct-horse@{}/orders",
        service.address
    ));
    browser.click("article[data-number='1'] [data-action=next]");
    wait_until("a click confirms", || state(&shop, 1) == "confirmed");
}

#[test]
fn a_cook_is_told_when_the_service_is_gone_and_when_it_is_back() {
    let Some(browser) = browser() else { return };
    let shop = Shop::new();
    let service = shop.start();
    let address = service.address.to_string();
    orders(&service, &shop, 1, "Ana", "a coke\ndeliver to Elm Street 5");
    browser.open(&format!("http://{address}/orders"));
    browser.wait_for("article[data-number='1']");
    service.kill();
    wait_until("it says so", || {
        browser.text("#alert").starts_with("No connection since")
    });
    let _service = shop.start_with(&[("LISTEN_ADDR", &address)]);
    wait_until("it is back", || browser.text("#alert").is_empty());
}

/// Contrast by WCAG's formula, from the colours that the browser computed.
const LOWEST_CONTRAST: &str = "
    const light = (css) => css.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => { for (; element; element = element.parentElement) {
        const css = getComputedStyle(element).backgroundColor;
        if (!/^rgba.*, 0\\)$/.test(css)) return css; } };
    let [lowest, where] = [21, ''];
    for (const element of document.querySelectorAll('header *, article *, summary, #alert, #none')) {
        if (!element.textContent) continue;
        const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < lowest) [lowest, where] = [contrast, element.outerHTML];
    }
    return [lowest, where]";

#[test]
fn the_page_is_read_from_two_metres_and_used_by_everybody() {
    let Some(browser) = browser() else { return };
    let shop = Shop::new();
    let service = shop.start();
    let url = format!("http://{}/orders", service.address);
    orders(
        &service,
        &shop,
        1,
        "Ana",
        "2 margherita and a coke\ndeliver to Elm Street 5, second floor",
    );
    says(
        &service,
        &shop,
        2,
        "Bob",
        &[
            &[(
                "Body",
                "3 tacos al pastor, a veggie taco and 2 waters\nnote: no onions, please",
            )],
            &[
                ("Latitude", "52.52"),
                ("Longitude", "13.405"),
                ("Address", "Oak Lane 7"),
                ("Label", "Office"),
            ],
            &[
                ("Body", "Yes"),
                ("ButtonPayload", "confirm"),
                ("ButtonText", "Yes"),
            ],
        ],
    );
    orders(
        &service,
        &shop,
        3,
        "Chloë",
        "a four cheese, garlic bread and a tiramisu\ndeliver to 3 Harbour View",
    );
    orders(
        &service,
        &shop,
        4,
        "Dev",
        "2 pepperoni, 2 cokes\ndeliver to 18 Station Road",
    );
    orders(
        &service,
        &shop,
        5,
        "Emma",
        "a margherita and a water\ndeliver to Mill Lane 2",
    );
    service.tap(1, "received", "confirmed");
    service.tap(1, "confirmed", "preparing");
    service.tap(2, "received", "confirmed");
    for step in ["received", "confirmed", "preparing", "out_for_delivery"].windows(2) {
        service.tap(5, step[0], step[1]);
    }
    orders(&service, &shop, 6, "Finn", "a coke\ndeliver to Mill Lane 3");
    service.tap(6, "received", "cancelled");

    browser.open(&url);
    browser.wait_for("article[data-number='5']");
    browser.run("document.querySelector('details').open = true");
    browser.wait_for("article[data-number='6'] h2");
    let lowest = browser.run(LOWEST_CONTRAST);
    assert!(lowest[0].as_f64().unwrap() >= 7.0, "{lowest}");
    let sizes =
        "return [...document.querySelectorAll('button')].map((b) => b.getBoundingClientRect())
                 .every((r) => r.height >= 48 && r.width >= 48)";
    assert_eq!(
        browser.run(sizes),
        true,
        "a button is too small for a finger"
    );
    let labels = "return [...document.querySelectorAll('button')].every((b) => /order \\d+/.test(b.getAttribute('aria-label')))";
    assert_eq!(
        browser.run(labels),
        true,
        "a button does not say which order it is about"
    );
    let letters = "return ['h2', 'li', '.state', 'button'].map((s) =>
                   parseFloat(getComputedStyle(document.querySelector('article ' + s)).fontSize)).every((px) => px >= 25)";
    assert_eq!(
        browser.run(letters),
        true,
        "something that matters is too small"
    );
    let overflow = "return document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(
        browser.run(overflow),
        true,
        "the page is wider than the tablet"
    );
    assert_eq!(browser.complaints(), [""; 0]);

    if let Some(file) = std::env::var_os("ORDERS_SCREENSHOT") {
        browser.run("document.querySelector('details').open = false");
        std::fs::write(file, browser.screenshot()).unwrap();
    }
}
