//! `sign`: the headers that make a request pass.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use twilio_webhook_filter::companion::mask;
use twilio_webhook_filter::companion::sign::{Content, sign};

use crate::failure::{Ended, Failure};
use crate::input;
use crate::key::KeyArguments;
use crate::output::{Output, complain};

/// Print the headers that make a request pass, one a line: `… | curl -H @- …` sends them.
///
/// The URL of JSON, of a GET with parameters and of a WebSocket is another one than the one that
/// is given. It is printed on standard error, and with --json and --curl.
#[derive(Args)]
pub struct Arguments {
    /// The URL, exactly as it is entered at Twilio.
    url: String,
    /// A parameter, as often as there are parameters.
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = input::parameter)]
    params: Vec<(String, String)>,
    /// The body: a form as it is spelled, or JSON, by how it begins (see --as).
    #[arg(long, value_name = "TEXT", conflicts_with = "params")]
    body: Option<String>,
    /// The body from a file; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["params", "body"])]
    body_file: Option<PathBuf>,
    /// What the body is: a form, whose parameters are signed, or anything else, whose hash is.
    #[arg(long = "as", value_name = "KIND")]
    kind: Option<Kind>,
    /// Send the parameters in the query of a GET.
    #[arg(long, conflicts_with_all = ["body", "body_file", "websocket"])]
    get: bool,
    /// Sign the handshake of a WebSocket: Media Streams, ConversationRelay.
    #[arg(long, conflicts_with_all = ["params", "body", "body_file"])]
    websocket: bool,
    /// Print a curl command in place of the headers.
    #[arg(long)]
    curl: bool,
    /// Say which string was signed.
    #[arg(long)]
    show_string: bool,
    #[command(flatten)]
    key: KeyArguments,
}

/// What a body is.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Parameters.
    Form,
    /// JSON, or anything else that is no form.
    Json,
}

pub fn run(arguments: &Arguments, out: &mut Output) -> Result<Ended, Failure> {
    let content = content(arguments)?;
    let signed = sign(&arguments.url, content, &arguments.key.key(None)?);
    let signed = signed.map_err(Failure::Said)?;
    let string = arguments
        .show_string
        .then(|| mask::visible(&signed.message));
    if out.json {
        let headers: serde_json::Map<_, _> = signed
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let mut value = json!({"method": signed.method, "url": signed.url, "headers": headers});
        if let (Some(string), Some(fields)) = (string, value.as_object_mut()) {
            fields.insert("string".into(), json!(string));
        }
        out.value(&value)?;
        return Ok(Ended::Well);
    }
    if arguments.curl {
        out.line(signed.curl(&signed.url))?;
    } else {
        for (name, value) in &signed.headers {
            out.line(format!("{name}: {value}"))?;
        }
        let given = arguments.url.split('#').next().unwrap_or_default();
        if signed.url != given {
            out.flush()?;
            complain(&format!(
                "the URL that is signed, and to be called: {}",
                signed.url
            ))?;
        }
    }
    if let Some(string) = string {
        out.flush()?;
        complain(&format!("the string that is signed: {string}"))?;
    }
    Ok(Ended::Well)
}

fn content(arguments: &Arguments) -> Result<Content, Failure> {
    if arguments.websocket {
        return Ok(Content::WebSocket);
    }
    let body = match (&arguments.body, &arguments.body_file) {
        (Some(text), _) => Some(text.clone().into_bytes()),
        (None, Some(path)) => Some(input::read(path)?),
        (None, None) => None,
    };
    let Some(body) = body else {
        let params = arguments.params.clone();
        return Ok(match (arguments.get, params.is_empty()) {
            (true, _) => Content::Query(params),
            (false, true) => Content::Nothing,
            (false, false) => Content::Parameters(params),
        });
    };
    let begins_as_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    let kind = match arguments.kind {
        Some(kind) => kind,
        None if begins_as_json => Kind::Json,
        None => Kind::Form,
    };
    Ok(match kind {
        Kind::Json => Content::Hashed(body),
        Kind::Form => {
            let is_form = body.iter().all(|byte| byte.is_ascii_graphic());
            if !is_form {
                return Failure::expected(
                    "a form as it is sent (Body=2+tacos&From=%2B1…), found a blank, a line break or \
                     another byte that is escaped in one; --param does the escaping, and --as json \
                     signs the hash of any other body",
                );
            }
            Content::Form(body)
        }
    })
}
