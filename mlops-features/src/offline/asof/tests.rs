use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::*;
use crate::{Entity, Error, FeatureView, KeyType, ValueType, ViewUse};

fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(values).with_timezone("UTC"))
}

fn ints(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(Int64Array::from_iter(values))
}

pub(super) fn view(ttl: Option<u64>) -> FeatureView {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let builder = FeatureView::builder("stats", user).feature("value", ValueType::Int64).created("created");
    match ttl {
        Some(ttl) => builder.ttl(Duration::from_micros(ttl)),
        None => builder,
    }
    .build()
    .unwrap()
}

/// One history row: key, event time, created, value.
type Row = (Option<i64>, i64, Option<i64>, Option<i64>);

pub(super) fn history(rows: &[Row]) -> Dataset {
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("user_id", ints(rows.iter().map(|r| r.0)), true),
        ("event_timestamp", times(rows.iter().map(|r| Some(r.1))), true),
        ("created", times(rows.iter().map(|r| r.2)), true),
        ("value", ints(rows.iter().map(|r| r.3)), true),
    ]);
    Dataset::from_batches([batch.unwrap()]).unwrap()
}

pub(super) fn spine(rows: &[(Option<i64>, i64)]) -> Dataset {
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("user_id", ints(rows.iter().map(|r| r.0)), true),
        ("event_timestamp", times(rows.iter().map(|r| Some(r.1))), true),
    ]);
    Dataset::from_batches([batch.unwrap()]).unwrap()
}

/// The one place that calls the join: values per entity row, and the report.
fn join(
    spine_rows: &[(Option<i64>, i64)],
    rows: &[Row],
    ttl: Option<u64>,
    as_known: bool,
) -> (Vec<Option<i64>>, JoinReport) {
    let options = AsOfOptions::new().as_known(as_known);
    let mut set = as_of_join(&spine(spine_rows), &[(ViewJoin::new(&view(ttl)), history(rows))], &options).unwrap();
    let batch = set.dataset.to_batch().unwrap();
    assert_eq!(batch.num_rows(), spine_rows.len());
    let keys: Vec<_> = batch.column(0).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(keys, spine_rows.iter().map(|r| r.0).collect::<Vec<_>>(), "entity rows keep their order");
    (batch.column(2).as_primitive::<Int64Type>().iter().collect(), set.reports.remove(0))
}

#[test]
fn an_event_at_the_instant_and_an_age_of_exactly_the_ttl_count() {
    let rows = [(Some(1), 100, None, Some(7))];
    let (values, report) =
        join(&[(Some(1), 99), (Some(1), 100), (Some(1), 110), (Some(1), 111)], &rows, Some(10), false);
    assert_eq!(values, [None, Some(7), Some(7), None]);
    assert_eq!((report.matched, report.expired, report.future_only), (2, 1, 1));
    assert_eq!(report.age, Some(AgeQuantiles { min_us: 0, p50_us: 0, p90_us: 10, p99_us: 10, max_us: 10 }));
}

#[test]
fn of_equal_event_times_the_greatest_created_wins_then_the_last_in_order() {
    let at = |rows: &[Row]| join(&[(Some(1), 50)], rows, None, false).0[0];
    assert_eq!(at(&[(Some(1), 5, Some(9), Some(1)), (Some(1), 5, Some(8), Some(2))]), Some(1));
    assert_eq!(at(&[(Some(1), 5, Some(9), Some(1)), (Some(1), 5, Some(9), Some(2))]), Some(2));
    assert_eq!(at(&[(Some(1), 5, Some(i64::MIN), Some(1)), (Some(1), 5, None, Some(2))]), Some(1));
    assert_eq!(at(&[(Some(1), 6, None, Some(1)), (Some(1), 5, Some(9), Some(2))]), Some(1));
}

#[test]
fn a_chosen_row_is_taken_whole_with_its_nulls() {
    let (values, report) =
        join(&[(Some(1), 50)], &[(Some(1), 5, None, Some(1)), (Some(1), 6, None, None)], None, false);
    assert_eq!(values, [None]);
    assert_eq!(report.matched, 1);
}

#[test]
fn nulls_in_keys_never_match_each_other() {
    let rows = [(None, 5, None, Some(1)), (Some(2), 5, None, Some(2))];
    let (values, report) = join(&[(None, 50), (Some(3), 50), (Some(2), 50)], &rows, None, false);
    assert_eq!(values, [None, None, Some(2)]);
    assert_eq!((report.null_key, report.unknown_key, report.history_null_keys, report.history_rows), (1, 1, 1, 2));
}

