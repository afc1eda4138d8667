use std::collections::BTreeMap;
use std::time::Duration;

use mlops_core::rank::{StageKind, StageStats};
use mlops_core::stats::drift::Signals;
use mlops_core::stats::{ColumnDrift, DriftMethod, Verdict};
use mlops_core::validate::Severity;
use mlops_core::{EventTime, Name};
use proptest::prelude::*;

use super::*;
use crate::alert::{AlertRule, AlertRules, Bound, Outbox, Signal};
use crate::drift::{ColumnVerdict, DriftReport};
use crate::log::{JoinCounters, LogCounters};
use crate::samples::{labelled, name, numbers, profile_of, seconds, span, tens};
use crate::window::Traffic;
use crate::{Error, Latency, PerformanceMonitor, RetrainPolicy, RetrainSignals, WindowCounters};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).unwrap()
}

#[track_caller]
fn check(page: &Exposition, expected: &str) {
    assert_eq!(page.to_text(), expected);
}

#[test]
fn each_type_is_written_as_the_standard_says() {
    let mut page = Exposition::new();
    let mut counter = Family::counter("orders", "Orders \"so far\"\nby channel \\.").unwrap();
    counter.set(&labels(&[("channel", "web")]), 7_u64).unwrap();
    counter.set(&labels(&[("channel", "app")]), 2.5).unwrap();
    let mut gauge = Family::gauge("age_seconds", "Age.").unwrap().unit("seconds").unwrap();
    gauge.set(&Labels::none(), f64::NAN).unwrap();
    gauge.set_at(&labels(&[("a", "b")]), -1.5, EventTime::from_micros(1_700_000_000_000_001)).unwrap();
    gauge.set_at(&labels(&[("a", "c")]), f64::NEG_INFINITY, EventTime::from_micros(-1_500_000)).unwrap();
    gauge.set_at(&labels(&[("a", "d")]), f64::INFINITY, EventTime::from_secs(3)).unwrap();
    let mut info = Family::info("build", "").unwrap();
    info.state(&labels(&[("version", "0.1.0")])).unwrap();
    let mut histogram = Family::histogram("size", "Sizes.").unwrap();
    histogram.set_buckets(&labels(&[("x", "y")]), Buckets::new(vec![0.5, 1.0], vec![1, 0, 2], 9.25).unwrap()).unwrap();
    histogram.set_buckets(&labels(&[("x", "z")]), Buckets::new(vec![], vec![0], 0.0).unwrap()).unwrap();
    for family in [counter, histogram, info, gauge] {
        page.add(family).unwrap();
    }
    check(
        &page,
        "# TYPE age_seconds gauge\n\
         # UNIT age_seconds seconds\n\
         # HELP age_seconds Age.\n\
         age_seconds NaN\n\
         age_seconds{a=\"b\"} -1.5 1700000000.000001\n\
         age_seconds{a=\"c\"} -Inf -1.500000\n\
         age_seconds{a=\"d\"} +Inf 3\n\
         # TYPE build info\n\
         build_info{version=\"0.1.0\"} 1\n\
         # TYPE orders counter\n\
         # HELP orders Orders \\\"so far\\\"\\nby channel \\\\.\n\
         orders_total{channel=\"app\"} 2.5\n\
         orders_total{channel=\"web\"} 7\n\
         # TYPE size histogram\n\
         # HELP size Sizes.\n\
         size_bucket{x=\"y\",le=\"0.5\"} 1\n\
         size_bucket{x=\"y\",le=\"1.0\"} 1\n\
         size_bucket{x=\"y\",le=\"+Inf\"} 3\n\
         size_count{x=\"y\"} 3\n\
         size_sum{x=\"y\"} 9.25\n\
         size_bucket{x=\"z\",le=\"+Inf\"} 0\n\
         size_count{x=\"z\"} 0\n\
         size_sum{x=\"z\"} 0.0\n\
         # EOF\n",
    );
}

#[test]
fn an_empty_page_and_empty_families_are_only_an_end() {
    let mut page = Exposition::new();
    check(&page, "# EOF\n");
    page.add(Family::gauge("nothing", "Nothing.").unwrap()).unwrap();
    check(&page, "# EOF\n");
}

