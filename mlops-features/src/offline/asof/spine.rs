//! Entity rows, grouped by key.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::Field;
use foldhash::fast::RandomState;
use mlops_core::{Dataset, Schema};

use super::ensure_countable;
use crate::columns;
use crate::error::Result;
use crate::key::{KeyColumn, Keys, pick};
use crate::service::ViewJoin;

/// No group.
pub(crate) const NONE: u32 = u32::MAX;

/// All entity rows and their instants.
pub(crate) struct Spine {
    schema: Schema,
    batches: Vec<RecordBatch>,
    times: Vec<i64>,
}

impl Spine {
    pub(crate) fn read(data: &Dataset, time: &str) -> Result<Self> {
        let batches = data.batches()?.collect::<mlops_core::Result<Vec<_>>>()?;
        let mut times = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        for batch in &batches {
            let column: &ArrayRef = batch.column(data.schema().index_of(time)?);
            columns::ensure_no_nulls(column, time)?;
            times.extend_from_slice(columns::micros(column, time)?.values());
        }
        ensure_countable("entity rows", times.len())?;
        Ok(Self { schema: data.schema().clone(), batches, times })
    }

    pub(crate) fn fields(&self) -> Vec<Field> {
        self.schema.arrow().fields().iter().map(|field| field.as_ref().clone()).collect()
    }

    /// The entity rows with `columns`, each as long as all of them together, beside them.
    pub(crate) fn extend(self, schema: Schema, columns: &[ArrayRef]) -> Result<Dataset> {
        let mut start = 0;
        let mut extended = Vec::with_capacity(self.batches.len());
        for batch in self.batches {
            let rows = batch.num_rows();
            let mut arrays = batch.columns().to_vec();
            arrays.extend(columns.iter().map(|column| column.slice(start, rows)));
            start += rows;
            extended.push(RecordBatch::try_new(schema.arrow().clone(), arrays)?);
        }
        Ok(Dataset::held(schema, extended)?)
    }
}

/// Entity rows by key: groups are numbered from 0 in the order in which their keys first occur.
pub(crate) struct SpineKeys {
    interner: Interner,
    /// Start of each group in `rows` and `times`, and the end of the last.
    starts: Vec<u32>,
    /// Positions of entity rows.
    rows: Vec<u32>,
    /// Their instants.
    times: Vec<i64>,
    /// All entity rows.
    total: usize,
    null_keys: u64,
}

impl SpineKeys {
    /// Groups `spine` by the key columns of `join`.
    pub(crate) fn group(spine: &Spine, join: &ViewJoin) -> Result<Self> {
        let entity = join.view().entity();
        let read = |batch: &RecordBatch| Keys::new(entity, &pick(batch, join.key_columns())?);
        let keys = spine.batches.iter().map(read).collect::<Result<Vec<_>>>()?;
        let total = spine.times.len();
        let mut interner = Interner::for_keys(&keys, total);
        let mut groups = Vec::with_capacity(total);
        for keys in &keys {
            interner.intern(keys, &mut groups);
        }
        let count = groups.iter().filter(|g| **g != NONE).max().map_or(0, |g| *g as usize + 1);
        let starts = starts(&groups, count);
        let mut next = starts.clone();
        let matched = starts.last().copied().unwrap_or(0) as usize;
        let (mut rows, mut times) = (vec![0; matched], vec![0; matched]);
        for (row, group) in groups.iter().enumerate().filter(|(_, group)| **group != NONE) {
            let at = &mut next[*group as usize];
            rows[*at as usize] = row as u32;
            times[*at as usize] = spine.times[row];
            *at += 1;
        }
        Ok(Self { interner, starts, rows, times, total, null_keys: (total - matched) as u64 })
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn null_keys(&self) -> u64 {
        self.null_keys
    }

    pub(crate) fn groups(&self) -> usize {
        self.starts.len() - 1
    }

    /// Positions and instants of the entity rows of `group`.
    pub(crate) fn group_rows(&self, group: usize) -> (&[u32], &[i64]) {
        let range = self.starts[group] as usize..self.starts[group + 1] as usize;
        (&self.rows[range.clone()], &self.times[range])
    }

    /// Appends, per key, the group of entity rows with it, or [`NONE`]; returns the number of null keys.
    pub(crate) fn find(&self, keys: &Keys, groups: &mut Vec<u32>) -> u64 {
        self.interner.find(keys, groups)
    }
}

/// Start of each of `count` groups, and the end of the last, when rows are put in the order of their groups.
pub(crate) fn starts(groups: &[u32], count: usize) -> Vec<u32> {
    let mut starts = vec![0_u32; count + 1];
    for group in groups.iter().filter(|group| **group != NONE) {
        starts[*group as usize + 1] += 1;
    }
    for group in 0..count {
        starts[group + 1] += starts[group];
    }
    starts
}

/// Numbers keys by the order in which they first occur.
enum Interner {
    /// One integer column whose values lie close together: a table by value.
    Near { min: i64, groups: Vec<u32>, next: u32 },
    /// One integer column.
    Integers(HashMap<i64, u32, RandomState>),
    /// Anything else, by the bytes of the key.
    Bytes(HashMap<Box<[u8]>, u32, RandomState>),
}

impl Interner {
    fn for_keys(keys: &[Keys], total: usize) -> Self {
        let mut range: Option<(i64, i64)> = None;
        for keys in keys {
            let [KeyColumn::Integer(values)] = keys.columns() else { return Self::Bytes(HashMap::default()) };
            if let (Some(min), Some(max)) = (arrow::compute::min(values), arrow::compute::max(values)) {
                range = Some(range.map_or((min, max), |(low, high)| (low.min(min), high.max(max))));
            }
        }
        let Some((min, max)) = range else { return Self::Integers(HashMap::default()) };
        let span = max.wrapping_sub(min) as u64;
        if span <= 4 * total as u64 {
            return Self::Near { min, groups: vec![NONE; span as usize + 1], next: 0 };
        }
        Self::Integers(HashMap::default())
    }

