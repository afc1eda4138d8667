//! Entity rows, grouped by key.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, Int64Array, TimestampMicrosecondArray};
use foldhash::fast::RandomState;

use super::ensure_countable;
use crate::define::KeyType;
use crate::entity::Entity;
use crate::error::Result;
use crate::key::{KeyColumn, Keys};

/// No group.
pub(crate) const NONE: u32 = u32::MAX;

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
    /// Groups entity rows by their keys; `times` are their instants, cut into the same pieces.
    pub(crate) fn group(keys: &[Keys], times: &[TimestampMicrosecondArray]) -> Result<Self> {
        let total = keys.iter().map(Keys::len).sum();
        ensure_countable("entity rows", total)?;
        let mut interner = Interner::for_keys(keys, total);
        let mut groups = Vec::with_capacity(total);
        for keys in keys {
            interner.intern(keys, &mut groups);
        }
        let count = groups.iter().filter(|g| **g != NONE).max().map_or(0, |g| *g as usize + 1);
        let starts = starts(&groups, count);
        let mut next = starts.clone();
        let matched = starts.last().copied().unwrap_or(0) as usize;
        let (mut rows, mut sorted) = (vec![0; matched], vec![0; matched]);
        let instants = times.iter().flat_map(|times| times.values().iter());
        for (row, (group, t)) in groups.iter().zip(instants).enumerate().filter(|(_, (group, _))| **group != NONE) {
            let at = &mut next[*group as usize];
            rows[*at as usize] = row as u32;
            sorted[*at as usize] = *t;
            *at += 1;
        }
        Ok(Self { interner, starts, rows, times: sorted, total, null_keys: (total - matched) as u64 })
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

    /// Entity rows without a null in their key.
    pub(crate) fn matched(&self) -> usize {
        self.rows.len()
    }

    /// Where the entity rows of `group` are in [`rows`](Self::rows) and [`times`](Self::times).
    pub(crate) fn range(&self, group: usize) -> Range<usize> {
        self.starts[group] as usize..self.starts[group + 1] as usize
    }

    /// Positions of entity rows, by group.
    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Their instants.
    pub(crate) fn times(&self) -> &[i64] {
        &self.times
    }

    /// Puts the rows of each group in the order of their instants, equal ones as they stand.
    pub(crate) fn sort_by_time(&mut self) {
        sort_by_time(&self.starts, &mut self.times, &mut self.rows);
    }

    /// Appends, per key, the group of entity rows with it, or [`NONE`]; returns the number of null keys.
    pub(crate) fn find(&self, keys: &Keys, groups: &mut Vec<u32>) -> u64 {
        self.interner.find(keys, groups)
    }
}

/// Puts what lies between two neighbours of `starts` in the order of time, then row.
pub(crate) fn sort_by_time(starts: &[u32], times: &mut [i64], rows: &mut [u32]) {
    let mut order: Vec<(i64, u32)> = Vec::new();
    for range in starts.windows(2).map(|pair| pair[0] as usize..pair[1] as usize) {
        let (times, rows) = (&mut times[range.clone()], &mut rows[range]);
        if times.is_sorted() {
            continue;
        }
        order.clear();
        order.extend(times.iter().copied().zip(rows.iter().copied()));
        order.sort_unstable();
        for ((time, row), to) in order.iter().zip(times.iter_mut().zip(rows)) {
            (*to.0, *to.1) = (*time, *row);
        }
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
pub(crate) enum Interner {
    /// One integer column whose values lie close together: a table by value.
    Near { min: i64, groups: Vec<u32>, next: u32 },
    /// One integer column.
    Integers(HashMap<i64, u32, RandomState>),
    /// Anything else, by the bytes of the key.
    Bytes { known: HashMap<Box<[u8]>, u32, RandomState>, bytes: usize },
}

impl Interner {
    /// For keys of `entity` that come batch by batch.
    pub(crate) fn of(entity: &Entity) -> Self {
        match entity.keys() {
            [key] if key.key_type == KeyType::Int64 => Self::Integers(HashMap::default()),
            _ => Self::bytes(),
        }
    }

    fn bytes() -> Self {
        Self::Bytes { known: HashMap::default(), bytes: 0 }
    }

    /// Forgets all keys, but not the room for them.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Near { groups, next, .. } => {
                groups.fill(NONE);
                *next = 0;
            }
            Self::Integers(known) => known.clear(),
            Self::Bytes { known, bytes } => {
                known.clear();
                *bytes = 0;
            }
        }
    }

    /// Memory that the keys need, about: tables are half full.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::Near { groups, .. } => groups.len() * size_of::<u32>(),
            Self::Integers(known) => 2 * known.len() * size_of::<(i64, u32)>(),
            Self::Bytes { known, bytes } => 2 * known.len() * size_of::<(Box<[u8]>, u32)>() + bytes,
        }
    }

    fn for_keys(keys: &[Keys], total: usize) -> Self {
        let mut range: Option<(i64, i64)> = None;
        for keys in keys {
            let [KeyColumn::Integer(values)] = keys.columns() else { return Self::bytes() };
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
    pub(crate) fn intern(&mut self, keys: &Keys, out: &mut Vec<u32>) {
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
            (Self::Bytes { known, bytes }, _) => each_bytes(keys, |key| {
                let Some(key) = key else { return out.push(NONE) };
                let group = known.get(key).copied().unwrap_or_else(|| {
                    let next = known.len() as u32;
                    *bytes += key.len();
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
            (Self::Bytes { known, .. }, _) => each_bytes(keys, |key| {
                nulls += u64::from(key.is_none());
                out.push(key.and_then(|key| known.get(key)).copied().unwrap_or(NONE));
            }),
            // Without entity rows, nothing says what keys look like.
            _ => {
                nulls += (0..keys.len()).filter(|row| keys.is_null(*row)).count() as u64;
                out.extend(std::iter::repeat_n(NONE, keys.len()));
            }
        }
        nulls
    }
}

/// Calls `take` with each value in turn.
pub(crate) fn each(values: &Int64Array, mut take: impl FnMut(Option<i64>)) {
    if values.null_count() == 0 {
        values.values().iter().for_each(|value| take(Some(*value)));
    } else {
        values.iter().for_each(take);
    }
}

/// Calls `take` with the bytes of each key in turn.
pub(crate) fn each_bytes(keys: &Keys, mut take: impl FnMut(Option<&[u8]>)) {
    let mut bytes = Vec::with_capacity(64);
    for row in 0..keys.len() {
        bytes.clear();
        let found = keys.encode(row, &mut bytes);
        take(found.then_some(bytes.as_slice()));
    }
}
