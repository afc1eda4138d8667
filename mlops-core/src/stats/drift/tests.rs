use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};

use super::*;
use crate::profile::{ProfileOptions, Profiler};

/// SplitMix64, and the sum of twelve uniform numbers for a normal one.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

pub(super) fn normals(count: usize, shift: f64, seed: u64) -> Vec<f64> {
    let mut random = Random(seed);
    (0..count).map(|_| random.normal() + shift).collect()
}

pub(super) fn profile(columns: Vec<(&str, ArrayRef)>) -> Profile {
    profile_with(columns, &ProfileOptions::default())
}

fn profile_with(columns: Vec<(&str, ArrayRef)>, options: &ProfileOptions) -> Profile {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut profiler = Profiler::new(&batch.schema(), options).unwrap();
    profiler.update(&batch).unwrap();
    profiler.finish()
}

pub(super) fn numbers(values: Vec<f64>) -> Profile {
    profile(vec![("x", Arc::new(Float64Array::from(values)))])
}

fn rule(method: DriftMethod) -> DriftRule {
    DriftRule::builder().method(method).build().unwrap()
}

const BOTH: [DriftMethod; 2] = [DriftMethod::Psi, DriftMethod::Ks];
const ALL: [DriftMethod; 3] = [DriftMethod::Psi, DriftMethod::Ks, DriftMethod::Robust];

#[track_caller]
fn verdict(reference: &Profile, current: &Profile, method: DriftMethod) -> ColumnDrift {
    let mut drifts = reference.compare(current, &rule(method)).unwrap();
    assert_eq!(drifts.len(), 1);
    drifts.remove(0)
}

#[test]
fn a_shift_of_half_a_deviation_is_drift_and_none_is_not() {
    let reference = numbers(normals(20_000, 0.0, 1));
    for method in BOTH {
        let same = verdict(&reference, &numbers(normals(5_000, 0.0, 2)), method);
        assert_eq!(same.verdict, Verdict::Stable, "{same:?}");
        assert!(same.effect < 0.05, "{same:?}");
        let shifted = verdict(&reference, &numbers(normals(5_000, 0.5, 3)), method);
        assert_eq!(shifted.verdict, Verdict::Drifted, "{shifted:?}");
        // numpy 2.4.6 over the same numbers: 0.19399 with its deciles; for KS, 2Φ(0.25) − 1 = 0.197 but for sampling.
        let (expected, allowed) = if method == DriftMethod::Psi { (0.193_99, 0.005) } else { (0.197, 0.03) };
        assert!((shifted.effect - expected).abs() < allowed, "{shifted:?}");
    }
}

#[test]
fn one_far_outlier_changes_no_verdict() {
    let with_outlier = |mut values: Vec<f64>| {
        values.push(1e6);
        numbers(values)
    };
    for method in BOTH {
        for shift in [0.0, 0.5] {
            let (reference, current) = (normals(10_000, 0.0, 4), normals(10_000, shift, 5));
            let clean = verdict(&numbers(reference.clone()), &numbers(current.clone()), method);
            let in_reference = verdict(&with_outlier(reference.clone()), &numbers(current.clone()), method);
            let in_current = verdict(&numbers(reference), &with_outlier(current), method);
            assert_eq!(clean.verdict, if shift > 0.0 { Verdict::Drifted } else { Verdict::Stable });
            for other in [in_reference, in_current] {
                assert_eq!(other.verdict, clean.verdict);
                assert!((other.effect - clean.effect).abs() < 0.01, "{other:?} {clean:?}");
            }
        }
    }
}

#[test]
fn the_index_of_exact_sketches_is_that_of_counts_in_quantile_bins() {
    // Reference 0..100, ten bins of ten; current 0..50 twice: five bins of 20, five empty ones (floor 1e-4).
    let reference = numbers((0..100).map(f64::from).collect());
    let current = numbers((0..100).map(|i| f64::from(i / 2)).collect());
    let found = verdict(&reference, &current, DriftMethod::Psi);
    let expected = 5.0 * (0.1 * 2_f64.ln()) + 5.0 * (1e-4 - 0.1) * (1e-4_f64 / 0.1).ln();
    assert!((found.effect - expected).abs() < 1e-9, "{found:?} {expected}");
    assert!((found.expected_by_chance - 9.0 * 0.02).abs() < 1e-12);
}

#[test]
fn small_samples_do_not_alarm_by_chance() {
    // With ten bins and 100 rows on both sides the index is 0.18 on average: above the threshold, and no drift.
    let alarms = |method| {
        let drifted = |seed| {
            let (reference, current) = (numbers(normals(150, 0.0, seed)), numbers(normals(150, 0.0, seed + 1)));
            verdict(&reference, &current, method).verdict == Verdict::Drifted
        };
        (0..100).filter(|i| drifted(i * 1000)).count()
    };
    for method in ALL {
        assert!(alarms(method) <= 12, "{method:?}: {}", alarms(method));
    }
}

