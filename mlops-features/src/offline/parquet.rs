//! History in Parquet files: a folder per view, a file per append.
//!
//! ```text
//! root/<digest of the view's name>/<number of the append, 20 digits>.parquet
//! root/<digest of the view's name>/<first append>-<last append>.parquet
//! ```
//! A file appears under its name only when it is whole and on disk, and never changes after. Names of views are never
//! paths. The order of the file names is the order of the appends, so no other file needs to be kept in step. Files of
//! several appends are what [`compact`](ParquetStore::compact) makes; they stand for those of single ones.
//! All values of a file are under checksums that stand in its footer: damage is an error, never another value.

mod checksum;
mod compact;
mod files;
mod footer;
mod ids;
mod listing;

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use mlops_core::file::{FileLock, create_dir_all_synced, sync_dir};
use mlops_core::{Dataset, Digest};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use tempfile::NamedTempFile;

pub use self::compact::{CompactOptions, CompactReport};
pub use self::files::ViewHistory;
use self::footer::ID_KEY;
use self::ids::Ids;
use self::listing::{Span, list};
use super::asof::Origin;
use super::{
    AppendOnce, Appended, AsOfEngine, AsOfOptions, HistoryRequest, HistoryStream, NativeEngine, OfflineStore, Once,
    TrainingSet, Watermark,
};
use crate::error::{Core, Result};
use crate::service::ViewJoin;
use crate::view::FeatureView;

/// Most rows of one row group.
const ROW_GROUP_ROWS: usize = 262_144;

/// How often an append looks for a free number before it gives up: each time another process took it.
const NUMBER_TRIES: usize = 1_000;

/// How long an append that happens once waits for others of its kind.
const LOCK_WAIT: Duration = Duration::from_mins(1);

const LOCK: &str = ".once.lock";

/// Offline store in a folder of this machine, or of a file system that renames atomically.
///
/// Several processes may append and read at the same time. A file that an interrupted append left behind begins with
/// `.append-` and is never read. What is read is checked against checksums in each file's footer: damage is `Core(Corrupt)`,
/// never another value. The files are plain Parquet, for others to read, too.
///
/// # Examples
/// ```
/// # let folder = tempfile::tempdir()?;
/// use mlops_features::offline::ParquetStore;
/// let store = ParquetStore::open(folder.path().join("history"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ParquetStore {
    root: PathBuf,
    engine: Arc<dyn AsOfEngine>,
    /// Appends of one process take numbers one after the other.
    publishing: Mutex<()>,
    ids: Ids,
}

impl ParquetStore {
    /// Opens the store in the folder `root`, which is made if need be.
    ///
    /// # Errors
    /// `Core(Io)` when it cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        create_dir_all_synced(&root)?;
        Ok(Self { root, engine: Arc::new(NativeEngine), publishing: Mutex::default(), ids: Ids::default() })
    }

    /// The same store, whose joins are run by `engine`. Default [`NativeEngine`].
    pub fn with_engine(mut self, engine: Arc<dyn AsOfEngine>) -> Self {
        self.engine = engine;
        self
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn folder(&self, view: &FeatureView) -> PathBuf {
        self.root.join(Digest::of(view.name().as_str()).to_string())
    }

    /// All history of `view` as of now: what is appended later is not seen through it.
    ///
    /// # Errors
    /// `Core(Io)` when the folder cannot be read.
    pub fn history(&self, view: &FeatureView) -> Result<ViewHistory> {
        Ok(ViewHistory::new(view.clone(), self.folder(view), list(&self.folder(view))?))
    }

    /// Writes `rows` to `file`; returns how many there were.
    fn fill(view: &FeatureView, rows: &Dataset, id: Option<&Digest>, file: &File, path: &Path) -> Result<u64> {
        let id = id.map(|id| KeyValue::new(ID_KEY.to_owned(), id.to_string()));
        let mut writer = Writer::begin(view.schema().arrow(), id, file, path)?;
        let mut count = 0;
        for batch in rows.batches()? {
            let batch = view.conform(&batch?)?;
            count += batch.num_rows() as u64;
            writer.write(&batch)?;
        }
        writer.finish()?;
        Ok(count)
    }

    /// Gives `file` the next free number.
    fn publish(&self, mut file: NamedTempFile, folder: &Path) -> Result<u64> {
        let _guard = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..NUMBER_TRIES {
            let number = list(folder)?.last().map_or(Ok(0), |last| {
                last.last.checked_add(1).ok_or_else(|| Core::invalid("number of appends", last.last, "below 2^64 - 1"))
            })?;
            match file.persist_noclobber(folder.join(Span::of(number).file_name())) {
                Ok(_) => {
                    sync_dir(folder)?;
                    return Ok(number);
                }
                Err(taken) if taken.error.kind() == ErrorKind::AlreadyExists => file = taken.file,
                Err(other) => return Err(Core::io(folder, other.error).into()),
            }
        }
        Err(Core::Busy { what: folder.display().to_string() }.into())
    }
}

