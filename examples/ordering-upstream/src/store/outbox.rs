//! Replies, and what became of them.
//!
//! A reply is written in the transaction of the change that it tells of, so there is none without the other. It is
//! marked `sending` before Twilio hears of it and `sent` or `failed` afterwards. What is still `sending` when the
//! service starts was cut off in between, and whether Twilio took it is not known; it is sent again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::database::Statements;
use super::{Store, StoreError};

/// No reply waits longer than this for its next attempt. One that seems to was scheduled by a clock that has been put
/// back since.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A reply that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReply {
    /// The message that it answers.
    pub message: Option<i64>,
    /// The order that it speaks of.
    pub order: Option<i64>,
    /// Our number.
    pub sender: String,
    /// The customer's.
    pub recipient: String,
    /// What it says.
    pub body: String,
}

/// A reply that is to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its row.
    pub id: i64,
    /// Our number.
    pub sender: String,
    /// The customer's.
    pub recipient: String,
    /// What it says.
    pub body: String,
    /// How often it was tried, this time included.
    pub attempts: u32,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send this. It is marked as being sent.
    Send(Reply),
    /// Nothing for so long, unless something new comes.
    Wait(Duration),
    /// Nothing, until something new comes.
    Nothing,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// Twilio has taken it, and calls it so.
    Sent(Option<String>),
    /// It is to be tried again after a pause.
    Again(Duration, String),
    /// It will never be sent.
    Failed(String),
}

impl Store {
    /// Makes what a stopped process left half done wait for its turn again. Returns how many replies that were.
    pub async fn recover_replies(&self) -> Result<usize, StoreError> {
        self.call(|database| {
            let recovered = database.rows(
                "UPDATE replies SET state = 'waiting' WHERE state = 'sending' RETURNING id",
                &[],
            )?;
            Ok(recovered.len())
        })
        .await
    }

    /// Takes the next reply that is due. One customer's replies go in order: while one waits for another attempt, those
    /// behind it wait too, and other customers' do not.
    pub async fn next_reply(&self) -> Result<Next, StoreError> {
        self.call(|database| next(database, now())).await
    }

    /// Records how an attempt ended.
    pub async fn record_attempt(&self, id: i64, attempt: Attempt) -> Result<(), StoreError> {
        self.call(move |database| record(database, id, &attempt, now()))
            .await
    }

    /// Waits until a reply was queued, or returns at once if one was since the last call. One task at a time may wait.
    pub async fn wait_for_reply(&self) {
        self.queued.notified().await;
    }
}

/// Puts a reply in the outbox: to be sent, or only to be looked at.
pub fn queue(
    database: &mut dyn Statements,
    reply: &NewReply,
    sends: bool,
) -> Result<(), StoreError> {
    let state = if sends { "waiting" } else { "recorded" };
    database.rows(
        "INSERT INTO replies (message_id, order_id, sender, recipient, body, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &[
            reply.message.into(),
            reply.order.into(),
            (&reply.sender).into(),
            (&reply.recipient).into(),
            (&reply.body).into(),
            state.into(),
        ],
    )?;
    Ok(())
}

/// Keeps what a status callback says, unless a later one was here first.
pub fn delivery(
    database: &mut dyn Statements,
    sid: &str,
    status: &str,
    error_code: Option<&str>,
) -> Result<(), StoreError> {
    database.rows(
        "INSERT INTO deliveries (sid, status, progress, error_code) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (sid) DO UPDATE SET status = ?2, progress = ?3, error_code = ?4,
             updated_at = {now}
         WHERE excluded.progress > deliveries.progress",
        &[
            sid.into(),
            status.into(),
            progress(status).into(),
            error_code.into(),
        ],
    )?;
    Ok(())
}

/// How far along a status is. A message that was given up can still turn out to be delivered; nothing else goes back.
fn progress(status: &str) -> i64 {
    match status {
        "accepted" | "scheduled" => 1,
        "queued" => 2,
        "sending" => 3,
        "sent" => 4,
        "failed" | "undelivered" | "canceled" => 5,
        "delivered" => 6,
        "read" => 7,
        _ => 0,
    }
}

fn next(database: &mut dyn Statements, now: i64) -> Result<Next, StoreError> {
    let found = database.first(
        "SELECT id, sender, recipient, body, attempts, next_attempt_at FROM replies
         WHERE state = 'waiting' AND NOT EXISTS (
             SELECT 1 FROM replies AS earlier
             WHERE earlier.state IN ('waiting', 'sending')
                 AND earlier.recipient = replies.recipient AND earlier.id < replies.id)
         ORDER BY next_attempt_at, id LIMIT 1",
        &[],
    )?;
    let Some(mut row) = found else {
        return Ok(Next::Nothing);
    };
    let due: i64 = row.take(5)?;
    let early = due.saturating_sub(now);
    if early > 0 && early <= milliseconds(LONGEST_PAUSE) {
        let early = u64::try_from(early).unwrap_or_default();
        return Ok(Next::Wait(Duration::from_millis(early)));
    }
    let reply = Reply {
        id: row.take(0)?,
        sender: row.take(1)?,
        recipient: row.take(2)?,
        body: row.take(3)?,
        attempts: row.take::<u32>(4)?.saturating_add(1),
    };
    database.rows(
        "UPDATE replies SET state = 'sending', attempts = ?2 WHERE id = ?1",
        &[reply.id.into(), reply.attempts.into()],
    )?;
    Ok(Next::Send(reply))
}

