use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arrow::array::{ArrayRef, AsArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{Int32Type, Int64Type};
use proptest::prelude::*;
use serde_json::json;

use super::super::store::fault;
use super::super::{FnStep, Given, Step};
use super::*;
use crate::source::{Comparison, Predicate, ScanRequest};
use crate::time::ManualClock;
use crate::{Dataset, EventTime};

/// How often each step ran, over any number of runs.
#[derive(Clone, Default)]
struct Count(Arc<Mutex<BTreeMap<String, u32>>>);

impl Count {
    fn of(&self, step: &str) -> u32 {
        self.0.lock().unwrap().get(step).copied().unwrap_or(0)
    }

    fn total(&self) -> u32 {
        self.0.lock().unwrap().values().sum()
    }

    /// A step that counts its runs and makes `f` of its inputs.
    fn step(
        &self,
        name: &'static str,
        version: &str,
        f: impl Fn(&Inputs) -> Result<Artifact> + Send + Sync + 'static,
    ) -> FnStep {
        let count = self.clone();
        FnStep::new(name, version, move |inputs, _| {
            *count.0.lock().unwrap().entry(name.to_owned()).or_default() += 1;
            f(inputs)
        })
        .unwrap()
    }
}

fn rows(from: i64, to: i64) -> Dataset {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
    let half: ArrayRef = Arc::new(Float64Array::from_iter_values((from..to).map(|n| n as f64 / 2.0)));
    let text: ArrayRef = Arc::new(StringViewArray::from_iter_values((from..to).map(|n| format!("row number {n}"))));
    let batch = RecordBatch::try_from_iter([("id", id), ("half", half), ("text", text)]).unwrap();
    Dataset::from_batches([batch]).unwrap()
}

fn sum(data: &Dataset) -> Result<i64> {
    Ok(data.to_batch()?.column(0).as_primitive::<Int64Type>().iter().flatten().sum())
}

/// load → { total, copy } → join, with every kind of artifact.
fn diamond(count: &Count, settings: &str, n: i64) -> Pipeline {
    Pipeline::builder("diamond")
        .step(count.step("load", &format!("{settings} {n}"), move |_| Ok(rows(0, n).into())), &[])
        .step(count.step("total", "v1", |inputs| Ok(json!(sum(inputs.get("load")?.as_dataset()?)?).into())), &["load"])
        .step(
            count.step("copy", "v1", |inputs| {
                Ok(inputs.get("load")?.as_dataset()?.num_rows()?.to_le_bytes().to_vec().into())
            }),
            &["load"],
        )
        .step(
            count.step("join", "v1", |inputs| {
                let total = inputs.get("total")?.as_json()?.clone();
                Ok(json!({ "total": total, "copy": inputs.get("copy")?.as_bytes()?.to_vec() }).into())
            }),
            &["total", "copy"],
        )
        .build()
        .unwrap()
}

fn options() -> RunOptions {
    let clock = ManualClock::at(EventTime::from_secs(1_000));
    RunOptions::default().clock(Arc::new(clock)).lock_wait(Duration::ZERO)
}

fn run(pipeline: &Pipeline, dir: &Path) -> Run {
    pipeline.run(dir, &options()).unwrap().ok().unwrap()
}

fn because(run: &Run, step: &str) -> Rerun {
    match &run.report().step(step).unwrap().outcome {
        Outcome::Ran { because } => because.clone(),
        other => panic!("{step}: {other:?}"),
    }
}

#[test]
fn a_second_run_does_nothing_and_gives_the_same() {
    let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
    let first = run(&diamond(&count, "v1", 10), dir.path());
    assert_eq!(because(&first, "load"), Rerun::New);
    let second = run(&diamond(&count, "v1", 10), dir.path());
    assert_eq!((count.total(), second.report().ran()), (4, 0));
    for step in ["load", "total", "copy", "join"] {
        assert_eq!(first.artifact(step).unwrap().digest().unwrap(), second.artifact(step).unwrap().digest().unwrap());
        assert_eq!(first.report().step(step).unwrap().output, second.report().step(step).unwrap().output);
    }
    assert_eq!(second.artifact("join").unwrap().as_json().unwrap()["total"], 45);
    assert_eq!(Run::last(dir.path()).unwrap().report(), second.report());
}

#[test]
fn what_changed_runs_again_and_says_why() {
    let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
    let _ = run(&diamond(&count, "v1", 10), dir.path());
    let changed = run(&diamond(&count, "v1", 11), dir.path());
    assert_eq!(because(&changed, "load"), Rerun::Fingerprint);
    assert_eq!(because(&changed, "total"), Rerun::Inputs(vec![Name::new("load").unwrap()]));
    assert_eq!(count.total(), 8);
    // Back again: the first outputs are still there.
    assert_eq!(run(&diamond(&count, "v1", 10), dir.path()).report().ran(), 0);
}

#[test]
fn a_step_that_gives_the_same_again_stops_the_change() {
    let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
    let _ = run(&diamond(&count, "v1", 10), dir.path());
    let changed = run(&diamond(&count, "v2", 10), dir.path());
    assert_eq!(changed.report().ran(), 1);
    assert_eq!(changed.report().step("total").unwrap().outcome, Outcome::Cached);
}

#[test]
fn steps_of_two_pipelines_or_names_never_share_an_output() {
    let dir = tempfile::tempdir().unwrap();
    let one = |pipeline: &str, step: &str, value: i64| {
        let step = FnStep::new(step, "v1", move |_, _| Ok(json!(value).into())).unwrap();
        Pipeline::builder(pipeline).step(step, &[]).build().unwrap()
    };
    assert_eq!(run(&one("p", "a", 1), dir.path()).artifact("a").unwrap().as_json().unwrap(), 1);
    assert_eq!(run(&one("q", "a", 2), dir.path()).artifact("a").unwrap().as_json().unwrap(), 2);
    assert_eq!(run(&one("p", "b", 3), dir.path()).artifact("b").unwrap().as_json().unwrap(), 3);
}

#[test]
fn a_failing_step_stops_its_dependants_and_nothing_else() {
    let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
    let ok = |name| count.step(name, "v1", |_| Ok(json!(1).into()));
    let pipeline = Pipeline::builder("p")
        .step(ok("a"), &[])
        .step(count.step("bad", "v1", |_| Err(Error::not_found("column", "x"))), &["a"])
        .step(ok("after"), &["bad"])
        .step(ok("after_that"), &["after"])
        .step(ok("beside"), &["a"])
        .build()
        .unwrap();
    let run = pipeline.run(dir.path(), &options()).unwrap();
    let outcome = |step| run.report().step(step).unwrap().outcome.clone();
    assert_eq!(outcome("bad"), Outcome::Failed { error: "column `x` not found".to_owned() });
    assert_eq!(outcome("after"), Outcome::Skipped { because: Skip::Needs(Name::new("bad").unwrap()) });
    assert_eq!(outcome("after_that"), Outcome::Skipped { because: Skip::Needs(Name::new("after").unwrap()) });
    assert!(matches!(outcome("beside"), Outcome::Ran { .. }));
    assert!(!run.report().succeeded());
    assert!(run.artifact("bad").unwrap_err().to_string().contains("column `x` not found"));
    assert!(run.artifact("after").unwrap_err().to_string().contains("`bad` has no output"));
    assert!(matches!(run.artifact("ghost"), Err(Error::NotFound { kind: "step", .. })));
    match run.ok() {
        Err(Error::Stage { stage, source }) => {
            assert_eq!(stage, "bad");
            assert!(matches!(source.downcast_ref(), Some(Error::NotFound { kind: "column", .. })));
        }
        other => panic!("{other:?}"),
    }
    // The failed one is tried again, those that finished are not.
    let _ = pipeline.run(dir.path(), &options()).unwrap();
    assert_eq!((count.of("a"), count.of("bad"), count.of("beside")), (1, 2, 1));
}

#[test]
fn tries_are_bounded_and_waits_grow() {
    let dir = tempfile::tempdir().unwrap();
    let waits = Arc::new(Mutex::new(Vec::new()));
    let (seen, tries) = (waits.clone(), Arc::new(AtomicU32::new(0)));
    let tried = tries.clone();
    let flaky = FnStep::new("flaky", "v1", move |_, _| match tried.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Err(Error::external("store", "not now")),
        n => Ok(json!(n).into()),
    });
    let pipeline = Pipeline::builder("p").step(flaky.unwrap(), &[]).build().unwrap();
    let retry = Retry::new(3, Duration::from_millis(400), Duration::from_millis(600)).unwrap();
    let options = options().retry(retry).sleeper(move |wait| seen.lock().unwrap().push(wait.as_millis()));
    let run = pipeline.run(dir.path(), &options).unwrap().ok().unwrap();
    assert_eq!(run.report().step("flaky").unwrap().attempts, 3);
    assert_eq!(*waits.lock().unwrap(), [400, 600]);

    // A wrong setting does not get better by waiting.
    let wrong = FnStep::new("wrong", "v1", |_, _| Err(Error::invalid("bins", 0, "above 0"))).unwrap();
    let pipeline = Pipeline::builder("q").step(wrong, &[]).retry("wrong", retry).build().unwrap();
    let run = pipeline.run(dir.path(), &options).unwrap();
    assert_eq!(run.report().step("wrong").unwrap().attempts, 1);
}

