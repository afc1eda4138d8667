//! Rows of several reads, put into columns.
//!
//! Whatever has a fixed width shares one allocation, however many reads and columns there are. Per read it holds event times,
//! created times, presence bits of both and of every column, and values column by column, each part a multiple of eight bytes.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeListArray, PrimitiveArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type};
use mlops_core::EventTime;

use super::{RowBytes, RowLayout, Torn, list};
use crate::define::ValueType;
use crate::error::Result;
use crate::online::OnlineRows;

/// Shared by all columns of instants, each of which would else allocate the name of its time zone.
static INSTANT: LazyLock<DataType> = LazyLock::new(EventTime::data_type);

/// Collects values of some features of many rows, of one or several reads, into columns.
#[derive(Debug)]
pub(crate) struct ColumnsBuilder {
    spans: Vec<Span>,
    columns: Vec<Column>,
    tails: Vec<Tail>,
    fixed: MutableBuffer,
}

/// Where one read is.
#[derive(Debug)]
struct Span {
    rows: usize,
    /// Its columns among those of all reads.
    columns: (usize, usize),
    event_times: Place,
    created: Place,
}

#[derive(Debug)]
struct Column {
    /// Position in the view's features.
    feature: usize,
    value_type: ValueType,
    place: Place,
}

/// Where values are in the shared buffer.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Start of the values; for those without a fixed width, the number of their tail.
    values: usize,
    /// Start of the presence bits.
    bits: usize,
    /// Rows without a value.
    absent: usize,
}

/// Values without a fixed width.
#[derive(Debug)]
struct Tail {
    bytes: Vec<u8>,
    ends: Vec<i32>,
}

/// Bytes of the presence bits of `rows` rows.
fn bits_len(rows: usize) -> usize {
    rows.div_ceil(8).next_multiple_of(8)
}

impl Place {
    fn clear(&mut self, row: usize, fixed: &mut [u8]) {
        fixed[self.bits + row / 8] &= !(1 << (row % 8));
        self.absent += 1;
    }

    fn nulls(&self, fixed: &Buffer, rows: usize) -> Option<NullBuffer> {
        let bits = || fixed.slice_with_length(self.bits, bits_len(rows));
        (self.absent > 0).then(|| NullBuffer::new(BooleanBuffer::new(bits(), 0, rows)))
    }

    fn numbers<T: ArrowNativeType>(&self, fixed: &Buffer, count: usize) -> ScalarBuffer<T> {
        fixed.slice_with_length(self.values, count * size_of::<T>()).into()
    }

    fn primitive<T: ArrowPrimitiveType>(&self, fixed: &Buffer, rows: usize) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(self.numbers(fixed, rows), self.nulls(fixed, rows)))
    }

    fn instants(&self, fixed: &Buffer, rows: usize) -> TimestampMicrosecondArray {
        TimestampMicrosecondArray::new(self.numbers(fixed, rows), self.nulls(fixed, rows))
            .with_data_type(INSTANT.clone())
    }
}

