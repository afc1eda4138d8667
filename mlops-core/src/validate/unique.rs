//! Keys that no two rows share.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::{Given, Shared};
use super::kernel::{Column, Kernel, KernelRun, Verdict, measures, quoted, ratio};
use crate::rowkey::{KeyLimits, RowSet, Seen, Times, is_key, keyless};
use crate::{Error, Result, Schema};

/// Most distinct keys that are held in memory where they cannot wait on disk and nothing was said: their table takes 268 MB,
/// and half as much again while it grows.
pub const DISTINCT_DEFAULT: u64 = 10_000_000;

/// Bytes of keys that a rule holds before others wait on disk, where nothing was said: 128 MiB, six million keys.
pub const KEY_BYTES_DEFAULT: u64 = 1 << 27;

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
///   much less where the first column is text or tells rows apart.
/// * Memory: a table of 16 bytes per slot at a load of 3/8 to 3/4, so 21 to 43 bytes per distinct key, half as much again
///   while it grows, and at most [`held_bytes_max`](Self::held_bytes_max). When the keys of a run in a
///   [`Suite`](super::Suite) no longer fit, all of them move to a temporary file without a name, and later ones go there with
///   their row (10 to 20 bytes per row; numbers of single columns lie there as they are). They are settled part by part after
///   the last row, and every count, mark and sample is what it would be without. A bit is held for each row from the first
///   one that waits; where rows are written or handed on, or a sample shows a row that waited, the data set is read a second
///   time.
/// * A run outside of a suite must answer batch by batch: it holds all keys, of which there may be [`DISTINCT_DEFAULT`] unless
///   more are asked for.
/// * A run ends with [`Error::Invalid`] when there are more than [`distinct_max`](Self::distinct_max) keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    columns: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distinct_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_bytes_max: Option<u64>,
}

impl Unique {
    /// Rows differ in at least one of `columns`.
    pub fn of(columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), distinct_max: None, held_bytes_max: None }
    }

    /// Most distinct keys of a run, 1..=2^32. Default 2^32, and [`DISTINCT_DEFAULT`] outside of a suite.
    pub fn distinct_max(mut self, distinct_max: u64) -> Self {
        self.distinct_max = Some(distinct_max);
        self
    }

    /// Bytes of the table of keys in memory; there is always room for 768 keys. Default [`KEY_BYTES_DEFAULT`].
    pub fn held_bytes_max(mut self, bytes: u64) -> Self {
        self.held_bytes_max = Some(bytes);
        self
    }

    fn limits(&self, given: &Given) -> KeyLimits {
        let (held_bytes_max, distinct_max) = if given.may_wait() {
            (self.held_bytes_max.unwrap_or(KEY_BYTES_DEFAULT), DISTINCT_MAX)
        } else {
            (u64::MAX, DISTINCT_DEFAULT)
        };
        let distinct_max = self.distinct_max.unwrap_or(distinct_max);
        KeyLimits { held_bytes_max, distinct_max, setting: "distinct_max" }
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        if self.columns.is_empty() || self.columns.len() > COLUMNS_MAX {
            return Err(Error::invalid("columns", format!("{} columns", self.columns.len()), "1 to 64 columns"));
        }
        if let Some(max) = self.distinct_max.filter(|max| !(1..=DISTINCT_MAX).contains(max)) {
            return Err(Error::invalid("distinct_max", max, "within 1..=2^32"));
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

    fn begin(&self, schema: &Schema, given: &Given) -> Result<Box<dyn KernelRun>> {
        let columns = self.columns.iter().map(|name| key_column(schema, name)).collect::<Result<_>>()?;
        Ok(Box::new(Run {
            columns,
            seen: Seen::new(self.limits(given)),
            rows: 0,
            without_key: 0,
            tally: Tally::default(),
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
    tally: Tally,
}

/// Rows that share their key with others.
#[derive(Clone, Copy, Default)]
struct Tally {
    in_groups: u64,
    excess: u64,
}

impl Tally {
    /// Counts one row, and says whether its key is known to have been there before.
    fn take(&mut self, times: Times) -> bool {
        let (in_groups, excess) = match times {
            Times::First | Times::Waiting => (0, 0),
            Times::Second => (2, 1),
            Times::Later => (1, 1),
        };
        self.in_groups += in_groups;
        self.excess += excess;
        excess > 0
    }
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
        for ((row, key), number) in keys.iter().enumerate().zip(batch.numbers()) {
            let has_key = keyless.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            excess.push(has_key && self.tally.take(self.seen.see(*key, number)?));
        }
        Ok(Some(excess.into()))
    }

    fn waits(&self) -> bool {
        self.seen.waits()
    }

    fn settle(&mut self) -> Result<RowSet> {
        let (mut late, tally) = (RowSet::default(), &mut self.tally);
        self.seen.settle(&mut |row, times| {
            if tally.take(times) {
                late.insert(row);
            }
        })?;
        Ok(late)
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        let Tally { in_groups, excess } = self.tally;
        let passed = excess == 0;
        let failures = || format!("rows in duplicate groups: {in_groups}, rows in excess: {excess}");
        let detail = if passed { String::new() } else { failures() };
        Ok(Verdict {
            passed,
            failed_rows: excess,
            observed: ratio(excess, self.rows),
            measures: measures([
                ("rows_in_duplicate_groups", in_groups as f64),
                ("excess_rows", excess as f64),
                ("distinct", self.seen.distinct() as f64),
                ("without_key", self.without_key as f64),
            ]),
            detail,
        })
    }
}
