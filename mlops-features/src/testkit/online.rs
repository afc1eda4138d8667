//! The contract of [`OnlineStore`].

mod evolution;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;

use super::{Row, batch, entity, row, times, view};
use crate::offline::Watermark;
use crate::online::{OnlineRead, OnlineRows, OnlineStore};
use crate::{Entity, Error, FeatureView, KeyType, Keys, ValueType};

/// Checks the contract of [`OnlineStore`] on fresh, empty stores made by `make`.
///
/// # Panics
/// With the sentence of the contract that does not hold.
pub async fn online_store<S: OnlineStore>(make: impl Fn() -> S) {
    every_order_of_arrival_ends_in_the_same_row(&make).await;
    a_correction_at_the_same_event_time_wins(&make()).await;
    the_latest_of_one_call_wins_and_is_counted(&make()).await;
    writing_again_changes_nothing(&make()).await;
    answers_come_in_the_order_asked(&make()).await;
    five_thousand_keys_are_one_read(&make()).await;
    a_view_that_was_never_written_has_no_rows(&make()).await;
    views_do_not_see_each_other(&make()).await;
    a_null_key_is_refused_and_nothing_is_written(&make()).await;
    checkpoints_are_kept_and_never_move_back(&make()).await;
    nulls_and_extremes_come_back_as_they_were(&make()).await;
    features_are_read_in_the_order_wanted(&make()).await;
    a_feature_that_was_added_is_null_in_older_rows(&make()).await;
    what_changed_its_type_is_refused(&make()).await;
    composite_keys_are_told_apart(&make()).await;
    a_deleted_key_is_unknown_and_can_be_written_anew(&make()).await;
    evolution::features_come_go_and_change_places(&make()).await;
    evolution::a_feature_never_changes_its_type(&make()).await;
    evolution::every_value_of_every_type_comes_back_bit_for_bit(&make()).await;
    evolution::ten_thousand_features_are_one_row(&make()).await;
}

async fn write<S: OnlineStore>(store: &S, view: &FeatureView, rows: &[Row]) -> (u64, u64) {
    let summary = store.write(view, &batch(rows), None).await.expect("a write of good rows succeeds");
    (summary.written, summary.superseded)
}

fn customers(keys: &[Option<i64>]) -> Keys {
    let ids: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
    Keys::new(&entity(), &[ids]).expect("good keys")
}

async fn read<S: OnlineStore>(store: &S, view: &FeatureView, keys: &[Option<i64>]) -> OnlineRows {
    let all: Vec<usize> = (0..view.features().len()).collect();
    let keys = customers(keys);
    let mut rows = store.read(&[OnlineRead { view, features: &all, keys: &keys }]).await.expect("a read succeeds");
    assert_eq!(rows.len(), 1, "a read has one answer per view asked");
    rows.remove(0)
}

fn scores(rows: &OnlineRows) -> Vec<Option<f64>> {
    rows.columns[0].as_primitive::<Float64Type>().iter().collect()
}

async fn score<S: OnlineStore>(store: &S, key: i64) -> Option<f64> {
    scores(&read(store, &view("stats"), &[Some(key)]).await)[0]
}

async fn every_order_of_arrival_ends_in_the_same_row<S: OnlineStore>(make: &impl Fn() -> S) {
    let rows = [row(1, 10, Some(5), 1.0), row(1, 10, Some(6), 2.0), row(1, 9, Some(99), 3.0)];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let store = make();
        for at in order {
            write(&store, &view("stats"), &[rows[at]]).await;
        }
        assert_eq!(score(&store, 1).await, Some(2.0), "the latest row stays, in whatever order rows arrive: {order:?}");
    }
}

async fn a_correction_at_the_same_event_time_wins<S: OnlineStore>(store: &S) {
    let view = view("stats");
    assert_eq!(write(store, &view, &[row(1, 10, None, 1.0)]).await, (1, 0));
    assert_eq!(write(store, &view, &[row(1, 10, None, 2.0)]).await, (1, 0), "of equal times the last write wins");
    assert_eq!(write(store, &view, &[row(1, 10, Some(i64::MIN), 3.0)]).await, (1, 0), "no created time is lowest");
    assert_eq!(write(store, &view, &[row(1, 10, None, 4.0)]).await, (0, 1), "no created time is lowest");
    assert_eq!(score(store, 1).await, Some(3.0));
}

