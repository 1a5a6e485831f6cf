//! Replies on their way: one task takes them from the outbox, one after the other, and sends each until Twilio takes it,
//! refuses it, or it was tried [`MOST_ATTEMPTS`] times.
//!
//! Twilio's API has no idempotency key. Where it is not known whether Twilio took a reply, it is sent again, since a
//! confirmation that comes twice is better than one that does not come. That can happen
//!
//! - if the process is killed after Twilio took the reply and before that is on disk: once for each kill, and to one
//!   reply, because one is sent at a time;
//! - if the connection breaks, or the time is up, after Twilio took the reply and before its answer is here.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::log;
use crate::store::outbox::{Attempt, LONGEST_PAUSE, Next, Reply};
use crate::store::{Store, StoreError};
use crate::twilio::{Answer, Twilio};

/// With the pauses between them, this is a quarter of an hour.
pub const MOST_ATTEMPTS: u32 = 20;

/// Pauses double up to so many times the first one.
const MOST_DOUBLED: u32 = 60;

/// How long to wait after an error of the database.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// Sends replies until `stop` holds `true`; the one in hand is finished first.
pub async fn run(
    store: Store,
    twilio: Twilio,
    backoff: Duration,
    mut stop: watch::Receiver<bool>,
) -> Result<(), StoreError> {
    let mut recovered = false;
    // A limit of Twilio's is for the account, so it holds up everybody's replies.
    let mut held_until: Option<Instant> = None;
    while !*stop.borrow() {
        if let Some(until) = held_until.take() {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            continue;
        }
        if !recovered {
            match store.recover_replies().await {
                Ok(0) => recovered = true,
                Ok(count) => {
                    recovered = true;
                    log::line(format_args!(
                        "{count} replies were cut off while being sent, and go again"
                    ));
                }
                Err(StoreError::Closed) => return Err(StoreError::Closed),
                Err(error) => held_until = Some(database_failed(&error)),
            }
            continue;
        }
        match store.next_reply().await {
            Ok(Next::Send(reply)) => {
                let (attempt, hold) = attempt(&twilio, &reply, backoff).await;
                record(&store, reply.id, attempt, &stop).await?;
                held_until = hold.map(|pause| Instant::now() + pause);
            }
            Ok(Next::Wait(pause)) => tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = store.wait_for_reply() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            },
            Ok(Next::Nothing) => tokio::select! {
                () = store.wait_for_reply() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            },
            Err(StoreError::Closed) => return Err(StoreError::Closed),
            Err(error) => {
                // Where the connection broke, a reply may be marked as being sent that nobody sends.
                recovered = false;
                held_until = Some(database_failed(&error));
            }
        }
    }
    Ok(())
}

fn database_failed(error: &StoreError) -> Instant {
    log::line(format_args!("sending will be tried again: {error}"));
    Instant::now() + DATABASE_PAUSE
}

/// Tries once. The second value is how long everybody has to wait.
async fn attempt(twilio: &Twilio, reply: &Reply, backoff: Duration) -> (Attempt, Option<Duration>) {
    let twilio = twilio.clone();
    let answer = tokio::task::spawn_blocking({
        let reply = reply.clone();
        move || twilio.send(&reply)
    })
    .await
    .unwrap_or_else(|error| Answer::Unknown(error.to_string()));
    let attempt = decide(&answer, reply.attempts, backoff, fastrand::f64());
    let (id, attempts) = (reply.id, reply.attempts);
    match &attempt {
        Attempt::Sent(_) => log::line(format_args!("reply {id} sent at attempt {attempts}")),
        Attempt::Again(pause, error) => log::line(format_args!(
            "reply {id} will be tried again in {pause:.1?}: {error}"
        )),
        Attempt::Failed(error) => log::line(format_args!(
            "reply {id} given up after {attempts} attempts: {error}"
        )),
    }
    let hold = match (&answer, &attempt) {
        (Answer::TooMany(_), Attempt::Again(pause, _)) => Some(*pause),
        _ => None,
    };
    (attempt, hold)
}

