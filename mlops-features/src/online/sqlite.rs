//! Rows in one SQLite file that several processes of a machine read and write at once.
//!
//! Tables: `views` (name → number, key and features as JSON), `rows` (number of the view and key → row) and `watermarks`
//! (name → position). Values are those of the other stores on disk, checksums included.

mod replace;

use std::cell::OnceCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mlops_core::Name;
use mlops_core::sqlite::{Failure, Layout, SqliteFile, WAIT_DEFAULT};
use rusqlite::{OptionalExtension, Transaction, params};

use super::batch::Batch;
use super::known::{KnownViews, knows};
use super::registered::{Reader, Registered};
use super::row::RowBytes;
use super::{OnlineRead, OnlineRows, OnlineStore, WriteSummary, sealed};
use crate::error::{Core, Error, Result};
use crate::key::Keys;
use crate::offline::Watermark;
use crate::view::FeatureView;

const LAYOUT: Layout<Error> = Layout {
    what: "online feature store",
    application: 0x6d6c_666f, // `mlfo` in ASCII
    format: 1,
    tables: "CREATE TABLE views (
            name TEXT NOT NULL PRIMARY KEY,
            id INTEGER NOT NULL UNIQUE,
            body BLOB NOT NULL
        ) STRICT;
        CREATE TABLE rows (
            view INTEGER NOT NULL,
            key BLOB NOT NULL,
            row BLOB NOT NULL,
            PRIMARY KEY (view, key)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE watermarks (
            name TEXT NOT NULL PRIMARY KEY,
            body BLOB NOT NULL
        ) STRICT;",
    table_names: &["views", "rows", "watermarks"],
    newer: |what, found, known| {
        let reason = format!("written in format {found}, and this version reads up to format {known}");
        Core::invalid_data(what, reason).into()
    },
};

/// Connections that read at the same time, where nothing was said.
const READERS_DEFAULT: usize = 4;

/// Most of them.
const READERS_MAX: usize = 64;

/// Online store in one SQLite file, written and read by any number of processes of this machine.
///
/// Every write is one transaction, durable when it returns; writers take turns, readers never wait for them. Each row is
/// checked against its checksum when it is read: a damaged one is `Core(Corrupt)`, never a wrong value. Needs the feature
/// `sqlite`.
///
/// Calls do their work on the thread that polls them: a write may wait there for another process.
///
/// # Examples
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("online.db");
/// use mlops_features::online::SqliteStore;
/// let store = SqliteStore::open(&path)?;
/// let another_process = SqliteStore::open(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqliteStore {
    writer: SqliteFile<Error>,
    readers: Vec<SqliteFile<Error>>,
    /// Of the reader whose turn it is.
    turn: AtomicUsize,
    known: KnownViews<Arc<Registered>>,
}

/// Collects the settings of a [`SqliteStore`].
#[derive(Clone, Debug)]
pub struct SqliteStoreBuilder {
    path: PathBuf,
    wait: Duration,
    readers: usize,
}

impl SqliteStoreBuilder {
    /// How long to wait for other processes, at the opening and at every write, at most a day. Default 5 s.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How many threads of this process read at the same time without waiting for each other. Default 4.
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers;
        self
    }

    /// Opens the file, or makes an empty store where there is none.
    ///
    /// # Errors
    /// `Core(Invalid)` when the number of readers is not in 1..=64, `Core(Busy)` when another process holds the file longer than the
    /// wait, `Core(Corrupt)` when it is no SQLite file or a damaged one, `Core(InvalidData)` when it belongs to another program
    /// or to a later version, `Core(Io)` when it cannot be opened. The file is not changed then.
    pub fn open(self) -> Result<SqliteStore> {
        if !(1..=READERS_MAX).contains(&self.readers) {
            return Err(Core::invalid("readers", self.readers, "in 1..=64").into());
        }
        let connect = || SqliteFile::open(&self.path, LAYOUT, self.wait);
        let writer = connect()?;
        let readers = (0..self.readers).map(|_| connect()).collect::<Result<_>>()?;
        Ok(SqliteStore { writer, readers, turn: AtomicUsize::new(0), known: KnownViews::default() })
    }
}

type Attempt<T> = Result<T, Failure<Error>>;