async fn the_latest_of_one_call_wins_and_is_counted<S: OnlineStore>(store: &S) {
    let rows =
        [row(1, 5, None, 1.0), row(2, 5, None, 2.0), row(1, 7, None, 3.0), row(1, 7, None, 4.0), row(1, 6, None, 5.0)];
    assert_eq!(write(store, &view("stats"), &rows).await, (2, 3), "written and superseded sum to the rows");
    assert_eq!((score(store, 1).await, score(store, 2).await), (Some(4.0), Some(2.0)));
}

async fn writing_again_changes_nothing<S: OnlineStore>(store: &S) {
    let rows = [row(1, 5, Some(1), 1.0), row(2, 5, None, 2.0)];
    write(store, &view("stats"), &rows).await;
    let before = format!("{:?}", read(store, &view("stats"), &[Some(1), Some(2)]).await);
    write(store, &view("stats"), &rows).await;
    assert_eq!(before, format!("{:?}", read(store, &view("stats"), &[Some(1), Some(2)]).await));
}

async fn answers_come_in_the_order_asked<S: OnlineStore>(store: &S) {
    let rows: Vec<Row> = (0..100).map(|key| row(key, key, Some(-key), key as f64)).collect();
    write(store, &view("stats"), &rows).await;
    let answer = read(store, &view("stats"), &[Some(7), None, Some(3), Some(500), Some(7)]).await;
    assert_eq!(scores(&answer), [Some(7.0), None, Some(3.0), None, Some(7.0)], "one answer per key, in order");
    assert_eq!([0, 1, 2, 3, 4].map(|at| answer.found(at)), [true, false, true, false, true]);
    assert_eq!(answer.event_time(2).map(mlops_core::EventTime::as_micros), Some(3));
    assert!(answer.created.is_null(1) && answer.created.value(4) == -7, "created times come with the rows");
    assert_eq!(answer.columns[1].as_string::<i32>().value(0), "7");
    assert!(scores(&read(store, &view("stats"), &[]).await).is_empty(), "no keys, no answers");
}

async fn five_thousand_keys_are_one_read<S: OnlineStore>(store: &S) {
    let rows: Vec<Row> = (0..2_500).map(|at| row(2 * at, at, None, at as f64)).collect();
    assert_eq!(write(store, &view("stats"), &rows).await, (2_500, 0));
    let keys: Vec<Option<i64>> = (0..5_000).rev().map(Some).collect();
    let answer = read(store, &view("stats"), &keys).await;
    let expected = |key: i64| (key % 2 == 0).then_some((key / 2) as f64);
    let expected: Vec<_> = keys.iter().flatten().map(|key| expected(*key)).collect();
    assert_eq!(scores(&answer), expected, "however many keys are asked for, each has its answer");
    assert_eq!(answer.event_time.iter().flatten().count(), 2_500);
}

async fn a_view_that_was_never_written_has_no_rows<S: OnlineStore>(store: &S) {
    let answer = read(store, &view("never"), &[Some(1)]).await;
    assert!(!answer.found(0) && answer.columns[0].is_null(0));
    assert_eq!(store.watermark(&view("never")).await.expect("no error"), None);
    assert_eq!(store.delete(&view("never"), &customers(&[Some(1)])).await.expect("no error"), 0);
}

async fn views_do_not_see_each_other<S: OnlineStore>(store: &S) {
    let (one, other) = (view("one"), view("other"));
    write(store, &one, &[row(1, 5, None, 1.0)]).await;
    write(store, &other, &[row(1, 5, None, 2.0)]).await;
    let keys = customers(&[Some(1)]);
    let reads = [&other, &one, &other].map(|view| OnlineRead { view, features: &[0], keys: &keys });
    let answers = store.read(&reads).await.expect("a read succeeds");
    let found: Vec<_> = answers.iter().map(|rows| scores(rows)[0]).collect();
    assert_eq!(found, [Some(2.0), Some(1.0), Some(2.0)], "one answer per view, in order");
}

