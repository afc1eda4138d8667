//! How fast the service ranks 100 candidates by a gradient-boosted forest: one JSON line for 1 and one for 16 connections.
//!
//! `cargo run --release -p ranking --example load`. Service and load share the process and its two workers.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::Dataset;
use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use mlops_core::arrow::datatypes::{DataType, Field};
use mlops_core::model::Model;
use mlops_core::rank::{ContextColumns, FixedCandidates, ModelScorer, RankPipeline};
use mlops_registry::gbdt::{GbdtParams, Objective};
use mlops_registry::train::{GbdtTrainer, TrainData, Trainer};
use ranking::http::{Load, RankRequest, Service, TokioTimer};

const CANDIDATES: usize = 100;
const ASKED_FOR: usize = 10;
const TREES: u32 = 100;
const TRAINING_ROWS: usize = 20_000;
const OFFER_COLUMNS: [&str; 5] = ["price", "margin", "gigabytes", "minutes", "popularity"];
const CUSTOMER_COLUMNS: [&str; 3] = ["tenure", "balance", "age"];

/// A generator of the numbers in `0.0..1.0`, the same in every run (Knuth's MMIX constants).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn column(&mut self, rows: usize) -> Vec<f64> {
        (0..rows).map(|_| self.next()).collect()
    }
}

fn array(values: Vec<f64>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

/// Clicks that depend on every column, most on price against balance.
fn model(numbers: &mut Numbers) -> Result<Box<dyn Model>, Box<dyn std::error::Error>> {
    let names: Vec<&str> = OFFER_COLUMNS.into_iter().chain(CUSTOMER_COLUMNS).collect();
    let columns: Vec<Vec<f64>> = names.iter().map(|_| numbers.column(TRAINING_ROWS)).collect();
    let clicked = (0..TRAINING_ROWS).map(|row| {
        let value = |column: usize| columns[column][row];
        let taste: f64 = (0..columns.len()).map(|column| value(column) * 0.2).sum();
        f64::from(taste + 2.0 * value(6) - 2.0 * value(0) + numbers.next() > 1.3)
    });
    let clicked = array(clicked.collect());
    let features = names.iter().copied().zip(columns.into_iter().map(array));
    let rows = RecordBatch::try_from_iter(features.chain([("clicked", clicked)]))?;
    let data = TrainData::builder(Dataset::from_batches([rows])?).features(names).label("clicked").build()?;
    let trainer = GbdtTrainer::new(GbdtParams::builder(Objective::Binary).rounds(TREES).build()?);
    Ok(trainer.train(&data, &mut |_| ControlFlow::Continue(()))?.model)
}

fn pipeline(numbers: &mut Numbers) -> Result<RankPipeline, Box<dyn std::error::Error>> {
    let model = model(numbers)?;
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..CANDIDATES as i64));
    let columns = OFFER_COLUMNS.map(|name| (name, array(numbers.column(CANDIDATES))));
    let offers = RecordBatch::try_from_iter([("offer", keys)].into_iter().chain(columns))?;
    let customer = CUSTOMER_COLUMNS.map(|name| Field::new(name, DataType::Float64, true));
    Ok(RankPipeline::builder("offers")
        .source(Arc::new(FixedCandidates::new("all", offers)?), CANDIDATES)
        .hydrator(Arc::new(ContextColumns::new("customer", customer)?))
        .scorer(Arc::new(ModelScorer::new("click", Arc::from(model), "1")?), 1.0)
        .timer(Arc::new(TokioTimer::default()))
        .deadline(Duration::from_millis(100))
        .build()?)
}

async fn measure(pipeline: RankPipeline, requests: Vec<RankRequest>) -> Result<(), Box<dyn std::error::Error>> {
    let pipeline = Arc::new(pipeline);
    let context = CUSTOMER_COLUMNS.map(|name| Field::new(name, DataType::Float64, false));
    let running = Service::builder(pipeline.clone()).context(context).build()?.serve().await?;
    for connections in [1, 16] {
        let load = Load::builder().connections(connections).warm_up(Duration::from_secs(1));
        let report = load.duration(Duration::from_secs(5)).build()?.run(running.addr(), &requests).await?;
        println!("{}", serde_json::to_string(&report)?);
    }
    let whole = &pipeline.counters()[0];
    eprintln!("in the pipeline: {:.1} us a request", whole.nanos as f64 / whole.calls as f64 / 1e3);
    running.shutdown().await;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = Numbers(7);
    let pipeline = pipeline(&mut numbers)?;
    let request = |_| {
        let request = RankRequest::new(ASKED_FOR);
        CUSTOMER_COLUMNS.iter().fold(request, |request, column| request.context(*column, numbers.next()))
    };
    let requests = (0..1_000).map(request).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(pipeline, requests))
}
