//! What a store does when the definition of a view changes, and with values at the ends of their types.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type};

use super::super::{entity, times};
use super::customers;
use crate::online::{OnlineRead, OnlineRows, OnlineStore};
use crate::{Error, FeatureView, Item, ValueType};

/// A view `stats` of customers with these features.
fn view(features: &[(&str, ValueType)]) -> FeatureView {
    let builder = FeatureView::builder("stats", entity()).created("created");
    features.iter().fold(builder, |builder, (name, of)| builder.feature(*name, *of)).build().expect("a valid view")
}

/// Rows of customers 1, 2, … with these columns.
fn batch(event_times: &[i64], columns: Vec<(String, ArrayRef)>) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=event_times.len() as i64));
    let mut all = vec![
        ("customer_id".to_owned(), ids),
        ("event_timestamp".to_owned(), times(event_times.iter().map(|time| Some(*time)))),
        ("created".to_owned(), times(event_times.iter().map(|_| None))),
    ];
    all.extend(columns);
    let with_nulls = all.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(with_nulls).expect("columns of one length")
}

async fn read<S: OnlineStore>(store: &S, view: &FeatureView, keys: i64) -> crate::Result<OnlineRows> {
    let all: Vec<usize> = (0..view.features().len()).collect();
    let keys = customers(&(1..=keys).map(Some).collect::<Vec<_>>());
    Ok(store.read(&[OnlineRead { view, features: &all, keys: &keys }]).await?.remove(0))
}

fn numbers(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn number(rows: &OnlineRows, column: usize, row: usize) -> Option<f64> {
    let column = rows.columns[column].as_primitive::<Float64Type>();
    column.is_valid(row).then(|| column.value(row))
}

pub(super) async fn features_come_go_and_change_places<S: OnlineStore>(store: &S) {
    use ValueType::Float64;
    let first = view(&[("a", Float64), ("b", Float64)]);
    let rows = batch(&[5, 5, 5], vec![("a".into(), numbers(&[1.0; 3])), ("b".into(), numbers(&[2.0; 3]))]);
    store.write(&first, &rows, None).await.expect("a write succeeds");
    let removed = view(&[("b", Float64)]);
    store
        .write(&removed, &batch(&[6], vec![("b".into(), numbers(&[20.0]))]), None)
        .await
        .expect("a narrower view is taken");
    let turned = view(&[("b", Float64), ("c", Float64), ("a", Float64)]);
    let read_back = |rows: &OnlineRows, features: usize| {
        (0..3).map(|row| (0..features).map(|at| number(rows, at, row)).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let rows = read(store, &turned, 3).await.expect("a view of all is read");
    let expected = [[Some(20.0), None, None], [Some(2.0), None, Some(1.0)], [Some(2.0), None, Some(1.0)]];
    assert_eq!(read_back(&rows, 3), expected, "features are found by name, whatever their places and number");
    let columns = ["c", "a", "b"]
        .iter()
        .zip([300.0, 100.0, 200.0])
        .map(|(name, value)| ((*name).to_owned(), numbers(&[value; 2])));
    store.write(&turned, &batch(&[4, 7], columns.collect()), None).await.expect("a turned view is taken");
    let rows = read(store, &first, 3).await.expect("the first definition still reads");
    let expected = [[None, Some(20.0)], [Some(100.0), Some(200.0)], [Some(1.0), Some(2.0)]];
    assert_eq!(read_back(&rows, 2), expected, "rows of every definition stand beside each other");
}

pub(super) async fn a_feature_never_changes_its_type<S: OnlineStore>(store: &S) {
    use ValueType::{Float64, Int64, List, Utf8, Vector};
    let first = view(&[("a", Float64), ("v", Vector(2))]);
    store
        .write(&view(&[("a", Float64)]), &batch(&[5], vec![("a".into(), numbers(&[1.0]))]), None)
        .await
        .expect("taken");
    let others = [Int64, Utf8, List(Item::Float64), Vector(1), ValueType::Timestamp];
    for other in others {
        let changed = view(&[("new", Float64), ("a", other)]);
        let error = read(store, &changed, 1).await;
        let named = matches!(&error, Err(Error::Changed { what, stored, .. }) if what == "a" && stored == "float64");
        assert!(named, "a feature of another type is refused at read, by name: {error:?}");
        let array = arrow::array::new_null_array(&other.data_type(), 1);
        let rows = batch(&[9], vec![("new".into(), numbers(&[1.0])), ("a".into(), array)]);
        let error = store.write(&changed, &rows, None).await;
        assert!(
            matches!(error, Err(Error::Changed { .. })),
            "a feature of another type is refused at write: {error:?}"
        );
    }
    let vectors = arrow::array::new_null_array(&Vector(2).data_type(), 1);
    let rows = batch(&[6], vec![("a".into(), numbers(&[2.0])), ("v".into(), vectors)]);
    store.write(&first, &rows, None).await.expect("what was refused left nothing behind");
    let wider = view(&[("v", Vector(3))]);
    assert!(
        matches!(read(store, &wider, 1).await, Err(Error::Changed { .. })),
        "vectors of another width are another type"
    );
}

/// One feature of every type, with values at the ends of it, then nulls.
fn extremes() -> Vec<(&'static str, ValueType, ArrayRef)> {
    let long = vec![0xA5_u8; 1 << 20];
    let payload = |bits: u64| f64::from_bits(bits);
    let integers = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(i64::MIN), Some(i64::MAX)]),
        Some(vec![]),
        Some(vec![Some(0)]),
        None,
    ]);
    let points = Float32Array::from(vec![f32::NAN, -0.0, f32::INFINITY, f32::MIN_POSITIVE, 1.0, 2.0, 0.0, 0.0]);
    let field = Arc::new(Field::new_list_field(DataType::Float32, true));
    let vectors = FixedSizeListArray::new(field, 2, Arc::new(points), Some(vec![true, true, true, false].into()));
    let time = |values: [Option<i64>; 4]| times(values.into_iter());
    vec![
        ("flag", ValueType::Bool, Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), None]))),
        ("small", ValueType::Int32, Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), Some(-1), None]))),
        ("big", ValueType::Int64, Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), Some(-1), None]))),
        (
            "short",
            ValueType::Float32,
            Arc::new(Float32Array::from(vec![Some(f32::from_bits(0x7FC0_1234)), Some(-0.0), Some(f32::MAX), None])),
        ),
        (
            "real",
            ValueType::Float64,
            Arc::new(Float64Array::from(vec![
                Some(payload(0x7FF8_0000_DEAD_BEEF)),
                Some(payload(0xFFF0_0000_0000_0001)),
                Some(-0.0),
                None,
            ])),
        ),
        (
            "text",
            ValueType::Utf8,
            Arc::new(StringArray::from(vec![Some(""), Some("\u{0}é\u{10FFFF}"), Some("x"), None])),
        ),
        (
            "bytes",
            ValueType::Binary,
            Arc::new(BinaryArray::from(vec![Some(long.as_slice()), Some(&b"\r\n\0"[..]), Some(b""), None])),
        ),
        ("seen", ValueType::Timestamp, time([Some(i64::MIN), Some(i64::MAX), Some(-1), None])),
        ("list", ValueType::List(Item::Int64), Arc::new(integers)),
        ("point", ValueType::Vector(2), Arc::new(vectors)),
    ]
}

