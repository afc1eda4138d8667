//! Rows as bytes: what stores keep per key and view.
//!
//! ```text
//! [format u8 = 1][schema id u32][event time i64][created i64][presence bits][fixed slots][tail]
//! ```
//! Integers are little endian. Presence bit 0 says whether there is a created time, bit `i + 1` whether feature `i` is
//! not null. Each feature has a slot of its width; text, binary and lists have a `u32` slot with the end of their bytes in
//! the tail, where values follow each other in the order of features: numbers of a list one after the other, texts of a
//! list each behind a `u32` with its length. Stores on disk add a CRC-32C of key and row.

mod list;
mod write;

pub(crate) use self::write::{RowBlock, RowWriter, Stamps};

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeListArray, PrimitiveArray, StringArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use mlops_core::{Digest, Name};
use serde::{Deserialize, Serialize};

use crate::define::ValueType;
use crate::error::{Core, Error, Result};

/// First byte of every row of this layout.
pub(crate) const FORMAT: u8 = 1;

/// Format, schema id, event time, created time.
const HEADER: usize = 1 + 4 + 8 + 8;

/// Width of the slot of a value whose bytes are in the tail.
const END: usize = 4;

/// Where the values of one list of features are in a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RowLayout {
    fields: Vec<(Name, ValueType)>,
    slots: Vec<usize>,
    /// For text and binary: the slot of the value before it in the tail.
    before: Vec<Option<usize>>,
    tail: usize,
    schema_id: u32,
}

/// A layout as stores write it down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct StoredFields(pub(crate) Vec<(Name, ValueType)>);

impl RowLayout {
    pub(crate) fn new(fields: Vec<(Name, ValueType)>) -> Self {
        let mut at = HEADER + (fields.len() + 1).div_ceil(8);
        let slots = fields.iter().map(|(_, value_type)| {
            let slot = at;
            at += value_type.width().unwrap_or(END);
            slot
        });
        let slots: Vec<usize> = slots.collect();
        let mut last = None;
        let before = fields.iter().zip(&slots).map(|((_, value_type), slot)| match value_type.width() {
            Some(_) => None,
            None => last.replace(*slot),
        });
        let before = before.collect();
        let words: Vec<String> = fields.iter().map(|(name, value_type)| format!("{name}:{value_type}")).collect();
        let digest = Digest::of_parts(words.iter().map(String::as_bytes));
        let [a, b, c, d, ..] = *digest.as_bytes();
        Self { fields, slots, before, tail: at, schema_id: u32::from_le_bytes([a, b, c, d]) }
    }

    pub(crate) fn schema_id(&self) -> u32 {
        self.schema_id
    }

    /// Bytes of a row without values of variable length.
    pub(crate) fn bytes_min(&self) -> usize {
        self.tail
    }

    pub(crate) fn fields(&self) -> &[(Name, ValueType)] {
        &self.fields
    }

    pub(crate) fn stored(&self) -> StoredFields {
        StoredFields(self.fields.clone())
    }

    /// Appends a row of nulls; says where it begins.
    #[cfg(feature = "redis")]
    fn begin(&self, stamp: Stamp, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.resize(start + self.tail, 0);
        self.put_header(stamp, &mut out[start..]);
        start
    }

    /// Writes what stands before the values of a row.
    fn put_header(&self, stamp: Stamp, out: &mut [u8]) {
        out[0] = FORMAT;
        out[1..5].copy_from_slice(&self.schema_id.to_le_bytes());
        out[5..13].copy_from_slice(&stamp.event_time.to_le_bytes());
        out[13..HEADER].copy_from_slice(&stamp.created.unwrap_or_default().to_le_bytes());
        out[HEADER] |= u8::from(stamp.created.is_some());
    }

    /// Notes in `slot` where the tail of the row at `start` ends by now.
    #[cfg(feature = "redis")]
    fn end_value(&self, start: usize, slot: usize, out: &mut [u8]) -> Result<()> {
        let end = tail_end(out.len() - start - self.tail)?;
        out[slot..slot + END].copy_from_slice(&end.to_le_bytes());
        Ok(())
    }

