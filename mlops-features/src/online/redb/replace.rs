//! Rows of the file, replaced by comparing.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use redb::ReadableTable;

use super::upsert::Rows;
use super::{ROWS, RedbStore, corrupt, storage};
use crate::error::{Error, Result};
use crate::online::row::{RowBytes, Stamp};
use crate::online::state::Swaps;
use crate::online::{RowTimes, StateStore, sealed};
use crate::view::FeatureView;

impl RedbStore {
    /// The times of the row at `key`, if there is one.
    fn stamp_at(&self, rows: &Rows<'_>, key: &[u8]) -> Result<Option<Stamp>> {
        let Some(stored) = rows.get(key).map_err(|e| storage(&self.path, e))? else { return Ok(None) };
        let row = sealed::open(key, stored.value()).and_then(RowBytes::parse);
        let row = row.ok_or_else(|| corrupt(&self.path, "the checksum of a row does not fit"))?;
        Ok(Some(row.stamp))
    }

    /// [`StateStore::replace`] as a plain call: one durable transaction.
    ///
    /// # Errors
    /// As there; nothing of the call is stored when it fails.
    pub fn replace_sync(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>> {
        let swaps = Swaps::new(view, rows, seen)?;
        let mut done = vec![false; swaps.len()];
        if done.is_empty() {
            return Ok(done);
        }
        self.transaction(|write| {
            let (id, changed) = self.admit(write, view)?;
            let mut table = write.open_table(ROWS).map_err(|e| storage(&self.path, e))?;
            let mut full_key = id.to_be_bytes().to_vec();
            swaps.for_each(view, |swap| {
                full_key.truncate(4);
                full_key.extend_from_slice(swap.key);
                if self.stamp_at(&table, &full_key)? == swap.seen {
                    sealed::seal(&full_key, swap.bytes);
                    table.insert(full_key.as_slice(), swap.bytes.as_slice()).map_err(|e| storage(&self.path, e))?;
                    done[swap.position] = true;
                }
                Ok::<_, Error>(())
            })?;
            Ok((done, changed))
        })
    }
}

#[async_trait]
impl StateStore for RedbStore {
    async fn replace(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>> {
        self.replace_sync(view, rows, seen)
    }
}
