//! Many requests in little time: pipelined on a few connections, and answered by an upstream that does nothing
//! else. Nothing is recorded; what is to be seen is counted.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use support::blocking::{Server, read_some};
use support::envoy::set_endpoint;
use support::http1::PATIENCE;

/// An upstream that answers each request at once.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    received: Arc<AtomicU64>,
    _server: Server,
}

impl Service {
    /// `answer` makes the answer to the bytes of a request.
    pub(crate) fn start(answer: fn(&[u8]) -> Vec<u8>) -> Self {
        let received = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&received);
        let server = Server::start(move |stream| serve(stream, &counted, answer));
        Self {
            address: server.address,
            received,
            _server: server,
        }
    }

    /// How many requests have arrived.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    /// Makes this the upstream of an Envoy.
    pub(crate) fn put_into(config: &mut Value, address: SocketAddr) {
        let clusters = config["static_resources"]["clusters"].as_array_mut();
        for cluster in clusters.expect("clusters") {
            set_endpoint(cluster, address);
        }
    }
}

fn serve(mut stream: TcpStream, received: &AtomicU64, answer: fn(&[u8]) -> Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        while let Some(length) = message_length(&bytes) {
            received.fetch_add(1, Ordering::SeqCst);
            let answer = answer(&bytes[..length]);
            bytes.drain(..length);
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
        if !matches!(read_some(&stream, &mut bytes), Ok(1..)) {
            return;
        }
    }
}

/// The length of the message at the start of `bytes`, once it is complete. Its body has a `content-length`, or
/// there is none: Envoy and this load send nothing else.
fn message_length(bytes: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\r\ncontent-length:";
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = &bytes[..end + 2];
    let header = head
        .windows(NAME.len())
        .position(|part| part.eq_ignore_ascii_case(NAME));
    let body = header.map_or(0, |at| {
        let value = head[at + NAME.len()..].trim_ascii_start();
        let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
    });
    let length = end + 4 + body;
    (bytes.len() >= length).then_some(length)
}

/// How many threads send.
const THREADS: u64 = 4;
/// How many connections each of them has: a request goes out on each, then the answers are read. Pipelining would
/// be quicker, but Envoy closes a connection on which more than two of its own answers wait (`response_flood`).
const CONNECTIONS: usize = 16;

/// Sends `make(0)` to `make(count - 1)`, and says how often each status came back.
pub(crate) fn pour(
    to: SocketAddr,
    count: u64,
    make: impl Fn(u64) -> Vec<u8> + Sync,
) -> BTreeMap<u16, u64> {
    let next = AtomicU64::new(0);
    let send = || -> io::Result<Vec<u16>> {
        let mut statuses = Vec::new();
        let connect = |_| Connection::open(to);
        let mut connections = (0..CONNECTIONS)
            .map(connect)
            .collect::<io::Result<Vec<_>>>()?;
        loop {
            let mut asked = 0;
            for connection in &mut connections {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                connection.stream.write_all(&make(number))?;
                asked += 1;
            }
            for connection in &mut connections[..asked] {
                statuses.push(connection.status()?);
            }
            if asked < CONNECTIONS {
                return Ok(statuses);
            }
        }
    };
    let mut counts = BTreeMap::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(send)).collect();
        for thread in threads {
            let statuses = thread.join().expect("a thread that sends");
            for status in statuses.expect("an answer to each request") {
                *counts.entry(status).or_default() += 1;
            }
        }
    });
    counts
}

struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            bytes: Vec::new(),
        })
    }

    /// The status of the next answer.
    fn status(&mut self) -> io::Result<u16> {
        loop {
            if let Some(length) = message_length(&self.bytes) {
                // After `HTTP/1.1 `.
                let status = self.bytes.get(9..12).unwrap_or_default();
                let status = String::from_utf8_lossy(status).parse();
                self.bytes.drain(..length);
                return status.map_err(io::Error::other);
            }
            if read_some(&self.stream, &mut self.bytes)? == 0 {
                return Err(io::Error::other("Envoy closes a connection"));
            }
        }
    }
}

/// A POST to the admin interface, for what changes something.
pub(crate) fn admin_post(admin: SocketAddr, path: &str) {
    let mut stream = TcpStream::connect(admin).expect("the admin interface");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let head = "host: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    write!(stream, "POST {path} HTTP/1.1\r\n{head}").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
}
