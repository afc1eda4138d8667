//! The kits on our sinks and steps, and on sinks that break the contract.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mlops_core::arrow::array::{ArrayRef, Float64Array, RecordBatch};
use mlops_core::pipeline::{Artifact, Inputs};
use mlops_core::{Dataset, EventTime, Name};
use mlops_monitor::alert::{Alert, AlertSink, CallbackAlerts, JsonLinesAlerts, MemoryAlerts};
use mlops_monitor::steps::{DriftGate, ReferenceProfile, RetrainDecision, RetrainState};
use mlops_monitor::testkit::{self, ALERTS_MAX, FlakyAlerts};
use mlops_monitor::{Result, RetrainPolicy};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn memory() -> MemoryAlerts {
    MemoryAlerts::new(name("memory"), 4 * ALERTS_MAX).unwrap()
}

#[test]
fn memory_keeps_the_contract() {
    testkit::alert_sink(memory, MemoryAlerts::alerts);
}

/// A sink that takes its folder with it.
#[derive(Debug)]
struct InFolder {
    sink: JsonLinesAlerts,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl AlertSink for InFolder {
    fn name(&self) -> &Name {
        self.sink.name()
    }

    fn send(&self, alerts: &[Alert]) -> Result<()> {
        self.sink.send(alerts)
    }
}

fn in_folder() -> InFolder {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    InFolder { sink: JsonLinesAlerts::open(name("lines"), &path).unwrap(), path, _dir: dir }
}

#[test]
fn a_file_of_json_lines_keeps_the_contract() {
    testkit::alert_sink(in_folder, |sink| JsonLinesAlerts::read(&sink.path).unwrap());
}

/// A callback that appends to a list.
#[derive(Debug)]
struct Listed(CallbackAlerts, Arc<Mutex<Vec<Alert>>>);

impl AlertSink for Listed {
    fn name(&self) -> &Name {
        self.0.name()
    }

    fn send(&self, alerts: &[Alert]) -> Result<()> {
        self.0.send(alerts)
    }
}

/// What `change` makes of a group is appended.
fn listed(change: impl Fn(&[Alert]) -> Vec<Alert> + Send + Sync + 'static) -> Listed {
    let list: Arc<Mutex<Vec<Alert>>> = Arc::default();
    let told = list.clone();
    let callback = CallbackAlerts::new(name("callback"), move |alerts| {
        told.lock().unwrap().extend(change(alerts));
        Ok(())
    });
    Listed(callback, list)
}

fn list(sink: &Listed) -> Vec<Alert> {
    sink.1.lock().unwrap().clone()
}

#[test]
fn a_callback_keeps_the_contract() {
    testkit::alert_sink(|| listed(<[Alert]>::to_vec), list);
}

#[test]
fn a_sink_that_fails_now_and_then_keeps_the_contract() {
    for (fail_every, taken_first) in [(2, 0), (3, 1), (2, 1_000)] {
        let make = || FlakyAlerts::new(memory()).fail_every(fail_every).taken_first(taken_first);
        testkit::alert_sink(make, |sink| sink.inner().alerts());
    }
    let slow = || FlakyAlerts::new(in_folder()).fail_every(5).taken_first(2).delay(Duration::from_micros(10));
    testkit::alert_sink(slow, |sink| JsonLinesAlerts::read(&sink.inner().path).unwrap());
}

#[test]
#[should_panic(expected = "every alert was taken over, in order")]
fn a_sink_that_turns_the_order_is_found_out() {
    testkit::alert_sink(|| listed(|alerts| alerts.iter().rev().cloned().collect()), list);
}

#[test]
#[should_panic(expected = "every alert was taken over, in order")]
fn a_sink_that_loses_alerts_is_found_out() {
    testkit::alert_sink(|| listed(|alerts| alerts[..alerts.len().min(5)].to_vec()), list);
}

#[test]
#[should_panic(expected = "taken over as it is")]
fn a_sink_that_changes_alerts_is_found_out() {
    let cut = |alert: &Alert| Alert { text: alert.text.chars().take(40).collect(), ..alert.clone() };
    testkit::alert_sink(|| listed(move |alerts| alerts.iter().map(cut).collect()), list);
}

#[test]
#[should_panic(expected = "at most 20 times")]
fn a_sink_that_never_takes_anything_is_found_out() {
    testkit::alert_sink(|| FlakyAlerts::new(memory()).fail_every(1), |sink| sink.inner().alerts());
}

/// Takes the alerts of a call one by one.
#[derive(Debug)]
struct OneByOne(MemoryAlerts);

impl AlertSink for OneByOne {
    fn name(&self) -> &Name {
        self.0.name()
    }

    fn send(&self, alerts: &[Alert]) -> Result<()> {
        alerts.iter().try_for_each(|alert| {
            std::thread::sleep(Duration::from_micros(50));
            self.0.send(std::slice::from_ref(alert))
        })
    }
}

#[test]
#[should_panic(expected = "the alerts of one call stay together")]
fn a_sink_that_mixes_calls_is_found_out() {
    testkit::alert_sink(|| OneByOne(memory()), |sink| sink.0.alerts());
}

fn prices(shift: f64) -> Dataset {
    let prices: ArrayRef = Arc::new(Float64Array::from_iter_values((0..5_000).map(|i| f64::from(i) + shift)));
    Dataset::from_batches([RecordBatch::try_from_iter([("price", prices)]).unwrap()]).unwrap()
}

fn inputs(artifacts: impl IntoIterator<Item = (&'static str, Artifact)>) -> Inputs {
    Inputs::new(artifacts.into_iter().map(|(step, artifact)| (name(step), artifact)))
}

#[test]
fn our_steps_keep_the_contract() {
    use mlops_core::pipeline::{Step, StepContext};
    use mlops_core::testkit::repeatable_step;
    let reference = || ReferenceProfile::new(name("profile"), name("training"));
    let training = inputs([("training", prices(0.0).into())]);
    repeatable_step(reference, &training);
    let profile = reference().run(&training, &StepContext::default()).unwrap();
    let gate = || DriftGate::builder(name("gate"), name("today"), name("profile")).build().unwrap();
    let today = inputs([("today", prices(2_000.0).into()), ("profile", profile)]);
    repeatable_step(gate, &today);
    let finding = gate().run(&today, &StepContext::default()).unwrap();
    let policy = || RetrainPolicy::builder().drifted_columns(1).build().unwrap();
    let decision = || RetrainDecision::new(name("decide"), policy(), name("state")).drift(name("gate"));
    let state = RetrainState {
        now: EventTime::from_secs(7_200),
        trained_at: EventTime::EPOCH,
        requested_at: None,
        new_labels: 0,
    };
    repeatable_step(decision, &inputs([("gate", finding), ("state", state.to_artifact().unwrap())]));
}
