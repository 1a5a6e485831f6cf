//! The headers of a request, as bytes. Values need not be UTF-8.

use crate::signature::coverage::{Once, Repeated};

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "x-twilio-signature";
/// The header that selects a shared key.
pub const SETTINGS_HEADER: &str = "x-twilio-webhooks-signature-settings";
/// Where an Envoy in front puts the path before it rewrites it.
pub const ORIGINAL_PATH_HEADER: &str = "x-envoy-original-path";

/// The headers of a request, with names in lower case, as Envoy provides them.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    pairs: &'a [(&'a [u8], &'a [u8])],
}

impl<'a> Headers<'a> {
    /// Wraps names and values in the order of arrival, including repeats.
    pub fn new(pairs: &'a [(&'a [u8], &'a [u8])]) -> Headers<'a> {
        Headers { pairs }
    }

    /// Returns every value of a header.
    pub fn all(&self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let matches = move |(own, _): &&(&[u8], &[u8])| *own == name.as_bytes();
        self.pairs.iter().filter(matches).map(|(_, value)| *value)
    }

    /// Returns the value of a header that must not be repeated, since upstreams differ in which
    /// of several they read.
    ///
    /// # Errors
    /// [`Repeated`] if there are several.
    pub fn once(&self, name: &'a str) -> Once<'a> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Repeated),
        }
    }

    /// Returns the value of a pseudo-header, of which Envoy allows only one.
    pub fn pseudo(&self, name: &'a str) -> &'a [u8] {
        self.all(name).next().unwrap_or_default()
    }

    /// Returns whether this is a WebSocket handshake as Envoy recognises one. (Envoy turns the
    /// extended CONNECT of HTTP/2 into this form.)
    ///
    /// # Errors
    /// [`BodyInHandshake`] if it announces a body: what follows the headers of a handshake is
    /// not held, so that the body would reach the upstream unsigned.
    pub fn websocket(&self) -> Result<bool, BodyInHandshake> {
        let has_token = |name, token: &[u8]| {
            let tokens = |value: &'a [u8]| value.split(|byte| *byte == b',');
            let mut tokens = self.all(name).flat_map(tokens);
            tokens.any(|own: &[u8]| own.trim_ascii().eq_ignore_ascii_case(token))
        };
        let is_handshake = self.pseudo(":method") == b"GET"
            && has_token("connection", b"upgrade")
            && has_token("upgrade", b"websocket");
        if !is_handshake {
            return Ok(false);
        }
        let mut lengths = self.all("content-length");
        if lengths.any(|length| length != b"0") || self.all("transfer-encoding").next().is_some() {
            return Err(BodyInHandshake);
        }
        Ok(true)
    }
}

/// The error that a WebSocket handshake announces a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyInHandshake;

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    type Pair = (&'static [u8], &'static [u8]);

    #[test]
    fn a_repeated_header_is_no_header() {
        let pairs: [Pair; 3] = [(b"a", b"1"), (b"b", b"2"), (b"a", b"1")];
        let headers = Headers::new(&pairs);
        assert_eq!(headers.once("a"), Err(Repeated));
        assert_eq!(headers.once("b"), Ok(Some(&b"2"[..])));
        assert_eq!(headers.once("c"), Ok(None));
    }

    const HANDSHAKE: [Pair; 3] = [
        (b":method", b"GET"),
        (b"connection", b"keep-alive, Upgrade"),
        (b"upgrade", b"WebSocket"),
    ];

    #[test]
    fn a_websocket_handshake_is_a_get_with_both_headers() {
        assert_eq!(Headers::new(&HANDSHAKE).websocket(), Ok(true));
        for missing in 0..3 {
            let mut pairs = HANDSHAKE.to_vec();
            pairs.remove(missing);
            assert_eq!(Headers::new(&pairs).websocket(), Ok(false));
        }
        let post: [Pair; 1] = [(b":method", b"POST")];
        let pairs = [&post[..], &HANDSHAKE[1..]].concat();
        assert_eq!(Headers::new(&pairs).websocket(), Ok(false));
    }

    #[test]
    fn a_handshake_with_a_body_is_rejected() {
        let bodies: [Pair; 2] = [
            (b"content-length", b"5"),
            (b"transfer-encoding", b"chunked"),
        ];
        for body in bodies {
            let pairs = [&HANDSHAKE[..], &[body]].concat();
            assert_eq!(Headers::new(&pairs).websocket(), Err(BodyInHandshake));
        }
    }
}
