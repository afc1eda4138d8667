//! Small rows, windows and reports that the tests of several modules share.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field};
use mlops_core::profile::{Profile, ProfileOptions, Profiler};
use mlops_core::rank::{Query, RequestId, Served, Slate};
use mlops_core::{EventTime, Name, Schema, Window};

use crate::WindowRule;
use crate::log::{EVENT_TIME, POSITION, PredictionLog, PredictionLogBuilder, REQUEST_ID, SCORE};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn seconds(at: i64) -> EventTime {
    EventTime::from_secs(at)
}

pub(crate) fn span(start: i64, end: i64) -> Window {
    Window::new(seconds(start), seconds(end)).unwrap()
}

/// Windows of ten seconds that are due at once and stay for a minute.
pub(crate) fn tens() -> WindowRule {
    WindowRule::builder(Duration::from_secs(10)).retention(Duration::from_mins(1)).build().unwrap()
}

/// A log of offers with a price, under an objective `click`.
pub(crate) fn log() -> PredictionLogBuilder {
    PredictionLog::builder(name("impressions"), Field::new("offer_id", DataType::Int64, false))
        .objective(name("click"))
        .feature(Field::new("price", DataType::Float64, true))
        .context(Field::new("customer_id", DataType::Int64, true))
}

/// An answer of customer 7 at `at` seconds with `offers`, whose price is ten times and whose score a tenth of their id.
pub(crate) fn served(request: u128, at: i64, offers: &[i64]) -> Arc<Served> {
    let prices = Float64Array::from_iter_values(offers.iter().map(|id| *id as f64 * 10.0));
    let rows = RecordBatch::try_from_iter([
        ("offer_id", Arc::new(Int64Array::from(offers.to_vec())) as ArrayRef),
        ("price", Arc::new(prices)),
    ]);
    let scores: Vec<f64> = offers.iter().map(|id| *id as f64 / 10.0).collect();
    let slate = Slate::new(rows.unwrap()).unwrap().with_objective(name("click"), scores.clone()).unwrap();
    let context = RecordBatch::try_from_iter([("customer_id", Arc::new(Int64Array::from(vec![7])) as ArrayRef)]);
    Arc::new(Served {
        query: Query::new(RequestId(request), seconds(at), context.unwrap(), 10).unwrap(),
        slate,
        scores,
        versions: vec![(name("click"), "7".into())],
        filtered: Vec::new(),
        degraded: Vec::new(),
        took: Duration::from_micros(180),
    })
}

/// The rows of several answers as one batch.
pub(crate) fn rows(answers: &[Arc<Served>]) -> (Schema, RecordBatch) {
    use mlops_core::rank::Observer;
    let log = log().build().unwrap();
    answers.iter().for_each(|served| log.observe(served));
    let batches = log.drain(usize::MAX).unwrap();
    assert_eq!(batches.len(), 1, "few answers are one batch");
    (log.schema().clone(), batches[0].clone())
}

/// A labelled impression: request, seconds, position, score, label.
pub(crate) type Labelled = (&'static str, i64, u32, Option<f64>, Option<f64>);

pub(crate) fn labelled(rows: &[Labelled]) -> RecordBatch {
    let times = rows.iter().map(|row| row.1 * 1_000_000).collect::<Vec<_>>();
    RecordBatch::try_from_iter_with_nullable([
        (REQUEST_ID, Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))) as ArrayRef, true),
        (EVENT_TIME, Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")), true),
        (POSITION, Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.2))), true),
        (SCORE, Arc::new(rows.iter().map(|row| row.3).collect::<Float64Array>()), true),
        ("click", Arc::new(rows.iter().map(|row| row.4).collect::<Float64Array>()), true),
    ])
    .unwrap()
}

pub(crate) fn profile_of(batch: &RecordBatch) -> Profile {
    let mut profiler = Profiler::new(&batch.schema(), &ProfileOptions::default()).unwrap();
    profiler.update(batch).unwrap();
    profiler.finish()
}

pub(crate) fn numbers(column: &str, values: impl IntoIterator<Item = f64>) -> RecordBatch {
    RecordBatch::try_from_iter([(column, Arc::new(Float64Array::from_iter_values(values)) as ArrayRef)]).unwrap()
}
