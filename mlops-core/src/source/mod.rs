//! Where data comes from and goes to.
//!
//! A [`DataSource`] can be scanned any number of times; a [`DataSink`] shows nothing of a write until it is committed.
//! Entry points: [`open`] and [`create`] for files by the ending of their name, [`DataSource::scan`], [`DataSink::begin`].

mod adopt;
mod cells;
mod compression;
mod convert;
mod csv;
mod files;
mod format;
mod guard;
mod infer;
mod instant;
mod ipc;
mod json;
mod local;
mod medium;
mod memory;
#[cfg(feature = "object-store")]
mod object;
mod parquet;
#[cfg(feature = "postgres")]
mod postgres;
mod predicate;
mod print;
mod quarantine;
#[cfg(test)]
mod random;
mod request;
mod spoilt;
mod stored;
mod stream;

pub use convert::{ConvertOptions, Converted, convert};
pub use csv::{COLUMNS_MAX, CsvSink, CsvSinkBuilder, CsvSource, CsvSourceBuilder, RECORD_BYTES_MAX, SniffReport};
pub use files::{
    FILES_MAX, FilesProgress, FilesSink, FilesSinkBuilder, FilesSource, FilesSourceBuilder, PARTITIONS_MAX,
};
pub use format::{FileFormat, create, open};
pub use infer::{InferenceReport, InferredColumn, SAMPLE_ROWS_DEFAULT};
pub use ipc::{IpcCompression, IpcLayout, IpcSink, IpcSinkBuilder, IpcSource, IpcSourceBuilder};
pub use json::{JsonSink, JsonSource, JsonSourceBuilder, NonFinite};
pub use memory::{MemorySink, MemorySource};
#[cfg(feature = "object-store")]
pub use object::{ObjectStore, ObjectStoreBuilder, ObjectStoreSink, ObjectStoreSource};
pub use parquet::{ParquetSink, ParquetSinkBuilder, ParquetSource, ParquetSourceBuilder};
#[cfg(feature = "postgres")]
pub use postgres::{Cursor, KeyedRows, PostgresSource, PostgresSourceBuilder};
pub(crate) use predicate::is_text;
pub use predicate::{Comparison, Predicate, Scalar};
pub use quarantine::{Quarantine, SetAside};
pub use request::{BATCH_ROWS_DEFAULT, ScanRequest};
pub(crate) use spoilt::Spoilt;
pub use stream::{BatchStream, Progress};

use std::fmt::Debug;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::time::EventTime;
use crate::{Result, Schema};

/// What a source says of itself without reading its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SourceInfo {
    /// How the bytes are laid out: `csv`, `parquet`, `json_lines`, `memory` …
    pub format: String,
    /// Where the bytes are, for people and catalogs. Never holds a password.
    pub location: String,
    /// Size in bytes, where it is known without reading.
    pub size_bytes: Option<u64>,
    /// Last change, where it is known.
    pub modified: Option<EventTime>,
}

impl SourceInfo {
    /// A description with format and location only.
    pub fn new(format: impl Into<String>, location: impl Into<String>) -> Self {
        Self { format: format.into(), location: location.into(), size_bytes: None, modified: None }
    }
}

/// What becomes of columns of a text file that a given schema does not name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExtraColumns {
    /// They are an error, so that nothing is lost in silence.
    #[default]
    Refuse,
    /// They are not read.
    Ignore,
}

/// Rows that can be read again and again.
///
/// # Contract
/// * Two scans of an unchanged source give the same rows in the same order.
/// * `scan` honours the whole request: projection in the order asked, every predicate, the limit, and no batch above
///   `batch_rows` rows. Whatever cannot be pushed down is applied with [`ScanRequest::finish`].
/// * Memory is bounded by a few batches, whatever the size of the source.
/// * Rows that cannot be read are an error, never silently dropped.
/// * Every batch has exactly the schema that the stream announces, annotations included.
///
/// `testkit::{data_source, unreadable_source, missing_source}` check these; run them on your own source.
pub trait DataSource: Debug + Send + Sync + 'static {
    /// What can be said without reading rows.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) when there is nothing at the location.
    fn info(&self) -> Result<SourceInfo>;

    /// Columns of a full scan.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) when there is nothing at the location,
    /// [`Error::InvalidData`](crate::Error::InvalidData) when it cannot be read as what it should be.
    fn schema(&self) -> Result<Schema>;

    /// Reads the rows that `request` asks for.
    ///
    /// # Errors
    /// As [`schema`](Self::schema), [`Error::NotFound`](crate::Error::NotFound) for a column that is not there, and
    /// [`Error::Schema`](crate::Error::Schema) for a predicate that does not fit its column; errors met later come out of the
    /// stream, which then ends.
    fn scan(&self, request: &ScanRequest) -> Result<BatchStream>;
}

/// A place that takes rows, all or nothing.
///
/// # Contract
/// * Nothing of a write can be seen before [`SinkWriter::commit`] returns, and all of it after, in place of what was there.
/// * A writer that is dropped leaves no trace. One of which a write failed can only be dropped: it commits nothing.
/// * A commit that returned survives a crash.
///
/// `testkit::{data_sink, refusing_sink}` check these; run them on your own sink.
pub trait DataSink: Debug + Send + Sync + 'static {
    /// Starts one write of rows of `schema`.
    ///
    /// # Errors
    /// [`Error::Schema`](crate::Error::Schema) when the format cannot hold a column's type,
    /// [`Error::Io`](crate::Error::Io) when the place cannot be written to.
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>>;
}

/// One write in progress. Dropping it abandons the write.
pub trait SinkWriter: Send {
    /// Adds the rows of `batch`.
    ///
    /// # Errors
    /// [`Error::Schema`](crate::Error::Schema) when the batch is not of the schema that the write began with,
    /// [`Error::InvalidData`](crate::Error::InvalidData) for a value that the format cannot hold. The write is spoilt then.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Makes everything visible and durable.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the storage fails, [`Error::Invalid`](crate::Error::Invalid) after a write that
    /// failed; nothing is visible then.
    fn commit(self: Box<Self>) -> Result<Written>;
}

/// What a commit made visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Rows written.
    pub rows: u64,
    /// Bytes on disk, or in memory for sinks without a disk.
    pub size_bytes: u64,
}
