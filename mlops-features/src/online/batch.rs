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
        let order = self.order(&writer);
        let last_of_key = |i: usize| order.get(i + 1).is_none_or(|next| self.key(*next) != self.key(order[i]));
        (0..order.len()).filter(|i| last_of_key(*i)).map(|i| order[i]).collect()
    }

    /// Rows by key, then by time, then as they came.
    fn order(&self, writer: &RowWriter<'_>) -> Vec<usize> {
        let common = self.common_head();
        // Eight bytes behind what all keys begin with tell most keys apart, without a look at the keys themselves.
        let mut order: Vec<(u64, usize)> = (0..self.ends.len())
            .map(|row| {
                let rest = &self.key(row)[common..];
                let mut first = [0; 8];
                let length = rest.len().min(8);
                first[..length].copy_from_slice(&rest[..length]);
                (u64::from_be_bytes(first), row)
            })
            .collect();
        order.sort_unstable_by(|(first_a, a), (first_b, b)| {
            first_a.cmp(first_b).then_with(|| {
                self.key(*a).cmp(self.key(*b)).then_with(|| writer.stamp(*a).cmp(&writer.stamp(*b))).then(a.cmp(b))
            })
        });
        order.into_iter().map(|(_, row)| row).collect()
    }

    /// How many bytes all keys begin with.
    fn common_head(&self) -> usize {
        if self.ends.is_empty() {
            return 0;
        }
        let first = self.key(0);
        (1..self.ends.len()).fold(first.len(), |common, row| {
            let key = self.key(row);
            if key.get(..common) == Some(&first[..common]) {
                return common;
            }
            first.iter().zip(key).take_while(|(a, b)| a == b).count()
        })
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