#[test]
fn cancelling_stops_between_steps_and_in_waits_and_the_next_run_goes_on() {
    let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let (raise, look) = (stop.clone(), stop.clone());
    let pipeline = Pipeline::builder("p")
        .step(
            count.step("a", "v1", move |_| {
                raise.store(true, Ordering::Relaxed);
                Ok(json!(1).into())
            }),
            &[],
        )
        .step(count.step("b", "v1", |_| Ok(json!(2).into())), &["a"])
        .build()
        .unwrap();
    let run = pipeline.run(dir.path(), &options().cancelled(move || look.load(Ordering::Relaxed))).unwrap();
    assert_eq!(run.report().step("b").unwrap().outcome, Outcome::Skipped { because: Skip::Cancelled });
    assert!(matches!(run.artifact("b"), Err(Error::Cancelled { .. })));
    assert!(matches!(run.ok(), Err(Error::Cancelled { stage }) if stage == "b"));
    assert_eq!(pipeline.run(dir.path(), &options()).unwrap().ok().unwrap().report().ran(), 1);
    assert_eq!((count.of("a"), count.of("b")), (1, 1));

    let busy = FnStep::new("c", "v1", |_, _| Err(Error::Busy { what: "disk".to_owned() })).unwrap();
    let pipeline = Pipeline::builder("p").step(busy, &[]).build().unwrap();
    let (naps, asked) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (nap, ask) = (naps.clone(), asked);
    let options = options()
        .retry(Retry::new(2, Duration::from_mins(1), Duration::from_mins(1)).unwrap())
        .sleeper(move |_| {
            nap.fetch_add(1, Ordering::Relaxed);
        })
        .cancelled(move || ask.fetch_add(1, Ordering::Relaxed) > 3);
    let run = pipeline.run(dir.path(), &options).unwrap();
    assert!(matches!(run.ok(), Err(Error::Cancelled { .. })));
    assert!(naps.load(Ordering::Relaxed) < 5, "a cancelled wait of a minute ends after a few seconds");
}

