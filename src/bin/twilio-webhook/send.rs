//! `send`: signed requests as Twilio sends them, and what comes back.

mod client;
mod load;
mod log;
mod messages;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use serde_json::json;
use twilio_webhook_filter::Secret;
use twilio_webhook_filter::companion::configuration::SigningSecret;
use twilio_webhook_filter::companion::mask;
use twilio_webhook_filter::companion::sign::{Content, SignedRequest, sign};

use crate::failure::{Ended, Failure};
use crate::input;
use crate::key::KeyArguments;
use crate::output::{Output, Style};
use crate::send::client::{Answer, Client};
use crate::send::log::LogTail;
use crate::send::messages::Kind;

/// Send a signed request as Twilio does, and show what comes back.
///
/// What is not given is filled in, so that it is a whole message with a new SID. The public URL is
/// what is signed; the request itself goes to --to, whatever host the URL names.
///
/// Exit status: 0 if every response is 2xx (or 101), 1 for any other, 2 if there is none.
#[derive(Args)]
pub struct Arguments {
    /// Parameters that replace or extend those of the message.
    #[arg(value_name = "NAME=VALUE", value_parser = input::parameter)]
    params: Vec<(String, String)>,
    /// The public URL, exactly as it is entered at Twilio.
    #[arg(long, env = "WEBHOOK_URL", hide_env_values = true)]
    url: String,
    /// Where to send it, such as http://127.0.0.1:10000; the URL's own host by default.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// What to send.
    #[arg(long, value_enum, default_value_t = Kind::Whatsapp)]
    kind: Kind,
    /// The account that the message names.
    #[arg(long, env = "TWILIO_ACCOUNT_SID", value_name = "SID", default_value = messages::ACCOUNT)]
    account: String,
    /// Send the parameters that are given, and no others.
    #[arg(long)]
    bare: bool,
    /// Send the parameters in the query of a GET.
    #[arg(long)]
    get: bool,
    /// Send this file in place of a generated event (with --kind json); `-` is standard input.
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// Sign with another key, as a forger would.
    #[arg(long)]
    forge: bool,
    /// Add a signed Timestamp that is this many seconds old; a negative one is ahead.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    age: Option<i64>,
    /// Send the very same request so many times, one after the other.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    repeat: u32,
    /// Send it so many times at once; with --rate, over so many connections.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=MAX_PARALLEL))]
    parallel: u32,
    /// Envoy's log, in which the filter's hint is looked up.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Send different requests, so many a second, until Ctrl-C or --duration.
    #[arg(long, value_name = "REQUESTS", value_parser = input::rate)]
    rate: Option<f64>,
    /// How long to send at --rate, in seconds.
    #[arg(long, value_name = "SECONDS", requires = "rate", value_parser = input::seconds)]
    duration: Option<Duration>,
    /// Send nothing, and print the request: as a curl command or, with --json, in its parts.
    #[arg(long, conflicts_with = "rate")]
    dry_run: bool,
    #[command(flatten)]
    key: KeyArguments,
}

/// The most requests at once: each has a thread.
const MAX_PARALLEL: i64 = 1000;

/// What signs in the place of the key that a forger does not have.
const FORGED_KEY: &str = "00000000000000000000000000000000";

pub fn run(arguments: &Arguments, out: &mut Output) -> Result<Ended, Failure> {
    let key = match arguments.forge {
        true => forged(arguments.key.shared_key.as_deref()),
        false => arguments.key.key(None)?,
    };
    let client = Client::new(arguments.to.as_deref(), &arguments.url)?;
    if let Some(rate) = arguments.rate {
        let plan = load::Plan {
            rate,
            duration: arguments.duration,
            connections: arguments.parallel,
        };
        return load::run(&plan, &client, &|| request(arguments, &key), out);
    }
    let mut request = request(arguments, &key)?;
    if arguments.dry_run {
        request.headers.insert(0, ("host", client.host.clone()));
        return dry_run(&request, &client, out);
    }
    let tail = arguments.log.as_deref().map(LogTail::open).transpose()?;
    let mut answers = Vec::new();
    for _ in 0..arguments.repeat {
        answers.extend(at_once(&client, &request, arguments.parallel));
    }
    let mut is_good = true;
    let mut values = Vec::new();
    for answer in answers {
        let answer = answer?;
        is_good &= answer.is_good();
        let hint = tail
            .as_ref()
            .and_then(|tail| tail.hint(answer.header("x-request-id")?));
        if out.json {
            values.push(value(&answer, hint.as_deref()));
        } else {
            show(&answer, hint.as_deref(), out)?;
        }
    }
    if out.json {
        out.value(&json!({"url": request.url, "answers": values}))?;
    }
    Ok(if is_good { Ended::Well } else { Ended::Badly })
}