    /// Appends the group of each key, a new one for a key that was not met before, [`NONE`] for a null key.
    fn intern(&mut self, keys: &Keys, out: &mut Vec<u32>) {
        match (self, keys.columns()) {
            (Self::Near { min, groups, next }, [KeyColumn::Integer(values)]) => each(values, |value| {
                let group = value.map_or(NONE, |value| {
                    let slot = &mut groups[value.wrapping_sub(*min) as usize];
                    if *slot == NONE {
                        *slot = *next;
                        *next += 1;
                    }
                    *slot
                });
                out.push(group);
            }),
            (Self::Integers(known), [KeyColumn::Integer(values)]) => each(values, |value| {
                let next = known.len() as u32;
                out.push(value.map_or(NONE, |value| *known.entry(value).or_insert(next)));
            }),
            (Self::Bytes(known), _) => each_bytes(keys, |key| {
                let Some(key) = key else { return out.push(NONE) };
                let group = known.get(key).copied().unwrap_or_else(|| {
                    let next = known.len() as u32;
                    known.insert(key.into(), next);
                    next
                });
                out.push(group);
            }),
            _ => out.extend(std::iter::repeat_n(NONE, keys.len())),
        }
    }

    fn find(&self, keys: &Keys, out: &mut Vec<u32>) -> u64 {
        let mut nulls = 0;
        match (self, keys.columns()) {
            (Self::Near { min, groups, .. }, [KeyColumn::Integer(values)]) => each(values, |value| {
                nulls += u64::from(value.is_none());
                let slot = value.map(|value| value.wrapping_sub(*min) as u64 as usize);
                out.push(slot.and_then(|slot| groups.get(slot)).copied().unwrap_or(NONE));
            }),
            (Self::Integers(known), [KeyColumn::Integer(values)]) => each(values, |value| {
                nulls += u64::from(value.is_none());
                out.push(value.and_then(|value| known.get(&value)).copied().unwrap_or(NONE));
            }),
            (Self::Bytes(known), _) => each_bytes(keys, |key| {
                nulls += u64::from(key.is_none());
                out.push(key.and_then(|key| known.get(key)).copied().unwrap_or(NONE));
            }),
            _ => out.extend(std::iter::repeat_n(NONE, keys.len())),
        }
        nulls
    }
}

/// Calls `take` with each value in turn.
fn each(values: &Int64Array, mut take: impl FnMut(Option<i64>)) {
    if values.null_count() == 0 {
        values.values().iter().for_each(|value| take(Some(*value)));
    } else {
        values.iter().for_each(take);
    }
}

/// Calls `take` with the bytes of each key in turn.
fn each_bytes(keys: &Keys, mut take: impl FnMut(Option<&[u8]>)) {
    let mut bytes = Vec::with_capacity(64);
    for row in 0..keys.len() {
        bytes.clear();
        let found = keys.encode(row, &mut bytes);
        take(found.then_some(bytes.as_slice()));
    }
}
