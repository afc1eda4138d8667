use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray, UInt32Array};
use proptest::prelude::*;

use super::*;
use crate::samples::{seconds, span, tens};

/// Group, seconds, position.
type Row<'a> = (Option<&'a str>, i64, Option<u32>);

fn batch(rows: &[Row<'_>]) -> RecordBatch {
    let times: Vec<i64> = rows.iter().map(|row| row.1 * 1_000_000).collect();
    RecordBatch::try_from_iter_with_nullable([
        (EVENT_TIME, Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) as ArrayRef, true),
        (POSITION, Arc::new(rows.iter().map(|row| row.2).collect::<UInt32Array>()), true),
        ("seller", Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()), true),
    ])
    .unwrap()
}

fn schema() -> Schema {
    Schema::new(batch(&[]).schema()).unwrap()
}

fn monitor() -> FairnessMonitorBuilder {
    FairnessMonitor::builder(&schema(), "seller", tens()).rows_min(1)
}

fn report(monitor: FairnessMonitorBuilder, rows: &[Row<'_>]) -> FairnessReport {
    let mut monitor = monitor.build().unwrap();
    monitor.update(&batch(rows), seconds(10)).unwrap();
    monitor.due(seconds(10)).remove(0)
}

fn close(found: Option<f64>, expected: f64) {
    assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?} is not {expected}");
}

#[test]
fn rates_and_exposure_are_those_of_the_paper() {
    let rows = [(Some("a"), 1, Some(0)), (Some("b"), 1, Some(1)), (Some("a"), 2, Some(2)), (Some("b"), 2, Some(0))];
    let found = report(monitor(), &rows);
    // By hand: exposure 1 at place 0, 1 / log2(3) at place 1, 1 / 2 at place 2.
    let third = 1.0 / 3_f64.log2();
    assert_eq!((found.window, found.column.as_str(), found.ungrouped), (span(0, 10), "seller", 0));
    let groups: Vec<_> = found.groups.iter().map(|g| (g.group.as_str(), g.rows, g.selection_rate)).collect();
    assert_eq!(groups, [("a", 2, Some(0.5)), ("b", 2, Some(0.5))]);
    close(found.groups[0].exposure, 0.75);
    close(found.groups[1].exposure, f64::midpoint(1.0, third));
    assert_eq!(found.selection_ratio, Some(1.0));
    close(found.exposure_ratio, 0.75 / f64::midpoint(1.0, third));
    assert_eq!(found.balance, Balance::Even);
}

#[test]
fn a_group_that_is_passed_over_is_uneven() {
    let rows: Vec<Row<'_>> =
        (0..10).flat_map(|at| [(Some("a"), at, Some(0)), (Some("b"), at, Some(1)), (Some("b"), at, Some(2))]).collect();
    let one = report(monitor(), &rows);
    assert_eq!((one.selection_ratio, one.balance), (Some(0.0), Balance::Uneven));
    // Among the first three places everybody is chosen, and the exposure of b is (1 / log2(3) + 1 / 2) / 2 of that of a.
    let three = report(monitor().first(3).ratio_min(0.5), &rows);
    assert_eq!((three.selection_ratio, three.balance), (Some(1.0), Balance::Even));
    close(three.exposure_ratio, f64::midpoint(1.0 / 3_f64.log2(), 0.5));
}

#[test]
fn small_groups_have_no_rate_and_one_group_no_verdict() {
    let mut rows = vec![(Some("a"), 1, Some(0)); 5];
    rows.push((Some("b"), 1, Some(1)));
    let found = report(monitor().rows_min(2), &rows);
    assert_eq!((found.groups[1].rows, found.groups[1].selection_rate, found.groups[1].exposure), (1, None, None));
    assert_eq!((found.selection_ratio, found.exposure_ratio, found.balance), (None, None, Balance::Inconclusive));
}

#[test]
fn nobody_selected_is_judged_by_exposure() {
    let found = report(monitor(), &[(Some("a"), 1, Some(1)), (Some("b"), 1, Some(2))]);
    assert_eq!(found.selection_ratio, None, "no rate to compare with");
    close(found.exposure_ratio, 0.5 * 3_f64.log2());
    assert_eq!(found.balance, Balance::Uneven);
}

#[test]
fn rows_without_a_group_and_groups_beyond_the_bound_are_counted() {
    let long = "x".repeat(log::GROUP_BYTES_MAX + 1);
    let rows = [
        (Some("a"), 1, Some(0)),
        (None, 1, Some(1)),
        (Some("b"), 1, Some(2)),
        (Some("c"), 1, Some(3)),
        (Some("a"), 1, Some(4)),
        (Some(long.as_str()), 1, Some(5)),
    ];
    let mut monitor = monitor().groups_max(2).build().unwrap();
    let mut all = rows.to_vec();
    all.push((Some("a"), 1, None));
    monitor.update(&batch(&all), seconds(10)).unwrap();
    let found = monitor.due(seconds(10)).remove(0);
    let groups: Vec<_> = found.groups.iter().map(|g| (g.group.as_str(), g.rows)).collect();
    assert_eq!((groups, found.ungrouped), (vec![("a", 2), ("b", 1)], 3));
    assert_eq!(monitor.counters().malformed, 1, "a row without a position");
}

