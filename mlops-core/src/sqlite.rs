//! One SQLite file that belongs to one store: opened with care, used in whole transactions.
//!
//! For the stores of this family, which say what their tables are: see [`Layout`]. The library is compiled in, because the
//! one of the system may have the WAL bug that SQLite fixed in 3.51.3. The file is in WAL mode with full syncs and without
//! memory maps, so that what was acknowledged survives a power cut, and any number of processes may use it at once.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::Error;

/// How long a store waits for other processes, where nothing was said.
pub const WAIT_DEFAULT: Duration = Duration::from_secs(5);

/// Longest time that a store waits; a longer one counts as this.
pub const WAIT_MAX: Duration = Duration::from_hours(24);

/// First library version without the WAL-reset bug, as SQLite numbers them.
const LIBRARY_MIN: i32 = 3_051_003;
/// Smallest page of SQLite, and so its smallest file that holds anything.
const PAGE_BYTES_MIN: u64 = 512;
/// Pause between two tries where SQLite itself does not wait.
const RETRY_EVERY: Duration = Duration::from_millis(10);

/// What a store keeps in its file.
#[derive(Clone, Copy, Debug)]
pub struct Layout<E> {
    /// What the file is called in errors, such as `catalog file`.
    pub what: &'static str,
    /// What SQLite files carry to say whose they are. Files that carry 0 are known by their tables.
    pub application: u32,
    /// Number of this layout, from 1.
    pub format: u32,
    /// SQL that makes the tables.
    pub tables: &'static str,
    /// Names of the tables.
    pub table_names: &'static [&'static str],
    /// The error for a file of a later layout: what it is called, the number found, the number known.
    pub newer: fn(&'static str, u32, u32) -> E,
}

/// Why a transaction was given up.
#[derive(Debug)]
pub enum Failure<E> {
    /// The work inside refused.
    Ours(E),
    /// SQLite failed.
    Sql(rusqlite::Error),
}

impl<E> From<rusqlite::Error> for Failure<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl<E: From<Error>> From<Error> for Failure<E> {
    fn from(error: Error) -> Self {
        Self::Ours(error.into())
    }
}

/// The open file of a store whose errors are `E`.
#[derive(Debug)]
pub struct SqliteFile<E> {
    path: PathBuf,
    connection: Mutex<Connection>,
    layout: Layout<E>,
}

