//! History in Parquet files: a folder per view, a file per append.
//!
//! ```text
//! root/<digest of the view's name>/<number of the append, 20 digits>.parquet
//! ```
//! A file appears under its name only when it is whole and on disk, and never changes after. Names of views are never
//! paths. The order of the file names is the order of the appends, so no other file needs to be kept in step.

mod files;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mlops_core::{Dataset, Digest};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::NamedTempFile;

pub use self::files::ViewHistory;
use super::{Appended, AsOfOptions, HistoryRequest, HistoryStream, OfflineStore, TrainingSet, Watermark, as_of_join};
use crate::error::{Core, Result};
use crate::service::ViewJoin;
use crate::view::FeatureView;

/// Most rows of one row group.
const ROW_GROUP_ROWS: usize = 262_144;

/// How often an append looks for a free number before it gives up: each time another process took it.
const NUMBER_TRIES: usize = 1_000;

const SUFFIX: &str = ".parquet";
const DIGITS: usize = 20;

/// Offline store in a folder of this machine, or of a file system that renames atomically.
///
/// Several processes may append and read at the same time. A file that an interrupted append left behind begins with
/// `.append-` and is never read.
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
    /// Appends of one process take numbers one after the other.
    publishing: Mutex<()>,
}

impl ParquetStore {
    /// Opens the store in the folder `root`, which is made if need be.
    ///
    /// # Errors
    /// `Core(Io)` when it cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(|e| Core::io(&root, e))?;
        Ok(Self { root, publishing: Mutex::default() })
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
    fn fill(view: &FeatureView, rows: &Dataset, file: &File, path: &Path) -> Result<u64> {
        let failed = |e: parquet::errors::ParquetError| match e {
            parquet::errors::ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
                Ok(io) => Core::io(path, *io),
                Err(other) => Core::external("parquet", other),
            },
            other => Core::external("parquet", other),
        };
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let mut writer = ArrowWriter::try_new(file, view.schema().arrow().clone(), Some(properties)).map_err(failed)?;
        let mut count = 0;
        for batch in rows.batches()? {
            let batch = view.conform(&batch?)?;
            count += batch.num_rows() as u64;
            writer.write(&batch).map_err(failed)?;
        }
        writer.close().map_err(failed)?;
        file.sync_all().map_err(|e| Core::io(path, e))?;
        Ok(count)
    }

    /// Gives `file` the next free number.
    fn publish(&self, mut file: NamedTempFile, folder: &Path) -> Result<u64> {
        let _guard = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..NUMBER_TRIES {
            let number = list(folder)?.last().map_or(Ok(0), |last| {
                last.checked_add(1).ok_or_else(|| Core::invalid("number of appends", last, "below 2^64 - 1"))
            })?;
            match file.persist_noclobber(folder.join(file_name(number))) {
                Ok(_) => {
                    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| Core::io(folder, e))?;
                    return Ok(number);
                }
                Err(taken) if taken.error.kind() == ErrorKind::AlreadyExists => file = taken.file,
                Err(other) => return Err(Core::io(folder, other.error).into()),
            }
        }
        Err(Core::Busy { what: folder.display().to_string() }.into())
    }
}

impl OfflineStore for ParquetStore {
    fn append(&self, view: &FeatureView, rows: &Dataset) -> Result<Appended> {
        let folder = self.folder(view);
        fs::create_dir_all(&folder).map_err(|e| Core::io(&folder, e))?;
        File::open(&self.root).and_then(|root| root.sync_all()).map_err(|e| Core::io(&self.root, e))?;
        let io = |e| Core::io(&folder, e);
        let file = tempfile::Builder::new().prefix(".append-").tempfile_in(&folder).map_err(io)?;
        let count = Self::fill(view, rows, file.as_file(), file.path())?;
        if count == 0 {
            return Ok(Appended { rows: 0, end: None });
        }
        let sequence = self.publish(file, &folder)?;
        Ok(Appended { rows: count, end: Some(Watermark { sequence, rows: count }) })
    }

    fn scan(&self, view: &FeatureView, request: &HistoryRequest) -> Result<HistoryStream> {
        self.history(view)?.read(request)
    }

    fn as_of(&self, spine: &Dataset, joins: &[ViewJoin], options: &AsOfOptions) -> Result<TrainingSet> {
        let with_history = |join: &ViewJoin| {
            let history = self.history(join.view())?;
            Ok((join.clone(), Dataset::from_source(std::sync::Arc::new(history))?))
        };
        let views = joins.iter().map(with_history).collect::<Result<Vec<_>>>()?;
        as_of_join(spine, &views, options)
    }
}

fn file_name(number: u64) -> String {
    format!("{number:0DIGITS$}{SUFFIX}")
}

/// Numbers of the appends in `folder`, ascending; none when there is no such folder.
fn list(folder: &Path) -> Result<Vec<u64>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Core::io(folder, e).into()),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| Core::io(folder, e))?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        let digits = digits.filter(|text| text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_digit()));
        numbers.extend(digits.and_then(|text| text.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
