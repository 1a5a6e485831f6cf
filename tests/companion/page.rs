//! The page in headless Chromium: it says what the binary says, nothing leaves it, and everybody can use it.
//!
//! `scripts/page` builds it. Without Chromium and ChromeDriver the tests are skipped, and say so; with REQUIRE_BROWSER=1, as
//! in scripts/test, they fail instead. With PAGE_SCREENSHOT=<file> the page with its example is written there as a PNG.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use browser::{Browser, ENTER, TAB};
use serde_json::{Value, json};
use support::blocking::read_some;
use support::decide::{ENVIRONMENT, NOW};
use support::messages::TOKEN;
use support::process::repository;
use support::random_requests::{Case, Random};
use support::request::Request;

use crate::agreement::{FAILURES, failures, raw};
use crate::command::{file, run};

/// A browser that shows the page, from the disk.
fn page() -> Option<Browser> {
    let index = repository().join("target/page/index.html");
    assert!(index.is_file(), "{}: run scripts/page", index.display());
    match Browser::start() {
        Ok(browser) => {
            browser.open(&format!("file://{}", index.display()));
            Some(browser)
        }
        Err(missing) if std::env::var_os("REQUIRE_BROWSER").is_none() => {
            eprintln!("SKIPPED: {missing}; scripts/setup --tests installs Chromium on Debian");
            None
        }
        Err(missing) => panic!("{missing}"),
    }
}

/// The failures for which filter and binary are compared, and 150 requests without mistakes.
fn requests() -> Vec<(Case, Request)> {
    let mut requests = failures(FAILURES);
    let mut random = Random::new(0x0BAD_5EED, 0);
    requests.extend((0..150).map(|_| {
        let case = Case::random(&mut random);
        let request = case.request();
        (case, request)
    }));
    requests
}

#[test]
fn the_page_says_what_the_binary_says_for_more_than_1000_requests() {
    let Some(browser) = page() else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let at = (NOW.0 / 1000).to_string();
    let [token, account, url] = ENVIRONMENT.map(|(_, value)| value);
    let (mut questions, mut expected) = (Vec::new(), Vec::new());
    for (case, request) in requests() {
        let capture = raw(&request);
        // A page gets text. What is none is compared on the command line.
        let Ok(text) = String::from_utf8(capture) else {
            continue;
        };
        let config = file(
            folder.path(),
            "config.json",
            case.configuration().as_bytes(),
        );
        let capture = file(folder.path(), "request.http", text.as_bytes());
        let arguments = [
            "explain", "--json", "--config", &config, "--at", &at, &capture,
        ];
        expected.push(run(&arguments, &ENVIRONMENT).json());
        questions.push(json!({
            "action": "explain", "request": text, "config": case.configuration(), "at": at, "secret": token,
            "account": account, "url": url,
        }));
    }
    assert!(expected.len() > 1000, "{}", expected.len());
    let script = "return Promise.all(arguments[0].map((question) => ask(question)))";
    let answers = browser.run_with(script, &json!([questions]));
    let answers = answers.as_array().expect("answers");
    assert_eq!(answers.len(), expected.len());
    for ((answer, expected), question) in answers.iter().zip(&expected).zip(&questions) {
        assert_eq!(answer, expected, "{question}");
    }
    let passes = |one: &&Value| one["requests"][0]["passes"] == true;
    let passed = expected.iter().filter(passes).count();
    assert!((100..200).contains(&passed), "{passed} pass");
}

#[test]
fn what_the_page_signs_is_what_the_binary_signs() {
    let Some(browser) = page() else { return };
    let url = "https://orders.example.com/webhook?shop=7";
    let environment = [("TWILIO_AUTH_TOKEN", TOKEN)];
    let body = r#"{"a": "é"}"#;
    for (kind, parameters, arguments) in [
        (
            "form",
            "Body=2 tacos\nFrom=whatsapp:+15550001111",
            &["-p", "Body=2 tacos", "-p", "From=whatsapp:+15550001111"][..],
        ),
        ("get", "a=1\nb=ü", &["--get", "-p", "a=1", "-p", "b=ü"]),
        ("json", "", &["--body", body]),
        ("websocket", "", &["--websocket"]),
    ] {
        let question = json!({
            "action": "sign", "url": url, "secret": TOKEN, "kind": kind, "parameters": parameters, "body": body,
        });
        let answer = browser.run_with("return ask(arguments[0])", &json!([question]));
        let arguments = [&["sign", "--json", url], arguments].concat();
        let expected = run(&arguments, &environment).json();
        for field in ["method", "url", "headers"] {
            assert_eq!(answer[field], expected[field], "{kind} {field}");
        }
    }
}