    /// Appends a row of `values`, each as [`RowBytes::value`] gives it.
    ///
    /// # Errors
    /// `Core(Invalid)` when its tail exceeds 4 GiB.
    #[cfg(feature = "redis")]
    pub(crate) fn assemble<'v>(
        &self,
        stamp: Stamp,
        values: impl Iterator<Item = Option<&'v [u8]>>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let start = self.begin(stamp, out);
        for (index, value) in values.take(self.fields.len()).enumerate() {
            let slot = start + self.slots[index];
            if let Some(value) = value {
                out[start + HEADER + (index + 1) / 8] |= 1 << ((index + 1) % 8);
                match self.fields[index].1.width() {
                    Some(_) => out[slot..slot + value.len()].copy_from_slice(value),
                    None => out.extend_from_slice(value),
                }
            }
            if self.fields[index].1.width().is_none() {
                self.end_value(start, slot, out)?;
            }
        }
        Ok(())
    }

    /// For each feature of `wanted`, its position here; `None` where rows of this layout do not have it.
    ///
    /// # Errors
    /// [`Error::Changed`] when it has another type here.
    pub(crate) fn positions(&self, view: &str, wanted: &RowLayout) -> Result<Vec<Option<usize>>> {
        let known: BTreeMap<&Name, usize> = self.fields.iter().enumerate().map(|(i, (name, _))| (name, i)).collect();
        let find = |(name, declared): &(Name, ValueType)| match known.get(name) {
            None => Ok(None),
            Some(at) if self.fields[*at].1 == *declared => Ok(Some(*at)),
            Some(at) => Err(Error::Changed {
                view: view.to_owned(),
                what: name.to_string(),
                stored: self.fields[*at].1.to_string(),
                declared: declared.to_string(),
            }),
        };
        wanted.fields.iter().map(find).collect()
    }
}

/// Where a value in the tail ends, as its slot says it.
fn tail_end(bytes: usize) -> Result<u32> {
    Ok(u32::try_from(bytes).map_err(|_| Core::invalid("bytes of one row", bytes, "at most 4 GiB"))?)
}

/// When a row became true and known: what decides which of two rows stays. Ordered; no created time is lowest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Stamp {
    pub(crate) event_time: i64,
    pub(crate) created: Option<i64>,
}

/// A stored row, whose header was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowBytes<'a> {
    pub(crate) schema_id: u32,
    pub(crate) stamp: Stamp,
    bytes: &'a [u8],
}

impl<'a> RowBytes<'a> {
    /// Reads the header of `bytes`; `None` when they are no row.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() <= HEADER || bytes[0] != FORMAT {
            return None;
        }
        let schema_id = u32::from_le_bytes(bytes[1..5].try_into().ok()?);
        let event_time = i64::from_le_bytes(bytes[5..13].try_into().ok()?);
        let created = i64::from_le_bytes(bytes[13..21].try_into().ok()?);
        let created = (bytes[HEADER] & 1 == 1).then_some(created);
        Some(Self { schema_id, stamp: Stamp { event_time, created }, bytes })
    }

    /// The bytes of the value of feature `index`, empty for a text or binary value that is; `None` when it is null.
    /// Fails when the row is cut off.
    pub(crate) fn value(&self, layout: &RowLayout, index: usize) -> std::result::Result<Option<&'a [u8]>, Torn> {
        let bit = index + 1;
        let flags = *self.bytes.get(HEADER + bit / 8).ok_or(Torn)?;
        if flags >> (bit % 8) & 1 == 0 {
            return Ok(None);
        }
        let slot = layout.slots[index];
        if let Some(width) = layout.fields[index].1.width() {
            return self.bytes.get(slot..slot + width).map(Some).ok_or(Torn);
        }
        let end = self.end(slot)?;
        let start = layout.before[index].map_or(Ok(0), |slot| self.end(slot))?;
        self.bytes.get(layout.tail + start..layout.tail + end).map(Some).ok_or(Torn)
    }

    fn end(&self, slot: usize) -> std::result::Result<usize, Torn> {
        let bytes = self.bytes.get(slot..slot + END).ok_or(Torn)?;
        Ok(bytes.iter().rev().fold(0, |end, byte| end << 8 | usize::from(*byte)))
    }
}

