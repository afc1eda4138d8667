use arrow::array::{DictionaryArray, Float64Array, Int32Array, StringArray, StringViewArray};
use arrow::datatypes::Int8Type;
use proptest::prelude::*;

use super::*;

fn of(values: impl IntoIterator<Item = i64>) -> Distinct {
    let mut distinct = Distinct::default();
    values.into_iter().for_each(|value| distinct.update_integer(value));
    distinct
}

#[test]
fn few_values_are_counted_exactly() {
    for count in [0, 1, 7, 8, 50, 380] {
        let estimate = of((0..count).chain(0..count)).estimate();
        assert_eq!(estimate, Estimate::exact(count.cast_unsigned()), "{count}");
    }
}

#[test]
fn many_values_lie_within_the_bounds() {
    for count in [500_u64, 4_000, 100_000] {
        let estimate = of(0..count.cast_signed()).estimate();
        assert!(estimate.low <= count && count <= estimate.high, "{count}: {estimate:?}");
        assert!((estimate.high - estimate.low) as f64 <= 0.07 * count as f64, "{estimate:?}");
    }
}

#[test]
fn texts_of_every_layout_are_the_same_values() {
    let texts = vec![Some("a"), None, Some("b"), Some("a"), Some("")];
    let dictionary: DictionaryArray<Int8Type> = texts.iter().copied().collect();
    let mut distinct = Distinct::default();
    distinct.update_array(&StringArray::from(texts.clone())).unwrap();
    distinct.update_array(&StringViewArray::from(texts)).unwrap();
    distinct.update_array(&dictionary).unwrap();
    assert_eq!(distinct.estimate().value, 3);
}

#[test]
fn both_zeros_are_one_value_and_nan_is_none() {
    let mut distinct = Distinct::default();
    distinct.update_array(&Float64Array::from(vec![Some(0.0), Some(-0.0), Some(f64::NAN), None, Some(1.0)])).unwrap();
    distinct.update_number(f64::NAN);
    distinct.update_number(-0.0);
    assert_eq!(distinct.estimate().value, 2);
}

#[test]
fn integers_of_every_width_are_the_same_values() {
    let mut distinct = of([-1, 7]);
    distinct.update_array(&Int32Array::from(vec![-1, 7, 8])).unwrap();
    assert_eq!(distinct.estimate().value, 3);
}

#[test]
fn bytes_and_json_come_back_and_damage_is_an_error() {
    for count in [0, 5, 300, 20_000] {
        let distinct = of(0..count);
        let back = Distinct::from_bytes(&distinct.to_bytes()).unwrap();
        assert_eq!(back.estimate(), distinct.estimate());
        let back: Distinct = serde_json::from_str(&serde_json::to_string(&distinct).unwrap()).unwrap();
        assert_eq!(back.estimate(), distinct.estimate());
    }
    let good = of(0..20_000).to_bytes();
    for len in [0, 7, 39, 40, good.len() - 1] {
        assert!(matches!(Distinct::from_bytes(&good[..len]), Err(Error::Corrupt { .. })), "{len}");
    }
    assert!(Distinct::new(7).is_err() && Distinct::new(17).is_err());
}

proptest! {
    #[test]
    fn order_repetition_and_merging_do_not_matter(
        values in prop::collection::vec(0..100_000_i64, 0..3000), at in 0_usize..3000,
    ) {
        let whole = of(values.iter().copied()).estimate();
        prop_assert_eq!(of(values.iter().rev().chain(&values).copied()).estimate(), whole);
        let at = at.min(values.len());
        let mut merged = of(values[at..].iter().copied());
        merged.merge(&of(values[..at].iter().copied())).unwrap();
        prop_assert_eq!(merged.estimate(), whole);
    }
}
