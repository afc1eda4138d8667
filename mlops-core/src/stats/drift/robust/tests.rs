use std::slice::from_ref;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;

use super::super::tests::{normals, numbers, profile};
use super::super::*;

fn rule() -> DriftRule {
    DriftRule::builder().method(DriftMethod::Robust).build().unwrap()
}

fn of(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn texts(counts: &[(&str, usize)]) -> ArrayRef {
    let all = counts.iter().flat_map(|&(text, count)| std::iter::repeat_n(Some(text), count));
    Arc::new(all.collect::<StringArray>())
}

fn compared(reference: ArrayRef, current: ArrayRef) -> ColumnDrift {
    compare_samples("x", &[reference], &[current], &rule()).unwrap()
}

#[track_caller]
fn close(found: f64, expected: f64, allowed: f64) {
    assert!((found - expected).abs() <= allowed, "{found} is not {expected}");
}

#[test]
fn effect_chance_interval_and_p_value_are_those_of_numpy_and_scipy() {
    let reference: Vec<f64> = (0..101).map(|i| f64::from(i * 37 % 101) / 101.0).collect();
    let mut current: Vec<f64> = (0..211).map(|i| (f64::from(i * 53 % 211) / 211.0).powf(1.2) + 0.1).collect();
    current[7] = 1e6;
    let found = compared(of(&reference), of(&current));
    // numpy 2.4.6, scipy 1.17.1: wasserstein_distance of both clipped to quantile(a, [.001, .999]), over the type-7
    // interquartile range / 1.349; the interval from np.interp of the integrated sign; kstwo.sf(ks_2samp(a, b).statistic, 68)
    close(found.effect, 0.144_546_890_836_011_63, 1e-12);
    close(found.expected_by_chance, 0.102_636_012_748_902_54, 1e-12);
    let interval = found.interval.unwrap();
    close(interval.low, 0.0, 0.0);
    close(interval.high, 0.331_032_332_210_210_2, 1e-12);
    close(found.p_value, 0.368_670_486_174_230_87, 1e-9);
    assert_eq!(found.verdict, Verdict::Stable);
}

#[test]
fn a_shifted_normal_column_has_moved_by_the_shift_in_standard_deviations() {
    let reference = normals(20_000, 0.0, 1);
    let found = compared(of(&reference), of(&normals(20_000, 0.5, 2)));
    close(found.effect, 0.5, 0.03);
    let interval = found.interval.unwrap();
    assert!(interval.low < 0.5 && 0.5 < interval.high && interval.high - interval.low < 0.06, "{found:?}");
    assert_eq!(found.verdict, Verdict::Drifted);
    assert_eq!(compared(of(&reference), of(&normals(20_000, 0.0, 3))).verdict, Verdict::Stable);
}

#[test]
fn the_interval_holds_about_as_often_as_it_says() {
    // The sum of twelve uniform numbers: its interquartile range over 1.349 is 1.0057 (numpy 2.4.6, 1e7 draws).
    let truth = 0.4 / 1.0057;
    let holds = |seed: u64| {
        let found = compared(of(&normals(800, 0.0, seed)), of(&normals(600, 0.4, seed + 50_000)));
        found.interval.is_some_and(|interval| interval.low <= truth && truth <= interval.high)
    };
    let held = (0..200).filter(|i| holds(i * 7_919)).count();
    // 95 % of 200 is 190, with a deviation of 3.1; the reference's spread is estimated too, and not in the interval.
    assert!((176..=200).contains(&held), "{held} of 200");
}

#[test]
fn one_far_outlier_on_either_side_changes_next_to_nothing() {
    for shift in [0.0, 0.3] {
        let (reference, current) = (normals(10_000, 0.0, 4), normals(10_000, shift, 5));
        let with = |values: &[f64], outlier: f64| of(&[values, &[outlier]].concat());
        let clean = compared(of(&reference), of(&current));
        for outlier in [1e6, -1e300, f64::INFINITY] {
            for found in
                [compared(with(&reference, outlier), of(&current)), compared(of(&reference), with(&current, outlier))]
            {
                assert_eq!(found.verdict, clean.verdict, "{outlier}");
                close(found.effect, clean.effect, 2e-3);
            }
        }
    }
}

#[test]
fn profiles_tell_what_samples_do() {
    for shift in [0.0, 0.1, 1.0] {
        let (reference, current) = (normals(60_000, 0.0, 8), normals(60_000, shift, 9));
        let exact = compared(of(&reference), of(&current));
        let sketched = &numbers(reference).compare(&numbers(current), &rule()).unwrap()[0];
        close(sketched.effect, exact.effect, 0.015);
        close(sketched.expected_by_chance, exact.expected_by_chance, 1e-3);
        assert_eq!(sketched.verdict, exact.verdict);
        let (wide, narrow) = (sketched.interval.unwrap(), exact.interval.unwrap());
        assert!(wide.high - wide.low >= narrow.high - narrow.low || wide.low == 0.0, "{wide:?} {narrow:?}");
    }
}

#[test]
fn where_the_quartiles_are_equal_the_winsorised_deviation_is_the_unit() {
    // 2 ones among 100: the reference's deviation is √(0.02·0.98) = 0.14; 30 among 100 move the mean by 0.28.
    let flags = |ones: i64| Arc::new(Int64Array::from_iter_values((0..100).map(|i| i64::from(i < ones)))) as ArrayRef;
    let found = compared(flags(2), flags(30));
    close(found.effect, 0.28 / 0.14, 1e-12);
    assert_eq!(found.verdict, Verdict::Drifted);
}

#[test]
fn a_constant_that_becomes_another_value_has_changed_altogether() {
    let found = compared(of(&[7.0; 500]), of(&[8.0; 500]));
    assert_eq!((found.effect, found.verdict), (1.0, Verdict::Drifted));
    let same = compared(of(&[7.0; 500]), of(&[7.0; 500]));
    assert_eq!((same.effect, same.p_value, same.verdict), (0.0, 1.0, Verdict::Stable));
    // One in 1 250 differs: between the tails the reference is constant.
    let rare: Vec<f64> = (0..2_500).map(|i| if i % 1_250 == 0 { 1.0 } else { 0.0 }).collect();
    let found = compared(of(&rare), of(&[[0.0; 500], [1.0; 500]].concat()));
    close(found.effect, 0.5 - 0.0008, 1e-12);
    let infinite = compared(of(&[f64::INFINITY; 200]), of(&[f64::NEG_INFINITY; 200]));
    assert_eq!((infinite.effect, infinite.verdict), (1.0, Verdict::Drifted));
}

#[test]
fn the_largest_numbers_there_are_stay_finite() {
    let huge = |sign: f64| of(&(0..400).map(|i| sign * f64::MAX * (f64::from(i) / 400.0)).collect::<Vec<_>>());
    let found = compared(huge(1.0), huge(-1.0));
    assert!(found.effect.is_finite() && found.effect > 0.5 && found.verdict == Verdict::Drifted, "{found:?}");
    let spread = of(&(0..400).map(|i| if i % 8 == 0 { f64::MAX } else { f64::from(i) * 5e-324 }).collect::<Vec<_>>());
    let found = compared(spread, huge(-1.0));
    assert!(found.effect.is_finite() && found.interval.unwrap().high.is_finite(), "{found:?}");
}

#[test]
fn nulls_are_told_and_do_not_decide() {
    let column = |nulls: usize| {
        let values = normals(4_000, 0.0, 6).into_iter().enumerate();
        Arc::new(values.map(|(i, value)| (i % 10 >= nulls).then_some(value)).collect::<Float64Array>()) as ArrayRef
    };
    let found = compared(column(0), column(4));
    assert_eq!(found.verdict, Verdict::Stable);
    assert_eq!((found.signals.null_share_reference, found.signals.null_share_current), (Some(0.0), Some(0.4)));
    let nothing = compared(column(0), column(10));
    assert_eq!((nothing.verdict, nothing.signals.null_share_current), (Verdict::Inconclusive, Some(1.0)));
    assert_eq!(nothing.signals.outside_range, None);
}

#[test]
fn tails_and_what_lies_out_of_range_are_told_and_do_not_decide() {
    let reference: Vec<f64> = (0..10_000).map(f64::from).collect();
    let mut current = reference.clone();
    // A hundredth of the rows far above the greatest.
    current.iter_mut().step_by(100).for_each(|value| *value = 1e9);
    let found = compared(of(&reference), of(&current));
    assert_eq!(found.verdict, Verdict::Stable, "{found:?}");
    assert_eq!(found.signals.outside_range, Some(0.01));
    // Below the quantile at 9.999 lie 10 rows, above that at 9989.001 another 10.
    assert_eq!(found.signals.tail_mass_reference, Some(0.002));
    // Of those ten each, the one that ends in 00 below moved above.
    close(found.signals.tail_mass_current.unwrap(), 0.002 + 0.01 - 0.0001, 1e-12);
}

#[test]
fn categories_have_moved_by_the_share_of_rows_that_changed_place() {
    let found = compared(texts(&[("a", 500), ("b", 500)]), texts(&[("a", 300), ("b", 500), ("new", 200)]));
    close(found.effect, 0.2, 1e-12);
    // s is −1 for `a` and +1 for the others: ½s has the variances (0.5 − 0)/4 and (0.5 − 0.01)/4 … by hand.
    let (r, c) = ((0.5 - 0.25) / 4.0 / 1000.0, (0.5 - (0.2_f64 - 0.3).powi(2)) / 4.0 / 1000.0);
    close(found.interval.unwrap().high, 0.2 + 1.959_963_984_540_054 * (r + c).sqrt(), 1e-12);
    assert_eq!(found.verdict, Verdict::Drifted);
    assert_eq!(found.signals.new_categories, Some(CategoryShare { categories: 1, share: 0.2 }));
    assert_eq!(found.signals.lost_categories, Some(CategoryShare { categories: 0, share: 0.0 }));
    let profiles = profile(vec![("x", texts(&[("a", 90), ("b", 10)]))]);
    let lost = profiles.compare(&profile(vec![("x", texts(&[("a", 100)]))]), &rule()).unwrap().remove(0);
    assert_eq!(lost.signals.lost_categories, Some(CategoryShare { categories: 1, share: 0.1 }));
    close(lost.effect, 0.1, 1e-12);
}

#[test]
fn identifiers_that_never_repeat_do_not_drift_however_few_rows_there_are() {
    let ids = |start: usize, count: usize| {
        Arc::new((start..start + count).map(|i| Some(format!("id-{i}"))).collect::<StringArray>()) as ArrayRef
    };
    for count in [100, 300, 5_000] {
        let found = compared(ids(0, count), ids(100_000, count));
        assert_eq!(found.verdict, Verdict::Stable, "{found:?}");
        assert_eq!(found.signals.new_categories, Some(CategoryShare { categories: count as u64, share: 1.0 }));
    }
}

#[test]
fn booleans_are_two_categories_and_other_kinds_have_no_verdict() {
    let flags = |yes: usize| Arc::new((0..1_000).map(|i| Some(i < yes)).collect::<BooleanArray>()) as ArrayRef;
    let found = compared(flags(500), flags(800));
    close(found.effect, 0.3, 1e-12);
    let binary = Arc::new(arrow::array::BinaryArray::from(vec![&b"x"[..]; 200])) as ArrayRef;
    let found = compared(binary.clone(), binary);
    assert_eq!((found.verdict, found.signals.null_share_current), (Verdict::Inconclusive, Some(0.0)));
}

fn table(shift: f64, seed: u64) -> RecordBatch {
    let city: StringArray = (0..2_000).map(|i| Some(if i % 3 == 0 { "hanoi" } else { "hue" })).collect();
    let price = of(&normals(2_000, shift, seed));
    RecordBatch::try_from_iter([("price", price), ("city", Arc::new(city) as ArrayRef)]).unwrap()
}

#[test]
fn tables_are_compared_alike_exactly_by_profile_and_by_data_set() {
    let (reference, current) = (table(0.0, 1), table(0.7, 2));
    let halves = |batch: &RecordBatch| [batch.slice(0, 700), batch.slice(700, 1_300)];
    let exact = compare_batches(&halves(&reference), &halves(&current), &rule()).unwrap();
    assert_eq!(exact, compare_batches(from_ref(&reference), from_ref(&current), &rule()).unwrap());
    let verdicts = |drifts: &[ColumnDrift]| drifts.iter().map(|d| (d.column.clone(), d.verdict)).collect::<Vec<_>>();
    let sets = (Dataset::from_batches([reference]).unwrap(), Dataset::from_batches([current]).unwrap());
    let found = drift_of(&sets.0, &sets.1, &rule()).unwrap();
    assert_eq!(verdicts(&found), [("price".into(), Verdict::Drifted), ("city".into(), Verdict::Stable)]);
    assert_eq!(verdicts(&exact), verdicts(&found));
    close(found[0].effect, exact[0].effect, 0.02);
}

#[test]
fn kinds_that_differ_and_batches_of_other_columns_are_named() {
    let error = compare_samples("x", &[of(&[1.0])], &[texts(&[("a", 1)])], &rule()).unwrap_err();
    assert_eq!(error.to_string(), "column `x`: expected Float64, found Utf8");
    let error = compare_samples("x", &[of(&[1.0]), texts(&[("a", 1)])], &[], &rule()).unwrap_err();
    assert_eq!(error.to_string(), "column `x`: expected Float64, found Utf8");
    let one = RecordBatch::try_from_iter([("a", of(&[1.0]))]).unwrap();
    let other = RecordBatch::try_from_iter([("b", of(&[1.0]))]).unwrap();
    assert!(compare_batches(&[one.clone(), other], from_ref(&one), &rule()).is_err());
    let alone = compare_batches(from_ref(&one), &[], &rule()).unwrap();
    assert_eq!((alone[0].verdict, alone[0].n_current), (Verdict::Inconclusive, 0));
}

#[test]
fn what_was_written_before_intervals_and_signals_is_still_read() {
    let old = r#"{"column":"x","method":"psi","effect":0.1,"expected_by_chance":0.0,"p_value":0.5,"q_value":0.5,
        "verdict":"stable","n_reference":10,"n_current":10}"#;
    let read: ColumnDrift = serde_json::from_str(old).unwrap();
    assert_eq!((read.interval, read.signals), (None, Signals::default()));
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![-1e3..1e3_f64, (-3..3_i32).prop_map(f64::from), Just(f64::INFINITY)], 1..200)
}

proptest! {
    #[test]
    fn the_effect_is_zero_on_equal_order_free_and_does_not_depend_on_the_unit(
        (a, b) in (values(), values()), shift in -10.0..10.0_f64,
    ) {
        let compared = |a: &[f64], b: &[f64]| compared(of(a), of(b));
        let found = compared(&a, &b);
        prop_assert!(found.effect >= 0.0 && found.effect.is_finite());
        prop_assert!((0.0..=1.0).contains(&found.p_value));
        let interval = found.interval.unwrap();
        prop_assert!(interval.low <= found.effect && found.effect <= interval.high);
        prop_assert_eq!(compared(&a, &a).effect, 0.0);
        let (mut x, mut y) = (a.clone(), b.clone());
        x.reverse();
        y.rotate_left(b.len() / 2);
        prop_assert_eq!(&compared(&x, &y), &found);
        // Powers of two and integers keep the arithmetic exact enough.
        let moved = |values: &[f64]| values.iter().map(|v| v * 4.0 + shift.round()).collect::<Vec<_>>();
        let other = compared(&moved(&a), &moved(&b)).effect;
        prop_assert!((other - found.effect).abs() <= 1e-6 * found.effect.max(1.0), "{other} {}", found.effect);
    }
}