impl ParquetStore {
    /// Writes `rows` to a file that has no number yet; `None` when there are none.
    fn prepare(&self, view: &FeatureView, rows: &Dataset, id: Option<&Digest>) -> Result<Option<Prepared>> {
        let folder = self.folder(view);
        create_dir_all_synced(&folder)?;
        sync_dir(&self.root)?; // another process may have made it just now
        let io = |e| Core::io(&folder, e);
        let file = tempfile::Builder::new().prefix(".append-").tempfile_in(&folder).map_err(io)?;
        let count = Self::fill(view, rows, id, file.as_file(), file.path())?;
        Ok((count > 0).then_some(Prepared { file, folder, count }))
    }

    fn publish_prepared(&self, prepared: Prepared) -> Result<Appended> {
        let Prepared { file, folder, count } = prepared;
        let sequence = self.publish(file, &folder)?;
        Ok(Appended { rows: count, end: Some(Watermark { sequence, rows: count }) })
    }
}

/// One file in the making.
struct Writer<'a> {
    rows: ArrowWriter<&'a File>,
    file: &'a File,
    path: &'a Path,
}

impl<'a> Writer<'a> {
    fn begin(schema: &SchemaRef, told: Option<KeyValue>, file: &'a File, path: &'a Path) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_key_value_metadata(told.map(|told| vec![told]))
            .build();
        let rows = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(|e| unwritten(path, e))?;
        Ok(Self { rows, file, path })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.write(batch).map_err(|e| unwritten(self.path, e))
    }

    /// Brings everything to the disk, with its checksums.
    fn finish(mut self) -> Result<()> {
        let io = |e| Core::io(self.path, e);
        self.rows.flush().map_err(|e| unwritten(self.path, e))?;
        self.rows.sync().map_err(io)?;
        let told = checksum::told(self.file, self.path, self.rows.flushed_row_groups())?;
        self.rows.append_key_value_metadata(told);
        self.rows.close().map_err(|e| unwritten(self.path, e))?;
        checksum::seal(self.file, self.path)?;
        Ok(self.file.sync_all().map_err(io)?)
    }
}

fn unwritten(path: &Path, error: ParquetError) -> crate::Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(io) => Core::io(path, *io).into(),
            Err(other) => Core::external("parquet", other).into(),
        },
        other => Core::external("parquet", other).into(),
    }
}

/// A whole append that nobody sees yet.
struct Prepared {
    file: NamedTempFile,
    folder: PathBuf,
    count: u64,
}

impl OfflineStore for ParquetStore {
    fn append(&self, view: &FeatureView, rows: &Dataset) -> Result<Appended> {
        match self.prepare(view, rows, None)? {
            Some(prepared) => self.publish_prepared(prepared),
            None => Ok(Appended { rows: 0, end: None }),
        }
    }

    fn scan(&self, view: &FeatureView, request: &HistoryRequest) -> Result<HistoryStream> {
        self.history(view)?.read(request)
    }

    fn as_of(&self, spine: &Dataset, joins: &[ViewJoin], options: &AsOfOptions) -> Result<TrainingSet> {
        let histories = joins.iter().map(|join| self.history(join.view())).collect::<Result<Vec<_>>>()?;
        let with_history = |(join, history): (&ViewJoin, &ViewHistory)| {
            Ok((join.clone(), Dataset::from_source(Arc::new(history.clone()))?))
        };
        let views = joins.iter().zip(&histories).map(with_history).collect::<Result<Vec<_>>>()?;
        let set = self.engine.join(spine, &views, options)?;
        let origins = joins.iter().zip(&histories).map(|(join, history)| Origin::stored(join, history));
        Ok(set.with_origins(spine, origins.collect(), options))
    }
}

impl AppendOnce for ParquetStore {
    fn appended(&self, view: &FeatureView, id: &Digest) -> Result<Option<Appended>> {
        let folder = self.folder(view);
        match self.ids.find(&folder, &list(&folder)?, id) {
            // A compaction has put another file in its place since the folder was listed.
            Err(crate::Error::Core(Core::Io { source, .. })) if source.kind() == ErrorKind::NotFound => {
                self.ids.find(&folder, &list(&folder)?, id)
            }
            found => found,
        }
    }

    fn append_once(&self, view: &FeatureView, id: &Digest, rows: &Dataset) -> Result<Once> {
        if let Some(before) = self.appended(view, id)? {
            return Ok(Once::Before(before));
        }
        let Some(prepared) = self.prepare(view, rows, Some(id))? else {
            return Ok(Once::Now(Appended { rows: 0, end: None }));
        };
        // Others may have done the same work meanwhile; who is first is decided under the lock.
        let _lock = FileLock::acquire(&prepared.folder.join(LOCK), LOCK_WAIT)?;
        if let Some(before) = self.appended(view, id)? {
            return Ok(Once::Before(before));
        }
        Ok(Once::Now(self.publish_prepared(prepared)?))
    }
}
