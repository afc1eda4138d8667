use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
    TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use proptest::prelude::*;

use super::*;

fn of(values: &[f64]) -> Moments {
    let mut moments = Moments::default();
    moments.update_slice(values);
    moments
}

#[track_caller]
fn close(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} is not {expected}");
}

#[test]
fn moments_agree_with_scipy() {
    // numpy 2.4.6 mean, var; scipy 1.17.1 skew, kurtosis
    let moments = of(&[1.0, 2.0, 2.0, 3.0, 7.0, -4.0, 0.5]);
    close(moments.mean(), 1.642_857_142_857_142_8);
    close(moments.variance(0), 9.193_877_551_020_408);
    close(moments.variance(1), 10.726_190_476_190_476);
    close(moments.skew(), -0.128_636_115_946_902_73);
    close(moments.kurtosis(), 0.114_520_060_950_897_4);
    assert_eq!((moments.min(), moments.max()), (Some(-4.0), Some(7.0)));
}

#[test]
fn what_is_not_finite_has_its_own_counts() {
    let mut moments = of(&[f64::NAN, 1.0, f64::INFINITY, 3.0, f64::NEG_INFINITY, f64::INFINITY]);
    moments.update_null();
    moments.update(f64::NAN);
    assert_eq!((moments.count(), moments.nulls(), moments.nan()), (2, 1, 2));
    assert_eq!((moments.positive_infinite(), moments.negative_infinite(), moments.rows()), (2, 1, 8));
    assert_eq!(moments.mean(), Some(2.0));
}

#[test]
fn nothing_seen_has_no_mean_and_one_value_no_skew() {
    let empty = Moments::default();
    assert_eq!((empty.mean(), empty.variance(0), empty.min(), empty.skew()), (None, None, None, None));
    let one = of(&[5.0]);
    assert_eq!((one.variance(0), one.variance(1), one.skew(), one.kurtosis()), (Some(0.0), None, None, None));
}

#[test]
fn a_large_offset_does_not_eat_the_variance() {
    let values: Vec<f64> = (0..10_000).map(|i| 1e9 + f64::from(i % 10)).collect();
    // The values themselves are known only to a ten-millionth of their deviation.
    let near = |found: Option<f64>| assert!((found.unwrap() - 8.25).abs() < 1e-7, "{found:?}");
    near(of(&values).variance(0));
    let mut single = Moments::default();
    for &value in &values {
        single.update(value);
    }
    near(single.variance(0));
}

#[test]
fn huge_values_lose_the_moments_but_not_the_mean() {
    let moments = of(&[1.5e308, 1.5e308, -1e308, 1e308]);
    close(moments.mean().map(|mean| mean / 1e308), 0.75);
    assert_eq!((moments.variance(0), moments.skew()), (None, None));
    let mut merged = of(&[1.7e308]);
    merged.merge(&of(&[-1.7e308])).unwrap();
    assert_eq!((merged.mean(), merged.min()), (Some(0.0), Some(-1.7e308)));
}

#[test]
fn every_numeric_type_is_read() {
    let arrays: [(ArrayRef, f64); 8] = [
        (Arc::new(Int64Array::from(vec![Some(1), None, Some(2)])), 1.5),
        (Arc::new(UInt64Array::from(vec![Some(1), None, Some(2)])), 1.5),
        (Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])), 0.5),
        (
            Arc::new(Decimal128Array::from(vec![Some(125), None, Some(175)]).with_precision_and_scale(9, 2).unwrap()),
            1.5,
        ),
        (Arc::new(Date32Array::from(vec![Some(1), None, Some(3)])), 2.0 * 86_400e6),
        (Arc::new(TimestampMillisecondArray::from(vec![Some(1), None, Some(3)])), 2000.0),
        (Arc::new(TimestampNanosecondArray::from(vec![Some(-1), None, Some(1999)])), 0.0),
        (Arc::new(Float64Array::from(vec![Some(1.0), None, Some(2.0)])), 1.5),
    ];
    for (array, mean) in arrays {
        let mut moments = Moments::default();
        moments.update_array(&array).unwrap();
        assert_eq!((moments.mean(), moments.nulls()), (Some(mean), 1), "{}", array.data_type());
    }
}

#[test]
fn texts_are_refused_and_nothing_is_added() {
    let mut moments = Moments::default();
    let error = moments.update_array(&StringArray::from(vec![None::<&str>])).unwrap_err();
    assert!(error.to_string().contains("Utf8"), "{error}");
    assert_eq!(moments, Moments::default());
}

#[test]
fn a_slice_of_an_array_is_read_alone() {
    let array = Float64Array::from(vec![Some(9.0), None, Some(1.0), Some(3.0), None]);
    let mut moments = Moments::default();
    moments.update_array(&array.slice(2, 3)).unwrap();
    assert_eq!((moments.mean(), moments.nulls()), (Some(2.0), 1));
}

#[test]
fn json_comes_back_with_infinities() {
    for moments in [Moments::default(), of(&[1.0, 2.5, f64::NAN]), of(&[1e300, -1e300])] {
        let json = serde_json::to_string(&moments).unwrap();
        let back: Moments = serde_json::from_str(&json).unwrap();
        assert_eq!(format!("{back:?}"), format!("{moments:?}"));
    }
    let json = serde_json::to_string(&of(&[1.0])).unwrap();
    for (from, to) in [("\"format\":1", "\"format\":9"), ("\"min\":1.0", "\"min\":5.0"), ("\"m2\":0.0", "\"m2\":-1.0")]
    {
        assert!(json.contains(from), "{json}");
        assert!(serde_json::from_str::<Moments>(&json.replace(from, to)).is_err(), "{to}");
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![8 => -1e6..1e6_f64, 1 => Just(0.0), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => -1e-3..1e-3_f64]
}

#[track_caller]
fn alike(a: &Moments, b: &Moments) {
    let counts = |m: &Moments| [m.count, m.nulls, m.nan, m.positive_infinite, m.negative_infinite];
    assert_eq!(counts(a), counts(b));
    assert_eq!((a.min(), a.max()), (b.min(), b.max()));
    let scale = a.max.abs().max(a.min.abs()).max(1e-300);
    let near = |a: f64, b: f64, unit: f64| assert!((a - b).abs() <= 1e-9 * unit + f64::MIN_POSITIVE, "{a} is not {b}");
    if a.count > 0 {
        let n = a.count as f64;
        near(a.mean, b.mean, scale);
        near(a.m2, b.m2, n * scale.powi(2));
        near(a.m3, b.m3, n * scale.powi(3));
        near(a.m4, b.m4, n * scale.powi(4));
    }
}

proptest! {
    #[test]
    fn merging_is_one_pass_and_order_does_not_matter(
        mut values in prop::collection::vec(number(), 0..400), at in 0_usize..400,
    ) {
        let whole = of(&values);
        let at = at.min(values.len());
        let (left, right) = values.split_at(at);
        let mut merged = of(left);
        merged.merge(&of(right)).unwrap();
        alike(&merged, &whole);
        let mut one_by_one = Moments::default();
        for &value in &values {
            one_by_one.update(value);
        }
        alike(&one_by_one, &whole);
        values.reverse();
        alike(&of(&values), &whole);
    }
}
