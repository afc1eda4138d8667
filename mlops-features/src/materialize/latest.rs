//! The latest row per key of what was read, in bounded memory.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave_record_batch};

use crate::error::Result;
use crate::key::{KeyBytes, Keys};
use crate::offline::asof::group::{Interner, NONE};
use crate::online::row::{Stamp, Stamps};
use crate::view::FeatureView;

/// A row that no other row of its key beats, and where it is.
#[derive(Clone, Copy, Debug)]
struct Winner {
    stamp: Stamp,
    batch: u32,
    row: u32,
}

/// Rows that are held, some of them beaten meanwhile.
#[derive(Debug)]
struct Held {
    rows: RecordBatch,
    /// Number of each row's key; [`NONE`] for a null one.
    numbers: Vec<u32>,
    bytes: usize,
}

/// Rows that may be held besides two per key: room for beaten ones, so that the others seldom move.
const SPARE_ROWS: usize = 131_072;

/// Gathers rows and keeps the latest of each key, in the columns in which they came.
///
/// Beaten rows stay where they are until they are many, or memory is short and they are a quarter of all: then the others
/// move together, which keeps what is held close to the processor.
pub(super) struct Latest<'a> {
    view: &'a FeatureView,
    keys: Interner,
    /// By number of key.
    winners: Vec<Winner>,
    held: Vec<Held>,
    /// Rows that are held.
    rows: usize,
    /// Bytes of their columns.
    bytes: usize,
    /// Rows with a key that were pushed.
    pushed: u64,
}

impl<'a> Latest<'a> {
    pub(super) fn new(view: &'a FeatureView) -> Self {
        let keys = Interner::of(view.entity());
        Self { view, keys, winners: Vec::new(), held: Vec::new(), rows: 0, bytes: 0, pushed: 0 }
    }

    /// Takes rows in the columns of the view, later ones than those before where times are equal.
    pub(super) fn push(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let keys = Keys::of(self.view.entity(), &rows)?;
        let mut numbers = Vec::with_capacity(rows.num_rows());
        self.keys.intern(&keys, &mut numbers);
        let stamps = Stamps::of(&rows, self.view.entity().keys().len(), self.view.created().is_some());
        let batch = self.held.len() as u32;
        for (row, number) in numbers.iter().enumerate().filter(|(_, number)| **number != NONE) {
            let next = Winner { stamp: stamps.get(row), batch, row: row as u32 };
            self.pushed += 1;
            match self.winners.get_mut(*number as usize) {
                None => self.winners.push(next),
                Some(winner) if winner.stamp <= next.stamp => *winner = next,
                Some(_) => {}
            }
        }
        let bytes = bytes_of(&rows);
        self.rows += rows.num_rows();
        self.bytes += bytes;
        self.held.push(Held { rows, numbers, bytes });
        Ok(())
    }

    /// Number of keys.
    pub(super) fn keys(&self) -> usize {
        self.winners.len()
    }

    /// Rows with a key that were pushed since it was empty.
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    fn memory_bytes(&self) -> usize {
        self.bytes + self.rows * size_of::<u32>() + self.winners.len() * size_of::<Winner>() + self.keys.memory_bytes()
    }

    /// Drops beaten rows where that pays; says whether more than `memory_bytes` are in use, also without them.
    pub(super) fn exceeds(&mut self, memory_bytes: usize) -> Result<bool> {
        if self.rows > 2 * self.winners.len() + SPARE_ROWS {
            self.compact()?;
        }
        if self.memory_bytes() <= memory_bytes {
            return Ok(false);
        }
        if self.winners.len() > self.rows / 4 * 3 {
            return Ok(true);
        }
        self.compact()?;
        Ok(self.memory_bytes() > memory_bytes)
    }

    fn is_winner(&self, number: u32, batch: usize, row: usize) -> bool {
        let winner = self.winners.get(number as usize);
        winner.is_some_and(|winner| (winner.batch as usize, winner.row as usize) == (batch, row))
    }

