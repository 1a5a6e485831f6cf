//! SQLite: a file on this machine. The default.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql, TransactionBehavior, params_from_iter};

use super::StoreError;
use super::database::{Backend, Row, Statements, Value};

/// How long a job waits for another process that has the database locked (a backup, a shell). A message to be stored may
/// stand behind a job of the worker's and one of the sender's, and Envoy waits for ten seconds, so three times this must
/// be well below.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Each entry takes the schema from the version that is its index to the next, and says so itself. Entries are
/// only ever added, here and in [`super::postgres`].
const MIGRATIONS: [&str; 2] = [
    include_str!("sqlite/messages.sql"),
    include_str!("sqlite/shop.sql"),
];

const NOW: &str = "strftime('%Y-%m-%dT%H:%M:%fZ')";

const MINUTES: &str = "CAST((julianday('now') - julianday(created_at)) * 1440 AS INTEGER)";

/// An open file.
pub(super) struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// Opens the file, creates it where there is none, and brings its schema up to date.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
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
        Ok(Self { connection })
    }
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = usize::try_from(version).ok();
    let Some(missing) = known.and_then(|version| MIGRATIONS.get(version..)) else {
        return Err(StoreError::NewerSchema(version, MIGRATIONS.len()));
    };
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    Ok(transaction.commit()?)
}

impl Statements for Sqlite {
    fn rows(&mut self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>, StoreError> {
        let statement = statement
            .replace("{now}", NOW)
            .replace("{minutes}", MINUTES);
        let mut prepared = self.connection.prepare_cached(&statement)?;
        let columns = prepared.column_count();
        let mut found = prepared.query(params_from_iter(parameters))?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let values = (0..columns).map(|column| row.get_ref(column).map(value));
            rows.push(Row(values.collect::<rusqlite::Result<_>>()?));
        }
        Ok(rows)
    }
}

impl Backend for Sqlite {
    fn begin(&mut self) -> Result<(), StoreError> {
        // Immediate, so that two processes on one file never take the same message.
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    fn rollback(&mut self) {
        // If it fails, SQLite has rolled back by itself, as it does when the disk is full.
        let _ = self.connection.execute_batch("ROLLBACK");
    }

    fn close(self: Box<Self>) {
        // Takes the write-ahead log into the database file. If that fails, the next start does it.
        let _ = self.connection.close();
    }
}

fn value(column: ValueRef<'_>) -> Value {
    match column {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::file;
    use crate::store::{Location, Store};

    #[test]
    fn a_commit_waits_for_the_disk() {
        let (_directory, path) = file();
        let connection = Sqlite::open(&path).unwrap().connection;
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
        let plan: String = Sqlite::open(&path)
            .unwrap()
            .connection
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
    async fn a_database_from_a_newer_program_is_left_alone() {
        let (_directory, path) = file();
        for version in [3, -1] {
            let connection = Connection::open(&path).unwrap();
            connection
                .pragma_update(None, "user_version", version)
                .unwrap();
            drop(connection);
            let error = Store::open(Location::File(path.clone()))
                .await
                .err()
                .unwrap();
            assert!(matches!(error, StoreError::NewerSchema(got, 2) if got == version));
        }
    }

    #[tokio::test]
    async fn a_database_in_memory_is_rejected() {
        let memory = Location::File(":memory:".into());
        let error = Store::open(memory).await.err().unwrap();
        assert!(matches!(error, StoreError::NoWriteAheadLog(_)), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_rejected_and_not_overwritten() {
        let (_directory, path) = file();
        let text = "a shopping list, ".repeat(100);
        std::fs::write(&path, &text).unwrap();
        let error = Store::open(Location::File(path.clone()))
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains("not a database"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
