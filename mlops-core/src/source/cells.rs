//! Columns that grow cell by cell from text or JSON, and know when a cell does not fit.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, ListArray, NullBufferBuilder, RecordBatch,
    RecordBatchOptions, StringBuilder, StructArray, TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::kernels::cast_utils::Parser;
use arrow::compute::{CastOptions, cast_with_options, filter};
use arrow::datatypes::{DataType, Date32Type, Field, TimeUnit};

use super::instant::{plain_date, plain_time};
use super::is_text;
use super::json::{Json, Members};
use crate::time::EventTime;
use crate::{Error, Result, Schema};

/// Why a cell does not fit its column.
pub(super) type Misfit = Cow<'static, str>;

/// Bytes of text in one batch above which it is cut: keeps offsets of 32 bits far from their end.
pub(super) const BATCH_BYTES_MAX: usize = 64 << 20;

/// Bytes that a cell takes at least.
const CELL_BYTES: usize = 8;

/// The whole numbers up to which every one has a float of its own.
pub(super) const EXACT_INT_MAX: i64 = 1 << 53;

/// Checks that text formats can hold `field`, that is, write it and read it back.
pub(super) fn ensure_textual(field: &Field, nested: bool) -> Result<()> {
    let fits = match field.data_type() {
        DataType::Boolean | DataType::Date32 | DataType::Float32 | DataType::Float64 | DataType::Timestamp(..) => true,
        DataType::List(inner) if nested => return ensure_textual(inner, true),
        DataType::Struct(fields) if nested => {
            let mut names = BTreeSet::new();
            if let Some(twice) = fields.iter().find(|f| !names.insert(f.name())) {
                return Err(Error::schema(
                    field.name(),
                    "members of different names",
                    format!("`{}` twice", twice.name()),
                ));
            }
            return fields.iter().try_for_each(|f| ensure_textual(f, true));
        }
        other => other.is_integer() || is_text(other),
    };
    if fits {
        Ok(())
    } else {
        Err(Error::schema(field.name(), "a type that this text format holds", field.data_type()))
    }
}

/// A column in the making. Every `append` adds exactly one cell, a null where the value does not fit.
#[derive(Debug)]
pub(super) struct Cells {
    field: Arc<Field>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Bool(BooleanBuilder),
    Int { cells: Int64Builder, min: i64, max: i64 },
    UInt { cells: UInt64Builder, max: u64 },
    Float { cells: Float64Builder, single: bool },
    Date(Date32Builder),
    Time { cells: TimestampMicrosecondBuilder, unit: TimeUnit },
    Text { cells: StringBuilder, from_any: bool },
    List { ends: Vec<i32>, valid: NullBufferBuilder, items: Box<Cells> },
    Struct { valid: NullBufferBuilder, members: Vec<Cells> },
}

