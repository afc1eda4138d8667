//! What a request is answered with.

use std::fmt;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use mlops_core::EventTime;

use super::status::Ages;
use super::{ServingPlan, Status};
use crate::error::Result;

/// Feature vectors, column by column.
#[derive(Clone)]
pub struct FeatureVectors {
    pub(super) plan: ServingPlan,
    pub(super) columns: Vec<ArrayRef>,
    pub(super) rows: usize,
    /// One per value, column by column.
    pub(super) statuses: Vec<Status>,
    /// Of every read and every computed column; the plan says whose are whose.
    pub(super) ages: Vec<Ages>,
}

impl FeatureVectors {
    /// What they are made by.
    pub fn plan(&self) -> &ServingPlan {
        &self.plan
    }

    /// Names, types and annotations of the columns.
    pub fn schema(&self) -> &SchemaRef {
        self.plan.schema()
    }

    /// The columns, as long as there were entities.
    pub fn columns(&self) -> &[ArrayRef] {
        &self.columns
    }

    /// Number of entities.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Statuses of `column`, one per entity; empty beyond the last column.
    pub fn statuses(&self, column: usize) -> &[Status] {
        let start = column.saturating_mul(self.rows);
        self.statuses.get(start..start.saturating_add(self.rows)).unwrap_or_default()
    }

    /// Microseconds from the event time of the row behind a value to "now", negative when it lies ahead; `None` where there
    /// is no row. For a computed value it is that of the oldest row that it was made of; `None` where it was made of none.
    pub fn age_us(&self, column: usize, row: usize) -> Option<i64> {
        self.ages.get(self.ages_of(column)?)?.at(row)
    }

    /// Which ages are those of `column`: columns with the same number have the same.
    pub(crate) fn ages_of(&self, column: usize) -> Option<usize> {
        self.plan.plan().ages_of.get(column).copied()
    }

    /// The age of a value, zero when its event time lies ahead; `None` where there is no row.
    pub fn age(&self, column: usize, row: usize) -> Option<Duration> {
        self.age_us(column, row).map(|age| Duration::from_micros(u64::try_from(age).unwrap_or(0)))
    }

    /// Event time of the row that `read` was answered with, where that row was valid; `now` is that of the request.
    pub(crate) fn event_time_of(&self, read: usize, row: usize, now: EventTime) -> Option<i64> {
        let age = self.ages.get(read)?.at(row)?;
        (age <= self.plan.plan().reads[read].ttl_us).then(|| now.as_micros().saturating_sub(age))
    }

    /// The columns as one batch.
    ///
    /// # Errors
    /// None at present: the columns are those of the schema.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(self.schema().clone(), self.columns.clone(), &options)?)
    }
}

/// Names and numbers, never a value: vectors are about people.
impl fmt::Debug for FeatureVectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("FeatureVectors");
        shown.field("service", self.plan.service()).field("rows", &self.rows);
        shown.field("columns", &self.columns.len()).finish_non_exhaustive()
    }
}
