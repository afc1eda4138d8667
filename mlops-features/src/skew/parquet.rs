//! Served vectors in Parquet files, by day.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use mlops_core::source::{ParquetSink, ParquetSource};
use mlops_core::time::DAY_US;
use mlops_core::{Dataset, Digest, EventTime, Window};

use super::log::{SERVED_AT, VectorLog};
use crate::error::{Core, Error, Result};

const ENDING: &str = ".parquet";

/// Served vectors in one folder: a file per append and day, named by the day and by what is in it.
///
/// A file is written aside and then given its name, so a process that is killed leaves none that is half there; the same rows
/// twice are one file. Whole days are dropped by deleting their files.
///
/// # Examples
/// ```
/// # let folder = tempfile::tempdir()?;
/// use mlops_features::skew::ParquetVectorLog;
/// let log = ParquetVectorLog::open(folder.path().join("ranker"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ParquetVectorLog {
    folder: PathBuf,
}

impl ParquetVectorLog {
    /// The log in `folder`, which is made where there is none.
    ///
    /// # Errors
    /// `Core(Io)` when it cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).map_err(|e| Core::io(&folder, e))?;
        Ok(Self { folder })
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn files(&self, window: Window) -> Result<Vec<PathBuf>> {
        let listed = std::fs::read_dir(&self.folder).map_err(|e| Core::io(&self.folder, e))?;
        let mut files = Vec::new();
        for entry in listed {
            let path = entry.map_err(|e| Core::io(&self.folder, e))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(ENDING) && !name.starts_with('.') && may_hold(name, window) {
                files.push(path);
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}

/// Whether a file may hold rows of `window`; one without a day in its name may.
fn may_hold(name: &str, window: Window) -> bool {
    let Some((day, _)) = name.split_once('_') else { return true };
    let Ok(start) = EventTime::parse(&format!("{day}T00:00:00Z")) else { return true };
    let end = start.as_micros().saturating_add(DAY_US);
    start < window.end && end > window.start.as_micros()
}

/// The rows of a file, which are those that it is named by.
fn open(path: &Path) -> mlops_core::Result<Dataset> {
    let rows = Dataset::from_source(Arc::new(ParquetSource::open(path)?))?;
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let told: Option<Digest> = name.rsplit_once('_').and_then(|(_, digest)| digest.parse().ok());
    // Parquet's writers keep no checksums: damage to a value would be taken for skew.
    if let Some(told) = told
        && rows.digest()? != told
    {
        return Err(Core::corrupt(path.display().to_string(), "its rows are not those that it is named by"));
    }
    Ok(rows)
}

impl VectorLog for ParquetVectorLog {
    fn append(&self, rows: &RecordBatch) -> Result<()> {
        let missing = || Core::schema(SERVED_AT, EventTime::data_type(), "no such column");
        let at = rows.column_by_name(SERVED_AT).ok_or_else(missing)?;
        let at = at.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(missing)?;
        let day = |row: usize| at.value(row).div_euclid(DAY_US);
        let mut days: Vec<i64> = (0..at.len()).map(day).collect();
        days.sort_unstable();
        days.dedup();
        for of_day in days {
            let within = BooleanBuffer::collect_bool(at.len(), |row| day(row) == of_day);
            let rows = Dataset::from_batches([filter_record_batch(rows, &BooleanArray::new(within, None))?])?;
            let start = EventTime::from_micros(of_day.saturating_mul(DAY_US)).to_string();
            let name = start.split_once('T').map_or(start.as_str(), |(day, _)| day);
            let digest = rows.digest()?;
            rows.write_to(&ParquetSink::new(self.folder.join(format!("{name}_{digest}{ENDING}"))))?;
        }
        Ok(())
    }

    fn read(&self, window: Window) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>> {
        let files = self.files(window)?.into_iter();
        let opened = files.flat_map(|path| {
            let (batches, failed) = match open(&path).and_then(|rows| rows.batches()) {
                Ok(batches) => (Some(batches), None),
                Err(error) => (None, Some(Err(error))),
            };
            batches.into_iter().flatten().chain(failed)
        });
        Ok(Box::new(opened.map(|batch| batch.map_err(Error::from))))
    }
}

impl fmt::Debug for ParquetVectorLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetVectorLog").field("folder", &self.folder).finish()
    }
}
