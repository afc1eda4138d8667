//! The contract of [`OfflineStore`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use mlops_core::{Dataset, Digest, EventTime, Window};

use super::{Row, batch, entity, row, times, view};
use crate::offline::{AppendOnce, Appended, AsOfOptions, HistoryRequest, OfflineStore, Once, Watermark};
use crate::{Error, FeatureView, Keys, ValueType, ViewJoin};

/// Checks the contract of [`OfflineStore`] on fresh, empty stores made by `make`.
///
/// # Panics
/// With the sentence of the contract that does not hold.
pub fn offline_store<S: OfflineStore>(make: impl Fn() -> S) {
    rows_come_back_in_source_order(&make());
    a_scan_after_any_position_gives_the_rest(&make());
    a_scan_until_any_position_gives_what_came_before(&make());
    only_rows_of_the_window_come(&make());
    only_rows_of_the_keys_come(&make());
    features_come_in_the_order_wanted(&make());
    an_append_that_fails_leaves_nothing(&make());
    an_append_of_no_rows_is_no_append(&make());
    a_view_without_history_is_no_error(&make());
    a_feature_that_was_added_is_null_in_older_rows(&make());
    what_changed_its_type_is_refused(&make());
    of_equal_rows_the_last_append_wins_the_join(&make());
    no_entity_row_is_lost(&make());
}

/// Checks the contract of [`AppendOnce`] on fresh, empty stores made by `make`.
///
/// # Panics
/// With the sentence of the contract that does not hold.
pub fn append_once<S: AppendOnce>(make: impl Fn() -> S) {
    of_many_tries_one_adds_its_rows(&make());
    what_has_no_rows_or_fails_leaves_no_id(&make());
    ids_of_one_view_say_nothing_of_another(&make());
}

fn of_many_tries_one_adds_its_rows<S: AppendOnce>(store: &S) {
    let (view, id) = (view("stats"), Digest::of("chunk 1"));
    append(store, &many(0, 2));
    assert_eq!(store.appended(&view, &id).expect("no error"), None, "what was never tried did not happen");
    let tries: Vec<Once> = std::thread::scope(|scope| {
        let run = || store.append_once(&view, &id, &data(&many(2, 5))).expect("an append of good rows succeeds");
        let tries: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        tries.into_iter().map(|run| run.join().expect("no panic")).collect()
    });
    let did = store.appended(&view, &id).expect("no error").expect("what happened is known");
    assert_eq!(did.rows, 3);
    let now = tries.iter().filter(|once| **once == Once::Now(did)).count();
    let before = tries.iter().filter(|once| **once == Once::Before(did)).count();
    assert_eq!((now, before), (1, 3), "one adds its rows, the others say what it did");
    let (rows, _) = scan(store, &view, &HistoryRequest::all());
    assert_eq!(scores(&rows), (0..5).map(|i| Some(f64::from(i))).collect::<Vec<_>>());
}

fn what_has_no_rows_or_fails_leaves_no_id<S: AppendOnce>(store: &S) {
    let (view, id) = (view("stats"), Digest::of("chunk 1"));
    let none = store.append_once(&view, &id, &data(&[])).expect("no error");
    assert_eq!(none, Once::Now(Appended { rows: 0, end: None }), "an append of no rows is no append");
    let narrow = Dataset::from_batches([batch(&many(0, 3)).project(&[0, 1]).expect("columns")]).expect("one batch");
    assert!(store.append_once(&view, &id, &narrow).is_err(), "a missing column is refused");
    assert_eq!(store.appended(&view, &id).expect("no error"), None, "neither leaves an id");
    let once = store.append_once(&view, &id, &data(&many(0, 3))).expect("an append of good rows succeeds");
    assert!(matches!(once, Once::Now(Appended { rows: 3, .. })));
}

fn ids_of_one_view_say_nothing_of_another<S: AppendOnce>(store: &S) {
    let id = Digest::of("chunk 1");
    store.append_once(&view("stats"), &id, &data(&many(0, 3))).expect("an append of good rows succeeds");
    assert_eq!(store.appended(&view("others"), &id).expect("no error"), None);
    let once = store.append_once(&view("others"), &id, &data(&many(0, 2))).expect("an append of good rows succeeds");
    assert!(matches!(once, Once::Now(Appended { rows: 2, .. })));
}