#[test]
fn values_of_a_sensitive_column_are_not_told() {
    let hidden = schema().with_sensitivity("seller", Sensitivity::Personal).unwrap();
    let monitor = FairnessMonitor::builder(&hidden, "seller", tens()).rows_min(1);
    let found = report(monitor, &[(Some("women"), 1, Some(0)), (Some("men"), 1, Some(1))]);
    let names: Vec<&str> = found.groups.iter().map(|g| g.group.as_str()).collect();
    assert_eq!(names, ["group 1", "group 2"]);
    assert!(!serde_json::to_string(&found).unwrap().contains("men"));
}

#[test]
fn late_rows_reopen_a_window() {
    let mut monitor = monitor().build().unwrap();
    monitor.update(&batch(&[(Some("a"), 1, Some(0))]), seconds(10)).unwrap();
    assert_eq!(monitor.due(seconds(10))[0].revision, 0);
    monitor.update(&batch(&[(Some("b"), 9, Some(1)), (Some("b"), 200, Some(1))]), seconds(20)).unwrap();
    let again = &monitor.due(seconds(20))[0];
    assert_eq!((again.revision, again.groups.len()), (1, 2));
    assert_eq!(monitor.counters().future, 1);
    monitor.update(&batch(&[(Some("b"), 9, Some(1))]), seconds(70)).unwrap();
    assert_eq!(monitor.counters().late, 1);
}

#[test]
fn integers_are_groups_and_numbers_with_fractions_are_not() {
    let of = |array: ArrayRef| {
        let mut columns = batch(&[(None, 1, Some(0))]).columns().to_vec();
        columns[2] = array;
        let names = [EVENT_TIME, POSITION, "seller"].into_iter().zip(columns);
        RecordBatch::try_from_iter_with_nullable(names.map(|(n, a)| (n, a, true))).unwrap()
    };
    let mut monitor = monitor().build().unwrap();
    monitor.update(&of(Arc::new(Int64Array::from(vec![7]))), seconds(10)).unwrap();
    assert_eq!(monitor.due(seconds(10))[0].groups[0].group, "7");
    let fractions: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![0.5]));
    assert!(matches!(monitor.update(&of(fractions), seconds(10)), Err(Error::Schema { .. })));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let bad = [
        monitor().first(0),
        monitor().rows_min(0),
        monitor().ratio_min(0.0),
        monitor().ratio_min(1.5),
        monitor().ratio_min(f64::NAN),
        monitor().groups_max(1),
        monitor().groups_max(1_001),
    ];
    for settings in bad {
        assert!(matches!(settings.clone().build(), Err(Error::Invalid { .. })), "{settings:?}");
    }
    assert!(matches!(FairnessMonitor::builder(&schema(), "ghost", tens()).build(), Err(Error::NotFound { .. })));
}

#[test]
fn a_report_comes_back() {
    let found = report(monitor(), &[(Some("a"), 1, Some(0)), (Some("b"), 1, Some(1))]);
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<FairnessReport>(&json).unwrap(), found);
}

proptest! {
    /// Neither order nor cuts matter, to rounding.
    #[test]
    fn order_and_cuts_do_not_matter(
        places in prop::collection::vec((0_usize..3, 0_u32..6), 1..40),
        cut in 0_usize..40,
    ) {
        let names = ["a", "b", "c"];
        let rows: Vec<Row<'_>> = places.iter().map(|(group, place)| (Some(names[*group]), 1, Some(*place))).collect();
        let whole = report(monitor().first(2), &rows);
        let (left, right) = rows.split_at(cut.min(rows.len()));
        let mut cut_up = monitor().first(2).build().unwrap();
        cut_up.update(&batch(right), seconds(10)).unwrap();
        cut_up.update(&batch(left), seconds(10)).unwrap();
        let parts = cut_up.due(seconds(10)).remove(0);
        prop_assert_eq!(parts.selection_ratio, whole.selection_ratio);
        for (part, one) in parts.groups.iter().zip(&whole.groups) {
            prop_assert_eq!((&part.group, part.rows, part.selection_rate), (&one.group, one.rows, one.selection_rate));
            prop_assert!((part.exposure.unwrap() - one.exposure.unwrap()).abs() < 1e-12);
        }
        for ratio in [whole.selection_ratio, whole.exposure_ratio].into_iter().flatten() {
            prop_assert!((0.0..=1.0).contains(&ratio));
        }
    }
}
