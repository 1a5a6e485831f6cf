//! Webhooks, from the moment they are accepted to the one when they are done.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;

use super::{Store, StoreError};
use crate::message::{Message, NewMessage, Parameters};
use crate::processing::Outcome;

/// What became of a message that was to be saved. Either way it is on disk now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It is stored under this id.
    New {
        /// The new row.
        id: i64,
    },
    /// Its nonce was stored before.
    Known,
}

/// A message that was just processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processed {
    /// The message.
    pub message: Message,
    /// What became of it.
    pub outcome: Outcome,
}

/// A stored message as `GET /messages` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Ascends in the order in which messages were stored.
    pub id: i64,
    /// What makes a repeat the same message.
    pub nonce: String,
    /// Twilio's name for the message, where the webhook had one.
    pub message_sid: Option<String>,
    /// What the customer wrote.
    pub body: Option<String>,
    /// RFC 3339, UTC.
    pub received_at: String,
    /// RFC 3339, UTC; absent (`null`) until it is processed.
    pub processed_at: Option<String>,
    /// What was answered, sent or not.
    pub replies: Vec<String>,
}

impl Store {
    /// Stores a message, once for each nonce. When this returns `Ok`, the message is on disk.
    pub async fn save(&self, message: NewMessage) -> Result<Saved, StoreError> {
        let saved = Arc::clone(&self.saved);
        self.call(move |connection| {
            let result = insert(connection, &message);
            // Told here and not by the caller: a request whose sender hangs up is dropped while it waits
            // for this job, and its message would lie there until the next one came.
            if matches!(result, Ok(Saved::New { .. })) {
                saved.notify_one();
            }
            result
        })
        .await
    }

    /// Waits until a message was saved, or returns at once if one was since the last call. One task at a
    /// time may wait.
    pub async fn wait_for_new(&self) {
        self.saved.notified().await;
    }

    /// Takes the oldest message that is not processed, lets `process` act on it, and marks it processed,
    /// all in one transaction: either everything that `process` wrote is there and the message is done, or
    /// nothing is and it will be taken again.
    pub async fn process_next(
        &self,
        process: impl FnOnce(&Transaction<'_>, &Message) -> rusqlite::Result<Outcome> + Send + 'static,
    ) -> Result<Option<Processed>, StoreError> {
        let queued = self.reply_queued();
        self.call(move |connection| {
            // Immediate, so that two processes on one file never take the same message.
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let Some(message) = oldest_unprocessed(&transaction)? else {
                return Ok(None);
            };
            let outcome = process(&transaction, &message)?;
            finish(&transaction, message.id, outcome)?;
            transaction.commit()?;
            queued.notify_one();
            Ok(Some(Processed { message, outcome }))
        })
        .await
    }

    /// The newest messages, newest first, `limit` at most.
    pub async fn newest(&self, limit: u32) -> Result<Vec<Listed>, StoreError> {
        self.call(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT id, nonce, message_sid, body, received_at, processed_at
                 FROM messages ORDER BY id DESC LIMIT ?1",
            )?;
            let rows = select.query_map([limit], |row| {
                Ok(Listed {
                    id: row.get(0)?,
                    nonce: row.get(1)?,
                    message_sid: row.get(2)?,
                    body: row.get(3)?,
                    received_at: row.get(4)?,
                    processed_at: row.get(5)?,
                    replies: Vec::new(),
                })
            })?;
            let mut listed: Vec<Listed> = rows.collect::<rusqlite::Result<_>>()?;
            let mut replies = connection
                .prepare_cached("SELECT body FROM replies WHERE message_id = ?1 ORDER BY id")?;
            for message in &mut listed {
                let bodies = replies.query_map([message.id], |row| row.get(0))?;
                message.replies = bodies.collect::<rusqlite::Result<_>>()?;
            }
            Ok(listed)
        })
        .await
    }

    /// Returns `Ok` if the database answers a query on the table that matters.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.call(|connection| {
            let mut select = connection.prepare_cached("SELECT id FROM messages LIMIT 1")?;
            select.exists([]).map(|_| ())
        })
        .await
    }
}

fn insert(connection: &Connection, message: &NewMessage) -> rusqlite::Result<Saved> {
    let NewMessage {
        nonce,
        account,
        content_type,
        body,
        parameters,
    } = message;
    let mut insert = connection.prepare_cached(
        "INSERT INTO messages
             (nonce, account, content_type, raw_body, message_sid, sender, body, message_status)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (nonce) DO NOTHING RETURNING id",
    )?;
    let id = insert
        .query_row(
            params![
                nonce,
                account,
                content_type,
                body,
                parameters.message_sid,
                parameters.from,
                parameters.text,
                parameters.status,
            ],
            |row| row.get(0),
        )
        .optional()?;
    Ok(match id {
        Some(id) => Saved::New { id },
        None => Saved::Known,
    })
}

fn oldest_unprocessed(connection: &Connection) -> rusqlite::Result<Option<Message>> {
    let mut select = connection.prepare_cached(
        "SELECT id, nonce, account, message_sid, sender, body, message_status, content_type, raw_body
         FROM messages WHERE processed_at IS NULL ORDER BY id LIMIT 1",
    )?;
    select
        .query_row([], |row| {
            Ok(Message {
                id: row.get(0)?,
                nonce: row.get(1)?,
                account: row.get(2)?,
                content_type: row.get(7)?,
                body: row.get(8)?,
                parameters: Parameters {
                    message_sid: row.get(3)?,
                    from: row.get(4)?,
                    text: row.get(5)?,
                    status: row.get(6)?,
                },
            })
        })
        .optional()
}

