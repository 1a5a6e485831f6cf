//! Replies, and what became of them.
//!
//! A reply is written in the transaction of the change that it tells of, so there is none without the other. It is
//! marked `sending` before Twilio hears of it and `sent` or `failed` afterwards. What is still `sending` when the
//! service starts was cut off in between, and whether Twilio took it is not known; it is sent again.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, params};

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
        self.call(|connection| {
            connection.execute(
                "UPDATE replies SET state = 'waiting' WHERE state = 'sending'",
                [],
            )
        })
        .await
    }

    /// Takes the next reply that is due. One customer's replies go in order: while one waits for another attempt, those
    /// behind it wait too, and other customers' do not.
    pub async fn next_reply(&self) -> Result<Next, StoreError> {
        self.call(|connection| next(connection, now())).await
    }

    /// Records how an attempt ended.
    pub async fn record_attempt(&self, id: i64, attempt: Attempt) -> Result<(), StoreError> {
        self.call(move |connection| record(connection, id, &attempt, now()))
            .await
    }

    /// Waits until a reply was queued, or returns at once if one was since the last call. One task at a time may wait.
    pub async fn wait_for_reply(&self) {
        self.queued.notified().await;
    }

    pub(super) fn reply_queued(&self) -> Arc<tokio::sync::Notify> {
        Arc::clone(&self.queued)
    }
}

/// Puts a reply in the outbox: to be sent, or only to be looked at.
pub fn queue(connection: &Connection, reply: &NewReply, sends: bool) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO replies (message_id, order_id, sender, recipient, body, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            reply.message,
            reply.order,
            reply.sender,
            reply.recipient,
            reply.body,
            if sends { "waiting" } else { "recorded" },
        ])?;
    Ok(())
}

/// Keeps what a status callback says, unless a later one was here first.
pub fn delivery(
    connection: &Connection,
    sid: &str,
    status: &str,
    error_code: Option<&str>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO deliveries (sid, status, progress, error_code) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (sid) DO UPDATE SET status = ?2, progress = ?3, error_code = ?4,
                 updated_at = strftime('%Y-%m-%dT%H:%M:%fZ')
             WHERE excluded.progress > progress",
        )?
        .execute(params![sid, status, progress(status), error_code])?;
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

fn next(connection: &mut Connection, now: i64) -> rusqlite::Result<Next> {
    let found = connection
        .prepare_cached(
            "SELECT id, sender, recipient, body, attempts, next_attempt_at FROM replies
             WHERE state = 'waiting' AND NOT EXISTS (
                 SELECT 1 FROM replies AS earlier
                 WHERE earlier.state IN ('waiting', 'sending')
                     AND earlier.recipient = replies.recipient AND earlier.id < replies.id)
             ORDER BY next_attempt_at, id LIMIT 1",
        )?
        .query_row([], |row| {
            let reply = Reply {
                id: row.get(0)?,
                sender: row.get(1)?,
                recipient: row.get(2)?,
                body: row.get(3)?,
                attempts: row.get::<_, u32>(4)?.saturating_add(1),
            };
            Ok((reply, row.get::<_, i64>(5)?))
        })
        .optional()?;
    let Some((reply, due)) = found else {
        return Ok(Next::Nothing);
    };
    let early = due.saturating_sub(now);
    if early > 0 && early <= milliseconds(LONGEST_PAUSE) {
        let early = u64::try_from(early).unwrap_or_default();
        return Ok(Next::Wait(Duration::from_millis(early)));
    }
    connection
        .prepare_cached("UPDATE replies SET state = 'sending', attempts = ?2 WHERE id = ?1")?
        .execute(params![reply.id, reply.attempts])?;
    Ok(Next::Send(reply))
}

