use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray};
use mlops_core::profile::{ProfileOptions, Profiler};
use mlops_core::stats::DriftMethod;
use proptest::prelude::*;
use std::sync::Arc;

use Verdict::{Drifted, Stable};

use super::*;
use crate::samples::{numbers, profile_of, span};

/// A profile of a column of `zeros` and `ones`.
fn bits(zeros: usize, ones: usize) -> Profile {
    profile_of(&numbers("bit", std::iter::repeat_n(0.0, zeros).chain(std::iter::repeat_n(1.0, ones))))
}

fn rule(method: DriftMethod) -> DriftRule {
    DriftRule::builder().method(method).build().unwrap()
}

fn monitor(reference: Profile) -> DriftMonitorBuilder {
    DriftMonitor::builder(reference)
}

fn hour(hour: i64) -> Window {
    span(hour * 3_600, (hour + 1) * 3_600)
}

fn judge_once(method: DriftMethod, reference: Profile, current: &Profile) -> ColumnVerdict {
    let mut monitor = monitor(reference).rule(rule(method)).persistence(1, 1).build().unwrap();
    monitor.judge(hour(0), current).unwrap().columns.remove(0)
}

#[test]
fn the_index_is_the_one_of_the_textbook() {
    // By hand: shares (0.5, 0.5) and (0.25, 0.75); (0.25 − 0.5) ln(0.25 / 0.5) + (0.75 − 0.5) ln(0.75 / 0.5).
    let expected = 0.25 * 2_f64.ln() + 0.25 * 1.5_f64.ln();
    let column = judge_once(DriftMethod::Psi, bits(500, 500), &bits(250, 750));
    assert!((column.now.effect - expected).abs() < 1e-9, "{} is not {expected}", column.now.effect);
    assert_eq!((column.verdict, column.now.n_reference, column.now.n_current), (Verdict::Drifted, 1000, 1000));
}

#[test]
fn the_statistic_of_kolmogorov_is_the_greatest_distance() {
    // By hand: below 1 lie 50 % and 25 % of the rows.
    let column = judge_once(DriftMethod::Ks, bits(500, 500), &bits(250, 750));
    assert!((column.now.effect - 0.25).abs() < 1e-9, "{}", column.now.effect);
    assert_eq!(column.verdict, Verdict::Drifted);
    // Two rows apart in a thousand: 500 of 1000 values below the shift of a uniform column by half its width.
    let uniform = |shift: f64| profile_of(&numbers("x", (0..1000).map(|i| f64::from(i) + shift)));
    let column = judge_once(DriftMethod::Ks, uniform(0.0), &uniform(500.0));
    assert!((column.now.effect - 0.5).abs() < 0.01, "{}", column.now.effect);
}

#[test]
fn equal_columns_have_no_effect_whatever_the_method() {
    for method in [DriftMethod::Psi, DriftMethod::Ks] {
        let column = judge_once(method, bits(300, 700), &bits(300, 700));
        assert_eq!((column.now.effect, column.verdict), (0.0, Verdict::Stable));
    }
}

#[test]
fn nulls_texts_and_booleans_drift_too() {
    let table = |nulls: usize, city: &str, yes: bool| {
        let price: Float64Array = (0..1000).map(|i| (i >= nulls).then_some(1.0)).collect();
        let city: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(city, 1000)));
        let flag: BooleanArray = (0..1000).map(|i| Some(yes && i % 2 == 0)).collect();
        let columns = [("price", Arc::new(price) as ArrayRef), ("city", city), ("flag", Arc::new(flag))];
        profile_of(&RecordBatch::try_from_iter_with_nullable(columns.map(|(n, a)| (n, a, true))).unwrap())
    };
    let mut monitor = monitor(table(0, "Huế", true)).persistence(1, 1).build().unwrap();
    assert!(monitor.judge(hour(0), &table(0, "Huế", true)).unwrap().drifted().is_empty());
    let report = monitor.judge(hour(1), &table(400, "Vinh", false)).unwrap();
    assert_eq!((report.drifted(), report.share), (vec!["price", "city", "flag"], 1.0));
}

#[test]
fn one_outlier_does_not_decide() {
    let normal =
        |outlier: Option<f64>| profile_of(&numbers("x", (0..10_000).map(|i| f64::from(i % 100) / 10.0).chain(outlier)));
    for (reference, current) in [(None, Some(1e9)), (Some(1e9), None)] {
        assert_eq!(judge_once(DriftMethod::Psi, normal(reference), &normal(current)).verdict, Verdict::Stable);
    }
}