/// Whether a message with this SID was stored before this one. Its nonce differs if it was signed with another key, as
/// after a rotation; it is the same message all the same.
pub fn is_repeat(connection: &Connection, id: i64, message_sid: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM messages
             WHERE message_sid = ?2 AND message_status IS NULL AND id < ?1 LIMIT 1",
        )?
        .exists(params![id, message_sid])
}

fn finish(connection: &Connection, id: i64, outcome: Outcome) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO events (message_id, outcome) VALUES (?1, ?2)")?
        .execute(params![id, outcome.name()])?;
    connection
        .prepare_cached(
            "UPDATE messages SET processed_at = strftime('%Y-%m-%dT%H:%M:%fZ') WHERE id = ?1",
        )?
        .execute([id])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::connect;
    use crate::store::tests::{file, message};

    fn done(_: &Transaction<'_>, _: &Message) -> rusqlite::Result<Outcome> {
        Ok(Outcome::Message)
    }

    async fn process_one(store: &Store) -> Option<i64> {
        let processed = store.process_next(done).await.unwrap();
        processed.map(|processed| processed.message.id)
    }

    #[test]
    fn finding_the_oldest_unprocessed_message_reads_no_processed_ones() {
        let (_directory, path) = file();
        let connection = connect(&path).unwrap();
        let plan: String = connection
            .query_row(
                "EXPLAIN QUERY PLAN SELECT id, nonce, body FROM messages
                 WHERE processed_at IS NULL ORDER BY id LIMIT 1",
                [],
                |row| row.get(3),
            )
            .unwrap();
        assert!(plan.contains("messages_unprocessed"), "{plan}");
    }

    #[tokio::test]
    async fn what_was_saved_is_read_back_by_the_next_process_as_it_was() {
        let (_directory, path) = file();
        let store = Store::open(path.clone()).await.unwrap();
        let new = message(7);
        store.save(new.clone()).await.unwrap();
        store.close().await;

        let store = Store::open(path.clone()).await.unwrap();
        let processed = store.process_next(done).await.unwrap().unwrap();
        assert_eq!(processed.message.nonce, new.nonce);
        assert_eq!(processed.message.account, new.account);
        assert_eq!(processed.message.parameters, new.parameters);
        store.close().await;
        let raw: Vec<u8> = connect(&path)
            .unwrap()
            .query_row("SELECT raw_body FROM messages", [], |row| row.get(0))
            .unwrap();
        assert_eq!(raw, new.body);
    }

    #[tokio::test]
    async fn of_many_saves_of_one_nonce_at_once_one_stores_it() {
        let (_directory, path) = file();
        let store = Store::open(path).await.unwrap();
        let saves: Vec<_> = (0..50)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.save(message(1)).await.unwrap() })
            })
            .collect();
        let mut new = 0;
        for save in saves {
            new += usize::from(matches!(save.await.unwrap(), Saved::New { .. }));
        }
        assert_eq!(new, 1);
        assert_eq!(store.newest(100).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn messages_are_processed_once_and_in_the_order_in_which_they_were_stored() {
        let (_directory, path) = file();
        let store = Store::open(path).await.unwrap();
        // Descending nonces, so that an order by nonce would show.
        for number in [3, 2, 1] {
            store.save(message(number)).await.unwrap();
        }
        assert_eq!(process_one(&store).await, Some(1));
        assert_eq!(process_one(&store).await, Some(2));
        store.save(message(0)).await.unwrap();
        assert_eq!(process_one(&store).await, Some(3));
        assert_eq!(process_one(&store).await, Some(4));
        assert_eq!(process_one(&store).await, None);
    }

    #[tokio::test]
    async fn processing_that_fails_leaves_nothing_behind_and_the_message_comes_again() {
        let (_directory, path) = file();
        let store = Store::open(path).await.unwrap();
        store.save(message(1)).await.unwrap();
        let failed = store
            .process_next(|transaction, _| {
                transaction.execute("UPDATE messages SET body = 'half done'", [])?;
                Err(rusqlite::Error::InvalidQuery)
            })
            .await;
        assert!(failed.is_err());
        let listed = store.newest(1).await.unwrap();
        assert_eq!(listed[0].body, message(1).parameters.text);
        assert_eq!(listed[0].processed_at, None);
        assert_eq!(process_one(&store).await, Some(1));
    }

    #[tokio::test]
    async fn a_save_that_nobody_waits_for_any_more_still_wakes_the_worker() {
        let (_directory, path) = file();
        let store = Store::open(path).await.unwrap();
        // Holds the database's thread until the save has been given up.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hold = tokio::spawn({
            let store = store.clone();
            async move { store.call(move |_| Ok(held.recv().is_ok())).await }
        });
        tokio::task::yield_now().await;
        let given_up =
            tokio::time::timeout(Duration::from_millis(50), store.save(message(1))).await;
        assert!(given_up.is_err());
        release.send(()).unwrap();
        assert!(hold.await.unwrap().unwrap());

        tokio::time::timeout(Duration::from_secs(10), store.wait_for_new())
            .await
            .expect("the worker was not told of the message");
        assert_eq!(process_one(&store).await, Some(1));
    }

    #[tokio::test]
    async fn the_newest_messages_come_first_and_no_more_than_asked_for() {
        let (_directory, path) = file();
        let store = Store::open(path).await.unwrap();
        for number in 1..=5 {
            store.save(message(number)).await.unwrap();
        }
        let listed = store.newest(3).await.unwrap();
        let ids: Vec<_> = listed.iter().map(|message| message.id).collect();
        assert_eq!(ids, [5, 4, 3]);
    }
}