#[test]
fn names_that_a_scraper_would_refuse_do_not_come_in() {
    for bad in [
        "",
        "1st",
        "_private",
        "a b",
        "a-b",
        "a:b",
        "é",
        "requests_total",
        "x_count",
        "x_sum",
        "x_bucket",
        "x_info",
        "x_created",
        &"a".repeat(129),
        "a\n# EOF",
    ] {
        let error = Family::gauge(bad, "").unwrap_err();
        assert!(matches!(error, Error::Exposition { .. }) && !error.to_string().contains('\n'), "{bad:?}: {error}");
    }
    for bad in ["", "le", "quantile", "__name__", "_x", "a-b", "1", &"a".repeat(129)] {
        assert!(matches!(Labels::new([(bad, "v")]), Err(Error::Exposition { .. })), "{bad:?}");
    }
    assert!(Labels::new([("a", "1"), ("a", "1")]).is_err(), "one label twice");
    let many = (0..=LABELS_MAX).map(|i| (format!("l{i}"), "v"));
    assert!(Labels::new(many).is_err(), "too many labels");
}

#[test]
fn units_are_the_end_of_the_name() {
    let family = || Family::gauge("age_seconds", "").unwrap();
    assert!(family().unit("seconds").is_ok());
    for bad in ["", "econds", "minutes", "age_seconds", "s\n"] {
        assert!(family().unit(bad).is_err(), "{bad:?}");
    }
    assert!(Family::info("age_seconds", "").unwrap().unit("seconds").is_err());
}

#[test]
fn values_that_a_type_cannot_have_do_not_come_in() {
    let none = Labels::none();
    let mut counter = Family::counter("c", "").unwrap();
    for bad in [f64::NAN, -1.0, f64::NEG_INFINITY] {
        assert!(counter.set(&none, bad).is_err(), "{bad}");
    }
    counter.set(&none, 1_u64).unwrap();
    assert!(counter.set(&none, 1_u64).is_err(), "one series twice");
    assert!(counter.set_buckets(&none, Buckets::new(vec![], vec![0], 0.0).unwrap()).is_err());
    assert!(counter.state(&labels(&[("a", "b")])).is_err());
    let mut info = Family::info("i", "").unwrap();
    assert!(info.set(&none, 1_u64).is_err() && info.state(&none).is_err());
    let mut histogram = Family::histogram("h", "").unwrap();
    assert!(histogram.set(&none, 1_u64).is_err());
    for (bounds, counts, sum) in [
        (vec![1.0, 1.0], vec![0, 0, 0], 0.0),
        (vec![2.0, 1.0], vec![0, 0, 0], 0.0),
        (vec![f64::INFINITY], vec![0, 0], 0.0),
        (vec![f64::NAN], vec![0, 0], 0.0),
        (vec![1.0], vec![0], 0.0),
        (vec![1.0], vec![0, 0], f64::NAN),
        (vec![1.0], vec![0, 0], -1.0),
        ((0..257).map(f64::from).collect(), vec![0; 258], 0.0),
    ] {
        assert!(Buckets::new(bounds.clone(), counts, sum).is_err(), "{bounds:?} {sum}");
    }
}

#[test]
fn families_of_one_name_must_agree_and_not_repeat_a_series() {
    let family = |help: &str, value: &str| {
        let mut family = Family::gauge("g", help).unwrap();
        family.set(&labels(&[("a", value)]), 1_u64).unwrap();
        family
    };
    let mut page = Exposition::new();
    page.add(family("h", "1")).unwrap();
    page.add(family("h", "2")).unwrap();
    let before = page.clone();
    assert!(page.add(family("h", "2")).is_err());
    assert!(page.add(family("other", "3")).is_err());
    assert!(page.add(Family::counter("g", "h").unwrap()).is_err());
    assert_eq!(page, before, "nothing is added on an error");
}

#[test]
fn what_is_beyond_the_bounds_is_counted() {
    let mut family = Family::gauge("g", "").unwrap();
    for series in 0..SERIES_MAX + 3 {
        family.set(&labels(&[("s", &series.to_string())]), 1_u64).unwrap();
    }
    assert_eq!((family.len(), family.left_out()), (SERIES_MAX, 3));
    let mut page = Exposition::new();
    page.add(family).unwrap();
    assert!(page.to_text().contains("mlops_export_series_left_out{family=\"g\"} 3\n"));
    let mut full = Exposition::new();
    for number in 0..FAMILIES_MAX {
        full.add(Family::gauge(format!("g{number}"), "").unwrap()).unwrap();
    }
    assert!(full.add(Family::gauge("one_more", "").unwrap()).is_err());
}

