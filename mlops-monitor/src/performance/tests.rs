use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, StringArray};
use proptest::prelude::*;

use super::*;
use crate::log::SCORE;
use crate::samples::{Labelled, labelled, name, seconds, span, tens};

fn ranking(k: usize) -> PerformanceMonitorBuilder {
    PerformanceMonitor::builder(tens()).ranking(name("clicks"), "click", k, Gain::Binary).samples_min(1)
}

fn classification() -> PerformanceMonitorBuilder {
    PerformanceMonitor::builder(tens()).classification(name("click"), "click", SCORE, 0.5).samples_min(1)
}

#[track_caller]
fn check(report: &PerformanceReport, task: &str, metric: Metric, expected: f64) {
    let found = report.metric(task, metric).unwrap();
    assert!((found - expected).abs() < 1e-9, "{}: {found} is not {expected}", metric.name());
}

/// A request whose candidates have these labels in the order they were served, with scores that say nothing.
fn list(request: &'static str, at: i64, labels: &[f64]) -> Vec<Labelled> {
    (0..).zip(labels).map(|(place, label)| (request, at, place, Some(0.5), Some(*label))).collect()
}

fn measure(monitor: PerformanceMonitorBuilder, rows: &[Labelled]) -> PerformanceReport {
    let mut monitor = monitor.build().unwrap();
    monitor.update(&labelled(rows), seconds(10)).unwrap();
    monitor.due(seconds(10)).remove(0)
}

const LABELS: [f64; 8] = [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0];
const SCORES: [f64; 8] = [0.1, 0.35, 0.4, 0.8, 0.65, 0.65, 0.9, 0.2];

fn rows() -> Vec<Labelled> {
    (0..)
        .zip(LABELS.into_iter().zip(SCORES))
        .map(|(at, (label, score))| ("r", at, 0, Some(score), Some(label)))
        .collect()
}

#[test]
fn ranking_metrics_judge_the_order_as_served() {
    let rows = [
        list("a", 1, &[0.0, 1.0, 0.0, 1.0]),
        list("b", 2, &[1.0, 0.0, 0.0]),
        list("c", 3, &[0.0, 0.0, 1.0]),
        list("d", 4, &[0.0, 0.0]),
    ]
    .concat();
    let report = measure(ranking(3), &rows);
    assert_eq!((report.window, report.tasks[0].samples), (span(0, 10), 3), "three requests have a click");
    // scikit-learn 1.9.1: mean of ndcg_score([labels], [served order], k=3) over a, b and c.
    check(&report, "clicks", Metric::Ndcg, 0.6289509357448472);
    // By hand: 1/2, 1 and 1/3.
    check(&report, "clicks", Metric::Mrr, (0.5 + 1.0 + 1.0 / 3.0) / 3.0);
    // By hand: (1/2) / 2 of two clicks, 1 and 1/3.
    check(&report, "clicks", Metric::Map, (0.25 + 1.0 + 1.0 / 3.0) / 3.0);
    check(&report, "clicks", Metric::Precision, 1.0 / 3.0);
    check(&report, "clicks", Metric::Recall, (0.5 + 1.0 + 1.0) / 3.0);
    check(&report, "clicks", Metric::Hit, 0.75);
    assert_eq!(report.metric("clicks", Metric::Auc), None);
}

#[test]
fn rows_may_come_in_any_order() {
    let mut rows = list("a", 1, &[0.0, 1.0, 0.0, 1.0]);
    let straight = measure(ranking(3), &rows);
    rows.reverse();
    assert_eq!(measure(ranking(3), &rows), straight, "the place is that of the answer");
}

#[test]
fn grades_are_gains_where_the_task_says_so() {
    let graded = PerformanceMonitor::builder(tens()).ranking(name("value"), "click", 3, Gain::Graded);
    let rows = list("a", 1, &[1.0, 0.0, 2.0]);
    // scikit-learn 1.9.1: ndcg_score([[1, 0, 3]], [[3, 2, 1]], k=3), gains 2^label − 1.
    check(&measure(graded, &rows), "value", Metric::Ndcg, 0.6885288809404667);
    // By hand: all clicks are worth the same, (1 + 1/2) / (1 + 1/log2(3)).
    check(&measure(ranking(3), &rows), "clicks", Metric::Ndcg, 1.5 / (1.0 + 1.0 / 3_f64.log2()));
}

