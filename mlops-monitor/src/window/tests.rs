use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, TimestampMicrosecondArray};
use mlops_core::rank::Served;
use mlops_core::schema::Sensitivity;
use proptest::prelude::*;

use super::*;
use crate::samples::{name, rows, seconds, served, span, tens};

fn windows(schema: &Schema) -> Windows {
    Windows::builder(schema, tens()).build().unwrap()
}

/// Windows that have seen `answers`, all of them at `now`.
fn seen(answers: &[Arc<Served>], now: i64) -> Windows {
    let (schema, batch) = rows(answers);
    let mut windows = windows(&schema);
    windows.update(&batch, seconds(now)).unwrap();
    windows
}

#[test]
fn windows_are_half_open() {
    let mut windows = seen(&[served(1, 0, &[1]), served(2, 9, &[2]), served(3, 10, &[3]), served(4, 20, &[4])], 20);
    let given = windows.due(seconds(20));
    let told: Vec<_> = given.iter().map(|w| (w.window, w.traffic.requests, w.profile.rows())).collect();
    assert_eq!(told, [(span(0, 10), 2, 2), (span(10, 20), 1, 1)]);
    assert_eq!(windows.due(seconds(30)).len(), 1, "the third is due at its end");
    assert!(windows.due(seconds(1_000)).is_empty(), "an empty window is not given out");
}

#[test]
fn traffic_counts_requests_by_their_first_row() {
    let late = Arc::new(Served { degraded: vec![name("stock")], ..Served::clone(&served(2, 2, &[4])) });
    let mut windows = seen(&[served(1, 1, &[1, 2, 3]), late], 5);
    windows.request(seconds(3), Duration::from_micros(70), false, seconds(5)).unwrap();
    windows.failure(seconds(4), seconds(5)).unwrap();
    let traffic = windows.due(seconds(10))[0].traffic.clone();
    let counts = (traffic.requests, traffic.failures, traffic.degraded, traffic.candidates);
    assert_eq!(counts, (3, 1, 1, 4));
    assert_eq!((traffic.latency.count(), traffic.latency.sum_seconds()), (3, 0.000_43));
    assert_eq!(&traffic, windows.totals());
}

#[test]
fn late_rows_reopen_a_window_until_it_is_gone() {
    let mut windows = seen(&[served(1, 1, &[1])], 10);
    let first = &windows.due(seconds(10))[0];
    assert_eq!((first.revision, first.traffic.requests), (0, 1));
    let (_, late) = rows(&[served(2, 2, &[2])]);
    windows.update(&late, seconds(69)).unwrap();
    let again = &windows.due(seconds(69))[0];
    assert_eq!((again.revision, again.traffic.requests, again.profile.rows()), (1, 2, 2));
    windows.update(&late, seconds(70)).unwrap();
    assert!(windows.due(seconds(70)).is_empty());
    assert_eq!((windows.counters().late, windows.totals().requests), (1, 2));
}

#[test]
fn rows_that_no_window_takes_are_counted() {
    let mut windows = seen(&[served(1, 100, &[1, 2]), served(2, 1_000, &[3])], 100);
    assert_eq!(windows.counters().future, 1);
    let (schema, batch) = rows(&[served(3, 101, &[4, 5])]);
    let place = schema.index_of(EVENT_TIME).unwrap();
    let mut columns = batch.columns().to_vec();
    let nullable = |field: &arrow::datatypes::Field| field.clone().with_nullable(true);
    columns[place] = Arc::new(TimestampMicrosecondArray::from(vec![None, Some(101_000_000)]).with_timezone("UTC"));
    let fields: Vec<_> = schema.arrow().fields().iter().map(|field| nullable(field)).collect();
    let broken = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).unwrap();
    windows.update(&broken, seconds(101)).unwrap();
    assert_eq!(windows.counters(), WindowCounters { late: 0, future: 1, malformed: 1, lost_windows: 0 });
    assert_eq!(windows.all()[0].traffic.candidates, 3);
}