/// A row that is shorter than its layout says, or holds what no writer writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Torn;

/// Collects values of some features of many rows into columns.
///
/// Values of fixed width share one allocation, whatever the number of columns.
#[derive(Debug)]
pub(crate) struct ColumnsBuilder {
    columns: Vec<Column>,
    rows: usize,
    fixed: MutableBuffer,
    event_times: Vec<i64>,
    created: Vec<i64>,
    found: Absent,
    known: Absent,
}

#[derive(Debug)]
struct Column {
    /// Position in the view's features.
    feature: usize,
    value_type: ValueType,
    /// Start of its values in the shared buffer.
    start: usize,
    absent: Absent,
    tail: Vec<u8>,
    ends: Vec<i32>,
}

/// Rows without a value, noted only once there is one.
#[derive(Debug, Default)]
struct Absent(Option<Vec<u8>>);

impl Absent {
    fn mark(&mut self, row: usize, rows: usize) {
        let bits = self.0.get_or_insert_with(|| vec![0xFF; rows.div_ceil(8)]);
        bits[row / 8] &= !(1 << (row % 8));
    }

    fn finish(self, rows: usize) -> Option<NullBuffer> {
        self.0.map(|bits| NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows)))
    }
}

impl ColumnsBuilder {
    /// For `rows` rows of the `features` (positions in `layout`).
    pub(crate) fn new(layout: &RowLayout, features: &[usize], rows: usize) -> Self {
        let mut at = 0;
        let column = |feature: &usize| {
            let value_type = layout.fields[*feature].1;
            let start = at;
            // Eight bytes per value or a multiple of eight per column keep every column aligned.
            at += (value_type.width().unwrap_or(0) * rows).next_multiple_of(8);
            let ends = if value_type.width().is_none() { vec![0; 1] } else { Vec::new() };
            Column { feature: *feature, value_type, start, absent: Absent::default(), tail: Vec::new(), ends }
        };
        let columns = features.iter().map(column).collect();
        Self {
            columns,
            rows,
            fixed: MutableBuffer::from_len_zeroed(at),
            event_times: vec![0; rows],
            created: vec![0; rows],
            found: Absent::default(),
            known: Absent::default(),
        }
    }

    /// Notes that there is no row for position `row`.
    pub(crate) fn skip(&mut self, row: usize) {
        self.found.mark(row, self.rows);
        self.known.mark(row, self.rows);
        for column in &mut self.columns {
            column.absent.mark(row, self.rows);
            if column.value_type.width().is_none() {
                column.ends.push(column.tail.len() as i32);
            }
        }
    }

    /// Puts the values of `stored` at position `row`; rows must come in order. `positions` says where each feature of
    /// the view is in `layout`; `None` when it is the view's own.
    ///
    /// # Errors
    /// [`Torn`] when the row does not fit its layout.
    pub(crate) fn push(
        &mut self,
        row: usize,
        stored: &RowBytes<'_>,
        layout: &RowLayout,
        positions: Option<&[Option<usize>]>,
    ) -> std::result::Result<(), Torn> {
        self.event_times[row] = stored.stamp.event_time;
        match stored.stamp.created {
            Some(created) => self.created[row] = created,
            None => self.known.mark(row, self.rows),
        }
        for column in &mut self.columns {
            let at = positions.map_or(Some(column.feature), |positions| positions[column.feature]);
            let value = at.map_or(Ok(None), |at| stored.value(layout, at))?;
            match (value, column.value_type.width()) {
                (Some(bytes), Some(width)) => {
                    let slot = column.start + row * width;
                    place(&mut self.fixed[slot..slot + width], bytes, column.value_type.unit());
                }
                (Some(bytes), None) => {
                    let whole = match column.value_type {
                        ValueType::Utf8 => std::str::from_utf8(bytes).is_ok(),
                        ValueType::List(item) => list::is_whole(item, bytes),
                        _ => true,
                    };
                    if !whole {
                        return Err(Torn);
                    }
                    column.tail.extend_from_slice(bytes);
                }
                (None, _) => column.absent.mark(row, self.rows),
            }
            if column.value_type.width().is_none() {
                column.ends.push(i32::try_from(column.tail.len()).map_err(|_| Torn)?);
            }
        }
        Ok(())
    }