async fn a_null_key_is_refused_and_nothing_is_written<S: OnlineStore>(store: &S) {
    let null = Row { key: None, ..row(0, 5, None, 1.0) };
    let error = store.write(&view("stats"), &batch(&[row(1, 5, None, 1.0), null]), None).await;
    assert!(
        matches!(error, Err(Error::Core(mlops_core::Error::InvalidData { .. }))),
        "a null key is refused: {error:?}"
    );
    assert_eq!(score(store, 1).await, None, "a refused write leaves nothing");
}

async fn checkpoints_are_kept_and_never_move_back<S: OnlineStore>(store: &S) {
    let view = view("stats");
    let at = |sequence, rows| Some(Watermark { sequence, rows });
    for (given, kept) in
        [(None, None), (at(3, 7), at(3, 7)), (at(2, 9), at(3, 7)), (None, at(3, 7)), (at(4, 0), at(4, 0))]
    {
        store.write(&view, &batch(&[row(1, 5, None, 1.0)]), given).await.expect("a write succeeds");
        assert_eq!(store.watermark(&view).await.expect("no error"), kept, "a checkpoint never moves back");
    }
    store.write(&view, &batch(&[]), at(5, 1)).await.expect("a write of no rows succeeds");
    assert_eq!(store.watermark(&view).await.expect("no error"), at(5, 1), "a checkpoint may come without rows");
}

async fn nulls_and_extremes_come_back_as_they_were<S: OnlineStore>(store: &S) {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE];
    let mut rows: Vec<Row> =
        odd.iter().enumerate().map(|(key, score)| row(key as i64, i64::MIN, Some(i64::MAX), *score)).collect();
    rows.push(Row { score: None, ..row(i64::MIN, i64::MAX, None, 0.0) });
    write(store, &view("stats"), &rows).await;
    let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
    let answer = read(store, &view("stats"), &keys).await;
    let bits = |values: &[Option<f64>]| values.iter().map(|v| v.map(f64::to_bits)).collect::<Vec<_>>();
    let expected: Vec<_> = rows.iter().map(|row| row.score).collect();
    assert_eq!(bits(&scores(&answer)), bits(&expected), "values come back bit for bit, null as null");
    assert!(answer.found(5), "a row of nulls is a row");
    assert_eq!((answer.event_time.value(0), answer.event_time.value(5)), (i64::MIN, i64::MAX));
}

async fn features_are_read_in_the_order_wanted<S: OnlineStore>(store: &S) {
    let view = view("stats");
    write(store, &view, &[row(1, 5, None, 1.5)]).await;
    let keys = customers(&[Some(1)]);
    let answers = store.read(&[OnlineRead { view: &view, features: &[1, 0, 1], keys: &keys }]).await.expect("no error");
    let columns = &answers[0].columns;
    assert_eq!(columns.len(), 3);
    assert_eq!(columns[0].as_string::<i32>().value(0), "1.5");
    assert_eq!(columns[1].as_primitive::<Float64Type>().value(0), 1.5);
    let beyond = store.read(&[OnlineRead { view: &view, features: &[2], keys: &keys }]).await;
    assert!(beyond.is_err(), "a feature that the view does not have is refused");
}

async fn a_feature_that_was_added_is_null_in_older_rows<S: OnlineStore>(store: &S) {
    write(store, &view("stats"), &[row(1, 5, None, 1.0)]).await;
    let wider = FeatureView::builder("stats", entity())
        .created("created")
        .feature("label", ValueType::Utf8)
        .feature("added", ValueType::Float64)
        .feature("score", ValueType::Float64)
        .build()
        .expect("a valid view");
    let answer = read(store, &wider, &[Some(1)]).await;
    assert_eq!(answer.columns[0].as_string::<i32>().value(0), "1", "features are found by name");
    assert!(answer.columns[1].is_null(0), "an added feature is null in older rows");
    let more = RecordBatch::try_from_iter([
        ("customer_id", Arc::new(Int64Array::from(vec![2])) as ArrayRef),
        ("event_timestamp", times([Some(5)].into_iter())),
        ("created", times([Some(5)].into_iter())),
        ("score", Arc::new(Float64Array::from(vec![2.0]))),
        ("added", Arc::new(Float64Array::from(vec![3.0]))),
        ("label", Arc::new(StringArray::from(vec!["two"]))),
    ]);
    store.write(&wider, &more.expect("columns of one length"), None).await.expect("a wider view is taken");
    let answer = read(store, &wider, &[Some(1), Some(2)]).await;
    assert_eq!(answer.columns[1].as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [None, Some(3.0)]);
    let answer = read(store, &view("stats"), &[Some(2), Some(1)]).await;
    assert_eq!(scores(&answer), [Some(2.0), Some(1.0)], "an older definition still reads newer rows");
}

