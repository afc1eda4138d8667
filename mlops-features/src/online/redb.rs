//! Rows in one file: durable, crash safe, checksummed on every read.
//!
//! The file is a redb database with three tables of bytes: `views` (name → key and features, as JSON), `rows` (number of
//! the view, big endian, and key → row) and `watermarks` (name → position). Every value begins with a format number and
//! ends with the CRC-32C of its key and all that stands before.

mod replace;
mod upsert;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use async_trait::async_trait;
use mlops_core::Name;
use mlops_core::file::AtomicFile;
use redb::{
    Database, DatabaseError, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, TableHandle,
    WriteTransaction,
};

use super::batch::Batch;
use super::registered::{Reader, Registered, ViewReader};
use super::{OnlineRead, OnlineRows, OnlineStore, WriteSummary, sealed};
use crate::error::{Core, Error, Result};
use crate::key::Keys;
use crate::offline::Watermark;
use crate::view::FeatureView;

const VIEWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("views");
const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
const WATERMARKS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("watermarks");

/// How often an open is tried again while another process holds the file.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// Online store in one file of this machine, written by one process at a time.
///
/// Every write is one transaction, durable when it returns; readers never wait for it. Each row is checked against its
/// checksum when it is read: a damaged one is `Core(Corrupt)`, never a wrong value.
///
/// # Examples
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("online.redb");
/// use mlops_features::online::RedbStore;
/// let store = RedbStore::open(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RedbStore {
    path: PathBuf,
    /// Held from the start of a write until readers can see it.
    writing: Mutex<()>,
    snapshot: ArcSwap<Snapshot>,
    database: Engine,
}

/// The database, which is closed without a panic: redb writes its free pages down then, and stops at damaged ones. What
/// was committed stands.
struct Engine(Option<Database>);

