//! The database, the only place that holds SQL.
//!
//! SQLite has one writer at a time and blocks while the disk syncs, so one thread owns the one connection
//! and async code sends it jobs. A job is answered after its commit, and with `synchronous=FULL` a commit
//! is on disk. The order of jobs is the order of ids.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::message::{Message, NewMessage, Parameters};
use crate::processing::Outcome;

/// How long a job waits for another process that has the database locked (a backup, a shell). Well below
/// the fifteen seconds that Twilio waits for an answer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Jobs that may wait for the thread; whoever has another one waits before handing it over.
const QUEUE: usize = 64;

/// Each entry takes the schema from the version that is its index to the next, and says so itself. Entries are
/// only ever added.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE messages (
        id             INTEGER PRIMARY KEY AUTOINCREMENT,
        nonce          TEXT NOT NULL UNIQUE,
        account        TEXT,
        content_type   TEXT,
        raw_body       BLOB NOT NULL,
        message_sid    TEXT,
        sender         TEXT,
        body           TEXT,
        message_status TEXT,
        received_at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
        processed_at   TEXT
    ) STRICT;
    CREATE INDEX messages_unprocessed ON messages (id) WHERE processed_at IS NULL;
    CREATE TABLE events (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id INTEGER NOT NULL UNIQUE REFERENCES messages (id),
        outcome    TEXT NOT NULL,
        created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
    ) STRICT;
    PRAGMA user_version = 1;
"];

/// Why the database did not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// SQLite said so.
    Sqlite(rusqlite::Error),
    /// The file's schema is newer than this program.
    NewerSchema(isize),
    /// SQLite cannot keep a write-ahead log there, as in memory; it names what it would use instead.
    NoWriteAheadLog(String),
    /// The database's thread could not be started.
    Thread(std::io::Error),
    /// The database's thread has ended.
    Closed,
}

impl fmt::Display for StoreError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => error.fmt(out),
            Self::NewerSchema(version) => write!(
                out,
                "the database has schema version {version}, this program knows {} at most",
                MIGRATIONS.len()
            ),
            Self::NoWriteAheadLog(mode) => write!(
                out,
                "the database must be a file on a local disk (journal mode is {mode:?}, not \"wal\")"
            ),
            Self::Thread(error) => write!(out, "cannot start the database thread: {error}"),
            Self::Closed => out.write_str("the database is closed"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

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
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

enum Command {
    Run(Job),
    Close(oneshot::Sender<()>),
}

/// A handle on the database; its clones share one connection.
#[derive(Clone)]
pub struct Store {
    commands: mpsc::Sender<Command>,
    saved: Arc<Notify>,
}

impl Store {
    /// Opens the file, creates it where there is none, and brings its schema up to date.
    pub async fn open(path: PathBuf) -> Result<Self, StoreError> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (ready, opened) = oneshot::channel();
        thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || match connect(&path) {
                Ok(connection) => {
                    let _ = ready.send(Ok(()));
                    work(connection, queue);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            })
            .map_err(StoreError::Thread)?;
        opened.await.map_err(|_| StoreError::Closed)??;
        let saved = Arc::new(Notify::new());
        Ok(Self { commands, saved })
    }

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
                })
            })?;
            rows.collect()
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

    /// Does the jobs that were handed over before, then closes the file. Whoever asks later gets
    /// [`StoreError::Closed`].
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody may be waiting any more; the job was to be done all the same.
            let _ = reply.send(job(connection));
        });
        let sent = self.commands.send(Command::Run(job)).await;
        sent.map_err(|_| StoreError::Closed)?;
        Ok(answer.await.map_err(|_| StoreError::Closed)??)
    }
}

