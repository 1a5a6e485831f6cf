use std::io::{self, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use support::blocking::{Server, json_answer, read_some};
use support::http1::PATIENCE;
use support::wire::{self, Received};

/// What becomes of a request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It arrives, and its answer comes back.
    Open,
    /// It arrives after this time.
    LateRequest(Duration),
    /// It arrives, and its answer comes back after this time.
    LateAnswer(Duration),
    /// It arrives, and its answer never comes back.
    LostAnswer,
    /// It does not arrive, and nobody answers.
    Silence,
    /// It does not arrive, and the connection ends.
    Close,
    /// As [`Way::Close`] for the next one, and [`Way::Open`] for those after it.
    CloseOnce,
    /// The next one arrives, and its connection ends before its answer; [`Way::Open`] for those after it.
    LoseOnce,
    /// An answer of 200 that is no JSON.
    Garbage,
    /// An answer of 200, JSON that is not what was asked for.
    OtherJson,
    /// The first half of an answer, then the end of the connection.
    Half,
    /// An answer of 200 without a body.
    Empty,
    /// An answer of 200 with a body that does not end.
    Endless,
    /// On each connection, the answer to the question before; to the first, one to somebody else's. So it goes on a
    /// connection to Webdis that got what was meant for one that has ended.
    OneBehind,
    /// An answer with this status.
    Status(u16),
}

struct State {
    way: Way,
    received: Vec<(Instant, Received)>,
    open: Vec<TcpStream>,
    /// An answer that was somebody else's.
    stray: Option<Vec<u8>>,
}

/// Stands between the Envoys and Webdis. Threads, because what it does is waiting.
pub(crate) struct FaultProxy {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    _server: Server,
}

impl FaultProxy {
    pub(crate) fn start(to: SocketAddr) -> Self {
        let state = Arc::new(Mutex::new(State {
            way: Way::Open,
            received: Vec::new(),
            open: Vec::new(),
            stray: None,
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |stream| {
            if let Ok(other) = stream.try_clone() {
                lock(&shared).open.push(other);
            }
            let _ = connection(&stream, to, &shared);
            let _ = stream.shutdown(Shutdown::Both);
        });
        Self {
            address: server.address,
            state,
            _server: server,
        }
    }

    /// From the next request on; what waits is let go.
    pub(crate) fn set(&self, way: Way) {
        let mut state = lock(&self.state);
        state.way = way;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many requests have arrived here.
    pub(crate) fn count(&self) -> usize {
        lock(&self.state).received.len()
    }

    /// The requests since number `first`.
    pub(crate) fn since(&self, first: usize) -> Vec<Received> {
        let state = lock(&self.state);
        state.received[first..]
            .iter()
            .map(|(_, received)| received.clone())
            .collect()
    }

    /// The number of requests, once none has come for a while: what a request leaves to be done after its answer
    /// is done then.
    pub(crate) async fn settled(&self) -> usize {
        const QUIET: Duration = Duration::from_millis(300);
        let start = Instant::now();
        let (mut count, mut since) = (self.count(), Instant::now());
        while since.elapsed() < QUIET {
            assert!(
                start.elapsed() < PATIENCE,
                "the store is never left in peace"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
            if self.count() != count {
                (count, since) = (self.count(), Instant::now());
            }
        }
        count
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.set(Way::Close);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connection(mut stream: &TcpStream, to: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut behind = None;
    loop {
        let Some((received, length)) = wire::request(&bytes) else {
            if read_some(stream, &mut bytes)? == 0 {
                return Ok(());
            }
            continue;
        };
        let request: Vec<u8> = bytes.drain(..length).collect();
        let way = {
            let mut state = lock(state);
            state.received.push((Instant::now(), received));
            let way = state.way;
            if matches!(way, Way::CloseOnce | Way::LoseOnce) {
                state.way = Way::Open;
            }
            way
        };
        match way {
            Way::Open => stream.write_all(&forward(to, &request)?)?,
            Way::LateRequest(time) => {
                std::thread::sleep(time);
                stream.write_all(&forward(to, &request)?)?;
            }
            Way::LateAnswer(time) => {
                let answer = forward(to, &request)?;
                std::thread::sleep(time);
                stream.write_all(&answer)?;
            }
            Way::LostAnswer => {
                forward(to, &request)?;
                wait_for_end(stream)?;
            }
            Way::Silence => wait_for_end(stream)?,
            Way::Close | Way::CloseOnce => return Ok(()),
            Way::LoseOnce => {
                forward(to, &request)?;
                return Ok(());
            }
            Way::Garbage => stream.write_all(&json_answer(200, "<html>It works!</html>"))?,
            Way::OtherJson => {
                stream.write_all(&json_answer(200, r#"{"GET":[{"a":null},-7,"b"]}"#))?
            }
            Way::Half => {
                let answer = json_answer(200, r#"{"EVALSHA":[1,"2",3]}"#);
                return stream.write_all(&answer[..answer.len() - 9]);
            }
            Way::Empty => stream.write_all(&json_answer(200, ""))?,
            Way::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                loop {
                    stream.write_all(b"10\r\n{\"EVALSHA\":[1,1,\r\n")?;
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            Way::OneBehind => {
                let own = forward(to, &request)?;
                let before = behind.replace(own.clone());
                let stray = || lock(state).stray.replace(own);
                // The first of all has nobody before it.
                let answer = before.or_else(stray).unwrap_or_default();
                stream.write_all(&answer)?;
            }
            Way::Status(status) => {
                stream.write_all(&json_answer(status, r#"{"error":"as told"}"#))?
            }
        }
    }
}

/// Until Envoy gives up, or [`FaultProxy::set`] ends it.
fn wait_for_end(stream: &TcpStream) -> io::Result<()> {
    while read_some(stream, &mut Vec::new())? > 0 {}
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// The bytes of the real answer; on a connection of its own, so that an end of it is an end here.
fn forward(to: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    loop {
        let closed = read_some(&stream, &mut bytes)? == 0;
        if let Some((_, length)) = wire::response(&bytes, closed) {
            bytes.truncate(length);
            return Ok(bytes);
        }
        if closed {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