    /// The columns, and event and created times.
    pub(crate) fn finish(self) -> Result<(Vec<ArrayRef>, Times, Times)> {
        let rows = self.rows;
        let fixed = Buffer::from(self.fixed);
        let columns = self.columns.into_iter().map(|column| column.finish(&fixed, rows)).collect::<Result<_>>()?;
        let times =
            |values: Vec<i64>, absent: Absent| Times::new(values.into(), absent.finish(rows)).with_timezone("UTC");
        Ok((columns, times(self.event_times, self.found), times(self.created, self.known)))
    }
}

/// Instants, null where there is none.
pub(crate) type Times = PrimitiveArray<TimestampMicrosecondType>;

/// Copies little-endian numbers of `unit` bytes to where the machine reads them.
fn place(target: &mut [u8], value: &[u8], unit: usize) {
    target.copy_from_slice(value);
    if cfg!(target_endian = "big") {
        target.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
    }
}

impl Column {
    fn finish(self, fixed: &Buffer, rows: usize) -> Result<ArrayRef> {
        let nulls = self.absent.finish(rows);
        Ok(match self.value_type {
            ValueType::Bool => {
                let values = &fixed[self.start..self.start + rows];
                Arc::new(BooleanArray::new(values.iter().map(|byte| *byte != 0).collect(), nulls))
            }
            ValueType::Int32 => primitive::<Int32Type>(fixed, self.start, rows, nulls),
            ValueType::Int64 => primitive::<Int64Type>(fixed, self.start, rows, nulls),
            ValueType::Float32 => primitive::<Float32Type>(fixed, self.start, rows, nulls),
            ValueType::Float64 => primitive::<Float64Type>(fixed, self.start, rows, nulls),
            ValueType::Timestamp => {
                let values = ScalarBuffer::new(fixed.clone(), self.start / 8, rows);
                Arc::new(Times::new(values, nulls).with_timezone("UTC"))
            }
            ValueType::Utf8 => {
                let offsets = OffsetBuffer::new(self.ends.into());
                Arc::new(StringArray::try_new(offsets, Buffer::from_vec(self.tail), nulls)?)
            }
            ValueType::Binary => {
                let offsets = OffsetBuffer::new(self.ends.into());
                Arc::new(BinaryArray::try_new(offsets, Buffer::from_vec(self.tail), nulls)?)
            }
            ValueType::Vector(dimensions) => {
                let numbers = primitive::<Float32Type>(fixed, self.start, rows * usize::from(dimensions), None);
                let field = Arc::new(Field::new_list_field(DataType::Float32, true));
                let width = i32::from(dimensions);
                Arc::new(FixedSizeListArray::try_new_with_length(field, width, numbers, nulls, rows)?)
            }
            ValueType::List(item) => Arc::new(list::column(item, &self.tail, &self.ends, nulls)?),
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(fixed: &Buffer, start: usize, rows: usize, nulls: Option<NullBuffer>) -> ArrayRef {
    let values = ScalarBuffer::new(fixed.clone(), start / size_of::<T::Native>(), rows);
    Arc::new(PrimitiveArray::<T>::new(values, nulls))
}

#[cfg(test)]
mod tests;
