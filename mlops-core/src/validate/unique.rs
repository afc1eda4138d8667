//! Keys that no two rows share.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::{Given, Shared};
use super::kernel::{Column, Kernel, KernelRun, Verdict, measures, quoted, ratio};
use crate::rowkey::{is_key, keyless};
use crate::{Error, Result, Schema};

/// Most distinct keys where nothing was said: their table takes 268 MB, and half as much again while it grows.
pub const DISTINCT_DEFAULT: u64 = 10_000_000;

/// Most distinct keys that a rule may ask for.
const DISTINCT_MAX: u64 = 1 << 32;

/// Most columns of one key.
const COLUMNS_MAX: usize = 64;

/// No two rows have the same key, which is one column or several together.
///
/// * A row with a null in any column of its key has no key: it passes, as in SQL.
/// * Text is compared by its bytes, whatever the layout; `-0.0` equals `0.0` and every NaN equals every other.
///   Of nested types, lists and structs.
/// * Both ways of counting are given as measures: `rows_in_duplicate_groups` (every row whose key comes more than once)
///   and `excess_rows` (rows beyond the first of their key), beside `distinct` and `without_key`. Excess rows are those
///   marked, so that what passes is unique; `observed` is their share.
/// * Keys of one column of numbers or times of up to 64 bits are compared exactly, others by keyed hashes: among n keys, two
///   different ones are taken for one with a probability of less than `n² / 2^64` (one part in 180 000 for ten million), and
///   much less where the first column is text or tells rows apart. The table holds 16 bytes per slot at a load of 3/8 to 3/4, so 21 to 43 bytes per distinct key.
///   A run ends with [`Error::Invalid`] when there are more than [`distinct_max`](Self::distinct_max).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    columns: Vec<String>,
    #[serde(default = "distinct_default")]
    distinct_max: u64,
}

fn distinct_default() -> u64 {
    DISTINCT_DEFAULT
}

impl Unique {
    /// Rows differ in at least one of `columns`.
    pub fn of(columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), distinct_max: DISTINCT_DEFAULT }
    }

    /// Most distinct keys that a run holds, 1..=2^32. Default [`DISTINCT_DEFAULT`].
    pub fn distinct_max(mut self, distinct_max: u64) -> Self {
        self.distinct_max = distinct_max;
        self
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        if self.columns.is_empty() || self.columns.len() > COLUMNS_MAX {
            return Err(Error::invalid("columns", format!("{} columns", self.columns.len()), "1 to 64 columns"));
        }
        if !(1..=DISTINCT_MAX).contains(&self.distinct_max) {
            return Err(Error::invalid("distinct_max", self.distinct_max, "within 1..=2^32"));
        }
        Ok(Arc::new(self.clone()))
    }
}

impl Kernel for Unique {
    fn demand(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
        format!("{} is unique", names.join(", "))
    }

    fn scope(&self) -> Scope {
        Scope::RowInTable
    }

    fn columns(&self) -> Vec<&str> {
        self.columns.iter().map(String::as_str).collect()
    }

    fn begin(&self, schema: &Schema, _given: &Given) -> Result<Box<dyn KernelRun>> {
        let columns = self.columns.iter().map(|name| key_column(schema, name)).collect::<Result<_>>()?;
        Ok(Box::new(Run {
            columns,
            seen: Seen::new(self.distinct_max),
            rows: 0,
            without_key: 0,
            in_groups: 0,
            excess: 0,
        }))
    }
}

fn key_column(schema: &Schema, name: &str) -> Result<Column> {
    let column = Column::find(schema, name)?;
    if is_key(column.value_type()) { Ok(column) } else { Err(column.unfit("a type that keys are made of")) }
}

struct Run {
    columns: Vec<Column>,
    seen: Seen,
    rows: u64,
    without_key: u64,
    in_groups: u64,
    excess: u64,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let arrays = self.columns.iter().map(|column| column.of(batch)).collect::<Result<Vec<&ArrayRef>>>()?;
        let keyless = keyless(&arrays);
        let rows = batch.num_rows();
        self.rows += rows as u64;
        self.without_key += keyless.as_ref().map_or(0, |nulls| nulls.null_count() as u64);
        // All hashes first: the look-ups that follow then wait for memory side by side.
        let columns = self.columns.iter().map(|column| batch.keys(column)).collect::<Result<Vec<_>>>()?;
        let keys =
            if let [single] = columns.as_slice() { single.clone() } else { Arc::new(batch.hasher().join(&columns)) };
        let mut excess = Vec::with_capacity(rows);
        for (row, key) in keys.iter().enumerate() {
            let has_key = keyless.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            excess.push(has_key && self.is_excess(*key)?);
        }
        Ok(Some(excess.into()))
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        let passed = self.excess == 0;
        let failures = || format!("rows in duplicate groups: {}, rows in excess: {}", self.in_groups, self.excess);
        let detail = if passed { String::new() } else { failures() };
        Ok(Verdict {
            passed,
            failed_rows: self.excess,
            observed: ratio(self.excess, self.rows),
            measures: measures([
                ("rows_in_duplicate_groups", self.in_groups as f64),
                ("excess_rows", self.excess as f64),
                ("distinct", self.seen.len as f64),
                ("without_key", self.without_key as f64),
            ]),
            detail,
        })
    }
}

