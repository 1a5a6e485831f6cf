use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use support::blocking::{Server, json_answer, read_some};
use support::resp::{Client, ScriptReply};
use support::wire::{self, Received};

pub(crate) const TOKEN: &str = "AX4sASQgZDk3OTU0NTAtY2JjNC00";

/// `POST /` with a command as a list of texts and numbers, answered by a real Redis.
///
/// As Upstash documents it: 200 `{"result": …}`; 400 `{"error": "…"}` for what Redis rejects, an unknown script
/// included; 401 without the token.
pub(crate) fn start(redis: SocketAddr) -> Server {
    Server::start(move |stream| drop(serve(stream, redis)))
}

fn serve(mut stream: TcpStream, redis: SocketAddr) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        while let Some((request, length)) = wire::request(&bytes) {
            bytes.drain(..length);
            let (status, body) = answer(&request, redis);
            stream.write_all(&json_answer(status, &body.to_string()))?;
        }
        if read_some(&stream, &mut bytes)? == 0 {
            return Ok(());
        }
    }
}

fn answer(request: &Received, redis: SocketAddr) -> (u16, Value) {
    if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
        return (401, json!({"error": "Unauthorized"}));
    }
    if (request.method.as_str(), request.target.as_str()) != ("POST", "/") {
        return (
            405,
            json!({"error": "this stub has one method and one path"}),
        );
    }
    let words: Vec<Vec<u8>> = match serde_json::from_slice::<Vec<Value>>(&request.body) {
        Ok(words) => words
            .iter()
            .map(|word| match word {
                Value::String(text) => text.clone().into_bytes(),
                other => other.to_string().into_bytes(),
            })
            .collect(),
        Err(error) => return (400, json!({"error": format!("ERR {error}")})),
    };
    let reply = Client::connect(redis).and_then(|mut client| {
        client.command(&["AUTH", support::redis::REDIS_PASSWORD])?;
        client.command(&words)
    });
    match reply {
        Ok(ScriptReply::Error(error)) => (400, json!({"error": error})),
        Ok(reply) => (200, json!({"result": reply.json()})),
        Err(error) => (500, json!({"error": error.to_string()})),
    }
}
