//! Point-in-time join of one entity table with three feature views.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;
use mlops_core::Dataset;
use mlops_core::source::ParquetSource;
use mlops_features::offline::{AsOfOptions, as_of_join};
use mlops_features::{Entity, FeatureView, KeyType, ValueType, ViewJoin};
use serde_json::{Map, json};

use crate::Outcome;

/// Name, number of features and ttl in seconds of each view, as the generator writes them.
const VIEWS: [(&str, usize, u64); 3] = [("fv_a", 8, 7 * 86_400), ("fv_b", 8, 86_400), ("fv_c", 4, 30 * 86_400)];

fn table(folder: &Path, name: &str) -> mlops_core::Result<Dataset> {
    Dataset::from_source(Arc::new(ParquetSource::open(folder.join(format!("{name}.parquet")))?))
}

fn view(name: &str, features: usize, ttl_s: u64) -> mlops_features::Result<FeatureView> {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build()?;
    let view = FeatureView::builder(name, user).created("created").ttl(Duration::from_secs(ttl_s));
    (0..features).fold(view, |view, i| view.feature(format!("{name}_f{i}"), ValueType::Float64)).build()
}

/// Joins the files in `folder`, in at most `memory_mb` MiB where that is said; the checksum is the number and the sum of
/// all features that are not null.
pub(crate) fn run(folder: &Path, memory_mb: Option<u64>) -> Result<Outcome, Box<dyn std::error::Error>> {
    let mut joins = Vec::new();
    for (name, features, ttl_s) in VIEWS {
        joins.push((ViewJoin::new(&view(name, features, ttl_s)?), table(folder, name)?));
    }
    let options = memory_mb.map_or_else(AsOfOptions::new, |mb| AsOfOptions::new().memory_bytes(mb << 20));
    let joined = as_of_join(&table(folder, "entity")?, &joins, &options)?;
    drop(joins);
    let (mut rows, mut nonnull, mut sum) = (0, 0_usize, 0.0);
    for batch in joined.dataset.batches()? {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if field.name().starts_with("fv_") {
                let values = column.as_primitive::<Float64Type>();
                nonnull += values.len() - values.null_count();
                sum += values.iter().flatten().sum::<f64>();
            }
        }
    }
    let mut figures = Map::new();
    figures.insert("nonnull".into(), json!(nonnull));
    figures.insert("sum".into(), json!((sum * 1_000.0).round() / 1_000.0));
    let matched: u64 = joined.reports.iter().map(|report| report.matched).sum();
    figures.insert("matched".into(), json!(matched));
    figures.insert("held".into(), json!(joined.dataset.is_held()));
    Ok(Outcome { rows, figures })
}
