use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use support::blocking::read_some;
use support::http1::PATIENCE;
use support::wire;

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The filter's reason; empty if the answer is not the filter's.
    pub(crate) reason: String,
}

impl From<wire::Response> for Answer {
    fn from(response: wire::Response) -> Self {
        let reason = match response.status {
            100..400 => String::new(),
            _ => response.reason(),
        };
        Self {
            status: response.status,
            reason,
        }
    }
}

/// A connection that stays open between requests, and is made anew where it was closed.
pub(crate) struct Client {
    to: SocketAddr,
    stream: Option<TcpStream>,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self {
            to,
            stream: None,
            unread: Vec::new(),
        }
    }

    pub(crate) fn to(&self) -> SocketAddr {
        self.to
    }

    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.to, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            self.unread.clear();
            self.stream = Some(stream);
        }
        self.stream
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream()?.write_all(bytes)
    }

    pub(crate) fn close(&mut self) {
        self.stream = None;
    }

    /// The next answer. One that says so is the last on its connection.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut closed = false;
        loop {
            if let Some((response, length)) = wire::response(&self.unread, closed) {
                self.unread.drain(..length);
                let last = response.header("connection");
                if closed || last.is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                    self.close();
                }
                return Ok(response.into());
            }
            if closed {
                self.close();
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.stream()?;
            let Self { stream, unread, .. } = self;
            match read_some(stream.as_ref().expect("a connection"), unread) {
                Ok(length) => closed = length == 0,
                Err(error) => {
                    self.close();
                    return Err(error);
                }
            }
        }
    }

    /// So many bytes, of a connection that is HTTP no longer.
    pub(crate) fn read_exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.unread);
        let have = bytes.len().min(count);
        bytes.resize(count, 0);
        self.stream()?.read_exact(&mut bytes[have..])?;
        Ok(bytes)
    }

    /// Sends a request and waits for the answer.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<Answer> {
        if let Err(error) = self.write(request) {
            self.close();
            return Err(error);
        }
        self.answer()
    }
}
