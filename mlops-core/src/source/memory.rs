//! Rows in memory, as a source and as a sink. A [`Dataset`] is itself a source.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;

use super::spoilt::Spoilt;
use super::{BatchStream, DataSink, DataSource, ScanRequest, SinkWriter, SourceInfo, Written};
use crate::{Dataset, Error, Result, Schema};

impl DataSource for Dataset {
    fn info(&self) -> Result<SourceInfo> {
        Dataset::info(self)
    }

    fn schema(&self) -> Result<Schema> {
        Ok(Dataset::schema(self).clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        Dataset::scan(self, request)
    }
}

impl Dataset {
    /// Writes all rows to `sink`, batch by batch, and commits.
    ///
    /// # Errors
    /// The first error of the scan or of the sink; nothing is visible then.
    pub fn write_to(&self, sink: &dyn DataSink) -> Result<Written> {
        let mut writer = sink.begin(Dataset::schema(self))?;
        for batch in self.batches()? {
            writer.write(&batch?)?;
        }
        writer.commit()
    }
}

/// A place in memory that holds the rows of the last commit. Clones share the place.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::source::MemorySink;
/// use mlops_core::Dataset;
///
/// let ids = std::sync::Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
/// let rows = Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)])?])?;
/// let sink = MemorySink::new("ids");
/// rows.write_to(&sink)?;
/// assert_eq!(sink.dataset()?.digest()?, rows.digest()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemorySink {
    place: Place,
}

/// Reads whatever was committed last to a [`MemorySink`], also when that was after this was made.
#[derive(Clone, Debug)]
pub struct MemorySource {
    place: Place,
}

#[derive(Clone, Debug)]
struct Place {
    name: Arc<str>,
    rows: Arc<Mutex<Option<Dataset>>>,
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Option<Dataset>> {
        // One assignment under the lock: there is no half-done state to fear.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dataset(&self) -> Result<Dataset> {
        self.lock().clone().ok_or_else(|| Error::not_found("data set in memory", &*self.name))
    }
}

impl MemorySink {
    /// An empty place; the name is for messages and catalogs.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { place: Place { name: name.into(), rows: Arc::default() } }
    }

    /// The rows of the last commit.
    ///
    /// # Errors
    /// [`Error::NotFound`] before the first commit.
    pub fn dataset(&self) -> Result<Dataset> {
        self.place.dataset()
    }

    /// A source of what is or will be committed here.
    pub fn source(&self) -> MemorySource {
        MemorySource { place: self.place.clone() }
    }
}

impl MemorySource {
    /// A source of the rows of `data`, held in memory.
    ///
    /// # Errors
    /// The first error of the scan of `data`.
    pub fn new(name: impl Into<Arc<str>>, data: &Dataset) -> Result<Self> {
        let sink = MemorySink::new(name);
        *sink.place.lock() = Some(data.hold()?);
        Ok(sink.source())
    }
}

impl DataSource for MemorySource {
    fn info(&self) -> Result<SourceInfo> {
        Ok(SourceInfo { location: self.place.name.to_string(), ..self.place.dataset()?.info()? })
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.place.dataset()?.schema().clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        self.place.dataset()?.scan(request)
    }
}

impl DataSink for MemorySink {
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(MemoryWriter {
            place: self.place.clone(),
            schema: schema.clone(),
            batches: Vec::new(),
            spoilt: Spoilt::default(),
        }))
    }
}

struct MemoryWriter {
    place: Place,
    schema: Schema,
    batches: Vec<RecordBatch>,
    spoilt: Spoilt,
}

impl SinkWriter for MemoryWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.spoilt.writing()?;
        self.batches.push(self.schema.attach(batch)?);
        self.spoilt.done();
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<Written> {
        self.spoilt.ensure_whole()?;
        let rows = self.batches.iter().map(|b| b.num_rows() as u64).sum();
        let size_bytes = self.batches.iter().map(|b| b.get_array_memory_size() as u64).sum();
        let data = Dataset::held(self.schema, self.batches)?;
        *self.place.lock() = Some(data);
        Ok(Written { rows, size_bytes })
    }
}
