use crate::kinds;

/// What is no HTTP, or not Envoy's, or ends as no request does; and Envoy's own answer. The filter has no verdict on any.
pub(crate) fn odd(draw: usize) -> (&'static str, Vec<u8>, u16) {
    let head = "POST /api/v1/whatsapp/webhook HTTP/1.1\r\nhost: orders.example.com\r\n";
    match draw % 7 {
        0 => (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello".to_vec(),
            400,
        ),
        1 => ("zeros", vec![0; 64], 400),
        2 => (
            "a line without a colon",
            format!("{head}no colon\r\n\r\n").into(),
            400,
        ),
        3 => {
            let both = "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
            ("two lengths", format!("{head}{both}").into(), 400)
        }
        4 => {
            let long = "q".repeat(70_000);
            (
                "70 KB of headers",
                format!("{head}x-long: {long}\r\n\r\n").into(),
                431,
            )
        }
        5 => {
            let old = head.replace("HTTP/1.1", "HTTP/1.0");
            ("HTTP/1.0", format!("{old}\r\n").into(), 426)
        }
        _ => {
            // Signed, and the filter holds what came of its body.
            let mut chunks = kinds::message().request.chunks(200);
            chunks.truncate(2);
            chunks.push(b"soon\r\n".to_vec());
            ("a chunk without a length", chunks.concat(), 400)
        }
    }
}
