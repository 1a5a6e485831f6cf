use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// What Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptReply {
    Nil,
    Number(i64),
    /// A status or a text.
    Text(Vec<u8>),
    Error(String),
    List(Vec<ScriptReply>),
}

impl ScriptReply {
    pub fn text(&self) -> String {
        match self {
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("not a text: {other:?}"),
        }
    }

    pub fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            other => panic!("not a number: {other:?}"),
        }
    }

    pub fn list(self) -> Vec<Self> {
        match self {
            Self::List(list) => list,
            other => panic!("not a list: {other:?}"),
        }
    }

    /// As a service that speaks JSON tells it.
    pub fn json(&self) -> Value {
        match self {
            Self::Nil => Value::Null,
            Self::Number(number) => json!(number),
            Self::Text(bytes) => json!(String::from_utf8_lossy(bytes)),
            Self::Error(error) => json!(error),
            Self::List(list) => list.iter().map(Self::json).collect(),
        }
    }
}

/// A connection to Redis.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    pub fn command(&mut self, words: &[impl AsRef<[u8]>]) -> io::Result<ScriptReply> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words.iter().map(AsRef::as_ref) {
            bytes.extend(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend(word);
            bytes.extend(b"\r\n");
        }
        self.stream.get_mut().write_all(&bytes)?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<ScriptReply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = line.trim_end().split_at(1);
        let number = || rest.parse::<i64>().map_err(io::Error::other);
        Ok(match kind {
            "+" => ScriptReply::Text(rest.as_bytes().to_vec()),
            "-" => ScriptReply::Error(rest.to_owned()),
            ":" => ScriptReply::Number(number()?),
            "$" | "*" if number()? < 0 => ScriptReply::Nil,
            "$" => {
                let mut bytes = vec![0; number()? as usize + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                ScriptReply::Text(bytes)
            }
            "*" => {
                let items = (0..number()?).map(|_| self.reply());
                ScriptReply::List(items.collect::<io::Result<_>>()?)
            }
            _ => return Err(io::Error::other(format!("no reply of Redis: {line:?}"))),
        })
    }
}