#[test]
fn too_few_rows_give_no_verdict() {
    let (reference, current) = (numbers(normals(5_000, 0.0, 1)), numbers(normals(99, 3.0, 2)));
    assert_eq!(verdict(&reference, &current, DriftMethod::Psi).verdict, Verdict::Inconclusive);
    let empty = numbers(Vec::new());
    for method in ALL {
        assert_eq!(verdict(&reference, &empty, method).verdict, Verdict::Inconclusive);
        assert_eq!(verdict(&empty, &reference, method).verdict, Verdict::Inconclusive);
    }
}

#[test]
fn more_nulls_are_drift() {
    let column = |nulls: usize| {
        let values = normals(2000, 0.0, 8).into_iter().enumerate();
        let array: Float64Array = values.map(|(i, value)| (i % 10 >= nulls).then_some(value)).collect();
        profile(vec![("x", Arc::new(array))])
    };
    for method in BOTH {
        assert_eq!(verdict(&column(0), &column(3), method).verdict, Verdict::Drifted);
        assert_eq!(verdict(&column(1), &column(1), method).verdict, Verdict::Stable);
        let all_null = profile(vec![("x", Arc::new(Float64Array::from(vec![None::<f64>; 500])))]);
        assert_eq!(verdict(&column(0), &all_null, method).verdict, Verdict::Drifted);
        assert_eq!(verdict(&all_null, &column(0), method).verdict, Verdict::Drifted);
        assert_eq!(verdict(&all_null, &all_null, method).verdict, Verdict::Stable);
    }
}

#[test]
fn infinities_count_as_rows_at_the_ends() {
    let column = |infinite: usize| {
        numbers((0..1000).map(|i| if i % 10 < infinite { f64::INFINITY } else { 1.0 + i as f64 }).collect())
    };
    for method in BOTH {
        assert_eq!(verdict(&column(0), &column(4), method).verdict, Verdict::Drifted, "{method:?}");
        assert_eq!(verdict(&column(4), &column(4), method).verdict, Verdict::Stable);
    }
}

#[test]
fn a_rare_flag_that_becomes_common_is_drift() {
    // Nine deciles of the reference are 0: quantile bins alone would not see it.
    let flags = |ones: usize| {
        let values: Int64Array = (0..1000).map(|i| i64::from(i < ones)).collect();
        profile(vec![("x", Arc::new(values))])
    };
    let found = verdict(&flags(10), &flags(300), DriftMethod::Psi);
    assert_eq!(found.verdict, Verdict::Drifted);
    let by_hand = (0.3_f64 - 0.01) * (0.3_f64 / 0.01).ln() + (0.7_f64 - 0.99) * (0.7_f64 / 0.99).ln();
    assert!((found.effect - by_hand).abs() < 1e-9, "{found:?}");
    let ks = verdict(&flags(10), &flags(300), DriftMethod::Ks);
    assert!((ks.effect - 0.29).abs() < 1e-9);
}

#[test]
fn texts_and_booleans_are_compared_by_their_counts() {
    let texts = |cut: usize| {
        let array: StringArray = (0..1000).map(|i| Some(if i < cut { "a" } else { "b" })).collect();
        profile(vec![("x", Arc::new(array))])
    };
    let booleans = |cut: usize| {
        let array: BooleanArray = (0..1000).map(|i| Some(i < cut)).collect();
        profile(vec![("x", Arc::new(array))])
    };
    let by_hand = (0.8_f64 - 0.5) * (0.8_f64 / 0.5).ln() + (0.2_f64 - 0.5) * (0.2_f64 / 0.5).ln();
    for (reference, current) in [(texts(500), texts(800)), (booleans(500), booleans(800))] {
        let found = verdict(&reference, &current, DriftMethod::Psi);
        assert!((found.effect - by_hand).abs() < 1e-9 && found.verdict == Verdict::Drifted, "{found:?}");
        let found = verdict(&reference, &current, DriftMethod::Ks);
        assert!((found.effect - 0.3).abs() < 1e-9 && found.verdict == Verdict::Drifted, "{found:?}");
    }
    let new: StringArray = (0..1000).map(|i| Some(if i % 2 == 0 { "a" } else { "new" })).collect();
    let found = verdict(&texts(1000), &profile(vec![("x", Arc::new(new))]), DriftMethod::Psi);
    assert_eq!(found.verdict, Verdict::Drifted);
}

#[test]
fn texts_that_never_repeat_do_not_drift() {
    let ids = |start: usize| {
        let array: StringArray = (start..start + 5000).map(|i| Some(format!("id-{i}"))).collect();
        profile(vec![("x", Arc::new(array))])
    };
    for method in ALL {
        assert_eq!(verdict(&ids(0), &ids(100_000), method).verdict, Verdict::Stable);
    }
}