#[test]
fn nothing_leaves_the_page_whatever_a_script_in_it_tries() {
    let Some(browser) = page() else { return };
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let script = format!(
        "const to = 'http://{address}/secret';
         const tries = [
           () => fetch(to, {{mode: 'no-cors'}}),
           () => {{ const x = new XMLHttpRequest(); x.open('GET', to); x.send(); }},
           () => new WebSocket('ws://{address}/secret'),
           () => new EventSource(to),
           () => navigator.sendBeacon(to, 'secret'),
           () => {{ new Image().src = to; }},
           () => new Worker(to),
           () => import(to),
           ...['script', 'iframe', 'embed', 'audio'].map((name) => () => {{
             const element = document.createElement(name); element.src = to; document.body.append(element);
           }}),
           () => {{
             const link = document.createElement('link');
             link.rel = 'stylesheet'; link.href = to; document.head.append(link);
           }},
           () => {{
             const form = document.createElement('form'); form.action = to; form.target = 'elsewhere';
             document.body.append(form); form.submit();
           }},
         ];
         return Promise.all(tries.map(async (attempt) => {{
           try {{ await attempt(); }} catch {{ return 'thrown'; }}
           return 'quiet';
         }}))"
    );
    let tried = browser.run(&script);
    assert_eq!(tried.as_array().map(Vec::len), Some(14), "{tried}");
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        match listener.accept() {
            // Chromium may open a connection ahead of what it then forbids. Nothing may come through it.
            Ok((stream, _)) => {
                stream.set_nonblocking(false).expect("a socket");
                let timeout = Some(Duration::from_millis(500));
                stream.set_read_timeout(timeout).expect("a socket");
                let mut text = Vec::new();
                let _ = read_some(&stream, &mut text);
                let text = text.escape_ascii().to_string();
                assert_eq!(text, "", "this has left the page");
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let blocked = browser.complaints();
    let by_policy = blocked
        .iter()
        .filter(|line| line.contains("Content Security Policy"));
    assert!(by_policy.count() >= 10, "{blocked:#?}");
    // Without the policy it would: what is tried reaches somebody.
    browser.open("data:text/html,<p>");
    browser.run(&script);
    let deadline = Instant::now() + Duration::from_secs(20);
    while listener.accept().is_err() {
        assert!(
            Instant::now() < deadline,
            "these attempts reach nobody anyway"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_page_is_used_with_the_keyboard_alone() {
    let Some(browser) = page() else { return };
    // The first stop is the request, the second its example.
    browser.press(&[TAB, TAB, ENTER]);
    browser.wait_for("#explanation .verdict");
    assert_eq!(
        browser.text("#explanation .verdict"),
        "✗ rejected: 403 invalid_signature"
    );
    let hint = browser.text("#explanation .hint");
    assert!(hint.contains("slash at its end"), "{hint}");
    // Who cannot see it hears it: it is announced, and has the focus.
    assert_eq!(
        browser.run("return document.activeElement.id"),
        "explanation"
    );
    if let Some(file) = std::env::var_os("PAGE_SCREENSHOT") {
        browser.emulate(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": 1000, "height": 1330, "deviceScaleFactor": 1, "mobile": false}),
        );
        browser.run("window.scrollTo(0, 0)");
        std::fs::write(file, browser.screenshot()).expect("a file");
    }
    // The right URL, by hand, and Ctrl with Enter.
    browser.run("document.getElementById('url').focus()");
    browser.type_into("#url", "/");
    browser.run(
        "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', ctrlKey: true, bubbles: true}))",
    );
    browser.wait_for("#explanation .passes");
    assert_eq!(
        browser.text("#explanation .verdict"),
        "✓ passes: 200 accepted"
    );
    // A mistake in what is typed is said in words.
    browser.run("document.getElementById('request').value = 'no request'");
    browser.run("document.getElementById('explain').requestSubmit()");
    browser.wait_for("#explanation .problem");
    assert!(
        browser
            .text("#explanation .problem")
            .starts_with("expected ")
    );
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_page_fits_a_telephone_and_can_be_read_in_light_and_in_dark() {
    let Some(browser) = page() else { return };
    browser.run("for (const more of document.querySelectorAll('details')) more.open = true");
    let unlabelled = browser.run(
        "return [...document.querySelectorAll('input, textarea, select')].filter((field) => !field.labels.length).map((field) => field.id)",
    );
    assert_eq!(unlabelled, json!([]));
    browser.click("#example");
    browser.wait_for("#explanation .verdict");
    for width in [320, 412] {
        browser.emulate(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": 740, "deviceScaleFactor": 2, "mobile": true}),
        );
        assert_eq!(
            browser.run("return document.documentElement.scrollWidth"),
            width
        );
    }
    let mut backgrounds = Vec::new();
    for scheme in ["light", "dark"] {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.emulate("Emulation.setEmulatedMedia", &features);
        backgrounds.push(browser.run("return getComputedStyle(document.body).backgroundColor"));
        assert_eq!(browser.run(LOW_CONTRAST), json!([]), "{scheme}");
    }
    assert_ne!(backgrounds[0], backgrounds[1]);
}

/// Texts whose contrast to what is behind them is below 4.5 to 1, which WCAG 2.2 asks for.
const LOW_CONTRAST: &str = r"
  const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (parts(colour)[3] !== 0) return colour;
    }
  };
  const low = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || ['SCRIPT', 'NOSCRIPT', 'OPTION'].includes(element.tagName)) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.push(element.textContent.trim().slice(0, 40));
  }
  return low;
";
