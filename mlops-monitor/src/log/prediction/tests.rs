use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use mlops_core::rank::{Query, RequestId, Slate};
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::source::{MemorySink, SinkWriter};
use proptest::prelude::*;

use super::*;
use crate::log::{DEGRADED, EVENT_TIME, POSITION, REQUEST_ID, SCORE, TOOK_US, score_column, version_column};
use crate::samples::{log, name, served};

fn observe(log: &PredictionLog, answers: impl IntoIterator<Item = Arc<Served>>) {
    answers.into_iter().for_each(|served| log.observe(&served));
}

fn numbers(batch: &RecordBatch, column: &str) -> Vec<Option<f64>> {
    batch.column_by_name(column).unwrap().as_primitive::<Float64Type>().iter().collect()
}

fn integers(batch: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().iter().collect()
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    batch.column_by_name(column).unwrap().as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect()
}

/// An answer of these candidates, which have no other column than their key.
fn answer(key: ArrayRef, scores: Vec<f64>) -> Served {
    let slate = Slate::new(RecordBatch::try_from_iter([("offer_id", key)]).unwrap()).unwrap();
    Served { slate, scores, ..Served::clone(&served(5, 1, &[])) }
}

#[test]
fn one_row_per_candidate_best_first() {
    let log = log().build().unwrap();
    let mut late = Served::clone(&served(2, 61, &[9]));
    late.degraded = vec![name("stock"), name("price")];
    late.versions = vec![];
    observe(&log, [served(1, 60, &[3, 1]), Arc::new(late)]);
    let batches = log.drain(10).unwrap();
    assert_eq!(batches.len(), 1);
    let batch = &batches[0];
    assert_eq!(batch.schema_ref(), log.schema().arrow());
    let (one, two) = (format!("{:032x}", 1), format!("{:032x}", 2));
    assert_eq!(texts(batch, REQUEST_ID), [Some(one.clone()), Some(one), Some(two)]);
    let times = batch.column_by_name(EVENT_TIME).unwrap().as_primitive::<TimestampMicrosecondType>().values().to_vec();
    assert_eq!(times, [60_000_000, 60_000_000, 61_000_000]);
    assert_eq!(integers(batch, "offer_id"), [Some(3), Some(1), Some(9)]);
    assert_eq!(batch.column_by_name(POSITION).unwrap().as_primitive::<UInt32Type>().values(), &[0, 1, 0]);
    assert_eq!(numbers(batch, SCORE), [Some(0.3), Some(0.1), Some(0.9)]);
    assert_eq!(numbers(batch, &score_column("click")), [Some(0.3), Some(0.1), Some(0.9)]);
    assert_eq!(texts(batch, &version_column("click")), [Some("7".to_owned()), Some("7".to_owned()), None]);
    assert_eq!(integers(batch, TOOK_US), [Some(180); 3]);
    assert_eq!(texts(batch, DEGRADED), [None, None, Some("stock,price".to_owned())]);
    assert_eq!(numbers(batch, "price"), [Some(30.0), Some(10.0), Some(90.0)]);
    assert_eq!(integers(batch, "customer_id"), [Some(7); 3]);
    let schema = log.schema();
    assert_eq!(schema.with(Role::Key), [REQUEST_ID, "offer_id"]);
    assert_eq!((schema.with(Role::EventTime), schema.with(Role::Feature)), (vec![EVENT_TIME], vec!["price"]));
}

#[test]
fn scores_that_are_no_numbers_stay_what_they_are() {
    let log = log().build().unwrap();
    let scores = vec![f64::NAN, f64::INFINITY];
    observe(&log, [Arc::new(answer(Arc::new(Int64Array::from(vec![1, 2])), scores))]);
    let batch = &log.drain(1).unwrap()[0];
    let scores = numbers(batch, SCORE);
    assert!(scores[0].unwrap().is_nan() && scores[1] == Some(f64::INFINITY));
    assert_eq!(numbers(batch, &score_column("click")), [None, None], "an objective that was not scored is null");
}

#[test]
fn columns_that_do_not_fit_are_null_and_counted() {
    let log = log().build().unwrap();
    // No price at all, one in another type, one that widens.
    let with = |price: ArrayRef| {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let rows = RecordBatch::try_from_iter([("offer_id", ids), ("price", price)]).unwrap();
        Arc::new(Served { slate: Slate::new(rows).unwrap(), scores: vec![0.5], ..Served::clone(&served(6, 1, &[])) })
    };
    observe(
        &log,
        [
            Arc::new(answer(Arc::new(Int64Array::from(vec![1])), vec![0.5])),
            with(Arc::new(StringArray::from(vec!["9.5"]))),
            with(Arc::new(Int64Array::from(vec![9]))),
        ],
    );
    let batch = &log.drain(10).unwrap()[0];
    assert_eq!(numbers(batch, "price"), [None, None, Some(9.0)]);
    assert_eq!((log.counters().unfit_columns, log.counters().rows), (2, 3));
}