#[test]
fn grades_of_any_size_have_a_measure() {
    for size in [1e-300, 1e-17, 1e-3, 40.0, 5_000.0, 1e300] {
        let graded = PerformanceMonitor::builder(tens()).ranking(name("value"), "click", 3, Gain::Graded);
        let report = measure(graded, &list("a", 1, &[0.0, size]));
        check(&report, "value", Metric::Ndcg, 1.0 / 3_f64.log2());
    }
}

#[test]
fn classification_metrics_are_those_of_scikit_learn() {
    let report = measure(classification(), &rows());
    assert_eq!(report.tasks[0].samples, 8);
    // scikit-learn 1.9.1: roc_auc_score, log_loss, brier_score_loss, accuracy_score at 0.5.
    check(&report, "click", Metric::Auc, 0.84375);
    check(&report, "click", Metric::LogLoss, 0.46228261534998405);
    check(&report, "click", Metric::Brier, 0.1534375);
    check(&report, "click", Metric::Accuracy, 0.75);
}

#[test]
fn late_labels_reopen_the_window_of_serving() {
    let mut monitor = classification().build().unwrap();
    let rows = rows();
    monitor.update(&labelled(&rows[..4]), seconds(10)).unwrap();
    let first = &monitor.due(seconds(10))[0];
    assert_eq!((first.revision, first.tasks[0].samples), (0, 4));
    assert!(monitor.due(seconds(11)).is_empty());
    monitor.update(&labelled(&rows[4..]), seconds(60)).unwrap();
    let again = &monitor.due(seconds(60))[0];
    assert_eq!((again.window, again.revision, again.tasks[0].samples), (span(0, 10), 1, 8));
    check(again, "click", Metric::Auc, 0.84375);
    monitor.update(&labelled(&rows[..1]), seconds(70)).unwrap();
    assert!(monitor.due(seconds(70)).is_empty(), "the window is gone");
    assert_eq!(monitor.counters().late, 1);
}

#[test]
fn rows_that_cannot_be_judged_are_counted_and_left_out() {
    let mut rows = rows();
    for (score, label) in [
        (Some(f64::NAN), Some(1.0)),
        (Some(1.5), Some(1.0)),
        (Some(f64::INFINITY), Some(0.0)),
        (None, Some(1.0)),
        (Some(0.5), None),
        (Some(0.5), Some(f64::NAN)),
        (Some(0.5), Some(f64::INFINITY)),
    ] {
        rows.push(("r", 9, 0, score, label));
    }
    let mut monitor = classification().build().unwrap();
    monitor.update(&labelled(&rows), seconds(10)).unwrap();
    check(&monitor.due(seconds(10))[0], "click", Metric::Auc, 0.84375);
    assert_eq!(monitor.counters().malformed, 7);
}

#[test]
fn a_request_with_a_row_that_cannot_be_judged_is_left_out_whole() {
    let mut rows = list("a", 1, &[0.0, 1.0]);
    let good = measure(ranking(3), &rows);
    rows.extend([("b", 1, 0, None, Some(1.0)), ("b", 1, 1, None, None), ("b", 1, 2, None, Some(-1.0))]);
    let mut monitor = ranking(3).build().unwrap();
    monitor.update(&labelled(&rows), seconds(10)).unwrap();
    assert_eq!(monitor.due(seconds(10))[0], good);
    assert_eq!(monitor.counters().malformed, 3);
}