#[test]
fn too_few_rows_have_no_verdict_and_do_not_count() {
    let mut monitor = monitor(bits(500, 500)).persistence(2, 3).build().unwrap();
    let verdicts: Vec<Verdict> = [bits(0, 1000), bits(0, 99), bits(0, 0), bits(0, 1000)]
        .iter()
        .zip(0..)
        .map(|(current, at)| monitor.judge(hour(at), current).unwrap().columns[0].verdict)
        .collect();
    let expected = [Verdict::Stable, Verdict::Inconclusive, Verdict::Inconclusive, Verdict::Drifted];
    assert_eq!(verdicts, expected, "two of the windows with enough rows");
}

#[test]
fn a_column_drifts_after_k_of_m_windows_and_comes_back() {
    let (calm, moved) = (bits(500, 500), bits(100, 900));
    let mut monitor = monitor(calm.clone()).persistence(2, 3).build().unwrap();
    let windows = [&moved, &calm, &moved, &calm, &calm, &calm, &moved, &moved];
    let told: Vec<(Verdict, usize, usize)> = windows
        .iter()
        .zip(0..)
        .map(|(current, at)| {
            let column = monitor.judge(hour(at), current).unwrap().columns.remove(0);
            (column.verdict, column.hits, column.windows)
        })
        .collect();
    let expected = [
        (Stable, 1, 1),
        (Stable, 1, 2),
        (Drifted, 2, 3),
        (Stable, 1, 3),
        (Stable, 1, 3),
        (Stable, 0, 3),
        (Stable, 1, 3),
        (Drifted, 2, 3),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_window_that_is_judged_again_replaces_its_first_judgement() {
    let (calm, moved) = (bits(500, 500), bits(100, 900));
    let mut monitor = monitor(calm.clone()).persistence(2, 3).build().unwrap();
    monitor.judge(hour(0), &moved).unwrap();
    let again = monitor.judge(hour(0), &moved).unwrap();
    assert_eq!((again.columns[0].hits, again.columns[0].windows), (1, 1), "one window twice is one window");
    monitor.judge(hour(2), &moved).unwrap();
    // A late window sees only what starts no later.
    let late = monitor.judge(hour(1), &calm).unwrap();
    assert_eq!((late.columns[0].hits, late.columns[0].windows), (1, 2));
    monitor.judge(hour(0), &calm).unwrap();
    let last = monitor.judge(hour(2), &moved).unwrap();
    assert_eq!((last.columns[0].hits, last.columns[0].verdict), (1, Verdict::Stable));
}

/// Columns `a` and `b`, each of zeros and ones.
fn two(a: (usize, usize), b: (usize, usize)) -> Profile {
    let column = |(zeros, ones): (usize, usize)| -> ArrayRef {
        let values = std::iter::repeat_n(0.0, zeros).chain(std::iter::repeat_n(1.0, ones));
        Arc::new(Float64Array::from_iter_values(values))
    };
    profile_of(&RecordBatch::try_from_iter([("a", column(a)), ("b", column(b))]).unwrap())
}

#[test]
fn only_chosen_columns_are_judged_and_weigh() {
    let (reference, current) = (two((500, 500), (500, 500)), two((100, 900), (480, 520)));
    let mut chosen = monitor(reference.clone()).columns(["b"]).persistence(1, 1).build().unwrap();
    let report = chosen.judge(hour(0), &current).unwrap();
    assert_eq!(report.columns.len(), 1);
    let b = &report.columns[0].now;
    assert_eq!((b.column.as_str(), b.q_value), ("b", b.p_value), "alone, nothing is adjusted");
    let mut both = monitor(reference).persistence(1, 1).build().unwrap();
    let report = both.judge(hour(0), &current).unwrap();
    assert_eq!((report.drifted(), report.share), (vec!["a"], 0.5));
    assert_eq!((report.count(Verdict::Stable), report.count(Verdict::Drifted)), (1, 1));
}

#[test]
fn another_reference_forgets_and_narrows_again() {
    let mut monitor = monitor(bits(500, 500)).columns(["bit"]).persistence(1, 2).build().unwrap();
    assert_eq!(monitor.judge(hour(0), &bits(100, 900)).unwrap().drifted(), ["bit"]);
    assert!(matches!(monitor.set_reference(two((1, 1), (1, 1))), Err(Error::NotFound { .. })));
    assert!(monitor.reference().column("bit").is_some(), "nothing changes on an error");
    // The new reference has one more column, which nobody chose.
    let columns = |zeros: usize, ones: usize| {
        let values = || std::iter::repeat_n(0.0, zeros).chain(std::iter::repeat_n(1.0, ones));
        let array = || Arc::new(Float64Array::from_iter_values(values())) as ArrayRef;
        profile_of(&RecordBatch::try_from_iter([("bit", array()), ("other", array())]).unwrap())
    };
    monitor.set_reference(columns(100, 900)).unwrap();
    let report = monitor.judge(hour(1), &columns(90, 910)).unwrap();
    let bit = &report.columns[0];
    assert_eq!((report.columns.len(), bit.hits, bit.windows), (1, 0, 1));
    assert_eq!(bit.now.q_value, bit.now.p_value, "a column nobody chose does not weigh on the others");
}

#[test]
fn missing_and_new_columns_have_no_verdict_and_no_history() {
    let mut monitor = monitor(two((500, 500), (500, 500))).persistence(1, 1).build().unwrap();
    let fresh = profile_of(&numbers("c", (0..500).map(f64::from)));
    let report = monitor.judge(hour(0), &fresh).unwrap();
    let names: Vec<&str> = report.columns.iter().map(|c| c.now.column.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!((report.count(Verdict::Inconclusive), report.share), (3, 0.0));
    assert!(monitor.history.is_empty(), "new names cannot fill the memory");
}

#[test]
fn a_hidden_column_is_compared_by_its_nulls_alone() {
    let table = |nulls: usize| {
        let phone: StringArray = (0..1000).map(|i| (i >= nulls).then(|| format!("09{i:08}"))).collect();
        let batch = RecordBatch::try_from_iter_with_nullable([("phone", Arc::new(phone) as ArrayRef, true)]).unwrap();
        let options = ProfileOptions::builder().hide("phone").build().unwrap();
        let mut profiler = Profiler::new(&batch.schema(), &options).unwrap();
        profiler.update(&batch).unwrap();
        profiler.finish()
    };
    let mut monitor = monitor(table(0)).persistence(1, 1).build().unwrap();
    assert!(monitor.judge(hour(0), &table(10)).unwrap().drifted().is_empty());
    let report = monitor.judge(hour(1), &table(400)).unwrap();
    assert_eq!(report.drifted(), ["phone"]);
    assert!(!serde_json::to_string(&report).unwrap().contains("0900"));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (hits, windows) in [(0, 3), (4, 3), (0, 0), (1, 0), (1, 1_001)] {
        assert!(monitor(bits(1, 1)).persistence(hits, windows).build().is_err(), "{hits} of {windows}");
    }
    assert!(matches!(monitor(bits(1, 1)).columns(["ghost"]).build(), Err(Error::NotFound { .. })));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["0"]));
    let texts = profile_of(&RecordBatch::try_from_iter([("bit", texts)]).unwrap());
    let mut monitor = monitor(bits(500, 500)).build().unwrap();
    assert!(matches!(monitor.judge(hour(0), &texts), Err(Error::Schema { .. })));
}

#[test]
fn a_report_comes_back_and_a_newer_format_is_refused() {
    let mut monitor = monitor(bits(500, 500)).persistence(1, 1).build().unwrap();
    let report = monitor.judge(hour(0), &bits(100, 900)).unwrap();
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<DriftReport>(&json).unwrap(), report);
    assert!(serde_json::from_str::<DriftReport>(&json.replacen("\"format\":1", "\"format\":9", 1)).is_err());
}