fn data(rows: &[Row]) -> Dataset {
    Dataset::from_batches([batch(rows)]).expect("one batch")
}

fn append<S: OfflineStore>(store: &S, rows: &[Row]) -> Appended {
    store.append(&view("stats"), &data(rows)).expect("an append of good rows succeeds")
}

fn scan<S: OfflineStore>(store: &S, view: &FeatureView, request: &HistoryRequest) -> (RecordBatch, Vec<Watermark>) {
    let stream = store.scan(view, request).expect("a scan starts");
    let schema = stream.schema().arrow().clone();
    let batches: Vec<_> = stream.map(|batch| batch.expect("a scan goes on")).collect();
    assert!(batches.is_sorted_by_key(|batch| batch.end), "positions ascend");
    let ends = batches.iter().map(|batch| batch.end).collect();
    let rows: Vec<_> = batches.into_iter().map(|batch| batch.rows).collect();
    (concat_batches(&schema, &rows).expect("batches are of the schema announced"), ends)
}

fn scores(rows: &RecordBatch) -> Vec<Option<f64>> {
    rows["score"].as_primitive::<Float64Type>().iter().collect()
}

fn many(from: i64, to: i64) -> Vec<Row> {
    (from..to).map(|i| row(i % 3, 100 - i, Some(i), i as f64)).collect()
}

fn rows_come_back_in_source_order<S: OfflineStore>(store: &S) {
    let first = append(store, &many(0, 5));
    let second = append(store, &many(5, 7));
    assert_eq!((first.rows, second.rows), (5, 2));
    assert!(first.end < second.end, "appends are numbered in ascending order");
    for batch_rows in [1, 3, 1_000] {
        let (rows, ends) = scan(store, &view("stats"), &HistoryRequest::all().batch_rows(batch_rows));
        assert_eq!(scores(&rows), (0..7).map(|i| Some(f64::from(i))).collect::<Vec<_>>(), "rows keep their order");
        assert_eq!(ends.last().copied(), second.end, "a scan ends where the last append ended");
    }
    let (rows, _) = scan(store, &view("stats"), &HistoryRequest::all());
    assert_eq!(rows.schema_ref(), view("stats").schema().arrow(), "a scan has the columns of the view");
}

fn a_scan_after_any_position_gives_the_rest<S: OfflineStore>(store: &S) {
    append(store, &many(0, 10));
    append(store, &many(10, 13));
    let (_, ends) = scan(store, &view("stats"), &HistoryRequest::all().batch_rows(2));
    for end in ends {
        let (rows, _) = scan(store, &view("stats"), &HistoryRequest::all().after(end));
        let first = end.sequence == append_number(store, 0).sequence;
        let delivered = if first { end.rows } else { 10 + end.rows };
        let expected: Vec<_> = (delivered..13).map(|i| Some(i as f64)).collect();
        assert_eq!(scores(&rows), expected, "a scan after {end} gives exactly the rest");
    }
    let (_, ends) = scan(store, &view("stats"), &HistoryRequest::all());
    let last = *ends.last().expect("there are rows");
    append(store, &[row(1, -50, None, 99.0)]);
    let (rows, _) = scan(store, &view("stats"), &HistoryRequest::all().after(last));
    assert_eq!(scores(&rows), [Some(99.0)], "a row that is late by event time comes after the position all the same");
}

