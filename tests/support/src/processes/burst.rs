//! Requests that are sent at the same moment, over connections that are spread over Envoy's workers.

use std::io::{self, Write as _};
use std::net::{IpAddr, TcpStream};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use super::blocking::read_response;
use super::counts;
use super::envoy::{Envoy, Test};
use super::http1::{self, PATIENCE};
use super::messages::message;
use super::wire::{Request, Response};

/// How many requests are sent at once.
pub const CONNECTIONS: usize = 16;
/// How many workers an Envoy needs for [`spread`].
pub const WORKERS: u32 = 4;

/// Open connections from one address, spread over the workers.
///
/// On one worker alone requests follow each other, and nothing could race: a test would pass for nothing.
pub async fn spread(envoy: &Envoy, address: IpAddr) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..20 {
        while open.len() < CONNECTIONS {
            open.push(http1::connect(envoy.address(), address).await);
        }
        let start = std::time::Instant::now();
        loop {
            let stats = envoy.admin("/stats?filter=worker_.*downstream_cx_active");
            let counts = stats
                .lines()
                .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
            // The admin interface has workers of its own, or none: only this listener has connections.
            let counts: Vec<_> = counts.filter(|count| *count > 0).collect();
            if counts.iter().sum::<usize>() >= CONNECTIONS {
                if counts.len() == WORKERS as usize && counts.iter().all(|count| *count >= 2) {
                    return open.into_iter().map(blocking).collect();
                }
                break;
            }
            assert!(start.elapsed() < PATIENCE, "Envoy does not accept: {stats}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        // The kernel chose badly. Some others, while the rest stays open.
        open.drain(..CONNECTIONS / 2);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the kernel does not spread connections over the workers");
}

pub fn blocking(stream: tokio::net::TcpStream) -> TcpStream {
    let stream = stream.into_std().expect("a socket");
    stream.set_nonblocking(false).expect("blocking");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// So many messages, and for each a round in which every connection sends it.
pub fn identical(messages: usize, connections: usize) -> (Vec<Request>, Vec<Vec<Request>>) {
    let requests: Vec<_> = (0..messages).map(|_| message()).collect();
    let round = |request: &Request| vec![request.clone(); connections];
    let rounds = requests.iter().map(round).collect();
    (requests, rounds)
}

/// How many answers have this status and reason.
pub fn count(answers: &[(u16, String)], status: u16, reason: &str) -> usize {
    let is_one = |answer: &&(u16, String)| **answer == (status, reason.to_owned());
    answers.iter().filter(is_one).count()
}

/// Of the answers to one request, sent many times at once, one is the upstream's.
#[track_caller]
pub fn assert_one_passed(answers: &[(u16, String)]) {
    let counts = (count(answers, 200, ""), count(answers, 409, "duplicate"));
    assert_eq!(counts, (1, answers.len() - 1), "{answers:?}");
}

/// Each of these, and nothing else but what a test asks by GET: by what has arrived, and not by the answers alone.
pub fn assert_arrived_once(t: &Test<'_>, requests: &[Request]) {
    let received = t.received().into_iter();
    let posts = received.filter(|received| received.method == "POST");
    let arrived = counts(posts.map(|received| received.body));
    assert_eq!(arrived.len(), requests.len());
    for request in requests {
        assert_eq!(arrived.get(&request.body), Some(&1));
    }
}

/// Sends `rounds[i][j]` in round `i` on connection `j`, all connections of a round at the same moment. Returns
/// status and reason of each.
///
/// All but the last byte of each request is there already when the last bytes go out together, so what is
/// left to the moment is the decision itself.
pub fn burst(connections: Vec<TcpStream>, rounds: &[Vec<Request>]) -> Vec<Vec<(u16, String)>> {
    let barrier = Barrier::new(connections.len());
    // Who fails says so, and all stop at the same barrier: nobody waits there for one that has left.
    let failed = AtomicBool::new(false);
    let run = |index: usize, mut stream: TcpStream| -> io::Result<Vec<(u16, String)>> {
        let mut answers = Vec::new();
        let mut error = None;
        for round in rounds {
            let bytes = round[index].bytes();
            let (last, rest) = bytes.split_last().expect("a request");
            // Errors of writing show in reading: an answer to the head alone may be there already.
            let _ = stream.write_all(rest);
            if error.is_some() {
                failed.store(true, Ordering::SeqCst);
            }
            barrier.wait();
            if failed.load(Ordering::SeqCst) {
                break;
            }
            let _ = stream.write_all(&[*last]);
            match exchange(&mut stream) {
                Ok(answer) => answers.push((answer.status, answer.reason())),
                Err(what) => error = Some(what),
            }
        }
        error.map_or(Ok(answers), Err)
    };
    let columns: Vec<_> = std::thread::scope(|scope| {
        let run = &run;
        let spawn = |(index, stream)| scope.spawn(move || run(index, stream));
        let threads: Vec<_> = connections.into_iter().enumerate().map(spawn).collect();
        let outcomes = threads
            .into_iter()
            .map(|thread| thread.join().expect("a connection"));
        outcomes
            .collect::<io::Result<_>>()
            .expect("an answer to each request")
    });
    (0..rounds.len())
        .map(|round| {
            columns
                .iter()
                .map(|column: &Vec<_>| column[round].clone())
                .collect()
        })
        .collect()
}

/// Reads an answer, and replaces the connection where Envoy closes it.
fn exchange(stream: &mut TcpStream) -> io::Result<Response> {
    let answer = read_response(&*stream)?;
    if answer.header("connection") == Some("close") {
        let (to, from) = (stream.peer_addr()?, stream.local_addr()?.ip());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        *stream = runtime.block_on(async { blocking(http1::connect(to, from).await) });
    }
    Ok(answer)
}
