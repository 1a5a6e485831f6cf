//! A stand-in for Twilio's REST API on loopback: it records what is sent to it, and fails as told.

// Each of the test programs uses a part of it.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::PATIENCE;

pub(crate) const ACCOUNT: &str = "AC00000000000000000000000000000001";
pub(crate) const TOKEN: &str = "token-of-the-tests";

/// What becomes of one call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Behaviour {
    /// 201 and a SID.
    Accept,
    /// The same, but only after a while.
    AcceptAfter(Duration),
    /// A status, and a `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// No answer until the caller gives up.
    Silence,
    /// The connection ends without an answer.
    Reset,
}

/// One call as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) at: Instant,
    pub(crate) line: String,
    pub(crate) authorization: String,
    pub(crate) to: String,
    pub(crate) from: String,
    pub(crate) body: String,
    pub(crate) status_callback: Option<String>,
    /// What the message is called, if it was taken.
    pub(crate) sid: Option<String>,
}

struct State {
    calls: Mutex<Vec<Call>>,
    script: Mutex<VecDeque<Behaviour>>,
    otherwise: Mutex<Behaviour>,
    next_sid: AtomicU64,
    stopped: AtomicBool,
}

pub(crate) struct Twilio {
    state: Arc<State>,
    pub(crate) url: String,
}

impl Twilio {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            calls: Mutex::default(),
            script: Mutex::default(),
            otherwise: Mutex::new(Behaviour::Accept),
            next_sid: AtomicU64::new(1),
            stopped: AtomicBool::new(false),
        });
        thread::spawn({
            let state = Arc::clone(&state);
            move || {
                for stream in listener.incoming() {
                    if state.stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let state = Arc::clone(&state);
                    // A caller that is killed in the middle of it is no error here.
                    thread::spawn(move || stream.ok().and_then(|stream| state.serve(stream)));
                }
            }
        });
        Self { state, url }
    }

    /// The variables with which the service sends here.
    pub(crate) fn variables(&self) -> [(&str, &str); 4] {
        [
            ("TWILIO_API_URL", &self.url),
            ("TWILIO_ACCOUNT_SID", ACCOUNT),
            ("TWILIO_AUTH_TOKEN", TOKEN),
            ("REPLY_BACKOFF_MS", "20"),
        ]
    }

    /// What becomes of the next calls, one each.
    pub(crate) fn script(&self, behaviours: &[Behaviour]) {
        self.state.script.lock().unwrap().extend(behaviours);
    }

    /// What becomes of all others.
    pub(crate) fn otherwise(&self, behaviour: Behaviour) {
        *self.state.otherwise.lock().unwrap() = behaviour;
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state.calls.lock().unwrap().clone()
    }

    pub(crate) fn wait_for_calls(&self, count: usize) -> Vec<Call> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let calls = self.calls();
            if calls.len() >= count {
                return calls;
            }
            let got: Vec<_> = calls.iter().map(|call| &call.body).collect();
            assert!(
                Instant::now() < deadline,
                "{count} calls never came, but {got:?}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Twilio {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees it.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

impl State {
    fn serve(&self, stream: TcpStream) -> Option<()> {
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let (mut line, mut length, mut authorization) = (String::new(), 0, String::new());
        reader.read_line(&mut line).ok()?;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).ok()? == 0 {
                // The caller was killed in the middle of it.
                return None;
            }
            let Some((name, value)) = header.trim_end().split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok()?,
                "authorization" => authorization = value.to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let get = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(&body);
            let found = pairs.find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.into_owned())
        };

        let behaviour = self.script.lock().unwrap().pop_front();
        let behaviour = behaviour.unwrap_or(*self.otherwise.lock().unwrap());
        let sid = matches!(behaviour, Behaviour::Accept | Behaviour::AcceptAfter(_))
            .then(|| format!("SM{:032x}", self.next_sid.fetch_add(1, Ordering::SeqCst)));
        // From here on the message is taken, whether or not the caller lives to hear it.
        self.calls.lock().unwrap().push(Call {
            at: Instant::now(),
            line: line.trim_end().to_owned(),
            authorization,
            to: get("To").unwrap_or_default(),
            from: get("From").unwrap_or_default(),
            body: get("Body").unwrap_or_default(),
            status_callback: get("StatusCallback"),
            sid: sid.clone(),
        });
        let sid = sid.unwrap_or_default();
        let (status, retry_after, body) = match behaviour {
            Behaviour::Accept => (201, None, format!(r#"{{"sid":"{sid}","status":"queued"}}"#)),
            Behaviour::AcceptAfter(pause) => {
                thread::sleep(pause);
                (201, None, format!(r#"{{"sid":"{sid}","status":"queued"}}"#))
            }
            Behaviour::Status(status, retry_after) => {
                let body =
                    r#"{"code":21211,"message":"The 'To' number +15550001111 is not valid."}"#;
                (status, retry_after, body.to_owned())
            }
            Behaviour::Silence => {
                // Ends when the caller does.
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
                return None;
            }
            Behaviour::Reset => return None,
        };
        let retry_after = retry_after.map_or(String::new(), |seconds| {
            format!("Retry-After: {seconds}\r\n")
        });
        let length = body.len();
        let mut stream = stream;
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n\
             {retry_after}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).ok()
    }
}