fn a_scan_until_any_position_gives_what_came_before<S: OfflineStore>(store: &S) {
    append(store, &many(0, 10));
    append(store, &many(10, 13));
    let (all, ends) = scan(store, &view("stats"), &HistoryRequest::all().batch_rows(2));
    let nothing = scan(store, &view("stats"), &HistoryRequest::all().until(Watermark::default())).0;
    assert_eq!(nothing.num_rows(), 0, "nothing came before the beginning");
    for end in ends {
        for batch_rows in [1, 3, 100] {
            let request = HistoryRequest::all().batch_rows(batch_rows);
            let before = scan(store, &view("stats"), &request.clone().until(end)).0;
            let rest = scan(store, &view("stats"), &request.clone().after(end)).0;
            let both = concat_batches(&all.schema(), [&before, &rest]).expect("batches of one schema");
            assert_eq!(both, all, "a scan until {end} and one after it give everything once");
            let between = scan(store, &view("stats"), &request.until(end).after(end)).0;
            assert_eq!(between.num_rows(), 0, "nothing lies between a position and itself");
        }
    }
}

fn only_rows_of_the_keys_come<S: OfflineStore>(store: &S) {
    append(store, &many(0, 20));
    append(store, &[Row { key: None, event_time: 3, created: None, score: None }]);
    let keys = |keys: Vec<Option<i64>>| {
        Keys::new(&entity(), &[Arc::new(Int64Array::from(keys)) as ArrayRef]).expect("keys of the entity")
    };
    let wanted = keys(vec![Some(1), None, Some(77), Some(1)]);
    let (rows, ends) = scan(store, &view("stats"), &HistoryRequest::all().keys(&wanted).features([]));
    let found = rows["customer_id"].as_primitive::<Int64Type>();
    assert!(found.len() == 7 && found.iter().all(|key| key == Some(1)), "rows of other keys and of none stay away");
    assert!(!ends.is_empty(), "rows that are left out are passed all the same");
    let none = scan(store, &view("stats"), &HistoryRequest::all().keys(&keys(vec![]))).0;
    assert_eq!(none.num_rows(), 0, "no keys have no rows");
}

/// Where the append number `at` of the view begins.
fn append_number<S: OfflineStore>(store: &S, at: usize) -> Watermark {
    let (_, mut ends) = scan(store, &view("stats"), &HistoryRequest::all().batch_rows(1));
    ends.dedup_by_key(|end| end.sequence);
    ends[at]
}

fn only_rows_of_the_window_come<S: OfflineStore>(store: &S) {
    append(store, &many(0, 50));
    let window = Window::new(EventTime::from_micros(60), EventTime::from_micros(63)).expect("a window");
    let (rows, _) = scan(store, &view("stats"), &HistoryRequest::all().window(window));
    let times: Vec<_> = rows["event_timestamp"].as_primitive::<TimestampMicrosecondType>().values().to_vec();
    assert_eq!(times, [62, 61, 60], "windows are half-open");
}

fn features_come_in_the_order_wanted<S: OfflineStore>(store: &S) {
    append(store, &many(0, 2));
    let (rows, _) = scan(store, &view("stats"), &HistoryRequest::all().features([1, 0]));
    let schema = rows.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["customer_id", "event_timestamp", "created", "label", "score"]);
    let (rows, _) = scan(store, &view("stats"), &HistoryRequest::all().features([]));
    assert_eq!((rows.num_columns(), rows.num_rows()), (3, 2), "keys and times always come");
    assert!(store.scan(&view("stats"), &HistoryRequest::all().features([9])).is_err());
}