/// What follows from an answer. `random` is from 0 to 1.
fn decide(answer: &Answer, attempts: u32, backoff: Duration, random: f64) -> Attempt {
    let (error, after) = match answer {
        Answer::Accepted(sid) => return Attempt::Sent(sid.clone()),
        Answer::Refused(error) => return Attempt::Failed(error.clone()),
        Answer::NotNow(error, after) => (error.clone(), *after),
        Answer::TooMany(after) => ("status 429".to_owned(), *after),
        Answer::Unknown(error) => (error.clone(), None),
    };
    if attempts >= MOST_ATTEMPTS {
        return Attempt::Failed(error);
    }
    let doubled = 1_u32
        .checked_shl(attempts.saturating_sub(1).min(16))
        .unwrap_or(MOST_DOUBLED);
    let full = backoff.saturating_mul(doubled.min(MOST_DOUBLED));
    // Half of it by chance, so that what failed together does not come again together.
    let pause = full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
    let pause = after.map_or(pause, |after| pause.max(after));
    Attempt::Again(pause.min(LONGEST_PAUSE), error)
}

/// Sending again because it could not be recorded would be a reply sent twice, so this goes on until it is recorded, or
/// the service is to stop.
async fn record(
    store: &Store,
    id: i64,
    attempt: Attempt,
    stop: &watch::Receiver<bool>,
) -> Result<(), StoreError> {
    loop {
        match store.record_attempt(id, attempt.clone()).await {
            Ok(()) => return Ok(()),
            Err(StoreError::Closed) => return Err(StoreError::Closed),
            Err(error) => log::line(format_args!(
                "what became of reply {id} will be recorded again: {error}"
            )),
        }
        if *stop.borrow() {
            return Ok(());
        }
        tokio::time::sleep(DATABASE_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pause(answer: &Answer, attempts: u32, random: f64) -> Duration {
        match decide(answer, attempts, SECOND, random) {
            Attempt::Again(pause, _) => pause,
            other => panic!("{other:?}"),
        }
    }

    fn broken() -> Answer {
        Answer::Unknown("reset".to_owned())
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_vary_by_half() {
        for (attempts, seconds) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (19, 60)] {
            let full = Duration::from_secs(seconds);
            assert_eq!(pause(&broken(), attempts, 1.0), full);
            assert_eq!(pause(&broken(), attempts, 0.0), full / 2);
        }
    }

    #[test]
    fn twilios_own_pause_counts_if_it_is_longer_and_within_reason() {
        let too_many = |seconds| Answer::TooMany(Some(Duration::from_secs(seconds)));
        assert_eq!(pause(&too_many(30), 1, 1.0), SECOND * 30);
        assert_eq!(pause(&too_many(0), 1, 1.0), SECOND);
        assert_eq!(pause(&too_many(u64::MAX), 1, 1.0), LONGEST_PAUSE);
        let busy = Answer::NotNow("status 503".to_owned(), Some(SECOND * 5));
        assert_eq!(pause(&busy, 1, 1.0), SECOND * 5);
    }

    #[test]
    fn a_reply_is_given_up_when_it_is_refused_or_was_tried_often_enough() {
        let refused = Answer::Refused("status 400, code 21211".to_owned());
        let failed = Attempt::Failed("status 400, code 21211".to_owned());
        assert_eq!(decide(&refused, 1, SECOND, 0.5), failed);
        let failed = Attempt::Failed("reset".to_owned());
        assert_eq!(decide(&broken(), MOST_ATTEMPTS, SECOND, 0.5), failed);
        let sent = Answer::Accepted(Some("SM1".to_owned()));
        let expected = Attempt::Sent(Some("SM1".to_owned()));
        assert_eq!(decide(&sent, MOST_ATTEMPTS + 1, SECOND, 0.5), expected);
    }
}