#[test]
fn as_known_goes_back_to_what_was_known_and_counts_what_would_have_leaked() {
    let rows = [(Some(1), 5, Some(6), Some(1)), (Some(1), 7, Some(90), Some(2)), (Some(1), 4, None, Some(3))];
    let asked = [(Some(1), 50), (Some(1), 90), (Some(1), 4)];
    let (values, report) = join(&asked, &rows, None, false);
    assert_eq!((values, report.leaked), (vec![Some(2), Some(2), Some(3)], 1));
    let (values, report) = join(&asked, &rows, None, true);
    assert_eq!((values, report.leaked, report.future_only), (vec![Some(1), Some(2), None], 1, 1));
}

#[test]
fn the_ends_of_time_do_not_overflow() {
    let rows = [(Some(1), i64::MIN, None, Some(1)), (Some(1), i64::MAX, None, Some(2))];
    let asked = [(Some(1), i64::MIN), (Some(1), 0), (Some(1), i64::MAX - 1), (Some(1), i64::MAX)];
    assert_eq!(join(&asked, &rows, None, false).0, [Some(1), Some(1), Some(1), Some(2)]);
    assert_eq!(join(&asked, &rows, Some(1), false).0, [Some(1), None, None, Some(2)]);
}

#[test]
fn keys_far_apart_and_keys_of_text_are_found_like_close_ones() {
    let far = [Some(i64::MIN), Some(-1), Some(i64::MAX)];
    let rows: Vec<Row> = far.iter().enumerate().map(|(i, key)| (*key, 1, None, Some(i as i64))).collect();
    let asked: Vec<_> = far.iter().rev().map(|key| (*key, 2)).collect();
    assert_eq!(join(&asked, &rows, None, false).0, [Some(2), Some(1), Some(0)]);
}

#[test]
fn one_view_can_be_joined_twice_under_other_keys() {
    let user = Entity::builder("pair").key("a", KeyType::Utf8).key("b", KeyType::Int64).build().unwrap();
    let view = FeatureView::builder("pairs", user).feature("value", ValueType::Utf8).build().unwrap();
    let text = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let history = RecordBatch::try_from_iter([
        ("value", text(&["left", "right"])),
        ("b", ints([Some(1), Some(2)])),
        ("a", text(&["x", "y"])),
        ("event_timestamp", times([Some(1), Some(1)])),
        ("not of the view", text(&["", ""])),
    ]);
    let history = Dataset::from_batches([history.unwrap()]).unwrap();
    let spine = RecordBatch::try_from_iter([
        ("at", times([Some(5)])),
        ("a", text(&["x"])),
        ("b", ints([Some(1)])),
        ("to", text(&["y"])),
        ("other", ints([Some(2)])),
    ]);
    let spine = Dataset::from_batches([spine.unwrap()]).unwrap();
    let twice = ViewUse::all("pairs").and_then(|u| u.alias("second")?.key("a", "to")?.key("b", "other")).unwrap();
    let views = [(ViewJoin::new(&view), history.clone()), (ViewJoin::of(&view, &twice).unwrap(), history)];
    assert!(matches!(as_of_join(&spine, &views, &AsOfOptions::new()), Err(Error::Collision { .. })));
    let set = as_of_join(&spine, &views, &AsOfOptions::new().full_names(true)).unwrap();
    let batch = set.dataset.to_batch().unwrap();
    assert_eq!(batch["pairs__value"].as_string::<i32>().value(0), "left");
    assert_eq!(batch["second__value"].as_string::<i32>().value(0), "right");
    assert_eq!(set.reports[1].view.as_str(), "second");
    assert_eq!(set.dataset.schema().role("second__value").unwrap(), Role::Feature);
}

#[test]
fn no_views_and_no_rows_are_fine() {
    let set = as_of_join(&spine(&[(Some(1), 1)]), &[], &AsOfOptions::new()).unwrap();
    assert_eq!(set.dataset.schema().len(), 2);
    let (values, report) = join(&[], &[(Some(1), 1, None, None)], None, false);
    assert!(values.is_empty() && report.age.is_none());
    assert_eq!(join(&[(Some(1), 1)], &[], None, false).1.unknown_key, 1);
}

