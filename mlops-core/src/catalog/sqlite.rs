//! A catalog in one SQLite file: for many writers, and for many entries.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{Catalog, ENTRY_BYTES_MAX, Entry, KIND, Revision, document, ensure_unchanged, not_found};
use crate::sqlite::{Failure, Layout, SqliteFile, WAIT_DEFAULT};
use crate::{Digest, Error, Name, Result};

const LAYOUT: Layout<Error> = Layout {
    what: "catalog file",
    application: 0x6d6c_6f63, // `mloc` in ASCII
    format: 1,
    tables: "CREATE TABLE entries (
            name TEXT NOT NULL,
            revision INTEGER NOT NULL,
            digest TEXT NOT NULL,
            document TEXT NOT NULL,
            UNIQUE (name, revision)
        ) STRICT;
        CREATE INDEX entries_by_digest ON entries (digest);",
    table_names: &["entries"],
    newer: |what, found, known| {
        Error::invalid_data(
            what,
            format_args!("written in format {found}, and this version reads up to format {known}"),
        )
    },
};

/// What is read of a row: a document that is longer than any that was written is not brought into memory.
const COLUMNS: &str = "name, revision, CASE WHEN octet_length(document) <= ?1 THEN document END";

/// Entries in one SQLite file, durable and shared by any number of processes. Clones share one connection.
///
/// Every change of an entry is a row that holds the same checked document as a file of a
/// [`FileCatalog`](super::FileCatalog), and none is ever changed or removed. Needs the feature `sqlite`.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::catalog::{Catalog, CatalogExt, Entry, SqliteCatalog};
/// use mlops_core::{Dataset, EventTime, Name};
///
/// let folder = tempfile::tempdir()?;
/// let catalog = SqliteCatalog::open(folder.path().join("catalog.db"))?;
/// let ids = std::sync::Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
/// let data = Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)])?])?;
/// catalog.register(&Entry::of(Name::new("customers")?, "crm", &data, EventTime::EPOCH)?)?;
///
/// let again = SqliteCatalog::open(catalog.path())?;
/// assert_eq!(again.by_digest(&data.digest()?)?.owner, "crm");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SqliteCatalog(Arc<SqliteFile<Error>>);

impl SqliteCatalog {
    /// Opens the file, making it where there is none; waits up to five seconds for other processes.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process holds it longer, [`Error::Corrupt`] when it is no SQLite file or a damaged one,
    /// [`Error::InvalidData`] when it belongs to another program or to a later version, [`Error::Io`] when it cannot be
    /// opened. The file is not changed then.
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

    /// The entry of a row as [`COLUMNS`] gives it, if it is what was written there.
    fn entry(&self, (name, revision, document): Stored) -> Result<(Entry, Revision)> {
        let what = format!("revision {revision} of `{name}` in {}", self.path().display());
        let Some(document) = document else { return Err(Error::corrupt(what, "longer than 16 MiB")) };
        let (found, entry) = document::read(&what, document.as_bytes())?;
        if i64::try_from(found) != Ok(revision) || entry.name.as_str() != name {
            return Err(Error::corrupt(what, format!("it holds revision {found} of `{}`", entry.name)));
        }
        Ok((entry, Revision(found)))
    }
}

/// Name, revision and document of a row.
type Stored = (String, i64, Option<String>);

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn latest(tx: &Transaction<'_>, name: &Name) -> Result<Revision, Failure<Error>> {
    let last = "SELECT revision FROM entries WHERE name = ?1 ORDER BY revision DESC LIMIT 1";
    let found: Option<i64> = tx.query_row(last, params![name.as_str()], |row| row.get(0)).optional()?;
    Ok(Revision(found.and_then(|found| u64::try_from(found).ok()).unwrap_or(0)))
}

impl Catalog for SqliteCatalog {
    fn put(&self, entry: &Entry, expected: Revision) -> Result<Revision> {
        let text = document::write(entry, expected.next())?;
        self.0.write(|tx| {
            ensure_unchanged(&entry.name, expected, latest(tx, &entry.name)?)?;
            let revision = i64::try_from(expected.next().0)
                .map_err(|_| Error::invalid("revision", expected.next(), "at most 2⁶³ − 1"))?;
            let row = params![entry.name.as_str(), revision, entry.digest.to_string(), text];
            tx.execute("INSERT INTO entries (name, revision, digest, document) VALUES (?1, ?2, ?3, ?4)", row)?;
            Ok(expected.next())
        })
    }

    fn get(&self, name: &Name) -> Result<(Entry, Revision)> {
        let query = format!("SELECT {COLUMNS} FROM entries WHERE name = ?2 ORDER BY revision DESC LIMIT 1");
        let found = self.0.read(|tx| {
            Ok(tx.query_row(&query, params![ENTRY_BYTES_MAX as i64, name.as_str()], stored).optional()?)
        })?;
        found.ok_or_else(|| not_found(name)).and_then(|found| self.entry(found))
    }

    fn history(&self, name: &Name) -> Result<Vec<Entry>> {
        let query = format!("SELECT {COLUMNS} FROM entries WHERE name = ?2 ORDER BY revision");
        let rows: Vec<Stored> = self.0.read(|tx| {
            let mut query = tx.prepare(&query)?;
            let rows = query.query_map(params![ENTRY_BYTES_MAX as i64, name.as_str()], stored)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })?;
        if rows.is_empty() {
            return Err(not_found(name));
        }
        let numbered = rows.into_iter().zip(1..);
        numbered
            .map(|(row, number)| {
                if row.1 == number {
                    return self.entry(row).map(|(entry, _)| entry);
                }
                let what = format!("revision {number} of `{name}` in {}", self.path().display());
                Err(Error::corrupt(what, "it is missing, but later revisions are there"))
            })
            .collect()
    }

    fn list(&self) -> Result<Vec<Name>> {
        let names: Vec<String> = self.0.read(|tx| {
            let mut query = tx.prepare("SELECT DISTINCT name FROM entries ORDER BY name")?;
            let names = query.query_map([], |row| row.get(0))?;
            Ok(names.collect::<rusqlite::Result<_>>()?)
        })?;
        let damaged = |e| Error::corrupt(format!("a name in {}", self.path().display()), e);
        names.into_iter().map(|name| Name::new(name).map_err(damaged)).collect()
    }

    fn by_digest(&self, digest: &Digest) -> Result<Entry> {
        let query = format!("SELECT {COLUMNS} FROM entries WHERE digest = ?2 LIMIT 1");
        let row = params![ENTRY_BYTES_MAX as i64, digest.to_string()];
        let found = self.0.read(|tx| Ok(tx.query_row(&query, row, stored).optional()?))?;
        let found = found.ok_or_else(|| Error::not_found(KIND, digest.to_string()))?;
        let (entry, revision) = self.entry(found)?;
        if entry.digest == *digest {
            return Ok(entry);
        }
        let what = format!("revision {revision} of `{}` in {}", entry.name, self.path().display());
        Err(Error::corrupt(what, "it is found by the digest of other content"))
    }
}
