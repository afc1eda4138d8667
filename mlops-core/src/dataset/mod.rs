//! The thing that flows: rows with a schema, a content digest and a provenance.

mod content;
mod provenance;

pub use content::ContentHasher;
pub use provenance::{PARAMETERS_BYTES_MAX, Provenance, REDACTED, without_secrets};

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::{Digest, Error, Result, Schema};

/// Rows of one schema, held in memory or scanned again from a source whenever they are read.
///
/// Cloning is cheap. Both forms have the same digest for the same rows, however they are cut into batches.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{Int64Array, RecordBatch};
///
/// let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as _)])?;
/// let whole = Dataset::from_batches([batch.clone()])?;
/// let halves = Dataset::from_batches([batch.slice(0, 1), batch.slice(1, 2)])?;
/// assert_eq!(whole.digest()?, halves.digest()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Dataset {
    schema: Schema,
    rows: Rows,
    identity: Arc<OnceLock<Identity>>,
    provenance: Option<Arc<Provenance>>,
}

#[derive(Clone)]
enum Rows {
    Held(Arc<[RecordBatch]>),
    Source(Arc<dyn DataSource>),
}

#[derive(Clone, Copy)]
struct Identity {
    digest: Digest,
    rows: u64,
}

impl Dataset {
    /// Holds `batches`, which must all have one schema.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no batch (see [`empty`](Self::empty)), [`Error::Schema`] when two differ.
    pub fn from_batches(batches: impl IntoIterator<Item = RecordBatch>) -> Result<Self> {
        let mut batches = batches.into_iter().peekable();
        let Some(first) = batches.peek() else {
            return Err(Error::invalid("batches", "none", "at least one record batch"));
        };
        let schema = Schema::new(first.schema())?;
        Self::held(schema, batches)
    }

    /// Holds `batches` under `schema`, whose annotations win over those of the batches.
    ///
    /// # Errors
    /// [`Error::Schema`] when a batch has other columns.
    pub fn held(schema: Schema, batches: impl IntoIterator<Item = RecordBatch>) -> Result<Self> {
        let batches: Vec<_> = batches.into_iter().map(|batch| schema.attach(&batch)).collect::<Result<_>>()?;
        Ok(Self::of(schema, Rows::Held(batches.into())))
    }

    /// No rows of `schema`.
    pub fn empty(schema: Schema) -> Self {
        Self::of(schema, Rows::Held(Arc::new([])))
    }

    /// Rows that are scanned from `source` each time they are read.
    ///
    /// # Errors
    /// What [`DataSource::schema`] says.
    pub fn from_source(source: Arc<dyn DataSource>) -> Result<Self> {
        Ok(Self::of(source.schema()?, Rows::Source(source)))
    }

    /// Reads a stream to its end and holds it.
    ///
    /// # Errors
    /// The first error of the stream.
    pub fn collect(stream: BatchStream) -> Result<Self> {
        let schema = stream.schema().clone();
        let batches = stream.collect::<Result<Vec<_>>>()?;
        Self::held(schema, batches)
    }

    fn of(schema: Schema, rows: Rows) -> Self {
        Self { schema, rows, identity: Arc::default(), provenance: None }
    }

    /// The same rows under the annotations of `schema`.
    ///
    /// # Errors
    /// [`Error::Schema`] when `schema` has other columns or types.
    pub fn with_schema(&self, schema: Schema) -> Result<Self> {
        let rows = match &self.rows {
            Rows::Held(batches) => {
                return Ok(Self {
                    provenance: self.provenance.clone(),
                    ..Self::held(schema, batches.iter().cloned())?
                });
            }
            Rows::Source(source) => source.clone(),
        };
        schema.attach(&RecordBatch::new_empty(self.schema.arrow().clone()))?;
        let annotated = Annotated { schema: schema.clone(), source: rows };
        Ok(Self { provenance: self.provenance.clone(), ..Self::of(schema, Rows::Source(Arc::new(annotated))) })
    }

    /// The same rows with a statement of what they were made from, less the secrets among its parameters: see
    /// [`Provenance::redacted`].
    pub fn with_provenance(mut self, provenance: Provenance) -> Self {
        self.provenance = Some(Arc::new(provenance.redacted()));
        self
    }