fn record(
    connection: &mut Connection,
    id: i64,
    attempt: &Attempt,
    now: i64,
) -> rusqlite::Result<()> {
    match attempt {
        Attempt::Sent(sid) => connection
            .prepare_cached(
                "UPDATE replies SET state = 'sent', sid = ?2, error = NULL,
                     sent_at = strftime('%Y-%m-%dT%H:%M:%fZ') WHERE id = ?1",
            )?
            .execute(params![id, sid])?,
        Attempt::Again(pause, error) => connection
            .prepare_cached(
                "UPDATE replies SET state = 'waiting', next_attempt_at = ?2, error = ?3
                 WHERE id = ?1",
            )?
            .execute(params![
                id,
                now.saturating_add(milliseconds((*pause).min(LONGEST_PAUSE))),
                error
            ])?,
        Attempt::Failed(error) => connection
            .prepare_cached("UPDATE replies SET state = 'failed', error = ?2 WHERE id = ?1")?
            .execute(params![id, error])?,
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
    use crate::store::tests::database;

    fn queue_for(connection: &Connection, recipient: &str, body: &str) {
        let reply = NewReply {
            message: None,
            order: None,
            sender: "whatsapp:+1".to_owned(),
            recipient: recipient.to_owned(),
            body: body.to_owned(),
        };
        queue(connection, &reply, true).unwrap();
    }

    fn sent(connection: &mut Connection, now: i64) -> Option<(i64, String)> {
        match next(connection, now).unwrap() {
            Next::Send(reply) => Some((reply.id, reply.body)),
            _ => None,
        }
    }

    #[test]
    fn one_customers_replies_wait_for_each_other_and_for_nobody_else() {
        let (_directory, mut connection) = database();
        for (recipient, body) in [("ana", "1"), ("ana", "2"), ("bob", "3")] {
            queue_for(&connection, recipient, body);
        }
        assert_eq!(sent(&mut connection, 1000), Some((1, "1".to_owned())));
        assert_eq!(sent(&mut connection, 1000), Some((3, "3".to_owned())));
        assert_eq!(next(&mut connection, 1000).unwrap(), Next::Nothing);

        let again = Attempt::Again(Duration::from_secs(2), "500".to_owned());
        record(&mut connection, 1, &again, 1000).unwrap();
        let wait = Next::Wait(Duration::from_millis(1500));
        assert_eq!(next(&mut connection, 1500).unwrap(), wait);
        assert_eq!(sent(&mut connection, 3000), Some((1, "1".to_owned())));
        record(&mut connection, 1, &Attempt::Failed("400".to_owned()), 3000).unwrap();
        assert_eq!(sent(&mut connection, 3000), Some((2, "2".to_owned())));
    }

    #[test]
    fn a_clock_that_was_put_back_delays_no_reply() {
        let (_directory, mut connection) = database();
        queue_for(&connection, "ana", "1");
        let day = 86_400_000;
        assert!(sent(&mut connection, 10 * day).is_some());
        let again = Attempt::Again(Duration::from_secs(30), "500".to_owned());
        record(&mut connection, 1, &again, 10 * day).unwrap();
        assert!(sent(&mut connection, 9 * day).is_some());
    }

    #[test]
    fn every_attempt_is_counted_before_it_is_made() {
        let (_directory, mut connection) = database();
        queue_for(&connection, "ana", "1");
        for expected in 1..=3 {
            let Next::Send(reply) = next(&mut connection, 0).unwrap() else {
                panic!("there is something to send");
            };
            assert_eq!(reply.attempts, expected);
            let again = Attempt::Again(Duration::ZERO, "500".to_owned());
            record(&mut connection, 1, &again, 0).unwrap();
        }
    }

    #[test]
    fn a_delivery_never_goes_backwards() {
        let (_directory, connection) = database();
        let status = || -> String {
            let sql = "SELECT status FROM deliveries WHERE sid = 'SM1'";
            connection.query_row(sql, [], |row| row.get(0)).unwrap()
        };
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
            delivery(&connection, "SM1", told, None).unwrap();
            assert_eq!(status(), kept, "after {told}");
        }
    }
}
