//! A stream of record batches of one schema.

use std::fmt;

use arrow::array::RecordBatch;

use crate::{Result, Schema};

/// Record batches of one schema, one after the other; ends at the first error.
pub struct BatchStream {
    schema: Schema,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
    failed: bool,
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rows so far.
    pub rows: u64,
    /// Batches so far.
    pub batches: u64,
    /// Bytes of those batches in memory.
    pub bytes: u64,
}

impl BatchStream {
    /// A stream over `batches`, which must all be of `schema`.
    pub fn new(schema: Schema, batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static) -> Self {
        Self { schema, batches: Box::new(batches), failed: false }
    }

    /// Schema of every batch.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Calls `report` after each batch.
    pub fn on_progress(self, mut report: impl FnMut(Progress) + Send + 'static) -> Self {
        let mut progress = Progress::default();
        let schema = self.schema.clone();
        let watched = self.inspect(move |batch| {
            if let Ok(batch) = batch {
                progress.rows += batch.num_rows() as u64;
                progress.batches += 1;
                progress.bytes += batch.get_array_memory_size() as u64;
                report(progress);
            }
        });
        Self::new(schema, watched)
    }
}

impl Iterator for BatchStream {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.batches.next();
        self.failed = matches!(next, Some(Err(_)));
        debug_assert!(
            !matches!(&next, Some(Ok(batch)) if batch.schema_ref() != self.schema.arrow()),
            "a batch differs from the schema of its stream"
        );
        next
    }
}

impl fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchStream").field("schema", &self.schema).finish_non_exhaustive()
    }
}