impl Cells {
    /// For `field`; with `from_any`, text columns also take JSON numbers and booleans.
    pub(super) fn new(field: &Arc<Field>, from_any: bool) -> Result<Self> {
        let int = |min, max| Kind::Int { cells: Int64Builder::with_capacity(0), min, max };
        let uint = |max| Kind::UInt { cells: UInt64Builder::with_capacity(0), max };
        let kind = match field.data_type() {
            DataType::Boolean => Kind::Bool(BooleanBuilder::with_capacity(0)),
            DataType::Int8 => int(i8::MIN.into(), i8::MAX.into()),
            DataType::Int16 => int(i16::MIN.into(), i16::MAX.into()),
            DataType::Int32 => int(i32::MIN.into(), i32::MAX.into()),
            DataType::Int64 => int(i64::MIN, i64::MAX),
            DataType::UInt8 => uint(u8::MAX.into()),
            DataType::UInt16 => uint(u16::MAX.into()),
            DataType::UInt32 => uint(u32::MAX.into()),
            DataType::UInt64 => uint(u64::MAX),
            DataType::Float32 => Kind::Float { cells: Float64Builder::with_capacity(0), single: true },
            DataType::Float64 => Kind::Float { cells: Float64Builder::with_capacity(0), single: false },
            DataType::Date32 => Kind::Date(Date32Builder::with_capacity(0)),
            DataType::Timestamp(unit, zone) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                Kind::Time { cells: TimestampMicrosecondBuilder::with_capacity(0).with_data_type(micros), unit: *unit }
            }
            DataType::List(item) => Kind::List {
                ends: vec![0],
                valid: NullBufferBuilder::new(0),
                items: Box::new(Self::new(item, from_any)?),
            },
            DataType::Struct(fields) => Kind::Struct {
                valid: NullBufferBuilder::new(0),
                members: fields.iter().map(|f| Self::new(f, from_any)).collect::<Result<_>>()?,
            },
            other if is_text(other) => Kind::Text { cells: StringBuilder::with_capacity(0, 0), from_any },
            other => return Err(Error::schema(field.name(), "a type that this text format holds", other)),
        };
        Ok(Self { field: field.clone(), kind })
    }

    pub(super) fn name(&self) -> &str {
        self.field.name()
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Text { .. })
    }

    /// Adds a cell that the data leaves out.
    pub(super) fn append_null(&mut self) -> Result<(), Misfit> {
        self.pad();
        if self.field.is_nullable() { Ok(()) } else { Err("null in a column without nulls".into()) }
    }

    fn pad(&mut self) {
        match &mut self.kind {
            Kind::Bool(cells) => cells.append_null(),
            Kind::Int { cells, .. } => cells.append_null(),
            Kind::UInt { cells, .. } => cells.append_null(),
            Kind::Float { cells, .. } => cells.append_null(),
            Kind::Date(cells) => cells.append_null(),
            Kind::Time { cells, .. } => cells.append_null(),
            Kind::Text { cells, .. } => cells.append_null(),
            Kind::List { ends, valid, .. } => {
                ends.push(ends.last().copied().unwrap_or(0));
                valid.append_null();
            }
            Kind::Struct { valid, members } => {
                valid.append_null();
                members.iter_mut().for_each(Self::pad);
            }
        }
    }

    fn refuse(&mut self) -> Result<(), Misfit> {
        self.pad();
        Err(format!("not {}", expected(self.field.data_type())).into())
    }

    /// Adds the cell that `text` stands for.
    pub(super) fn append_text(&mut self, text: &str) -> Result<(), Misfit> {
        let fits = match &mut self.kind {
            Kind::Text { cells, .. } => {
                cells.append_value(text);
                true
            }
            Kind::Bool(cells) => boolean(text).map(|v| cells.append_value(v)).is_some(),
            Kind::Int { cells, min, max } => {
                let value = text.parse().ok().filter(|v| (*min..=*max).contains(v));
                value.map(|v| cells.append_value(v)).is_some()
            }
            Kind::UInt { cells, max } => {
                text.parse().ok().filter(|v| *v <= *max).map(|v| cells.append_value(v)).is_some()
            }
            Kind::Float { cells, single } => {
                let value = if *single { single_float(text).map(f64::from) } else { float(text) };
                value.map(|v| cells.append_value(v)).is_some()
            }
            Kind::Date(cells) => date(text).map(|v| cells.append_value(v)).is_some(),
            Kind::Time { cells, unit } => time(text, *unit).map(|v| cells.append_value(v)).is_some(),
            Kind::List { .. } | Kind::Struct { .. } => false,
        };
        if fits { Ok(()) } else { self.refuse() }
    }

    /// Adds the cell that `value` stands for.
    pub(super) fn append_json(&mut self, value: &Json) -> Result<(), Misfit> {
        match (&mut self.kind, value) {
            (_, Json::Null) => self.append_null(),
            (Kind::Text { .. } | Kind::Date(_) | Kind::Time { .. }, Json::Text(text)) => self.append_text(text),
            (Kind::Text { cells, from_any: true }, Json::Bool(_) | Json::Int(_) | Json::UInt(_) | Json::Float(_)) => {
                cells.append_value(value.to_string());
                Ok(())
            }
            (Kind::Bool(cells), Json::Bool(v)) => {
                cells.append_value(*v);
                Ok(())
            }
            (Kind::Int { .. } | Kind::UInt { .. } | Kind::Float { .. }, _) => self.append_number(value),
            (Kind::List { .. }, Json::List(items)) => self.append_list(items),
            (Kind::Struct { .. }, Json::Object(members)) => self.append_object(members),
            _ => self.refuse(),
        }
    }

    fn append_number(&mut self, value: &Json) -> Result<(), Misfit> {
        let fits = match &mut self.kind {
            Kind::Int { cells, min, max } => {
                let whole = value.whole().and_then(|v| i64::try_from(v).ok()).filter(|v| (*min..=*max).contains(v));
                whole.map(|v| cells.append_value(v)).is_some()
            }
            Kind::UInt { cells, max } => {
                let whole = value.whole().and_then(|v| u64::try_from(v).ok()).filter(|v| v <= max);
                whole.map(|v| cells.append_value(v)).is_some()
            }
            Kind::Float { cells, single } => {
                let value = if *single {
                    value.real().map(|v| f64::from(v as f32)).filter(|v| v.is_finite())
                } else {
                    value.real()
                };
                value.map(|v| cells.append_value(v)).is_some()
            }
            _ => false,
        };
        if fits { Ok(()) } else { self.refuse() }
    }

    fn append_list(&mut self, values: &[Json]) -> Result<(), Misfit> {
        let Kind::List { ends, valid, items } = &mut self.kind else { return self.refuse() };
        let start = ends.last().copied().unwrap_or(0);
        let Some(end) = i32::try_from(values.len()).ok().and_then(|n| start.checked_add(n)) else {
            self.pad();
            return Err("more list items than one batch holds".into());
        };
        let outcome = values.iter().map(|value| items.append_json(value)).fold(Ok(()), Result::and);
        ends.push(end);
        valid.append_non_null();
        outcome
    }

    fn append_object(&mut self, values: &[(String, Json)]) -> Result<(), Misfit> {
        let Kind::Struct { valid, members } = &mut self.kind else { return self.refuse() };
        valid.append_non_null();
        let (found, mut known, mut outcome) = (Members::of(values), 0, Ok(()));
        for (place, member) in members.iter_mut().enumerate() {
            let value = found.value(place, member.name());
            known += usize::from(value.is_some());
            outcome = outcome.and(member.append_json(value.unwrap_or(&Json::Null)));
        }
        if known == values.len() {
            return outcome;
        }
        let names: BTreeSet<&str> = members.iter().map(Self::name).collect();
        match values.iter().find(|(key, _)| !names.contains(key.as_str())) {
            Some((key, _)) => Err(format!("`{}` is no member of this column", shorten(key)).into()),
            None => outcome,
        }
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let array: ArrayRef = match &mut self.kind {
            Kind::Bool(cells) => Arc::new(cells.finish()),
            Kind::Int { cells, .. } => Arc::new(cells.finish()),
            Kind::UInt { cells, .. } => Arc::new(cells.finish()),
            Kind::Float { cells, .. } => Arc::new(cells.finish()),
            Kind::Date(cells) => Arc::new(cells.finish()),
            Kind::Time { cells, .. } => Arc::new(cells.finish()),
            Kind::Text { cells, .. } => Arc::new(cells.finish()),
            Kind::List { ends, valid, items } => {
                let ends = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                Arc::new(ListArray::try_new(items.field.clone(), ends, items.finish()?, valid.finish())?)
            }
            Kind::Struct { valid, members } => {
                let DataType::Struct(fields) = self.field.data_type() else { unreachable!("a struct has members") };
                let (rows, nulls) = (valid.len(), valid.finish());
                let arrays = members.iter_mut().map(Self::finish).collect::<Result<Vec<_>>>()?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, nulls, rows)?)
            }
        };
        if array.data_type() == self.field.data_type() {
            return Ok(array);
        }
        // Only between widths of one kind; every value was checked against the narrow one when it came.
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        Ok(cast_with_options(&array, self.field.data_type(), &strict)?)
    }
}

