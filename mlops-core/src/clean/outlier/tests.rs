use arrow::array::{Float32Array, Float64Array, Int8Array, Int64Array, StringArray};
use arrow::datatypes::{Int8Type, Int64Type};
use proptest::prelude::*;

use super::super::fixture::{clean, column, data, floats, near, pass, recut};
use super::*;
use crate::schema::Role;

const NAN: f64 = f64::NAN;

/// Seven values near 2 and two far off.
const VALUES: [f64; 8] = [2.1, 2.4, 2.0, 2.2, 9.7, 2.3, -4.0, 2.25];

fn outliers(fence: Fence, action: Action) -> Outliers {
    Outliers::builder().fence("x", fence, action).build().unwrap()
}

#[track_caller]
fn fenced(fence: Fence, low: f64, high: f64) {
    let with_others: Vec<_> = VALUES.iter().map(|v| Some(*v)).chain([None, Some(NAN), Some(f64::INFINITY)]).collect();
    let table = data([("x", column(Float64Array::from(with_others)))]);
    let (treated, changes) = clean(&outliers(fence, Action::Clip), &table);
    let clip = |v: f64| v.clamp(low, high);
    let mut expected: Vec<_> = VALUES.iter().map(|v| Some(clip(*v))).collect();
    expected.extend([None, Some(NAN), Some(high)]);
    near(&floats(&treated, "x"), &expected);
    let outside = VALUES.iter().filter(|v| **v < low || **v > high).count() + 1;
    assert_eq!(changes.cells("x", Change::Clipped), outside as u64);
}

#[test]
fn fences_lie_where_numpy_and_scipy_put_them() {
    // numpy 2.4.6: percentile [25, 75] = [2.075, 2.325], [5, 95] = [-1.9, 7.145]; mean 2.36875, std 3.4381079007936903;
    // median 2.225; scipy 1.17.1: median_abs_deviation 0.15.
    fenced(Fence::iqr(), 2.075 - 1.5 * 0.25, 2.325 + 1.5 * 0.25);
    fenced(Fence::ZScore { z: 2.0 }, 2.36875 - 2.0 * 3.4381079007936903, 2.36875 + 2.0 * 3.4381079007936903);
    fenced(Fence::modified_z_score(), 2.225 - 3.5 * 0.15 / 0.6745, 2.225 + 3.5 * 0.15 / 0.6745);
    fenced(Fence::Quantiles { low: 0.05, high: 0.95 }, -1.9, 7.145);
    fenced(Fence::Bounds { low: Some(0.0), high: Some(5.0) }, 0.0, 5.0);
}

#[test]
fn each_action_does_what_it_says() {
    let bounds = Fence::Bounds { low: Some(0.0), high: Some(5.0) };
    let table = data([("x", column(Float64Array::from(vec![Some(1.0), Some(9.0), None, Some(-1.0)])))]);
    let (nulled, changes) = clean(&outliers(bounds, Action::Null), &table);
    near(&floats(&nulled, "x"), &[Some(1.0), None, None, None]);
    assert_eq!(changes.cells("x", Change::Nulled), 2);
    let (flagged, changes) = clean(&outliers(bounds, Action::Flag), &table);
    near(&floats(&flagged, "x"), &[Some(1.0), Some(9.0), None, Some(-1.0)]);
    assert_eq!(flagged["x_outlier"].as_boolean(), &BooleanArray::from(vec![false, true, false, true]));
    assert_eq!(changes.cells("x", Change::Flagged), 2);
    let (dropped, changes) = clean(&outliers(bounds, Action::DropRow), &table);
    near(&floats(&dropped, "x"), &[Some(1.0), None]);
    assert_eq!((changes.cells("x", Change::RowDropped), changes.rows_dropped()), (2, 2));
}

#[test]
fn dropped_rows_are_neither_clipped_nor_flagged_first() {
    let table =
        data([("x", column(Int64Array::from(vec![1, 100, 2]))), ("y", column(Int64Array::from(vec![50, 50, 5])))]);
    let upper = |high| Fence::Bounds { low: None, high: Some(high) };
    let both = Outliers::builder()
        .fence("x", upper(10.0), Action::DropRow)
        .fence("y", upper(10.0), Action::Clip)
        .build()
        .unwrap();
    let (treated, changes) = clean(&both, &table);
    assert_eq!(treated["y"].as_primitive::<Int64Type>().values(), &[10, 5]);
    assert_eq!((changes.cells("y", Change::Clipped), changes.rows_out()), (1, 2));
}

#[test]
fn integers_are_clipped_to_the_whole_numbers_inside() {
    let table = data([("x", column(Int8Array::from(vec![-128, 1, 2, 3, 127])))]);
    let bounds = |low, high| outliers(Fence::Bounds { low, high }, Action::Clip);
    let clipped = |transform: &Outliers| clean(transform, &table).0["x"].as_primitive::<Int8Type>().values().to_vec();
    assert_eq!(clipped(&bounds(Some(0.5), Some(2.5))), [1, 1, 2, 2, 2]);
    assert_eq!(clipped(&bounds(Some(1.2), Some(1.8))), [1, 1, 2, 2, 2]);
    assert_eq!(clipped(&bounds(Some(-1e9), Some(1e9))), [-128, 1, 2, 3, 127]);
}

