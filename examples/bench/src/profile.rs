//! Everything that a profile knows about one table of mixed columns, and the same for rows that come one at a time.

use std::path::Path;
use std::time::Instant;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int8Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use mlops_core::EventTime;
use mlops_core::profile::{Cell, ColumnKind, Profile, ProfileOptions, Profiler, RowProfiler};
use mlops_core::source::{DataSource, ParquetSource, ScanRequest};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::usage::Usage;

type Failure = Box<dyn std::error::Error>;

/// Profiles `profile.parquet` in `folder` with all relations and writes the page beside it.
pub(crate) fn run(folder: &Path) -> Result<Outcome, Failure> {
    let source = ParquetSource::open(folder.join("profile.parquet"))?;
    let mut profiler = None;
    for batch in source.scan(&ScanRequest::default())? {
        let batch = batch?;
        let profiler = match &mut profiler {
            Some(profiler) => profiler,
            none => none.insert(Profiler::new(&batch.schema(), &ProfileOptions::report())?),
        };
        profiler.update(&batch)?;
    }
    let profile = profiler.ok_or("the file is empty")?.finish();
    let start = Instant::now();
    let page = profile.to_html("profile.parquet");
    let mut figures = checksum(&profile);
    figures.insert("page_kb".into(), json!(page.len() / 1024));
    figures.insert("page_ms".into(), json!(start.elapsed().as_millis() as u64));
    std::fs::write(folder.join("profile.html"), page)?;
    Ok(Outcome { rows: profile.rows(), figures })
}

/// The same statistics without relations, from rows that are pushed one at a time; `row_ns` is the processor time of a row and
/// leaves the reading of the file out.
pub(crate) fn run_rows(folder: &Path) -> Result<Outcome, Failure> {
    let source = ParquetSource::open(folder.join("profile.parquet"))?;
    let mut rows = None;
    let mut spent_s = 0.0;
    for batch in source.scan(&ScanRequest::default())? {
        let batch = batch?;
        let rows = match &mut rows {
            Some(rows) => rows,
            none => none.insert(RowProfiler::new(&batch.schema(), &ProfileOptions::default())?),
        };
        let cells = cells(&batch)?;
        let start = Usage::now()?;
        cells.iter().try_for_each(|row| rows.push(row))?;
        spent_s += Usage::now()?.since(&start).cpu_s;
    }
    let profile = rows.ok_or("the file is empty")?.finish()?;
    let mut figures = checksum(&profile);
    figures.insert("row_ns".into(), json!(spent_s * 1e9 / profile.rows().max(1) as f64));
    Ok(Outcome { rows: profile.rows(), figures })
}

/// The number of nulls and the sum of the estimates of different values.
fn checksum(profile: &Profile) -> Map<String, Value> {
    let (mut nulls, mut distinct, mut numbers) = (0, 0, 0);
    for column in profile.columns() {
        nulls += column.nulls();
        distinct += column.distinct().map_or(0, |estimate| estimate.value);
        numbers += u64::from(column.kind() == ColumnKind::Number);
    }
    let mut figures = Map::new();
    figures.insert("nulls".into(), json!(nulls));
    figures.insert("distinct".into(), json!(distinct));
    figures.insert("number_columns".into(), json!(numbers));
    figures.insert("profile_kb".into(), json!(profile.to_bytes().len() / 1024));
    figures.insert("copies".into(), json!(profile.relations().map(|relations| relations.duplicates().value)));
    figures
}

/// The cells of `batch`, row by row.
fn cells(batch: &RecordBatch) -> Result<Vec<Vec<Cell<'_>>>, Failure> {
    let mut rows = vec![Vec::with_capacity(batch.num_columns()); batch.num_rows()];
    for array in batch.columns() {
        for (row, cells) in rows.iter_mut().enumerate() {
            cells.push(if array.is_null(row) { Cell::Null } else { cell(array.as_ref(), row)? });
        }
    }
    Ok(rows)
}

fn cell(array: &dyn Array, row: usize) -> Result<Cell<'_>, Failure> {
    Ok(match array.data_type() {
        DataType::Boolean => Cell::Boolean(array.as_boolean().value(row)),
        DataType::Int8 => Cell::Integer(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int32 => Cell::Integer(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Cell::Integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Cell::Number(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Cell::Text(array.as_string_view().value(row)),
        DataType::Date32 => {
            let day = i64::from(array.as_primitive::<Date32Type>().value(row));
            Cell::Time(EventTime::from_micros(day * 86_400_000_000))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Cell::Time(EventTime::from_micros(array.as_primitive::<TimestampMicrosecondType>().value(row)))
        }
        other => return Err(format!("no cell of {other}").into()),
    })
}
