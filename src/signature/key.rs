//! Signing keys, MACs, and the nonce.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::secret::Secret;

/// An HMAC whose key is already hashed.
///
/// Hashing the key's inner and outer pads is a quarter of the work for a short message. It is done
/// once, at configuration; the state is copied for each message, and the key is not kept.
pub struct SigningKey(State);

#[derive(Clone)]
enum State {
    /// An account's auth token, which signs with HMAC-SHA1.
    Sha1(Hmac<Sha1>),
    /// A shared key (Twilio's public beta), which signs with HMAC-SHA256.
    Sha256(Hmac<Sha256>),
}

impl SigningKey {
    /// Returns the key of an auth token; `None` if it is empty, since everybody knows an empty key.
    pub fn auth_token(token: &Secret) -> Option<SigningKey> {
        Some(SigningKey(State::Sha1(keyed(token)?)))
    }

    /// Returns a shared key; `None` if it is empty.
    pub fn shared_key(secret: &Secret) -> Option<SigningKey> {
        Some(SigningKey(State::Sha256(keyed(secret)?)))
    }

    /// Returns the length of this key's MACs: 20 or 32 bytes.
    pub fn mac_length(&self) -> usize {
        match self.0 {
            State::Sha1(_) => 20,
            State::Sha256(_) => 32,
        }
    }

    /// Returns the MAC of `message`.
    pub fn mac(&self, message: &[u8]) -> ComputedMac {
        match &self.0 {
            State::Sha1(keyed) => ComputedMac::new(&finish(keyed, message)),
            State::Sha256(keyed) => ComputedMac::new(&finish(keyed, message)),
        }
    }

    /// Returns the MAC of a message that is still empty.
    pub(crate) fn begin(&self) -> BegunMac {
        BegunMac(self.0.clone())
    }
}

/// A MAC of an unfinished message. A diagnosis hashes once what many messages begin with, and
/// copies the state for each.
#[derive(Clone)]
pub(crate) struct BegunMac(State);

impl BegunMac {
    /// Appends to the message.
    #[inline(never)]
    pub(crate) fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            State::Sha1(mac) => mac.update(piece),
            State::Sha256(mac) => mac.update(piece),
        }
    }

    /// Returns the MAC of the complete message.
    pub(crate) fn finish(self) -> ComputedMac {
        match self.0 {
            State::Sha1(mac) => ComputedMac::new(&mac.finalize().into_bytes()),
            State::Sha256(mac) => ComputedMac::new(&mac.finalize().into_bytes()),
        }
    }
}

fn keyed<M: KeyInit>(secret: &Secret) -> Option<M> {
    let key = secret.expose().as_bytes();
    if key.is_empty() {
        return None;
    }
    M::new_from_slice(key).ok()
}

fn finish<M: Mac + Clone>(keyed: &M, message: &[u8]) -> hmac::digest::Output<M> {
    let mut mac = keyed.clone();
    mac.update(message);
    mac.finalize().into_bytes()
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SigningKey(…)")
    }
}

/// A MAC that this filter computed. Until a request has matched it, it is secret: anyone who sees
/// it can forge the request.
pub struct ComputedMac {
    bytes: [u8; MAX_MAC],
    length: usize,
}

/// The length of the longest MAC, HMAC-SHA256, in bytes.
const MAX_MAC: usize = 32;