fn dry_run(request: &SignedRequest, client: &Client, out: &mut Output) -> Result<Ended, Failure> {
    if !out.json {
        let url = format!("{}{}", client.origin, request.target);
        out.line(request.curl(&url))?;
        return Ok(Ended::Well);
    }
    let headers = request.headers.iter();
    let headers: serde_json::Map<_, _> = headers
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    out.value(&json!({
        "method": request.method, "url": request.url, "target": request.target, "headers": headers,
        "body": String::from_utf8_lossy(&request.body),
    }))?;
    Ok(Ended::Well)
}

fn forged(shared_key: Option<&str>) -> SigningSecret {
    let secret = Secret::new(FORGED_KEY.into());
    match shared_key {
        Some(id) => SigningSecret::SharedKey(secret, id.to_owned()),
        None => SigningSecret::AuthToken(secret, None),
    }
}

/// Returns a signed request with new SIDs.
fn request(arguments: &Arguments, key: &SigningSecret) -> Result<SignedRequest, Failure> {
    let content = match (&arguments.body_file, arguments.kind) {
        (Some(path), _) => Content::Hashed(input::read(path)?),
        (None, Kind::Json) => Content::Hashed(messages::event(&arguments.account).into_bytes()),
        (None, Kind::Websocket) => Content::WebSocket,
        (None, kind) => {
            let mut parameters = match arguments.bare {
                true => arguments.params.clone(),
                false => messages::with(
                    messages::parameters(kind, &arguments.account),
                    &arguments.params,
                ),
            };
            if let Some(age) = arguments.age {
                let now = i64::try_from(input::now().0 / 1000).unwrap_or(i64::MAX);
                parameters.push(("Timestamp".into(), now.saturating_sub(age).to_string()));
            }
            match arguments.get {
                true => Content::Query(parameters),
                false => Content::Parameters(parameters),
            }
        }
    };
    let mut request = sign(&arguments.url, content, key).map_err(Failure::Said)?;
    request.headers.extend(messages::headers(arguments.kind));
    Ok(request)
}

/// Sends a request so many times at once.
fn at_once(client: &Client, request: &SignedRequest, times: u32) -> Vec<Result<Answer, Failure>> {
    if times == 1 {
        return vec![client.send(request)];
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..times)
            .map(|_| scope.spawn(|| client.send(request)))
            .collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(answer) => answer,
            Err(_) => Failure::said("a sender has failed"),
        });
        joined.collect()
    })
}

fn value(answer: &Answer, hint: Option<&str>) -> serde_json::Value {
    json!({
        "status": answer.status,
        "reason": answer.reason(),
        "message": answer.message(),
        "milliseconds": answer.took.as_secs_f64() * 1000.0,
        "request_id": answer.header("x-request-id"),
        "retry_after": answer.header("retry-after"),
        "hint": hint,
    })
}

fn show(answer: &Answer, hint: Option<&str>, out: &mut Output) -> Result<(), Failure> {
    let style = match answer.is_good() {
        true => Style::Good,
        false => Style::Bad,
    };
    let reason = answer.reason().unwrap_or_default();
    let head = format!("{} {reason}", answer.status);
    let took = format!("({:.1} ms)", answer.took.as_secs_f64() * 1000.0);
    out.line(format!("{}  {took}", out.styled(style, head.trim_end())))?;
    if let Some(message) = answer.message() {
        out.line(format!("  {}", mask::visible(message.as_bytes())))?;
    }
    for name in ["x-request-id", "retry-after", "allow"] {
        if let Some(value) = answer.header(name) {
            out.line(format!("  {name}: {}", mask::visible(value.as_bytes())))?;
        }
    }
    if let Some(hint) = hint {
        out.line("  the filter's hint:")?;
        out.line(out.styled(Style::Strong, hint))?;
    }
    Ok(())
}
