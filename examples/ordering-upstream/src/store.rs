//! The database: this module and those below it are the only places that hold SQL.
//!
//! - [`inbox`]: webhooks, from the moment they are accepted to the one when they are done.
//! - [`shop`]: customers, their carts, orders.
//! - [`outbox`]: replies, and what became of them.
//! - [`database`]: what those three ask of a database. [`sqlite`] is one, [`postgres`] another; nothing else knows which.
//!
//! Either way there is one writer, which waits while the disk syncs. So one thread owns the one connection, and async code
//! sends it jobs. A job is answered after its commit, and a commit is on disk. The order of jobs is the order of ids.

pub mod database;
pub mod inbox;
pub mod outbox;
pub mod postgres;
pub mod shop;
mod sqlite;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tokio::sync::{Notify, mpsc, oneshot};

use database::{Backend, Statements};

/// Jobs that may wait for the thread; whoever has another one waits before handing it over.
const QUEUE: usize = 64;

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of SQLite's, created where there is none.
    File(PathBuf),
    /// A database of a PostgreSQL server.
    Postgres(postgres::Settings),
}

impl Location {
    /// The name of the program that keeps it.
    pub fn backend(&self) -> &'static str {
        match self {
            Self::File(_) => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Postgres(settings) => write!(out, "{settings}"),
        }
    }
}

/// Why the database did not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// SQLite said so.
    Sqlite(rusqlite::Error),
    /// PostgreSQL said so, or did not get to say anything.
    Postgres(tokio_postgres::Error),
    /// PostgreSQL's answer did not come in time.
    NoAnswer,
    /// There is no connection to PostgreSQL at this moment.
    NotConnected,
    /// Another process works on the same PostgreSQL database.
    InUse,
    /// The file holds no certificates of authorities.
    Authorities(PathBuf),
    /// PostgreSQL's certificate is another one than was expected, which this says.
    Certificate(String),
    /// What is stored is not what this program stores.
    Unexpected(&'static str),
    /// The schema is of this version, newer than the one that this program knows.
    NewerSchema(i64, usize),
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
            Self::Sqlite(error) => write!(out, "{error}"),
            Self::Postgres(error) => postgres::explain(error, out),
            Self::NoAnswer => out.write_str("PostgreSQL does not answer"),
            Self::NotConnected => out.write_str("there is no connection to PostgreSQL"),
            Self::InUse => {
                out.write_str("another process works on this database, and only one may at a time")
            }
            Self::Authorities(path) => write!(
                out,
                "expected certificates of authorities in PEM in {}",
                path.display()
            ),
            Self::Certificate(expected) => out.write_str(expected),
            Self::Unexpected(what) => out.write_str(what),
            Self::NewerSchema(version, known) => write!(
                out,
                "the database has schema version {version}, this program knows {known} at most"
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

type Job = Box<dyn FnOnce(&mut dyn Backend) + Send>;

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
    /// Opens the database and brings its schema up to date. To be called in a runtime, which reads from connections.
    pub async fn open(location: Location) -> Result<Self, StoreError> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (ready, opened) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || match connect(location, runtime) {
                Ok(backend) => {
                    let _ = ready.send(Ok(()));
                    work(backend, queue);
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

    /// Does the jobs that were handed over before, then closes the database. Whoever asks later gets
    /// [`StoreError::Closed`].
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    /// Runs a job. Each of its statements is committed by itself.
    async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Statements) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.hand_over(|backend| job(backend)).await
    }

    /// Runs a job in one transaction. What it wrote is there if it returns [`End::Keep`], and nothing of it otherwise.
    async fn transact<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Statements) -> Result<End<T>, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.hand_over(|backend| {
            backend.begin()?;
            let ended = match job(backend) {
                Ok(End::Keep(result)) => backend.commit().map(|()| End::Keep(result)),
                other => other,
            };
            match ended {
                Ok(End::Keep(result)) => Ok(result),
                Ok(End::Drop(result)) => {
                    backend.rollback();
                    Ok(result)
                }
                Err(error) => {
                    backend.rollback();
                    Err(error)
                }
            }
        })
        .await
    }

    async fn hand_over<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Backend) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |backend| {
            // Nobody may be waiting any more; the job was to be done all the same.
            let _ = reply.send(job(backend));
        });
        let sent = self.commands.send(Command::Run(job)).await;
        sent.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

