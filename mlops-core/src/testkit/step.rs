//! Kit of [`Step`].

use std::sync::{Arc, Mutex};

use crate::Digest;
use crate::pipeline::{Artifact, Inputs, Pipeline, RunOptions, Step, StepContext};

/// Checks the contract of [`Step`] on fresh steps made by `make`, which are run on `inputs` and must succeed.
///
/// # Panics
/// With the sentence that does not hold.
pub fn step<S: Step>(make: impl Fn() -> S, inputs: &Inputs) {
    keeps_name_and_fingerprint(&make, inputs);
    let first = run(&make(), inputs);
    let again = make();
    let kinds = [run(&again, inputs).kind(), run(&again, inputs).kind()];
    assert_eq!(kinds, [first.kind(); 2], "a step can run again, and gives the same kind of artifact");
    survives_storage(&first);
}

/// As [`step`], for a step whose output is the same to the last bit.
///
/// # Panics
/// With the sentence that does not hold.
pub fn repeatable_step<S: Step>(make: impl Fn() -> S, inputs: &Inputs) {
    step(&make, inputs);
    let one = make();
    let digests: Vec<Digest> = [&make(), &one, &one].map(|s| digest(&run(s, inputs))).into();
    assert!(digests.iter().all(|d| *d == digests[0]), "equal inputs and settings give equal outputs");
}

fn digest(artifact: &Artifact) -> Digest {
    artifact.digest().expect("an output has a digest")
}

/// One run, with progress looked at.
fn run(step: &impl Step, inputs: &Inputs) -> Artifact {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let report = seen.clone();
    let progress = Arc::new(move |fraction| report.lock().unwrap().push(fraction));
    let artifact = step.run(inputs, &StepContext { progress, ..StepContext::default() });
    let artifact = artifact.unwrap_or_else(|e| panic!("the step runs on the inputs of the kit: {e}"));
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|f: &f64| (0.0..=1.0).contains(f)), "progress is a fraction from 0 to 1: {seen:?}");
    artifact
}

fn keeps_name_and_fingerprint<S: Step>(make: &impl Fn() -> S, inputs: &Inputs) {
    let (one, other) = (make(), make());
    assert_eq!(one.name(), other.name(), "steps of the same settings have the same name");
    let fingerprint = |step: &S| step.fingerprint().expect("a step has a fingerprint");
    let before = fingerprint(&one);
    assert_eq!(before, fingerprint(&other), "steps of the same settings have the same fingerprint");
    let _ = run(&one, inputs);
    assert_eq!(before, fingerprint(&one), "running does not change the fingerprint");
}

/// A pipeline gives the output back from disk as it was.
fn survives_storage(output: &Artifact) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let given = crate::pipeline::Given::new("output", output.clone()).expect("a good name");
    let pipeline = Pipeline::builder("kit").step(given, &[]).build().expect("one step is a pipeline");
    let run = pipeline.run(dir.path(), &RunOptions::default()).and_then(crate::pipeline::Run::ok);
    let stored = run.and_then(|run| run.artifact("output")).unwrap_or_else(|e| panic!("an output can be stored: {e}"));
    assert_eq!(digest(&stored), digest(output), "an output is the same after it was stored");
}
