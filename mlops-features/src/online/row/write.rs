//! Rows of a batch as bytes: many at a time, column by column.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};

use super::{END, HEADER, RowLayout, Stamp, list, tail_end};
use crate::define::ValueType;
use crate::error::Result;

/// Most rows, and about how many bytes, that are encoded at once: they stay close to the processor.
const BLOCK_ROWS: usize = 1_024;
const BLOCK_BYTES: usize = 256 << 10;

/// Event and created times of a batch in the columns of a view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamps<'a> {
    event_time: &'a PrimitiveArray<TimestampMicrosecondType>,
    created: Option<&'a PrimitiveArray<TimestampMicrosecondType>>,
}

impl<'a> Stamps<'a> {
    /// Of `rows` in the columns of a view's schema, whose first `keys` columns are keys.
    pub(crate) fn of(rows: &'a RecordBatch, keys: usize, has_created: bool) -> Self {
        let created = has_created.then(|| rows.column(keys + 1).as_primitive());
        Self { event_time: rows.column(keys).as_primitive(), created }
    }

    pub(crate) fn get(&self, row: usize) -> Stamp {
        let created = self.created.filter(|created| created.is_valid(row)).map(|created| created.value(row));
        Stamp { event_time: self.event_time.value(row), created }
    }
}

/// Rows as bytes, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct RowBlock {
    bytes: Vec<u8>,
    /// Where each row begins, and how long it is by now.
    places: Vec<(usize, usize)>,
}

impl RowBlock {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|(start, length)| &self.bytes[*start..start + length])
    }

    /// Calls `put` with the bytes of each row whose value in `column` is not null.
    fn each_present(&mut self, rows: &[usize], column: &dyn Array, mut put: impl FnMut(usize, &mut [u8])) {
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        for ((start, length), row) in self.places.iter().zip(rows) {
            if nulls.is_none_or(|nulls| nulls.is_valid(*row)) {
                put(*row, &mut self.bytes[*start..start + length]);
            }
        }
    }

    fn put_numbers<T: ArrowPrimitiveType, const N: usize>(
        &mut self,
        rows: &[usize],
        column: &ArrayRef,
        slot: usize,
        bytes: impl Fn(T::Native) -> [u8; N],
    ) {
        let values = column.as_primitive::<T>().values();
        self.each_present(rows, column, |row, out| out[slot..slot + N].copy_from_slice(&bytes(values[row])));
    }

    /// Appends to each row what `value` puts down, which is nothing for a null, and notes in `slot` where it ends.
    fn append(
        &mut self,
        rows: &[usize],
        (slot, tail): (usize, usize),
        column: &dyn Array,
        mut value: impl FnMut(usize, &mut Vec<u8>),
    ) -> Result<()> {
        let mut bytes = Vec::new();
        for ((start, length), row) in self.places.iter_mut().zip(rows) {
            if column.is_valid(*row) {
                bytes.clear();
                value(*row, &mut bytes);
                let at = *start + *length;
                self.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
                *length += bytes.len();
            }
            let end = tail_end(*length - tail)?;
            self.bytes[*start + slot..*start + slot + END].copy_from_slice(&end.to_le_bytes());
        }
        Ok(())
    }
}

/// Turns rows of a batch in the columns of a view's schema into bytes.
#[derive(Debug)]
pub(crate) struct RowWriter<'a> {
    layout: &'a RowLayout,
    stamps: Stamps<'a>,
    columns: &'a [ArrayRef],
}

impl<'a> RowWriter<'a> {
    /// For `rows` that [`FeatureView::conform`](crate::FeatureView::conform) returned, whose first `keys` columns are keys.
    pub(crate) fn new(layout: &'a RowLayout, rows: &'a RecordBatch, keys: usize, has_created: bool) -> Self {
        let first = keys + 1 + usize::from(has_created);
        Self { layout, stamps: Stamps::of(rows, keys, has_created), columns: &rows.columns()[first..] }
    }

    pub(crate) fn stamp(&self, row: usize) -> Stamp {
        self.stamps.get(row)
    }

