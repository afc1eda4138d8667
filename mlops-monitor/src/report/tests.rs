use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use mlops_core::profile::{ProfileOptions, Profiler};
use mlops_core::validate::Severity;
use mlops_core::{EventTime, Schema};

use super::*;
use crate::alert::{AlertRule, AlertRules, Bound, Signal};
use crate::performance::{Gain, Level, Metric, PerformanceMonitor};
use crate::samples::{labelled, name, profile_of, seconds, served, span, tens};
use crate::{DriftMonitor, FairnessMonitor, RetrainPolicy, RetrainSignals, Windows};

/// Offers with prices from `shift` on, in cities, with a phone number that is hidden.
fn offers(shift: f64, city: &str) -> Profile {
    let price: Float64Array = (0..400).map(|i| Some(f64::from(i) + shift)).collect();
    let city: StringArray = (0..400).map(|i| Some(if i % 4 == 0 { "Huế" } else { city })).collect();
    let phone: StringArray = (0..400).map(|i| Some(format!("09{i:08}"))).collect();
    let batch = RecordBatch::try_from_iter([
        ("price", Arc::new(price) as ArrayRef),
        ("city", Arc::new(city)),
        ("phone", Arc::new(phone)),
    ]);
    let batch = batch.unwrap();
    let mut profiler =
        Profiler::new(&batch.schema(), &ProfileOptions::builder().hide("phone").build().unwrap()).unwrap();
    profiler.update(&batch).unwrap();
    profiler.finish()
}

/// Windows of ten seconds with growing traffic, whose profile is `profile`.
fn windows(profiles: &[Profile]) -> Vec<WindowStats> {
    let (schema, _) = crate::samples::rows(&[served(1, 0, &[1])]);
    let mut windows = Windows::builder(&schema, tens()).build().unwrap();
    for (at, profile) in (0..).zip(profiles) {
        for request in 0..=at {
            let took = Duration::from_micros(200 + 300 * request as u64);
            windows.request(seconds(10 * at + 1), took, request == 2, seconds(10 * at + 2)).unwrap();
        }
        if at == 1 {
            windows.failure(seconds(15), seconds(16)).unwrap();
        }
        assert_eq!(profile.columns().len(), 3);
    }
    let mut all = windows.all();
    all.iter_mut().zip(profiles).for_each(|(stats, profile)| stats.profile = profile.clone());
    all
}

fn drifts(reference: &Profile, windows: &[WindowStats]) -> Vec<DriftReport> {
    let mut monitor = DriftMonitor::builder(reference.clone()).persistence(1, 1).build().unwrap();
    windows.iter().map(|stats| monitor.judge(stats.window, &stats.profile).unwrap()).collect()
}

fn performances() -> Vec<PerformanceReport> {
    let level = |metric, reference| Level { task: name("clicks"), metric, reference, tolerance: 0.1 };
    let mut monitor = PerformanceMonitor::builder(tens())
        .ranking(name("clicks"), "click", 2, Gain::Binary)
        .level(level(Metric::Ndcg, 0.9))
        .samples_min(1)
        .build()
        .unwrap();
    for (at, clicked) in [(1, [1.0, 0.0]), (11, [1.0, 0.0]), (21, [0.0, 1.0])] {
        let rows = [("a", at, 0, None, Some(clicked[0])), ("a", at, 1, None, Some(clicked[1]))];
        monitor.update(&labelled(&rows), seconds(at)).unwrap();
    }
    monitor.due(seconds(30))
}

fn fairness(groups: &[&str]) -> Vec<FairnessReport> {
    let (schema, batch) = crate::samples::rows(&[served(1, 1, &[1, 2]), served(2, 1, &[2, 1])]);
    let groups: ArrayRef = Arc::new(StringArray::from_iter_values([groups[0], groups[1], groups[0], groups[1]]));
    let mut fields: Vec<_> = schema.arrow().fields().iter().cloned().collect();
    fields.push(Arc::new(arrow::datatypes::Field::new("seller", arrow::datatypes::DataType::Utf8, true)));
    let columns = batch.columns().iter().cloned().chain([groups]).collect();
    let schema = Schema::new(arrow::datatypes::Schema::new(fields)).unwrap();
    let batch = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
    let mut monitor = FairnessMonitor::builder(&schema, "seller", tens()).rows_min(1).build().unwrap();
    monitor.update(&batch, seconds(1)).unwrap();
    monitor.due(seconds(10))
}

fn alerts(text: &str) -> Vec<Alert> {
    let rule = AlertRule::builder(name("drifted"), name("share"), Bound::AtLeast, 0.5).severity(Severity::Warning);
    let mut rules = AlertRules::new(vec![rule.text(text).build().unwrap()]).unwrap();
    let signal = |value| Signal::new(name("share"), value).with(name("model"), text);
    let mut all = rules.evaluate(&[signal(0.7)], seconds(20));
    all.extend(rules.evaluate(&[signal(0.1)], seconds(30)));
    all
}

/// What stands in the page below its head.
fn body(page: &str) -> String {
    page.split_once("<body>").unwrap().1.replace("><", ">\n<")
}

