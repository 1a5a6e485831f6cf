use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::resp::{Client, ScriptReply};
use support::wire::{self, Received};

pub(crate) const TOKEN: &str = "AX4sASQgZDk3OTU0NTAtY2JjNC00";

/// `POST /` with a command as a list of texts and numbers, answered by a real Redis.
///
/// As Upstash documents it: 200 `{"result": …}`; 400 `{"error": "…"}` for what Redis rejects, an unknown script
/// included; 401 without the token.
pub(crate) struct Upstash {
    pub(crate) address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Upstash {
    pub(crate) fn start(redis: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stopped = Arc::clone(&stopped);
            move || {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    // Ends with its connection.
                    std::thread::spawn(move || serve(stream, redis));
                }
            }
        });
        Self {
            address,
            stopped,
            thread: Some(thread),
        }
    }
}

impl Drop for Upstash {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, redis: SocketAddr) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16_384];
    loop {
        while let Some((request, length)) = wire::request(&bytes) {
            bytes.drain(..length);
            let (status, body) = answer(&request, redis);
            let body = body.to_string();
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} As Told\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
            );
            stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        }
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        bytes.extend(&buffer[..length]);
    }
}

fn answer(request: &Received, redis: SocketAddr) -> (u16, Value) {
    if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
        return (401, json!({"error": "Unauthorized"}));
    }
    if (request.method.as_str(), request.target.as_str()) != ("POST", "/") {
        return (
            405,
            json!({"error": "this stub has one method and one path"}),
        );
    }
    let words: Vec<Vec<u8>> = match serde_json::from_slice::<Vec<Value>>(&request.body) {
        Ok(words) => words
            .iter()
            .map(|word| match word {
                Value::String(text) => text.clone().into_bytes(),
                other => other.to_string().into_bytes(),
            })
            .collect(),
        Err(error) => return (400, json!({"error": format!("ERR {error}")})),
    };
    let reply = Client::connect(redis).and_then(|mut client| {
        client.command(&["AUTH", crate::servers::REDIS_PASSWORD])?;
        client.command(&words)
    });
    match reply {
        Ok(ScriptReply::Error(error)) => (400, json!({"error": error})),
        Ok(reply) => (200, json!({"result": reply.json()})),
        Err(error) => (500, json!({"error": error.to_string()})),
    }
}
