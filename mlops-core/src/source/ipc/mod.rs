//! Arrow IPC (also known as Feather 2): a source that trusts no length, and a sink that keeps every annotation.

mod messages;
mod sink;

pub use sink::{IpcCompression, IpcLayout, IpcSink, IpcSinkBuilder};

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::FileDecoder;

use self::messages::{Kind, Messages};
use super::adopt::adopt;
use super::guard::guard;
use super::local::{in_file, shown};
use super::medium::{StandIn, info};
use super::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::{Error, Result, Schema};

/// Rows of an Arrow IPC file, in the file format or the stream format; which one, its first bytes say.
///
/// A scan decodes the columns that it needs and stops at the limit. It holds one record batch of the file at a time, beside
/// the dictionaries. Buffers may be packed with LZ4 or zstd, as pandas and pyarrow write them. Roles, sensitivities, units and the
/// schema's own metadata come from the file when an [`IpcSink`] wrote them.
///
/// A damaged file is [`Error::InvalidData`] naming it: every length is held against the size of the file before memory is
/// taken for it, and unpacked buffers against 2 GiB a record batch. A stream that was cut between two record batches and never had an
/// end mark cannot be told from a whole one; files and what an [`IpcSink`] writes can.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::source::{IpcSink, IpcSource};
/// use mlops_core::Dataset;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("offers.arrow");
/// let ids = std::sync::Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
/// let rows = Dataset::from_batches([RecordBatch::try_from_iter([("offer", ids)])?])?;
/// rows.write_to(&IpcSink::new(&path))?;
///
/// let read = Dataset::from_source(std::sync::Arc::new(IpcSource::open(&path)?))?;
/// assert_eq!(read.digest()?, rows.digest()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct IpcSource {
    path: PathBuf,
    stand_in: StandIn,
    schema: Schema,
    stored: Schema,
}

/// Settings of an [`IpcSource`].
#[derive(Clone, Debug)]
pub struct IpcSourceBuilder {
    path: PathBuf,
    stand_in: StandIn,
    schema: Option<Schema>,
}

impl IpcSourceBuilder {
    /// Reads what `medium` holds in place of the file, whose path is for messages then.
    pub(super) fn stand_in(mut self, medium: std::sync::Arc<dyn super::medium::Medium>) -> Self {
        self.stand_in = Some(medium);
        self
    }

    /// The columns that are read, with their annotations; each must be in the file with the same logical type.
    /// Default: all columns of the file.
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Reads the schema of the file.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no file, [`Error::InvalidData`] when it is not Arrow IPC or damaged, [`Error::Schema`] when a
    /// column of a given schema is missing or of another type.
    pub fn build(self) -> Result<IpcSource> {
        let stored = stored_schema(&self.path, &Messages::open(&self.path, &self.stand_in)?)?;
        let schema = match self.schema {
            Some(schema) => {
                stored.ensure_provides(&schema)?;
                schema
            }
            None => stored.clone(),
        };
        Ok(IpcSource { path: self.path, stand_in: self.stand_in, schema, stored })
    }
}

fn stored_schema(path: &Path, messages: &Messages) -> Result<Schema> {
    Schema::new(messages.schema().clone()).map_err(|e| in_file(path, e))
}

impl IpcSource {
    /// All columns of the file at `path`.
    ///
    /// # Errors
    /// What [`IpcSourceBuilder::build`] says.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(path).build()
    }

    /// Settings for the file at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> IpcSourceBuilder {
        IpcSourceBuilder { path: path.into(), stand_in: None, schema: None }
    }
}

impl DataSource for IpcSource {
    fn info(&self) -> Result<SourceInfo> {
        info(&self.path, "arrow_ipc", &self.stand_in)
    }

    fn schema(&self) -> Result<Schema> {
        self.info()?;
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let schema = request.schema_to_read(&self.schema)?;
        let messages = Messages::open(&self.path, &self.stand_in)?;
        if stored_schema(&self.path, &messages)? != self.stored {
            return Err(Error::invalid_data(shown(&self.path), "its columns have changed since the source was opened"));
        }
        let mut places = schema.names().map(|name| self.stored.index_of(name)).collect::<Result<Vec<_>>>()?;
        places.sort_unstable();
        let decoder = FileDecoder::new(messages.schema().clone(), messages.version()).with_projection(places);
        let scan = Scan { path: self.path.clone(), state: Some((messages, decoder)), schema: schema.clone() };
        request.finish(BatchStream::new(schema, scan))
    }
}

struct Scan {
    path: PathBuf,
    /// Gone after the last batch and after a failure.
    state: Option<(Messages, FileDecoder)>,
    schema: Schema,
}

impl Iterator for Scan {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut messages, mut decoder) = self.state.take()?;
        let batch = match next_batch(&self.path, &mut messages, &mut decoder) {
            Ok(Some(batch)) => batch,
            Ok(None) => return None,
            Err(error) => return Some(Err(error)),
        };
        self.state = Some((messages, decoder));
        Some(adopt(&self.schema, batch))
    }
}

/// The next record batch, with the dictionaries before it taken in.
fn next_batch(path: &Path, messages: &mut Messages, decoder: &mut FileDecoder) -> Result<Option<RecordBatch>> {
    while let Some(message) = messages.next()? {
        let batch = guard(path, || match message.kind {
            Kind::Dictionary => decoder.read_dictionary(&message.block, &message.bytes).map(|()| None),
            Kind::Batch => decoder.read_record_batch(&message.block, &message.bytes),
        });
        if let Some(batch) = batch? {
            let promised = message.rows;
            if batch.num_rows() as u64 != promised {
                let cause = ArrowError::IpcError(format!("{} rows where there should be {promised}", batch.num_rows()));
                return Err(Error::invalid_data(shown(path), cause));
            }
            return Ok(Some(batch));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