impl ComputedMac {
    fn new(output: &[u8]) -> ComputedMac {
        let mut bytes = [0; MAX_MAC];
        for (to, from) in bytes.iter_mut().zip(output) {
            *to = *from;
        }
        ComputedMac {
            bytes,
            length: output.len().min(MAX_MAC),
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Returns whether this is the claimed MAC, in constant time for MACs of one length.
    pub fn equals(&self, claimed: &ClaimedMac) -> Choice {
        self.as_slice().ct_eq(claimed.as_slice())
    }

    /// Returns the header that Twilio sends: for the companion, which signs. Nothing else may.
    #[cfg(feature = "companion")]
    pub(crate) fn to_header(&self) -> String {
        STANDARD.encode(self.as_slice())
    }

    /// Returns the nonce: the SHA-256 of the MAC in base64.
    ///
    /// It is that of the *computed* MAC, so that every spelling of a request with the same MAC has
    /// the same nonce.
    pub fn nonce(&self) -> Nonce {
        let mut text = [0; MAX_MAC_IN_BASE64];
        let length = STANDARD
            .encode_slice(self.as_slice(), &mut text)
            .unwrap_or_default();
        let text = text.get(..length).unwrap_or_default();
        Nonce(sha256(&[text]))
    }
}

/// Returns the SHA-256 of several pieces in a row. Not inlined: each call of `digest` would take a
/// kilobyte of code.
#[inline(never)]
pub(crate) fn sha256(pieces: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize().into()
}

/// The length of the longest MAC in base64.
const MAX_MAC_IN_BASE64: usize = 44;

/// The identity of a request: equal for all requests with one signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nonce(pub [u8; 32]);

impl Nonce {
    /// Returns 64 lower-case hex digits, as the upstream receives it.
    pub fn to_hex(self) -> String {
        let digit = |value: u8| value + if value < 10 { b'0' } else { b'a' - 10 };
        let digits = self.0.map(|byte| [digit(byte >> 4), digit(byte & 0xF)]);
        // Digits are ASCII, so that there is always one.
        String::from_utf8(digits.as_flattened().to_vec()).unwrap_or_default()
    }
}

/// The MAC that a request carries in `X-Twilio-Signature`, decoded.
#[derive(Debug)]
pub struct ClaimedMac {
    bytes: [u8; MAX_MAC],
    length: usize,
    /// The message that a diagnosis has found under this MAC, for the companion to show.
    #[cfg(feature = "companion")]
    message: std::cell::OnceCell<Vec<u8>>,
}

impl ClaimedMac {
    /// Parses a header value, which must be the canonical base64 (padded, no spare bits, no white
    /// space) of 20 or 32 bytes, so that a MAC has one spelling; `None` for anything else.
    pub fn parse(header: &[u8]) -> Option<ClaimedMac> {
        let length = match header.len() {
            28 => 20,
            44 => 32,
            _ => return None,
        };
        // One byte more, since the decoder writes whole groups of three.
        let mut decoded = [0; MAX_MAC + 1];
        if STANDARD.decode_slice(header, &mut decoded) != Ok(length) {
            return None;
        }
        let mut bytes = [0; MAX_MAC];
        for (to, from) in bytes.iter_mut().zip(decoded) {
            *to = from;
        }
        Some(ClaimedMac {
            bytes,
            length,
            #[cfg(feature = "companion")]
            message: std::cell::OnceCell::new(),
        })
    }

    /// Keeps the message that a diagnosis has found under this MAC. Only the companion does.
    #[inline(always)]
    pub(crate) fn keep_message(&self, _message: &[u8]) {
        #[cfg(feature = "companion")]
        let _ = self.message.set(_message.to_owned());
    }

    /// Returns the message that a diagnosis has found under this MAC.
    #[cfg(feature = "companion")]
    pub(crate) fn message(&self) -> Option<&[u8]> {
        self.message.get().map(Vec::as_slice)
    }

    /// Returns its length: 20 or 32 bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn token(text: &str) -> SigningKey {
        SigningKey::auth_token(&Secret::new(text.into())).expect("not empty")
    }

    fn shared(text: &str) -> SigningKey {
        SigningKey::shared_key(&Secret::new(text.into())).expect("not empty")
    }

    #[test]
    fn a_signature_has_one_spelling_only() {
        let good = b"RSOYDt4T1cUTdK1PDd93/VVr8B8=";
        assert_eq!(ClaimedMac::parse(good).expect("good").length(), 20);
        for bad in [
            &b""[..],
            b"RSOYDt4T1cUTdK1PDd93/VVr8B8",
            b"RSOYDt4T1cUTdK1PDd93/VVr8B9=",
            b"RSOYDt4T1cUTdK1PDd93/VVr8B8= ",
            b" RSOYDt4T1cUTdK1PDd93/VVr8B8=",
            b"RSOYDt4T1cUTdK1PDd93_VVr8B8=",
            b"RSOYDt4T1cUTdK1PDd93/VVr8B8=,RSOYDt4T1cUTdK1PDd93/VVr8B8=",
            b"RSOYDt4T1cUTdK1PDd93/VVr8B\xFF=",
            b"AAAA",
        ] {
            assert!(ClaimedMac::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn thirty_two_bytes_are_a_signature_too() {
        let header = STANDARD.encode([7; 32]);
        let claimed = ClaimedMac::parse(header.as_bytes()).expect("32 bytes");
        assert_eq!(claimed.length(), 32);
        let header = STANDARD.encode([7; 31]);
        assert!(ClaimedMac::parse(header.as_bytes()).is_none());
    }

    #[test]
    fn the_example_of_twilios_documentation_verifies() {
        let mac = token("12345").mac(
            b"https://mycompany.com/myapp.php?foo=1&bar=2\
              CallSidCA1234567890ABCDECaller+14158675309Digits1234From+14158675309To+18005551212",
        );
        let claimed = ClaimedMac::parse(b"RSOYDt4T1cUTdK1PDd93/VVr8B8=").expect("canonical");
        assert!(bool::from(mac.equals(&claimed)));
        let nonce = Nonce(Sha256::digest(b"RSOYDt4T1cUTdK1PDd93/VVr8B8=").into());
        assert_eq!(mac.nonce(), nonce);
    }

    #[test]
    fn a_message_in_pieces_has_the_mac_of_the_whole() {
        for key in [token("12345"), shared("s")] {
            let whole = vec![7; 300];
            let mut begun = key.begin();
            begun.update(&whole[..130]);
            for split in [130, 192, 300] {
                let mut other = begun.clone();
                other.update(&whole[130..split]);
                other.update(&whole[split..]);
                assert_eq!(other.finish().as_slice(), key.mac(&whole).as_slice());
            }
        }
    }

    #[test]
    fn macs_of_different_lengths_are_never_equal() {
        let short = token("12345").mac(b"x");
        let header = STANDARD.encode([0; 32]);
        let claimed = ClaimedMac::parse(header.as_bytes()).expect("32 bytes");
        assert!(!bool::from(short.equals(&claimed)));
    }

    #[test]
    fn a_mac_with_any_one_of_its_bits_changed_is_another() {
        for (key, length) in [(token("12345"), 20), (shared("12345"), 32)] {
            let mac = key.mac(b"x");
            assert_eq!(mac.as_slice().len(), length);
            assert_eq!(key.mac_length(), length);
            let claims = |bytes: &[u8]| {
                let header = STANDARD.encode(bytes);
                let claimed = ClaimedMac::parse(header.as_bytes()).expect("canonical");
                bool::from(mac.equals(&claimed))
            };
            assert!(claims(mac.as_slice()));
            for bit in 0..8 * length {
                let mut changed = mac.as_slice().to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(!claims(&changed), "bit {bit} of {length} bytes");
            }
        }
    }

    #[test]
    fn an_empty_key_is_no_key() {
        assert!(SigningKey::auth_token(&Secret::new(String::new())).is_none());
        assert!(SigningKey::shared_key(&Secret::new(String::new())).is_none());
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        let secret = Secret::new("hunter2".into());
        let shown = format!("{secret:?} {:?}", SigningKey::auth_token(&secret));
        assert_eq!(shown, "Secret(…) Some(SigningKey(…))");
    }
}