#[test]
fn a_run_to_one_step_leaves_the_others_alone() {
    let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
    let pipeline = diamond(&count, "v1", 10);
    let run = pipeline.run(dir.path(), &options().only_to("total")).unwrap().ok().unwrap();
    let steps: Vec<&str> = run.report().steps.iter().map(|s| s.step.as_str()).collect();
    assert_eq!(steps, ["load", "total"]);
    assert!(matches!(pipeline.run(dir.path(), &options().only_to("ghost")), Err(Error::NotFound { .. })));
    assert!(matches!(pipeline.run(dir.path(), &options().refresh("ghost")), Err(Error::NotFound { .. })));
    let run = pipeline.run(dir.path(), &options().only_to("total").refresh("total")).unwrap().ok().unwrap();
    assert_eq!(because(&run, "total"), Rerun::Asked);
    assert_eq!((count.of("load"), count.of("total"), count.of("join")), (1, 2, 0));
}

#[test]
fn everything_that_happens_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let options = options().on_event(move |event| heard.lock().unwrap().push(event.clone()));
    let step = FnStep::new("a", "v1", |_, context| {
        for fraction in [0.5, 7.0, f64::NAN] {
            (context.progress)(fraction);
        }
        Ok(json!(1).into())
    });
    let pipeline = Pipeline::builder("p").step(step.unwrap(), &[]).build().unwrap();
    for _ in 0..2 {
        let _ = pipeline.run(dir.path(), &options).unwrap();
    }
    let step = Name::new("a").unwrap();
    let digest = Artifact::from(json!(1)).digest().unwrap();
    let told = told.lock().unwrap();
    let progress = |fraction| RunEvent::Progress { step: step.clone(), fraction };
    assert_eq!(told[0], RunEvent::Started { step: step.clone(), attempt: 1 });
    assert_eq!(told[1..4], [progress(0.5), progress(1.0), progress(0.0)]);
    assert!(matches!(&told[4], RunEvent::Finished { digest: d, .. } if *d == digest));
    assert_eq!(told[5..], [RunEvent::Cached { step: step.clone(), digest }]);
    let text = serde_json::to_string(&told[0]).unwrap();
    assert_eq!(text, r#"{"event":"started","step":"a","attempt":1}"#);
}

