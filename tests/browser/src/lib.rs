//! Headless Chromium, driven through ChromeDriver.

// Everything here is for tests, which panic when something is not as it must be.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// What [`Browser::press`] calls the keys.
pub const ENTER: &str = "\u{e007}";
/// What [`Browser::press`] calls the keys.
pub const TAB: &str = "\u{e004}";

/// Under this key WebDriver hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one, or says what is missing.
    pub fn start() -> Result<Self, String> {
        let profile = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", address.port()));
        let driver = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let driver = driver.map_err(|error| format!("chromedriver does not start ({error})"))?;
        let mut browser = Self {
            driver,
            address,
            session: String::new(),
            _profile: profile,
        };
        let deadline = Instant::now() + PATIENCE;
        while send(
            address,
            b"GET /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        )
        .is_err()
        {
            assert!(Instant::now() < deadline, "chromedriver is never ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        let profile = format!("--user-data-dir={}", browser._profile.path().display());
        // Without the network flags Chromium calls its maker at every start.
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--force-device-scale-factor=1",
            "--window-size=1280,1000",
            &profile,
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let made = browser.command("POST", "/session", &capabilities)?;
        browser.session = made["sessionId"].as_str().unwrap().to_owned();
        Ok(browser)
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = body.to_string();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let (is_good, mut answer) =
            send(self.address, request.as_bytes()).map_err(|error| error.to_string())?;
        let value = answer["value"].take();
        if is_good {
            Ok(value)
        } else {
            Err(value["message"].as_str().unwrap_or("no message").to_owned())
        }
    }

    fn in_session(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let path = format!("/session/{}{path}", self.session);
        self.command(method, &path, body)
    }

    pub fn open(&self, url: &str) {
        self.in_session("POST", "/url", &json!({"url": url}))
            .unwrap();
    }

    pub fn run(&self, script: &str) -> Value {
        self.run_with(script, &json!([]))
    }

    /// Runs a script with `arguments`; if it returns a promise, what that becomes.
    pub fn run_with(&self, script: &str, arguments: &Value) -> Value {
        let body = json!({"script": script, "args": arguments});
        self.in_session("POST", "/execute/sync", &body).unwrap()
    }

    /// Does what only Chromium's own protocol can: emulates a telephone, or a dark theme.
    pub fn emulate(&self, command: &str, parameters: &Value) {
        let body = json!({"cmd": command, "params": parameters});
        self.in_session("POST", "/goog/cdp/execute", &body).unwrap();
    }

    /// Types into the element that the selector finds.
    pub fn type_into(&self, selector: &str, text: &str) {
        let by = json!({"using": "css selector", "value": selector});
        let found = self.in_session("POST", "/element", &by).unwrap();
        let element = found[ELEMENT].as_str().unwrap();
        let path = format!("/element/{element}/value");
        self.in_session("POST", &path, &json!({"text": text}))
            .unwrap();
    }

    /// Does something with the element that the selector finds, as soon as there is one. The page makes cards anew, so
    /// that what was just found may be gone by now; then it is looked for again.
    fn with(&self, selector: &str, method: &str, what: &str) -> Value {
        let by = json!({"using": "css selector", "value": selector});
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.in_session("POST", "/element", &by);
            let done = found.and_then(|found| {
                let element = found[ELEMENT].as_str().unwrap();
                let path = format!("/element/{element}/{what}");
                self.in_session(method, &path, &json!({}))
            });
            match done {
                Ok(value) => return value,
                Err(error) if Instant::now() > deadline => panic!("{selector}: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Waits until there is such an element.
    pub fn wait_for(&self, selector: &str) {
        self.with(selector, "GET", "name");
    }

    /// A click with the mouse, at a place where the element can be seen.
    pub fn click(&self, selector: &str) {
        self.with(selector, "POST", "click");
    }

    /// Keys to whatever has the focus.
    pub fn press(&self, keys: &[&str]) {
        let each = |key: &&str| {
            [
                json!({"type": "keyDown", "value": key}),
                json!({"type": "keyUp", "value": key}),
            ]
        };
        let actions: Vec<Value> = keys.iter().flat_map(each).collect();
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.in_session("POST", "/actions", &body).unwrap();
    }

    pub fn text(&self, selector: &str) -> String {
        let text = self.with(selector, "GET", "text");
        text.as_str().unwrap().to_owned()
    }

    /// What the console says is wrong: scripts that were blocked, requests that failed.
    pub fn complaints(&self) -> Vec<String> {
        let log = self
            .in_session("POST", "/se/log", &json!({"type": "browser"}))
            .unwrap();
        let entries = log.as_array().unwrap().iter();
        entries.map(|entry| entry["message"].to_string()).collect()
    }

    pub fn screenshot(&self) -> Vec<u8> {
        let png = self.in_session("GET", "/screenshot", &json!({})).unwrap();
        STANDARD.decode(png.as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.in_session("DELETE", "", &json!({}));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Sends a request to ChromeDriver: whether it answers 200, and its JSON.
fn send(address: SocketAddr, request: &[u8]) -> io::Result<(bool, Value)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE * 4))?;
    stream.write_all(request)?;
    // Until it is whole and not until the connection ends, since ChromeDriver takes its time with that.
    let mut reader = BufReader::new(stream);
    let (mut status, mut length) = (String::new(), 0);
    reader.read_line(&mut status)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
            None if line == "\r\n" => break,
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let is_good = status.split(' ').nth(1) == Some("200");
    Ok((is_good, serde_json::from_slice(&body).unwrap_or_default()))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
