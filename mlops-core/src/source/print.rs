//! Cells as text: what CSV and JSON lines have in common when they write.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array, ListArray, StringArray,
    StructArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit, UInt64Type};

use super::cells::Misfit;
use super::is_text;
use crate::time::{DAY_US, EventTime};
use crate::{Error, Result};

/// One column of a batch, ready to be written row by row.
#[derive(Debug)]
pub(super) enum Printer {
    Bool(BooleanArray),
    Int(Int64Array),
    UInt(UInt64Array),
    Float(Float64Array),
    Single(Float32Array),
    Text(StringArray),
    Date(Int64Array),
    /// Ticks, how many make a microsecond or how many microseconds make one, and whether a zone was declared.
    Time {
        ticks: Int64Array,
        unit: TimeUnit,
        zoned: bool,
    },
    List(ListArray, Box<Printer>),
    Struct(StructArray, Vec<(String, Printer)>),
}

impl Printer {
    pub(super) fn new(array: &ArrayRef) -> Result<Self> {
        let ints =
            |array: &ArrayRef| Ok::<_, Error>(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone());
        Ok(match array.data_type() {
            DataType::Boolean => Self::Bool(array.as_boolean().clone()),
            DataType::Float64 => Self::Float(array.as_primitive().clone()),
            DataType::Float32 => Self::Single(array.as_primitive().clone()),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>().unary(i64::from)),
            DataType::Timestamp(unit, zone) => Self::Time { ticks: ints(array)?, unit: *unit, zoned: zone.is_some() },
            DataType::List(_) => {
                let list = array.as_list::<i32>().clone();
                let items = Self::new(list.values())?;
                Self::List(list, Box::new(items))
            }
            DataType::Struct(fields) => {
                let object = array.as_struct().clone();
                let member = |(i, f): (usize, &Arc<arrow::datatypes::Field>)| {
                    Ok::<_, Error>((f.name().clone(), Self::new(object.column(i))?))
                };
                let members = fields.iter().enumerate().map(member).collect::<Result<_>>()?;
                Self::Struct(object, members)
            }
            text if is_text(text) => Self::Text(cast(array, &DataType::Utf8)?.as_string().clone()),
            unsigned if unsigned.is_unsigned_integer() => {
                Self::UInt(cast(array, &DataType::UInt64)?.as_primitive::<UInt64Type>().clone())
            }
            _ => Self::Int(ints(array)?),
        })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Bool(a) => a.is_null(row),
            Self::Int(a) | Self::Date(a) | Self::Time { ticks: a, .. } => a.is_null(row),
            Self::UInt(a) => a.is_null(row),
            Self::Float(a) => a.is_null(row),
            Self::Single(a) => a.is_null(row),
            Self::Text(a) => a.is_null(row),
            Self::List(a, _) => a.is_null(row),
            Self::Struct(a, _) => a.is_null(row),
        }
    }

    /// The float of this cell, if it is one.
    pub(super) fn real(&self, row: usize) -> Option<f64> {
        match self {
            Self::Float(a) => Some(a.value(row)),
            Self::Single(a) => Some(a.value(row).into()),
            _ => None,
        }
    }

    /// The text of this cell, if it is text.
    pub(super) fn text(&self, row: usize) -> Option<&str> {
        match self {
            Self::Text(a) => Some(a.value(row)),
            _ => None,
        }
    }

    /// Whether the text form is one that needs quotes in JSON.
    pub(super) fn is_spelled(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Date(_) | Self::Time { .. })
    }

    /// Appends the cell, which is neither null nor nested, as plain text.
    pub(super) fn write(&self, row: usize, out: &mut String) -> Result<(), Misfit> {
        // Writing to a `String` cannot fail.
        let _ = match self {
            Self::Bool(a) => write!(out, "{}", a.value(row)),
            Self::Int(a) => write!(out, "{}", a.value(row)),
            Self::UInt(a) => write!(out, "{}", a.value(row)),
            Self::Float(a) => write!(out, "{:?}", a.value(row)), // the shortest text that reads back equal
            Self::Single(a) => single(a.value(row), out),
            Self::Text(a) => out.write_str(a.value(row)),
            Self::Date(days) => {
                let text = instant(days.value(row).saturating_mul(DAY_US))?;
                out.write_str(&text[..10])
            }
            Self::Time { ticks, unit, zoned } => {
                let text = instant(micros(ticks.value(row), *unit)?)?;
                out.write_str(if *zoned { &text } else { text.trim_end_matches('Z') })
            }
            Self::List(..) | Self::Struct(..) => return Err("nested".into()),
        };
        Ok(())
    }
}

/// The shortest text that reads back equal, also for readers that go by way of 64 bits: they round twice.
fn single(value: f32, out: &mut String) -> std::fmt::Result {
    let start = out.len();
    write!(out, "{value:?}")?;
    let twice_rounded = out[start..].parse::<f64>().map_or(value, |wide| wide as f32);
    if value.is_nan() || twice_rounded == value {
        return Ok(());
    }
    out.truncate(start);
    write!(out, "{:?}", f64::from(value))
}

fn micros(ticks: i64, unit: TimeUnit) -> Result<i64, Misfit> {
    let micros = match unit {
        TimeUnit::Second => ticks.checked_mul(1_000_000),
        TimeUnit::Millisecond => ticks.checked_mul(1_000),
        TimeUnit::Microsecond => Some(ticks),
        TimeUnit::Nanosecond => (ticks % 1_000 == 0).then_some(ticks / 1_000),
    };
    micros.ok_or_else(|| "a time that microseconds do not hold".into())
}

/// `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
fn instant(micros: i64) -> Result<String, Misfit> {
    let text = EventTime::from_micros(micros).to_string();
    if text.len() == 27 && text.as_bytes()[0].is_ascii_digit() {
        Ok(text)
    } else {
        Err("a time outside of the years 0000 to 9999".into())
    }
}