    /// The same rows, whose digest and number are known already.
    pub(crate) fn with_identity(mut self, digest: Digest, rows: u64) -> Self {
        self.identity = Arc::new(OnceLock::from(Identity { digest, rows }));
        self
    }

    /// What the rows were made from, where it is known.
    pub fn provenance(&self) -> Option<&Provenance> {
        self.provenance.as_deref()
    }

    /// Columns, with roles, sensitivities and units.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Whether the rows are in memory.
    pub fn is_held(&self) -> bool {
        matches!(self.rows, Rows::Held(_))
    }

    /// Where the rows come from, for people and catalogs.
    ///
    /// # Errors
    /// What [`DataSource::info`] says.
    pub fn info(&self) -> Result<SourceInfo> {
        match &self.rows {
            Rows::Source(source) => source.info(),
            Rows::Held(batches) => Ok(SourceInfo {
                size_bytes: Some(batches.iter().map(|b| b.get_array_memory_size() as u64).sum()),
                ..SourceInfo::new("memory", "memory")
            }),
        }
    }

    /// The rows that `request` asks for.
    ///
    /// # Errors
    /// What [`DataSource::scan`] says.
    pub fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        match &self.rows {
            Rows::Source(source) => source.scan(request),
            Rows::Held(batches) => {
                let batches = batches.clone();
                let all = (0..batches.len()).map(move |i| Ok(batches[i].clone()));
                request.finish(BatchStream::new(self.schema.clone(), all))
            }
        }
    }

    /// All rows, batch by batch.
    ///
    /// # Errors
    /// What [`DataSource::scan`] says.
    pub fn batches(&self) -> Result<BatchStream> {
        self.scan(&ScanRequest::all())
    }

    /// All rows as one batch in memory.
    ///
    /// # Errors
    /// The first error of the scan.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let batches = self.batches()?.collect::<Result<Vec<_>>>()?;
        Ok(concat_batches(self.schema.arrow(), &batches)?)
    }

    /// The same rows, held in memory.
    ///
    /// # Errors
    /// The first error of the scan.
    pub fn hold(&self) -> Result<Self> {
        if self.is_held() {
            return Ok(self.clone());
        }
        let held = Self::collect(self.batches()?)?;
        Ok(Self { provenance: self.provenance.clone(), identity: self.identity.clone(), ..held })
    }

    /// Digest of schema and rows, in order; one scan the first time, remembered after.
    ///
    /// # Errors
    /// The first error of the scan.
    pub fn digest(&self) -> Result<Digest> {
        Ok(self.identity()?.digest)
    }

    /// Number of rows; one scan the first time unless the rows are held.
    ///
    /// # Errors
    /// The first error of the scan.
    pub fn num_rows(&self) -> Result<u64> {
        match &self.rows {
            Rows::Held(batches) => Ok(batches.iter().map(|b| b.num_rows() as u64).sum()),
            Rows::Source(_) => Ok(self.identity()?.rows),
        }
    }

    fn identity(&self) -> Result<Identity> {
        if let Some(known) = self.identity.get() {
            return Ok(*known);
        }
        let mut hasher = ContentHasher::new(&self.schema)?;
        for batch in self.batches()? {
            hasher.update(&batch?)?;
        }
        let identity = Identity { rows: hasher.rows(), digest: hasher.finish() };
        Ok(*self.identity.get_or_init(|| identity))
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Dataset");
        shown.field("schema", &self.schema);
        match &self.rows {
            Rows::Held(batches) => shown.field("rows", &batches.iter().map(RecordBatch::num_rows).sum::<usize>()),
            Rows::Source(source) => shown.field("source", source),
        };
        shown.finish_non_exhaustive()
    }
}

/// A source under other annotations.
#[derive(Debug)]
struct Annotated {
    schema: Schema,
    source: Arc<dyn DataSource>,
}

impl DataSource for Annotated {
    fn info(&self) -> Result<SourceInfo> {
        self.source.info()
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let inner = self.source.scan(request)?;
        let names: Vec<&str> = inner.schema().names().collect();
        let schema = self.schema.project(&names)?;
        let attach = schema.clone();
        Ok(BatchStream::new(schema, inner.map(move |batch| attach.attach(&batch?))))
    }
}

#[cfg(test)]
mod tests;