#[test]
fn the_columns_profiled_are_features_and_scores() {
    let windows = seen(&[served(1, 1, &[1])], 1);
    let names: Vec<String> = windows.all()[0].profile.columns().iter().map(|c| c.name().to_owned()).collect();
    assert_eq!(names, [SCORE, "score_click", "price"]);
    let (schema, _) = rows(&[served(1, 1, &[1])]);
    let chosen = Windows::builder(&schema, tens()).columns(["customer_id"]).build().unwrap();
    assert_eq!(chosen.columns, ["customer_id"]);
    assert!(matches!(Windows::builder(&schema, tens()).columns(["ghost"]).build(), Err(Error::NotFound { .. })));
    assert!(Windows::builder(&schema, tens()).quantile_size(1).build().is_err());
    assert!(Windows::builder(&schema, tens()).top_values(7).build().is_err());
}

#[test]
fn no_value_of_a_sensitive_column_is_held() {
    let (schema, batch) = rows(&[served(1, 1, &[1, 2])]);
    let schema = schema.with_sensitivity("customer_id", Sensitivity::Personal).unwrap();
    let mut windows = Windows::builder(&schema, tens()).columns(["customer_id", "price"]).build().unwrap();
    windows.update(&schema.attach(&batch).unwrap(), seconds(1)).unwrap();
    let stats = &windows.all()[0];
    assert!(stats.profile.column("customer_id").unwrap().is_hidden());
    assert!(!stats.profile.column("price").unwrap().is_hidden());
}

#[test]
fn a_batch_of_another_shape_is_refused_and_adds_nothing() {
    let (schema, batch) = rows(&[served(1, 1, &[1])]);
    let mut windows = windows(&schema);
    for column in [EVENT_TIME, POSITION, SCORE, "price"] {
        let kept: Vec<usize> = (0..batch.num_columns()).filter(|i| batch.schema().field(*i).name() != column).collect();
        let error = windows.update(&batch.project(&kept).unwrap(), seconds(1)).unwrap_err();
        assert!(error.to_string().contains(column), "{error}");
    }
    let other: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let mut columns: Vec<(String, ArrayRef)> =
        schema.names().map(str::to_owned).zip(batch.columns().iter().cloned()).collect();
    columns.iter_mut().filter(|(column, _)| column == "price").for_each(|(_, array)| *array = other.clone());
    let odd = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(c, a)| (c, a, true))).unwrap();
    assert!(matches!(windows.update(&odd, seconds(1)), Err(Error::Schema { column, .. }) if column == "price"));
    assert!(windows.all().is_empty() && windows.totals() == &Traffic::default());
}

#[test]
fn a_span_merges_the_windows_that_lie_wholly_inside() {
    let windows = seen(&[served(1, 1, &[1]), served(2, 11, &[2, 3]), served(3, 21, &[4])], 30);
    let whole = windows.span(span(0, 20)).unwrap().unwrap();
    assert_eq!((whole.window, whole.traffic.requests, whole.profile.rows()), (span(0, 20), 2, 3));
    assert_eq!(windows.span(span(1, 19)).unwrap().map(|stats| stats.window), None);
    assert_eq!(windows.span(span(1, 30)).unwrap().unwrap().traffic.requests, 2);
}

#[test]
fn stored_windows_come_back() {
    let stats = &seen(&[served(1, 1, &[1, 2])], 1).all()[0];
    let json = serde_json::to_string(stats).unwrap();
    let back: WindowStats = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
    assert_eq!(back.traffic, stats.traffic);
    let newer = json.replacen("\"format\":1", "\"format\":2", 1);
    assert!(serde_json::from_str::<WindowStats>(&newer).unwrap_err().to_string().contains("format 2"));
}

