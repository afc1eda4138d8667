//! Definitions in one SQLite file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mlops_core::catalog::Revision;
use mlops_core::sqlite::{Failure, Layout, SqliteFile, WAIT_DEFAULT};
use rusqlite::{OptionalExtension, Transaction, params};

use super::document::{self, REVISION_BYTES_MAX};
use super::{DefinitionStore, ensure_unchanged, not_found};
use crate::definitions::Deployment;
use crate::error::{Core, Error, Result};

const LAYOUT: Layout<Error> = Layout {
    what: "definitions file",
    application: 0x6d6c_6f64, // `mlod` in ASCII
    format: 1,
    tables: "CREATE TABLE revisions (revision INTEGER PRIMARY KEY, document TEXT NOT NULL) STRICT;",
    table_names: &["revisions"],
    newer: |what, found, known| {
        let reason = format!("written in format {found}, and this version reads up to format {known}");
        Core::invalid_data(what, reason).into()
    },
};

/// A document that is longer than any that was written is not brought into memory.
const DOCUMENT: &str =
    "SELECT CASE WHEN octet_length(document) <= ?1 THEN document END FROM revisions WHERE revision = ?2";

/// Definitions in one SQLite file, durable and shared by any number of processes. Clones share one connection.
///
/// Every apply is a row that holds the same checked document as a file of [`FileDefinitions`](super::FileDefinitions), and none
/// is ever changed or removed. Needs the feature `sqlite`.
///
/// # Examples
/// ```
/// use mlops_features::definitions::{Definitions, DefinitionStoreExt, SqliteDefinitions};
/// use mlops_features::{Entity, KeyType};
///
/// let folder = tempfile::tempdir()?;
/// let store = SqliteDefinitions::open(folder.path().join("definitions.db"))?;
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// store.apply_now(&Definitions::builder().with(customer).build()?)?;
/// assert_eq!(SqliteDefinitions::open(store.path())?.definitions()?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SqliteDefinitions(Arc<SqliteFile<Error>>);

impl SqliteDefinitions {
    /// Opens the file, making it where there is none; waits up to five seconds for other processes.
    ///
    /// # Errors
    /// `Core(Busy)` when another process holds it longer, `Core(Corrupt)` when it is no SQLite file or a damaged one,
    /// `Core(InvalidData)` when it belongs to another program or to a later version, `Core(Io)` when it cannot be opened. The
    /// file is not changed then.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::open_within(path, WAIT_DEFAULT)
    }

    /// Opens the file and waits at most `wait` for other processes, now and at every write.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_within(path: impl Into<PathBuf>, wait: Duration) -> Result<Self> {
        SqliteFile::open(path, LAYOUT, wait).map(|file| Self(Arc::new(file)))
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn read(&self, revision: Revision, document: &str) -> Result<Deployment> {
        document::read(&format!("revision {revision} in {}", self.path().display()), document.as_bytes(), revision)
    }
}

/// The number of revisions, which are 1, 2, 3 … without gaps.
fn last(tx: &Transaction<'_>) -> Result<Revision, Failure<Error>> {
    let (last, count): (Option<i64>, i64) =
        tx.query_row("SELECT max(revision), count(*) FROM revisions", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let last = u64::try_from(last.unwrap_or(0)).unwrap_or(0);
    if u64::try_from(count).ok() != Some(last) {
        return Err(Core::corrupt("table of revisions", "a revision is missing, but later ones are there").into());
    }
    Ok(Revision(last))
}

fn document(tx: &Transaction<'_>, revision: Revision) -> Result<Option<String>, Failure<Error>> {
    let number = i64::try_from(revision.0).unwrap_or(-1);
    let found = tx.query_row(DOCUMENT, params![REVISION_BYTES_MAX as i64, number], |row| row.get(0)).optional()?;
    match found {
        Some(None) => Err(Core::corrupt(format!("revision {revision}"), "longer than any that is written").into()),
        found => Ok(found.flatten()),
    }
}

impl DefinitionStore for SqliteDefinitions {
    fn load(&self) -> Result<(Deployment, Revision)> {
        let (last, found) = self.0.read(|tx| {
            let last = last(tx)?;
            Ok((last, document(tx, last)?))
        })?;
        match found {
            None => Ok((Deployment::default(), Revision(0))),
            Some(found) => Ok((self.read(last, &found)?, last)),
        }
    }

    fn at(&self, revision: Revision) -> Result<Deployment> {
        let found = self.0.read(|tx| document(tx, revision))?;
        self.read(revision, &found.ok_or_else(|| not_found(revision))?)
    }

    fn put(&self, deployment: &Deployment, expected: Revision) -> Result<Revision> {
        let next = expected.next();
        let text = document::write(deployment, next)?;
        self.0.write(|tx| {
            ensure_unchanged(expected, last(tx)?).map_err(Failure::Ours)?;
            let number = i64::try_from(next.0).map_err(|_| Core::invalid("revision", next, "at most 2⁶³ − 1"))?;
            tx.execute("INSERT INTO revisions (revision, document) VALUES (?1, ?2)", params![number, text])?;
            Ok(next)
        })
    }
}