#[test]
fn a_window_without_clicks_has_no_ranking_but_a_hit_rate() {
    let report = measure(ranking(3), &list("a", 1, &[0.0, 0.0]));
    assert_eq!((report.tasks[0].samples, report.metric("clicks", Metric::Ndcg)), (0, None));
    check(&report, "clicks", Metric::Hit, 0.0);
    let one_class = measure(classification(), &[("r", 1, 0, Some(0.7), Some(1.0))]);
    assert_eq!(one_class.metric("click", Metric::Auc), None);
    check(&one_class, "click", Metric::LogLoss, -0.7_f64.ln());
}

fn level(task: &str, metric: Metric, reference: f64, tolerance: f64) -> Level {
    Level { task: name(task), metric, reference, tolerance }
}

#[test]
fn a_level_holds_degrades_or_has_no_verdict() {
    let standing = |level: Level, samples_min: u64| {
        let report = measure(classification().level(level).samples_min(samples_min), &rows());
        report.levels[0].standing
    };
    assert_eq!(standing(level("click", Metric::Auc, 0.86, 0.02), 8), Standing::Held);
    assert_eq!(standing(level("click", Metric::Auc, 0.87, 0.02), 8), Standing::Degraded);
    assert_eq!(standing(level("click", Metric::Auc, 0.87, 0.02), 9), Standing::Inconclusive);
    // A smaller loss is the better one.
    assert_eq!(standing(level("click", Metric::LogLoss, 0.45, 0.02), 8), Standing::Held);
    assert_eq!(standing(level("click", Metric::LogLoss, 0.44, 0.02), 8), Standing::Degraded);
    assert_eq!(standing(level("click", Metric::LogLoss, 9.0, 0.0), 8), Standing::Held, "better is fine");
    let none = measure(ranking(3).level(level("clicks", Metric::Ndcg, 0.9, 0.0)), &list("a", 1, &[0.0]));
    assert_eq!((none.levels[0].standing, none.levels[0].value), (Standing::Inconclusive, None));
    let bad = measure(classification().level(level("click", Metric::Auc, 0.9, 0.0)), &rows());
    assert_eq!(bad.degraded().len(), 1);
}

#[test]
fn a_span_is_one_measurement_over_its_windows() {
    let mut rows = rows();
    rows[4..].iter_mut().for_each(|row| row.1 += 10);
    let mut monitor = classification().build().unwrap();
    monitor.update(&labelled(&rows), seconds(20)).unwrap();
    let whole = monitor.span(span(0, 20)).unwrap().unwrap();
    assert_eq!((whole.window, whole.tasks[0].samples), (span(0, 20), 8));
    check(&whole, "click", Metric::Auc, 0.84375);
    check(&whole, "click", Metric::LogLoss, 0.46228261534998405);
    assert_eq!(monitor.span(span(0, 19)).unwrap().unwrap().window, span(0, 10));
    assert_eq!(monitor.span(span(1, 9)).unwrap(), None);
}

#[test]
fn windows_are_half_open_and_empty_ones_are_not_given_out() {
    let mut monitor = classification().build().unwrap();
    let row = |at| ("r", at, 0, Some(0.5), Some(1.0));
    monitor.update(&labelled(&[row(9), row(10), row(35)]), seconds(40)).unwrap();
    let windows: Vec<Window> = monitor.due(seconds(40)).iter().map(|report| report.window).collect();
    assert_eq!(windows, [span(0, 10), span(10, 20), span(30, 40)]);
    assert!(monitor.due(seconds(60)).is_empty());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let invalid = [
        PerformanceMonitor::builder(tens()),
        ranking(0),
        PerformanceMonitor::builder(tens()).classification(name("c"), "click", SCORE, 1.5),
        ranking(3).level(level("clicks", Metric::Auc, 0.5, 0.0)),
        classification().level(level("click", Metric::Mrr, 0.5, 0.0)),
        ranking(3).level(level("clicks", Metric::Mrr, f64::NAN, 0.0)),
        ranking(3).level(level("clicks", Metric::Mrr, 0.5, -0.1)),
    ];
    for settings in invalid {
        assert!(matches!(settings.clone().build(), Err(Error::Invalid { .. })), "{settings:?}");
    }
    let lost = ranking(3).level(level("ghost", Metric::Mrr, 0.5, 0.0)).build();
    assert!(matches!(lost, Err(Error::NotFound { .. })));
    let twice = ranking(3).ranking(name("clicks"), "click", 5, Gain::Binary).build();
    assert!(matches!(twice, Err(Error::AlreadyExists { .. })));
}