#[test]
fn a_second_run_in_the_same_directory_is_told_to_wait() {
    let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
    let path = dir.path().to_owned();
    let inner = diamond(&count, "v1", 3);
    let outer = FnStep::new("outer", "v1", move |_, _| {
        assert!(matches!(inner.run(&path, &options()), Err(Error::Busy { .. })));
        Ok(json!(1).into())
    });
    let pipeline = Pipeline::builder("p").step(outer.unwrap(), &[]).build().unwrap();
    let _ = run(&pipeline, dir.path());
}

#[test]
fn directories_that_are_not_ours_are_refused() {
    let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
    let pipeline = diamond(&count, "v1", 3);
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(pipeline.run(&file, &options()), Err(Error::Io { .. })));
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    assert!(matches!(Run::last(&foreign), Err(Error::NotFound { .. })));
    fs::write(foreign.join("format"), "mlops pipeline 99\n").unwrap();
    assert!(matches!(pipeline.run(&foreign, &options()), Err(Error::InvalidData { .. })));
    assert!(matches!(Run::last(dir.path().join("missing")), Err(Error::NotFound { .. })));
    assert_eq!(count.total(), 0);
}

#[test]
fn data_sets_come_back_as_they_were_with_their_provenance() {
    let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
    // Two batches with different dictionaries, and one without rows.
    let batch = |words: &[Option<&str>]| {
        let words: DictionaryArray<Int32Type> = words.iter().copied().collect();
        RecordBatch::try_from_iter_with_nullable([("word", Arc::new(words) as ArrayRef, true)]).unwrap()
    };
    let given = Dataset::from_batches([batch(&[Some("a"), None]), batch(&[]), batch(&[Some("c"), Some("b")])]).unwrap();
    let schema = given.schema().with_unit("word", "VND").unwrap();
    let given = given.with_schema(schema).unwrap();
    let same = count.step("same", "v1", |inputs| Ok(inputs.get("given")?.clone()));
    let same_print = same.fingerprint().unwrap();
    let pipeline = Pipeline::builder("p")
        .step(Given::new("given", given.clone()).unwrap(), &[])
        .step(same, &["given"])
        .build()
        .unwrap();
    let run = run(&pipeline, dir.path());
    let read = run.artifact("same").unwrap();
    let read = read.as_dataset().unwrap();
    assert_eq!(read.schema(), given.schema());
    assert_eq!(read.to_batch().unwrap(), given.to_batch().unwrap());
    assert_eq!(read.digest().unwrap(), given.digest().unwrap());
    assert_eq!(read.hold().unwrap().to_batch().unwrap().num_rows() as u64, read.num_rows().unwrap());
    let expected = Provenance {
        parents: vec![given.digest().unwrap()],
        operation: Name::new("same").unwrap(),
        parameters: json!({ "pipeline": "p" }),
        code_version: same_print.to_string(),
        at: EventTime::from_secs(1_000),
    };
    assert_eq!(read.provenance(), Some(&expected));
}

