//! Sending a request to a server, whatever host its URL names.

use std::io::Write as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use serde_json::Value;
use twilio_webhook_filter::companion::sign::SignedRequest;
use ureq::http;

use crate::failure::Failure;
use crate::input::read_some;

/// Longer than Twilio waits.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The longest response that is read.
const MAX_BODY: u64 = 1_048_576;

/// A server.
pub struct Client {
    agent: ureq::Agent,
    /// Scheme and host.
    pub origin: String,
    /// The host that the public URL names.
    pub host: String,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    body: Option<Value>,
    pub took: Duration,
}

impl Client {
    /// Returns a client of the server at `to` or, without one, of the one that the URL names.
    pub fn new(to: Option<&str>, url: &str) -> Result<Client, Failure> {
        let (_, host) = split(
            url,
            "a URL with its scheme, such as https://orders.example.com/webhook",
        )?;
        let (scheme, authority) = match to {
            Some(to) if to.contains("://") => split(to, "")?,
            Some(to) => ("http".to_owned(), to.trim_end_matches('/').to_owned()),
            None => split(url, "")?,
        };
        let scheme = match scheme.as_str() {
            "http" | "ws" => "http",
            "https" | "wss" => "https",
            _ => {
                return Failure::expected(
                    "an address that begins with http:// or https:// behind --to",
                );
            }
        };
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(TIMEOUT))
            .build();
        Ok(Client {
            agent: agent.into(),
            origin: format!("{scheme}://{authority}"),
            host,
        })
    }

    /// Sends a request.
    pub fn send(&self, request: &SignedRequest) -> Result<Answer, Failure> {
        let started = Instant::now();
        if request.url.starts_with("ws") {
            return self.shake_hands(request, started);
        }
        let uri = format!("{}{}", self.origin, request.target);
        let mut message = http::Request::builder().method(request.method).uri(&uri);
        message = message.header("host", &self.host);
        for (name, value) in &request.headers {
            message = message.header(*name, value);
        }
        let problem =
            |what: String| Failure::Said(format!("no answer from {}: {what}", self.origin));
        let sent = match request.method {
            "GET" => {
                let message = message
                    .body(())
                    .map_err(|error| problem(error.to_string()))?;
                self.agent.run(message)
            }
            _ => {
                let message = message.body(request.body.clone());
                self.agent
                    .run(message.map_err(|error| problem(error.to_string()))?)
            }
        };
        let mut response = sent.map_err(|error| problem(error.to_string()))?;
        let headers = response.headers().iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        let headers = headers.collect();
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MAX_BODY);
        let body = body.read_to_vec().unwrap_or_default();
        Ok(Answer {
            status,
            headers,
            body: serde_json::from_slice(&body).ok(),
            took: started.elapsed(),
        })
    }

    /// Opens a WebSocket, and reads the answer to its handshake: ureq knows none.
    fn shake_hands(&self, request: &SignedRequest, started: Instant) -> Result<Answer, Failure> {
        let problem =
            |what: String| Failure::Said(format!("no answer from {}: {what}", self.origin));
        let Some(authority) = self.origin.strip_prefix("http://") else {
            return Failure::expected(
                "an address that begins with http:// behind --to: a WebSocket is opened without TLS, \
                 at Envoy itself",
            );
        };
        let address = match authority.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            _ => format!("{authority}:80"),
        };
        let talk = || -> std::io::Result<Vec<u8>> {
            let address = address.to_socket_addrs()?.next();
            let address = address.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
            let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            let mut head = format!(
                "{} {} HTTP/1.1\r\nhost: {}\r\n",
                request.method, request.target, self.host
            );
            for (name, value) in &request.headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            stream.write_all(head.as_bytes())?;
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            while !is_complete(&bytes) && bytes.len() < MAX_BODY as usize {
                match read_some(&stream, &mut buffer)? {
                    0 => break,
                    length => bytes.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                }
            }
            Ok(bytes)
        };
        let bytes = talk().map_err(|error| problem(error.to_string()))?;
        let (head, body) = split_head(&bytes).ok_or_else(|| problem("it hung up".into()))?;
        let head = String::from_utf8_lossy(head).into_owned();
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Ok(Answer {
            status: status.ok_or_else(|| problem("it is not HTTP".into()))?,
            headers: headers.collect(),
            body: serde_json::from_slice(body).ok(),
            took: started.elapsed(),
        })
    }
}

/// Returns whether all of an answer is there that its head announces.
fn is_complete(bytes: &[u8]) -> bool {
    let Some((head, body)) = split_head(bytes) else {
        return false;
    };
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse::<usize>().ok());
    body.len() >= length.unwrap_or_default()
}

fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
    Some((bytes.get(..end)?, bytes.get(end + 4..)?))
}

/// Returns the scheme, in lower case, and the host of a URL.
fn split(url: &str, expected: &str) -> Result<(String, String), Failure> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Failure::expected(expected);
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    Ok((scheme.to_ascii_lowercase(), host.to_owned()))
}

impl Answer {
    /// Returns whether the request was taken.
    pub fn is_good(&self) -> bool {
        matches!(self.status, 200..=299 | 101)
    }

    /// Returns a header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let own = self.headers.iter().find(|(own, _)| own == name);
        own.map(|(_, value)| value.as_str())
    }

    /// Returns the filter's reason.
    pub fn reason(&self) -> Option<&str> {
        self.body.as_ref()?.get("error")?.as_str()
    }

    /// Returns the filter's sentence.
    pub fn message(&self) -> Option<&str> {
        self.body.as_ref()?.get("message")?.as_str()
    }
}