impl SqliteStore {
    /// Opens the store at `path` with default settings, or makes an empty one.
    ///
    /// # Errors
    /// As [`SqliteStoreBuilder::open`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(path).open()
    }

    /// Settings for the store at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> SqliteStoreBuilder {
        SqliteStoreBuilder { path: path.into(), wait: WAIT_DEFAULT, readers: READERS_DEFAULT }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.writer.path()
    }

    fn reader(&self) -> &SqliteFile<Error> {
        &self.readers[self.turn.fetch_add(1, Ordering::Relaxed) % self.readers.len()]
    }

    fn corrupt(&self, reason: impl fmt::Display) -> Error {
        Core::corrupt(self.path().display().to_string(), reason).into()
    }

    /// What the file says of a view now.
    fn load(&self, tx: &Transaction<'_>, view: &Name) -> Attempt<Option<Arc<Registered>>> {
        let mut query = tx.prepare_cached("SELECT body FROM views WHERE name = ?1")?;
        let body: Option<Vec<u8>> = query.query_row(params![view.as_str()], |row| row.get(0)).optional()?;
        let Some(body) = body else { return Ok(None) };
        let registered = sealed::view(view.as_str().as_bytes(), &body);
        let registered = Arc::new(registered.map_err(|reason| Failure::Ours(self.corrupt(reason)))?);
        self.known.learn(view, &registered);
        Ok(Some(registered))
    }

    /// What is known of a view, from memory where that is enough.
    fn registered(&self, tx: &Transaction<'_>, view: &Name) -> Attempt<Option<Arc<Registered>>> {
        self.known.get(view).map_or_else(|| self.load(tx, view), |known| Ok(Some(known)))
    }

    /// The number of `view`, and its definition where that is new and stored in this transaction.
    fn admit(&self, tx: &Transaction<'_>, view: &FeatureView) -> Attempt<(u32, Option<Arc<Registered>>)> {
        if let Some(known) = self.known.get(view.name())
            && known.admit(view).map_err(Failure::Ours)?.is_none()
        {
            return Ok((known.id, None));
        }
        let next = if let Some(stored) = self.load(tx, view.name())? {
            match stored.admit(view).map_err(Failure::Ours)? {
                None => return Ok((stored.id, None)),
                Some(next) => next,
            }
        } else {
            let free = tx.query_row("SELECT coalesce(max(id) + 1, 0) FROM views", [], |row| row.get(0))?;
            Registered::new(free, view)
        };
        let name = view.name().as_str();
        let body = sealed::view_bytes(name.as_bytes(), &next).map_err(Failure::Ours)?;
        let upsert = "INSERT INTO views (name, id, body) VALUES (?1, ?2, ?3)
            ON CONFLICT (name) DO UPDATE SET body = excluded.body";
        tx.execute(upsert, params![name, next.id, body])?;
        Ok((next.id, Some(Arc::new(next))))
    }

    fn upsert(tx: &Transaction<'_>, id: u32, view: &FeatureView, batch: &Batch) -> Attempt<u64> {
        let mut find = tx.prepare_cached("SELECT row FROM rows WHERE view = ?1 AND key = ?2")?;
        let mut put = tx.prepare_cached("INSERT OR REPLACE INTO rows (view, key, row) VALUES (?1, ?2, ?3)")?;
        let mut written = 0;
        let mut full_key = id.to_be_bytes().to_vec();
        batch.for_each(view, |key, stamp, bytes| {
            full_key.truncate(4);
            full_key.extend_from_slice(key);
            let mut found = find.query(params![id, key])?;
            if let Some(found) = found.next()? {
                let stored = found.get_ref(0)?.as_blob().unwrap_or_default();
                // A damaged row is replaced: the row at hand is the best that is known.
                let row = sealed::open(&full_key, stored).and_then(RowBytes::parse);
                if row.is_some_and(|row| row.stamp > stamp) {
                    return Ok(());
                }
            }
            drop(found);
            sealed::seal(&full_key, bytes);
            put.execute(params![id, key, bytes.as_slice()])?;
            written += 1;
            Ok::<_, Failure<Error>>(())
        })?;
        Ok(written)
    }

    /// The stored watermark; one that is damaged is an error.
    fn mark(&self, tx: &Transaction<'_>, view: &Name) -> Attempt<Option<Watermark>> {
        let mut query = tx.prepare_cached("SELECT body FROM watermarks WHERE name = ?1")?;
        let body: Option<Vec<u8>> = query.query_row(params![view.as_str()], |row| row.get(0)).optional()?;
        let parsed = body.map(|body| sealed::watermark(view.as_str().as_bytes(), &body)).transpose();
        parsed.map_err(|reason| Failure::Ours(self.corrupt(reason)))
    }

    /// [`OnlineStore::write`] as a plain call: one durable transaction.
    ///
    /// # Errors
    /// As there, `Core(Busy)` when other processes write longer than the wait; nothing of the call is stored when it fails.
    pub fn write_sync(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        let batch = Batch::new(view, rows)?;
        if batch.rows() == 0 && checkpoint.is_none() {
            return Ok(WriteSummary::default());
        }
        let (written, next) = self.writer.write(|tx| {
            let (id, next) = self.admit(tx, view)?;
            let written = Self::upsert(tx, id, view, &batch)?;
            if let Some(reached) = checkpoint
                && self.mark(tx, view.name())?.is_none_or(|stored| stored < reached)
            {
                let name = view.name().as_str();
                let body = sealed::watermark_bytes(name.as_bytes(), reached);
                let put = "INSERT OR REPLACE INTO watermarks (name, body) VALUES (?1, ?2)";
                tx.execute(put, params![name, body])?;
            }
            Ok((written, next))
        })?;
        if let Some(next) = next {
            self.known.learn(view.name(), &next);
        }
        Ok(WriteSummary { written, superseded: batch.rows() - written })
    }

    /// [`OnlineStore::read`] as a plain call: all views as of one commit.
    ///
    /// # Errors
    /// As there.
    pub fn read_sync(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        self.reader().read(|tx| {
            let mut reader = Reader::new(reads).map_err(Failure::Ours)?;
            for (at, read) in reads.iter().enumerate() {
                self.read_one(tx, read, &mut reader, at)?;
            }
            reader.finish().map_err(Failure::Ours)
        })
    }

    fn read_one(&self, tx: &Transaction<'_>, read: &OnlineRead<'_>, reader: &mut Reader<'_>, at: usize) -> Attempt<()> {
        let registered = self.registered(tx, read.view.name())?;
        let fresh = OnceCell::new();
        let mut view = reader.view(at, registered.as_deref()).map_err(Failure::Ours)?;
        let mut query = tx.prepare_cached("SELECT row FROM rows WHERE view = ?1 AND key = ?2")?;
        let id = registered.as_ref().map_or(0, |view| view.id);
        let mut key = id.to_be_bytes().to_vec();
        for position in 0..read.keys.len() {
            key.truncate(4);
            if registered.is_none() || !read.keys.encode(position, &mut key) {
                view.skip(position);
                continue;
            }
            let mut found = query.query(params![id, &key[4..]])?;
            let Some(found) = found.next()? else {
                view.skip(position);
                continue;
            };
            let sealed = found.get_ref(0)?.as_blob().unwrap_or_default();
            let row = sealed::open(&key, sealed);
            let row = row.ok_or_else(|| Failure::Ours(view.corrupt("the checksum does not fit")))?;
            if fresh.get().is_none()
                && !knows(registered.as_deref(), read.view, row)
                && let Some(loaded) = self.load(tx, read.view.name())?
            {
                view.learn(fresh.get_or_init(|| loaded)).map_err(Failure::Ours)?;
            }
            view.push(position, row).map_err(Failure::Ours)?;
        }
        Ok(())
    }

    /// [`OnlineStore::delete`] as a plain call: one durable transaction.
    ///
    /// # Errors
    /// As there.
    pub fn delete_sync(&self, view: &FeatureView, keys: &Keys) -> Result<u64> {
        self.writer.write(|tx| {
            let Some(registered) = self.registered(tx, view.name())? else { return Ok(0) };
            registered.ensure_keys(view).map_err(Failure::Ours)?;
            let mut remove = tx.prepare_cached("DELETE FROM rows WHERE view = ?1 AND key = ?2")?;
            let mut forgotten = 0;
            let mut key = Vec::new();
            for position in 0..keys.len() {
                key.clear();
                if keys.encode(position, &mut key) {
                    forgotten += remove.execute(params![registered.id, key])? as u64;
                }
            }
            Ok(forgotten)
        })
    }

    /// [`OnlineStore::watermark`] as a plain call.
    ///
    /// # Errors
    /// As there; `Core(Corrupt)` when it is damaged.
    pub fn watermark_sync(&self, view: &FeatureView) -> Result<Option<Watermark>> {
        self.reader().read(|tx| self.mark(tx, view.name()))
    }
}

#[async_trait]
impl OnlineStore for SqliteStore {
    async fn write(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        self.write_sync(view, rows, checkpoint)
    }

    async fn read(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        self.read_sync(reads)
    }

    async fn delete(&self, view: &FeatureView, keys: &Keys) -> Result<u64> {
        self.delete_sync(view, keys)
    }

    async fn watermark(&self, view: &FeatureView) -> Result<Option<Watermark>> {
        self.watermark_sync(view)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path()).finish_non_exhaustive()
    }
}