fn record(
    database: &mut dyn Statements,
    id: i64,
    attempt: &Attempt,
    now: i64,
) -> Result<(), StoreError> {
    match attempt {
        Attempt::Sent(sid) => database.rows(
            "UPDATE replies SET state = 'sent', sid = ?2, error = NULL, sent_at = {now}
             WHERE id = ?1",
            &[id.into(), sid.into()],
        )?,
        Attempt::Again(pause, error) => {
            let due = now.saturating_add(milliseconds((*pause).min(LONGEST_PAUSE)));
            database.rows(
                "UPDATE replies SET state = 'waiting', next_attempt_at = ?2, error = ?3
                 WHERE id = ?1",
                &[id.into(), due.into(), error.into()],
            )?
        }
        Attempt::Failed(error) => database.rows(
            "UPDATE replies SET state = 'failed', error = ?2 WHERE id = ?1",
            &[id.into(), error.into()],
        )?,
    };
    Ok(())
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    milliseconds(since.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_each;

    fn queue_for(database: &mut dyn Statements, recipient: &str, body: &str) {
        let reply = NewReply {
            message: None,
            order: None,
            sender: "whatsapp:+1".to_owned(),
            recipient: recipient.to_owned(),
            body: body.to_owned(),
        };
        queue(database, &reply, true).unwrap();
    }

    fn sent(database: &mut dyn Statements, now: i64) -> Option<(i64, String)> {
        match next(database, now).unwrap() {
            Next::Send(reply) => Some((reply.id, reply.body)),
            _ => None,
        }
    }

    #[test]
    fn one_customers_replies_wait_for_each_other_and_for_nobody_else() {
        for empty in on_each() {
            let database: &mut dyn Statements = &mut *empty.connect();
            for (recipient, body) in [("ana", "1"), ("ana", "2"), ("bob", "3")] {
                queue_for(database, recipient, body);
            }
            assert_eq!(sent(database, 1000), Some((1, "1".to_owned())));
            assert_eq!(sent(database, 1000), Some((3, "3".to_owned())));
            assert_eq!(next(database, 1000).unwrap(), Next::Nothing);

            let again = Attempt::Again(Duration::from_secs(2), "500".to_owned());
            record(database, 1, &again, 1000).unwrap();
            let wait = Next::Wait(Duration::from_millis(1500));
            assert_eq!(next(database, 1500).unwrap(), wait);
            assert_eq!(sent(database, 3000), Some((1, "1".to_owned())));
            record(database, 1, &Attempt::Failed("400".to_owned()), 3000).unwrap();
            assert_eq!(sent(database, 3000), Some((2, "2".to_owned())));
        }
    }

    #[test]
    fn a_clock_that_was_put_back_delays_no_reply() {
        for empty in on_each() {
            let database: &mut dyn Statements = &mut *empty.connect();
            queue_for(database, "ana", "1");
            let day = 86_400_000;
            assert!(sent(database, 10 * day).is_some());
            let again = Attempt::Again(Duration::from_secs(30), "500".to_owned());
            record(database, 1, &again, 10 * day).unwrap();
            assert!(sent(database, 9 * day).is_some());
        }
    }

    #[test]
    fn every_attempt_is_counted_before_it_is_made() {
        for empty in on_each() {
            let database: &mut dyn Statements = &mut *empty.connect();
            queue_for(database, "ana", "1");
            for expected in 1..=3 {
                let Next::Send(reply) = next(database, 0).unwrap() else {
                    panic!("there is something to send");
                };
                assert_eq!(reply.attempts, expected);
                let again = Attempt::Again(Duration::ZERO, "500".to_owned());
                record(database, 1, &again, 0).unwrap();
            }
        }
    }

    #[test]
    fn a_delivery_never_goes_backwards() {
        for empty in on_each() {
            let database: &mut dyn Statements = &mut *empty.connect();
            for (told, kept) in [
                ("queued", "queued"),
                ("accepted", "queued"),
                ("sent", "sent"),
                ("something new", "sent"),
                ("undelivered", "undelivered"),
                ("sent", "undelivered"),
                ("delivered", "delivered"),
                ("sent", "delivered"),
                ("failed", "delivered"),
                ("read", "read"),
                ("delivered", "read"),
            ] {
                delivery(database, "SM1", told, None).unwrap();
                let select = "SELECT status FROM deliveries WHERE sid = 'SM1'";
                let mut row = database.first(select, &[]).unwrap().unwrap();
                assert_eq!(row.take::<String>(0).unwrap(), kept, "after {told}");
            }
        }
    }
}