proptest! {
    /// The verdict of a window depends on the windows that start no later, not on the order in which they came.
    #[test]
    fn the_order_of_judging_does_not_matter(
        kinds in prop::collection::vec(any::<bool>(), 1..7),
        order in any::<prop::sample::Index>(),
    ) {
        let (calm, moved) = (bits(500, 500), bits(100, 900));
        let of = |drifted: bool| if drifted { &moved } else { &calm };
        let build = || monitor(calm.clone()).persistence(2, 3).build().unwrap();
        let mut in_order = build();
        let expected: Vec<Verdict> = kinds
            .iter()
            .zip(0..)
            .map(|(kind, at)| in_order.judge(hour(at), of(*kind)).unwrap().columns[0].verdict)
            .collect();
        let mut turned = build();
        let start = order.index(kinds.len());
        for place in (0..kinds.len()).map(|i| (i + start) % kinds.len()) {
            turned.judge(hour(place as i64), of(kinds[place])).unwrap();
        }
        // Twice as many windows as are looked at are remembered.
        for place in kinds.len().saturating_sub(3)..kinds.len() {
            let again = turned.judge(hour(place as i64), of(kinds[place])).unwrap().columns[0].verdict;
            prop_assert_eq!(again, expected[place], "window {}", place);
        }
    }
}
