//! What monitoring costs per served request: the hand-over on the request path, and everything behind it.
//!
//! `cargo bench -p mlops-monitor --bench log`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use mlops_core::arrow::datatypes::{DataType, Field};
use mlops_core::rank::{Observer, Query, RequestId, Served, Slate};
use mlops_core::{EventTime, Name};
use mlops_monitor::log::{LabelJoin, LabelRule, PredictionLog};
use mlops_monitor::{WindowRule, Windows};

const CANDIDATES: i64 = 100;
const FEATURES: usize = 10;
/// Requests of one drain.
const REQUESTS: u128 = 64;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn log() -> PredictionLog {
    let key = Field::new("offer_id", DataType::Int64, false);
    let builder = PredictionLog::builder(name("impressions"), key).objective(name("click")).requests_max(1 << 20);
    let builder = builder.rows_max(1 << 30);
    (0..FEATURES).fold(builder, |b, i| b.feature(Field::new(format!("f{i}"), DataType::Float64, true))).build().unwrap()
}

/// An answer of a hundred candidates with ten features.
fn served(request: u128) -> Arc<Served> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..CANDIDATES));
    let feature = |i: usize| -> ArrayRef {
        let value = move |id: i64| ((id + request as i64) * 7919 % (101 + i as i64)) as f64 / 7.0;
        Arc::new(Float64Array::from_iter_values((0..CANDIDATES).map(value)))
    };
    let columns = [("offer_id".to_owned(), ids)];
    let columns = columns.into_iter().chain((0..FEATURES).map(|i| (format!("f{i}"), feature(i))));
    let scores: Vec<f64> = (0..CANDIDATES).map(|id| 1.0 - id as f64 / 100.0).collect();
    let slate = Slate::new(RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    let context: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let context = RecordBatch::try_from_iter([("customer_id", context)]).unwrap();
    Arc::new(Served {
        query: Query::new(RequestId(request), EventTime::from_secs(60), context, 100).unwrap(),
        slate: slate.with_objective(name("click"), scores.clone()).unwrap(),
        scores,
        versions: vec![(name("click"), "7".into())],
        filtered: Vec::new(),
        degraded: Vec::new(),
        took: Duration::from_micros(180),
    })
}

fn answers() -> Vec<Arc<Served>> {
    (0..REQUESTS).map(served).collect()
}

/// The only part that the request waits for.
fn observe(criterion: &mut Criterion) {
    let answer = served(1);
    criterion.bench_function("observe one request", |bencher| {
        let log = log();
        let mut seen: u32 = 0;
        bencher.iter(|| {
            log.observe(black_box(&answer));
            seen += 1;
            // Emptied now and then without making rows, so that it never is full.
            if seen == 500_000 {
                seen = 0;
                let _ = log.drain_into(&Nowhere, usize::MAX);
            }
        });
    });
}

/// Takes everything and keeps nothing.
#[derive(Debug)]
struct Nowhere;

impl mlops_core::source::DataSink for Nowhere {
    fn begin(&self, _: &mlops_core::Schema) -> mlops_core::Result<Box<dyn mlops_core::source::SinkWriter>> {
        Ok(Box::new(Self))
    }
}

impl mlops_core::source::SinkWriter for Nowhere {
    fn write(&mut self, _: &RecordBatch) -> mlops_core::Result<()> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> mlops_core::Result<mlops_core::source::Written> {
        Ok(mlops_core::source::Written { rows: 0, size_bytes: 0 })
    }
}

/// What the host's own thread does behind it, for 64 requests of 100 candidates with 10 features.
fn behind(criterion: &mut Criterion) {
    let answers = answers();
    let filled = || {
        let log = log();
        answers.iter().for_each(|served| log.observe(served));
        log
    };
    criterion.bench_function("drain 64 requests", |bencher| {
        bencher.iter_batched(filled, |log| log.drain(usize::MAX).unwrap(), BatchSize::LargeInput);
    });
    let log = filled();
    let batches = log.drain(usize::MAX).unwrap();
    let now = EventTime::from_secs(61);
    let rule = WindowRule::builder(Duration::from_hours(1)).build().unwrap();
    criterion.bench_function("window update of 64 requests", |bencher| {
        let mut windows = Windows::builder(log.schema(), rule).build().unwrap();
        bencher.iter(|| batches.iter().for_each(|batch| windows.update(black_box(batch), now).unwrap()));
    });
    criterion.bench_function("join and mature 64 requests", |bencher| {
        let join = || {
            let rule = LabelRule::new(name("clicked"), Duration::from_mins(30));
            LabelJoin::builder(log.schema(), "offer_id").label(rule).build().unwrap()
        };
        bencher.iter_batched(
            join,
            |mut join| {
                batches.iter().for_each(|batch| join.impressions(batch, now).unwrap());
                join.advance(now.plus(Duration::from_hours(1))).unwrap()
            },
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, observe, behind);
criterion_main!(benches);
