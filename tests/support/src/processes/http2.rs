//! HTTP/2 without TLS, by prior knowledge.

use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::http1::{self, PATIENCE};
use super::wire::{Request, Response};
use super::{passed, rejected};

/// How a body goes out.
#[derive(Clone, Default)]
pub struct Framing {
    /// Length of a DATA frame's payload; 0 is everything in one.
    pub piece: usize,
    pub pause: Duration,
    /// Sent after the data (or, with an empty body, instead of it).
    pub trailers: Option<(&'static str, &'static str)>,
}

impl Framing {
    /// In pieces of this length.
    pub fn pieces(piece: usize) -> Self {
        Self {
            piece,
            ..Self::default()
        }
    }

    pub fn paused(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    pub fn trailers(self, trailers: impl Into<Option<(&'static str, &'static str)>>) -> Self {
        let trailers = trailers.into();
        Self { trailers, ..self }
    }
}

pub struct Http2 {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

impl Http2 {
    pub async fn connect(to: SocketAddr, from: IpAddr) -> Self {
        let stream = http1::connect(to, from).await;
        let (sender, connection) = timeout(PATIENCE, h2::client::handshake(stream))
            .await
            .expect("a handshake in time")
            .expect("Envoy speaks HTTP/2");
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { sender, connection }
    }

    pub async fn send(&mut self, request: &Request, framing: Framing) -> Response {
        timeout(PATIENCE, exchange(self.sender.clone(), request, framing))
            .await
            .expect("an answer in time")
    }

    /// Sends them all at once, each in a stream of its own, and returns their answers in the same order.
    pub async fn send_all(&self, requests: &[Request]) -> Vec<Response> {
        let mut streams = JoinSet::new();
        for (index, request) in requests.iter().cloned().enumerate() {
            let sender = self.sender.clone();
            streams.spawn(async move {
                let answer = timeout(PATIENCE, exchange(sender, &request, Framing::default()));
                (index, answer.await.expect("an answer in time"))
            });
        }
        let mut answers = streams.join_all().await;
        answers.sort_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Sends all of a request, and resets its stream at once.
    pub async fn leave(&self, request: &Request) {
        let ready = timeout(PATIENCE, self.sender.clone().ready());
        let mut sender = ready.await.expect("in time").expect("a stream");
        let (_response, mut body) = open(&mut sender, request, false);
        let data = Bytes::copy_from_slice(&request.body);
        body.send_data(data, true).expect("an open stream");
        // Lets the connection write them: what is reset before that is never sent.
        sleep(Duration::from_millis(1)).await;
        body.send_reset(Reason::CANCEL);
    }

    /// Sends a request that must pass.
    #[track_caller]
    pub fn passes(
        &mut self,
        request: &Request,
        framing: Framing,
    ) -> impl Future<Output = Response> {
        passed(self.send(request, framing), request, Location::caller())
    }

    /// Sends a request that must be rejected for this reason, with its status.
    #[track_caller]
    pub fn rejects(
        &mut self,
        request: &Request,
        framing: Framing,
        reason: &str,
    ) -> impl Future<Output = Response> {
        rejected(
            self.send(request, framing),
            reason,
            request,
            Location::caller(),
        )
    }
}

/// A stream whose head is sent, and whose body is not.
fn open(
    sender: &mut SendRequest<Bytes>,
    request: &Request,
    bare: bool,
) -> (ResponseFuture, SendStream<Bytes>) {
    let host = String::from_utf8(request.get("host").expect("a host").to_vec()).expect("UTF-8");
    let target = String::from_utf8(request.target.clone()).expect("UTF-8");
    let mut head = http::Request::builder()
        .version(http::Version::HTTP_2)
        .method(request.method.as_str())
        .uri(format!("http://{host}{target}"));
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name).expect("a header name");
        // These are HTTP/1.1's.
        if name != "host" && name != "transfer-encoding" && name != "connection" {
            head = head.header(
                name,
                HeaderValue::from_bytes(value).expect("a header value"),
            );
        }
    }
    let head = head.body(()).expect("a request");
    sender.send_request(head, bare).expect("a stream")
}

async fn exchange(mut sender: SendRequest<Bytes>, request: &Request, framing: Framing) -> Response {
    sender = sender.ready().await.expect("a stream");
    let bare = request.body.is_empty() && framing.trailers.is_none();
    let (response, mut body) = open(&mut sender, request, bare);
    // Errors below mean that Envoy has answered and closed the stream already.
    if !bare {
        let size = if framing.piece == 0 {
            request.body.len().max(1)
        } else {
            framing.piece
        };
        let count = request.body.len().div_ceil(size);
        for (index, piece) in request.body.chunks(size).enumerate() {
            if index > 0 && !framing.pause.is_zero() {
                sleep(framing.pause).await;
            }
            let last = index + 1 == count && framing.trailers.is_none();
            if body.send_data(Bytes::copy_from_slice(piece), last).is_err() {
                break;
            }
        }
        if let Some((name, value)) = framing.trailers {
            let mut trailers = HeaderMap::new();
            trailers.insert(name, HeaderValue::from_static(value));
            let _ = body.send_trailers(trailers);
        }
    }
    let (parts, mut data) = response.await.expect("an answer").into_parts();
    let mut body = Vec::new();
    while let Some(piece) = data.data().await {
        // After an early answer Envoy resets the stream; the answer is whole all the same.
        let Ok(piece) = piece else { break };
        let _ = data.flow_control().release_capacity(piece.len());
        body.extend(piece);
    }
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    Response {
        status: parts.status.as_u16(),
        headers,
        body,
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