impl Deref for Engine {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0.as_ref().expect("the database is there until it is dropped")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let database = self.0.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

/// What readers see: the file as of one commit.
struct Snapshot {
    views: Arc<BTreeMap<Name, Registered>>,
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
    watermarks: BTreeMap<Name, Watermark>,
}

/// Collects the settings of a [`RedbStore`].
#[derive(Clone, Debug)]
pub struct RedbStoreBuilder {
    path: PathBuf,
    cache_bytes: usize,
    wait: Duration,
    verify: bool,
}

impl RedbStoreBuilder {
    /// Memory for pages of the file. Default 64 MiB.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How long to wait for another process to let go of the file. Default 5 s.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Whether to check every page of the file first, which reads all of it. Default false: values are checked as they are
    /// read, and a key that damage has changed is not found.
    pub fn verify_on_open(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Opens the file, or makes an empty store where there is none.
    ///
    /// # Errors
    /// `Core(Busy)` when another process still holds the file after the wait, `Core(Corrupt)` when it is not a store or is damaged
    /// (an empty file is no store: it was cut off), `Core(InvalidData)` when it is a redb file of another program, `Core(Io)` when
    /// it cannot be opened.
    pub fn open(self) -> Result<RedbStore> {
        let path = &self.path;
        if !path.exists() {
            guarded(path, || self.make())?;
        }
        let until = Instant::now() + self.wait;
        let database = loop {
            match guarded(path, || {
                self.open_once().map(|database| Engine(Some(database))).map_err(|e| database_error(path, e))
            }) {
                Err(Error::Core(Core::Busy { .. })) if Instant::now() < until => {
                    std::thread::sleep(RETRY_EVERY.min(self.wait));
                }
                other => break other?,
            }
        };
        let snapshot = guarded(path, || {
            ensure_ours(path, &database)?;
            Snapshot::take(path, &database, None)
        })?;
        Ok(RedbStore {
            writing: Mutex::default(),
            snapshot: ArcSwap::from_pointee(snapshot),
            database,
            path: self.path,
        })
    }

    /// Makes an empty store under another name first: a process that is killed in the middle must not leave a file that
    /// is neither a store nor missing.
    fn make(&self) -> Result<()> {
        let file = AtomicFile::create(&self.path)?;
        let database = Database::builder().create(file.temporary_path()).map_err(|e| database_error(&self.path, e))?;
        make_tables(&self.path, &database)?;
        drop(database);
        match file.commit_new() {
            Ok(_) | Err(Core::AlreadyExists { .. }) => Ok(()), // another process was faster
            Err(error) => Err(error.into()),
        }
    }

    fn open_once(&self) -> Result<Database, DatabaseError> {
        let mut builder = Database::builder();
        builder.set_cache_size(self.cache_bytes).set_check_integrity_on_open(self.verify);
        builder.open(&self.path)
    }
}

/// Makes the tables of an empty store.
fn make_tables(path: &Path, database: &Database) -> Result<()> {
    let write = begin(path, database)?;
    for table in [VIEWS, ROWS, WATERMARKS] {
        write.open_table(table).map_err(|e| storage(path, e))?;
    }
    write.commit().map_err(|e| storage(path, e))
}

/// Refuses files of other programs: a store has its tables from the start.
fn ensure_ours(path: &Path, database: &Database) -> Result<()> {
    let read = database.begin_read().map_err(|e| storage(path, e))?;
    let mut tables = read.list_tables().map_err(|e| storage(path, e))?;
    if tables.any(|table| [VIEWS, ROWS, WATERMARKS].iter().any(|ours| ours.name() == table.name())) {
        return Ok(());
    }
    Err(Core::invalid_data(path.display().to_string(), "it is a redb file, but no feature store").into())
}

fn begin(path: &Path, database: &Database) -> Result<WriteTransaction> {
    let mut write = database.begin_write().map_err(|e| storage(path, e))?;
    write.set_durability(Durability::Immediate).map_err(|e| storage(path, e))?;
    // A restart after a crash then takes milliseconds, not a walk through the file.
    write.set_quick_repair(true);
    Ok(write)
}

impl Snapshot {
    /// The last commit; `views` where it did not change them.
    fn take(path: &Path, database: &Database, views: Option<Arc<BTreeMap<Name, Registered>>>) -> Result<Self> {
        let read = database.begin_read().map_err(|e| storage(path, e))?;
        let open = |definition| read.open_table(definition).map_err(|e| storage(path, e));
        let views = match views {
            Some(views) => views,
            None => Arc::new(views_of(path, &open(VIEWS)?)?),
        };
        let mut watermarks = BTreeMap::new();
        for entry in open(WATERMARKS)?.iter().map_err(|e| storage(path, e))? {
            let (name, value) = entry.map_err(|e| storage(path, e))?;
            let stored = sealed::watermark(name.value(), value.value()).map_err(|reason| corrupt(path, reason))?;
            watermarks.insert(view_name(path, name.value())?, stored);
        }
        Ok(Self { views, rows: open(ROWS)?, watermarks })
    }
}

fn views_of(path: &Path, table: &ReadOnlyTable<&'static [u8], &'static [u8]>) -> Result<BTreeMap<Name, Registered>> {
    let mut views = BTreeMap::new();
    for entry in table.iter().map_err(|e| storage(path, e))? {
        let (name, value) = entry.map_err(|e| storage(path, e))?;
        let view = sealed::view(name.value(), value.value()).map_err(|reason| corrupt(path, reason))?;
        views.insert(view_name(path, name.value())?, view);
    }
    Ok(views)
}

fn view_name(path: &Path, bytes: &[u8]) -> Result<Name> {
    let text = std::str::from_utf8(bytes).map_err(|e| corrupt(path, e))?;
    Name::new(text).map_err(|e| corrupt(path, e))
}

fn corrupt(path: &Path, reason: impl fmt::Display) -> Error {
    Core::corrupt(path.display().to_string(), reason).into()
}

/// Runs `work`, in which redb may panic over damaged pages.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(corrupt(path, "its pages contradict each other")))
}

fn database_error(path: &Path, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Core::Busy { what: path.display().to_string() }.into(),
        other => storage(path, other),
    }
}

/// What redb said, by what the caller does next.
fn storage(path: &Path, error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Corrupted(reason) => corrupt(path, reason),
        redb::Error::Io(source) if source.kind() == std::io::ErrorKind::InvalidData => corrupt(path, source),
        redb::Error::Io(source) => Core::io(path, source).into(),
        redb::Error::TableDoesNotExist(table) => corrupt(path, format!("there is no table `{table}`")),
        redb::Error::TableTypeMismatch { table, .. } => corrupt(path, format!("table `{table}` holds other types")),
        other => Core::external("redb", other).into(),
    }
}