#[test]
fn answers_that_cannot_become_rows_are_refused_and_counted() {
    let log = log().build().unwrap();
    observe(
        &log,
        [
            Arc::new(answer(Arc::new(StringArray::from(vec!["one"])), vec![0.5])),
            // Beyond 63 bits there is no loss-free widening.
            Arc::new(answer(Arc::new(UInt64Array::from(vec![1])), vec![0.5])),
            Arc::new(answer(Arc::new(Int64Array::from(vec![1, 2])), vec![0.5])),
            served(1, 60, &[4]),
            served(2, 60, &[]),
        ],
    );
    let batches = log.drain(10).unwrap();
    assert_eq!(integers(&batches[0], "offer_id"), [Some(4)]);
    let counters = log.counters();
    assert_eq!((counters.refused, counters.drained, counters.rows), (3, 2, 1));
}

#[test]
fn a_full_queue_drops_the_newest_and_says_so() {
    let by_requests = log().requests_max(2).build().unwrap();
    observe(&by_requests, (1..=5).map(|request| served(request, 60, &[request as i64])));
    assert_eq!((by_requests.counters().dropped, by_requests.counters().waiting), (3, 2));
    assert_eq!(integers(&by_requests.drain(10).unwrap()[0], "offer_id"), [Some(1), Some(2)]);
    let by_rows = log().rows_max(3).build().unwrap();
    observe(&by_rows, [served(1, 60, &[1, 2]), served(2, 60, &[3, 4]), served(3, 60, &[5]), served(4, 60, &[1; 4])]);
    assert_eq!((by_rows.counters().dropped, by_rows.counters().waiting), (2, 2));
    assert_eq!(integers(&by_rows.drain(10).unwrap()[0], "offer_id"), [Some(1), Some(2), Some(5)]);
    observe(&by_rows, [served(5, 60, &[1, 2, 3])]);
    assert_eq!(by_rows.counters().waiting, 1, "what was drained makes room");
}

#[test]
fn a_drain_takes_as_many_requests_as_asked_and_never_cuts_one() {
    let log = log().build().unwrap();
    let many: Vec<i64> = (0..5_000).collect();
    observe(&log, (1..=4).map(|request| served(request, 60, &many)));
    assert!(log.drain(0).unwrap().is_empty());
    let batches = log.drain(3).unwrap();
    // A batch is closed at 8192 rows, with the request that reaches it.
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [10_000, 5_000]);
    assert_eq!(log.counters().waiting, 1);
    assert_eq!(log.drain(usize::MAX).unwrap().len(), 1);
    assert!(log.drain(usize::MAX).unwrap().is_empty());
}

/// A sink that fails while it is told to.
#[derive(Debug)]
struct Failing {
    inner: MemorySink,
    fails: AtomicBool,
    begun: AtomicU64,
}

impl DataSink for Failing {
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) {
            return Err(Error::external("disk", "full"));
        }
        self.inner.begin(schema)
    }
}

fn failing() -> Failing {
    Failing { inner: MemorySink::new("log"), fails: AtomicBool::new(true), begun: AtomicU64::new(0) }
}

#[test]
fn what_a_sink_did_not_take_is_written_by_the_next_drain_in_order() {
    let (log, sink) = (log().build().unwrap(), failing());
    observe(&log, [served(1, 60, &[1]), served(2, 60, &[2])]);
    assert!(log.drain_into(&sink, 10).is_err());
    assert_eq!((log.counters().waiting, log.counters().drained, log.counters().rows), (2, 0, 0));
    observe(&log, [served(3, 60, &[3])]);
    sink.fails.store(false, Ordering::Relaxed);
    assert_eq!(log.drain_into(&sink, 10).unwrap(), 3);
    let rows = sink.inner.dataset().unwrap().to_batch().unwrap();
    assert_eq!(integers(&rows, "offer_id"), [Some(1), Some(2), Some(3)]);
    assert_eq!((log.counters().waiting, log.counters().drained), (0, 3));
}

#[test]
fn what_no_longer_fits_after_a_failure_is_dropped_and_counted() {
    /// A sink that fails after more answers came.
    #[derive(Debug)]
    struct Busy(Arc<PredictionLog>);
    impl DataSink for Busy {
        fn begin(&self, _: &Schema) -> Result<Box<dyn SinkWriter>> {
            observe(&self.0, [served(4, 60, &[4]), served(5, 60, &[5])]);
            Err(Error::external("disk", "full"))
        }
    }
    let log = Arc::new(log().requests_max(3).build().unwrap());
    observe(&log, (1..=3).map(|request| served(request, 60, &[request as i64])));
    assert!(log.drain_into(&Busy(log.clone()), 10).is_err());
    let counters = log.counters();
    assert_eq!((counters.observed, counters.dropped, counters.waiting), (5, 2, 3));
    assert_eq!(integers(&log.drain(10).unwrap()[0], "offer_id"), [Some(3), Some(4), Some(5)]);
}

