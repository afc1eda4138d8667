//! Predicates of a scan as polars expressions.
//!
//! The two libraries disagree on floats: Arrow orders `-0.0` below `0.0` and negative NaNs below everything, polars has
//! one zero and one NaN above everything. Where that could matter the expression lets a few rows too many through, and
//! the caller applies the predicate itself to what comes out.

use arrow::datatypes::{DataType, TimeUnit};
use polars::prelude::{self as pl, Expr, col, lit};

use crate::source::{Comparison, Predicate, Scalar, is_text};

/// A predicate inside of a polars plan.
pub(super) struct Pushed {
    /// True for every row for which the predicate is.
    pub(super) expr: Expr,
    /// Whether it is true for no other row.
    pub(super) is_exact: bool,
}

fn exact(expr: Expr) -> Pushed {
    Pushed { expr, is_exact: true }
}

fn wider(expr: Expr) -> Pushed {
    Pushed { expr, is_exact: false }
}

/// `predicate` on a column of Arrow type `data_type`; `None` when polars cannot express it.
pub(super) fn push(predicate: &Predicate, data_type: &DataType) -> Option<Pushed> {
    let column = col(predicate.column());
    match predicate {
        Predicate::IsNull { .. } => Some(exact(column.is_null())),
        Predicate::IsNotNull { .. } => Some(exact(column.is_not_null())),
        Predicate::Compare { comparison, value, .. } => match value {
            Scalar::Bool(value) => {
                (*data_type == DataType::Boolean).then(|| exact(compare(column, *comparison, lit(*value))))
            }
            Scalar::Int(value) if data_type.is_integer() => integer(column, *comparison, *value, data_type),
            Scalar::Int(value) => float(column, *comparison, *value as f64, data_type),
            Scalar::Float(value) => float(column, *comparison, *value, data_type),
            Scalar::Text(value) => text(column, *comparison, value, data_type),
            Scalar::Time(value) => time(column, *comparison, value.as_micros(), data_type),
        },
    }
}

fn text(column: Expr, comparison: Comparison, value: &str, data_type: &DataType) -> Option<Pushed> {
    let column = match data_type {
        DataType::Utf8View => column,
        // Categories are ordered by their text, as Arrow orders them, only when they are text.
        encoded if is_text(encoded) => column.cast(pl::DataType::String),
        _ => return None,
    };
    Some(exact(compare(column, comparison, lit(value))))
}

fn compare(left: Expr, comparison: Comparison, right: Expr) -> Expr {
    match comparison {
        Comparison::Eq => left.eq(right),
        Comparison::NotEq => left.neq(right),
        Comparison::Lt => left.lt(right),
        Comparison::LtEq => left.lt_eq(right),
        Comparison::Gt => left.gt(right),
        Comparison::GtEq => left.gt_eq(right),
    }
}

/// The literal takes the column's type, not the other way round, so that statistics of files can be used.
fn integer(column: Expr, comparison: Comparison, value: i64, data_type: &DataType) -> Option<Pushed> {
    let (fits, polars_type) = match data_type {
        DataType::Int8 => (i8::try_from(value).is_ok(), pl::DataType::Int8),
        DataType::Int16 => (i16::try_from(value).is_ok(), pl::DataType::Int16),
        DataType::Int32 => (i32::try_from(value).is_ok(), pl::DataType::Int32),
        DataType::Int64 => (true, pl::DataType::Int64),
        DataType::UInt8 => (u8::try_from(value).is_ok(), pl::DataType::UInt8),
        DataType::UInt16 => (u16::try_from(value).is_ok(), pl::DataType::UInt16),
        DataType::UInt32 => (u32::try_from(value).is_ok(), pl::DataType::UInt32),
        DataType::UInt64 => (u64::try_from(value).is_ok(), pl::DataType::UInt64),
        _ => return None,
    };
    if !fits {
        return None;
    }
    let expr = compare(column, comparison, lit(value).cast(polars_type));
    // Arrow compares as `Int64` and leaves out what lies above it.
    Some(if *data_type == DataType::UInt64 { wider(expr) } else { exact(expr) })
}

fn float(column: Expr, comparison: Comparison, value: f64, data_type: &DataType) -> Option<Pushed> {
    if !data_type.is_integer() && !matches!(data_type, DataType::Float32 | DataType::Float64) {
        return None;
    }
    let column = column.cast(pl::DataType::Float64);
    if value.is_nan() {
        return Some(wider(column.is_not_null()));
    }
    let with = |comparison| compare(column.clone(), comparison, lit(value));
    let expr = match comparison {
        Comparison::NotEq if value == 0.0 => column.is_not_null(),
        Comparison::Eq | Comparison::NotEq => with(comparison),
        Comparison::Gt | Comparison::GtEq => with(Comparison::GtEq),
        Comparison::Lt | Comparison::LtEq => with(Comparison::LtEq).or(column.clone().is_nan()),
    };
    Some(wider(expr))
}

fn time(column: Expr, comparison: Comparison, micros: i64, data_type: &DataType) -> Option<Pushed> {
    let (column, zone) = match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => (column, zone.as_deref()),
        DataType::Date32 => (column.cast(pl::DataType::Datetime(pl::TimeUnit::Microseconds, None)), None),
        // Arrow divides or multiplies to µs first; the rounding of polars is not looked into.
        _ => return None,
    };
    let zone = pl::TimeZone::opt_try_new(zone).ok()?;
    let instant = lit(micros).cast(pl::DataType::Datetime(pl::TimeUnit::Microseconds, zone));
    Some(exact(compare(column, comparison, instant)))
}