#[test]
fn bad_input_is_refused_by_name() {
    let check = |spine: &Dataset, history: &Dataset, words: &[&str]| {
        let error = as_of_join(spine, &[(ViewJoin::new(&view(None)), history.clone())], &AsOfOptions::new());
        let error = error.unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    let good = (spine(&[(Some(1), 1)]), history(&[(Some(1), 1, None, None)]));
    let without = |data: &Dataset, column: &str| {
        let kept: Vec<String> = data.schema().names().filter(|n| *n != column).map(str::to_owned).collect();
        Dataset::collect(data.scan(&mlops_core::source::ScanRequest::all().columns(kept)).unwrap()).unwrap()
    };
    check(&without(&good.0, "user_id"), &good.1, &["user_id"]);
    check(&without(&good.0, "event_timestamp"), &good.1, &["event time", "timestamp"]);
    for column in ["user_id", "event_timestamp", "created", "value"] {
        check(&good.0, &without(&good.1, column), &[column]);
    }
    let null = RecordBatch::try_from_iter([("user_id", ints([Some(1)])), ("event_timestamp", times([None]))]);
    check(&Dataset::from_batches([null.unwrap()]).unwrap(), &good.1, &["event_timestamp", "null"]);
    let text = RecordBatch::try_from_iter([
        ("user_id", Arc::new(StringArray::from(vec!["1"])) as ArrayRef),
        ("event_timestamp", times([Some(1)])),
    ]);
    check(&Dataset::from_batches([text.unwrap()]).unwrap(), &good.1, &["user_id", "Utf8"]);
}

/// The law, read aloud: O(n·m).
fn oracle(t: i64, key: Option<i64>, rows: &[Row], ttl: Option<u64>, as_known: bool) -> Option<i64> {
    let age = |at: i64| i128::from(t) - i128::from(at);
    let candidates = rows.iter().enumerate().filter(|(_, row)| {
        key.is_some()
            && row.0 == key
            && row.1 <= t
            && ttl.is_none_or(|ttl| age(row.1) <= i128::from(ttl))
            && (!as_known || row.2.is_some_and(|created| created <= t))
    });
    candidates.max_by_key(|(at, row)| (row.1, row.2, *at)).and_then(|(_, row)| row.3)
}

fn key() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![Just(None), (-2_i64..3).prop_map(Some), Just(Some(i64::MIN)), Just(Some(i64::MAX))]
}

fn instant() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -12_i64..12, 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

proptest! {
    #[test]
    fn equals_the_law_read_aloud(
        rows in proptest::collection::vec((key(), instant(), proptest::option::of(instant()), proptest::option::of(0_i64..99)), 0..40),
        asked in proptest::collection::vec((key(), instant()), 0..30),
        ttl in proptest::option::of(1_u64..9),
        as_known in any::<bool>(),
    ) {
        let (values, report) = join(&asked, &rows, ttl, as_known);
        let expected: Vec<_> = asked.iter().map(|(key, t)| oracle(*t, *key, &rows, ttl, as_known)).collect();
        prop_assert_eq!(values, expected);
        let parts = report.matched + report.expired + report.future_only + report.unknown_key + report.null_key;
        prop_assert_eq!(parts, asked.len() as u64);
    }
}

/// A view of pairs of a text and a number, with a text and a number as features.
fn pairs() -> FeatureView {
    let pair = Entity::builder("pair").key("name", KeyType::Utf8).key("user_id", KeyType::Int64).build().unwrap();
    let builder = FeatureView::builder("pairs", pair).feature("text", ValueType::Utf8);
    builder.feature("count", ValueType::Int64).ttl(Duration::from_micros(6)).build().unwrap()
}