impl<E: From<Error>> SqliteFile<E> {
    /// Opens the file, making it where there is none; waits at most `wait` for other processes, now and at every write.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process holds it longer, [`Error::Corrupt`] when it is no SQLite file or a damaged one,
    /// [`Error::InvalidData`] when it belongs to another program, [`Layout::newer`] when a later version wrote it,
    /// [`Error::Io`] when it cannot be opened. The file is not changed then.
    pub fn open(path: impl Into<PathBuf>, layout: Layout<E>, wait: Duration) -> Result<Self, E> {
        if rusqlite::version_number() < LIBRARY_MIN {
            return Err(Error::invalid("SQLite library", rusqlite::version(), "3.51.3 or newer").into());
        }
        let (path, wait) = (path.into(), wait.min(WAIT_MAX));
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if is_cut_off(&path) {
            return Err(Error::corrupt(path.display().to_string(), "it is shorter than any SQLite file").into());
        }
        let connection = Connection::open_with_flags(&path, flags).map_err(|e| sql(&path, e))?;
        connection.busy_timeout(wait).map_err(|e| sql(&path, e))?;
        let file = Self { path, connection: Mutex::new(connection), layout };
        file.prepare(wait)?;
        Ok(file)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the file before it changes anything in it, then makes what is missing.
    fn prepare(&self, wait: Duration) -> Result<(), E> {
        let settings = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;
            PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;";
        self.lock().execute_batch(settings).map_err(|e| sql(&self.path, e))?;
        self.read(|tx| self.is_made(tx))?;
        self.use_wal(wait)?;
        self.write(|tx| {
            if !self.is_made(tx)? {
                tx.execute_batch(self.layout.tables)?;
                tx.pragma_update(None, "application_id", self.layout.application)?;
                tx.pragma_update(None, "user_version", self.layout.format)?;
            }
            Ok(())
        })
    }

    /// Whether the tables are there; false for a new file, an error for one that is not ours.
    fn is_made(&self, tx: &Transaction<'_>) -> Result<bool, Failure<E>> {
        let Layout { what, format, application: ours, .. } = self.layout;
        let found: u32 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let application: u32 = tx.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        let mut query =
            tx.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
        let names = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        let whole = self.layout.table_names.iter().all(|table| names.iter().any(|name| name == table));
        match found {
            found if found == format && whole => Ok(true),
            0 if names.is_empty() && application == 0 => Ok(false),
            newer if newer > format && (whole || application == ours) => {
                Err(Failure::Ours((self.layout.newer)(what, newer, format)))
            }
            _ => Err(Error::invalid_data(self.path.display().to_string(), format!("it is not a {what}")).into()),
        }
    }

    /// Turns the write-ahead log on. The change takes every lock of the file at once, for which SQLite does not wait:
    /// of several processes that make one file, all but one would fail.
    fn use_wal(&self, wait: Duration) -> Result<(), E> {
        let until = Instant::now() + wait;
        loop {
            let mode = self.lock().query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
            match mode.map_err(|e| sql(&self.path, e)) {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(mode) => return Err(Error::invalid("journal mode", mode, "wal, which this place must allow").into()),
                Err(Error::Busy { .. }) if Instant::now() < until => std::thread::sleep(RETRY_EVERY.min(wait)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic inside rolls its transaction back, so the connection stays usable.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in one write transaction, which begins by taking the write lock; durable on return.
    ///
    /// # Errors
    /// What `work` fails with; [`Error::Busy`] when another process writes all the time, [`Error::Corrupt`] when the file
    /// is damaged, [`Error::Io`] when the storage fails. Nothing is changed then.
    pub fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure<E>>) -> Result<T, E> {
        self.transact(TransactionBehavior::Immediate, |tx| {
            let value = work(&tx)?;
            tx.commit()?;
            Ok(value)
        })
    }

    /// Runs `work` in one read transaction, so that it sees one state of the file.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure<E>>) -> Result<T, E> {
        self.transact(TransactionBehavior::Deferred, |tx| work(&tx))
    }

    fn transact<T>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(Transaction<'_>) -> Result<T, Failure<E>>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let outcome = connection.transaction_with_behavior(behavior).map_err(Failure::Sql).and_then(work);
        outcome.map_err(|failure| match failure {
            Failure::Ours(error) => error,
            Failure::Sql(error) => sql(&self.path, error).into(),
        })
    }
}

/// Whether the file is too short to be one, which SQLite takes for a new one. An empty file is new, and one with a journal
/// beside it is put right by SQLite.
fn is_cut_off(path: &Path) -> bool {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    let bytes = path.metadata().map_or(0, |file| if file.is_file() { file.len() } else { 0 });
    (1..PAGE_BYTES_MIN).contains(&bytes) && !Path::new(&journal).exists()
}

fn sql(path: &Path, error: rusqlite::Error) -> Error {
    use rusqlite::Error as Sql;
    let what = path.display().to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy { what },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::corrupt(what, error),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
            Error::io(path, std::io::Error::other(error))
        }
        None if matches!(error, Sql::NulError(_) | Sql::InvalidPath(_)) => {
            Error::invalid("path of the SQLite file", what.escape_default(), "a path without zero bytes")
        }
        // Text that is not UTF-8, or another type than its table says.
        None if matches!(
            error,
            Sql::FromSqlConversionFailure(..) | Sql::InvalidColumnType(..) | Sql::Utf8Error(..)
        ) =>
        {
            Error::corrupt(what, error)
        }
        _ => Error::external("sqlite", error),
    }
}
