use proptest::prelude::*;

use super::*;
use crate::alert::{AlertSink, MemoryAlerts, Outbox};
use crate::samples::{name, seconds};

fn rule(bound: Bound, threshold: f64) -> AlertRuleBuilder {
    AlertRule::builder(name("rule"), name("signal"), bound, threshold)
}

fn rules(rule: AlertRuleBuilder) -> AlertRules {
    AlertRules::new(vec![rule.build().unwrap()]).unwrap()
}

fn signal(value: f64) -> Signal {
    Signal::new(name("signal"), value)
}

/// What one series of values, a second apart, leads to: the second and the state of each alert.
fn alerts(rules: &mut AlertRules, values: &[f64]) -> Vec<(i64, AlertState)> {
    let one = |(at, value): (i64, &f64)| {
        let alerts = rules.evaluate(&[signal(*value)], seconds(at));
        alerts.into_iter().map(move |alert| (at, alert.state)).collect::<Vec<_>>()
    };
    (0..).zip(values).flat_map(one).collect()
}

use AlertState::{Firing, Resolved};

#[test]
fn an_alert_is_told_when_it_begins_and_when_it_ends() {
    let mut rules = rules(rule(Bound::AtLeast, 0.5));
    let told = alerts(&mut rules, &[0.4, 0.5, 0.9, 0.4, 0.4, 0.6]);
    assert_eq!(told, [(1, Firing), (3, Resolved), (5, Firing)]);
    assert_eq!(rules.firing().len(), 1);
}

#[test]
fn the_other_side_of_a_threshold_can_be_wrong_too() {
    let mut rules = rules(rule(Bound::AtMost, 0.5));
    assert_eq!(alerts(&mut rules, &[0.6, 0.5, f64::NEG_INFINITY, 0.51]), [(1, Firing), (3, Resolved)]);
    assert!(rules.series.is_empty(), "a series that is quiet needs no memory");
}

#[test]
fn a_value_must_stay_wrong_for_as_long_as_the_rule_waits() {
    let mut rules = rules(rule(Bound::AtLeast, 1.0).wait(Duration::from_secs(3)));
    let told = alerts(&mut rules, &[1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    assert_eq!(told, [(6, Firing), (7, Resolved)], "the wait begins anew");
}

#[test]
fn after_an_end_the_rule_cools_down() {
    let mut rules = rules(rule(Bound::AtLeast, 1.0).cooldown(Duration::from_secs(5)));
    let told = alerts(&mut rules, &[1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0]);
    assert_eq!(told, [(0, Firing), (1, Resolved), (6, Firing), (7, Resolved)]);
}

#[test]
fn no_number_says_nothing() {
    let mut rules = rules(rule(Bound::AtLeast, 1.0));
    let told = alerts(&mut rules, &[f64::NAN, 1.0, f64::NAN, f64::NAN, f64::INFINITY, 0.0, f64::NAN]);
    assert_eq!(told, [(1, Firing), (5, Resolved)]);
}

#[test]
fn a_series_that_is_not_measured_keeps_its_state() {
    let mut rules = rules(rule(Bound::AtLeast, 1.0));
    rules.evaluate(&[signal(2.0)], seconds(0));
    assert!(rules.evaluate(&[], seconds(100)).is_empty());
    assert!(rules.evaluate(&[Signal::new(name("another"), 9.0)], seconds(101)).is_empty());
    assert_eq!(rules.firing().len(), 1);
}

#[test]
fn series_are_told_apart_by_their_labels() {
    let mut rules = rules(rule(Bound::AtLeast, 1.0));
    let of = |model: &str, value| signal(value).with(name("model"), model);
    let began = rules.evaluate(&[of("a", 2.0), of("b", 0.0), of("c", 3.0)], seconds(0));
    let models: Vec<&str> = began.iter().map(|alert| alert.labels[&name("model")].as_str()).collect();
    assert_eq!(models, ["a", "c"], "in the order of the signals");
    let ended = rules.evaluate(&[of("a", 2.0), of("c", 0.0)], seconds(1));
    assert_eq!((ended.len(), ended[0].labels[&name("model")].as_str()), (1, "c"));
    assert_ne!(began[0].id(), began[1].id());
}

#[test]
fn beyond_the_bound_new_series_are_counted_not_followed() {
    let mut rules = rules(rule(Bound::AtLeast, 1.0));
    rules.series_max = 2;
    let of = |model: usize, value| signal(value).with(name("model"), model.to_string());
    let began = rules.evaluate(&[of(0, 1.0), of(1, 1.0), of(2, 1.0), of(3, 0.0)], seconds(0));
    assert_eq!((began.len(), rules.refused()), (2, 1));
    rules.evaluate(&[of(0, 0.0)], seconds(1));
    assert_eq!(rules.evaluate(&[of(2, 1.0)], seconds(2)).len(), 1, "a series that is quiet makes room");
}

#[test]
fn an_alert_says_what_when_and_how_bad() {
    let mut rules = AlertRules::new(vec![
        rule(Bound::AtLeast, 0.5).severity(Severity::Warning).build().unwrap(),
        AlertRule::builder(name("low"), name("signal"), Bound::AtMost, 0.7).text("look here").build().unwrap(),
    ])
    .unwrap();
    let told = rules.evaluate(&[signal(0.6)], seconds(7));
    assert_eq!(told.len(), 2);
    let first = &told[0];
    assert_eq!((first.name.as_str(), first.severity, first.state), ("rule", Severity::Warning, Firing));
    assert_eq!((first.at, first.value, first.threshold), (seconds(7), 0.6, 0.5));
    assert_eq!(first.text, "signal is 0.6 (alert at 0.5 or more)");
    assert_eq!((told[1].text.as_str(), told[1].severity), ("look here", Severity::Error));
}

#[test]
fn the_identity_of_a_transition_does_not_change_with_its_words() {
    let mut rules = rules(rule(Bound::AtLeast, 0.5));
    let alert = rules.evaluate(&[signal(0.6)], seconds(7)).remove(0);
    let told_again = Alert { text: "other words".to_owned(), value: 0.9, ..alert.clone() };
    assert_eq!(alert.id(), told_again.id());
    let others = [
        Alert { state: Resolved, ..alert.clone() },
        Alert { at: seconds(8), ..alert.clone() },
        Alert { name: name("other"), ..alert.clone() },
        Alert { labels: [(name("a"), "b".to_owned())].into(), ..alert.clone() },
    ];
    assert!(others.iter().all(|other| other.id() != alert.id()));
    let json = serde_json::to_string(&Alert { value: f64::INFINITY, ..alert.clone() }).unwrap();
    assert!(json.contains("\"inf\""), "{json}");
    assert_eq!(serde_json::from_str::<Alert>(&json).unwrap().value, f64::INFINITY);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for threshold in [f64::NAN, f64::INFINITY] {
        assert!(rule(Bound::AtLeast, threshold).build().is_err());
    }
    let twice = vec![rule(Bound::AtLeast, 1.0).build().unwrap(), rule(Bound::AtMost, 2.0).build().unwrap()];
    assert!(
        matches!(AlertRules::new(twice), Err(Error::Core(CoreError::AlreadyExists { name, .. })) if name == "rule")
    );
    let stored = rule(Bound::AtLeast, 1.0).wait(Duration::from_secs(9)).build().unwrap();
    let json = serde_json::to_string(&stored).unwrap();
    assert_eq!(serde_json::from_str::<AlertRule>(&json).unwrap(), stored);
    assert!(serde_json::from_str::<AlertRule>(&json.replace("1.0", "1e999")).is_err());
}

proptest! {
    /// Beginnings and ends alternate, and the last one tells whether the series fires.
    #[test]
    fn beginnings_and_ends_alternate(
        values in prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), Just(f64::NAN)], 0..60),
        wait in 0_u64..4,
        cooldown in 0_u64..4,
    ) {
        let settings = rule(Bound::AtLeast, 1.0).wait(Duration::from_secs(wait)).cooldown(Duration::from_secs(cooldown));
        let mut rules = rules(settings);
        let told = alerts(&mut rules, &values);
        for (place, (_, state)) in told.iter().enumerate() {
            prop_assert_eq!(*state, if place % 2 == 0 { Firing } else { Resolved });
        }
        let fires = told.last().is_some_and(|(_, state)| *state == Firing);
        prop_assert_eq!(rules.firing().len(), usize::from(fires));
        for pair in told.windows(2).filter(|pair| pair[0].1 == Resolved) {
            prop_assert!(pair[1].0 - pair[0].0 >= cooldown as i64);
        }
        prop_assert!(rules.series.len() <= 1);
    }
}