#[test]
fn windows_of_other_columns_do_not_merge() {
    let (schema, batch) = rows(&[served(1, 1, &[1])]);
    let of = |column: &str| {
        let mut windows = Windows::builder(&schema, tens()).columns([column]).build().unwrap();
        windows.update(&batch, seconds(1)).unwrap();
        windows.all().remove(0)
    };
    let mut one = of("price");
    assert!(one.merge(&of(SCORE)).is_err());
    assert_eq!((one.profile.rows(), one.traffic.requests), (1, 1), "nothing is added");
}

fn exact(stats: &WindowStats) -> (Window, u64, Traffic, Option<f64>, Option<f64>, Option<u64>) {
    let price = stats.profile.column("price").unwrap();
    let moments = price.moments().unwrap();
    let distinct = price.distinct().map(|estimate| estimate.value);
    (stats.window, stats.profile.rows(), stats.traffic.clone(), moments.min(), moments.max(), distinct)
}

proptest! {
    /// Law 5: replicas that merge equal one that saw everything, and neither cuts nor order matter.
    #[test]
    fn merged_replicas_equal_one_pass(
        answers in prop::collection::vec((0_i64..40, prop::collection::vec(0_i64..30, 1..4)), 1..20),
        cut in 0_usize..20,
        turned in any::<bool>(),
    ) {
        let answers: Vec<Arc<Served>> =
            answers.iter().enumerate().map(|(i, (at, offers))| served(i as u128, *at, offers)).collect();
        let whole = seen(&answers, 40).span(span(0, 50)).unwrap().unwrap();
        let (left, right) = answers.split_at(cut.min(answers.len()));
        let mut parts: Vec<WindowStats> =
            [left, right].into_iter().filter(|part| !part.is_empty()).flat_map(|part| seen(part, 40).all()).collect();
        if turned {
            parts.reverse();
        }
        let mut merged = parts.remove(0);
        parts.iter().for_each(|part| merged.merge(part).unwrap());
        prop_assert_eq!(exact(&merged), exact(&whole));
        let mean = |stats: &WindowStats| stats.profile.column("price").unwrap().moments().unwrap().mean().unwrap();
        prop_assert!((mean(&merged) - mean(&whole)).abs() < 1e-9);
    }

    /// However rows are cut into batches, every row is in one window or one counter.
    #[test]
    fn every_row_is_somewhere(times in prop::collection::vec(-50_i64..250, 1..30), size in 1_usize..7) {
        let answers: Vec<Arc<Served>> = times.iter().map(|at| served(1, *at, &[1])).collect();
        let (schema, batch) = rows(&answers);
        let mut windows = windows(&schema);
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = size.min(batch.num_rows() - start);
            windows.update(&batch.slice(start, rows), seconds(100)).unwrap();
            start += rows;
        }
        let counters = windows.counters();
        let inside: u64 = windows.all().iter().map(|stats| stats.profile.rows()).sum();
        prop_assert_eq!(inside + counters.late + counters.future, times.len() as u64);
        // A window ends at most 10 s after its rows and stays for 60 s; ahead is 60 s.
        let expected = times.iter().filter(|at| (*at).div_euclid(10) * 10 + 70 > 100 && **at <= 160).count() as u64;
        prop_assert_eq!(inside, expected);
        for stats in windows.all() {
            prop_assert_eq!(stats.window.start.as_micros().rem_euclid(10_000_000), 0);
        }
    }
}

#[test]
fn batches_of_one_request_or_many_are_the_same() {
    let answers: Vec<Arc<Served>> = (0..30).map(|i| served(i, i as i64, &[i as i64, 1])).collect();
    let (schema, batch) = rows(&answers);
    let mut one_by_one = windows(&schema);
    (0..batch.num_rows()).for_each(|row| one_by_one.update(&batch.slice(row, 1), seconds(30)).unwrap());
    let mut at_once = windows(&schema);
    at_once.update(&batch, seconds(30)).unwrap();
    let all = |windows: &Windows| windows.all().iter().map(exact).collect::<Vec<_>>();
    assert_eq!(all(&one_by_one), all(&at_once));
}
