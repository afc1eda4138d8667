//! Twelve cleaning steps on one table: fitted, then applied.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use mlops_core::Dataset;
use mlops_core::clean::{
    Action, Bin, Bins, Cast, CastTo, Chain, DatePart, Dates, Dedup, Distribution, Encode, Encoding, Fence, Impute,
    Method, Outliers, Scale, Select, Smooth, Strategy, Text, TextPart,
};
use mlops_core::source::ParquetSource;
use serde_json::{Map, json};

use crate::Outcome;

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| format!("n{i}")).collect()
}

fn chain() -> mlops_core::Result<Chain> {
    let one_hot = Encoding::OneHot { drop_first: false };
    let target = Encoding::Target { smooth: Smooth::Auto };
    let quantile = Method::Quantile { quantiles: 1000, output: Distribution::Uniform };
    let filled = [numbers(0..16), vec!["amount".to_owned()]].concat();
    let dates = Dates::builder("at").part(DatePart::Hour).part(DatePart::Weekday).part(DatePart::HourCycle);
    let scale = Scale::builder().standard(numbers(0..8)).robust(numbers(8..12)).method(numbers(12..16), quantile);
    Chain::builder()
        .then(Dedup::builder().keys("id").build()?)
        .then(Cast::builder().column("amount", CastTo::Float).build()?)
        .then(Select::builder().drop_constant(true).build()?)
        .then(Outliers::builder().fence(numbers(0..8), Fence::iqr(), Action::Clip).build()?)
        .then(Impute::builder().fill(filled, Strategy::Median).build()?)
        .then(Impute::builder().fill(["c0", "c1", "c2"], Strategy::MostFrequent).build()?)
        .then(dates.drop_source(true).build()?)
        .then(Text::builder("note").part(TextPart::Chars).part(TextPart::Words).build()?)
        .then(Encode::builder().column(["c0", "c1", "c2"], one_hot).build()?)
        .then(Encode::builder().column("city", target).label("churned").build()?)
        .then(Bin::builder().column(["k0", "k1", "k2", "k3"], Bins::Quantile(10)).build()?)
        .then(scale.build()?)
        .build()
}

/// What the peers' side must come to as well.
#[derive(Default)]
struct Sums {
    rows: u64,
    columns: usize,
    /// Of what is counted: categories, hours, characters.
    whole: i64,
    /// Of target-encoded cities.
    city: f64,
    /// Of the absolute values of all scaled columns.
    scaled: f64,
}

impl Sums {
    fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        self.columns = batch.num_columns();
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let name = field.name();
            let is_scaled = name.starts_with('n') && name[1..].parse::<u32>().is_ok();
            match column.data_type() {
                DataType::Boolean => self.whole += column.as_boolean().true_count() as i64,
                DataType::Int64 if name == "at_hour" || name.starts_with("note_") => {
                    self.whole += column.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
                }
                DataType::Float64 if name == "city" => {
                    self.city += column.as_primitive::<Float64Type>().values().iter().sum::<f64>();
                }
                DataType::Float64 if is_scaled => {
                    let values = column.as_primitive::<Float64Type>().values();
                    self.scaled += values.iter().map(|x| x.abs()).sum::<f64>();
                }
                _ => {}
            }
        }
    }
}

/// Fits the chain on `clean.parquet` in `folder` and takes all of its rows through.
pub(crate) fn run(folder: &Path) -> Result<Outcome, Box<dyn std::error::Error>> {
    let data = Dataset::from_source(Arc::new(ParquetSource::open(folder.join("clean.parquet"))?))?;
    let (_, rows) = chain()?.fit_apply(&data)?;
    let mut sums = Sums::default();
    for batch in rows.batches()? {
        sums.add(&batch?);
    }
    let mut figures = Map::new();
    figures.insert("columns".into(), json!(sums.columns));
    figures.insert("whole".into(), json!(sums.whole));
    figures.insert("city".into(), json!((sums.city * 10.0).round() / 10.0));
    figures.insert("scaled".into(), json!(sums.scaled.round()));
    Ok(Outcome { rows: sums.rows, figures })
}