    /// Drops beaten rows.
    fn compact(&mut self) -> Result<()> {
        let mut kept = Vec::with_capacity(self.held.len());
        for (batch, Held { rows, numbers, .. }) in std::mem::take(&mut self.held).into_iter().enumerate() {
            let stay: Vec<bool> =
                numbers.iter().enumerate().map(|(row, number)| self.is_winner(*number, batch, row)).collect();
            let numbers: Vec<u32> = numbers.into_iter().zip(&stay).filter(|(_, stay)| **stay).map(|(n, _)| n).collect();
            if numbers.is_empty() {
                continue;
            }
            let rows = filter_record_batch(&rows, &BooleanArray::from(stay))?;
            // Batches before this one were visited: no key is met again that was moved already.
            for (row, number) in numbers.iter().enumerate() {
                let winner = &mut self.winners[*number as usize];
                (winner.batch, winner.row) = (kept.len() as u32, row as u32);
            }
            kept.push(Held { bytes: bytes_of(&rows), rows, numbers });
        }
        self.rows = kept.iter().map(|held| held.rows.num_rows()).sum();
        self.bytes = kept.iter().map(|held| held.bytes).sum();
        self.held = kept;
        Ok(())
    }

    /// Gives the row of each key, in batches of at most `rows` rows and about `bytes` bytes; the keys of one batch are
    /// all below those of the next. There is one at least, which may have no rows.
    pub(super) fn batches(&self, rows: usize, bytes: usize) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
        let wide = bytes / (self.bytes / self.rows.max(1)).max(1);
        let rows = rows.min(wide).max(1);
        let order = if self.winners.len() > rows { Some(self.order()?) } else { None };
        let count = self.winners.len().div_ceil(rows).max(1);
        Ok((0..count).map(move |at| {
            let slice = at * rows..self.winners.len().min((at + 1) * rows);
            let places = slice.map(|at| {
                let winner = self.winners[order.as_ref().map_or(at, |order| order[at])];
                (winner.batch as usize, winner.row as usize)
            });
            self.gather(&places.collect::<Vec<_>>())
        }))
    }

    /// Numbers of keys in the order of their bytes, which is that of the stores: each write then has its own part of them.
    fn order(&self) -> Result<Vec<usize>> {
        let keys: Vec<Keys> =
            self.held.iter().map(|held| Keys::of(self.view.entity(), &held.rows)).collect::<Result<_>>()?;
        let mut bytes = KeyBytes::with_capacity(self.winners.len());
        for winner in &self.winners {
            bytes.push(&keys[winner.batch as usize], winner.row as usize);
        }
        Ok(bytes.order())
    }

    fn gather(&self, places: &[(usize, usize)]) -> Result<RecordBatch> {
        match self.held.as_slice() {
            [] => Ok(RecordBatch::new_empty(self.view.schema().arrow().clone())),
            [held] if places.len() == held.rows.num_rows() => Ok(held.rows.clone()),
            all => {
                let batches: Vec<&RecordBatch> = all.iter().map(|held| &held.rows).collect();
                Ok(interleave_record_batch(&batches, places)?)
            }
        }
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.winners.clear();
        self.held.clear();
        (self.rows, self.bytes, self.pushed) = (0, 0, 0);
    }
}