#[test]
fn stored_rows_answer_every_kind_of_request() {
    let dir = tempfile::tempdir().unwrap();
    let data = rows(0, 100);
    let pipeline = Pipeline::builder("p").step(Given::new("rows", data.clone()).unwrap(), &[]).build().unwrap();
    let run = run(&pipeline, dir.path());
    let read = run.artifact("rows").unwrap();
    let late = || Predicate::new("half", Comparison::GtEq, 40.0);
    let scan = |data: &Dataset, request: &ScanRequest| Dataset::collect(data.scan(request)?)?.to_batch();
    for (request, expected) in [
        (ScanRequest::all().columns(["text", "id"]).filter(late()).limit(5), 5),
        (ScanRequest::all().columns(["text"]), 100),
        (ScanRequest::all().columns(["text", "half"]), 100),
        (ScanRequest::all().columns(["id"]).filter(late()), 20),
    ] {
        let found = scan(read.as_dataset().unwrap(), &request).unwrap();
        assert_eq!(found, scan(&data, &request).unwrap(), "{request:?}");
        assert_eq!(found.num_rows(), expected);
    }
}

fn files(dir: &Path, folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

/// Outputs of an undisturbed run.
fn expected() -> Vec<Digest> {
    let dir = tempfile::tempdir().unwrap();
    digests(&run(&diamond(&Count::default(), "v1", 50), dir.path()))
}

fn digests(run: &Run) -> Vec<Digest> {
    run.report().steps.iter().map(|s| run.artifact(s.step.as_str()).unwrap().digest().unwrap()).collect()
}

/// Law 7, at every point where the disk is touched.
#[test]
fn a_run_that_is_cut_off_anywhere_goes_on_where_it_was() {
    let expected = expected();
    let mut points = 0;
    loop {
        let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
        let finished = Arc::new(Mutex::new(Vec::new()));
        let heard = finished.clone();
        let listening = options().on_event(move |event| {
            if let RunEvent::Finished { step, .. } = event {
                heard.lock().unwrap().push(step.clone());
            }
        });
        fault::after(Some(points));
        let cut_off = diamond(&count, "v1", 50).run(dir.path(), &listening);
        let struck = fault::struck();
        fault::after(None);
        drop(cut_off);
        let before = count.clone();
        let counts: Vec<u32> = ["load", "total", "copy", "join"].iter().map(|s| before.of(s)).collect();
        let done = finished.lock().unwrap().clone();
        let resumed = run(&diamond(&count, "v1", 50), dir.path());
        assert_eq!(digests(&resumed), expected, "cut off at point {points}");
        for (step, ran) in ["load", "total", "copy", "join"].iter().zip(counts) {
            if done.iter().any(|s| s.as_str() == *step) {
                assert_eq!((ran, count.of(step)), (1, 1), "`{step}` had finished at point {points}");
            }
        }
        assert_eq!(run(&diamond(&count, "v1", 50), dir.path()).report().ran(), 0);
        if !struck {
            break;
        }
        points += 1;
    }
    assert!(points > 40, "{points} points are too few for four steps");
}

#[test]
fn every_flipped_byte_of_an_output_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(&diamond(&Count::default(), "v1", 50), dir.path());
    for (step, stored) in &run.stored {
        let file = dir.path().join("artifacts").join(stored.file.to_string());
        let whole = fs::read(&file).unwrap();
        for position in 0..whole.len() {
            let mut broken = whole.clone();
            broken[position] ^= 1 << (position % 8);
            fs::write(&file, &broken).unwrap();
            let found = run.artifact(step.as_str());
            assert!(matches!(found, Err(Error::Corrupt { .. })), "`{step}` at {position}: {found:?}");
        }
        fs::write(&file, &whole).unwrap();
        assert!(run.artifact(step.as_str()).is_ok());
    }
}

