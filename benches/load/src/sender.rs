//! Sends messages over connections that stay open, each connection one message at a time, and checks every answer.

use std::net::{SocketAddr, TcpStream as StdStream};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::http;

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// When the message that has no answer yet was sent.
    sent: Option<Instant>,
    /// The server closes it, so the next message needs another.
    over: bool,
}

/// Connections to one server.
pub(crate) struct Sender {
    to: SocketAddr,
    expected: u16,
    connections: Vec<Connection>,
    waiting: usize,
    /// How often a server that closes after its answer made another connection necessary.
    pub(crate) reconnected: u64,
    /// How long each answer took, in the order in which they came.
    pub(crate) latencies: Vec<Duration>,
}

impl Sender {
    pub(crate) fn connect(
        to: SocketAddr,
        connections: usize,
        expected: u16,
        registry: &Registry,
    ) -> Result<Self, String> {
        let all = (0..connections).map(|index| connect(to, Token(index), registry));
        Ok(Self {
            to,
            expected,
            connections: all.collect::<Result<_, _>>()?,
            waiting: 0,
            reconnected: 0,
            latencies: Vec::new(),
        })
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// The connections that could send now.
    pub(crate) fn indices(&self) -> std::ops::Range<usize> {
        0..self.connections.len()
    }

    pub(crate) fn send(
        &mut self,
        index: usize,
        message: &[u8],
        registry: &Registry,
    ) -> Result<(), String> {
        if self.connections[index].over {
            self.connections[index] = connect(self.to, Token(index), registry)?;
            self.reconnected += 1;
        }
        let connection = &mut self.connections[index];
        connection.sent = Some(Instant::now());
        self.waiting += 1;
        http::write(&mut connection.stream, message)
            .map_err(|error| format!("{}: {error}", self.to))
    }

    /// Reads what has come on a connection; true if it was an answer, so that the next message can be sent.
    pub(crate) fn receive(&mut self, index: usize) -> Result<bool, String> {
        let connection = &mut self.connections[index];
        let open = http::read(&mut connection.stream, &mut connection.received);
        if !open.map_err(|error| format!("{}: {error}", self.to))? {
            connection.over = true;
        }
        let Some(sent) = connection.sent else {
            return Ok(false);
        };
        let Some(answer) = http::answer(&connection.received)? else {
            return if connection.over {
                Err(format!(
                    "{} has closed a connection instead of answering",
                    self.to
                ))
            } else {
                Ok(false)
            };
        };
        self.latencies.push(sent.elapsed());
        if answer.status != self.expected {
            let text = String::from_utf8_lossy(&connection.received);
            return Err(format!(
                "{} has answered not {} but\n{text}",
                self.to, self.expected
            ));
        }
        connection.over |= answer.last;
        connection.received.drain(..answer.length);
        connection.sent = None;
        self.waiting -= 1;
        Ok(true)
    }
}

fn connect(to: SocketAddr, token: Token, registry: &Registry) -> Result<Connection, String> {
    let connect = || {
        let stream = StdStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(Connection {
            stream,
            received: Vec::new(),
            sent: None,
            over: false,
        })
    };
    connect().map_err(|error: std::io::Error| format!("no connection to {to}: {error}"))
}