    /// Puts the first of `rows` into `block`, in the place of what was there; says how many, one at least if there is one.
    ///
    /// # Errors
    /// `Core(Invalid)` when text, binary values and lists of one row exceed 4 GiB.
    pub(crate) fn encode(&self, rows: &[usize], block: &mut RowBlock) -> Result<usize> {
        let rows = self.begin(rows, block);
        for index in 0..self.columns.len() {
            self.put(index, rows, block)?;
        }
        Ok(rows.len())
    }

    /// Rows of nulls, each with room for its values.
    fn begin<'r>(&self, rows: &'r [usize], block: &mut RowBlock) -> &'r [usize] {
        let fields = self.columns.iter().zip(&self.layout.fields);
        let tails: Vec<_> = fields.filter(|(_, (_, of))| of.width().is_none()).collect();
        let tail_of = |row: usize| tails.iter().map(|(column, (_, of))| size(*of, column, row)).sum::<usize>();
        block.places.clear();
        let mut at = 0;
        for row in rows.iter().take(BLOCK_ROWS) {
            let length = self.layout.tail + tail_of(*row);
            if at > 0 && at + length > BLOCK_BYTES {
                break;
            }
            block.places.push((at, self.layout.tail));
            at += length;
        }
        block.bytes.clear();
        block.bytes.resize(at, 0);
        let rows = &rows[..block.places.len()];
        for ((start, _), row) in block.places.iter().zip(rows) {
            self.layout.put_header(self.stamp(*row), &mut block.bytes[*start..]);
        }
        rows
    }

    /// Writes the values of one feature.
    fn put(&self, index: usize, rows: &[usize], block: &mut RowBlock) -> Result<()> {
        let (column, slot) = (&self.columns[index], self.layout.slots[index]);
        let (byte, bit) = (HEADER + (index + 1) / 8, 1 << ((index + 1) % 8));
        block.each_present(rows, column, |_, out| out[byte] |= bit);
        let end = (slot, self.layout.tail);
        match self.layout.fields[index].1 {
            ValueType::Bool => {
                let values = column.as_boolean();
                block.each_present(rows, column, |row, out| out[slot] = u8::from(values.value(row)));
            }
            ValueType::Int32 => block.put_numbers::<Int32Type, 4>(rows, column, slot, i32::to_le_bytes),
            ValueType::Int64 => block.put_numbers::<Int64Type, 8>(rows, column, slot, i64::to_le_bytes),
            ValueType::Float32 => block.put_numbers::<Float32Type, 4>(rows, column, slot, f32::to_le_bytes),
            ValueType::Float64 => block.put_numbers::<Float64Type, 8>(rows, column, slot, f64::to_le_bytes),
            ValueType::Timestamp => {
                block.put_numbers::<TimestampMicrosecondType, 8>(rows, column, slot, i64::to_le_bytes);
            }
            ValueType::Vector(_) => {
                let vectors = column.as_fixed_size_list();
                let numbers = vectors.values().as_primitive::<Float32Type>().values();
                let width = vectors.value_length() as usize;
                block.each_present(rows, column, |row, out| {
                    let first = vectors.value_offset(row) as usize;
                    let slots = out[slot..].chunks_exact_mut(4);
                    let numbers = numbers[first..first + width].iter();
                    slots.zip(numbers).for_each(|(slot, number)| slot.copy_from_slice(&number.to_le_bytes()));
                });
            }
            ValueType::Utf8 => {
                let texts = column.as_string::<i32>();
                block.append(rows, end, column, |row, out| out.extend_from_slice(texts.value(row).as_bytes()))?;
            }
            ValueType::Binary => {
                let values = column.as_binary::<i32>();
                block.append(rows, end, column, |row, out| out.extend_from_slice(values.value(row)))?;
            }
            ValueType::List(item) => {
                let lists = column.as_list::<i32>();
                block.append(rows, end, column, |row, out| list::put(item, &lists.value(row), out))?;
            }
        }
        Ok(())
    }
}

/// Bytes in the tail of a value of variable length.
fn size(of: ValueType, column: &ArrayRef, row: usize) -> usize {
    match of {
        _ if column.is_null(row) => 0,
        ValueType::Utf8 => column.as_string::<i32>().value_length(row) as usize,
        ValueType::Binary => column.as_binary::<i32>().value_length(row) as usize,
        ValueType::List(item) => list::size(item, &column.as_list::<i32>().value(row)),
        _ => 0,
    }
}