/// Alerts of `count` series that begin to fire.
fn some(count: usize) -> Vec<Alert> {
    let mut rules = rules(rule(Bound::AtLeast, 1.0));
    let signals: Vec<Signal> = (0..count).map(|i| signal(1.0).with(name("series"), format!("{i:03}"))).collect();
    rules.evaluate(&signals, seconds(0))
}

/// A sink that fails while it is told to.
#[derive(Debug)]
struct Failing(MemoryAlerts, std::sync::atomic::AtomicBool);

impl AlertSink for Failing {
    fn name(&self) -> &Name {
        self.0.name()
    }

    fn send(&self, alerts: &[Alert]) -> Result<()> {
        if self.1.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::delivery(self.name(), "no line"));
        }
        self.0.send(alerts)
    }
}

#[test]
fn alerts_wait_until_a_sink_has_taken_them() {
    let sink = Failing(MemoryAlerts::new(name("memory"), 10).unwrap(), true.into());
    let mut outbox = Outbox::new(5).unwrap();
    assert_eq!(outbox.deliver(&sink).unwrap(), 0, "nothing to send is sent to nobody");
    let all = some(3);
    outbox.push(all[..2].to_vec());
    let error = outbox.deliver(&sink).unwrap_err();
    assert_eq!((error.to_string().as_str(), outbox.len()), ("alert sink `memory`: no line", 2));
    outbox.push(all[2..].to_vec());
    sink.1.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(outbox.deliver(&sink).unwrap(), 3);
    assert!(outbox.is_empty());
    assert_eq!(sink.0.alerts(), all);
}

#[test]
fn a_full_outbox_drops_the_oldest_and_says_so() {
    let mut outbox = Outbox::new(2).unwrap();
    let all = some(5);
    outbox.push(all.clone());
    assert_eq!((outbox.len(), outbox.dropped()), (2, 3));
    let sink = MemoryAlerts::new(name("memory"), 1).unwrap();
    outbox.deliver(&sink).unwrap();
    assert_eq!((sink.alerts(), sink.forgotten()), (all[4..].to_vec(), 1));
    assert!(Outbox::new(0).is_err() && MemoryAlerts::new(name("memory"), 0).is_err());
}
