use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use mlops_core::pipeline::{Given, Outcome, Pipeline, RunOptions};
use mlops_core::schema::Sensitivity;
use mlops_core::stats::Verdict;

use super::*;
use crate::samples::{name, numbers, profile_of, seconds};

/// 1000 offers with an id that grows, an event time, a price from `shift` to `shift + 1000` and a phone number.
fn offers(shift: f64) -> Dataset {
    let ids: Vec<i64> = (0..1000).collect();
    let times: Vec<i64> = ids.iter().map(|id| (60 + id) * 1_000_000).collect();
    let batch = RecordBatch::try_from_iter([
        ("offer_id", Arc::new(Int64Array::from(ids.clone())) as ArrayRef),
        ("at", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("price", Arc::new(Float64Array::from_iter_values(ids.iter().map(|id| *id as f64 + shift)))),
        ("phone", Arc::new(StringArray::from_iter_values(ids.iter().map(|id| format!("09{id:08}"))))),
    ])
    .unwrap();
    let schema = Schema::new(batch.schema())
        .and_then(|schema| schema.with_role("offer_id", Role::Key))
        .and_then(|schema| schema.with_role("at", Role::EventTime))
        .and_then(|schema| schema.with_role("price", Role::Feature))
        .and_then(|schema| schema.with_role("phone", Role::Feature))
        .and_then(|schema| schema.with_sensitivity("phone", Sensitivity::Personal));
    Dataset::held(schema.unwrap(), [batch]).unwrap()
}

fn inputs(artifacts: impl IntoIterator<Item = (&'static str, Artifact)>) -> Inputs {
    Inputs::new(artifacts.into_iter().map(|(step, artifact)| (name(step), artifact)))
}

fn gate(reference: impl Into<Reference>) -> DriftGateBuilder {
    DriftGate::builder(name("gate"), name("today"), reference)
}

fn judged(gate: &DriftGate, today: Dataset) -> Result<GateFinding> {
    let artifact = gate.run(&inputs([("today", today.into())]), &StepContext::default())?;
    GateFinding::of(&artifact)
}

fn reference() -> Profile {
    profile(&offers(0.0), &["price".to_owned(), "phone".to_owned()], &name("test"), &StepContext::default()).unwrap()
}

#[test]
fn rows_like_the_reference_pass_and_others_do_not() {
    let gate = gate(reference()).build().unwrap();
    let same = judged(&gate, offers(0.0)).unwrap();
    assert!(same.passed && same.report.drifted().is_empty());
    // Times from 60 s to 1059 s, both inside.
    assert_eq!(same.report.window.start, seconds(60));
    assert_eq!(same.report.window.end, EventTime::from_micros(1_059_000_001));
    let other = judged(&gate, offers(400.0)).unwrap();
    assert!(!other.passed);
    assert_eq!((other.report.drifted(), other.report.rows), (vec!["price"], 1000));
}

#[test]
fn as_many_columns_as_may_drift_pass() {
    let gate = gate(reference()).drifted_max(1).build().unwrap();
    let finding = judged(&gate, offers(400.0)).unwrap();
    assert!(finding.passed && finding.drifted_max == 1 && finding.report.drifted() == ["price"]);
}

#[test]
fn a_gate_that_refuses_names_what_drifted_and_is_not_tried_again() {
    let gate = gate(reference()).refuse().build().unwrap();
    assert!(judged(&gate, offers(0.0)).unwrap().passed);
    let error = judged(&gate, offers(400.0)).unwrap_err();
    assert_eq!(error.to_string(), "`today` at the gate `gate` did not pass: price");
    let ran = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = ran.clone();
    let after = mlops_core::pipeline::FnStep::new("after", "1", move |_, _| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(serde_json::json!(null).into())
    });
    let pipeline = Pipeline::builder("p")
        .step(Given::new("today", offers(400.0)).unwrap(), &[])
        .step(gate, &["today"])
        .step(after.unwrap(), &["gate"])
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let second = std::time::Duration::from_secs(1);
    let retry = mlops_core::pipeline::Retry::new(3, second, second).unwrap();
    let run = pipeline.run(dir.path(), &RunOptions::default().retry(retry)).unwrap();
    let report = run.report();
    let gate = report.steps.iter().find(|step| step.step.as_str() == "gate").unwrap();
    assert!(matches!(gate.outcome, Outcome::Failed { .. }), "{:?}", gate.outcome);
    assert_eq!((gate.attempts, ran.load(std::sync::atomic::Ordering::Relaxed)), (1, 0));
}

#[test]
fn a_reference_may_be_a_profile_or_rows_from_a_step() {
    let gate = gate(name("before")).build().unwrap();
    let bytes: Artifact = reference().to_bytes().into();
    let json: Artifact = serde_json::to_value(reference()).unwrap().into();
    for before in [bytes, json, offers(0.0).into()] {
        let inputs = inputs([("today", offers(400.0).into()), ("before", before)]);
        let finding = GateFinding::of(&gate.run(&inputs, &StepContext::default()).unwrap()).unwrap();
        assert_eq!(finding.report.drifted(), ["price"]);
    }
    let wrong = inputs([("today", offers(0.0).into()), ("before", serde_json::json!({"rows": 1}).into())]);
    assert!(matches!(gate.run(&wrong, &StepContext::default()), Err(Error::InvalidData { .. })));
}

#[test]
fn no_value_of_a_sensitive_column_is_held_or_told() {
    let artifact = ReferenceProfile::new(name("profile"), name("training"))
        .run(&inputs([("training", offers(0.0).into())]), &StepContext::default())
        .unwrap();
    let profile = Profile::from_bytes(artifact.as_bytes().unwrap()).unwrap();
    assert!(profile.column("phone").unwrap().is_hidden());
    assert_eq!(profile.columns().len(), 2, "features only: {:?}", profile.columns());
    let json = serde_json::to_string(&profile).unwrap();
    let finding = judged(&gate(profile).build().unwrap(), offers(400.0)).unwrap();
    for text in [json, serde_json::to_string(&finding).unwrap()] {
        assert!(!text.contains("0900000"), "{text}");
    }
}

#[test]
fn without_roles_everything_but_keys_and_times_is_profiled() {
    let batch = numbers("amount", [1.0, 2.0]);
    let step = ReferenceProfile::new(name("profile"), name("training"));
    let run = |step: &ReferenceProfile, data: Dataset| {
        let artifact = step.run(&inputs([("training", data.into())]), &StepContext::default())?;
        Profile::from_bytes(artifact.as_bytes()?)
    };
    let profile = run(&step, Dataset::from_batches([batch]).unwrap()).unwrap();
    assert_eq!(profile.column("amount").unwrap().rows(), 2);
    let chosen = run(&step.clone().columns(["price"]), offers(0.0)).unwrap();
    assert_eq!(chosen.columns().len(), 1);
    assert!(matches!(run(&step.columns(["ghost"]), offers(0.0)), Err(Error::NotFound { .. })));
}

#[test]
fn a_missing_column_or_another_kind_is_an_error_that_names_it() {
    let gate = gate(profile_of(&numbers("price", [1.0, 2.0]))).build().unwrap();
    let lacking = judged(&gate, Dataset::from_batches([numbers("cost", [1.0])]).unwrap()).unwrap_err();
    assert!(lacking.to_string().contains("`price`"), "{lacking}");
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    let texts = Dataset::from_batches([RecordBatch::try_from_iter([("price", texts)]).unwrap()]).unwrap();
    assert!(matches!(judged(&gate, texts), Err(Error::Schema { .. })));
}

#[test]
fn few_rows_and_no_rows_have_no_verdict_and_pass() {
    let gate = gate(profile_of(&numbers("price", (0..1000).map(f64::from)))).build().unwrap();
    for rows in [0, 99] {
        let few = numbers("price", (0..rows).map(|i| f64::from(i) + 1e6));
        let finding = judged(&gate, Dataset::from_batches([few]).unwrap()).unwrap();
        assert!(finding.passed);
        assert_eq!(finding.report.count(Verdict::Inconclusive), 1, "{rows} rows");
        assert_eq!(finding.report.window, Window::all());
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    assert!(gate(reference()).columns(Vec::<String>::new()).build().is_err());
    assert!(matches!(gate(reference()).columns(["ghost"]).build(), Err(Error::NotFound { .. })));
    let nothing = DriftRule::builder().except("price").except("phone").build().unwrap();
    assert!(matches!(gate(reference()).rule(nothing).build(), Err(Error::Invalid { .. })));
}

#[test]
fn a_step_that_is_cancelled_says_so() {
    let context = StepContext { cancelled: Arc::new(|| true), ..StepContext::default() };
    let gate = gate(reference()).build().unwrap();
    let answer = gate.run(&inputs([("today", offers(0.0).into())]), &context);
    assert!(matches!(answer, Err(Error::Cancelled { stage }) if stage == "gate"));
}

#[test]
fn every_setting_is_in_the_fingerprint() {
    let rule = DriftRule::builder().threshold(0.3).build().unwrap();
    let gates = [
        gate(reference()),
        gate(name("before")),
        gate(name("other")),
        gate(profile_of(&numbers("price", [1.0, 2.0]))),
        gate(reference()).rule(rule),
        gate(reference()).columns(["price"]),
        gate(reference()).drifted_max(1),
        gate(reference()).refuse(),
        DriftGate::builder(name("gate"), name("yesterday"), reference()),
    ];
    let digests: std::collections::BTreeSet<Digest> =
        gates.into_iter().map(|gate| gate.build().unwrap().fingerprint().unwrap()).collect();
    assert_eq!(digests.len(), 9);
}

fn decision(policy: RetrainPolicy) -> RetrainDecision {
    RetrainDecision::new(name("decide"), policy, name("state"))
}

#[test]
fn a_decision_reads_the_finding_of_a_gate() {
    let finding = judged(&gate(reference()).build().unwrap(), offers(400.0)).unwrap();
    let policy = RetrainPolicy::builder().drifted_columns(1).build().unwrap();
    let state = RetrainState { now: seconds(10_000), trained_at: seconds(0), requested_at: None, new_labels: 3 };
    let step = decision(policy).drift(name("gate"));
    let decide = |gate: serde_json::Value, state: RetrainState| {
        let inputs = inputs([("gate", gate.into()), ("state", state.to_artifact()?)]);
        RetrainFinding::of(&step.run(&inputs, &StepContext::default())?)
    };
    let whole = serde_json::to_value(&finding).unwrap();
    let bare = serde_json::to_value(&finding.report).unwrap();
    for report in [whole.clone(), bare] {
        let request = decide(report, state).unwrap().request.unwrap();
        assert_eq!((request.at, request.since, request.window), (seconds(10_000), seconds(0), finding.report.window));
    }
    let soon = RetrainState { requested_at: Some(seconds(9_999)), ..state };
    assert_eq!(decide(whole, soon).unwrap().request, None);
    assert!(matches!(decide(serde_json::json!({}), state), Err(Error::InvalidData { .. })));
}

#[test]
fn a_decision_needs_the_steps_it_names() {
    let policy = RetrainPolicy::builder().performance_drop().build().unwrap();
    let step = decision(policy).performance(name("performance"));
    let state = RetrainState { now: seconds(1), trained_at: seconds(0), requested_at: None, new_labels: 0 };
    let state = inputs([("state", state.to_artifact().unwrap())]);
    assert!(matches!(step.run(&state, &StepContext::default()), Err(Error::NotFound { .. })));
    assert!(matches!(step.run(&Inputs::default(), &StepContext::default()), Err(Error::NotFound { .. })));
}
