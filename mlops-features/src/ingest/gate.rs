//! What every row passes on its way in.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::checks::{Checks, Passed};
use super::statistics::{self, StatisticsStore};
use crate::error::Result;
use crate::view::FeatureView;

/// Checks before rows come in, and statistics of those that did. By default neither.
///
/// Keep statistics of a view at one of its doors: rows that are pushed and then materialized would be counted twice.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    checks: Option<Checks>,
    statistics: Option<Arc<dyn StatisticsStore>>,
}

impl Gate {
    /// A gate that stands open.
    pub fn new() -> Self {
        Self::default()
    }

    /// What rows must be. Default: what the view's schema says.
    pub fn checks(mut self, checks: Checks) -> Self {
        self.checks = Some(checks);
        self
    }

    /// Where statistics of rows that came in are kept, per view and day of their event time. Default nowhere.
    pub fn statistics(mut self, store: Arc<dyn StatisticsStore>) -> Self {
        self.statistics = Some(store);
        self
    }

    /// Whether rows are counted as they come in.
    pub(crate) fn counts(&self) -> bool {
        self.statistics.is_some()
    }

    /// The rows of a batch in the columns of `view` that may come in, and how many were set aside.
    pub(crate) fn admit(&self, view: &FeatureView, rows: RecordBatch) -> Result<(RecordBatch, u64)> {
        match &self.checks {
            Some(checks) if rows.num_rows() > 0 => {
                let Passed { rows, set_aside } = checks.pass(view.name(), view.schema(), rows)?;
                Ok((rows, set_aside))
            }
            _ => Ok((rows, 0)),
        }
    }

    /// Notes that `rows` came in. The same rows again are not counted again.
    pub(crate) fn came_in(&self, view: &FeatureView, rows: &RecordBatch) -> Result<()> {
        match &self.statistics {
            Some(store) if rows.num_rows() > 0 => statistics::record(store.as_ref(), view, rows),
            _ => Ok(()),
        }
    }
}