/// The life of the database's thread.
fn work(mut connection: Connection, mut queue: mpsc::Receiver<Command>) {
    while let Some(command) = queue.blocking_recv() {
        match command {
            Command::Run(job) => job(&mut connection),
            Command::Close(done) => {
                // Takes the write-ahead log into the database file. If that fails, the next start does it.
                let _ = connection.close();
                let _ = done.send(());
                return;
            }
        }
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    // Without SQLITE_OPEN_URI, so that a file name never means anything but a file.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::NoWriteAheadLog(mode));
    }
    // NORMAL would survive a killed process too, but not a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    migrate(&mut connection)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: isize = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = usize::try_from(version).ok();
    let Some(missing) = known.and_then(|version| MIGRATIONS.get(version..)) else {
        return Err(StoreError::NewerSchema(version));
    };
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    Ok(transaction.commit()?)
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
        "SELECT id, nonce, account, message_sid, sender, body, message_status
         FROM messages WHERE processed_at IS NULL ORDER BY id LIMIT 1",
    )?;
    select
        .query_row([], |row| {
            Ok(Message {
                id: row.get(0)?,
                nonce: row.get(1)?,
                account: row.get(2)?,
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
    use std::sync::atomic::{AtomicBool, Ordering};

    use tempfile::TempDir;

    use super::*;

    fn file() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orders.db");
        (directory, path)
    }

    fn message(number: u32) -> NewMessage {
        NewMessage {
            nonce: format!("{number:064x}"),
            account: Some("AC1".to_owned()),
            content_type: None,
            body: vec![0xff, 0x00, b'=', b'&'],
            parameters: Parameters {
                message_sid: Some(format!("SM{number}")),
                from: Some("whatsapp:+15550001111".to_owned()),
                text: Some("nul \0 and taco 🌮".to_owned()),
                status: None,
            },
        }
    }

    fn done(_: &Transaction<'_>, _: &Message) -> rusqlite::Result<Outcome> {
        Ok(Outcome::Message)
    }

    async fn process_one(store: &Store) -> Option<i64> {
        let processed = store.process_next(done).await.unwrap();
        processed.map(|processed| processed.message.id)
    }

    #[test]
    fn a_commit_waits_for_the_disk() {
        let (_directory, path) = file();
        let connection = connect(&path).unwrap();
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
        let full: rusqlite::Result<i64> = pragma("synchronous");
        assert_eq!(full, Ok(2));
        let mode: String = connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
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

    #[tokio::test]
    async fn closing_does_the_jobs_before_it_and_refuses_those_after_it() {
        let (_directory, path) = file();
        let store = Store::open(path.clone()).await.unwrap();
        let ran = Arc::new(AtomicBool::new(false));
        let job = tokio::spawn({
            let (store, ran) = (store.clone(), Arc::clone(&ran));
            async move {
                let job = move |_: &mut Connection| {
                    thread::sleep(Duration::from_millis(50));
                    ran.store(true, Ordering::SeqCst);
                    Ok(())
                };
                store.call(job).await
            }
        });
        tokio::task::yield_now().await;
        store.close().await;
        assert!(ran.load(Ordering::SeqCst));
        job.await.unwrap().unwrap();
        assert!(matches!(
            store.save(message(1)).await,
            Err(StoreError::Closed)
        ));
        assert!(matches!(store.ping().await, Err(StoreError::Closed)));
        assert!(!path.with_extension("db-wal").exists());
    }

    #[tokio::test]
    async fn a_database_from_a_newer_program_is_left_alone() {
        let (_directory, path) = file();
        for version in [2, -1] {
            let connection = Connection::open(&path).unwrap();
            connection
                .pragma_update(None, "user_version", version)
                .unwrap();
            drop(connection);
            let error = Store::open(path.clone()).await.err().unwrap();
            assert!(matches!(error, StoreError::NewerSchema(got) if got == version));
        }
    }

    #[tokio::test]
    async fn a_database_in_memory_is_refused() {
        let error = Store::open(PathBuf::from(":memory:")).await.err().unwrap();
        assert!(matches!(error, StoreError::NoWriteAheadLog(_)), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused_and_not_overwritten() {
        let (_directory, path) = file();
        let text = "a shopping list, ".repeat(100);
        std::fs::write(&path, &text).unwrap();
        let error = Store::open(path.clone()).await.err().unwrap();
        assert!(error.to_string().contains("not a database"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
