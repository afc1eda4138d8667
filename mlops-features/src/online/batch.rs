//! One write: the rows that win among themselves, as bytes, in the order of their keys.

use arrow::array::RecordBatch;

use super::row::{RowWriter, Stamp};
use crate::error::{Core, Result};
use crate::key::Keys;
use crate::view::FeatureView;

/// Rows of one write, conformed, with their keys encoded.
#[derive(Debug)]
pub(super) struct Batch {
    rows: RecordBatch,
    key_bytes: Vec<u8>,
    /// End of each row's key.
    ends: Vec<usize>,
    /// The winner per key, by key.
    winners: Vec<usize>,
}

impl Batch {
    /// Checks `rows` and picks the latest per key.
    pub(super) fn new(view: &FeatureView, rows: &RecordBatch) -> Result<Self> {
        let rows = view.conform(rows)?;
        let keys = Keys::of(view.entity(), &rows)?;
        let mut key_bytes = Vec::with_capacity(keys.len() * 48);
        let mut ends = Vec::with_capacity(keys.len());
        for row in 0..keys.len() {
            if !keys.encode(row, &mut key_bytes) {
                let what = format!("key of `{}`", view.entity().name());
                return Err(Core::invalid_data(what, format!("null in row {row}")).into());
            }
            ends.push(key_bytes.len());
        }
        let mut batch = Self { rows, key_bytes, ends, winners: Vec::new() };
        batch.winners = batch.latest(view);
        Ok(batch)
    }

    fn latest(&self, view: &FeatureView) -> Vec<usize> {
        let writer = self.writer(view);
        let mut order: Vec<usize> = (0..self.ends.len()).collect();
        order.sort_unstable_by(|a, b| {
            self.key(*a).cmp(self.key(*b)).then_with(|| writer.stamp(*a).cmp(&writer.stamp(*b))).then(a.cmp(b))
        });
        let last_of_key = |i: usize| order.get(i + 1).is_none_or(|next| self.key(*next) != self.key(order[i]));
        (0..order.len()).filter(|i| last_of_key(*i)).map(|i| order[i]).collect()
    }

    fn writer<'a>(&'a self, view: &'a FeatureView) -> RowWriter<'a> {
        RowWriter::new(view.layout(), &self.rows, view.entity().keys().len(), view.created().is_some())
    }

    fn key(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.key_bytes[start..self.ends[row]]
    }

    pub(super) fn rows(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Calls `store` with key, times and bytes of each winner, by ascending key.
    pub(super) fn for_each<E: From<Core>>(
        &self,
        view: &FeatureView,
        mut store: impl FnMut(&[u8], Stamp, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let writer = self.writer(view);
        let mut bytes = Vec::new();
        for row in &self.winners {
            bytes.clear();
            writer.encode(*row, &mut bytes).map_err(Core::from)?;
            store(self.key(*row), writer.stamp(*row), &mut bytes)?;
        }
        Ok(())
    }
}