/// Whether values are equal bit for bit, so that one NaN is told from another.
fn same(found: &ArrayRef, expected: &ArrayRef) -> bool {
    match expected.data_type() {
        DataType::Float32 => {
            let bits = |array: &ArrayRef| {
                array.as_primitive::<Float32Type>().iter().map(|v| v.map(f32::to_bits)).collect::<Vec<_>>()
            };
            bits(found) == bits(expected)
        }
        DataType::Float64 => {
            let bits = |array: &ArrayRef| {
                array.as_primitive::<Float64Type>().iter().map(|v| v.map(f64::to_bits)).collect::<Vec<_>>()
            };
            bits(found) == bits(expected)
        }
        DataType::FixedSizeList(..) => (0..expected.len()).all(|row| {
            let (found, expected) = (found.as_fixed_size_list(), expected.as_fixed_size_list());
            found.is_null(row) == expected.is_null(row)
                && (found.is_null(row) || same(&found.value(row), &expected.value(row)))
        }),
        _ => found == expected,
    }
}

pub(super) async fn every_value_of_every_type_comes_back_bit_for_bit<S: OnlineStore>(store: &S) {
    let extremes = extremes();
    let features: Vec<_> = extremes.iter().map(|(name, of, _)| (*name, *of)).collect();
    let view = view(&features);
    let columns = extremes.iter().map(|(name, _, array)| ((*name).to_owned(), array.clone())).collect();
    // Long ago, just before the epoch, and in the far future.
    let instants = [i64::MIN, -1, i64::MAX, 253_402_300_800_000_000];
    store.write(&view, &batch(&instants, columns), None).await.expect("values at the ends of their types are taken");
    let rows = read(store, &view, 4).await.expect("and read");
    assert_eq!(rows.event_time.values(), &instants);
    for ((name, _, expected), found) in extremes.iter().zip(&rows.columns) {
        assert!(same(found, expected), "`{name}` comes back bit for bit, null as null");
    }
}

pub(super) async fn ten_thousand_features_are_one_row<S: OnlineStore>(store: &S) {
    let names: Vec<String> = (0..10_000).map(|at| format!("f{at}")).collect();
    let features: Vec<_> = names.iter().map(|name| (name.as_str(), ValueType::Float64)).collect();
    let view = view(&features);
    let columns = names.iter().enumerate().map(|(at, name)| (name.clone(), numbers(&[at as f64, -1.0])));
    store.write(&view, &batch(&[5, 5], columns.collect()), None).await.expect("a wide view is taken");
    let keys = customers(&[Some(2), Some(1)]);
    let read = store.read(&[OnlineRead { view: &view, features: &[9_999, 0], keys: &keys }]).await;
    let rows = read.expect("and read").remove(0);
    let found = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(column, row)| number(&rows, column, row));
    assert_eq!(found, [Some(-1.0), Some(9_999.0), Some(-1.0), Some(0.0)]);
}
