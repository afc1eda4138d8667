//! One write: the rows that win among themselves, as bytes, in the order of their keys.

use std::ops::Range;

use arrow::array::RecordBatch;

use super::row::{RowBlock, RowWriter, Stamp, Stamps};
use crate::error::{Core, Result};
use crate::key::{KeyBytes, Keys};
use crate::view::FeatureView;

/// Rows of one write, conformed, with their keys encoded.
#[derive(Debug)]
pub(super) struct Batch {
    rows: RecordBatch,
    keys: KeyBytes,
    /// The winner per key, by key.
    winners: Vec<usize>,
}

impl Batch {
    /// Checks `rows` and picks the latest per key.
    pub(super) fn new(view: &FeatureView, rows: &RecordBatch) -> Result<Self> {
        let rows = view.conform(rows)?;
        let keys = Keys::of(view.entity(), &rows)?;
        let mut bytes = KeyBytes::with_capacity(keys.len());
        for row in 0..keys.len() {
            if !bytes.push(&keys, row) {
                let what = format!("key of `{}`", view.entity().name());
                return Err(Core::invalid_data(what, format!("null in row {row}")).into());
            }
        }
        let mut batch = Self { rows, keys: bytes, winners: Vec::new() };
        batch.winners = batch.latest(view);
        Ok(batch)
    }

    fn latest(&self, view: &FeatureView) -> Vec<usize> {
        let stamps = Stamps::of(&self.rows, view.entity().keys().len(), view.created().is_some());
        let order = self.keys.order();
        // Among equal times the last one stays, as the rows of a key stand as they came.
        let latest = |rows: &[usize]| rows.iter().copied().max_by_key(|row| stamps.get(*row));
        order.chunk_by(|a, b| self.keys.get(*a) == self.keys.get(*b)).filter_map(latest).collect()
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows.num_rows() as u64
    }

    /// Number of winners.
    #[cfg(any(feature = "redb", feature = "redis"))]
    pub(super) fn winners(&self) -> usize {
        self.winners.len()
    }

    /// How many winners have a key up to `key`, itself included.
    #[cfg(feature = "redb")]
    pub(super) fn up_to(&self, key: &[u8]) -> usize {
        self.winners.partition_point(|row| self.keys.get(*row) <= key)
    }

    /// Calls `store` with key, times and bytes of each winner, by ascending key.
    pub(super) fn for_each<E: From<Core>>(
        &self,
        view: &FeatureView,
        store: impl FnMut(&[u8], Stamp, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.for_each_in(0..self.winners.len(), view, store)
    }

    /// The same for some of the winners.
    pub(super) fn for_each_in<E: From<Core>>(
        &self,
        range: Range<usize>,
        view: &FeatureView,
        mut store: impl FnMut(&[u8], Stamp, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut blocks = self.blocks(view, range);
        while blocks.next()? {
            blocks.for_each(&mut store)?;
        }
        Ok(())
    }

    /// Winners, block by block.
    pub(super) fn blocks<'a>(&'a self, view: &'a FeatureView, range: Range<usize>) -> Blocks<'a> {
        let has_created = view.created().is_some();
        let writer = RowWriter::new(view.layout(), &self.rows, view.entity().keys().len(), has_created);
        let rows = &self.winners[range];
        Blocks { keys: &self.keys, writer, rows, at: 0..0, block: RowBlock::default(), row: Vec::new() }
    }
}

/// Winners of a batch, of which a block is encoded at a time.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    keys: &'a KeyBytes,
    writer: RowWriter<'a>,
    rows: &'a [usize],
    /// Those of the block.
    at: Range<usize>,
    block: RowBlock,
    row: Vec<u8>,
}

impl Blocks<'_> {
    /// Encodes the next block; says whether there is one.
    ///
    /// # Errors
    /// `Core(Invalid)` when one row exceeds 4 GiB.
    pub(super) fn next(&mut self) -> Result<bool, Core> {
        let left = &self.rows[self.at.end..];
        let encoded = self.writer.encode(left, &mut self.block).map_err(Core::from)?;
        self.at = self.at.end..self.at.end + encoded;
        Ok(encoded > 0)
    }

    /// Calls `store` with key, times and bytes of each row of the block.
    pub(super) fn for_each<E>(
        &mut self,
        mut store: impl FnMut(&[u8], Stamp, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (row, bytes) in self.rows[self.at.clone()].iter().zip(self.block.rows()) {
            self.row.clear();
            self.row.extend_from_slice(bytes);
            store(self.keys.get(*row), self.writer.stamp(*row), &mut self.row)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
    use proptest::prelude::*;

    use super::*;
    use crate::{Entity, KeyType, ValueType};

    fn encoded(entity: &Entity, text: &str) -> Vec<u8> {
        let text: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let mut key = Vec::new();
        Keys::new(entity, &[text]).unwrap().encode(0, &mut key);
        key
    }

    proptest! {
        #[test]
        fn the_latest_of_each_key_is_left_by_ascending_key(
            rows in proptest::collection::vec(("[ab\u{0}]{0,12}", 0_i64..5), 0..40),
        ) {
            let entity = Entity::builder("e").key("k", KeyType::Utf8).build().unwrap();
            let view = FeatureView::builder("v", entity.clone()).feature("at", ValueType::Int64).build().unwrap();
            let mut expected = BTreeMap::new();
            for (key, time) in &rows {
                let latest = expected.entry(encoded(&entity, key)).or_insert(*time);
                *latest = (*latest).max(*time);
            }
            let (keys, times): (Vec<String>, Vec<i64>) = rows.into_iter().unzip();
            let at: ArrayRef = Arc::new(Int64Array::from_iter_values(0..keys.len() as i64));
            let times = TimestampMicrosecondArray::from(times).with_timezone("UTC");
            let columns = [
                ("k", Arc::new(StringArray::from(keys)) as ArrayRef),
                ("event_timestamp", Arc::new(times)),
                ("at", at),
            ];
            let batch = Batch::new(&view, &RecordBatch::try_from_iter(columns).unwrap()).unwrap();
            let mut found = Vec::new();
            let note = |key: &[u8], stamp: Stamp, _: &mut Vec<u8>| {
                found.push((key.to_vec(), stamp.event_time));
                Ok::<_, Core>(())
            };
            batch.for_each(&view, note).unwrap();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
