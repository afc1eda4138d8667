//! History of features, and what was known at an instant.
//!
//! Rows are appended and never changed; a correction is a row with the same event time and a later created time. Entry
//! points: [`OfflineStore`], [`ParquetStore`], and [`as_of_join`] for data that is in no store.

pub mod asof;
mod backfill;
mod once;
mod parquet;
mod request;
mod retrieve;

#[cfg(feature = "polars")]
pub use asof::PolarsEngine;
pub use asof::{
    AgeQuantiles, AsOfEngine, AsOfOptions, JoinReport, NativeEngine, SaveOptions, SavedTrainingSet, TrainingLineage,
    TrainingSet, ViewLineage, as_of_join,
};
pub use backfill::{Backfill, BackfillBuilder, BackfillReport, BackfillStep, CHUNKS_MAX, Chunk};
pub use once::{AppendOnce, Once};
pub use parquet::{CompactOptions, CompactReport, ParquetStore, ViewHistory};
pub use request::{HistoryRequest, KeyFilter};
pub use retrieve::{latest_as_of, range, stored_history};

use std::fmt::{self, Debug};

use arrow::array::RecordBatch;
use mlops_core::{Dataset, Schema};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::service::ViewJoin;
use crate::view::FeatureView;

/// A position in the order in which rows of a view came in: all appends before `sequence`, and the first `rows` rows
/// of the append `sequence`. Ordered.
///
/// Whoever has read up to a position misses nothing by going on from there, however late a row's event time is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    /// Number of an append.
    pub sequence: u64,
    /// Rows of it.
    pub rows: u64,
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.sequence, self.rows)
    }
}

/// What an append did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Appended {
    /// Rows that were added.
    pub rows: u64,
    /// Position after them; `None` when there was no row.
    pub end: Option<Watermark>,
}

/// History of feature views.
///
/// # Contract
/// * An append is seen as a whole once it returned, and survives a crash then; one that failed or was cut off is never
///   seen. Appends are numbered in ascending order; a later one is later in source order.
/// * `scan` gives rows in source order: by append, then as they stood in it. Two scans of unchanged history are equal.
///   Memory is bounded by a few batches.
/// * Every scanned batch says up to where the stream has come; a scan after that position gives exactly the rest, and one
///   until that position exactly what came before. Windows and keys only leave rows out.
/// * A feature that was added later is null in rows before. A feature whose type changed, or a key that did, is
///   [`Error::Changed`](crate::Error::Changed).
/// * `as_of` obeys the law of the as-of join (see [`as_of_join`]); a view without history is no error.
///
/// `testkit::offline_store` checks these; run it on your own store.
pub trait OfflineStore: Debug + Send + Sync + 'static {
    /// Adds `rows`, which have at least the columns of the view's [schema](FeatureView::schema); others are left out.
    ///
    /// # Errors
    /// `Core(Schema)` for a missing column or one of another type, `Core(InvalidData)` for a null event time or a value that does
    /// not fit its type; whatever keeps the store from writing. Nothing is added then.
    fn append(&self, view: &FeatureView, rows: &Dataset) -> Result<Appended>;

    /// Reads history of `view`.
    ///
    /// # Errors
    /// [`Error::Changed`](crate::Error::Changed); whatever keeps the store from reading, also out of the stream.
    fn scan(&self, view: &FeatureView, request: &HistoryRequest) -> Result<HistoryStream>;

    /// Joins to each row of `spine` what was known at its instant.
    ///
    /// # Errors
    /// As [`as_of_join`]; whatever keeps the store from reading.
    fn as_of(&self, spine: &Dataset, joins: &[ViewJoin], options: &AsOfOptions) -> Result<TrainingSet>;
}

/// Rows of a view's history, and up to where they reach.
#[derive(Clone, Debug)]
pub struct HistoryBatch {
    /// The rows; there may be none.
    pub rows: RecordBatch,
    /// Everything up to here that was asked for has been delivered with these rows.
    pub end: Watermark,
}

/// Batches of history, one after the other; ends at the first error.
pub struct HistoryStream {
    schema: Schema,
    batches: Box<dyn Iterator<Item = Result<HistoryBatch>> + Send>,
    failed: bool,
}

impl HistoryStream {
    /// A stream over `batches`, which must all be of `schema`.
    pub fn new(schema: Schema, batches: impl Iterator<Item = Result<HistoryBatch>> + Send + 'static) -> Self {
        Self { schema, batches: Box::new(batches), failed: false }
    }

    /// Schema of every batch.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}

impl Iterator for HistoryStream {
    type Item = Result<HistoryBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.batches.next();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

impl Debug for HistoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryStream").field("schema", &self.schema).finish_non_exhaustive()
    }
}
