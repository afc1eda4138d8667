//! Columns that grow value by value from the binary form of the server.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int16Builder, Int32Builder, Int64Builder, ListArray, NullBufferBuilder, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder, UInt32Builder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};

use super::digits::Digits;
use super::kind::Kind;
use crate::source::cells::Misfit;
use crate::{Error, Result};

/// Days and microseconds from 1970-01-01 to 2000-01-01, where the server's calendar begins.
const EPOCH_DAYS: i32 = 10_957;
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A column in the making. Every `push` adds exactly one value, a null where the bytes do not fit.
#[derive(Debug)]
pub(super) enum Column {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt32(UInt32Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal { cells: Decimal128Builder, precision: u8, scale: i8 },
    Digits { cells: StringBuilder, spelt: String },
    Text(StringBuilder),
    Jsonb(StringBuilder),
    Uuid { cells: StringBuilder, spelt: String },
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    List { kind: Kind, items: Box<Column>, length: i32, ends: Vec<i32>, valid: NullBufferBuilder },
}

impl Column {
    pub(super) fn new(kind: &Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Int2 => Self::Int16(Int16Builder::new()),
            Kind::Int4 => Self::Int32(Int32Builder::new()),
            Kind::Int8 => Self::Int64(Int64Builder::new()),
            Kind::Oid => Self::UInt32(UInt32Builder::new()),
            Kind::Float4 => Self::Float32(Float32Builder::new()),
            Kind::Float8 => Self::Float64(Float64Builder::new()),
            Kind::Decimal { precision, scale } => Self::Decimal {
                cells: Decimal128Builder::new().with_data_type(kind.arrow()),
                precision: *precision,
                scale: *scale,
            },
            Kind::Digits => Self::Digits { cells: StringBuilder::new(), spelt: String::new() },
            Kind::Text | Kind::OddText => Self::Text(StringBuilder::new()),
            Kind::Jsonb => Self::Jsonb(StringBuilder::new()),
            Kind::Uuid => Self::Uuid { cells: StringBuilder::new(), spelt: String::new() },
            Kind::Bytes => Self::Bytes(BinaryBuilder::new()),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Kind::Timestamp | Kind::TimestampTz => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(kind.arrow()))
            }
            Kind::List(item) => Self::List {
                kind: (**item).clone(),
                items: Box::new(Self::new(item)),
                length: 0,
                ends: vec![0],
                valid: NullBufferBuilder::new(0),
            },
        }
    }

    /// Adds the value in `bytes`, or null.
    pub(super) fn push(&mut self, bytes: Option<&[u8]>) -> Result<(), Misfit> {
        let read = match bytes {
            None => Ok(false),
            Some(bytes) => self.push_value(bytes).map(|()| true),
        };
        if !matches!(read, Ok(true)) {
            self.push_null();
        }
        read.map(|_| ())
    }

    /// Adds the value in `bytes`; adds nothing where they do not fit.
    fn push_value(&mut self, bytes: &[u8]) -> Result<(), Misfit> {
        match self {
            Self::Bool(cells) => cells.append_value(fixed::<1>(bytes)? != [0]),
            Self::Int16(cells) => cells.append_value(i16::from_be_bytes(fixed(bytes)?)),
            Self::Int32(cells) => cells.append_value(i32::from_be_bytes(fixed(bytes)?)),
            Self::Int64(cells) => cells.append_value(i64::from_be_bytes(fixed(bytes)?)),
            Self::UInt32(cells) => cells.append_value(u32::from_be_bytes(fixed(bytes)?)),
            Self::Float32(cells) => cells.append_value(f32::from_be_bytes(fixed(bytes)?)),
            Self::Float64(cells) => cells.append_value(f64::from_be_bytes(fixed(bytes)?)),
            Self::Decimal { cells, precision, scale } => {
                cells.append_value(Digits::read(bytes)?.decimal(*precision, *scale)?);
            }
            Self::Digits { cells, spelt } => {
                spelt.clear();
                Digits::read(bytes)?.spell(spelt);
                cells.append_value(spelt);
            }
            Self::Text(cells) => cells.append_value(text(bytes)?),
            Self::Jsonb(cells) => match bytes.split_first() {
                Some((1, json)) => cells.append_value(text(json)?),
                _ => return Err("jsonb of an unknown version".into()),
            },
            Self::Uuid { cells, spelt } => {
                spelt.clear();
                uuid(fixed(bytes)?, spelt);
                cells.append_value(spelt);
            }
            Self::Bytes(cells) => cells.append_value(bytes),
            Self::Date(cells) => cells.append_value(date(i32::from_be_bytes(fixed(bytes)?))?),
            Self::Time(cells) => cells.append_value(i64::from_be_bytes(fixed(bytes)?)),
            Self::Timestamp(cells) => cells.append_value(instant(i64::from_be_bytes(fixed(bytes)?))?),
            Self::List { items, length, ends, valid, .. } => {
                push_items(bytes, items, length)?;
                ends.push(*length);
                valid.append_non_null();
            }
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match self {
            Self::Bool(cells) => cells.append_null(),
            Self::Int16(cells) => cells.append_null(),
            Self::Int32(cells) => cells.append_null(),
            Self::Int64(cells) => cells.append_null(),
            Self::UInt32(cells) => cells.append_null(),
            Self::Float32(cells) => cells.append_null(),
            Self::Float64(cells) => cells.append_null(),
            Self::Decimal { cells, .. } => cells.append_null(),
            Self::Text(cells) | Self::Jsonb(cells) | Self::Digits { cells, .. } | Self::Uuid { cells, .. } => {
                cells.append_null();
            }
            Self::Bytes(cells) => cells.append_null(),
            Self::Date(cells) => cells.append_null(),
            Self::Time(cells) => cells.append_null(),
            Self::Timestamp(cells) => cells.append_null(),
            Self::List { length, ends, valid, .. } => {
                // Items of an array that did not fit lie under the null.
                ends.push(*length);
                valid.append_null();
            }
        }
    }

    /// What was added, and an empty column again.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Bool(cells) => Arc::new(cells.finish()),
            Self::Int16(cells) => Arc::new(cells.finish()),
            Self::Int32(cells) => Arc::new(cells.finish()),
            Self::Int64(cells) => Arc::new(cells.finish()),
            Self::UInt32(cells) => Arc::new(cells.finish()),
            Self::Float32(cells) => Arc::new(cells.finish()),
            Self::Float64(cells) => Arc::new(cells.finish()),
            Self::Decimal { cells, .. } => Arc::new(cells.finish()),
            Self::Text(cells) | Self::Jsonb(cells) | Self::Digits { cells, .. } | Self::Uuid { cells, .. } => {
                Arc::new(cells.finish())
            }
            Self::Bytes(cells) => Arc::new(cells.finish()),
            Self::Date(cells) => Arc::new(cells.finish()),
            Self::Time(cells) => Arc::new(cells.finish()),
            Self::Timestamp(cells) => Arc::new(cells.finish()),
            Self::List { kind, items, length, ends, valid } => {
                *length = 0;
                let ends = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                let (valid, items) = (valid.finish(), items.finish()?);
                Arc::new(ListArray::try_new(Arc::new(kind.item_field()), ends, items, valid)?)
            }
        })
    }
}