#[test]
fn nothing_to_write_begins_no_write() {
    let (log, sink) = (log().build().unwrap(), failing());
    assert_eq!(log.drain_into(&sink, 10).unwrap(), 0);
    observe(&log, [served(1, 60, &[])]);
    assert_eq!(log.drain_into(&sink, 10).unwrap(), 0);
    assert_eq!((sink.begun.load(Ordering::Relaxed), log.counters().drained), (0, 1));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    assert!(log().requests_max(0).build().is_err());
    assert!(log().rows_max(0).build().is_err());
    let twice = log().feature(Field::new(SCORE, DataType::Float64, true)).build();
    assert!(matches!(twice, Err(Error::AlreadyExists { .. })), "{twice:?}");
    let plain = arrow::datatypes::Schema::new(vec![Field::new("cccd", DataType::Utf8, true)]);
    let schema = Schema::new(plain).unwrap().with_sensitivity("cccd", Sensitivity::Secret).unwrap();
    let secret = log().context(schema.field("cccd").unwrap().clone()).build().unwrap_err();
    assert!(secret.to_string().contains("cccd"), "{secret}");
    let personal = schema.with_sensitivity("cccd", Sensitivity::Personal).unwrap();
    let kept = log().context(personal.field("cccd").unwrap().clone()).build().unwrap();
    assert_eq!(kept.schema().sensitivity("cccd").unwrap(), Sensitivity::Personal, "annotations stay");
}

#[test]
fn threads_that_observe_and_drain_lose_nothing_uncounted() {
    let log = log().requests_max(64).build().unwrap();
    let rows = std::thread::scope(|scope| {
        let observers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| observe(&log, (0..500).map(|r| served(r, 60, &[1, 2]))))).collect();
        let mut rows = 0;
        loop {
            let is_over = observers.iter().all(std::thread::ScopedJoinHandle::is_finished);
            rows += log.drain(100).unwrap().iter().map(RecordBatch::num_rows).sum::<usize>();
            if is_over {
                break;
            }
        }
        rows + log.drain(usize::MAX).unwrap().iter().map(RecordBatch::num_rows).sum::<usize>()
    });
    let counters = log.counters();
    assert_eq!((counters.observed, counters.waiting), (2_000, 0));
    assert_eq!(counters.drained + counters.dropped, 2_000);
    assert_eq!((counters.rows, rows as u64), (2 * counters.drained, 2 * counters.drained));
}

#[derive(Debug, Clone)]
enum Act {
    Observe(usize),
    Drain(usize),
    Fail(usize),
}

proptest! {
    #[test]
    fn every_answer_is_in_exactly_one_counter(
        acts in prop::collection::vec(
            prop_oneof![
                (0_usize..5).prop_map(Act::Observe),
                (0_usize..6).prop_map(Act::Drain),
                (0_usize..6).prop_map(Act::Fail),
            ],
            0..60,
        ),
    ) {
        let (log, sink) = (log().requests_max(4).rows_max(9).build().unwrap(), failing());
        let mut drained = Vec::new();
        for (request, act) in acts.into_iter().enumerate() {
            match act {
                Act::Observe(rows) => log.observe(&served(request as u128, 60, &vec![request as i64; rows])),
                Act::Drain(most) => drained.extend(log.drain(most).unwrap()),
                Act::Fail(most) => {
                    let before = log.counters();
                    let failed = log.drain_into(&sink, most).is_err();
                    prop_assert!(!failed || log.counters() == before, "a failed drain changes nothing");
                }
            }
            let c = log.counters();
            prop_assert_eq!(c.observed, c.dropped + c.drained + c.refused + c.waiting);
            prop_assert!(c.waiting <= 4);
        }
        let order: Vec<i64> = drained.iter().flat_map(|batch| integers(batch, "offer_id")).flatten().collect();
        prop_assert!(order.is_sorted(), "answers come out in the order they came in: {:?}", order);
        prop_assert_eq!(order.len() as u64, log.counters().rows);
    }
}

#[test]
fn times_of_requests_and_durations_may_be_extreme() {
    let log = log().build().unwrap();
    let context = served(1, 0, &[]).query.context().clone();
    let query = Query::new(RequestId(u128::MAX), mlops_core::EventTime::MIN, context, 1).unwrap();
    observe(&log, [Arc::new(Served { query, took: Duration::MAX, ..Served::clone(&served(1, 0, &[1])) })]);
    let batch = &log.drain(1).unwrap()[0];
    assert_eq!(texts(batch, REQUEST_ID), [Some("f".repeat(32))]);
    assert_eq!(integers(batch, TOOK_US), [Some(i64::MAX)]);
    assert_eq!(crate::log::times(batch, EVENT_TIME).unwrap(), [Some(mlops_core::EventTime::MIN)]);
}