/// Bytes of the values of `rows`, whatever they share with others.
fn bytes_of(rows: &RecordBatch) -> usize {
    let size = |column: &arrow::array::ArrayRef| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    rows.columns().iter().map(size).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;
    use crate::{Entity, KeyType, ValueType};

    /// Key, event time, created time, value.
    type Row = (Option<u8>, i64, Option<i64>, i64);

    fn view(key_type: KeyType) -> FeatureView {
        let entity = Entity::builder("e").key("k", key_type).build().unwrap();
        FeatureView::builder("v", entity).feature("at", ValueType::Int64).created("created").build().unwrap()
    }

    fn batch(view: &FeatureView, rows: &[Row]) -> RecordBatch {
        let times =
            |times: Vec<Option<i64>>| Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) as ArrayRef;
        let keys: ArrayRef = match view.entity().keys()[0].key_type {
            KeyType::Int64 => Arc::new(rows.iter().map(|row| row.0.map(i64::from)).collect::<Int64Array>()),
            KeyType::Utf8 => {
                Arc::new(rows.iter().map(|row| row.0.map(|k| "x".repeat(k.into()))).collect::<StringArray>())
            }
        };
        let columns = vec![
            keys,
            times(rows.iter().map(|row| Some(row.1)).collect()),
            times(rows.iter().map(|row| row.2).collect()),
            Arc::new(rows.iter().map(|row| row.3).collect::<Int64Array>()),
        ];
        RecordBatch::try_new(view.schema().arrow().clone(), columns).unwrap()
    }

    fn key(rows: &RecordBatch, row: usize) -> u8 {
        match rows.column(0).as_string_opt::<i32>() {
            Some(texts) => texts.value(row).len() as u8,
            None => rows.column(0).as_primitive::<Int64Type>().value(row) as u8,
        }
    }

    proptest! {
        /// Compared with a map that takes rows one by one.
        #[test]
        fn the_latest_row_of_each_key_is_left_whatever_was_dropped_between(
            pushes in proptest::collection::vec(
                (proptest::collection::vec(
                    (proptest::option::weighted(0.9, 0_u8..9), 0_i64..4, proptest::option::of(0_i64..3)), 0..12,
                ), any::<bool>()), 0..8,
            ),
            text in any::<bool>(),
            rows_max in 1_usize..5,
        ) {
            let view = view(if text { KeyType::Utf8 } else { KeyType::Int64 });
            let mut latest = Latest::new(&view);
            for _ in 0..2 {
                let mut expected: BTreeMap<u8, (Stamp, i64)> = BTreeMap::new();
                let mut next = 0;
                for (rows, compact) in &pushes {
                    let rows: Vec<Row> = rows.iter().map(|(key, time, created)| {
                        next += 1;
                        (*key, *time, *created, next)
                    }).collect();
                    for (key, event_time, created, value) in &rows {
                        let (Some(key), stamp) = (key, Stamp { event_time: *event_time, created: *created }) else {
                            continue;
                        };
                        let row = expected.entry(*key).or_insert((stamp, *value));
                        if stamp >= row.0 {
                            *row = (stamp, *value);
                        }
                    }
                    latest.push(batch(&view, &rows)).unwrap();
                    if *compact {
                        latest.compact().unwrap();
                        prop_assert_eq!(latest.rows, latest.keys());
                    }
                }
                let mut found = Vec::new();
                for rows in latest.batches(rows_max, 1 << 20).unwrap() {
                    let rows = rows.unwrap();
                    prop_assert!(rows.num_rows() <= rows_max);
                    let values = rows.column(3).as_primitive::<Int64Type>();
                    found.push((0..rows.num_rows()).map(|row| (key(&rows, row), values.value(row))).collect::<Vec<_>>());
                }
                if !text && expected.len() > rows_max {
                    let flat: Vec<u8> = found.iter().flatten().map(|(key, _)| *key).collect();
                    prop_assert!(flat.is_sorted(), "small integers stand as their bytes do: {:?}", flat);
                }
                let found: BTreeMap<u8, i64> = found.into_iter().flatten().collect();
                prop_assert_eq!(latest.keys(), found.len());
                prop_assert_eq!(found, expected.into_iter().map(|(key, (_, value))| (key, value)).collect());
                latest.clear();
            }
        }
    }

    #[test]
    fn rows_that_are_beaten_make_room_for_others() {
        let view = view(KeyType::Int64);
        let rows = |time| (0..=255).map(|key| (Some(key), time, None, time)).collect::<Vec<Row>>();
        let mut latest = Latest::new(&view);
        latest.push(batch(&view, &rows(0))).unwrap();
        let memory_bytes = 3 * latest.memory_bytes();
        for time in 1..100 {
            latest.push(batch(&view, &rows(time))).unwrap();
            assert!(!latest.exceeds(memory_bytes).unwrap(), "push {time}");
            assert!(latest.rows <= 8 * 256, "{} rows are held", latest.rows);
        }
        assert_eq!((latest.keys(), latest.pushed()), (256, 25_600));
        assert!(latest.exceeds(latest.memory_bytes() / 8).unwrap());
        let all = latest.batches(1_000, 1 << 20).unwrap().next().unwrap().unwrap();
        assert!(all.column(3).as_primitive::<Int64Type>().values().iter().all(|value| *value == 99));
        assert_eq!(all.column(2).null_count(), 256);
    }

    #[test]
    fn without_rows_there_is_one_batch_without_rows() {
        let view = view(KeyType::Int64);
        let latest = Latest::new(&view);
        let batches: Vec<RecordBatch> = latest.batches(7, 1 << 20).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [0]);
        assert_eq!(batches[0].schema_ref(), view.schema().arrow());
    }
}
