//! Personal data of every kind in one text, line by line, and in one column of texts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mlops_core::privacy::{Detector, Kind};
use mlops_core::source::{DataSource, ParquetSource, ScanRequest};
use serde_json::{Map, json};

use crate::Outcome;
use crate::usage::Usage;

/// Year in which birth years are judged.
const TODAY: i32 = 2_026;

/// Reads `pii_text.txt` and the first column of `pii_col.parquet` in `folder`; the checksum is what was found per kind.
pub(crate) fn run(folder: &Path) -> Result<Outcome, Box<dyn std::error::Error>> {
    let detector = Detector::builder().today(TODAY).build()?;
    let mut figures = Map::new();

    let text = std::fs::read_to_string(folder.join("pii_text.txt"))?;
    let start = Usage::now()?;
    let mut found: BTreeMap<Kind, u64> = BTreeMap::new();
    for line in text.lines() {
        for finding in detector.detect(line) {
            *found.entry(finding.kind).or_default() += 1;
        }
    }
    let used = Usage::now()?.since(&start);
    figures.insert("text_mb".into(), json!(text.len() as f64 / 1e6));
    figures.insert("text_cpu_s".into(), json!(used.cpu_s));
    figures.insert("text_mb_per_cpu_s".into(), json!(text.len() as f64 / 1e6 / used.cpu_s));
    figures.insert("text_found".into(), json!(found));

    let source = ParquetSource::open(folder.join("pii_col.parquet"))?;
    let batches = source.scan(&ScanRequest::all())?.collect::<Result<Vec<_>, _>>()?;
    let start = Usage::now()?;
    let (mut rows, mut holding): (u64, BTreeMap<Kind, u64>) = (0, BTreeMap::new());
    for batch in &batches {
        let values = Arc::clone(batch.column(0));
        let survey = detector.survey_column("text", &values, None)?;
        survey.holding.into_iter().for_each(|(kind, count)| *holding.entry(kind).or_default() += count);
        rows += values.len() as u64;
    }
    let used = Usage::now()?.since(&start);
    figures.insert("column_cpu_s".into(), json!(used.cpu_s));
    figures.insert("column_rows_per_cpu_s".into(), json!((rows as f64 / used.cpu_s).round()));
    figures.insert("column_holding".into(), json!(holding));
    Ok(Outcome { rows, figures })
}
