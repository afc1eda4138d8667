//! Keys that no two rows share.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanBufferBuilder, LargeBinaryArray, LargeStringArray,
    RecordBatch, StringArray, StringViewArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use serde::{Deserialize, Serialize};

use super::Scope;
use super::kernel::{Column, Kernel, KernelRun, Verdict, measures, quoted, ratio};
use crate::source::is_text;
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
///   Booleans, numbers, times, text and binary; no nested types.
/// * Both ways of counting are given as measures: `rows_in_duplicate_groups` (every row whose key comes more than once)
///   and `excess_rows` (rows beyond the first of their key), beside `distinct` and `without_key`. Excess rows are those
///   marked, so that what passes is unique; `observed` is their share.
/// * Keys are compared by 128 bits of keyed SipHash: two different keys are taken for one with a probability of less than
///   `n² / 2^128`. The table holds 16 bytes per slot at a load of 3/8 to 3/4, so 21 to 43 bytes per distinct key.
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

    fn begin(&self, schema: &Schema) -> Result<Box<dyn KernelRun>> {
        let columns = self.columns.iter().map(|name| key_column(schema, name)).collect::<Result<_>>()?;
        let hashers = [RandomState::new(), RandomState::new()];
        Ok(Box::new(Run {
            columns,
            hashers,
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
    match column.value_type() {
        DataType::Null | DataType::Boolean | DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            Ok(column)
        }
        other if is_text(other) || fixed_width(other).is_some() => Ok(column),
        _ => Err(column.unfit("a boolean, a number, a time, text or binary")),
    }
}

struct Run {
    columns: Vec<Column>,
    hashers: [RandomState; 2],
    seen: Seen,
    rows: u64,
    without_key: u64,
    in_groups: u64,
    excess: u64,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &RecordBatch) -> Result<Option<BooleanBuffer>> {
        let arrays = self.columns.iter().map(|column| column.of(batch)).collect::<Result<Vec<_>>>()?;
        let parts = arrays.iter().map(|array| Part::new(array)).collect::<Result<Vec<_>>>()?;
        let keyless = arrays.iter().fold(None, |all: Option<NullBuffer>, array| {
            NullBuffer::union(all.as_ref(), array.logical_nulls().as_ref())
        });
        let rows = batch.num_rows();
        self.rows += rows as u64;
        self.without_key += keyless.as_ref().map_or(0, |nulls| nulls.null_count() as u64);
        // All hashes first: the look-ups that follow then wait for memory side by side.
        let hashes = self.hashes(&parts, rows);
        let mut excess = BooleanBufferBuilder::new(rows);
        for (row, hash) in hashes.into_iter().enumerate() {
            let has_key = keyless.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            excess.append(has_key && self.is_excess(hash)?);
        }
        Ok(Some(excess.finish()))
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
    fn hashes(&self, parts: &[Part], rows: usize) -> Vec<u128> {
        let mut key = Vec::new();
        let hash_row = |row| match parts {
            [single] => self.hash(single.value(row)),
            several => {
                key.clear();
                for part in several {
                    part.push(row, &mut key);
                }
                self.hash(&key)
            }
        };
        (0..rows).map(hash_row).collect()
    }

    fn hash(&self, key: &[u8]) -> u128 {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(key);
            u128::from(hasher.finish())
        };
        let [low, high] = &self.hashers;
        half(low) | half(high) << 64
    }

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
struct Seen {
    slots: Vec<u128>,
    len: u64,
    max: u64,
}

const SLOTS_FIRST: usize = 1024;

impl Seen {
    fn new(max: u64) -> Self {
        Self { slots: Vec::new(), len: 0, max }
    }

    fn see(&mut self, hash: u128) -> Result<Times> {
        if self.len as usize >= self.slots.len() / 4 * 3 {
            self.grow()?;
        }
        let key = (hash & !1).max(2);
        let slot = Self::slot(&self.slots, key);
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

    /// The slot that holds `key`, or the empty one that it belongs to. The table is never full.
    fn slot(slots: &[u128], key: u128) -> usize {
        let mask = slots.len() - 1;
        let mut slot = (key >> 64) as usize & mask;
        while slots[slot] != 0 && slots[slot] & !1 != key {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) -> Result<()> {
        let wanted = (self.slots.len() * 2).max(SLOTS_FIRST);
        let mut larger = Vec::new();
        larger.try_reserve_exact(wanted).map_err(|e| Error::external("memory", e))?;
        larger.resize(wanted, 0);
        for entry in self.slots.iter().filter(|entry| **entry != 0) {
            let slot = Self::slot(&larger, entry & !1);
            larger[slot] = *entry;
        }
        self.slots = larger;
        Ok(())
    }
}

/// One column of the key as bytes, equal for equal values.
enum Part {
    Fixed { bytes: Buffer, width: usize },
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Bytes(BinaryArray),
    LargeBytes(LargeBinaryArray),
    BytesView(BinaryViewArray),
}

impl Part {
    fn new(array: &ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Null => Self::Fixed { bytes: Buffer::from(&[] as &[u8]), width: 0 },
            DataType::Boolean => {
                let values = array.as_boolean().values();
                Self::Fixed { bytes: values.iter().map(u8::from).collect::<Vec<_>>().into(), width: 1 }
            }
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                let wide = cast(array, &DataType::Float64)?;
                let values = wide.as_primitive::<Float64Type>().values();
                Self::Fixed { bytes: values.iter().copied().map(canonical).collect::<Vec<_>>().into(), width: 8 }
            }
            DataType::Utf8 => Self::Text(array.as_string().clone()),
            DataType::LargeUtf8 => Self::LargeText(array.as_string().clone()),
            DataType::Utf8View => Self::TextView(array.as_string_view().clone()),
            DataType::Binary => Self::Bytes(array.as_binary().clone()),
            DataType::LargeBinary => Self::LargeBytes(array.as_binary().clone()),
            DataType::BinaryView => Self::BytesView(array.as_binary_view().clone()),
            DataType::Dictionary(_, values) => Self::new(&cast(array, values)?)?,
            fixed => {
                let width =
                    fixed_width(fixed).ok_or_else(|| Error::schema("*", "a type that keys are made of", fixed))?;
                let data = array.to_data();
                let bytes = data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width);
                Self::Fixed { bytes, width }
            }
        })
    }

    fn value(&self, row: usize) -> &[u8] {
        match self {
            Self::Fixed { bytes, width } => &bytes.as_slice()[row * width..(row + 1) * width],
            Self::Text(values) => values.value(row).as_bytes(),
            Self::LargeText(values) => values.value(row).as_bytes(),
            Self::TextView(values) => values.value(row).as_bytes(),
            Self::Bytes(values) => values.value(row),
            Self::LargeBytes(values) => values.value(row),
            Self::BytesView(values) => values.value(row),
        }
    }

    /// Appends the value to a key of several columns; its length goes before it where lengths differ.
    fn push(&self, row: usize, key: &mut Vec<u8>) {
        let value = self.value(row);
        if !matches!(self, Self::Fixed { .. }) {
            key.extend_from_slice(&(value.len() as u64).to_le_bytes());
        }
        key.extend_from_slice(value);
    }
}

fn fixed_width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
        primitive => primitive.primitive_width(),
    }
}

/// Bits of a float with one zero and one NaN.
fn canonical(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}