async fn what_changed_its_type_is_refused<S: OnlineStore>(store: &S) {
    write(store, &view("stats"), &[row(1, 5, None, 1.0)]).await;
    let builder = FeatureView::builder("stats", entity()).created("created");
    let other = builder.feature("score", ValueType::Utf8).feature("label", ValueType::Utf8).build().expect("valid");
    let keys = customers(&[Some(1)]);
    let read = store.read(&[OnlineRead { view: &other, features: &[0], keys: &keys }]).await;
    assert!(matches!(read, Err(Error::Changed { .. })), "a feature of another type is refused at read: {read:?}");
    let text = Entity::builder("customer").key("customer_id", KeyType::Utf8).build().expect("valid");
    let rekeyed =
        FeatureView::builder("stats", text.clone()).feature("score", ValueType::Float64).build().expect("valid");
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    let keys = Keys::new(&text, std::slice::from_ref(&ids)).expect("good keys");
    let read = store.read(&[OnlineRead { view: &rekeyed, features: &[0], keys: &keys }]).await;
    assert!(matches!(read, Err(Error::Changed { .. })), "another key is refused at read: {read:?}");
    let score: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let rows = [("customer_id", ids), ("event_timestamp", times([Some(9)].into_iter())), ("score", score)];
    let written = store.write(&rekeyed, &RecordBatch::try_from_iter(rows).expect("columns of one length"), None).await;
    assert!(matches!(written, Err(Error::Changed { .. })), "another key is refused at write: {written:?}");
    assert_eq!(self::score(store, 1).await, Some(1.0), "a refused write changes nothing");
}

async fn composite_keys_are_told_apart<S: OnlineStore>(store: &S) {
    let pair = Entity::builder("pair").key("b", KeyType::Utf8).key("a", KeyType::Utf8).build().expect("valid");
    let view = FeatureView::builder("pairs", pair.clone()).feature("score", ValueType::Float64).build().expect("valid");
    let text = |values: [&str; 3]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let (a, b) = (text(["x", "xy", ""]), text(["yz", "z", "xyz"]));
    let rows = RecordBatch::try_from_iter([
        ("a", a.clone()),
        ("b", b.clone()),
        ("event_timestamp", times([Some(1); 3].into_iter())),
        ("score", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]))),
    ]);
    store.write(&view, &rows.expect("columns of one length"), None).await.expect("a write succeeds");
    let keys = Keys::new(&pair, &[b, a]).expect("good keys");
    let answers =
        store.read(&[OnlineRead { view: &view, features: &[0], keys: &keys }]).await.expect("a read succeeds");
    assert_eq!(scores(&answers[0]), [Some(1.0), Some(2.0), Some(3.0)], "borders of key parts count");
}

async fn a_deleted_key_is_unknown_and_can_be_written_anew<S: OnlineStore>(store: &S) {
    let view = view("stats");
    write(store, &view, &[row(1, 50, None, 1.0), row(2, 50, None, 2.0)]).await;
    let gone = store.delete(&view, &customers(&[Some(1), Some(9), None, Some(1)])).await.expect("a delete succeeds");
    assert_eq!(gone, 1, "only known keys count, once each");
    assert_eq!((score(store, 1).await, score(store, 2).await), (None, Some(2.0)));
    write(store, &view, &[row(1, 10, None, 3.0)]).await;
    assert_eq!(score(store, 1).await, Some(3.0), "a deleted key takes any row");
}