#[test]
fn a_batch_of_another_shape_is_refused_and_adds_nothing() {
    let batch = labelled(&rows());
    for column in [EVENT_TIME, REQUEST_ID, POSITION, "click"] {
        let kept: Vec<usize> = (0..batch.num_columns()).filter(|i| batch.schema().field(*i).name() != column).collect();
        let mut monitor = ranking(3).build().unwrap();
        let error = monitor.update(&batch.project(&kept).unwrap(), seconds(10)).unwrap_err();
        assert!(matches!(&error, Error::NotFound { name, .. } if name == column), "{error}");
        assert!(monitor.due(seconds(100)).is_empty());
    }
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["yes"; 8]));
    let mut columns = batch.columns().to_vec();
    columns[4] = texts;
    let names = [REQUEST_ID, EVENT_TIME, POSITION, SCORE, "click"].into_iter().zip(columns);
    let odd = RecordBatch::try_from_iter_with_nullable(names.map(|(n, a)| (n, a, true))).unwrap();
    let mut monitor = classification().build().unwrap();
    assert!(matches!(monitor.update(&odd, seconds(10)), Err(Error::Schema { .. })));
}

#[test]
fn a_report_comes_back_and_a_newer_format_is_refused() {
    let report = measure(classification().level(level("click", Metric::Auc, 0.9, 0.0)), &rows());
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<PerformanceReport>(&json).unwrap(), report);
    assert!(json.contains("\"log_loss\""), "metrics have their names: {json}");
    assert!(serde_json::from_str::<PerformanceReport>(&json.replacen("\"format\":1", "\"format\":2", 1)).is_err());
}

proptest! {
    /// Law 5: however requests are cut into batches and in whatever order they come, the measures are the same.
    #[test]
    fn order_and_cuts_do_not_matter(
        lists in prop::collection::vec((0_i64..30, prop::collection::vec((0_u8..2, 0_u16..=1_000), 1..6)), 1..15),
        turned in any::<bool>(),
    ) {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o"];
        let mut requests: Vec<Vec<Labelled>> = lists
            .iter()
            .zip(names)
            .map(|((at, rows), request)| {
                let row = |(place, (label, score)): (u32, &(u8, u16))| {
                    (request, *at, place, Some(f64::from(*score) / 1_000.0), Some(f64::from(*label)))
                };
                (0..).zip(rows).map(row).collect()
            })
            .collect();
        let make = || {
            let rule = WindowRule::builder(Duration::from_secs(10)).retention(Duration::from_mins(1)).build().unwrap();
            PerformanceMonitor::builder(rule)
                .ranking(name("rank"), "click", 3, Gain::Binary)
                .classification(name("class"), "click", SCORE, 0.5)
                .build()
                .unwrap()
        };
        let mut whole = make();
        whole.update(&labelled(&requests.concat()), seconds(30)).unwrap();
        if turned {
            requests.reverse();
        }
        let mut parts = make();
        requests.iter().for_each(|request| parts.update(&labelled(request), seconds(30)).unwrap());
        let (whole, parts) = (whole.due(seconds(30)), parts.due(seconds(30)));
        prop_assert_eq!(whole.len(), parts.len());
        for (one, other) in whole.iter().zip(&parts) {
            prop_assert_eq!(one.window, other.window);
            for (one, other) in one.tasks.iter().zip(&other.tasks) {
                prop_assert_eq!(one.samples, other.samples);
                prop_assert_eq!(one.metrics.keys().collect::<Vec<_>>(), other.metrics.keys().collect::<Vec<_>>());
                for (metric, value) in &one.metrics {
                    prop_assert!((value - other.metrics[metric]).abs() < 1e-9, "{}", metric.name());
                }
            }
        }
    }
}