/// How a transaction is to end.
enum End<T> {
    /// With what it wrote.
    Keep(T),
    /// Without it.
    Drop(T),
}

/// The life of the database's thread.
fn work(mut backend: Box<dyn Backend>, mut queue: mpsc::Receiver<Command>) {
    while let Some(command) = queue.blocking_recv() {
        match command {
            Command::Run(job) => job(backend.as_mut()),
            Command::Close(done) => {
                backend.close();
                let _ = done.send(());
                return;
            }
        }
    }
}

fn connect(
    location: Location,
    runtime: tokio::runtime::Handle,
) -> Result<Box<dyn Backend>, StoreError> {
    Ok(match location {
        Location::File(path) => Box::new(sqlite::Sqlite::open(&path)?),
        Location::Postgres(settings) => Box::new(postgres::Postgres::open(settings, runtime)?),
    })
}

#[cfg(test)]
#[path = "../tests/support/postgres.rs"]
mod server;

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::message::{NewMessage, Parameters};

    pub(crate) fn file() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orders.db");
        (directory, path)
    }

    /// An empty database of its own, and what it needs to stay there.
    pub(crate) struct Empty {
        pub(crate) location: Location,
        pub(crate) runtime: Runtime,
        _directory: TempDir,
    }

    impl Empty {
        pub(in crate::store) fn connect(&self) -> Box<dyn Backend> {
            connect(self.location.clone(), self.runtime.handle().clone()).unwrap()
        }

        pub(crate) fn open(&self) -> Store {
            let opened = self.runtime.block_on(Store::open(self.location.clone()));
            opened.unwrap()
        }
    }

    /// One of each kind. PostgreSQL's is left out where there is no PostgreSQL.
    pub(crate) fn on_each() -> impl Iterator<Item = Empty> {
        let (directory, path) = file();
        let sqlite = (Location::File(path), directory);
        let postgres = server::database().map(|url| {
            let settings = postgres::Settings::from_url(&url, None).unwrap();
            (Location::Postgres(settings), tempfile::tempdir().unwrap())
        });
        let both = std::iter::once(sqlite).chain(postgres);
        both.map(|(location, directory)| {
            // Shown if the test fails.
            #[allow(clippy::print_stdout)]
            {
                println!("on {}", location.backend());
            }
            Empty {
                location,
                runtime: Runtime::new().unwrap(),
                _directory: directory,
            }
        })
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
                text: Some("taco 🌮".to_owned()),
                status: None,
            },
        }
    }

    #[test]
    fn closing_does_the_jobs_before_it_and_rejects_those_after_it() {
        for empty in on_each() {
            let store = empty.open();
            empty.runtime.block_on(async {
                let ran = Arc::new(AtomicBool::new(false));
                let job = tokio::spawn({
                    let (store, ran) = (store.clone(), Arc::clone(&ran));
                    async move {
                        let job = move |_: &mut dyn Statements| {
                            thread::sleep(Duration::from_millis(50));
                            ran.store(true, Ordering::SeqCst);
                            Ok(())
                        };
                        store.call(job).await
                    }
                });
                tokio::time::sleep(Duration::from_millis(20)).await;
                store.close().await;
                assert!(ran.load(Ordering::SeqCst));
                job.await.unwrap().unwrap();
                let saved = store.save(message(1)).await;
                assert!(matches!(saved, Err(StoreError::Closed)));
                assert!(matches!(store.ping().await, Err(StoreError::Closed)));
            });
            if let Location::File(path) = &empty.location {
                assert!(!path.with_extension("db-wal").exists());
            }
        }
    }
}
