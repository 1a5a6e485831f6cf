//! The database: this module and those below it are the only places that hold SQL.
//!
//! - [`inbox`]: webhooks, from the moment they are accepted to the one when they are done.
//! - [`shop`]: customers, their carts, orders.
//! - [`outbox`]: replies, and what became of them.
//!
//! SQLite has one writer at a time and blocks while the disk syncs, so one thread owns the one connection
//! and async code sends it jobs. A job is answered after its commit, and with `synchronous=FULL` a commit
//! is on disk. The order of jobs is the order of ids.

pub mod inbox;
pub mod outbox;
pub mod shop;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::{Notify, mpsc, oneshot};

/// How long a job waits for another process that has the database locked (a backup, a shell). A message to be stored may
/// stand behind a job of the worker's and one of the sender's, and Envoy waits for ten seconds, so three times this must
/// be well below.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Jobs that may wait for the thread; whoever has another one waits before handing it over.
const QUEUE: usize = 64;

/// Each entry takes the schema from the version that is its index to the next, and says so itself. Entries are
/// only ever added.
const MIGRATIONS: [&str; 2] = [FIRST, include_str!("store/shop.sql")];

const FIRST: &str = "
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
";

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

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

enum Command {
    Run(Job),
    Close(oneshot::Sender<()>),
}

/// A handle on the database; its clones share one connection.
#[derive(Clone)]
pub struct Store {
    commands: mpsc::Sender<Command>,
    /// Told of each message that was saved.
    saved: Arc<Notify>,
    /// Told of each reply that is to be sent.
    queued: Arc<Notify>,
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
        Ok(Self {
            commands,
            saved: Arc::new(Notify::new()),
            queued: Arc::new(Notify::new()),
        })
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

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tempfile::TempDir;

    use super::*;
    use crate::message::{NewMessage, Parameters};

    pub(crate) fn file() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orders.db");
        (directory, path)
    }

    /// An open database and the directory that it is in.
    pub(crate) fn database() -> (TempDir, Connection) {
        let (directory, path) = file();
        let connection = connect(&path).unwrap();
        (directory, connection)
    }

    pub(crate) fn message(number: u32) -> NewMessage {
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
        for version in [3, -1] {
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
