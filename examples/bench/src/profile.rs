//! Everything that a profile knows about one table of mixed columns.

use std::path::Path;

use mlops_core::profile::{ColumnKind, ProfileOptions, Profiler};
use mlops_core::source::{DataSource, ParquetSource, ScanRequest};
use serde_json::{Map, json};

use crate::Outcome;

/// Profiles `profile.parquet` in `folder`; the checksum is the number of nulls and the sum of the estimates of different values.
pub(crate) fn run(folder: &Path) -> Result<Outcome, Box<dyn std::error::Error>> {
    let source = ParquetSource::open(folder.join("profile.parquet"))?;
    let mut profiler = None;
    for batch in source.scan(&ScanRequest::default())? {
        let batch = batch?;
        let profiler = match &mut profiler {
            Some(profiler) => profiler,
            none => none.insert(Profiler::new(&batch.schema(), &ProfileOptions::default())?),
        };
        profiler.update(&batch)?;
    }
    let profile = profiler.ok_or("the file is empty")?.finish();
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
    Ok(Outcome { rows: profile.rows(), figures })
}
