//! Kits of steps, and a pipeline across two processes' worth of runs.

use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use mlops_core::pipeline::{FnStep, Given, Inputs, Pipeline, Plan, Run, RunOptions, RunReport, Step};
use mlops_core::{Dataset, Name, testkit};
use serde_json::json;

fn numbers() -> Dataset {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000));
    Dataset::from_batches([RecordBatch::try_from_iter([("n", column)]).unwrap()]).unwrap()
}

fn count() -> FnStep {
    FnStep::new("count", "v1", |inputs, context| {
        (context.progress)(0.5);
        Ok(json!(inputs.get("numbers")?.as_dataset()?.num_rows()?).into())
    })
    .unwrap()
}

#[test]
fn our_steps_pass_the_kit() {
    let inputs = Inputs::new([(Name::new("numbers").unwrap(), numbers().into())]);
    testkit::repeatable_step(count, &inputs);
    testkit::repeatable_step(|| Given::new("numbers", numbers()).unwrap(), &Inputs::default());
    testkit::repeatable_step(|| Arc::new(Given::new("bytes", vec![0, 255]).unwrap()), &Inputs::default());
}

#[test]
fn a_step_whose_fingerprint_depends_on_the_hour_fails_the_kit() {
    let moods = std::sync::atomic::AtomicU32::new(0);
    let make = || {
        let mood = moods.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        FnStep::new("moody", mood.to_string(), |_, _| Ok(json!(1).into())).unwrap()
    };
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| testkit::step(make, &Inputs::default())));
    let sentence = *refused.unwrap_err().downcast::<String>().unwrap();
    assert!(sentence.contains("have the same fingerprint"), "{sentence}");
}

#[test]
fn reports_and_plans_are_data() {
    let pipeline = Pipeline::builder("numbers")
        .step(Given::new("numbers", numbers()).unwrap(), &[])
        .step(count(), &["numbers"])
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let run = pipeline.run(dir.path(), &RunOptions::default()).unwrap().ok().unwrap();
    let text = serde_json::to_string(run.report()).unwrap();
    assert_eq!(&serde_json::from_str::<RunReport>(&text).unwrap(), run.report());
    let plan = pipeline.plan().unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    assert_eq!(plan.steps()[1].fingerprint, count().fingerprint().unwrap());

    let later = Run::last(dir.path()).unwrap();
    assert_eq!(later.artifact("count").unwrap().as_json().unwrap(), 1_000);
    let rows = later.artifact("numbers").unwrap();
    let rows = rows.as_dataset().unwrap();
    assert_eq!(rows.to_batch().unwrap(), numbers().to_batch().unwrap());
    assert_eq!(rows.provenance().unwrap().operation.as_str(), "numbers");
    assert!(rows.info().unwrap().location.starts_with(dir.path().to_str().unwrap()));
}
