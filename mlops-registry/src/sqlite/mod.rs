//! Runs, versions and aliases in one SQLite file.
//!
//! How the file is kept, [`mlops_core::sqlite`] says.

mod runs;
mod versions;

use std::path::Path;
use std::time::Duration;

use mlops_core::sqlite::{Layout, SqliteFile, WAIT_DEFAULT};
use rusqlite::Transaction;

use crate::{Error, Result};

const LAYOUT: Layout<Error> = Layout {
    what: "registry file",
    // `mlop` in ASCII; early files of format 1 carry none.
    application: 0x6d6c_6f70,
    format: 1,
    tables: include_str!("tables.sql"),
    table_names: &["alias_moves", "aliases", "experiments", "metrics", "params", "runs", "tags", "versions"],
    newer: |what, found, known| Error::Format { what, found, known },
};

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
pub struct SqliteStore(SqliteFile<Error>);

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
        SqliteFile::open(path.as_ref(), LAYOUT, wait).map(Self)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>) -> Result<T> {
        self.0.write(work).map_err(|error| self.located(error))
    }

    fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>) -> Result<T> {
        self.0.read(work).map_err(|error| self.located(error))
    }

    /// Says in which file a value is that cannot be read.
    fn located(&self, error: Error) -> Error {
        let path = self.path().display().to_string();
        match error {
            Error::Core(mlops_core::Error::Corrupt { what, reason }) if what != path => {
                Error::corrupt(format!("{what} in {path}"), reason)
            }
            other => other,
        }
    }
}

/// Why a transaction was given up.
type Failure = mlops_core::sqlite::Failure<Error>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
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
