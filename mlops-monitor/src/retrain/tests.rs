use std::sync::Arc;

use mlops_core::stats::drift::Signals;
use mlops_core::stats::{ColumnDrift, DriftMethod, Verdict};
use proptest::prelude::*;

use super::*;
use crate::drift::ColumnVerdict;
use crate::performance::{Gain, Level, PerformanceMonitor};
use crate::samples::{labelled, name, seconds, span, tens};

const HOUR: i64 = 3_600;

fn drift(drifted: &[&str], stable: usize) -> DriftReport {
    let column = |column: String, verdict| ColumnVerdict {
        now: ColumnDrift {
            column,
            method: DriftMethod::Psi,
            effect: 0.5,
            expected_by_chance: 0.01,
            p_value: 0.0,
            q_value: 0.0,
            verdict,
            n_reference: 1000,
            n_current: 1000,
            interval: None,
            signals: Signals::default(),
        },
        verdict,
        hits: 2,
        windows: 3,
    };
    let moved = drifted.iter().map(|name| column((*name).to_owned(), Verdict::Drifted));
    let calm = (0..stable).map(|i| column(format!("s{i}"), Verdict::Stable));
    DriftReport::new(span(100, 200), 1000, moved.chain(calm).collect())
}

/// A report in which the click stood in the second place where it should have been the first.
fn performance(tolerance: f64, samples_min: u64) -> PerformanceReport {
    let level = Level { task: name("clicks"), metric: Metric::Mrr, reference: 1.0, tolerance };
    let mut monitor = PerformanceMonitor::builder(tens())
        .ranking(name("clicks"), "click", 2, Gain::Binary)
        .level(level)
        .samples_min(samples_min)
        .build()
        .unwrap();
    monitor.update(&labelled(&[("a", 301, 0, None, Some(0.0)), ("a", 301, 1, None, Some(1.0))]), seconds(310)).unwrap();
    monitor.due(seconds(310)).remove(0)
}

fn signals() -> RetrainSignals<'static> {
    RetrainSignals { trained_at: seconds(0), requested_at: None, drift: None, performance: None, new_labels: 0 }
}

fn policy() -> RetrainPolicyBuilder {
    RetrainPolicy::builder()
}

#[test]
fn drift_triggers_by_number_or_share() {
    let by_count = policy().drifted_columns(2).build().unwrap();
    let by_share = policy().drifted_share(0.5).build().unwrap();
    let decide = |policy: &RetrainPolicy, report: &DriftReport| {
        policy.decide(&RetrainSignals { drift: Some(report), ..signals() }, seconds(HOUR))
    };
    assert_eq!(decide(&by_count, &drift(&["a"], 0)), None);
    let request = decide(&by_count, &drift(&["a", "b"], 8)).unwrap();
    let reason = RetrainReason::Drift { columns: vec!["a".to_owned(), "b".to_owned()], share: 0.2 };
    assert_eq!((request.reasons, request.window), (vec![reason], span(100, 200)));
    assert_eq!(decide(&by_share, &drift(&["a"], 2)), None);
    assert!(decide(&by_share, &drift(&["a"], 1)).is_some());
    assert_eq!(decide(&by_share, &drift(&[], 0)), None, "no verdict is no drift");
}

#[test]
fn performance_triggers_where_a_level_does_not_hold() {
    let policy = policy().performance_drop().build().unwrap();
    let decide = |report: &PerformanceReport| {
        policy.decide(&RetrainSignals { performance: Some(report), ..signals() }, seconds(HOUR))
    };
    let request = decide(&performance(0.4, 1)).unwrap();
    let reason = RetrainReason::Performance { task: name("clicks"), metric: Metric::Mrr, value: 0.5, reference: 1.0 };
    assert_eq!((request.reasons, request.window), (vec![reason], span(300, 310)));
    assert_eq!(decide(&performance(0.5, 1)), None, "within the tolerance");
    assert_eq!(decide(&performance(0.4, 2)), None, "too few samples");
}

#[test]
fn a_trigger_that_is_not_set_does_not_fire() {
    let policy = policy().age_max(Duration::from_hours(24)).build().unwrap();
    let (drift, performance) = (drift(&["a", "b"], 0), performance(0.0, 1));
    let all =
        RetrainSignals { drift: Some(&drift), performance: Some(&performance), new_labels: u64::MAX, ..signals() };
    assert_eq!(policy.decide(&all, seconds(2 * HOUR)), None);
}

#[test]
fn age_and_labels_trigger_at_their_bound() {
    let policy = policy().age_max(Duration::from_hours(24)).new_labels(10).build().unwrap();
    let decide = |new_labels, at| policy.decide(&RetrainSignals { new_labels, ..signals() }, seconds(at));
    assert_eq!(decide(9, 24 * HOUR - 1), None);
    let old = decide(9, 24 * HOUR).unwrap();
    assert_eq!(old.reasons, [RetrainReason::Age { trained_at: seconds(0) }]);
    assert_eq!(old.window, span(0, 24 * HOUR), "from training until now");
    assert_eq!(decide(10, HOUR).unwrap().reasons, [RetrainReason::NewLabels { count: 10 }]);
}

