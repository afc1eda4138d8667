//! Rows from one place to another, whatever their formats.

use std::fmt;

use super::{DataSink, DataSource, Progress, ScanRequest, SinkWriter, Written};
use crate::dataset::{ContentHasher, Provenance};
use crate::time::EventTime;
use crate::{Dataset, Digest, Error, Name, Result, Schema};

/// What is converted, and who watches.
#[derive(Default)]
pub struct ConvertOptions {
    request: ScanRequest,
    schema: Option<Schema>,
    progress: Option<Box<dyn FnMut(Progress) + Send>>,
    cancelled: Option<Box<dyn Fn() -> bool + Send>>,
}

impl fmt::Debug for ConvertOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConvertOptions").field("request", &self.request).finish_non_exhaustive()
    }
}

impl ConvertOptions {
    /// All rows and columns, watched by nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Columns, predicates and limit. Default: everything.
    pub fn request(mut self, request: ScanRequest) -> Self {
        self.request = request;
        self
    }

    /// The schema that rows are written under: narrower columns are cast, missing ones filled with nulls, as
    /// [`SchemaReader`](crate::schema::SchemaReader) does. Default: that of what is read.
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Called after each batch that was written. Bytes are those of the batches in memory.
    pub fn on_progress(mut self, report: impl FnMut(Progress) + Send + 'static) -> Self {
        self.progress = Some(Box::new(report));
        self
    }

    /// Asked before each batch; nothing is written once it says true. Default: never.
    pub fn cancelled(mut self, cancelled: impl Fn() -> bool + Send + 'static) -> Self {
        self.cancelled = Some(Box::new(cancelled));
        self
    }
}

/// What a conversion made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Converted {
    /// Rows and bytes on disk.
    pub written: Written,
    /// Content digest of the rows as they were given to the sink, in that order.
    pub digest: Digest,
    /// Their columns.
    pub schema: Schema,
    /// What was asked for, less the values that rows were compared with.
    asked: serde_json::Value,
}

impl Converted {
    /// What the rows that were written were made from, and by what: the operation is `convert`, its parameters are the columns,
    /// the number of predicates, the limit and the fingerprint of the schema. Costs a scan of `source` unless its digest is
    /// known; rows that were all converted as they were have the same digest.
    ///
    /// # Errors
    /// What [`Dataset::digest`] says.
    pub fn provenance(&self, source: &Dataset, at: EventTime) -> Result<Provenance> {
        Provenance::of_crate(&[source], Name::new("convert")?, &self.asked, at)
    }
}

/// Streams the rows of `source` into `sink`, batch by batch, and commits.
///
/// # Errors
/// The first error of the source or the sink, [`Error::Schema`] for rows that cannot be read under a given schema,
/// [`Error::Cancelled`] when that was asked for; nothing is visible then.
///
/// # Examples
/// ```
/// use mlops_core::source::{self, ConvertOptions};
///
/// let folder = tempfile::tempdir()?;
/// let (csv, parquet) = (folder.path().join("a.csv"), folder.path().join("a.parquet"));
/// std::fs::write(&csv, "offer,price\n1,9.5\n2,\n")?;
/// let converted = source::convert(&*source::open(&csv)?, &*source::create(&parquet)?, ConvertOptions::new())?;
/// assert_eq!(converted.written.rows, 2);
/// let read = mlops_core::Dataset::from_source(source::open(&parquet)?)?;
/// assert_eq!(read.digest()?, converted.digest);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn convert(source: &dyn DataSource, sink: &dyn DataSink, options: ConvertOptions) -> Result<Converted> {
    let ConvertOptions { request, schema, mut progress, cancelled } = options;
    let stream = source.scan(&request)?;
    let schema = schema.unwrap_or_else(|| stream.schema().clone());
    let reader = crate::schema::SchemaReader::new(stream.schema(), &schema)?;
    let asked = serde_json::json!({
        "columns": request.columns_to_read(stream.schema())?,
        "predicates": request.predicates().len(),
        "limit": request.limit_rows(),
        "schema": schema.fingerprint(),
    });
    let mut hasher = ContentHasher::new(&schema)?;
    let mut writer: Box<dyn SinkWriter> = sink.begin(&schema)?;
    let mut done = Progress::default();
    for batch in stream {
        if cancelled.as_ref().is_some_and(|cancelled| cancelled()) {
            return Err(Error::Cancelled { stage: "convert".to_owned() });
        }
        let batch = reader.read(&batch?)?;
        hasher.update(&batch)?;
        writer.write(&batch)?;
        done.rows += batch.num_rows() as u64;
        done.batches += 1;
        done.bytes += batch.get_array_memory_size() as u64;
        if let Some(report) = &mut progress {
            report(done);
        }
    }
    let written = writer.commit()?;
    Ok(Converted { written, digest: hasher.finish(), schema, asked })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};

    use super::*;
    use crate::source::{Comparison, MemorySink, MemorySource, Predicate};

    #[test]
    fn what_was_converted_tells_what_was_asked_for_and_no_value() {
        let ids = Arc::new(Int64Array::from(vec![1, 2, 424_242])) as _;
        let data = Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)]).unwrap()]).unwrap();
        let source = MemorySource::new("ids", &data).unwrap();
        let late = Predicate::new("id", Comparison::Lt, 424_242_i64);
        let options = ConvertOptions::new().request(ScanRequest::all().columns(["id"]).filter(late).limit(7));
        let converted = convert(&source, &MemorySink::new("some"), options).unwrap();
        let told = converted.provenance(&data, EventTime::from_secs(4)).unwrap();
        assert_eq!((told.parents, told.operation.as_str()), (vec![data.digest().unwrap()], "convert"));
        assert!(!told.parameters.to_string().contains("424242"), "{}", told.parameters);
        assert_eq!((&told.parameters["predicates"], &told.parameters["limit"]), (&1.into(), &7.into()));
        assert_eq!(told.parameters["columns"], serde_json::json!(["id"]));
    }
}