/// Rows in the making. A row that turns out not to fit is left out of the batch.
#[derive(Debug)]
pub(super) struct Rows {
    schema: Schema,
    pub(super) cells: Vec<Cells>,
    keep: Vec<bool>,
    bytes: usize,
}

impl Rows {
    /// Of `schema`; the columns named in `from_any` take JSON scalars of every kind as text.
    pub(super) fn new(schema: Schema, from_any: &[String]) -> Result<Self> {
        let cells = schema.arrow().fields().iter().map(|f| Cells::new(f, from_any.contains(f.name())));
        let cells = cells.collect::<Result<_>>()?;
        Ok(Self { schema, cells, keep: Vec::new(), bytes: 0 })
    }

    /// Ends a row of `bytes` bytes: the first `filled` cells have been appended.
    pub(super) fn end_row(&mut self, filled: usize, fits: bool, bytes: usize) {
        self.cells.iter_mut().skip(filled).for_each(Cells::pad);
        self.keep.push(fits);
        // A row of many empty cells is short as text and long as columns.
        self.bytes += bytes.max(self.cells.len() * CELL_BYTES);
    }

    /// Whether a batch should be taken now.
    pub(super) fn is_full(&self, rows: usize) -> bool {
        self.keep.len() >= rows || self.bytes >= BATCH_BYTES_MAX
    }