/// Checks that `bytes` are a value of `kind`.
pub(super) fn ensure_value(kind: &Kind, bytes: &[u8]) -> Result<()> {
    Column::new(kind).push(Some(bytes)).map_err(|reason| Error::invalid_data("value of a cursor", reason))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Misfit> {
    bytes.try_into().map_err(|_| format!("{} bytes where there should be {N}", bytes.len()).into())
}

fn text(bytes: &[u8]) -> Result<&str, Misfit> {
    std::str::from_utf8(bytes).map_err(|_| "not UTF-8".into())
}

fn date(days: i32) -> Result<i32, Misfit> {
    match days {
        i32::MAX | i32::MIN => Err("an infinite date".into()),
        days => days.checked_add(EPOCH_DAYS).ok_or_else(|| "a date out of range".into()),
    }
}

fn instant(micros: i64) -> Result<i64, Misfit> {
    match micros {
        i64::MAX | i64::MIN => Err("an infinite time".into()),
        micros => micros.checked_add(EPOCH_MICROS).ok_or_else(|| "a time out of range".into()),
    }
}

fn uuid(bytes: [u8; 16], out: &mut String) {
    let mut rest = bytes.as_slice();
    for length in [4, 2, 2, 2, 6] {
        let (part, tail) = rest.split_at(length);
        push_hex(part, out);
        rest = tail;
        if !rest.is_empty() {
            out.push('-');
        }
    }
}

/// Appends two digits for each byte.
pub(super) fn push_hex(bytes: &[u8], out: &mut String) {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 0xF));
    }
}

/// Adds the items of an array of one dimension: number of dimensions, flags and type, then length and lower bound, then
/// each item with its length, -1 for null.
fn push_items(bytes: &[u8], items: &mut Column, length: &mut i32) -> Result<(), Misfit> {
    let mut rest = bytes;
    let torn = || Misfit::from("an array that is cut off");
    let word = |rest: &mut &[u8]| {
        let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(torn)?;
        *rest = tail;
        Ok::<_, Misfit>(i32::from_be_bytes(*head))
    };
    let dimensions = word(&mut rest)?;
    let (_flags, _type) = (word(&mut rest)?, word(&mut rest)?);
    let count = match dimensions {
        0 => 0,
        1 => (word(&mut rest)?, word(&mut rest)?).0,
        more => return Err(format!("an array of {more} dimensions, where lists have one").into()),
    };
    for _ in 0..count {
        let item = match usize::try_from(word(&mut rest)?) {
            Err(_) => None,
            Ok(size) => {
                let (item, tail) = rest.split_at_checked(size).ok_or_else(torn)?;
                rest = tail;
                Some(item)
            }
        };
        *length = length.checked_add(1).ok_or("more items than a list holds")?;
        items.push(item)?;
    }
    Ok(())
}