fn an_append_that_fails_leaves_nothing<S: OfflineStore>(store: &S) {
    let whole = batch(&many(0, 3));
    let kept: Vec<usize> = (0..4).collect();
    let narrow = Dataset::from_batches([whole.project(&kept).expect("columns")]).expect("one batch");
    assert!(store.append(&view("stats"), &narrow).is_err(), "a missing column is refused");
    let timeless = RecordBatch::try_from_iter_with_nullable([
        ("customer_id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef, true),
        ("event_timestamp", times([Some(1), None].into_iter()), true),
        ("created", times([Some(1), None].into_iter()), true),
        ("score", whole["score"].slice(0, 2), true),
        ("label", whole["label"].slice(0, 2), true),
    ]);
    let timeless = Dataset::from_batches([timeless.expect("columns of one length")]).expect("one batch");
    let error = store.append(&view("stats"), &timeless);
    assert!(matches!(error, Err(Error::Core(mlops_core::Error::InvalidData { .. }))), "a null event time is refused");
    assert_eq!(scan(store, &view("stats"), &HistoryRequest::all()).0.num_rows(), 0, "a failed append is never seen");
}

fn an_append_of_no_rows_is_no_append<S: OfflineStore>(store: &S) {
    assert_eq!(append(store, &[]), Appended { rows: 0, end: None });
    assert_eq!(
        store.append(&view("stats"), &Dataset::empty(view("stats").schema().clone())).expect("no error").end,
        None
    );
}

fn a_view_without_history_is_no_error<S: OfflineStore>(store: &S) {
    assert_eq!(scan(store, &view("never"), &HistoryRequest::all()).0.num_rows(), 0);
    let joined = join(store, &view("never"), &[(Some(1), 5)], &AsOfOptions::new());
    assert_eq!(joined, [None]);
}

fn a_feature_that_was_added_is_null_in_older_rows<S: OfflineStore>(store: &S) {
    append(store, &many(0, 2));
    let builder = FeatureView::builder("stats", entity()).created("created");
    let wider = builder.feature("added", ValueType::Int64).feature("score", ValueType::Float64).build().expect("valid");
    let (rows, _) = scan(store, &wider, &HistoryRequest::all());
    assert_eq!((rows["added"].null_count(), scores(&rows)), (2, vec![Some(0.0), Some(1.0)]));
}

fn what_changed_its_type_is_refused<S: OfflineStore>(store: &S) {
    append(store, &many(0, 2));
    let builder = FeatureView::builder("stats", entity()).created("created");
    let other = builder.feature("score", ValueType::Utf8).build().expect("valid");
    let outcome = store.scan(&other, &HistoryRequest::all()).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    assert!(matches!(outcome, Err(Error::Changed { .. })), "a feature of another type is refused: {outcome:?}");
}

fn join<S: OfflineStore>(
    store: &S,
    view: &FeatureView,
    asked: &[(Option<i64>, i64)],
    options: &AsOfOptions,
) -> Vec<Option<f64>> {
    let spine = RecordBatch::try_from_iter_with_nullable([
        ("customer_id", Arc::new(asked.iter().map(|(key, _)| *key).collect::<Int64Array>()) as ArrayRef, true),
        ("event_timestamp", times(asked.iter().map(|(_, t)| Some(*t))), true),
        ("weight", Arc::new(Float64Array::from(vec![1.0; asked.len()])), true),
    ]);
    let spine = Dataset::from_batches([spine.expect("columns of one length")]).expect("one batch");
    let joined = store.as_of(&spine, &[ViewJoin::new(view)], options).expect("a join succeeds");
    assert_eq!(joined.reports.len(), 1, "one report per view");
    scores(&joined.dataset.to_batch().expect("a join is held"))
}

fn of_equal_rows_the_last_append_wins_the_join<S: OfflineStore>(store: &S) {
    append(store, &[row(1, 5, Some(6), 1.0), row(1, 5, Some(6), 2.0)]);
    append(store, &[row(1, 5, Some(6), 3.0), row(2, 5, Some(7), 4.0)]);
    append(store, &[row(2, 5, Some(6), 5.0)]);
    let asked = [(Some(2), 9), (Some(1), 9), (Some(2), 6)];
    assert_eq!(join(store, &view("stats"), &asked, &AsOfOptions::new()), [Some(4.0), Some(3.0), Some(4.0)]);
    let known = AsOfOptions::new().as_known(true);
    assert_eq!(join(store, &view("stats"), &asked, &known), [Some(4.0), Some(3.0), Some(5.0)]);
}

fn no_entity_row_is_lost<S: OfflineStore>(store: &S) {
    append(store, &many(0, 9));
    let asked = [(Some(1), i64::MIN), (None, 5), (Some(77), 5), (Some(1), 100), (Some(1), 100)];
    let joined = join(store, &view("stats"), &asked, &AsOfOptions::new());
    assert_eq!(joined, [None, None, None, Some(1.0), Some(1.0)], "rows stay, also those that are there twice");
}