#[test]
fn of_hidden_columns_only_nulls_are_compared() {
    let options = ProfileOptions::builder().hide("x").build().unwrap();
    let column = |shift: f64, nulls: usize| {
        let values = normals(1000, shift, 3).into_iter().enumerate();
        let array: Float64Array = values.map(|(i, value)| (i % 10 >= nulls).then_some(value)).collect();
        profile_with(vec![("x", Arc::new(array))], &options)
    };
    assert_eq!(verdict(&column(0.0, 1), &column(9.0, 1), DriftMethod::Psi).verdict, Verdict::Stable);
    assert_eq!(verdict(&column(0.0, 1), &column(0.0, 5), DriftMethod::Psi).verdict, Verdict::Drifted);
}

#[test]
fn many_columns_share_the_false_alarms() {
    let table = |seed: u64, shifted: usize| {
        let names: Vec<String> = (0..40).map(|i| format!("c{i:02}")).collect();
        let columns = names.iter().enumerate().map(|(i, name)| {
            let shift = if i < shifted { 0.6 } else { 0.0 };
            (name.as_str(), Arc::new(Float64Array::from(normals(400, shift, seed + i as u64))) as ArrayRef)
        });
        profile(columns.collect())
    };
    // A threshold below chance leaves the decision to the adjusted p-value.
    let rule = DriftRule::builder().method(DriftMethod::Ks).threshold(1e-3).build().unwrap();
    let drifts = table(100, 0).compare(&table(5000, 8), &rule).unwrap();
    let drifted: Vec<&str> =
        drifts.iter().filter(|drift| drift.verdict == Verdict::Drifted).map(|drift| drift.column.as_str()).collect();
    assert!(drifted.len() >= 8 && drifted.len() <= 10, "{drifted:?}");
    assert!(drifts.iter().all(|drift| drift.q_value >= drift.p_value - 1e-15));
}

#[test]
fn adjusted_p_values_are_those_of_benjamini_and_hochberg() {
    // scipy 1.17.1: false_discovery_control([.01, .04, .03, .2]) == [.04, .05333…, .05333…, .2]
    let rule = DriftRule::default();
    let mut drifts: Vec<ColumnDrift> = [0.01, 0.04, 0.03, 0.2]
        .map(|p_value| Effect { p_value, rows: (1000, 1000), ..Effect::NONE })
        .map(|found| ColumnDrift::new("x", &rule, found.rows, found, Signals::default()))
        .into();
    adjust(&mut drifts, &rule).unwrap();
    for (drift, expected) in drifts.iter().zip([0.04, 0.16 / 3.0, 0.16 / 3.0, 0.2]) {
        assert!((drift.q_value - expected).abs() < 1e-12, "{drift:?}");
    }
}

#[test]
fn columns_that_one_side_lacks_are_inconclusive_and_times_are_left_out() {
    let column = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_i64; 200]));
    let reference = profile(vec![("a", column(vec![1.0; 200])), ("b", column(vec![1.0; 200])), ("t", time.clone())]);
    let current = profile(vec![("t", time), ("c", column(vec![2.0; 200])), ("b", column(vec![1.0; 200]))]);
    let drifts = reference.compare(&current, &DriftRule::default()).unwrap();
    let found: Vec<_> = drifts.iter().map(|d| (d.column.as_str(), d.verdict, d.n_reference, d.n_current)).collect();
    assert_eq!(
        found,
        [("a", Verdict::Inconclusive, 200, 0), ("b", Verdict::Stable, 200, 200), ("c", Verdict::Inconclusive, 0, 200)]
    );
    let rule = DriftRule::builder().except("a").except("c").build().unwrap();
    assert_eq!(reference.compare(&current, &rule).unwrap().len(), 1);
}

#[test]
fn a_column_of_another_kind_is_an_error_that_names_it() {
    let text = profile(vec![("x", Arc::new(StringArray::from(vec!["a"])))]);
    let error = numbers(vec![1.0]).compare(&text, &DriftRule::default()).unwrap_err();
    assert_eq!(error.to_string(), "column `x`: expected Float64, found Utf8");
}

#[test]
fn rules_are_checked_also_when_read() {
    assert!(DriftRule::builder().bins(1).build().is_err());
    assert!(DriftRule::builder().threshold(0.0).build().is_err());
    assert!(DriftRule::builder().significance(f64::NAN).build().is_err());
    let rule: DriftRule = serde_json::from_str("{\"method\":\"ks\",\"rows_min\":7}").unwrap();
    assert_eq!(rule, DriftRule::builder().method(DriftMethod::Ks).rows_min(7).build().unwrap());
    assert_eq!(serde_json::from_str::<DriftRule>(&serde_json::to_string(&rule).unwrap()).unwrap(), rule);
    assert!(serde_json::from_str::<DriftRule>("{\"bins\":1}").is_err());
    assert!(serde_json::from_str::<DriftRule>("{\"bin\":10}").is_err());
}
