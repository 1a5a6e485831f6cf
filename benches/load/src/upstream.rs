//! The service behind every proxy: it takes a request whole, answers 200, and counts.
//!
//! In the process that also sends, so that what it costs is on the other core and in nobody's account.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::http;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: 21\r\n\r\n<Response></Response>";

/// Its tokens begin here; those below are the sender's.
pub(crate) const FIRST_TOKEN: usize = 1 << 20;

pub(crate) struct Upstream {
    listener: TcpListener,
    connections: HashMap<Token, (TcpStream, Vec<u8>)>,
    next: usize,
    /// How many requests have come.
    pub(crate) received: u64,
}

impl Upstream {
    pub(crate) fn start(registry: &Registry) -> io::Result<Self> {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut listener = TcpListener::bind(any_port)?;
        registry.register(&mut listener, Token(FIRST_TOKEN), Interest::READABLE)?;
        Ok(Self {
            listener,
            connections: HashMap::new(),
            next: FIRST_TOKEN + 1,
            received: 0,
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(crate) fn handle(&mut self, event: &Event, registry: &Registry) -> Result<(), String> {
        let token = event.token();
        if token == Token(FIRST_TOKEN) {
            return self.accept(registry).map_err(|error| error.to_string());
        }
        let Some((stream, buffer)) = self.connections.get_mut(&token) else {
            return Ok(());
        };
        if !http::read(stream, buffer).map_err(|error| format!("the upstream reads: {error}"))? {
            self.connections.remove(&token);
            return Ok(());
        }
        while let Some(length) = http::request_length(buffer)? {
            buffer.drain(..length);
            self.received += 1;
            http::write(stream, ANSWER)
                .map_err(|error| format!("the upstream answers: {error}"))?;
        }
        Ok(())
    }

    fn accept(&mut self, registry: &Registry) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((mut stream, _)) => {
                    stream.set_nodelay(true)?;
                    let token = Token(self.next);
                    self.next += 1;
                    registry.register(&mut stream, token, Interest::READABLE)?;
                    self.connections.insert(token, (stream, Vec::new()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