impl RedbStore {
    /// Opens the store at `path` with default settings, or makes an empty one.
    ///
    /// # Errors
    /// As [`RedbStoreBuilder::open`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(path).open()
    }

    /// Settings for the store at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> RedbStoreBuilder {
        RedbStoreBuilder { path: path.into(), cache_bytes: 64 << 20, wait: Duration::from_secs(5), verify: false }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work`, which says whether it changed the table of views, in one transaction and shows its outcome to readers.
    fn transaction<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<(T, bool)>) -> Result<T> {
        let _guard = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        guarded(&self.path, || {
            let write = begin(&self.path, &self.database)?;
            let (done, changed) = work(&write)?;
            write.commit().map_err(|e| storage(&self.path, e))?;
            let views = (!changed).then(|| self.snapshot.load().views.clone());
            self.snapshot.store(Arc::new(Snapshot::take(&self.path, &self.database, views)?));
            Ok(done)
        })
    }

    /// The number of `view`, and whether its definition was new and is stored now.
    fn admit(&self, write: &WriteTransaction, view: &FeatureView) -> Result<(u32, bool)> {
        let snapshot = self.snapshot.load();
        let next = if let Some(known) = snapshot.views.get(view.name()) {
            match known.admit(view)? {
                None => return Ok((known.id, false)),
                Some(next) => next,
            }
        } else {
            let free = snapshot.views.values().map(|known| known.id + 1).max().unwrap_or(0);
            Registered::new(free, view)
        };
        let name = view.name().as_str().as_bytes();
        let bytes = sealed::view_bytes(name, &next)?;
        let mut views = write.open_table(VIEWS).map_err(|e| storage(&self.path, e))?;
        views.insert(name, bytes.as_slice()).map_err(|e| storage(&self.path, e))?;
        Ok((next.id, true))
    }

    /// [`OnlineStore::write`] as a plain call: one durable transaction.
    ///
    /// # Errors
    /// As there; nothing of the call is stored when it fails.
    pub fn write_sync(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        let batch = Batch::new(view, rows)?;
        let checkpoint = checkpoint.filter(|next| self.watermark_of(view).is_none_or(|stored| *next > stored));
        if batch.rows() == 0 && checkpoint.is_none() {
            return Ok(WriteSummary::default());
        }
        self.transaction(|write| {
            let (id, changed) = self.admit(write, view)?;
            let mut table = write.open_table(ROWS).map_err(|e| storage(&self.path, e))?;
            let written = self.upsert(&mut table, id, view, &batch)?;
            if let Some(next) = checkpoint {
                let name = view.name().as_str().as_bytes();
                let bytes = sealed::watermark_bytes(name, next);
                let mut watermarks = write.open_table(WATERMARKS).map_err(|e| storage(&self.path, e))?;
                watermarks.insert(name, bytes.as_slice()).map_err(|e| storage(&self.path, e))?;
            }
            Ok((WriteSummary { written, superseded: batch.rows() - written }, changed))
        })
    }

    /// [`OnlineStore::read`] as a plain call.
    ///
    /// # Errors
    /// As there.
    pub fn read_sync(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        let snapshot = self.snapshot.load();
        guarded(&self.path, || {
            let mut reader = Reader::new(reads)?;
            for (at, read) in reads.iter().enumerate() {
                let registered = snapshot.views.get(read.view.name());
                self.read_one(&snapshot, read.keys, registered, &mut reader.view(at, registered)?)?;
            }
            reader.finish()
        })
    }

    fn read_one(
        &self,
        snapshot: &Snapshot,
        keys: &Keys,
        registered: Option<&Registered>,
        view: &mut ViewReader<'_>,
    ) -> Result<()> {
        let mut key = Vec::with_capacity(64);
        key.extend_from_slice(&registered.map_or(0, |view| view.id).to_be_bytes());
        for position in 0..keys.len() {
            key.truncate(4);
            if registered.is_none() || !keys.encode(position, &mut key) {
                view.skip(position);
                continue;
            }
            match snapshot.rows.get(key.as_slice()).map_err(|e| storage(&self.path, e))? {
                None => view.skip(position),
                Some(stored) => {
                    let row = sealed::open(&key, stored.value());
                    view.push(position, row.ok_or_else(|| view.corrupt("the checksum does not fit"))?)?;
                }
            }
        }
        Ok(())
    }

    /// [`OnlineStore::delete`] as a plain call: one durable transaction.
    ///
    /// # Errors
    /// As there.
    pub fn delete_sync(&self, view: &FeatureView, keys: &Keys) -> Result<u64> {
        let Some(registered) = self.snapshot.load().views.get(view.name()).cloned() else { return Ok(0) };
        registered.ensure_keys(view)?;
        self.transaction(|write| {
            let mut rows = write.open_table(ROWS).map_err(|e| storage(&self.path, e))?;
            let mut forgotten = 0;
            let mut key = registered.id.to_be_bytes().to_vec();
            for position in 0..keys.len() {
                key.truncate(4);
                if keys.encode(position, &mut key) {
                    let removed = rows.remove(key.as_slice()).map_err(|e| storage(&self.path, e))?;
                    forgotten += u64::from(removed.is_some());
                }
            }
            Ok((forgotten, false))
        })
    }

    /// [`OnlineStore::watermark`] as a plain call.
    ///
    /// # Errors
    /// None at present: watermarks are read and checked when the file is opened.
    pub fn watermark_sync(&self, view: &FeatureView) -> Result<Option<Watermark>> {
        Ok(self.watermark_of(view))
    }

    fn watermark_of(&self, view: &FeatureView) -> Option<Watermark> {
        self.snapshot.load().watermarks.get(view.name()).copied()
    }
}

#[async_trait]
impl OnlineStore for RedbStore {
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

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.path).finish_non_exhaustive()
    }
}
