use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::proxy::at;

/// A processor of another team (`ext_proc`, FULL_DUPLEX_STREAMED): it takes the body piece by piece and gives it back
/// as it is.
///
/// Behind a WebAssembly filter that has held headers, Envoy once lost a piece on this way (envoyproxy/envoy#46841).
pub(crate) struct Processor {
    address: SocketAddr,
    seen: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl Processor {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&counted)));
            }
        });
        Self {
            address,
            seen,
            _runtime: runtime,
        }
    }

    /// How many bytes it has had.
    pub(crate) fn bytes(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// The filter that asks it.
    pub(crate) fn filter(&self) -> Value {
        json!({"name": "envoy.filters.http.ext_proc", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": "processor"}},
            "message_timeout": "10s",
            "processing_mode": {
                "request_header_mode": "SEND",
                "request_body_mode": "FULL_DUPLEX_STREAMED",
                "request_trailer_mode": "SEND",
                "response_header_mode": "SKIP",
            },
        }})
    }

    /// The cluster by which it is reached.
    pub(crate) fn cluster(&self) -> Value {
        let mut cluster = at("processor", self.address);
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        });
        cluster
    }
}

async fn serve(stream: tokio::net::TcpStream, seen: Arc<AtomicUsize>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(process(request.into_body(), respond, Arc::clone(&seen)));
    }
}

/// One request of Envoy's: a stream of messages in each direction.
async fn process(
    mut body: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    seen: Arc<AtomicUsize>,
) {
    let head = http::Response::builder().header("content-type", "application/grpc");
    let mut answers = respond
        .send_response(head.body(()).expect("a head"), false)
        .expect("a stream");
    let mut unread = BytesMut::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        unread.extend_from_slice(&data);
        while let Some(message) = framed(&mut unread) {
            seen.fetch_add(message.len(), Ordering::SeqCst);
            if answers.send_data(answer(&message), false).is_err() {
                return;
            }
        }
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let _ = answers.send_trailers(trailers);
}

/// A whole message of gRPC at the start of what was read: a flag, four bytes of length, the message.
fn framed(unread: &mut BytesMut) -> Option<Bytes> {
    let length: [u8; 4] = unread.get(1..5)?.try_into().ok()?;
    let length = u32::from_be_bytes(length) as usize;
    unread.get(5..5 + length)?;
    let mut message = unread.split_to(5 + length).freeze();
    Some(message.split_off(5))
}

/// The answer to a `ProcessingRequest`: go on, with the same body.
fn answer(request: &Bytes) -> Bytes {
    // Of ProcessingRequest: 2 are the headers, 4 a piece of the body, 6 the trailers. Of ProcessingResponse: 1, 3 and
    // 5.
    let (kind, value) = fields(request)
        .find(|(number, _)| [2, 4, 6].contains(number))
        .expect("headers, body or trailers");
    let message = match kind {
        2 => field(1, &[]),
        6 => field(5, &[]),
        _ => {
            // HttpBody and StreamedBodyResponse are alike: 1 is the piece, 2 whether it is the last. Between them:
            // BodyResponse.response, CommonResponse.body_mutation, BodyMutation.streamed_response.
            let streamed = field(3, value);
            field(3, &field(1, &field(3, &streamed)))
        }
    };
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(&message);
    framed.freeze()
}

/// The fields of a message of Protocol Buffers that hold messages, texts or bytes.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let length = varint(&mut bytes);
            if key & 7 == 2 {
                let (value, rest) = bytes.split_at(length as usize);
                bytes = rest;
                return Some((key >> 3, value));
            }
            assert_eq!(key & 7, 0, "a number, which is read already");
        }
        None
    })
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a varint");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

/// A field that holds a message or bytes.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = value.len();
    while length > 0x7f {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(value);
    bytes
}
