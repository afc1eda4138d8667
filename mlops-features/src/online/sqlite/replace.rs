//! Rows of the file, replaced by comparing.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mlops_core::sqlite::Failure;
use rusqlite::{Transaction, params};

use super::{Attempt, SqliteStore};
use crate::error::{Error, Result};
use crate::online::row::RowBytes;
use crate::online::state::Swaps;
use crate::online::{RowTimes, StateStore, sealed};
use crate::view::FeatureView;

impl SqliteStore {
    fn swap(&self, tx: &Transaction<'_>, id: u32, view: &FeatureView, swaps: &Swaps) -> Attempt<Vec<bool>> {
        let mut find = tx.prepare_cached("SELECT row FROM rows WHERE view = ?1 AND key = ?2")?;
        let mut put = tx.prepare_cached("INSERT OR REPLACE INTO rows (view, key, row) VALUES (?1, ?2, ?3)")?;
        let mut done = vec![false; swaps.len()];
        let mut full_key = id.to_be_bytes().to_vec();
        swaps.for_each(view, |swap| {
            full_key.truncate(4);
            full_key.extend_from_slice(swap.key);
            let mut found = find.query(params![id, swap.key])?;
            let mut stamp = None;
            if let Some(found) = found.next()? {
                let stored = found.get_ref(0)?.as_blob().unwrap_or_default();
                let row = sealed::open(&full_key, stored).and_then(RowBytes::parse);
                let damaged = || Failure::Ours(self.corrupt("the checksum of a row does not fit"));
                stamp = Some(row.ok_or_else(damaged)?.stamp);
            }
            drop(found);
            if stamp == swap.seen {
                sealed::seal(&full_key, swap.bytes);
                put.execute(params![id, swap.key, swap.bytes.as_slice()])?;
                done[swap.position] = true;
            }
            Ok::<_, Failure<Error>>(())
        })?;
        Ok(done)
    }

    /// [`StateStore::replace`] as a plain call: one durable transaction.
    ///
    /// # Errors
    /// As there, `Core(Busy)` when other processes write longer than the wait; nothing of the call is stored when it fails.
    pub fn replace_sync(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>> {
        let swaps = Swaps::new(view, rows, seen)?;
        if swaps.len() == 0 {
            return Ok(Vec::new());
        }
        let (done, next) = self.writer.write(|tx| {
            let (id, next) = self.admit(tx, view)?;
            Ok((self.swap(tx, id, view, &swaps)?, next))
        })?;
        if let Some(next) = next {
            self.known.learn(view.name(), &next);
        }
        Ok(done)
    }
}

#[async_trait]
impl StateStore for SqliteStore {
    async fn replace(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>> {
        self.replace_sync(view, rows, seen)
    }
}
