//! Rows of the store in memory, replaced by comparing.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use papaya::Operation;

use super::{MemoryStore, Table};
use crate::error::{Error, Result};
use crate::online::row::{RowBytes, Stamp};
use crate::online::state::Swaps;
use crate::online::{RowTimes, StateStore};
use crate::view::FeatureView;

impl Table {
    /// Puts `bytes` in the place of the row with the times `seen`, in one step; says whether that was there.
    fn swap(&self, key: &[u8], seen: Option<Stamp>, bytes: &[u8]) -> bool {
        let rows = self.rows.pin();
        let put = rows.compute(key.into(), |stored| {
            let found = stored.and_then(|(_, stored)| RowBytes::parse(stored)).map(|row| row.stamp);
            if found == seen { Operation::Insert(bytes.into()) } else { Operation::Abort(()) }
        });
        !matches!(put, papaya::Compute::Aborted(()))
    }
}

impl MemoryStore {
    /// [`StateStore::replace`] as a plain call.
    ///
    /// # Errors
    /// As there.
    pub fn replace_sync(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>> {
        let swaps = Swaps::new(view, rows, seen)?;
        let table = self.admit(view)?;
        let mut done = vec![false; swaps.len()];
        swaps.for_each(view, |swap| {
            done[swap.position] = table.swap(swap.key, swap.seen, swap.bytes);
            Ok::<_, Error>(())
        })?;
        Ok(done)
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn replace(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>> {
        self.replace_sync(view, rows, seen)
    }
}
