//! Servers whose connections have a thread each, and what is read from blocking sockets.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::wire::{self, Response};

/// A server that ends with its test.
pub struct Server {
    pub address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A server at a free port. `serve` is called for each connection, and ends with it.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stopped, serve) = (Arc::new(AtomicBool::new(false)), Arc::new(serve));
        let is_stopped = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_nodelay(true);
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(stream));
            }
        });
        Self {
            address,
            stopped,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread, which waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads what is there, or waits for something; 0 is the end. Where there is a time to wait, a signal or a machine that
/// stood still for a while interrupts a reading, and it is done again.
pub fn read_some(mut stream: impl Read, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 16_384];
    loop {
        #[expect(clippy::disallowed_methods, reason = "what interrupts it is seen to")]
        match stream.read(&mut buffer) {
            Ok(length) => {
                bytes.extend(&buffer[..length]);
                return Ok(length);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads one answer, interim ones aside.
pub fn read_response(mut stream: impl Read) -> io::Result<Response> {
    let mut bytes = Vec::new();
    loop {
        if let Some((response, length)) = wire::response(&bytes, false) {
            if response.status != 100 {
                return Ok(response);
            }
            bytes.drain(..length);
        } else if read_some(&mut stream, &mut bytes)? == 0 {
            let seen = String::from_utf8_lossy(&bytes).into_owned();
            return Err(io::Error::other(format!("closed after {seen:?}")));
        }
    }
}

/// The bytes of an answer in JSON.
pub fn json_answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} As Told\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}