fn texts(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

/// Rows with both keys; the same columns serve as entity rows and as history of both views.
fn both(rows: &[(Option<i64>, i64, Option<i64>, Option<i64>)]) -> RecordBatch {
    let name = |key: &Option<i64>| key.filter(|key| *key != 1).map(|key| format!("name {}", key.rem_euclid(3)));
    let dictionary = arrow::compute::cast(
        &texts(rows.iter().map(|row| name(&row.0))),
        &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
    );
    RecordBatch::try_from_iter_with_nullable([
        ("name", dictionary.unwrap(), true),
        ("user_id", ints(rows.iter().map(|row| row.0)), true),
        ("event_timestamp", times(rows.iter().map(|row| Some(row.1))), true),
        ("created", times(rows.iter().map(|row| row.2)), true),
        ("value", ints(rows.iter().map(|row| row.3)), true),
        ("text", texts(rows.iter().map(|row| row.3.map(|v| "x".repeat(v as usize)))), true),
        ("count", ints(rows.iter().enumerate().map(|(at, _)| Some(at as i64))), true),
    ])
    .unwrap()
}

fn cut_into(batch: &RecordBatch, rows: usize, columns: &[usize]) -> Dataset {
    let batch = batch.project(columns).unwrap();
    Dataset::from_batches(if batch.num_rows() == 0 { vec![batch] } else { super::spine::cut(&batch, rows) }).unwrap()
}

/// A source instead of rows in memory.
fn unheld(data: &Dataset) -> Dataset {
    Dataset::from_source(Arc::new(data.clone())).unwrap()
}

fn row() -> impl Strategy<Value = Row> {
    (key(), instant(), proptest::option::of(instant()), proptest::option::of(0_i64..99))
}

proptest! {
    /// From no room at all, over partitions and pieces, to all in memory.
    #[test]
    fn memory_changes_nothing(
        rows in proptest::collection::vec(row(), 0..60),
        asked in proptest::collection::vec(row(), 0..50),
        ttl in proptest::option::of(1_u64..9),
        as_known in any::<bool>(),
        bytes in prop_oneof![Just(0_u64), 1_u64..20_000, Just(1 << 20)],
        held in any::<bool>(),
        cut in 1_usize..20,
    ) {
        let source = |data: Dataset| if held { data } else { unheld(&data) };
        let spine = source(cut_into(&both(&asked), cut, &[1, 0, 2]));
        let history = both(&rows);
        let views = [
            (ViewJoin::new(&view(ttl)), source(cut_into(&history, cut, &[4, 1, 3, 2]))),
            (ViewJoin::new(&pairs()), source(cut_into(&history, cut + 1, &[0, 1, 2, 5, 6]))),
        ];
        let options = AsOfOptions::new().as_known(as_known);
        let expected = as_of_join(&spine, &views, &options).unwrap();
        prop_assert!(expected.dataset.is_held() || !held);
        let small = as_of_join(&spine, &views, &options.memory_bytes(bytes)).unwrap();
        prop_assert_eq!(&small.reports, &expected.reports);
        prop_assert_eq!(small.dataset.schema(), expected.dataset.schema());
        prop_assert_eq!(small.dataset.to_batch().unwrap(), expected.dataset.to_batch().unwrap());
        prop_assert_eq!(small.dataset.digest().unwrap(), expected.dataset.digest().unwrap(), "a second reading");
        let request = mlops_core::source::ScanRequest::all().columns(["text", "user_id"]).limit(7);
        let two = |set: &TrainingSet| Dataset::collect(set.dataset.scan(&request).unwrap()).unwrap().digest().unwrap();
        prop_assert_eq!(two(&small), two(&expected));
    }
}

#[test]
fn texts_that_are_too_long_for_the_room_are_put_in_place_piece_by_piece() {
    let rows: Vec<Row> = (0..40).map(|at| (Some(0), at, None, Some(90 + at % 9))).collect();
    let history = both(&rows);
    let spine = cut_into(&both(&rows), 7, &[0, 1, 2]);
    let views = [(ViewJoin::new(&pairs()), cut_into(&history, 5, &[0, 1, 2, 5, 6]))];
    let set = as_of_join(&spine, &views, &AsOfOptions::new().memory_bytes(8_000)).unwrap();
    assert!(!set.dataset.is_held());
    let batch = set.dataset.to_batch().unwrap();
    let lengths: Vec<_> = batch["text"].as_string::<i32>().iter().map(|text| text.map(str::len)).collect();
    assert_eq!(lengths, (0..40).map(|at| Some(90 + at % 9)).collect::<Vec<_>>());
}

#[test]
fn a_spill_folder_that_cannot_be_written_is_named_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<Row> = (0..40).map(|at| (Some(at), at, None, Some(at))).collect();
    let views = [(ViewJoin::new(&view(None)), history(&rows))];
    let asked: Vec<_> = rows.iter().map(|row| (row.0, 50)).collect();
    let join = |place: &std::path::Path| {
        as_of_join(&spine(&asked), &views, &AsOfOptions::new().memory_bytes(64).spill_folder(place))
    };
    let missing = folder.path().join("missing");
    let error = join(&missing).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Io { path, .. }) if *path == missing), "{error}");
    let set = join(folder.path()).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files have no names");
    assert_eq!(set.dataset.num_rows().unwrap(), 40);
}

#[test]
fn settings_come_back_from_json_and_unknown_ones_are_refused() {
    let options = AsOfOptions::new().event_time("at").as_known(true).memory_bytes(5).spill_folder("/tmp");
    let text = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<AsOfOptions>(&text).unwrap(), options);
    assert_eq!(serde_json::from_str::<AsOfOptions>("{}").unwrap(), AsOfOptions::new());
    assert!(serde_json::from_str::<AsOfOptions>(r#"{"memory": 5}"#).is_err());
}
