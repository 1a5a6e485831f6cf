//! HTTP messages as bytes: what a test sends, what Envoy answers, what the upstream received.

use std::fmt;

use serde_json::Value;

/// A header as it is on the wire: names keep their case, values need not be UTF-8.
pub type Header = (Vec<u8>, Vec<u8>);

/// A request that a test sends. Nothing is added but `host` and `content-length`, where they are missing.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub target: Vec<u8>,
    pub headers: Vec<Header>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.as_ref().to_vec(),
            headers: vec![(b"host".to_vec(), b"orders.example.com".to_vec())],
            body: Vec::new(),
        }
    }

    /// Adds a header after those of the same name.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.as_bytes().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name.as_bytes()));
        self
    }

    /// Replaces every header of that name by one.
    pub fn with(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).header(name, value)
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self
            .headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.as_slice())
    }

    /// The head, with `framing` (a header line without its end) last.
    fn head(&self, framing: Option<&str>) -> Vec<u8> {
        let mut head = [self.method.as_bytes(), b" ", &self.target, b" HTTP/1.1\r\n"].concat();
        for (name, value) in &self.headers {
            head.extend([name.as_slice(), b": ", value, b"\r\n"].concat());
        }
        if let Some(line) = framing {
            head.extend(format!("{line}\r\n").as_bytes());
        }
        head.extend(b"\r\n");
        head
    }

    /// With `content-length` (unless there is one, or neither a body nor a method that has one).
    pub fn bytes(&self) -> Vec<u8> {
        let needless = self.get("content-length").is_some()
            || self.get("transfer-encoding").is_some()
            || (self.body.is_empty() && self.method == "GET");
        let length = format!("content-length: {}", self.body.len());
        let mut bytes = self.head((!needless).then_some(length.as_str()));
        bytes.extend(&self.body);
        bytes
    }

    /// Chunked, the head and each chunk by itself; `size` is the length of a chunk.
    pub fn chunks(&self, size: usize) -> Vec<Vec<u8>> {
        let mut pieces = vec![self.head(Some("transfer-encoding: chunked"))];
        for chunk in self.body.chunks(size) {
            pieces.push([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        }
        pieces.push(b"0\r\n\r\n".to_vec());
        pieces
    }
}

/// An answer. Header names are in lower case.
#[derive(Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header that occurs once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name);
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} occurs twice in {self:?}");
        Some(std::str::from_utf8(&value.1).expect("a header of ours is UTF-8"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The `error` of a rejection, or the empty string: a short name for what happened.
    pub fn reason(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// A request as the upstream received it.
#[derive(Clone)]
pub struct Received {
    pub method: String,
    pub target: String,
    /// In order, as on the wire.
    pub headers: Vec<Header>,
    pub body: Vec<u8>,
}

impl Received {
    /// All values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let same = self
            .headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
        same.map(|(_, value)| value.as_slice()).collect()
    }

    /// The value of a header that occurs once, and `None` where it is absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [] => None,
            [value] => Some(std::str::from_utf8(value).expect("UTF-8")),
            _ => panic!("{name} occurs twice in {self:?}"),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        let text = String::from_utf8_lossy(&bytes);
        f.write_str(&text.chars().take(2000).collect::<String>())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {}", String::from_utf8_lossy(value))?;
        }
        write!(f, "\n{}", self.text())
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.method, self.target)?;
        for (name, value) in &self.headers {
            let text = |bytes| String::from_utf8_lossy(bytes);
            writeln!(f, "{}: {}", text(name.as_slice()), text(value))?;
        }
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "\n{}", body.chars().take(2000).collect::<String>())
    }
}

/// First line and headers of a message.
pub struct Head {
    pub start: Vec<u8>,
    pub headers: Vec<Header>,
    /// Length in bytes, the empty line included.
    pub length: usize,
}

impl Head {
    fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self
            .headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.as_slice())
    }

    fn length_of_body(&self) -> Option<usize> {
        let value = self.get("content-length")?;
        Some(
            std::str::from_utf8(value)
                .expect("digits")
                .trim()
                .parse()
                .expect("a number"),
        )
    }

    fn is_chunked(&self) -> bool {
        self.get("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"))
    }
}

/// The head of a message, once it is complete.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut lines = bytes[..end]
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let start = lines.next().unwrap_or_default().to_vec();
    let headers = lines
        .map(|line| {
            let colon = line
                .iter()
                .position(|byte| *byte == b':')
                .expect("a header line has a colon");
            (
                line[..colon].to_vec(),
                line[colon + 1..].trim_ascii().to_vec(),
            )
        })
        .collect();
    Some(Head {
        start,
        headers,
        length: end + 4,
    })
}

/// The body of a chunked message and the length of its coded form, once it is complete.
fn unchunk(mut bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let whole = bytes.len();
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end])
            .expect("a chunk size")
            .split(';')
            .next()?
            .trim();
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        bytes = &bytes[end + 2..];
        if size == 0 {
            break;
        }
        body.extend(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
    // Trailers, up to an empty line.
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        bytes = &bytes[end + 2..];
        if end == 0 {
            return Some((body, whole - bytes.len()));
        }
    }
}

/// A complete request at the start of `bytes`, and its length.
pub fn request(bytes: &[u8]) -> Option<(Received, usize)> {
    let head = head(bytes)?;
    let rest = &bytes[head.length..];
    let (body, length) = if head.get("upgrade").is_some() {
        // What follows the head is another protocol.
        (Vec::new(), 0)
    } else if head.is_chunked() {
        unchunk(rest)?
    } else {
        let length = head.length_of_body().unwrap_or(0);
        (rest.get(..length)?.to_vec(), length)
    };
    let start = String::from_utf8_lossy(&head.start).into_owned();
    let mut words = start.split(' ');
    let received = Received {
        method: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    Some((received, head.length + length))
}

/// A complete response at the start of `bytes`, and its length; `closed`: nothing more will come.
pub fn response(bytes: &[u8], closed: bool) -> Option<(Response, usize)> {
    let head = head(bytes)?;
    let rest = &bytes[head.length..];
    let status = String::from_utf8_lossy(&head.start);
    let status: u16 = status
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .expect("a status line");
    let (body, length) = if status < 200 || status == 204 || status == 304 {
        (Vec::new(), 0)
    } else if head.is_chunked() {
        unchunk(rest)?
    } else if let Some(length) = head.length_of_body() {
        (rest.get(..length)?.to_vec(), length)
    } else if closed {
        (rest.to_vec(), rest.len())
    } else {
        return None;
    };
    let lower =
        |(name, value): Header| (String::from_utf8_lossy(&name).to_ascii_lowercase(), value);
    let headers = head.headers.into_iter().map(lower).collect();
    Some((
        Response {
            status,
            headers,
            body,
        },
        head.length + length,
    ))
}
