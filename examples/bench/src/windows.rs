//! Sum, count and mean over three sliding windows, per entity row.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use mlops_core::Dataset;
use mlops_core::source::{DataSource, ParquetSource, ScanRequest};
use mlops_features::offline::AsOfOptions;
use mlops_features::window::{Op, TimeWindow, WindowJoin, WindowView, window_join};
use mlops_features::{Entity, KeyType, ValueType};
use serde_json::{Map, json};

use crate::Outcome;

/// The name that the peers give each window, and its hours.
const WINDOWS: [(&str, u64); 3] = [("1h", 1), ("24h", 24), ("7d", 7 * 24)];

fn view() -> mlops_features::Result<WindowView> {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build()?;
    let mut view = WindowView::builder("fv_a", user).column("fv_a_f0", ValueType::Float64);
    for (name, hours) in WINDOWS {
        let window = TimeWindow::exact(Duration::from_secs(hours * 3_600));
        for (letter, op) in [("s", Op::Sum), ("c", Op::Count), ("m", Op::Mean)] {
            view = view.named(format!("{letter}{name}"), "fv_a_f0", op, window);
        }
    }
    view.build()
}

/// Aggregates `fv_a.parquet` of `folder` at the rows of `entity.parquet`; the checksum is the sum of all counts and all sums of each
/// window.
pub(crate) fn run(folder: &Path) -> Result<Outcome, Box<dyn std::error::Error>> {
    let entity = ParquetSource::open(folder.join("entity.parquet"))?;
    let entity = entity.scan(&ScanRequest::all().columns(["user_id", "event_timestamp", "row_id"]))?;
    let events = Dataset::from_source(Arc::new(ParquetSource::open(folder.join("fv_a.parquet"))?))?;
    let set = window_join(&Dataset::collect(entity)?, &[(WindowJoin::new(&view()?), events)], &AsOfOptions::new())?;
    let (mut counts, mut sums) = ([0_i64; 3], [0.0; 3]);
    let mut rows = 0;
    for batch in set.dataset.batches()? {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        for (at, (name, _)) in WINDOWS.iter().enumerate() {
            let column = |letter: &str| batch.column_by_name(&format!("{letter}{name}")).ok_or("no such column");
            counts[at] += column("c")?.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
            sums[at] += column("s")?.as_primitive::<Float64Type>().iter().flatten().sum::<f64>();
        }
    }
    let told = |value: &dyn Fn(usize) -> serde_json::Value| {
        WINDOWS.iter().enumerate().map(|(at, (name, _))| ((*name).to_owned(), value(at))).collect::<Map<_, _>>()
    };
    let mut figures = Map::new();
    figures.insert("counts".into(), told(&|at| json!(counts[at])).into());
    figures.insert("sums".into(), told(&|at| json!((sums[at] * 100.0).round() / 100.0)).into());
    figures.insert("matched".into(), json!(set.reports[0].matched));
    Ok(Outcome { rows, figures })
}
