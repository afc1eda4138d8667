//! Rows of one write, put beside those that are stored.

use std::ops::{Bound, Range};

use redb::{ReadableTable, StorageError, Table};

use super::{RedbStore, storage};
use crate::error::{Error, Result};
use crate::online::batch::Batch;
use crate::online::row::{RowBytes, Stamp};
use crate::online::sealed;
use crate::view::FeatureView;

/// Rows in a transaction that writes them.
pub(super) type Rows<'a> = Table<'a, &'static [u8], &'static [u8]>;

impl RedbStore {
    /// Stores `bytes` at `key`; gives what was there when that is newer than `stamp`.
    fn put(&self, rows: &mut Rows<'_>, key: &[u8], bytes: &[u8], stamp: Stamp) -> Result<Option<Vec<u8>>> {
        let before = rows.insert(key, bytes).map_err(|e: StorageError| storage(&self.path, e))?;
        let Some(before) = before else { return Ok(None) };
        // A damaged row is replaced: the row at hand is the best that is known.
        let row = sealed::open(key, before.value()).and_then(RowBytes::parse);
        Ok(row.is_some_and(|row| row.stamp > stamp).then(|| before.value().to_vec()))
    }

    /// Stores the winners of `batch`; says how many are the latest of their key.
    pub(super) fn upsert(&self, rows: &mut Rows<'_>, id: u32, view: &FeatureView, batch: &Batch) -> Result<u64> {
        let known = self.known_until(rows, id, batch)?;
        let mut written = 0;
        let mut full_key = id.to_be_bytes().to_vec();
        batch.for_each_in(0..known, view, |key, stamp, bytes| {
            put_in_view(&mut full_key, key, bytes);
            // One walk down the tree, not two: what is there is seldom newer than what arrives, and is put back then.
            match self.put(rows, &full_key, bytes, stamp)? {
                Some(newer) => drop(self.put(rows, &full_key, &newer, stamp)?),
                None => written += 1,
            }
            Ok::<_, Error>(())
        })?;
        self.append(rows, id, view, batch, known..batch.winners())?;
        Ok(written + (batch.winners() - known) as u64)
    }

    /// How many winners of `batch` have a key up to the last one that is stored of view `id`.
    fn known_until(&self, rows: &Rows<'_>, id: u32, batch: &Batch) -> Result<usize> {
        let first = id.to_be_bytes();
        let end = id.checked_add(1).map(u32::to_be_bytes);
        let end = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(end.as_slice()));
        let stored = rows.range::<&[u8]>((Bound::Included(first.as_slice()), end));
        let mut stored = stored.map_err(|e| storage(&self.path, e))?;
        let last = stored.next_back().transpose().map_err(|e| storage(&self.path, e))?;
        Ok(last.map_or(0, |(key, _)| batch.up_to(&key.value()[first.len()..])))
    }

    /// Stores winners whose keys follow all that is stored of view `id`: pages are filled one after the other, and none is
    /// looked for.
    fn append(
        &self,
        rows: &mut Rows<'_>,
        id: u32,
        view: &FeatureView,
        batch: &Batch,
        winners: Range<usize>,
    ) -> Result<()> {
        if winners.is_empty() {
            return Ok(());
        }
        let end = id.checked_add(1).map(u32::to_be_bytes);
        let end = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(end.as_slice()));
        let mut gap = rows.upper_bound_mut(end).map_err(|e| storage(&self.path, e))?;
        let mut full_key = id.to_be_bytes().to_vec();
        batch.for_each_in(winners, view, |key, _, bytes| {
            put_in_view(&mut full_key, key, bytes);
            gap.insert_before(full_key.as_slice(), bytes.as_slice()).map_err(|e| storage(&self.path, e))
        })?;
        gap.close().map_err(|e| storage(&self.path, e))
    }
}

/// Puts `key` behind the number of its view, and seals the row with both.
fn put_in_view(full_key: &mut Vec<u8>, key: &[u8], row: &mut Vec<u8>) {
    full_key.truncate(size_of::<u32>());
    full_key.extend_from_slice(key);
    sealed::seal(full_key, row);
}