#[test]
fn a_float_fence_is_kept_in_single_precision() {
    let table = data([("x", column(Float32Array::from(vec![0.0, 1.0])))]);
    let (treated, _) = clean(&outliers(Fence::Bounds { low: Some(0.1), high: Some(0.7) }, Action::Clip), &table);
    let values = treated["x"].as_primitive::<Float32Type>().values();
    assert!(f64::from(values[0]) >= 0.1 && f64::from(values[1]) <= 0.7, "{values:?}");
    assert!((values[0] - 0.1).abs() < 1e-7 && (values[1] - 0.7).abs() < 1e-7);
}

#[test]
fn what_does_not_spread_has_no_fence() {
    // IQR, MAD and standard deviation of a constant are 0; the IQR and MAD of mostly equal values, too.
    let mostly: Vec<f64> = (0..20).map(|i| if i == 0 { 100.0 } else { 0.1 }).collect();
    let table = data([("x", column(Float64Array::from(mostly)))]);
    for fence in [Fence::iqr(), Fence::modified_z_score()] {
        assert_eq!(clean(&outliers(fence, Action::Null), &table).1.cells("x", Change::Nulled), 0);
    }
    let equal = data([("x", column(Float64Array::from(vec![0.1; 3000])))]);
    let empty = data([("x", column(Float64Array::from(vec![None, Some(NAN)])))]);
    for fence in [Fence::iqr(), Fence::z_score(), Fence::modified_z_score()] {
        for table in [&equal, &empty] {
            assert!(clean(&outliers(fence, Action::Null), table).1.steps[0].cells.is_empty());
        }
    }
}

#[test]
fn settings_out_of_their_domain_are_refused() {
    for fence in [
        Fence::Iqr { k: 0.0 },
        Fence::ZScore { z: NAN },
        Fence::Quantiles { low: 0.9, high: 0.1 },
        Fence::Quantiles { low: 0.1, high: 1.1 },
        Fence::Bounds { low: None, high: None },
        Fence::Bounds { low: Some(2.0), high: Some(1.0) },
        Fence::Bounds { low: Some(f64::NEG_INFINITY), high: None },
    ] {
        let built = Outliers::builder().fence("x", fence, Action::Clip).build();
        assert!(matches!(built, Err(Error::Invalid { .. })), "{fence:?}");
    }
    let text = data([("x", column(StringArray::from(vec!["a"])))]);
    assert!(matches!(outliers(Fence::iqr(), Action::Clip).fit(&text), Err(Error::Schema { .. })));
}

#[test]
fn a_features_flag_is_a_feature_and_numbers_leave_keys_alone() {
    let table = data([("id", column(Int64Array::from(vec![1, 2]))), ("x", column(Int64Array::from(vec![1, 2])))]);
    let schema = table.schema().with_role("id", Role::Key).and_then(|s| s.with_role("x", Role::Feature)).unwrap();
    let table = table.with_schema(schema).unwrap();
    let all = Outliers::builder().fence(Pick::Numbers, Fence::iqr(), Action::Flag).build().unwrap();
    let output = all.fit(&table).unwrap().output_schema(table.schema()).unwrap();
    assert_eq!(output.names().collect::<Vec<_>>(), ["id", "x", "x_outlier"]);
    assert_eq!(output.role("x_outlier").unwrap(), Role::Feature);
}

fn cells() -> impl Strategy<Value = Vec<Option<f64>>> {
    let value = prop_oneof![
        Just(None),
        Just(Some(NAN)),
        Just(Some(f64::NEG_INFINITY)),
        (-10.0..10.0).prop_map(Some),
        (-1e12..1e12).prop_map(Some)
    ];
    prop::collection::vec(value, 1..200)
}

fn fences() -> impl Strategy<Value = Fence> {
    prop_oneof![
        Just(Fence::iqr()),
        Just(Fence::z_score()),
        Just(Fence::modified_z_score()),
        Just(Fence::Quantiles { low: 0.1, high: 0.9 }),
        Just(Fence::Bounds { low: Some(-5.5), high: Some(4.25) }),
    ]
}

proptest! {
    #[test]
    fn clipping_twice_is_clipping_once(cells in cells(), fence in fences(), whole in any::<bool>(), rows in 1_usize..50) {
        let floats = Float64Array::from(cells);
        let values = if whole { arrow::compute::cast(&floats, &DataType::Int64).unwrap() } else { column(floats) };
        let table = data([("x", values)]);
        let transform = outliers(fence, Action::Clip);
        let fitted = transform.fit(&table).unwrap();
        prop_assert_eq!(fitted.state().unwrap(), transform.fit(&recut(&table, rows)).unwrap().state().unwrap());
        let (once, _) = pass(fitted.as_ref(), &table);
        let (twice, changes) = pass(fitted.as_ref(), &Dataset::from_batches([once.clone()]).unwrap());
        prop_assert!(changes.steps[0].cells.is_empty());
        prop_assert_eq!(format!("{twice:?}"), format!("{once:?}"));
    }
}
