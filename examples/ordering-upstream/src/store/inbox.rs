//! Webhooks, from the moment they are accepted to the one when they are done.

use std::sync::Arc;

use serde::Serialize;

use super::database::{Statements, Value};
use super::{End, Store, StoreError};
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
        self.call(move |database| {
            let result = insert(database, &message);
            // Told here and not by the caller: a request whose sender hangs up is dropped while it waits
            // for this job, and its message would lie there until the next one came. Told of errors, too: where
            // the connection broke, the message may be there all the same.
            if !matches!(result, Ok(Saved::Known)) {
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
        process: impl FnOnce(&mut dyn Statements, &Message) -> Result<Outcome, StoreError>
        + Send
        + 'static,
    ) -> Result<Option<Processed>, StoreError> {
        let processed = self.transact(move |database| {
            let Some(message) = oldest_unprocessed(database)? else {
                return Ok(End::Drop(None));
            };
            let outcome = process(database, &message)?;
            finish(database, message.id, outcome)?;
            Ok(End::Keep(Some(Processed { message, outcome })))
        });
        let result = processed.await;
        // Told of errors, too: where the connection broke, the reply may be there all the same.
        if !matches!(result, Ok(None)) {
            self.queued.notify_one();
        }
        result
    }

    /// The newest messages, newest first, `limit` at most.
    pub async fn newest(&self, limit: u32) -> Result<Vec<Listed>, StoreError> {
        self.call(move |database| {
            let rows = database.rows(
                "SELECT id, nonce, message_sid, body, received_at, processed_at
                 FROM messages ORDER BY id DESC LIMIT ?1",
                &[limit.into()],
            )?;
            let mut listed = Vec::new();
            for mut row in rows {
                let id = row.take(0)?;
                let replies = database.rows(
                    "SELECT body FROM replies WHERE message_id = ?1 ORDER BY id",
                    &[Value::Integer(id)],
                )?;
                listed.push(Listed {
                    id,
                    nonce: row.take(1)?,
                    message_sid: row.take(2)?,
                    body: row.take(3)?,
                    received_at: row.take(4)?,
                    processed_at: row.take(5)?,
                    replies: replies
                        .into_iter()
                        .map(|mut row| row.take(0))
                        .collect::<Result<_, _>>()?,
                });
            }
            Ok(listed)
        })
        .await
    }

    /// Returns `Ok` if the database answers a query on the table that matters.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.call(|database| {
            let found = database.rows("SELECT id FROM messages LIMIT 1", &[]);
            found.map(|_| ())
        })
        .await
    }
}

fn insert(database: &mut dyn Statements, message: &NewMessage) -> Result<Saved, StoreError> {
    let NewMessage {
        nonce,
        account,
        content_type,
        body,
        parameters,
    } = message;
    let row = database.first(
        "INSERT INTO messages
             (nonce, account, content_type, raw_body, message_sid, sender, body, message_status)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (nonce) DO NOTHING RETURNING id",
        &[
            nonce.into(),
            account.into(),
            content_type.into(),
            body.into(),
            (&parameters.message_sid).into(),
            (&parameters.from).into(),
            (&parameters.text).into(),
            (&parameters.status).into(),
        ],
    )?;
    Ok(match row {
        Some(mut row) => Saved::New { id: row.take(0)? },
        None => Saved::Known,
    })
}