#[test]
fn several_reasons_are_one_request_over_all_their_windows() {
    let policy = policy().drifted_columns(1).performance_drop().new_labels(1).build().unwrap();
    let (drift, performance) = (drift(&["a"], 0), performance(0.0, 1));
    let all = RetrainSignals { drift: Some(&drift), performance: Some(&performance), new_labels: 5, ..signals() };
    let request = policy.decide(&all, seconds(HOUR)).unwrap();
    assert_eq!((request.reasons.len(), request.window), (3, span(100, 310)));
    assert_eq!((request.at, request.since), (seconds(HOUR), seconds(0)));
}

#[test]
fn nothing_is_requested_within_the_interval_of_a_request_or_a_training() {
    let report = drift(&["a"], 0);
    let policy = policy().drifted_columns(1).interval_min(Duration::from_hours(2)).build().unwrap();
    let decide = |trained: i64, requested: Option<i64>, at: i64| {
        let signals = RetrainSignals {
            trained_at: seconds(trained),
            requested_at: requested.map(seconds),
            drift: Some(&report),
            ..signals()
        };
        policy.decide(&signals, seconds(at)).is_some()
    };
    assert!(!decide(0, None, 2 * HOUR - 1) && decide(0, None, 2 * HOUR));
    assert!(!decide(0, Some(3 * HOUR), 5 * HOUR - 1) && decide(0, Some(3 * HOUR), 5 * HOUR));
    assert!(!decide(4 * HOUR, Some(3 * HOUR), 6 * HOUR - 1), "the later of the two counts");
    assert!(!decide(10 * HOUR, None, HOUR), "a clock that went back is not a reason");
}

#[test]
fn the_default_interval_is_an_hour() {
    let policy = policy().new_labels(1).build().unwrap();
    let decide = |at| policy.decide(&RetrainSignals { new_labels: 1, ..signals() }, seconds(at)).is_some();
    assert!(!decide(HOUR - 1) && decide(HOUR));
}

#[test]
fn too_few_labels_hold_every_trigger_back() {
    let report = drift(&["a"], 0);
    let policy = policy().drifted_columns(1).age_max(Duration::from_secs(1)).labels_min(100).build().unwrap();
    let decide = |new_labels| {
        policy.decide(&RetrainSignals { drift: Some(&report), new_labels, ..signals() }, seconds(HOUR)).is_some()
    };
    assert!(!decide(99) && decide(100));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = [
        policy(),
        policy().labels_min(5),
        policy().drifted_columns(0),
        policy().new_labels(0),
        policy().drifted_share(0.0),
        policy().drifted_share(1.1),
        policy().drifted_share(f64::NAN),
    ];
    for settings in refused {
        assert!(matches!(settings.clone().build(), Err(Error::Invalid { .. })), "{settings:?}");
    }
}

#[test]
fn a_policy_and_a_request_come_back_from_a_file() {
    let policy = policy().drifted_share(0.3).age_max(Duration::from_hours(1)).labels_min(7).build().unwrap();
    let json = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<RetrainPolicy>(&json).unwrap(), policy);
    assert!(serde_json::from_str::<RetrainPolicy>("{\"labels_min\":1}").is_err(), "no trigger");
    assert!(serde_json::from_str::<RetrainPolicy>("{\"new_labels\":1,\"typo\":2}").is_err());
    let signals = RetrainSignals { new_labels: 8, ..signals() };
    let request = policy.decide(&signals, seconds(HOUR)).unwrap();
    let json = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<RetrainRequest>(&json).unwrap(), request);
    assert!(serde_json::from_str::<RetrainRequest>(&json.replacen("\"format\":1", "\"format\":2", 1)).is_err());
}

proptest! {
    /// However often a host asks, requests keep their distance, and what made one keeps making them.
    #[test]
    fn requests_keep_their_distance(mut times in prop::collection::vec(0_i64..500_000, 1..40), hours in 1_u64..20) {
        times.sort_unstable();
        let interval = Duration::from_hours(hours);
        let report = Arc::new(drift(&["a"], 0));
        let policy = policy().drifted_columns(1).interval_min(interval).build().unwrap();
        let mut last: Option<EventTime> = None;
        for at in times.into_iter().map(seconds) {
            let signals = RetrainSignals { requested_at: last, drift: Some(&report), ..signals() };
            let request = policy.decide(&signals, at);
            prop_assert_eq!(&request, &policy.decide(&signals, at), "a decision depends on its arguments alone");
            let since = at.since(last.unwrap_or(seconds(0)));
            prop_assert_eq!(request.is_some(), since >= interval);
            if let Some(request) = request {
                prop_assert!(!request.reasons.is_empty() && request.at == at);
                last = Some(at);
            }
        }
    }
}
