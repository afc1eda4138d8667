//! What a caller asks of a source.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::{BatchStream, Predicate};
use crate::{Result, Schema};

/// Rows per batch where nothing was said.
pub const BATCH_ROWS_DEFAULT: usize = 16_384;

/// Most rows that a caller may ask for per batch.
const BATCH_ROWS_MAX: usize = 1 << 24;

/// Projection, predicates and limit of one scan.
///
/// # Examples
/// ```
/// use mlops_core::source::{Comparison, Predicate, ScanRequest};
/// let request = ScanRequest::all()
///     .columns(["customer_id", "price"])
///     .filter(Predicate::new("price", Comparison::Gt, 1000))
///     .limit(10);
/// assert_eq!(request.limit_rows(), Some(10));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScanRequest {
    columns: Option<Vec<String>>,
    predicates: Vec<Predicate>,
    limit: Option<u64>,
    batch_rows: usize,
}

impl Default for ScanRequest {
    fn default() -> Self {
        Self { columns: None, predicates: Vec::new(), limit: None, batch_rows: BATCH_ROWS_DEFAULT }
    }
}

impl ScanRequest {
    /// Everything, in batches of [`BATCH_ROWS_DEFAULT`].
    pub fn all() -> Self {
        Self::default()
    }

    /// Only these columns, in this order.
    pub fn columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Only rows for which `predicate`, too, is true. Predicates may name columns outside of the projection.
    pub fn filter(mut self, predicate: Predicate) -> Self {
        self.predicates.push(predicate);
        self
    }

    /// At most `rows` rows, counted after the predicates.
    pub fn limit(mut self, rows: u64) -> Self {
        self.limit = Some(rows);
        self
    }

    /// At most `rows` rows in one batch; clamped to 1..=2^24. Default [`BATCH_ROWS_DEFAULT`].
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.clamp(1, BATCH_ROWS_MAX);
        self
    }

    /// The columns asked for, `None` for all.
    pub fn projection(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    /// The predicates, all of which must hold.
    pub fn predicates(&self) -> &[Predicate] {
        &self.predicates
    }

    /// The most rows wanted.
    pub fn limit_rows(&self) -> Option<u64> {
        self.limit
    }

    /// The most rows in one batch.
    pub fn rows_per_batch(&self) -> usize {
        self.batch_rows.clamp(1, BATCH_ROWS_MAX)
    }

    /// Columns that a source must read: the projection and whatever the predicates look at, in the order of `schema`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) for a column that `schema` does not have.
    pub fn columns_to_read(&self, schema: &Schema) -> Result<Vec<String>> {
        let named = || self.predicates.iter().map(Predicate::column);
        for column in self.columns.iter().flatten().map(String::as_str).chain(named()) {
            schema.index_of(column)?;
        }
        let wanted = self.columns.iter().flatten().map(String::as_str).chain(named()).collect::<BTreeSet<_>>();
        let is_wanted = |name: &&str| self.columns.is_none() || wanted.contains(name);
        Ok(schema.names().filter(is_wanted).map(str::to_owned).collect())
    }

    /// [`columns_to_read`](Self::columns_to_read) as they are in `schema`, with every predicate checked against its column.
    ///
    /// # Errors
    /// What `columns_to_read` says, and [`Error::Schema`](crate::Error::Schema) for a predicate that does not fit its column.
    pub fn schema_to_read(&self, schema: &Schema) -> Result<Schema> {
        let read = schema.project(&self.columns_to_read(schema)?)?;
        self.predicates.iter().try_for_each(|predicate| predicate.check(&read))?;
        Ok(read)
    }

    /// Applies to `stream` whatever of this request it has not had yet: predicates, projection, limit, batch size.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) for a column that the stream does not have, [`Error::Schema`](crate::Error::Schema) for a predicate that does not
    /// fit its column.
    pub fn finish(&self, stream: BatchStream) -> Result<BatchStream> {
        for predicate in &self.predicates {
            predicate.check(stream.schema())?;
        }
        let schema = match &self.columns {
            Some(columns) => stream.schema().project(columns)?,
            None => stream.schema().clone(),
        };
        let indices = schema.names().map(|name| stream.schema().index_of(name)).collect::<Result<Vec<_>>>()?;
        let finisher = Finisher {
            request: self.clone(),
            schema: schema.clone(),
            indices,
            left: self.limit,
            pending: None,
            stream,
        };
        Ok(BatchStream::new(schema, finisher))
    }
}

struct Finisher {
    request: ScanRequest,
    schema: Schema,
    indices: Vec<usize>,
    left: Option<u64>,
    pending: Option<RecordBatch>,
    stream: BatchStream,
}

impl Finisher {
    fn shape(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let kept = self.request.predicates.iter().try_fold(batch, |batch, predicate| predicate.apply(&batch))?;
        self.schema.attach(&kept.project(&self.indices)?)
    }

    /// Cuts the next piece of at most `rows_per_batch` and at most `left` rows.
    fn cut(&mut self, batch: RecordBatch) -> RecordBatch {
        let left = usize::try_from(self.left.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let rows = batch.num_rows().min(self.request.rows_per_batch()).min(left);
        let head = batch.slice(0, rows);
        if rows < batch.num_rows() && rows < left {
            self.pending = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        if let Some(left) = &mut self.left {
            *left -= rows as u64;
        }
        head
    }
}

impl Iterator for Finisher {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.left == Some(0) {
                return None;
            }
            let batch = match self.pending.take() {
                Some(batch) => batch,
                None => match self.stream.next()?.and_then(|batch| self.shape(batch)) {
                    Ok(batch) => batch,
                    Err(error) => return Some(Err(error)),
                },
            };
            if batch.num_rows() > 0 {
                return Some(Ok(self.cut(batch)));
            }
        }
    }
}
