//! Sends signed WhatsApp messages to one server after the other, is the upstream behind them, and reads how much
//! processor time the servers took. `scripts/bench` starts it and tells it what to do.
//!
//! usage: `load yaml FILE` prints a YAML file as JSON; `load run` takes one [`Slice`] a line from standard input and
//! answers each with one line. The first line that it prints is the upstream's address.

mod cpu;
mod http;
mod message;
mod sender;
mod upstream;

use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use serde::Deserialize;
use serde_json::{Value, json};

use cpu::Clocks;
use message::{Account, Kind};
use sender::Sender;
use upstream::{FIRST_TOKEN, Upstream};

/// Nothing here takes so long, unless an answer never comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A short time of sending to one server.
#[derive(Deserialize)]
struct Slice {
    to: SocketAddr,
    account: Account,
    kind: Kind,
    /// The number of the first message; the others follow it.
    first: u64,
    /// So many are sent and not counted, to find the server as warm as one in use.
    warm: usize,
    count: usize,
    connections: usize,
    /// The status of every answer.
    expected: u16,
    /// Whether each of them comes to the upstream; else none does.
    passes: bool,
    /// The processes whose time is taken.
    pids: Vec<i32>,
    /// So long the connections are open before anything is sent.
    #[serde(default)]
    settle_ms: u64,
    /// Whether to tell each latency, in order, and not only how they are spread.
    #[serde(default)]
    each: bool,
}

/// Both ends of the servers.
struct Ends {
    poll: Poll,
    events: Events,
    upstream: Upstream,
}

impl Ends {
    fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let upstream = Upstream::start(poll.registry())?;
        Ok(Self {
            poll,
            events: Events::with_capacity(256),
            upstream,
        })
    }

    fn run(&mut self, slice: &Slice) -> Result<Value, String> {
        let messages = Messages::prepare(slice);
        let (warm, counted) = messages.indices.split_at(slice.warm);
        let clocks = Clocks::of(&slice.pids)?;
        let mut sender = Sender::connect(
            slice.to,
            slice.connections,
            slice.expected,
            self.poll.registry(),
        )?;
        std::thread::sleep(Duration::from_millis(slice.settle_ms));
        self.send(&mut sender, &messages, warm)?;
        sender.latencies.clear();
        sender.reconnected = 0;

        let (received, started, before) = (
            self.upstream.received,
            Instant::now(),
            clocks.nanoseconds()?,
        );
        self.send(&mut sender, &messages, counted)?;
        let (after, took) = (clocks.nanoseconds()?, started.elapsed());

        let received = (self.upstream.received - received) as usize;
        let expected = if slice.passes { counted.len() } else { 0 };
        if received != expected {
            return Err(format!(
                "the upstream got {received} requests instead of {expected} through {}",
                slice.to
            ));
        }
        let mut latencies = sender.latencies;
        let each = slice
            .each
            .then(|| latencies.iter().map(Duration::as_nanos).collect::<Vec<_>>());
        latencies.sort_unstable();
        let quantile = |part: f64| {
            latencies[((latencies.len() - 1) as f64 * part).round() as usize].as_nanos()
        };
        Ok(json!({
            "answers": latencies.len(),
            "cpu_ns": after - before,
            "wall_ns": took.as_nanos(),
            "p50_ns": quantile(0.5),
            "p99_ns": quantile(0.99),
            "reconnected": sender.reconnected,
            "each_ns": each,
        }))
    }

    /// Sends the messages at `places`, as many at a time as there are connections, until all are answered.
    fn send(
        &mut self,
        sender: &mut Sender,
        messages: &Messages,
        indices: &[std::ops::Range<usize>],
    ) -> Result<(), String> {
        let mut next = indices.iter().map(|index| &messages.wire[index.clone()]);
        for (index, message) in sender.indices().zip(next.by_ref()) {
            sender.send(index, message, self.poll.registry())?;
        }
        while sender.is_waiting() {
            match self.poll.poll(&mut self.events, Some(PATIENCE)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(|error| error.to_string())?,
            }
            if self.events.is_empty() {
                return Err(format!("no answer in {PATIENCE:?}"));
            }
            for event in &self.events {
                let index = event.token().0;
                if index >= FIRST_TOKEN {
                    self.upstream.handle(event, self.poll.registry())?;
                } else if sender.receive(index)?
                    && let Some(message) = next.next()
                {
                    sender.send(index, message, self.poll.registry())?;
                }
            }
        }
        Ok(())
    }
}

/// The messages of one slice in memory, so that making them takes none of the time that is measured.
struct Messages {
    wire: Vec<u8>,
    indices: Vec<std::ops::Range<usize>>,
}

impl Messages {
    fn prepare(slice: &Slice) -> Self {
        let mut wire = Vec::new();
        let numbers = (slice.first..).take(slice.warm + slice.count);
        let index = |number| {
            let start = wire.len();
            message::write(&slice.account, slice.kind, number, &mut wire);
            start..wire.len()
        };
        let indices = numbers.map(index).collect();
        Self { wire, indices }
    }
}

fn say(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

fn run() -> io::Result<()> {
    let mut ends = Ends::new()?;
    say(&json!({"upstream": ends.upstream.address()?.port()}))?;
    for line in io::stdin().lock().lines() {
        let slice = serde_json::from_str(&line?).map_err(|error| error.to_string());
        let answer = slice.and_then(|slice| ends.run(&slice));
        say(&answer.unwrap_or_else(|error| json!({"error": error})))?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run"] => run()?,
        ["yaml", file] => {
            let value: Value = yaml_serde::from_str(&std::fs::read_to_string(file)?)?;
            println!("{value}");
        }
        _ => return Err("usage: load run | load yaml FILE".into()),
    }
    Ok(())
}
