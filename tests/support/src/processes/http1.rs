//! An HTTP/1.1 client that leaves every byte to the test.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::wire::{self, Request, Response};
use super::{passed, rejected};

/// Longer than anything here takes on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A connection from a loopback address of the test's choice.
pub async fn connect(to: SocketAddr, from: IpAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(SocketAddr::new(from, 0))
        .expect("any address in 127.0.0.0/8 can be bound");
    let stream = timeout(PATIENCE, socket.connect(to))
        .await
        .expect("connects in time")
        .expect("Envoy listens");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream
}

/// A connection. [`Http1::send`] makes a new one where Envoy has said that it closes the old one, as it does
/// after an answer that it gave before it had read the whole request.
pub struct Http1 {
    to: SocketAddr,
    from: IpAddr,
    stream: TcpStream,
    unread: Vec<u8>,
    closing: bool,
}

impl Http1 {
    pub async fn connect(to: SocketAddr, from: IpAddr) -> Self {
        Self {
            to,
            from,
            stream: connect(to, from).await,
            unread: Vec::new(),
            closing: false,
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes))
            .await
            .expect("written in time")
            .expect("Envoy reads");
    }

    /// Sends `request` in one piece and waits for the answer.
    pub async fn send(&mut self, request: &Request) -> Response {
        self.send_pieces(&[request.bytes()], Duration::ZERO).await
    }

    /// Sends a request that must pass.
    #[track_caller]
    pub fn passes(&mut self, request: &Request) -> impl Future<Output = Response> {
        passed(self.send(request), request, Location::caller())
    }

    /// Sends a request that must be rejected for this reason, with its status.
    #[track_caller]
    pub fn rejects(&mut self, request: &Request, reason: &str) -> impl Future<Output = Response> {
        rejected(self.send(request), reason, request, Location::caller())
    }

    /// Sends `request` in chunks of this length.
    pub async fn send_chunked(&mut self, request: &Request, length: usize) -> Response {
        let chunks = request.chunks(length);
        self.send_pieces(&chunks, Duration::ZERO).await
    }

    /// Sends the pieces with a pause between them, reading at the same time: Envoy may answer and hang up
    /// before it has read everything.
    pub async fn send_pieces(&mut self, pieces: &[Vec<u8>], pause: Duration) -> Response {
        if self.closing {
            *self = Self::connect(self.to, self.from).await;
        }
        let (mut reader, mut writer) = self.stream.split();
        let unread = &mut self.unread;
        let write = async {
            for (index, piece) in pieces.iter().enumerate() {
                if index > 0 && !pause.is_zero() {
                    sleep(pause).await;
                }
                if writer.write_all(piece).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let read = async {
            loop {
                let response = next(&mut reader, unread).await.expect("an answer");
                if response.status != 100 {
                    return response;
                }
            }
        };
        let either = async {
            tokio::select! {
                response = read => response,
                () = write => unreachable!("writing never ends by itself"),
            }
        };
        let response: Response = timeout(PATIENCE, either).await.expect("an answer in time");
        self.closing = response.header("connection") == Some("close");
        response
    }

    /// The next answer, interim ones included.
    pub async fn response(&mut self) -> Response {
        let (mut reader, _) = self.stream.split();
        let response = timeout(PATIENCE, next(&mut reader, &mut self.unread)).await;
        response.expect("an answer in time").expect("an answer")
    }

    /// Whether any byte of an answer comes within `time`.
    pub async fn hears_within(&mut self, time: Duration) -> bool {
        !self.unread.is_empty() || timeout(time, self.stream.readable()).await.is_ok()
    }

    /// What is received after an upgrade, up to `length` bytes.
    pub async fn read_exactly(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
            assert_ne!(
                read.expect("data in time").expect("data"),
                0,
                "closed after {:?}",
                self.unread
            );
        }
        self.unread.drain(..length).collect()
    }

    /// Leaves abruptly, as a client that crashed.
    pub fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }
}

async fn next(
    reader: &mut (impl tokio::io::AsyncRead + Unpin),
    unread: &mut Vec<u8>,
) -> io::Result<Response> {
    let mut closed = false;
    loop {
        if let Some((response, length)) = wire::response(unread, closed) {
            unread.drain(..length);
            return Ok(response);
        }
        if closed {
            let seen = String::from_utf8_lossy(unread).into_owned();
            return Err(io::Error::other(format!("closed after {seen:?}")));
        }
        match reader.read_buf(unread).await {
            Ok(0) | Err(_) => closed = true,
            Ok(_) => {}
        }
    }
}