    /// The rows that fit, and starts anew.
    pub(super) fn take(&mut self) -> Result<RecordBatch> {
        let keep = std::mem::take(&mut self.keep);
        self.bytes = 0;
        let mut arrays = self.cells.iter_mut().map(Cells::finish).collect::<Result<Vec<_>>>()?;
        let rows = keep.iter().filter(|kept| **kept).count();
        if rows < keep.len() {
            let mask = arrow::array::BooleanArray::from(keep);
            arrays = arrays.iter().map(|array| Ok(filter(array, &mask)?)).collect::<Result<_>>()?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.arrow().clone(), arrays, &options)?)
    }
}

/// The words for a value of `data_type`.
fn expected(data_type: &DataType) -> String {
    match data_type {
        DataType::Date32 => "a date (YYYY-MM-DD)".to_owned(),
        DataType::Timestamp(unit, _) => format!("a time (RFC 3339) in whole units of {unit:?}"),
        DataType::Boolean => "a boolean (true or false)".to_owned(),
        DataType::List(_) => "a list".to_owned(),
        DataType::Struct(_) => "an object".to_owned(),
        text if is_text(text) => "text".to_owned(),
        other => format!("of type {other}"),
    }
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "1" => Some(true),
        "false" | "False" | "FALSE" | "0" => Some(false),
        _ => None,
    }
}

/// A float; what overflows to infinity without saying so is refused.
pub(super) fn float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    (!value.is_infinite() || text.contains(['i', 'I'])).then_some(value)
}

/// As [`float`], for 32 bits. By way of 64 bits some texts would be rounded twice and end beside the nearest float.
fn single_float(text: &str) -> Option<f32> {
    let value: f32 = text.parse().ok()?;
    (!value.is_infinite() || text.contains(['i', 'I'])).then_some(value)
}

/// Days since the epoch of `YYYY-MM-DD`.
pub(super) fn date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-';
    if shaped { plain_date(bytes).or_else(|| Date32Type::parse(text)) } else { None }
}

/// Microseconds since the epoch, if `unit` can hold them.
pub(super) fn time(text: &str, unit: TimeUnit) -> Option<i64> {
    let micros = plain_time(text.as_bytes()).or_else(|| Some(EventTime::parse(text).ok()?.as_micros()))?;
    let whole = match unit {
        TimeUnit::Second => micros % 1_000_000 == 0,
        TimeUnit::Millisecond => micros % 1_000 == 0,
        TimeUnit::Microsecond => true,
        TimeUnit::Nanosecond => micros.checked_mul(1_000).is_some(),
    };
    whole.then_some(micros)
}

/// `text` for a message: escaped, and at most 40 characters of it.
pub(super) fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}
