//! Rows of the store in memory, replaced by comparing.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use papaya::Operation;

use super::{MemoryStore, Slot, Table};
use crate::error::{Error, Result};
use crate::online::row::{RowBytes, Stamp};
use crate::online::state::Swaps;
use crate::online::{RowTimes, StateStore};
use crate::view::FeatureView;

impl MemoryStore {
    /// Puts `bytes` in the place of the row with the times `seen`, in one step; says whether that was there.
    fn swap(&self, table: &Table, view: u32, key: &[u8], seen: Option<Stamp>, bytes: &[u8]) -> bool {
        let next = Slot { view, row: bytes.into() };
        let rows = self.rows.pin();
        let put = rows.compute(key.into(), |stored| {
            let slots = stored.map_or(&[][..], |(_, slots)| &**slots);
            let found = Slot::find(slots, view).and_then(RowBytes::parse).map(|row| row.stamp);
            if found == seen { Operation::Insert(Slot::with(slots, &next)) } else { Operation::Abort(()) }
        });
        table.placed(&put, view)
    }

    /// [`StateStore::replace`] as a plain call.
    ///
    /// # Errors
    /// As there.
    pub fn replace_sync(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>> {
        let swaps = Swaps::new(view, rows, seen)?;
        let table = self.admit(view)?;
        let id = table.registered.load().id;
        let mut done = vec![false; swaps.len()];
        swaps.for_each(view, |swap| {
            done[swap.position] = self.swap(&table, id, swap.key, swap.seen, swap.bytes);
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
