use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fault_proxy::Way;
use crate::replicas::{Replicas, plugin};
use support::blocking::{Server, read_some};
use support::envoy::{Setup, cluster, new_address, set_endpoint};
use support::filter_host::{FilterHost, filter_host};
use support::http1::Http1;
use support::http2::{Framing, Http2};
use support::messages::message;
use support::wire;

/// A service that takes what comes, but for those that are to fail with a long answer.
struct Service {
    server: Server,
    failure: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Service {
    fn start() -> Self {
        let failure = Arc::default();
        let shared = Arc::clone(&failure);
        let server = Server::start(move |stream| serve(stream, &shared));
        Self { server, failure }
    }

    fn fail_once(&self, answer: Vec<u8>) {
        *self.failure.lock().expect("no panic") = Some(answer);
    }

    fn behind(&self, setup: Setup) -> Setup {
        let address = self.server.address;
        setup.edit(move |config| set_endpoint(cluster(config, "ordering_upstream"), address))
    }
}

fn serve(mut stream: TcpStream, failure: &Mutex<Option<Vec<u8>>>) {
    let mut bytes = Vec::new();
    while let Ok(1..) = read_some(&stream, &mut bytes) {
        if let Some((_, length)) = wire::request(&bytes) {
            bytes.drain(..length);
            let answer = failure.lock().expect("no panic").take();
            if stream.write_all(&answer.unwrap_or_else(short)).is_err() {
                return;
            }
        }
    }
}

fn short() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()
}

fn long(status: u16, size: usize, is_chunked: bool) -> Vec<u8> {
    let body = vec![b'e'; size];
    if !is_chunked {
        let head = format!("HTTP/1.1 {status} As Told\r\ncontent-length: {size}\r\n\r\n");
        return [head.as_bytes(), &body].concat();
    }
    let head = format!("HTTP/1.1 {status} As Told\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut bytes = head.into_bytes();
    for chunk in body.chunks(10_000) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

#[test]
fn a_long_answer_that_is_held_until_the_claim_is_given_up_hangs_nobody() {
    /// What an Envoy of `envoy/redis` holds of an answer.
    const LIMIT: usize = 262_144;
    let service = Service::start();
    let slow = Way::LateAnswer(Duration::from_millis(300));
    Replicas::of(2, |setup| service.behind(setup), &plugin(json!({}))).run(async |replicas| {
        for (status, size, is_chunked, way, http2) in [
            (500, 1000, true, slow, false),
            (503, 200_000, false, slow, false),
            (503, 200_000, true, slow, true),
            (503, 2_000_000, false, Way::Open, false),
            (503, 2_000_000, false, slow, false),
            (503, 2_000_000, true, slow, false),
            (503, 2_000_000, true, slow, true),
        ] {
            replicas.proxy.set(way);
            service.fail_once(long(status, size, is_chunked));
            let (request, start) = (message(), Instant::now());
            let address = replicas.envoys[0].address();
            let answer = if http2 {
                let mut client = Http2::connect(address, new_address()).await;
                client.send(&request, Framing::default()).await
            } else {
                let mut client = Http1::connect(address, new_address()).await;
                client.send(&request).await
            };
            println!(
                "{status} with {size} bytes, chunked: {is_chunked}, HTTP/2: {http2}, {way:?}: {} with {} bytes after {:?}",
                answer.status,
                answer.body.len(),
                start.elapsed()
            );
            // A WebAssembly filter buffers what it holds. There is more than Envoy may buffer, so it answers itself,
            // and Twilio gets a failure all the same. A native one has the upstream wait.
            let is_buffered = filter_host() == FilterHost::Wasm;
            let expected = if is_buffered && size > LIMIT {
                (500, b"Internal Server Error".to_vec())
            } else {
                (status, vec![b'e'; size])
            };
            assert!((answer.status, answer.body) == expected);
            replicas.proxy.set(Way::Open);
            replicas.proxy.settled().await;
            replicas.passes(1, &request).await;
            for envoy in [0, 1] {
                replicas.rejects(envoy, &request, "duplicate").await;
            }
        }
    });
}
