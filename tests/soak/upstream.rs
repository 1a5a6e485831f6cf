use std::collections::HashMap;
use std::io::{self, ErrorKind, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use support::blocking::read_some;
use support::wire;

/// The header by which a request asks for one of the failures below.
pub(crate) const ASK: &str = "x-soak-upstream";

/// The header by which a request says of what kind it is, where the upstream counts that kind.
pub(crate) const KIND: &str = "x-soak-kind";

/// How often a nonce came, and how often all of the answer 200 was written for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deliveries {
    pub(crate) received: u16,
    pub(crate) taken: u16,
}

#[derive(Default)]
struct Inner {
    nonces: Mutex<HashMap<u64, Deliveries>>,
    open: Mutex<HashMap<u64, TcpStream>>,
    received: AtomicU64,
    unverified: AtomicU64,
    /// How many of each kind have come, whatever became of them.
    kinds: Mutex<HashMap<String, u64>>,
    /// Deliveries of a nonce that was taken before.
    again: AtomicU64,
    /// Requests that it read so late that nobody waited for an answer.
    late: AtomicU64,
    way: AtomicU8,
    stopped: AtomicBool,
}

/// What it does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Way {
    Answer,
    /// It accepts connections, and answers nothing until it does something else.
    Hang,
    /// Every other request gets a closed connection for an answer, and is not taken.
    ResetHalf,
}

/// An upstream that answers each request at once, with a thread for each connection of Envoy's.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first 64 bits of a nonce: few enough to remember millions, enough to tell them apart.
pub(crate) fn short(nonce: &str) -> u64 {
    let digits = nonce.get(..16).unwrap_or_default();
    u64::from_str_radix(digits, 16).expect("64 hex digits")
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let port = support::process::free_port();
        let upstream = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            inner: Arc::default(),
            thread: Mutex::default(),
        };
        upstream.start_again();
        upstream
    }

    /// At the same port, with everything that it had counted.
    pub(crate) fn start_again(&self) {
        self.inner.stopped.store(false, Ordering::SeqCst);
        let (address, inner) = (self.address, Arc::clone(&self.inner));
        let thread = std::thread::spawn(move || listen(address, &inner));
        *lock(&self.thread) = Some(thread);
        while TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Nobody listens any longer, and no connection is left.
    pub(crate) fn kill(&self) {
        self.inner.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
        for (_, stream) in lock(&self.inner.open).drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn behave(&self, way: Way) {
        self.inner.way.store(way as u8, Ordering::SeqCst);
    }

    /// Whether all of an answer 200 was written for this nonce.
    pub(crate) fn has_taken(&self, nonce: u64) -> bool {
        let nonces = lock(&self.inner.nonces);
        nonces.get(&nonce).is_some_and(|seen| seen.taken > 0)
    }

    /// Deliveries of a nonce that was taken before.
    pub(crate) fn again(&self) -> u64 {
        self.inner.again.load(Ordering::SeqCst)
    }

    /// How many requests of a kind have come, whatever became of them.
    pub(crate) fn arrived(&self, kind: &str) -> u64 {
        lock(&self.inner.kinds).get(kind).copied().unwrap_or(0)
    }

    /// Requests that it read so late that nobody waited for an answer.
    pub(crate) fn late(&self) -> u64 {
        self.inner.late.load(Ordering::SeqCst)
    }

    pub(crate) fn received(&self) -> u64 {
        self.inner.received.load(Ordering::SeqCst)
    }

    /// Requests without the filter's headers: what is exempt.
    pub(crate) fn unverified(&self) -> u64 {
        self.inner.unverified.load(Ordering::SeqCst)
    }

    pub(crate) fn nonces(&self) -> HashMap<u64, Deliveries> {
        lock(&self.inner.nonces).clone()
    }

    /// Makes this the upstream of an Envoy.
    pub(crate) fn put_into(config: &mut Value, address: SocketAddr) {
        let cluster = support::envoy::cluster(config, "ordering_upstream");
        let endpoint =
            &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        endpoint["address"]["socket_address"] =
            json!({"address": address.ip().to_string(), "port_value": address.port()});
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.behave(Way::Answer);
        self.kill();
    }
}

impl Inner {
    fn does(&self, way: Way) -> bool {
        self.way.load(Ordering::SeqCst) == way as u8
    }
}

/// Whether whoever asked has left.
fn is_closed(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let closed = match stream.peek(&mut [0]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false)?;
    Ok(closed)
}

fn listen(address: SocketAddr, inner: &Arc<Inner>) {
    let listener = TcpListener::bind(address).expect("the upstream's port");
    listener.set_nonblocking(true).expect("a listener");
    let mut number = 0;
    while !inner.stopped.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                number += 1;
                let _ = stream.set_nonblocking(false);
                let _ = stream.set_nodelay(true);
                if let Ok(other) = stream.try_clone() {
                    lock(&inner.open).insert(number, other);
                }
                let inner = Arc::clone(inner);
                // Ends with its connection.
                std::thread::spawn(move || {
                    let _ = serve(&stream, &inner);
                    lock(&inner.open).remove(&number);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(_) => {}
        }
    }
}

const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const FAILED: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

fn serve(mut stream: &TcpStream, inner: &Inner) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let Some((request, length)) = wire::request(&bytes) else {
            if read_some(stream, &mut bytes)? == 0 {
                return Ok(());
            }
            continue;
        };
        bytes.drain(..length);
        if let Some(kind) = request.header(KIND) {
            *lock(&inner.kinds).entry(kind.to_owned()).or_default() += 1;
        }
        if inner.does(Way::Hang) {
            while inner.does(Way::Hang) && !inner.stopped.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            if is_closed(stream)? {
                inner.late.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
        }
        inner.received.fetch_add(1, Ordering::SeqCst);
        let Some(nonce) = request.header("x-twilio-webhook-nonce").map(short) else {
            inner.unverified.fetch_add(1, Ordering::SeqCst);
            stream.write_all(TAKEN)?;
            continue;
        };
        let first = {
            let mut nonces = lock(&inner.nonces);
            let deliveries = nonces.entry(nonce).or_default();
            deliveries.received += 1;
            if deliveries.taken > 0 {
                inner.again.fetch_add(1, Ordering::SeqCst);
            }
            deliveries.received == 1
        };
        let take = || lock(&inner.nonces).entry(nonce).or_default().taken += 1;
        if request.header("upgrade").is_some() {
            take();
            stream.write_all(SWITCHED)?;
            return echo(stream);
        }
        match request.header(ASK) {
            Some("fail") if first => {
                stream.write_all(FAILED)?;
                continue;
            }
            Some("reset") if first => return reset(stream),
            _ => {}
        }
        if inner.does(Way::ResetHalf) && inner.received.load(Ordering::SeqCst).is_multiple_of(2) {
            return reset(stream);
        }
        // Before the answer, at which a client may look.
        take();
        if let Err(error) = stream.write_all(TAKEN) {
            // Killed in between: the answer never left.
            lock(&inner.nonces).entry(nonce).or_default().taken -= 1;
            return Err(error);
        }
    }
}

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut bytes = Vec::new();
    while read_some(stream, &mut bytes)? > 0 {
        stream.write_all(&bytes)?;
        bytes.clear();
    }
    Ok(())
}

/// Without an answer.
fn reset(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Both)
}