#[test]
fn long_values_are_cut_and_stay_different() {
    let (one, other) = ("é".repeat(2_000), "é".repeat(2_001));
    let text = |value: &str| labels(&[("a", value)]).to_string();
    assert!(text(&one).len() <= LABEL_BYTES_MAX + 8);
    assert_ne!(text(&one), text(&other));
    let fits = "x".repeat(LABEL_BYTES_MAX);
    assert_eq!(text(&fits), format!("{{a=\"{fits}\"}}"));
}

fn latency(us: &[u64]) -> Latency {
    let mut latency = Latency::default();
    us.iter().for_each(|us| latency.update(Duration::from_micros(*us)));
    latency
}

#[test]
fn traffic_is_counters_and_a_histogram_in_seconds() {
    let traffic =
        Traffic { requests: 3, failures: 1, degraded: 2, candidates: 30, latency: latency(&[25, 26, 20_000_000]) };
    let mut page = Exposition::new();
    page.traffic(&labels(&[("model", "offers")]), &traffic).unwrap();
    let text = page.to_text();
    for line in [
        "# TYPE mlops_requests counter",
        "mlops_requests_total{model=\"offers\",outcome=\"answered\"} 3",
        "mlops_requests_total{model=\"offers\",outcome=\"failed\"} 1",
        "mlops_requests_degraded_total{model=\"offers\"} 2",
        "mlops_candidates_total{model=\"offers\"} 30",
        "# UNIT mlops_request_duration_seconds seconds",
        "mlops_request_duration_seconds_bucket{model=\"offers\",le=\"2.5e-05\"} 1",
        "mlops_request_duration_seconds_bucket{model=\"offers\",le=\"5e-05\"} 2",
        "mlops_request_duration_seconds_bucket{model=\"offers\",le=\"0.0001\"} 2",
        "mlops_request_duration_seconds_bucket{model=\"offers\",le=\"10.0\"} 2",
        "mlops_request_duration_seconds_bucket{model=\"offers\",le=\"+Inf\"} 3",
        "mlops_request_duration_seconds_count{model=\"offers\"} 3",
        "mlops_request_duration_seconds_sum{model=\"offers\"} 20.000051",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    page.traffic(&labels(&[("model", "other")]), &traffic).unwrap();
    assert!(page.traffic(&labels(&[("model", "other")]), &traffic).is_err(), "one model twice");
}

fn drifts(columns: &[(&str, f64, Verdict)]) -> DriftReport {
    let verdict = |&(column, effect, verdict): &(&str, f64, Verdict)| ColumnVerdict {
        now: ColumnDrift {
            column: column.to_owned(),
            method: DriftMethod::Psi,
            effect,
            expected_by_chance: 0.01,
            p_value: 0.5,
            q_value: 0.5,
            verdict,
            n_reference: 1000,
            n_current: 500,
            interval: None,
            signals: Signals::default(),
        },
        verdict,
        hits: 0,
        windows: 1,
    };
    DriftReport::new(span(0, 3_600), 500, columns.iter().map(verdict).collect())
}

#[test]
fn drift_has_one_gauge_per_column_with_a_verdict() {
    let report = drifts(&[
        ("price", 0.5, Verdict::Drifted),
        ("age", 0.02, Verdict::Stable),
        ("new \"one\"", 0.0, Verdict::Inconclusive),
    ]);
    let mut page = Exposition::new();
    page.drift(&Labels::none(), &report).unwrap();
    check(
        &page,
        "# TYPE mlops_drift_by_chance gauge\n\
         # HELP mlops_drift_by_chance Mean difference when nothing has changed.\n\
         mlops_drift_by_chance{column=\"age\",method=\"psi\"} 0.01\n\
         mlops_drift_by_chance{column=\"price\",method=\"psi\"} 0.01\n\
         # TYPE mlops_drift_columns gauge\n\
         # HELP mlops_drift_columns Columns by verdict.\n\
         mlops_drift_columns{verdict=\"drifted\"} 1\n\
         mlops_drift_columns{verdict=\"inconclusive\"} 1\n\
         mlops_drift_columns{verdict=\"stable\"} 1\n\
         # TYPE mlops_drift_drifted gauge\n\
         # HELP mlops_drift_drifted Whether the column has drifted.\n\
         mlops_drift_drifted{column=\"age\"} 0\n\
         mlops_drift_drifted{column=\"price\"} 1\n\
         # TYPE mlops_drift_effect gauge\n\
         # HELP mlops_drift_effect Measured difference from the reference.\n\
         mlops_drift_effect{column=\"age\",method=\"psi\"} 0.02\n\
         mlops_drift_effect{column=\"price\",method=\"psi\"} 0.5\n\
         # TYPE mlops_drift_rows gauge\n\
         # HELP mlops_drift_rows Rows of the window that was judged.\n\
         mlops_drift_rows 500\n\
         # TYPE mlops_drift_window_end_timestamp_seconds gauge\n\
         # UNIT mlops_drift_window_end_timestamp_seconds seconds\n\
         # HELP mlops_drift_window_end_timestamp_seconds Time that the values are of.\n\
         mlops_drift_window_end_timestamp_seconds 3600.0\n\
         # TYPE mlops_drifted_ratio gauge\n\
         # UNIT mlops_drifted_ratio ratio\n\
         # HELP mlops_drifted_ratio Drifted columns over columns with a verdict.\n\
         mlops_drifted_ratio 0.5\n\
         # EOF\n",
    );
}

#[test]
fn of_many_columns_the_farthest_are_told() {
    let names: Vec<String> = (0..DRIFT_COLUMNS_MAX + 50).map(|i| format!("c{i:03}")).collect();
    let columns: Vec<_> = names.iter().enumerate().map(|(i, n)| (n.as_str(), i as f64, Verdict::Drifted)).collect();
    let mut page = Exposition::new();
    page.drift(&Labels::none(), &drifts(&columns)).unwrap();
    let text = page.to_text();
    assert_eq!(text.matches("mlops_drift_effect{").count(), DRIFT_COLUMNS_MAX);
    assert!(text.contains("column=\"c249\"") && !text.contains("column=\"c049\""));
    assert!(text.contains("mlops_drift_columns{verdict=\"drifted\"} 250\n"));
}

#[test]
fn counters_of_log_join_and_windows_are_told_by_outcome() {
    let log = LogCounters { observed: 10, dropped: 2, drained: 5, rows: 50, refused: 1, unfit_columns: 4, waiting: 2 };
    let join =
        JoinCounters { impressions: 9, credited: 3, orphans: 1, late_labels: 2, held: 7, ..JoinCounters::default() };
    let mut page = Exposition::new();
    page.log(&Labels::none(), &log).unwrap();
    page.join(&Labels::none(), &join).unwrap();
    let counters = WindowCounters { late: 1, future: 2, malformed: 3, lost_windows: 4 };
    page.windows(&Labels::none(), "traffic", &counters).unwrap();
    page.windows(&Labels::none(), "performance", &counters).unwrap();
    let text = page.to_text();
    for line in [
        "mlops_log_answers_total{outcome=\"dropped\"} 2",
        "mlops_log_answers_total{outcome=\"drained\"} 5",
        "mlops_log_answers_total{outcome=\"refused\"} 1",
        "mlops_log_rows_total 50",
        "mlops_log_unfit_columns_total 4",
        "mlops_log_waiting 2",
        "mlops_join_impressions_total{outcome=\"taken\"} 9",
        "mlops_join_labels_total{outcome=\"credited\"} 3",
        "mlops_join_labels_total{outcome=\"orphan\"} 1",
        "mlops_join_labels_total{outcome=\"late\"} 2",
        "mlops_join_held 7",
        "mlops_window_rows_left_out_total{monitor=\"traffic\",reason=\"late\"} 1",
        "mlops_window_rows_left_out_total{monitor=\"performance\",reason=\"malformed\"} 3",
        "mlops_windows_lost_total{monitor=\"traffic\"} 4",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

#[test]
fn performance_stands_beside_its_reference() {
    use crate::performance::{Gain, Level, Metric};
    let level = |metric, reference| Level { task: name("clicks"), metric, reference, tolerance: 0.05 };
    let mut monitor = PerformanceMonitor::builder(tens())
        .ranking(name("clicks"), "click", 2, Gain::Binary)
        .level(level(Metric::Mrr, 0.9))
        .samples_min(1)
        .build()
        .unwrap();
    let rows = labelled(&[("a", 1, 0, None, Some(0.0)), ("a", 1, 1, None, Some(1.0))]);
    monitor.update(&rows, seconds(10)).unwrap();
    let report = &monitor.due(seconds(10))[0];
    let mut page = Exposition::new();
    page.performance(&labels(&[("model", "offers")]), report).unwrap();
    let text = page.to_text();
    for line in [
        // By hand: the click stands in the second place.
        "mlops_performance{metric=\"mrr\",model=\"offers\",task=\"clicks\"} 0.5",
        "mlops_performance{metric=\"recall\",model=\"offers\",task=\"clicks\"} 1.0",
        "mlops_performance_samples{model=\"offers\",task=\"clicks\"} 1",
        "mlops_performance_reference{metric=\"mrr\",model=\"offers\",task=\"clicks\"} 0.9",
        "mlops_performance_degraded{metric=\"mrr\",model=\"offers\",task=\"clicks\"} 1",
        "mlops_performance_window_end_timestamp_seconds{model=\"offers\"} 10.0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

#[test]
fn stages_are_told_by_kind_and_name() {
    let stage = |stage: &str, kind| StageStats {
        stage: name(stage),
        kind,
        calls: 3,
        errors: 1,
        late: 0,
        degraded: 1,
        nanos: 1_500_000,
        buckets: vec![(Some(1), 1), (Some(1_000), 1), (None, 1)],
    };
    let mut page = Exposition::new();
    page.stages(&Labels::none(), &[stage("offers", StageKind::Request), stage("top.k", StageKind::Selector)]).unwrap();
    let text = page.to_text();
    for line in [
        "mlops_stage_calls_total{kind=\"request\",stage=\"offers\"} 3",
        "mlops_stage_errors_total{kind=\"selector\",stage=\"top.k\"} 1",
        "mlops_stage_duration_seconds_bucket{kind=\"selector\",stage=\"top.k\",le=\"1e-06\"} 1",
        "mlops_stage_duration_seconds_bucket{kind=\"selector\",stage=\"top.k\",le=\"0.001\"} 2",
        "mlops_stage_duration_seconds_bucket{kind=\"selector\",stage=\"top.k\",le=\"+Inf\"} 3",
        "mlops_stage_duration_seconds_sum{kind=\"selector\",stage=\"top.k\"} 0.0015",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

#[test]
fn alerts_that_fire_have_the_labels_of_their_series() {
    let rule = AlertRule::builder(name("drift"), name("share"), Bound::AtLeast, 0.5).severity(Severity::Warning);
    let mut rules = AlertRules::new(vec![rule.build().unwrap()]).unwrap();
    let signal = |model: &str, value| Signal::new(name("share"), value).with(name("model.name"), model);
    let mut outbox = Outbox::new(1).unwrap();
    outbox.push(rules.evaluate(&[signal("a", 0.7), signal("b", 0.1), signal("c", 0.9)], seconds(1)));
    let mut page = Exposition::new();
    page.alerts(&Labels::none(), &rules, &outbox).unwrap();
    let text = page.to_text();
    for line in [
        "mlops_alerts_firing{alert=\"drift\",model_name=\"a\"} 1",
        "mlops_alerts_firing{alert=\"drift\",model_name=\"c\"} 1",
        "mlops_alerts_waiting 1",
        "mlops_alerts_dropped_total 1",
        "mlops_alerts_refused_total 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(!text.contains("\"b\""));
    let mut twice = Exposition::new();
    assert!(twice.alerts(&labels(&[("model_name", "x")]), &rules, &outbox).is_err(), "two labels become one");
}

#[test]
fn a_retrain_request_is_a_flag_with_reasons() {
    let policy = RetrainPolicy::builder().age_max(Duration::from_secs(10)).new_labels(5).build().unwrap();
    let signals =
        RetrainSignals { trained_at: seconds(0), requested_at: None, drift: None, performance: None, new_labels: 9 };
    let request = policy.decide(&signals, seconds(7_200)).unwrap();
    let mut page = Exposition::new();
    page.retrain(&Labels::none(), Some(&request)).unwrap();
    let text = page.to_text();
    for line in [
        "mlops_retrain_requested 1",
        "mlops_retrain_reasons{reason=\"age\"} 1",
        "mlops_retrain_reasons{reason=\"drift\"} 0",
        "mlops_retrain_reasons{reason=\"new_labels\"} 1",
        "mlops_retrain_decided_timestamp_seconds 7200.0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    let mut quiet = Exposition::new();
    quiet.retrain(&Labels::none(), None).unwrap();
    assert!(quiet.to_text().contains("mlops_retrain_requested 0\n"));
}

#[test]
fn a_profile_gives_shares_of_nulls_and_no_values() {
    let mut page = Exposition::new();
    page.profile(&Labels::none(), &profile_of(&numbers("price", [77_777.0, 88_888.0]))).unwrap();
    page.profile(&labels(&[("empty", "yes")]), &profile_of(&numbers("price", []))).unwrap();
    let text = page.to_text();
    assert!(text.contains("mlops_column_null_ratio{column=\"price\"} 0.0\n"));
    assert!(text.contains("mlops_window_rows 2\n") && text.contains("mlops_window_rows{empty=\"yes\"} 0\n"));
    assert!(!text.contains("77777") && !text.contains("8888"));
}

/// Reads one sample line back: name, labels, value.
fn read(line: &str) -> (String, BTreeMap<String, String>, String) {
    let Some((name, rest)) = line.split_once('{') else {
        let (name, value) = line.split_once(' ').unwrap();
        return (name.to_owned(), BTreeMap::new(), value.to_owned());
    };
    let (mut labels, mut rest) = (BTreeMap::new(), rest.chars());
    loop {
        let label: String = rest.by_ref().take_while(|c| *c != '=').collect();
        assert_eq!(rest.next(), Some('"'));
        let mut value = String::new();
        loop {
            match rest.next().unwrap() {
                '"' => break,
                '\\' => value.push(match rest.next().unwrap() {
                    'n' => '\n',
                    other => other,
                }),
                other => value.push(other),
            }
        }
        labels.insert(label, value);
        if rest.next() == Some('}') {
            break;
        }
    }
    (name.to_owned(), labels, rest.as_str().trim().to_owned())
}

proptest! {
    #[test]
    fn any_label_value_comes_back(values in prop::collection::vec(".{0,40}", 1..4)) {
        let pairs: BTreeMap<String, String> =
            values.iter().enumerate().map(|(i, value)| (format!("l{i}"), value.clone())).collect();
        let mut family = Family::gauge("g", "").unwrap();
        family.set(&Labels::new(&pairs).unwrap(), 1_u64).unwrap();
        let mut page = Exposition::new();
        page.add(family).unwrap();
        let text = page.to_text();
        let lines: Vec<&str> = text.split('\n').collect();
        prop_assert_eq!(lines.len(), 4, "no value adds a line: {:?}", text);
        prop_assert_eq!(read(lines[1]), ("g".to_owned(), pairs, "1".to_owned()));
    }

    #[test]
    fn buckets_grow_and_end_in_the_count(counts in prop::collection::vec(0..u64::MAX / 8, 1..6)) {
        let bounds = (1..counts.len()).map(|i| i as f64).collect();
        let mut family = Family::histogram("h", "").unwrap();
        family.set_buckets(&Labels::none(), Buckets::new(bounds, counts.clone(), 1.0).unwrap()).unwrap();
        let mut page = Exposition::new();
        page.add(family).unwrap();
        let text = page.to_text();
        let values = |start: &str| -> Vec<u64> {
            text.lines().filter(|l| l.starts_with(start)).map(|l| read(l).2.parse().unwrap()).collect()
        };
        let buckets = values("h_bucket");
        prop_assert_eq!(buckets.len(), counts.len());
        prop_assert!(buckets.is_sorted());
        prop_assert_eq!(&buckets[buckets.len() - 1..], values("h_count"));
        prop_assert_eq!(*buckets.last().unwrap(), counts.iter().sum::<u64>());
    }

    #[test]
    fn pages_do_not_depend_on_the_order_of_adding(order in Just((0..6).collect::<Vec<u32>>()).prop_shuffle()) {
        let page = |order: &[u32]| {
            let mut page = Exposition::new();
            for number in order {
                let mut family = Family::gauge(format!("g{}", number % 3), "").unwrap();
                family.set(&labels(&[("n", &number.to_string())]), f64::from(*number)).unwrap();
                page.add(family).unwrap();
            }
            page.to_text()
        };
        prop_assert_eq!(page(&order), page(&[0, 1, 2, 3, 4, 5]));
    }
}

#[test]
fn every_name_has_a_metric_name() {
    for text in ["a.b-c", "7", "_x", "A"] {
        let made = metric_name(&Name::new(text).unwrap());
        assert!(Family::gauge(&made, "").is_ok() && Labels::new([(&made, "v")]).is_ok(), "{made}");
    }
}
