//! The upstream as the tests see it: everything that Envoy sends is recorded from its first byte on, then
//! passed to the real ordering upstream, or answered (or not) as the test says.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::http1::PATIENCE;
use super::process::{free_port, until};
use super::wire::{self, Received};

/// What the upstream does with a request once it has all of it.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Passes it to the ordering upstream, and its answer back.
    Forward,
    /// Answers with this status.
    Answer(u16),
    /// Answers with this status after a while.
    AnswerAfter(Duration, u16),
    /// Resets the connection.
    Reset,
    /// Never answers, but notices when Envoy gives up.
    Silence,
    /// Accepts an upgrade and sends back what it hears.
    Echo,
}

/// What one request brought, complete or not.
struct Record {
    bytes: Vec<u8>,
    complete: bool,
    /// Envoy closed the connection before it was answered.
    abandoned: bool,
}

struct State {
    behaviour: Behaviour,
    records: Vec<Record>,
}

enum Command {
    Reject,
    Accept,
    Stop,
}

/// See the module.
pub struct Tap {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    commands: UnboundedSender<(Command, std::sync::mpsc::Sender<()>)>,
    thread: Option<JoinHandle<()>>,
}

impl Tap {
    /// `real` is where [`Behaviour::Forward`] goes.
    pub fn start(real: SocketAddr) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let state = Arc::new(Mutex::new(State {
            behaviour: Behaviour::Forward,
            records: Vec::new(),
        }));
        let (commands, inbox) = unbounded_channel();
        let shared = Arc::clone(&state);
        // A thread of its own: it outlives the runtime of each test that uses it.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(serve(address, real, shared, inbox));
        });
        let tap = Self {
            address,
            state,
            commands,
            thread: Some(thread),
        };
        tap.command(Command::Accept);
        tap
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn command(&self, command: Command) {
        let (done, wait) = std::sync::mpsc::channel();
        if self.commands.send((command, done)).is_ok() {
            let _ = wait.recv_timeout(PATIENCE);
        }
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    /// Closes the port and every connection.
    pub fn reject_connections(&self) {
        self.command(Command::Reject);
    }

    pub fn accept_connections(&self) {
        self.command(Command::Accept);
    }

    /// How many requests have begun to arrive since the start.
    pub fn count(&self) -> usize {
        self.state().records.len()
    }

    /// How many bytes have arrived since the request number `first`.
    pub fn bytes_since(&self, first: usize) -> usize {
        self.state().records[first..]
            .iter()
            .map(|record| record.bytes.len())
            .sum()
    }

    /// How many requests with this body have arrived whole, while others still may be arriving.
    #[allow(dead_code)] // Not all tests that have a tap look while there is traffic.
    pub fn whole_with_body(&self, body: &[u8]) -> usize {
        let state = self.state();
        let whole = state.records.iter().filter(|record| record.complete);
        let received = whole.filter_map(|record| wire::request(&record.bytes));
        received
            .filter(|(received, ..)| received.body == body)
            .count()
    }

    /// Every request since number `first`; one that is not whole is an error of the test, or of Envoy.
    pub fn requests_since(&self, first: usize) -> Vec<Received> {
        let whole = |record: &Record| {
            assert!(
                record.complete,
                "only a part arrived: {:?}",
                String::from_utf8_lossy(&record.bytes)
            );
            wire::request(&record.bytes).expect("a complete request").0
        };
        self.state().records[first..].iter().map(whole).collect()
    }

    /// The bytes of the requests since number `first`, as text for a message.
    pub fn describe_since(&self, first: usize) -> String {
        let text = |record: &Record| String::from_utf8_lossy(&record.bytes).into_owned();
        self.state().records[first..]
            .iter()
            .map(text)
            .collect::<Vec<_>>()
            .join("\n--\n")
    }

    /// Waits until `count` requests since number `first` are whole.
    pub async fn wait_for(&self, first: usize, count: usize) {
        self.wait_until(&format!("{count} requests at the upstream"), |records| {
            records[first..]
                .iter()
                .filter(|record| record.complete)
                .count()
                >= count
        })
        .await;
    }

    /// Waits until Envoy has given up on a request since number `first`.
    pub async fn wait_for_abandoned(&self, first: usize) {
        self.wait_until("Envoy to close its connection to the upstream", |records| {
            records[first..].iter().any(|record| record.abandoned)
        })
        .await;
    }

    async fn wait_until(&self, what: &str, condition: impl Fn(&[Record]) -> bool) {
        until(what, async || {
            condition(&self.state().records).then_some(())
        })
        .await;
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.command(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    address: SocketAddr,
    real: SocketAddr,
    state: Arc<Mutex<State>>,
    mut inbox: UnboundedReceiver<(Command, std::sync::mpsc::Sender<()>)>,
) {
    let mut listener: Option<TcpListener> = None;
    let mut connections = JoinSet::new();
    loop {
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accept => if let Ok((stream, _)) = accepted {
                let _ = stream.set_nodelay(true);
                connections.spawn(connection(stream, real, Arc::clone(&state)));
            },
            Some(_) = connections.join_next() => {}
            command = inbox.recv() => {
                let Some((command, done)) = command else { return };
                match command {
                    Command::Reject => {
                        listener = None;
                        connections.shutdown().await;
                    }
                    Command::Accept if listener.is_none() => {
                        listener = Some(TcpListener::bind(address).await.expect("the port is free"));
                    }
                    Command::Accept => {}
                    Command::Stop => return,
                }
                let _ = done.send(());
            }
        }
    }
}

async fn connection(mut stream: TcpStream, real: SocketAddr, state: Arc<Mutex<State>>) {
    while let Some(index) = read_request(&mut stream, &state).await {
        let behaviour = lock(&state).behaviour.clone();
        let answer = match behaviour {
            Behaviour::Reset => {
                let _ = stream.set_zero_linger();
                return;
            }
            Behaviour::Answer(status) => answer(status),
            Behaviour::AnswerAfter(time, status) => {
                if abandoned_within(&mut stream, Some(time)).await {
                    lock(&state).records[index].abandoned = true;
                    return;
                }
                answer(status)
            }
            Behaviour::Silence => {
                abandoned_within(&mut stream, None).await;
                lock(&state).records[index].abandoned = true;
                return;
            }
            Behaviour::Echo => {
                echo(&mut stream).await;
                return;
            }
            Behaviour::Forward => {
                let bytes = lock(&state).records[index].bytes.clone();
                match forward(real, &bytes).await {
                    Some(bytes) => bytes,
                    None => return,
                }
            }
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Reads one request, recording it from its first byte on. `None`: closed.
async fn read_request(stream: &mut TcpStream, state: &Mutex<State>) -> Option<usize> {
    let mut index = None;
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => {
                if let Some(index) = index {
                    let record: &mut Record = &mut lock(state).records[index];
                    record.abandoned = true;
                }
                return None;
            }
            Ok(_) => {}
        }
        let records = &mut lock(state).records;
        let index = *index.get_or_insert_with(|| {
            records.push(Record {
                bytes: Vec::new(),
                complete: false,
                abandoned: false,
            });
            records.len() - 1
        });
        let record = &mut records[index];
        record.bytes.extend(&buffer);
        if let Some((_, length)) = wire::request(&record.bytes) {
            assert_eq!(length, record.bytes.len(), "Envoy does not pipeline");
            record.complete = true;
            return Some(index);
        }
    }
}

async fn abandoned_within(stream: &mut TcpStream, time: Option<Duration>) -> bool {
    let mut byte = [0];
    let closed = async {
        let _ = stream.read(&mut byte).await;
        true
    };
    match time {
        None => closed.await,
        Some(time) => tokio::time::timeout(time, closed).await.unwrap_or(false),
    }
}

fn answer(status: u16) -> Vec<u8> {
    let body = "<Response/>";
    let location = if status == 302 {
        "location: /elsewhere\r\n"
    } else {
        ""
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} As Told\r\ncontent-type: text/xml\r\n{location}content-length: {length}\r\n\r\n"
    );
    [head, body.to_owned()].concat().into_bytes()
}

async fn echo(stream: &mut TcpStream) {
    let head =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    if stream.write_all(head).await.is_err() {
        return;
    }
    let mut buffer = Vec::new();
    while stream
        .read_buf(&mut buffer)
        .await
        .is_ok_and(|length| length > 0)
    {
        if stream.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
    }
}

/// The bytes of the real upstream's answer.
async fn forward(real: SocketAddr, request: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(real).await.ok()?;
    stream.write_all(request).await.ok()?;
    let mut bytes = Vec::new();
    loop {
        let closed = stream.read_buf(&mut bytes).await.ok()? == 0;
        if let Some((_, length)) = wire::response(&bytes, closed) {
            bytes.truncate(length);
            return Some(bytes);
        }
        if closed {
            return None;
        }
    }
}