fn oldest_unprocessed(database: &mut dyn Statements) -> Result<Option<Message>, StoreError> {
    let row = database.first(
        "SELECT id, nonce, account, message_sid, sender, body, message_status, content_type, raw_body
         FROM messages WHERE processed_at IS NULL ORDER BY id LIMIT 1",
        &[],
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    Ok(Some(Message {
        id: row.take(0)?,
        nonce: row.take(1)?,
        account: row.take(2)?,
        content_type: row.take(7)?,
        body: row.take(8)?,
        parameters: Parameters {
            message_sid: row.take(3)?,
            from: row.take(4)?,
            text: row.take(5)?,
            status: row.take(6)?,
        },
    }))
}

/// Whether a message with this SID was stored before this one. Its nonce differs if it was signed with another key, as
/// after a rotation; it is the same message all the same.
pub fn is_repeat(
    database: &mut dyn Statements,
    id: i64,
    message_sid: &str,
) -> Result<bool, StoreError> {
    let found = database.first(
        "SELECT id FROM messages
         WHERE message_sid = ?2 AND message_status IS NULL AND id < ?1 LIMIT 1",
        &[id.into(), message_sid.into()],
    )?;
    Ok(found.is_some())
}

fn finish(database: &mut dyn Statements, id: i64, outcome: Outcome) -> Result<(), StoreError> {
    database.rows(
        "INSERT INTO events (message_id, outcome) VALUES (?1, ?2)",
        &[id.into(), outcome.name().into()],
    )?;
    database.rows(
        "UPDATE messages SET processed_at = {now} WHERE id = ?1",
        &[id.into()],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::tests::{message, on_each};

    fn done(_: &mut dyn Statements, _: &Message) -> Result<Outcome, StoreError> {
        Ok(Outcome::Message)
    }

    async fn process_one(store: &Store) -> Option<i64> {
        let processed = store.process_next(done).await.unwrap();
        processed.map(|processed| processed.message.id)
    }

    #[test]
    fn what_was_saved_is_read_back_by_the_next_process_as_it_was() {
        for empty in on_each() {
            let store = empty.open();
            let new = message(7);
            empty.runtime.block_on(async {
                store.save(new.clone()).await.unwrap();
                store.close().await;
            });
            let store = empty.open();
            let processed = empty.runtime.block_on(store.process_next(done));
            let stored = processed.unwrap().unwrap().message;
            assert_eq!(stored.nonce, new.nonce);
            assert_eq!(stored.account, new.account);
            assert_eq!(stored.parameters, new.parameters);
            assert_eq!(stored.body, new.body);
        }
    }

    #[test]
    fn a_nul_in_the_text_loses_no_message_and_stays_in_the_raw_body() {
        for empty in on_each() {
            let store = empty.open();
            let mut new = message(7);
            new.parameters.text = Some("nul \0 and taco 🌮".to_owned());
            empty.runtime.block_on(async {
                store.save(new.clone()).await.unwrap();
                let stored = store.process_next(done).await.unwrap().unwrap().message;
                let text = stored.parameters.text.unwrap();
                assert_eq!(text.replace('\0', "\u{fffd}"), "nul \u{fffd} and taco 🌮");
                assert_eq!(stored.body, new.body);
            });
        }
    }

    #[test]
    fn of_many_saves_of_one_nonce_at_once_one_stores_it() {
        for empty in on_each() {
            let store = empty.open();
            empty.runtime.block_on(async {
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
            });
        }
    }

    #[test]
    fn messages_are_processed_once_and_in_the_order_in_which_they_were_stored() {
        for empty in on_each() {
            let store = empty.open();
            empty.runtime.block_on(async {
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
            });
        }
    }

    #[test]
    fn processing_that_fails_leaves_nothing_behind_and_the_message_comes_again() {
        for empty in on_each() {
            let store = empty.open();
            empty.runtime.block_on(async {
                store.save(message(1)).await.unwrap();
                let failed = store.process_next(|database, _| {
                    database.rows("UPDATE messages SET body = 'half done'", &[])?;
                    Err(StoreError::Unexpected("on purpose"))
                });
                assert!(failed.await.is_err());
                let listed = store.newest(1).await.unwrap();
                assert_eq!(listed[0].body, message(1).parameters.text);
                assert_eq!(listed[0].processed_at, None);
                assert_eq!(process_one(&store).await, Some(1));
            });
        }
    }

    #[test]
    fn a_save_that_nobody_waits_for_any_more_still_wakes_the_worker() {
        for empty in on_each() {
            let store = empty.open();
            empty.runtime.block_on(async {
                // Holds the database's thread until the save has been given up.
                let (release, held) = std::sync::mpsc::channel::<()>();
                let hold = tokio::spawn({
                    let store = store.clone();
                    async move { store.call(move |_| Ok(held.recv().is_ok())).await }
                });
                tokio::time::sleep(Duration::from_millis(20)).await;
                let save = store.save(message(1));
                let given_up = tokio::time::timeout(Duration::from_millis(50), save).await;
                assert!(given_up.is_err());
                release.send(()).unwrap();
                assert!(hold.await.unwrap().unwrap());

                tokio::time::timeout(Duration::from_secs(10), store.wait_for_new())
                    .await
                    .expect("the worker was not told of the message");
                assert_eq!(process_one(&store).await, Some(1));
            });
        }
    }

    #[test]
    fn the_newest_messages_come_first_and_no_more_than_asked_for() {
        for empty in on_each() {
            let store = empty.open();
            empty.runtime.block_on(async {
                for number in 1..=5 {
                    store.save(message(number)).await.unwrap();
                }
                let listed = store.newest(3).await.unwrap();
                let ids: Vec<_> = listed.iter().map(|message| message.id).collect();
                assert_eq!(ids, [5, 4, 3]);
            });
        }
    }
}