#[test]
fn the_whole_page_is_as_it_was_looked_at() {
    let reference = offers(0.0, "Vinh");
    let windows = windows(&[offers(0.0, "Vinh"), offers(10.0, "Vinh"), offers(300.0, "Đà Nẵng")]);
    let (drift, performance) = (drifts(&reference, &windows), performances());
    let policy = RetrainPolicy::builder().drifted_columns(1).performance_drop().build().unwrap();
    let signals = RetrainSignals {
        trained_at: seconds(-100_000),
        requested_at: None,
        drift: drift.last(),
        performance: performance.last(),
        new_labels: 10,
    };
    let request = policy.decide(&signals, seconds(30)).unwrap();
    let (fairness, mut alerts) = (fairness(&["big", "small"]), alerts("the inputs are not what they were"));
    alerts.push(alerts[0].clone());
    let page = MonitorReport::new("Offers", seconds(40))
        .windows(&windows)
        .drift(&drift, &reference)
        .performance(&performance)
        .fairness(&fairness)
        .alerts(&alerts)
        .retrain(Some(&request))
        .to_html();
    insta::assert_snapshot!("whole_page", body(&page));
}

#[test]
fn nothing_comes_from_elsewhere_and_nothing_runs() {
    let evil = "<script>alert('x')</script>\"&\u{202e}";
    let column =
        RecordBatch::try_from_iter([(evil, Arc::new(StringArray::from(vec![evil; 200])) as ArrayRef)]).unwrap();
    let other = RecordBatch::try_from_iter([(evil, Arc::new(StringArray::from(vec!["b"; 200])) as ArrayRef)]).unwrap();
    let (reference, now) = (profile_of(&column), profile_of(&other));
    let (schema, _) = crate::samples::rows(&[served(1, 0, &[1])]);
    let mut windows = Windows::builder(&schema, tens()).build().unwrap();
    windows.request(seconds(1), Duration::from_micros(5), false, seconds(1)).unwrap();
    let mut windows = windows.all();
    windows[0].profile = now;
    let (drift, fairness, alerts) = (drifts(&reference, &windows), fairness(&[evil, "</svg>"]), alerts(evil));
    let page = MonitorReport::new(evil, seconds(40))
        .windows(&windows)
        .drift(&drift, &reference)
        .fairness(&fairness)
        .alerts(&alerts)
        .to_html();
    for forbidden in ["<script", "href", "src=", "http:", "https:", "url(", "@import", "\u{202e}", "</svg></text>"] {
        assert!(!page.contains(forbidden), "{forbidden:?}");
    }
    assert!(page.contains("default-src 'none'"), "browsers are told so too");
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
}

#[test]
fn values_of_hidden_columns_are_not_shown() {
    let reference = offers(0.0, "Vinh");
    let windows = windows(&[offers(0.0, "Vinh")]);
    let drift = drifts(&reference, &windows);
    let page = MonitorReport::new("Offers", seconds(40)).windows(&windows).drift(&drift, &reference).to_html();
    assert!(page.contains("values hidden; 0 % nulls before, 0 % now") && !page.contains("0900"));
}

#[test]
fn every_part_may_be_missing_or_empty() {
    let empty = MonitorReport::new("Nothing", EventTime::MIN).to_html();
    assert!(!empty.contains("<svg") && !empty.contains("<h2"));
    let nothing = Profile::clone(&profile_of(&crate::samples::numbers("x", [])));
    let drift = vec![DriftReport::new(span(0, 10), 0, Vec::new())];
    let page = MonitorReport::new("Empty", EventTime::MAX)
        .windows(&[])
        .drift(&drift, &nothing)
        .performance(&[])
        .fairness(&[])
        .alerts(&[])
        .retrain(None)
        .to_html();
    assert!(page.contains("0 of 0"));
}

#[test]
fn numbers_that_cannot_be_drawn_are_left_out() {
    let reference = profile_of(&crate::samples::numbers("x", [f64::NAN; 200]));
    let now = profile_of(&crate::samples::numbers("x", (0..200).map(|_| f64::INFINITY)));
    let huge = profile_of(&crate::samples::numbers("x", (0..200).map(|i| if i == 0 { f64::MAX } else { f64::MIN })));
    for (then, now) in [(&reference, &now), (&now, &huge), (&huge, &reference), (&huge, &huge)] {
        let mut windows = windows(&[offers(0.0, "a")]);
        windows[0].profile = now.clone();
        let drift = drifts(then, &windows);
        let page = MonitorReport::new("Odd", seconds(1)).windows(&windows).drift(&drift, then).to_html();
        for attribute in ["x=\"NaN", "y=\"NaN", "height=\"NaN", "width=\"NaN", "\"inf", "\"-inf"] {
            assert!(!page.contains(attribute), "{attribute}");
        }
    }
}

#[test]
fn of_a_window_given_twice_the_last_is_shown_and_the_oldest_are_left_out() {
    let reports: Vec<DriftReport> = (0..SHOWN_MAX as i64 + 20)
        .flat_map(|at| [1, 2].map(|rows| DriftReport::new(span(at, at + 1), rows, Vec::new())))
        .collect();
    let kept = latest(&reports, |report| report.window);
    assert_eq!((kept.len(), kept[0].window, kept[0].rows), (SHOWN_MAX, span(20, 21), 2));
}

#[test]
fn times_and_durations_are_as_people_say_them() {
    assert_eq!(stamp(seconds(1_704_067_200)), "2024-01-01 00:00");
    assert_eq!(stamp(seconds(1_704_067_201)), "2024-01-01 00:00:01");
    assert!(!stamp(EventTime::MIN).is_empty());
    let told = [0.0, 180.4, 1_234.0, 999_994.0, 2_500_000.0].map(duration);
    assert_eq!(told, ["0 µs", "180 µs", "1.23 ms", "999.99 ms", "2.5 s"]);
    assert_eq!((percent(0.123_456), percent(1.0)), ("12.35 %".to_owned(), "100 %".to_owned()));
}
