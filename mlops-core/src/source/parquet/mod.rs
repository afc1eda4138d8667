//! Apache Parquet files: a source that reads only what it needs, and a sink that keeps every annotation.

mod prune;
mod sink;

pub(super) use prune::row_groups;
pub use sink::{ParquetSink, ParquetSinkBuilder};

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::adopt::adopt;
use super::guard::guard;
use super::local::{in_file, info, open, shown};
use super::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::schema::Finder;
use crate::{Error, Result, Schema};

/// Rows of a Parquet file.
///
/// A scan reads the columns that it needs, skips row groups that the statistics rule out, and stops at the limit. Roles,
/// sensitivities, units and the schema's own metadata come from the file when a [`ParquetSink`] wrote them.
///
/// A damaged file is [`Error::InvalidData`] naming it. Pages carry no checksum, so a value that was altered within a page
/// may still read as another value: whoever must know compares the [content digest](crate::Dataset::digest).
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
/// use mlops_core::source::{Comparison, ParquetSink, ParquetSource, Predicate, ScanRequest};
/// use mlops_core::Dataset;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("offers.parquet");
/// let batch = RecordBatch::try_from_iter([
///     ("offer", std::sync::Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef),
///     ("price", std::sync::Arc::new(Float64Array::from(vec![9.5, 12.0, 30.0]))),
/// ])?;
/// Dataset::from_batches([batch])?.write_to(&ParquetSink::new(&path))?;
///
/// let offers = Dataset::from_source(std::sync::Arc::new(ParquetSource::open(&path)?))?;
/// let dear = ScanRequest::all().columns(["offer"]).filter(Predicate::new("price", Comparison::Gt, 10.0));
/// assert_eq!(Dataset::collect(offers.scan(&dear)?)?.num_rows()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ParquetSource {
    path: PathBuf,
    schema: Schema,
    stored: Schema,
}

/// Settings of a [`ParquetSource`].
#[derive(Clone, Debug)]
pub struct ParquetSourceBuilder {
    path: PathBuf,
    schema: Option<Schema>,
}

impl ParquetSourceBuilder {
    /// The columns that are read, with their annotations; each must be in the file with the same logical type.
    /// Default: all columns of the file.
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Reads the footer.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no file, [`Error::InvalidData`] when it is not Parquet or damaged, [`Error::Schema`] when a
    /// column of a given schema is missing or of another type.
    pub fn build(self) -> Result<ParquetSource> {
        let stored = Footer::read(&self.path)?.schema;
        let schema = match self.schema {
            Some(schema) => {
                stored.ensure_provides(&schema)?;
                schema
            }
            None => stored.clone(),
        };
        Ok(ParquetSource { path: self.path, schema, stored })
    }
}

impl ParquetSource {
    /// All columns of the file at `path`.
    ///
    /// # Errors
    /// What [`ParquetSourceBuilder::build`] says.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(path).build()
    }

    /// Settings for the file at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> ParquetSourceBuilder {
        ParquetSourceBuilder { path: path.into(), schema: None }
    }
}

/// An open file whose footer has been read.
struct Footer {
    builder: ParquetRecordBatchReaderBuilder<File>,
    schema: Schema,
}

impl Footer {
    fn read(path: &Path) -> Result<Self> {
        let file = open(path)?;
        let builder = guard(path, || ParquetRecordBatchReaderBuilder::try_new(file))?;
        ensure_adds_up(path, builder.metadata())?;
        let schema = Schema::new(builder.schema().clone()).map_err(|e| in_file(path, e))?;
        Ok(Self { builder, schema })
    }
}

/// Checks that the rows of the groups are those of the file.
pub(super) fn ensure_adds_up(path: &Path, metadata: &ParquetMetaData) -> Result<()> {
    let counted = metadata.row_groups().iter().try_fold(0_i64, |sum, group| {
        Some(group.num_rows()).filter(|rows| *rows >= 0).and_then(|rows| sum.checked_add(rows))
    });
    if counted == Some(metadata.file_metadata().num_rows()) {
        return Ok(());
    }
    Err(Error::invalid_data(shown(path), "damaged: its row groups do not add up"))
}

impl DataSource for ParquetSource {
    fn info(&self) -> Result<SourceInfo> {
        info(&self.path, "parquet")
    }

    fn schema(&self) -> Result<Schema> {
        self.info()?;
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let schema = request.schema_to_read(&self.schema)?;
        let Footer { builder, schema: stored } = Footer::read(&self.path)?;
        if stored != self.stored {
            return Err(Error::invalid_data(shown(&self.path), "its columns have changed since the source was opened"));
        }
        let groups = guard(&self.path, || Ok::<_, ParquetError>(row_groups(&builder, request.predicates())))?;
        let rows = groups.iter().map(|group| builder.metadata().row_group(*group).num_rows() as u64).sum();
        let mut reader = guard(&self.path, || {
            let mut finder = Finder::of(builder.schema().fields());
            let roots = schema.names().filter_map(|name| finder.find(name));
            let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
            let builder = builder.with_row_groups(groups).with_projection(mask);
            builder.with_batch_size(request.rows_per_batch()).build()
        })?;
        let path = self.path.clone();
        let next = move || guard(&path, || reader.next().transpose().map_err(ParquetError::from));
        let scan = Scan { path: self.path.clone(), reader: Some(Box::new(next)), schema: schema.clone(), rows };
        request.finish(BatchStream::new(schema, scan))
    }
}

/// Gives the next batch that the pages hold.
type Batches = Box<dyn FnMut() -> Result<Option<RecordBatch>> + Send>;

/// Batches in the form of `schema`, held against what the footer promises.
pub(super) struct Scan {
    pub(super) path: PathBuf,
    /// Gone after the last batch and after a failure.
    pub(super) reader: Option<Batches>,
    pub(super) schema: Schema,
    /// Rows that the footer promises and that have not come yet.
    pub(super) rows: u64,
}

impl Iterator for Scan {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = self.reader.take()?;
        let refuse =
            || Err(Error::invalid_data(shown(&self.path), "damaged: it holds other rows than its footer says"));
        match reader() {
            Ok(None) if self.rows > 0 => Some(refuse()),
            Ok(None) => None,
            Ok(Some(batch)) if batch.num_rows() as u64 > self.rows => Some(refuse()),
            Ok(Some(batch)) => {
                self.rows -= batch.num_rows() as u64;
                self.reader = Some(reader);
                Some(adopt(&self.schema, batch))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests;