impl ColumnsBuilder {
    /// For reads, each of so many rows of the features (positions in the layout).
    pub(crate) fn new<'a>(reads: impl ExactSizeIterator<Item = (&'a RowLayout, &'a [usize], usize)> + Clone) -> Self {
        let mut columns = Vec::with_capacity(reads.clone().map(|(_, features, _)| features.len()).sum());
        let mut spans = Vec::with_capacity(reads.len());
        let mut tails = Vec::new();
        let mut end = 0;
        for (layout, features, rows) in reads.clone() {
            let (first, numbers, bits) = (columns.len(), 8 * rows, bits_len(rows));
            let event_times = Place { values: end, bits: end + 2 * numbers, absent: 0 };
            let created = Place { values: end + numbers, bits: event_times.bits + bits, absent: 0 };
            let mut place = Place { values: 0, bits: created.bits + bits, absent: 0 };
            end = place.bits + bits * features.len();
            for feature in features {
                let value_type = layout.fields[*feature].1;
                if let Some(width) = value_type.width() {
                    place.values = end;
                    end += (width * rows).next_multiple_of(8);
                } else {
                    place.values = tails.len();
                    tails.push(Tail { bytes: Vec::new(), ends: vec![0] });
                }
                columns.push(Column { feature: *feature, value_type, place });
                place.bits += bits;
            }
            spans.push(Span { rows, columns: (first, columns.len()), event_times, created });
        }
        // As words, which the allocator has at hand; a buffer of its own making would be aligned to lines of the cache.
        let mut fixed = MutableBuffer::from(vec![0_u64; end / 8]);
        for (span, (_, features, rows)) in spans.iter().zip(reads) {
            // Whatever is not said to be absent is there.
            fixed[span.event_times.bits..][..bits_len(rows) * (features.len() + 2)].fill(0xFF);
        }
        Self { spans, columns, tails, fixed }
    }

    /// To put rows into the columns of the read at `read`.
    pub(crate) fn fill(&mut self, read: usize) -> Filling<'_> {
        let span = &mut self.spans[read];
        let columns = &mut self.columns[span.columns.0..span.columns.1];
        Filling { span, columns, tails: &mut self.tails, fixed: &mut self.fixed }
    }

    /// The columns of every read.
    pub(crate) fn finish(self) -> Result<Vec<OnlineRows>> {
        let fixed = Buffer::from(self.fixed);
        let mut tails = self.tails;
        let mut all = Vec::with_capacity(self.spans.len());
        for span in self.spans {
            let mut columns = Vec::with_capacity(span.columns.1 - span.columns.0);
            for column in &self.columns[span.columns.0..span.columns.1] {
                columns.push(column.finish(&fixed, span.rows, &mut tails)?);
            }
            let event_time = span.event_times.instants(&fixed, span.rows);
            let created = span.created.instants(&fixed, span.rows);
            all.push(OnlineRows { columns, event_time, created });
        }
        Ok(all)
    }
}

/// The columns of one read while rows come.
#[derive(Debug)]
pub(crate) struct Filling<'b> {
    span: &'b mut Span,
    columns: &'b mut [Column],
    tails: &'b mut [Tail],
    fixed: &'b mut [u8],
}

impl Filling<'_> {
    /// Notes that there is no row for position `row`.
    pub(crate) fn skip(&mut self, row: usize) {
        self.span.event_times.clear(row, self.fixed);
        self.span.created.clear(row, self.fixed);
        self.columns.iter_mut().for_each(|column| column.skip(row, self.fixed, self.tails));
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
        if stored.bytes.len() < layout.tail {
            return Err(Torn);
        }
        put(self.fixed, self.span.event_times.values + row * 8, stored.stamp.event_time.to_ne_bytes());
        match stored.stamp.created {
            Some(created) => put(self.fixed, self.span.created.values + row * 8, created.to_ne_bytes()),
            None => self.span.created.clear(row, self.fixed),
        }
        for column in &mut *self.columns {
            let at = positions.map_or(Some(column.feature), |positions| positions[column.feature]);
            match at.filter(|at| stored.has(*at)) {
                Some(at) => column.push(row, stored, layout, at, self.fixed, self.tails)?,
                None => column.skip(row, self.fixed, self.tails),
            }
        }
        Ok(())
    }
}

fn put<const N: usize>(fixed: &mut [u8], at: usize, bytes: [u8; N]) {
    fixed[at..at + N].copy_from_slice(&bytes);
}

impl Column {
    fn skip(&mut self, row: usize, fixed: &mut [u8], tails: &mut [Tail]) {
        self.place.clear(row, fixed);
        if self.value_type.width().is_none() {
            let tail = &mut tails[self.place.values];
            tail.ends.push(tail.bytes.len() as i32);
        }
    }

