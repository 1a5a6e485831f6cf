use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use support::blocking::{Server, read_some};

/// Stands between two processes. While it is cut, nothing gets through and nobody is told, as when packets are dropped: what
/// was sent meanwhile arrives when it is mended.
pub(super) struct Cut {
    pub(super) address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    _server: Server,
}

impl Cut {
    pub(super) fn start(to: SocketAddr) -> Self {
        let is_cut = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&is_cut);
        let server = Server::start(move |stream| {
            wait(&shared);
            let Ok(other) = TcpStream::connect(to) else {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            };
            std::thread::scope(|scope| {
                scope.spawn(|| carry(&stream, &other, &shared));
                carry(&other, &stream, &shared);
            });
        });
        Self {
            address: server.address,
            is_cut,
            _server: server,
        }
    }

    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    pub(super) fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        // Lets what waits end.
        self.mend();
    }
}

fn wait(is_cut: &AtomicBool) {
    while is_cut.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(2));
    }
}

/// What comes from one goes to the other, and so does its end.
fn carry(from: &TcpStream, mut to: &TcpStream, is_cut: &AtomicBool) {
    let mut bytes = Vec::new();
    while read_some(from, &mut bytes).is_ok_and(|length| length > 0) {
        wait(is_cut);
        if to.write_all(&bytes).is_err() {
            break;
        }
        bytes.clear();
    }
    wait(is_cut);
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
