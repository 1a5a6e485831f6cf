//! The address of a client, as Envoy determines it by its own settings for trusted hops.

use std::net::{IpAddr, SocketAddr};

/// A client's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    address: Shown,
    /// What a rate limit counts by: an IPv4 address, or the /64 of an IPv6 address, since one
    /// customer has all 2^64 addresses of a /64.
    pub counted: [u8; 8],
}

/// An address that becomes text only when it is logged, which is rare.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Address(IpAddr),
    Other(String),
}

impl ClientAddress {
    /// Returns the address without its port, for the log.
    pub fn shown(&self) -> String {
        match &self.address {
            Shown::Address(address) => address.to_string(),
            Shown::Other(text) => text.clone(),
        }
    }

    /// Parses Envoy's `source.address`: `1.2.3.4:5` or `[v6]:5`. Anything else, as from a
    /// listener without addresses, counts as one client.
    pub fn from_source_address(source: &[u8]) -> ClientAddress {
        let text = String::from_utf8_lossy(source);
        let address = match text.parse::<SocketAddr>() {
            Ok(socket) => Some(socket.ip()),
            Err(_) => text.parse::<IpAddr>().ok(),
        };
        match address.map(|address| address.to_canonical()) {
            Some(address) => ClientAddress {
                address: Shown::Address(address),
                counted: counted(address),
            },
            None => ClientAddress {
                address: Shown::Other(text.chars().take(64).collect()),
                counted: [0; 8],
            },
        }
    }
}

fn counted(address: IpAddr) -> [u8; 8] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            // No /64 in use starts like this: ::/8 is reserved.
            [0, 0, 0, 4, a, b, c, d]
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, ..] = address.octets();
            [a, b, c, d, e, f, g, h]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn client(source: &str) -> ClientAddress {
        ClientAddress::from_source_address(source.as_bytes())
    }

    #[test]
    fn the_port_does_not_count() {
        assert_eq!(client("1.2.3.4:5"), client("1.2.3.4:6"));
        assert_eq!(client("1.2.3.4:5").shown(), "1.2.3.4");
        assert_ne!(client("1.2.3.4:5").counted, client("1.2.3.5:5").counted);
    }

    #[test]
    fn an_ipv6_address_counts_by_its_64() {
        let first = client("[2001:db8:1:2::1]:5");
        assert_eq!(first.shown(), "2001:db8:1:2::1");
        assert_eq!(first.counted, client("[2001:db8:1:2:ffff::9]:5").counted);
        assert_ne!(first.counted, client("[2001:db8:1:3::1]:5").counted);
    }

    #[test]
    fn an_ipv4_address_written_as_ipv6_is_the_same_client() {
        assert_eq!(client("[::ffff:1.2.3.4]:5"), client("1.2.3.4:5"));
    }

    #[test]
    fn what_is_no_address_counts_as_one_client() {
        assert_eq!(client("/run/envoy.sock").counted, client("").counted);
        assert_eq!(client(&"x".repeat(1000)).shown().len(), 64);
    }
}