    /// Takes feature `at` of `stored`, which is not null.
    fn push(
        &self,
        row: usize,
        stored: &RowBytes<'_>,
        layout: &RowLayout,
        at: usize,
        fixed: &mut [u8],
        tails: &mut [Tail],
    ) -> std::result::Result<(), Torn> {
        let slot = layout.slots[at];
        let values = self.place.values;
        match self.value_type {
            ValueType::Int64 | ValueType::Float64 | ValueType::Timestamp => {
                put(fixed, values + row * 8, i64::from_le_bytes(*stored.slot(slot)?).to_ne_bytes());
            }
            ValueType::Int32 | ValueType::Float32 => {
                put(fixed, values + row * 4, i32::from_le_bytes(*stored.slot(slot)?).to_ne_bytes());
            }
            ValueType::Bool => put(fixed, values + row, *stored.slot::<1>(slot)?),
            ValueType::Vector(dimensions) => {
                let width = 4 * usize::from(dimensions);
                let numbers = stored.bytes.get(slot..slot + width).ok_or(Torn)?;
                let target = &mut fixed[values + row * width..][..width];
                target.copy_from_slice(numbers);
                if cfg!(target_endian = "big") {
                    target.chunks_exact_mut(4).for_each(<[u8]>::reverse);
                }
            }
            ValueType::Utf8 | ValueType::Binary | ValueType::List(_) => {
                let bytes = stored.in_tail(layout, at)?;
                let whole = match self.value_type {
                    ValueType::Utf8 => std::str::from_utf8(bytes).is_ok(),
                    ValueType::List(item) => list::is_whole(item, bytes),
                    _ => true,
                };
                if !whole {
                    return Err(Torn);
                }
                let tail = &mut tails[values];
                tail.bytes.extend_from_slice(bytes);
                tail.ends.push(i32::try_from(tail.bytes.len()).map_err(|_| Torn)?);
            }
        }
        Ok(())
    }

    fn finish(&self, fixed: &Buffer, rows: usize, tails: &mut [Tail]) -> Result<ArrayRef> {
        let nulls = || self.place.nulls(fixed, rows);
        let mut tail = || {
            let tail = &mut tails[self.place.values];
            (std::mem::take(&mut tail.bytes), std::mem::take(&mut tail.ends))
        };
        Ok(match self.value_type {
            ValueType::Bool => {
                let values = &fixed[self.place.values..][..rows];
                Arc::new(BooleanArray::new(values.iter().map(|byte| *byte != 0).collect(), nulls()))
            }
            ValueType::Int32 => self.place.primitive::<Int32Type>(fixed, rows),
            ValueType::Int64 => self.place.primitive::<Int64Type>(fixed, rows),
            ValueType::Float32 => self.place.primitive::<Float32Type>(fixed, rows),
            ValueType::Float64 => self.place.primitive::<Float64Type>(fixed, rows),
            ValueType::Timestamp => Arc::new(self.place.instants(fixed, rows)),
            ValueType::Utf8 => {
                let (bytes, ends) = tail();
                Arc::new(StringArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from_vec(bytes), nulls())?)
            }
            ValueType::Binary => {
                let (bytes, ends) = tail();
                Arc::new(BinaryArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from_vec(bytes), nulls())?)
            }
            ValueType::Vector(dimensions) => {
                let numbers = self.place.numbers(fixed, rows * usize::from(dimensions));
                let numbers: ArrayRef = Arc::new(PrimitiveArray::<Float32Type>::new(numbers, None));
                let field = Arc::new(Field::new_list_field(DataType::Float32, true));
                let width = i32::from(dimensions);
                Arc::new(FixedSizeListArray::try_new_with_length(field, width, numbers, nulls(), rows)?)
            }
            ValueType::List(item) => {
                let (bytes, ends) = tail();
                Arc::new(list::column(item, &bytes, &ends, nulls())?)
            }
        })
    }
}
