//! Runs, versions and aliases in one SQLite file.
//!
//! The library is compiled in, because the one of the system may have the WAL bug that SQLite fixed in 3.51.3. The file
//! is in WAL mode with full syncs, so that what was acknowledged survives a power cut, and any number of processes may
//! use it at once.

mod runs;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::{Error, Result};

/// First library version without the WAL-reset bug, as SQLite numbers them.
const LIBRARY_MIN: i32 = 3_051_003;
/// Layout of the tables.
const FORMAT: u32 = 1;
/// What SQLite files carry to say whose they are: `mlop` in ASCII. Early files of format 1 carry none.
const APPLICATION: u32 = 0x6d6c_6f70;
/// How long a writer waits for another process by default.
const WAIT_DEFAULT: Duration = Duration::from_secs(5);

const TABLES: &str = include_str!("tables.sql");
const TABLE_NAMES: [&str; 8] =
    ["alias_moves", "aliases", "experiments", "metrics", "params", "runs", "tags", "versions"];
/// Smallest page of SQLite, and so its smallest file that holds anything.
const PAGE_BYTES_MIN: u64 = 512;
/// Pause between two tries where SQLite itself does not wait.
const RETRY_EVERY: Duration = Duration::from_millis(10);

/// A metadata store in one file: implements [`RunStore`](crate::run::RunStore) and
/// [`ModelRegistry`](crate::version::ModelRegistry).
///
/// # Examples
/// ```
/// use mlops_core::{EventTime, Name};
/// use mlops_registry::SqliteStore;
/// use mlops_registry::run::{NewRun, RunLog, RunStatus, RunStore};
///
/// let folder = tempfile::tempdir()?;
/// let store = SqliteStore::open(folder.path().join("registry.db"))?;
/// let run = store.begin(&NewRun {
///     experiment: Name::new("offers")?,
///     name: "first try".into(),
///     parent: None,
///     inputs: vec![],
///     code_version: "1.0".into(),
///     started: EventTime::EPOCH,
/// })?;
/// store.log(&run, &RunLog { params: [("rounds".into(), "100".into())].into(), ..RunLog::default() })?;
/// store.end(&run, RunStatus::Finished, EventTime::from_secs(1))?;
/// assert_eq!(store.run(&run)?.params["rounds"], "100");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl SqliteStore {
    /// Opens the file, making it where there is none; waits up to five seconds for other processes.
    ///
    /// # Errors
    /// [`Busy`](mlops_core::Error::Busy) when another process holds it longer,
    /// [`Corrupt`](mlops_core::Error::Corrupt) when it is no SQLite file or a damaged one,
    /// [`InvalidData`](mlops_core::Error::InvalidData) when it belongs to another program, [`Error::Format`] when a newer
    /// version of this crate wrote it, [`Io`](mlops_core::Error::Io) when it cannot be opened. The file is not changed
    /// then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_within(path, WAIT_DEFAULT)
    }

    /// Opens the file and waits at most `wait` for other processes, now and at every write.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_within(path: impl AsRef<Path>, wait: Duration) -> Result<Self> {
        if rusqlite::version_number() < LIBRARY_MIN {
            return Err(Error::invalid("SQLite library", rusqlite::version(), "3.51.3 or newer"));
        }
        let path = path.as_ref().to_owned();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if is_cut_off(&path) {
            return Err(Error::corrupt(path.display().to_string(), "it is shorter than any SQLite file"));
        }
        let connection = Connection::open_with_flags(&path, flags).map_err(|e| sql(&path, e))?;
        connection.busy_timeout(wait).map_err(|e| sql(&path, e))?;
        let store = Self { path, connection: Mutex::new(connection) };
        store.prepare(wait)?;
        Ok(store)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the file before it changes anything in it, then makes what is missing.
    fn prepare(&self, wait: Duration) -> Result<()> {
        let settings = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;
            PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;";
        self.lock().execute_batch(settings).map_err(|e| sql(&self.path, e))?;
        self.read(|tx| self.is_made(tx))?;
        self.use_wal(wait)?;
        self.write(|tx| {
            if !self.is_made(tx)? {
                tx.execute_batch(TABLES)?;
                tx.pragma_update(None, "application_id", APPLICATION)?;
                tx.pragma_update(None, "user_version", FORMAT)?;
            }
            Ok(())
        })
    }

    /// Whether the tables are there; false for a new file, an error for one that is not ours.
    fn is_made(&self, tx: &Transaction<'_>) -> Result<bool, Failure> {
        let found: u32 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let application: u32 = tx.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        let mut query =
            tx.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
        let names = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        let whole = TABLE_NAMES.iter().all(|table| names.iter().any(|name| name == table));
        match found {
            FORMAT if whole => Ok(true),
            0 if names.is_empty() && application == 0 => Ok(false),
            newer if newer > FORMAT && (whole || application == APPLICATION) => {
                Err(Error::Format { what: "registry file", found: newer, known: FORMAT }.into())
            }
            _ => Err(Error::invalid_data(self.path.display().to_string(), "it is not a registry file").into()),
        }
    }

    /// Turns the write-ahead log on. The change takes every lock of the file at once, for which SQLite does not wait:
    /// of several processes that make one file, all but one would fail.
    fn use_wal(&self, wait: Duration) -> Result<()> {
        let until = Instant::now() + wait;
        loop {
            let mode = self.lock().query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
            match mode.map_err(|e| sql(&self.path, e)) {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(mode) => return Err(Error::invalid("journal mode", mode, "wal, which this place must allow")),
                Err(Error::Core(mlops_core::Error::Busy { .. })) if Instant::now() < until => {
                    std::thread::sleep(RETRY_EVERY.min(wait));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic inside rolls its transaction back, so the connection stays usable.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in one write transaction, which begins by taking the write lock.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>) -> Result<T> {
        let mut connection = self.lock();
        let outcome = (|| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&tx)?;
            tx.commit()?;
            Ok(value)
        })();
        outcome.map_err(|failure| self.failed(failure))
    }

    /// Runs `work` in one read transaction, so that it sees one state of the file.
    fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>) -> Result<T> {
        let mut connection = self.lock();
        let outcome = (|| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            work(&tx)
        })();
        outcome.map_err(|failure| self.failed(failure))
    }

    fn failed(&self, failure: Failure) -> Error {
        match failure {
            Failure::Ours(error) => self.located(error),
            Failure::Sql(error) => sql(&self.path, error),
        }
    }

    /// Says in which file a value is that cannot be read.
    fn located(&self, error: Error) -> Error {
        match error {
            Error::Core(mlops_core::Error::Corrupt { what, reason }) => {
                Error::corrupt(format!("{what} in {}", self.path.display()), reason)
            }
            other => other,
        }
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

/// Why a transaction was given up.
enum Failure {
    Ours(Error),
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Ours(error.into())
    }
}

fn sql(path: &Path, error: rusqlite::Error) -> Error {
    let what = path.display().to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => mlops_core::Error::Busy { what }.into(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::corrupt(what, error),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
            mlops_core::Error::io(path, std::io::Error::other(error)).into()
        }
        None if matches!(error, rusqlite::Error::NulError(_) | rusqlite::Error::InvalidPath(_)) => {
            Error::invalid("path of the registry file", what.escape_default(), "a path without zero bytes")
        }
        _ => Error::external("sqlite", error),
    }
}

/// Text of a serde value for a column.
fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::invalid_data("value to store", e))
}

/// Reads a column that holds a serde value.
fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::corrupt(what, e))
}
