//! Feature vectors as JSON, written column by column without a value in between.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mlops_core::EventTime;
use serde::Serialize;

use crate::error::{Core, Result};
use crate::serve::{FeatureVectors, ServingPlan, Status};

/// The event time of what has none.
const NEVER: &str = "\"1970-01-01T00:00:00Z\"";

/// `entities` and `vectors` as Feast answers them: metadata, then one result per column, keys first. Features have names with
/// their views where `full_names` says by which plan.
pub(super) fn json(
    entities: &RecordBatch,
    vectors: &FeatureVectors,
    full_names: Option<&ServingPlan>,
    now: EventTime,
) -> Result<Vec<u8>> {
    let rows = vectors.rows();
    let columns = vectors.columns().len() + entities.num_columns();
    let mut out = Vec::with_capacity(128 + columns * (64 + rows * 48));
    out.extend_from_slice(b"{\"metadata\":{\"feature_names\":");
    let keys = entities.schema();
    let keys = keys.fields().iter().map(|field| field.name().clone());
    let features = names(vectors, full_names);
    put(&mut out, &keys.chain(features).collect::<Vec<_>>())?;
    out.extend_from_slice(b"},\"results\":[");
    for (at, column) in entities.columns().iter().enumerate() {
        begin(&mut out, at, column)?;
        list(&mut out, rows, |out, row| {
            let text: &[u8] = if column.is_null(row) { b"\"NULL_VALUE\"" } else { b"\"PRESENT\"" };
            out.extend_from_slice(text);
            Ok(())
        })?;
        out.extend_from_slice(b",\"event_timestamps\":");
        list(&mut out, rows, |out, _| {
            out.extend_from_slice(NEVER.as_bytes());
            Ok(())
        })?;
        out.push(b'}');
    }
    let mut times = Times(vec![(i64::MIN, String::new()); rows]);
    for (at, column) in vectors.columns().iter().enumerate() {
        begin(&mut out, entities.num_columns() + at, column)?;
        let statuses = vectors.statuses(at);
        list(&mut out, rows, |out, row| {
            out.extend_from_slice(word(statuses[row]));
            Ok(())
        })?;
        out.extend_from_slice(b",\"event_timestamps\":");
        list(&mut out, rows, |out, row| {
            match vectors.age_us(at, row) {
                Some(age) => out.extend_from_slice(times.text(row, now.as_micros().saturating_sub(age)).as_bytes()),
                None => out.extend_from_slice(NEVER.as_bytes()),
            }
            Ok(())
        })?;
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

/// The event time that was written last for each entity, and its text: features of one view have the same.
struct Times(Vec<(i64, String)>);

impl Times {
    fn text(&mut self, row: usize, micros: i64) -> &str {
        let (known, text) = &mut self.0[row];
        if *known != micros || text.is_empty() {
            (*known, *text) = (micros, instant(micros));
        }
        text
    }
}

/// Names of the columns of `vectors`.
fn names(vectors: &FeatureVectors, full_names: Option<&ServingPlan>) -> Vec<String> {
    let short = || vectors.schema().fields().iter().map(|field| field.name().clone()).collect();
    let Some(plan) = full_names else { return short() };
    plan.full_names().unwrap_or_else(short)
}

fn begin(out: &mut Vec<u8>, at: usize, column: &ArrayRef) -> Result<()> {
    if at > 0 {
        out.push(b',');
    }
    out.extend_from_slice(b"{\"values\":");
    values(out, column)?;
    out.extend_from_slice(b",\"statuses\":");
    Ok(())
}

fn word(status: Status) -> &'static [u8] {
    match status {
        Status::Present => b"\"PRESENT\"",
        Status::NullValue => b"\"NULL_VALUE\"",
        Status::NotFound => b"\"NOT_FOUND\"",
        Status::OutsideMaxAge => b"\"OUTSIDE_MAX_AGE\"",
    }
}

/// `[…]` with what `one` writes for each of `count`.
fn list(out: &mut Vec<u8>, count: usize, mut one: impl FnMut(&mut Vec<u8>, usize) -> Result<()>) -> Result<()> {
    out.push(b'[');
    for at in 0..count {
        if at > 0 {
            out.push(b',');
        }
        one(out, at)?;
    }
    out.push(b']');
    Ok(())
}

fn put(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) -> Result<()> {
    Ok(serde_json::to_writer(out, value).map_err(|e| Core::invalid_data("answer", e))?)
}

/// All values of `column`, null where they are.
fn values(out: &mut Vec<u8>, column: &ArrayRef) -> Result<()> {
    let nulls = column.logical_nulls();
    let each = |out: &mut Vec<u8>, one: &mut dyn FnMut(&mut Vec<u8>, usize) -> Result<()>| {
        list(out, column.len(), |out, row| match &nulls {
            Some(nulls) if nulls.is_null(row) => {
                out.extend_from_slice(b"null");
                Ok(())
            }
            _ => one(out, row),
        })
    };
    match column.data_type() {
        DataType::Boolean => each(out, &mut |out, row| put(out, &column.as_boolean().value(row))),
        DataType::Int32 => each(out, &mut |out, row| put(out, &column.as_primitive::<Int32Type>().value(row))),
        DataType::Int64 => each(out, &mut |out, row| put(out, &column.as_primitive::<Int64Type>().value(row))),
        DataType::Float32 => each(out, &mut |out, row| real32(out, column.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => each(out, &mut |out, row| real(out, column.as_primitive::<Float64Type>().value(row))),
        DataType::Utf8 => each(out, &mut |out, row| put(out, column.as_string::<i32>().value(row))),
        DataType::Binary => each(out, &mut |out, row| put(out, &STANDARD.encode(column.as_binary::<i32>().value(row)))),
        DataType::Timestamp(..) => each(out, &mut |out, row| {
            out.extend_from_slice(instant(column.as_primitive::<TimestampMicrosecondType>().value(row)).as_bytes());
            Ok(())
        }),
        DataType::List(_) => each(out, &mut |out, row| values(out, &column.as_list::<i32>().value(row))),
        DataType::FixedSizeList(..) => each(out, &mut |out, row| values(out, &column.as_fixed_size_list().value(row))),
        other => Err(Core::schema("answer", "a type that features have", other).into()),
    }
}

fn real(out: &mut Vec<u8>, value: f64) -> Result<()> {
    if value.is_finite() { put(out, &value) } else { put(out, not_finite(value)) }
}

/// As [`real`], in as many digits as single precision needs.
fn real32(out: &mut Vec<u8>, value: f32) -> Result<()> {
    if value.is_finite() { put(out, &value) } else { put(out, not_finite(f64::from(value))) }
}

fn not_finite(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

/// RFC 3339 in seconds, with microseconds where there are some, in quotes.
fn instant(micros: i64) -> String {
    let text = EventTime::from_micros(micros).to_string();
    match text.strip_suffix(".000000Z") {
        Some(whole) => format!("\"{whole}Z\""),
        None => format!("\"{text}\""),
    }
}