impl Run {
    /// Counts one row, and whether its key was there before.
    fn is_excess(&mut self, hash: u128) -> Result<bool> {
        let times = self.seen.see(hash)?;
        self.in_groups += match times {
            Times::First => 0,
            Times::Second => 2,
            Times::Later => 1,
        };
        let excess = !matches!(times, Times::First);
        self.excess += u64::from(excess);
        Ok(excess)
    }
}

/// How often a key has come, this time included.
enum Times {
    First,
    Second,
    Later,
}

/// Keys seen, by hash: an open-addressed table of 128-bit slots. Zero is an empty slot; the lowest bit says that the key
/// came more than once.
///
/// A key's place is its upper half, so that keys that count up fill memory in order, which is several times faster than in
/// all places at once. Where keys crowd, by chance or by malice, all move to random places once and for all.
struct Seen {
    /// Odd, for random places.
    factor: Option<u128>,
    slots: Vec<u128>,
    len: u64,
    max: u64,
}

const SLOTS_FIRST: usize = 1024;

/// Steps from the place of a key after which keys are taken to crowd.
const STEPS_MAX: usize = 64;

impl Seen {
    fn new(max: u64) -> Self {
        Self { factor: None, slots: Vec::new(), len: 0, max }
    }

    fn see(&mut self, hash: u128) -> Result<Times> {
        if self.len as usize >= self.slots.len() / 4 * 3 {
            self.grow()?;
        }
        let key = (hash & !1).max(2);
        let mut found = self.slot(&self.slots, key);
        if found.is_none() {
            self.scatter()?;
            found = self.slot(&self.slots, key);
        }
        let Some(slot) = found else { unreachable!("random places have no end of steps") };
        let times = match self.slots[slot] {
            0 => Times::First,
            once if once == key => Times::Second,
            _ => Times::Later,
        };
        if matches!(times, Times::First) {
            self.len += 1;
            if self.len > self.max {
                return Err(Error::invalid("distinct_max", self.max, "as many as there are distinct keys"));
            }
        }
        self.slots[slot] = if matches!(times, Times::First) { key } else { key | 1 };
        Ok(times)
    }

    /// The slot that holds `key`, or the empty one that it belongs to; none where keys crowd. The table is never full.
    fn slot(&self, slots: &[u128], key: u128) -> Option<usize> {
        let mask = slots.len() - 1;
        let (mut slot, steps) = match self.factor {
            None => ((key >> 64) as usize & mask, STEPS_MAX),
            Some(factor) => ((key.wrapping_mul(factor) >> 64) as usize & mask, usize::MAX),
        };
        for _ in 0..steps {
            if slots[slot] == 0 || slots[slot] & !1 == key {
                return Some(slot);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// Moves all keys to random places.
    fn scatter(&mut self) -> Result<()> {
        let state = RandomState::new();
        self.factor = Some(u128::from(state.hash_one(0)) << 64 | u128::from(state.hash_one(1)) | 1);
        self.resize(self.slots.len())
    }

    fn grow(&mut self) -> Result<()> {
        self.resize((self.slots.len() * 2).max(SLOTS_FIRST))
    }

    fn resize(&mut self, wanted: usize) -> Result<()> {
        let mut larger = Vec::new();
        larger.try_reserve_exact(wanted).map_err(|e| Error::external("memory", e))?;
        larger.resize(wanted, 0);
        for entry in self.slots.iter().filter(|entry| **entry != 0) {
            let Some(slot) = self.slot(&larger, entry & !1) else { return self.scatter() };
            larger[slot] = *entry;
        }
        self.slots = larger;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that all have one place, in the order and number that a set would count them.
    #[test]
    fn keys_that_crowd_are_scattered_and_still_counted() {
        let mut seen = Seen::new(1 << 20);
        let key = |i: u64| u128::from(i << 40) << 64 | 2;
        for i in 0..3_000 {
            assert!(matches!(seen.see(key(i)).unwrap(), Times::First));
        }
        assert!(seen.factor.is_some());
        assert!((0..3_000).all(|i| matches!(seen.see(key(i)).unwrap(), Times::Second)));
        assert!((0..3_000).all(|i| matches!(seen.see(key(i)).unwrap(), Times::Later)));
        assert_eq!(seen.len, 3_000);
    }

    #[test]
    fn keys_that_count_up_stay_in_order() {
        let mut seen = Seen::new(1 << 20);
        for i in 0..100_000_u64 {
            assert!(matches!(seen.see(u128::from(i) << 64 | 2).unwrap(), Times::First));
        }
        assert!(seen.factor.is_none());
        assert!(matches!(seen.see(5 << 64 | 2).unwrap(), Times::Second));
        let mut full = Seen::new(1);
        full.see(1 << 64).unwrap();
        assert!(matches!(full.see(2 << 64), Err(Error::Invalid { .. })));
    }
}