#[test]
fn a_damaged_output_that_is_needed_is_made_again_and_reported() {
    let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
    let first = run(&diamond(&count, "v1", 50), dir.path());
    let file = dir.path().join("artifacts").join(first.stored["load"].file.to_string());
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert!(matches!(first.artifact("load"), Err(Error::Corrupt { .. })));
    // Nobody needs it: nothing is read, nothing runs.
    assert_eq!(run(&diamond(&count, "v1", 50), dir.path()).report().ran(), 0);
    // A step that does is given whole rows again; the step beside it keeps its output.
    let repaired = diamond(&count, "v1", 50).run(dir.path(), &options().refresh("total")).unwrap().ok().unwrap();
    assert!(matches!(because(&repaired, "load"), Rerun::Damaged(_)));
    assert_eq!((count.of("load"), count.of("total"), count.of("copy"), count.of("join")), (2, 2, 1, 1));
    assert_eq!(repaired.artifact("load").unwrap().as_dataset().unwrap().num_rows().unwrap(), 50);
}

#[test]
fn a_repair_that_gives_something_else_carries_on_downstream() {
    let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
    let drift = Arc::new(AtomicU32::new(1));
    let make = || {
        let drift = drift.clone();
        let plus = |inputs: &Inputs| Ok(json!(inputs.get("a")?.as_json()?.as_u64().unwrap_or(0) + 1).into());
        Pipeline::builder("p")
            .step(count.step("a", "v1", move |_| Ok(json!(drift.load(Ordering::Relaxed)).into())), &[])
            .step(count.step("b", "v1", plus), &["a"])
            .step(count.step("c", "v1", plus), &["a"])
            .build()
            .unwrap()
    };
    let first = run(&make(), dir.path());
    fs::write(dir.path().join("artifacts").join(first.stored["a"].file.to_string()), "7").unwrap();
    drift.store(5, Ordering::Relaxed);
    let second = make().run(dir.path(), &options().refresh("c")).unwrap().ok().unwrap();
    assert_eq!(second.artifact("b").unwrap().as_json().unwrap(), 6);
    assert_eq!(second.artifact("c").unwrap().as_json().unwrap(), 6);
}

#[test]
fn a_store_that_damages_everything_fails_the_step_instead_of_turning_in_circles() {
    let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
    let path = dir.path().to_owned();
    let pipeline = Pipeline::builder("p")
        .step(count.step("a", "v1", |_| Ok(json!("something long").into())), &[])
        .step(count.step("b", "v1", |_| Ok(json!(2).into())), &["a"])
        .build()
        .unwrap();
    let options = options().on_event(move |event| {
        if let (RunEvent::Finished { .. }, "a") = (event, event.step().as_str()) {
            files(&path, "artifacts").iter().for_each(|file| fs::write(file, "x").unwrap());
        }
    });
    let run = pipeline.run(dir.path(), &options).unwrap();
    assert_eq!((count.of("a"), count.of("b")), (2, 0));
    assert!(matches!(run.ok(), Err(Error::Stage { stage, .. }) if stage == "b"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Files are lost, cut, lengthened and flipped at random: a run ends with the outputs of an undisturbed one.
    #[test]
    fn a_directory_that_was_tampered_with_is_never_believed(
        blows in proptest::collection::vec((any::<proptest::sample::Index>(), 0_u8..4, any::<proptest::sample::Index>()), 1..5),
    ) {
        let (count, dir) = (Count::default(), tempfile::tempdir().unwrap());
        let expected = digests(&run(&diamond(&count, "v1", 50), dir.path()));
        for (which, how, at) in blows {
            let mut all = files(dir.path(), "artifacts");
            all.extend(files(dir.path(), "records"));
            all.push(dir.path().join("last"));
            let file = which.get(&all);
            let Ok(mut bytes) = fs::read(file) else { continue };
            let at = at.index(bytes.len().max(1));
            match how {
                0 => { fs::remove_file(file).unwrap(); continue }
                1 => bytes.truncate(at),
                2 => bytes.insert(at.min(bytes.len()), 7),
                _ => if let Some(byte) = bytes.get_mut(at) { *byte ^= 0x41 },
            }
            fs::write(file, bytes).unwrap();
        }
        let all = options().refresh("total").refresh("copy").refresh("join");
        let resumed = diamond(&count, "v1", 50).run(dir.path(), &all).unwrap().ok().unwrap();
        prop_assert_eq!(digests(&resumed), expected);
        let settled = run(&diamond(&count, "v1", 50), dir.path());
        prop_assert_eq!(settled.report().ran(), 0);
    }
}
